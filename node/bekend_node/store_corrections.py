"""Reports that a partner was wrongly `bekend` (FG-26), in `node.db`: one row each, its hash in the log.

    case_tag   a keyed hash of the case reference: rows of one case are found, and no case can be read from it
    person     which person of the lookups it is about, counted from 1; none for all of them

Nothing in it names the person: who it is stands in the file of the case, and on the letter, by hand.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from sqlite3 import Connection

from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.durable import Database, append_log
from bekend_proto.octets import blake

DDL = """
CREATE TABLE correction (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, case_tag TEXT NOT NULL, source TEXT NOT NULL, person INTEGER,
  by TEXT NOT NULL, reason TEXT NOT NULL
);
CREATE INDEX correction_of ON correction (case_tag);
"""
_COLUMNS = "id, at, case_tag, source, person, by, reason"


@dataclass(frozen=True, slots=True)
class Correction:
    """One report. `number` is that of its row, 0 before it has one; `by` is a user."""

    number: int
    at: datetime
    case_tag: str
    source: str
    person: int | None
    by: str
    reason: str

    def is_about(self, source: str, person: int) -> bool:
        """Whether an answer of this source about this person (counted from 1) is taken back by it."""
        return source == self.source and self.person in {None, person}


class Corrections:
    """The rows. Every write is durable when it returns; StorageError means nothing was written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, it: Correction) -> int:
        """Append a report; gives its number."""
        row = (milliseconds(it.at), it.case_tag, it.source, it.person, it.by, it.reason)

        def write(conn: Connection) -> int:
            number = conn.execute(
                "INSERT INTO correction (at, case_tag, source, person, by, reason) VALUES (?, ?, ?, ?, ?, ?)"
                " RETURNING id",
                row,
            ).fetchone()[0]
            entry = json.dumps((number, *row), ensure_ascii=False).encode()
            append_log(conn, "correction", blake(32, b"bekend1-correct", entry), row[0])
            return int(number)

        return await self._database.write(write)

    def all(self) -> list[Correction]:
        """Every report, oldest first."""
        return self._read("1", ())

    def of_case(self, case_tag: str, since: datetime) -> list[Correction]:
        """The reports about a case since a moment, oldest first."""
        return self._read("case_tag = ? AND at >= ?", (case_tag, milliseconds(since)))

    def _read(self, where: str, values: tuple[str | int, ...]) -> list[Correction]:
        return self._database.read(
            lambda conn: [
                Correction(number, from_milliseconds(at), *rest)
                for number, at, *rest in conn.execute(
                    f"SELECT {_COLUMNS} FROM correction WHERE {where} ORDER BY id",  # noqa: S608 - fixed texts
                    values,
                )
            ]
        )
