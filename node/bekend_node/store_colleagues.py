"""Own colleagues and persons whom everybody knows, as keyed hashes in `node.db` (FG-37).

    colleague       BLAKE2b of the canonical identifier under `keys/colleagues.key`, in the order of the hashes
    colleague_key   shows under which key they were made: under another one nobody would be found, and nobody warned

The rows alone say how many there are. With the key beside them every number can be tried: they are pseudonyms.
"""

import sqlite3
from collections.abc import Callable, Iterable
from typing import Final

from bekend_proto.durable import Database
from bekend_proto.errors import KeysError
from bekend_proto.identifiers import Identifier
from bekend_proto.octets import blake

DDL: Final = """
CREATE TABLE colleague (tag BLOB PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE colleague_key (mark BLOB PRIMARY KEY) WITHOUT ROWID;
"""


class Colleagues:
    """The list of one node. `key` reads the key, or gives None while none was made."""

    def __init__(self, database: Database, key: Callable[[], bytes | None]) -> None:
        self._database = database
        self._key = key

    def include(self, persons: Iterable[Identifier]) -> bool:
        """Whether one of these persons is on the list. Raises KeysError when the list cannot be read, StorageError."""
        # Read first: a key that is made later must not make this list look empty.
        mark = self._database.read(_mark)
        if mark is None:
            return False
        key = self._checked(mark)
        tags = [_tag(key, one) for one in persons]
        return self._database.read(lambda conn: any(_has(conn, tag) for tag in tags))

    def count(self) -> int:
        """How many persons are on the list."""
        return self._database.read(lambda conn: int(conn.execute("SELECT count(*) FROM colleague").fetchone()[0]))

    def add(self, persons: Iterable[Identifier]) -> int:
        """Put persons on the list; how many were not on it. Raises KeysError, StorageError."""
        key = self._checked(self._database.read(_mark))
        tags = [(_tag(key, one),) for one in persons]

        def write(conn: sqlite3.Connection) -> int:
            conn.execute("INSERT OR IGNORE INTO colleague_key VALUES (?)", (_mark_of(key),))
            before = conn.total_changes
            conn.executemany("INSERT OR IGNORE INTO colleague VALUES (?)", tags)
            return conn.total_changes - before

        return self._database.write_sync(write)

    def remove(self, persons: Iterable[Identifier]) -> int:
        """Take persons off the list; how many were on it. Raises KeysError, StorageError."""
        key = self._checked(self._database.read(_mark))
        tags = [(_tag(key, one),) for one in persons]
        return self._database.write_sync(
            lambda conn: conn.executemany("DELETE FROM colleague WHERE tag = ?", tags).rowcount
        )

    def clear(self) -> None:
        """Forget all of it, also what it was made under: for a key that is lost."""

        def write(conn: sqlite3.Connection) -> None:
            conn.execute("DELETE FROM colleague")
            conn.execute("DELETE FROM colleague_key")

        self._database.write_sync(write)

    def _checked(self, mark: bytes | None) -> bytes:
        key = self._key()
        if key is None:
            raise KeysError("colleagues.key is missing: restore it, or run `bekend node colleagues clear` and add anew")
        if mark is not None and mark != _mark_of(key):
            raise KeysError(
                "the list of colleagues was made under another colleagues.key: restore that key, "
                "or run `bekend node colleagues clear` and add everybody anew"
            )
        return key


def _tag(key: bytes, person: Identifier) -> bytes:
    return blake(32, b"bekend1-staff", person.canonical, key)


def _mark_of(key: bytes) -> bytes:
    return blake(16, b"bekend1-staffkey", b"", key)


def _mark(conn: sqlite3.Connection) -> bytes | None:
    row = conn.execute("SELECT mark FROM colleague_key").fetchone()
    return None if row is None else bytes(row[0])


def _has(conn: sqlite3.Connection, tag: bytes) -> bool:
    return conn.execute("SELECT 1 FROM colleague WHERE tag = ?", (tag,)).fetchone() is not None
