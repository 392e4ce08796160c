"""An export: what the privacy officer takes along from `node.db`, as one SQLite file that is written once.

    meta       what it is, of whom, from when; the key manifests of all that the node knows (signed notes)
    question   answered Questions as they came, numbered from 1 by time
    sealed     their sealed records
    logged     the hashes of answered Questions in the node's log
    own        the own records of lookups, sealed
    deferral   what is deferred, as in the node's database

It holds what `node.db` holds: nothing that says about whom, but to who has the officer's key. Its reader opens it read-
only, by ranges of numbers, so that several processes can each take a part.
"""

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from bekend_policy.deferring import Deferral
from bekend_proto.errors import MalformedError, StorageError

from bekend_node.store import Store
from bekend_node.store_deferrals import DDL, read_deferrals

KIND: Final = "bekend/1 export"
BATCH: Final = 2_000
_DDL: Final = (
    """
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE question (number INTEGER PRIMARY KEY, id BLOB NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL);
CREATE TABLE sealed (
  number INTEGER NOT NULL, person INTEGER NOT NULL, sealed BLOB NOT NULL, PRIMARY KEY (number, person)
) WITHOUT ROWID;
CREATE TABLE logged (hash BLOB PRIMARY KEY, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE own (
  number INTEGER PRIMARY KEY, id BLOB NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL, sealed BLOB NOT NULL
);
CREATE INDEX own_of ON own (id, kind);
"""
    + DDL
)
Progress = Callable[[int, int], None]
"""Called with what is done and how much there is."""


@dataclass(frozen=True, slots=True)
class ExportedQuestion:
    """An answered question: the signed octets, and its sealed records by person."""

    number: int
    payload: bytes
    signature: bytes
    sealed: tuple[tuple[int, bytes], ...]


@dataclass(frozen=True, slots=True)
class ExportedRecord:
    """An own record of a lookup."""

    id: bytes
    kind: str
    at: int
    sealed: bytes


