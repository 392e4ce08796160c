"""The signed notes that say what may be destroyed (bewaarbesluit), in the database whose rows they are about."""

from typing import Final

from bekend_proto.log_table import append_log
from bekend_proto.octets import blake
from bekend_proto.sql import Connection

RETENTION_DDL: Final = """
CREATE TABLE retention_note (
  number INTEGER PRIMARY KEY,
  at     INTEGER NOT NULL,
  note   BLOB NOT NULL
);
"""
"""For a migration. `at` in milliseconds."""


def newest_retention_note(connection: Connection) -> tuple[int, bytes] | None:
    """Number and bytes of the note that counts, or None."""
    row = connection.execute("SELECT number, note FROM retention_note ORDER BY number DESC LIMIT 1").fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def keep_retention_note(connection: Connection, number: int, note: bytes, at: int) -> bool:
    """Keep a verified note, and its hash in the log. False when one of this number or a higher one is there."""
    newest = newest_retention_note(connection)
    if newest is not None and newest[0] >= number:
        return False
    connection.execute("INSERT INTO retention_note VALUES (?, ?, ?)", (number, at, note))
    append_log(connection, "retention", blake(32, b"bekend1-keep", note), at)
    return True
