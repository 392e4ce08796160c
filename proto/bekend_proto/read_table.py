"""Who read a log, when and what for (FG-30, WGS 1.8(4)): a row beside the log, and its hash in the log."""

import json
from dataclasses import astuple, dataclass
from typing import Final

from bekend_proto.log_table import append_log
from bekend_proto.octets import blake
from bekend_proto.sql import Connection

READ_DDL: Final = """
CREATE TABLE log_read (
  at       INTEGER NOT NULL,
  user     TEXT NOT NULL,
  log      TEXT NOT NULL,
  used_for TEXT NOT NULL,
  first    INTEGER NOT NULL,
  until    INTEGER NOT NULL,
  detail   TEXT NOT NULL
);
CREATE INDEX log_read_at ON log_read (at);
"""
"""For a migration."""


@dataclass(frozen=True, slots=True)
class LogRead:
    """One reading. Times in milliseconds; `user` of the operating system; `log`: which form; `detail`: what was sought.

    `used_for`: one of the purposes for which the covenant lets a log be used.
    """

    at: int
    user: str
    log: str
    used_for: str
    first: int
    until: int
    detail: str = ""


def append_read(connection: Connection, read: LogRead) -> None:
    """Put a reading on the record, in the transaction that is durable before anything is shown."""
    row = astuple(read)
    connection.execute("INSERT INTO log_read VALUES (?, ?, ?, ?, ?, ?, ?)", row)
    append_log(connection, "read", blake(32, b"bekend1-read", json.dumps(row).encode()), read.at)


def reads_between(connection: Connection, first: int, until: int) -> list[LogRead]:
    """The readings of a span of time (milliseconds), oldest first."""
    rows = connection.execute("SELECT * FROM log_read WHERE at >= ? AND at < ? ORDER BY at", (first, until))
    return [LogRead(*row) for row in rows]


def forget_reads(connection: Connection, before: int) -> int:
    """Remove readings that are older than a moment (milliseconds); how many there were."""
    return connection.execute("DELETE FROM log_read WHERE at < ?", (before,)).rowcount