def write_export(store: Store, path: Path, meta: dict[str, bytes], progress: Progress = lambda *_: None) -> None:
    """Write everything, over one unchanging view of a database that may be in use. Raises StorageError.

    The file has mode 0600 and takes its name when it is whole; nothing is ever overwritten.
    """
    part = path.with_name(f".{path.name}.part")
    try:
        os.close(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            with closing(sqlite3.connect(part, isolation_level=None)) as target:
                target.execute("PRAGMA journal_mode=OFF")
                target.execute("PRAGMA synchronous=FULL")
                target.executescript(_DDL)
                target.execute("BEGIN")
                target.executemany("INSERT INTO meta VALUES (?, ?)", {"kind": KIND.encode(), **meta}.items())
                store.database.read(lambda source: _copy(source, target, progress))
                target.execute("COMMIT")
            os.link(part, path)
        finally:
            part.unlink(missing_ok=True)
    except (OSError, sqlite3.Error) as error:
        reason = "bestaat al" if isinstance(error, FileExistsError) else "kan niet worden geschreven"
        raise StorageError(f"{path} {reason}: kies een nieuwe naam, of maak ruimte") from error


def _copy(source: sqlite3.Connection, target: sqlite3.Connection, progress: Progress) -> None:
    total = int(source.execute("SELECT count(*) FROM answered").fetchone()[0])
    done = 0
    questions = source.execute("SELECT number, question_id, payload, signature FROM answered ORDER BY at, question_id")
    while rows := questions.fetchmany(BATCH):
        for number, id_, payload, signature in rows:
            done += 1
            target.execute("INSERT INTO question VALUES (?, ?, ?, ?)", (done, id_, payload, signature))
            target.executemany(
                "INSERT INTO sealed VALUES (?, ?, ?)",
                [
                    (done, *row)
                    for row in source.execute("SELECT person, sealed FROM sealed WHERE number = ?", (number,))
                ],
            )
        progress(done, total)
    for insert, select in (
        ("INSERT OR IGNORE INTO logged VALUES (?, ?)", "SELECT hash, at FROM log WHERE kind = 'answered'"),
        ("INSERT INTO own (id, kind, at, sealed) VALUES (?, ?, ?, ?)", "SELECT id, kind, at, sealed FROM own_record"
         " ORDER BY at, id, kind"),
        ("INSERT INTO deferral VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)", "SELECT * FROM deferral ORDER BY id"),
        ("INSERT INTO deferral_step VALUES (?, ?, ?, ?, ?, ?)", "SELECT * FROM deferral_step ORDER BY id"),
    ):  # fmt: skip
        cursor = source.execute(select)
        while part := cursor.fetchmany(BATCH):
            target.executemany(insert, part)


class Export:
    """An export that is being read. Open one in each process."""

    def __init__(self, connection: sqlite3.Connection, path: Path) -> None:
        self.path = path
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> "Export":
        """Open a file. Raises MalformedError when it is no export."""
        try:
            connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)
            connection.execute("PRAGMA trusted_schema=OFF")
            found = connection.execute("SELECT value FROM meta WHERE key = 'kind'").fetchone()
        except sqlite3.Error as error:
            raise _no_export(path) from error
        if found is None or found[0] != KIND.encode():
            connection.close()
            raise _no_export(path)
        return cls(connection, path)

    def __enter__(self) -> "Export":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._connection.close()

    def meta(self, key: str) -> bytes:
        """A value of `meta`. Raises MalformedError."""
        rows = self._all("SELECT value FROM meta WHERE key = ?", key)
        if not rows or not isinstance(rows[0][0], bytes):
            raise _no_export(self.path)
        return rows[0][0]

    def questions(self) -> int:
        """How many answered questions there are: they are numbered 1 to this."""
        return self._number("SELECT count(*) FROM question")

    def own_records(self) -> int:
        """How many own records there are: they are numbered 1 to this."""
        return self._number("SELECT count(*) FROM own")

    def read_questions(self, first: int, last: int) -> Iterator[ExportedQuestion]:
        """Those numbered from `first` to `last`, both included. Raises MalformedError."""
        sealed: dict[int, list[tuple[int, bytes]]] = {}
        for number, person, record in self._all(
            "SELECT number, person, sealed FROM sealed WHERE number BETWEEN ? AND ? ORDER BY number, person",
            first,
            last,
        ):
            sealed.setdefault(number, []).append((person, record))
        for number, payload, signature in self._all(
            "SELECT number, payload, signature FROM question WHERE number BETWEEN ? AND ?", first, last
        ):
            yield ExportedQuestion(number, payload, signature, tuple(sealed.get(number, ())))

    def logged(self) -> dict[bytes, int]:
        """The hashes of answered Questions in the node's log, each with its moment (milliseconds)."""
        return dict(self._all("SELECT hash, at FROM logged"))

    def read_own(self, kind: str, first: int, last: int) -> Iterator[ExportedRecord]:
        """Own records of one kind whose numbers lie in this range."""
        for row in self._all(
            "SELECT id, kind, at, sealed FROM own WHERE kind = ? AND number BETWEEN ? AND ?", kind, first, last
        ):
            yield ExportedRecord(*row)

    def own_record(self, id_: bytes, kind: str) -> ExportedRecord | None:
        """The own record of a lookup of one kind."""
        rows = self._all("SELECT id, kind, at, sealed FROM own WHERE id = ? AND kind = ?", id_, kind)
        return ExportedRecord(*rows[0]) if rows else None

    def deferrals(self) -> list[Deferral]:
        """Every deferral."""
        try:
            return read_deferrals(self._connection)
        except (sqlite3.Error, ValueError) as error:
            raise _no_export(self.path) from error

    def _number(self, query: str) -> int:
        return int(self._all(query)[0][0])

    def _all(self, query: str, *values: object) -> list[tuple]:  # type: ignore[type-arg]
        try:
            return self._connection.execute(query, values).fetchall()
        except sqlite3.Error as error:
            raise _no_export(self.path) from error


def _no_export(path: Path) -> MalformedError:
    return MalformedError(f"{path} is geen export van een node, of beschadigd: maak hem opnieuw")
