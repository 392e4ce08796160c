"""Own sealed records of the requester's side, as they are written in any transaction of `node.db`."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Connection

from bekend_proto.clock import milliseconds
from bekend_proto.errors import StorageError


@dataclass(frozen=True)
class OwnRecord:
    """A record of the requester's side, sealed to the own privacy officer before it comes here."""

    id: bytes
    kind: str
    sealed: bytes


def keep_own_records(conn: Connection, records: Iterable[OwnRecord], at: datetime) -> None:
    """Write them in the transaction under way."""
    conn.executemany(
        "INSERT INTO own_record (id, at, kind, sealed) VALUES (?, ?, ?, ?)",
        [(record.id, milliseconds(at), record.kind, record.sealed) for record in records],
    )


def replace_own_records(conn: Connection, records: Iterable[OwnRecord]) -> None:
    """Write records anew that are there, in the transaction under way.

    Raises StorageError when one is not: what it is about may not leave (must-list 7).
    """
    rows = [(record.sealed, record.id, record.kind) for record in records]
    written = conn.executemany("UPDATE own_record SET sealed = ? WHERE id = ? AND kind = ?", rows).rowcount
    if rows and written != len(rows):
        raise StorageError("the own record of a lookup that is under way is not in node.db any more: nothing was sent")
