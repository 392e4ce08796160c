"""Deferrals in `node.db`: what was recorded, and what became of it. Rows are added, never changed or removed.

    deferral       what is deferred, on what ground, by whom, until when
    deferral_step  approved by a second person, or ended

Each row's hash stands in the log, in the same transaction.
"""

import json
from collections.abc import Sequence
from datetime import UTC, date, datetime
from hashlib import blake2b
from sqlite3 import Connection
from typing import Any, Final, Literal

from bekend_policy.deferring import About, Deferral
from bekend_proto.clock import milliseconds
from bekend_proto.durable import Database, append_log
from bekend_proto.errors import RefusedError

Step = Literal["approved", "ended"]


_ONLY_GROWS: Final = """
CREATE TRIGGER NAME_keeps_rows BEFORE DELETE ON NAME
BEGIN SELECT RAISE(ABORT, 'deferrals are append-only'); END;
CREATE TRIGGER NAME_keeps_values BEFORE UPDATE ON NAME
BEGIN SELECT RAISE(ABORT, 'deferrals are append-only'); END;
CREATE TRIGGER NAME_replaces_nothing BEFORE INSERT ON NAME WHEN EXISTS (SELECT 1 FROM NAME WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'deferrals are append-only'); END;
"""
DDL: Final = (
    """
CREATE TABLE deferral (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, about TEXT NOT NULL, reference TEXT NOT NULL, purpose TEXT NOT NULL,
  ground TEXT NOT NULL, author TEXT NOT NULL, author_name TEXT NOT NULL, review_on TEXT NOT NULL
);
CREATE TABLE deferral_step (
  id INTEGER PRIMARY KEY, deferral INTEGER NOT NULL REFERENCES deferral, at INTEGER NOT NULL, step TEXT NOT NULL,
  by TEXT NOT NULL, reason TEXT NOT NULL, UNIQUE (deferral, step)
);
"""
    + _ONLY_GROWS.replace("NAME", "deferral")
    + _ONLY_GROWS.replace("NAME", "deferral_step")
)
_ALL: Final = """
SELECT d.id, d.at, d.about, d.reference, d.purpose, d.ground, d.author, d.author_name, d.review_on, a.by, e.by
FROM deferral d LEFT JOIN deferral_step a ON a.deferral = d.id AND a.step = 'approved'
LEFT JOIN deferral_step e ON e.deferral = d.id AND e.step = 'ended'
"""
_COUNT: Final = """
SELECT coalesce(sum(a.by IS NULL), 0), coalesce(sum(a.by IS NOT NULL AND d.review_on > ?), 0),
  coalesce(sum(a.by IS NOT NULL AND d.review_on <= ?), 0)
FROM deferral d LEFT JOIN deferral_step a ON a.deferral = d.id AND a.step = 'approved'
LEFT JOIN deferral_step e ON e.deferral = d.id AND e.step = 'ended' WHERE e.by IS NULL
"""


class Deferrals:
    """The deferrals of one node, in its database."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def all(self) -> list[Deferral]:
        """Every deferral, ended ones too, oldest first."""
        return self._database.read(read_deferrals)

    def get(self, number: int) -> Deferral:
        """The one with this number. Raises RefusedError."""
        rows = self._database.rows(f"{_ALL} WHERE d.id = ?", (number,))
        if not rows:
            raise RefusedError("uitstel", "Er is geen uitstel met dit nummer.")
        return _deferral(rows[0])

    def tally(self, today: date) -> dict[str, int]:
        """How many stand how on a day, for status and metrics: figures alone, and none is read for it."""
        ((pending, in_force, due),) = self._database.rows(_COUNT, (today.isoformat(),) * 2)
        return {"pending": int(pending), "in_force": int(in_force), "due": int(due)}

    async def record(self, it: Deferral) -> int:
        """Put it on the record; gives its number. That of `it` counts for nothing."""
        at = milliseconds(it.at)
        row = (at, it.about.value, it.reference, it.purpose, it.ground, it.author, it.author_name)

        def write(conn: Connection) -> int:
            number = conn.execute(
                "INSERT INTO deferral (at, about, reference, purpose, ground, author, author_name, review_on)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, it.review_on.isoformat()),
            ).lastrowid
            assert number is not None
            append_log(conn, "deferral", _hash(number, *row, it.review_on.isoformat()), at)
            return number

        return await self._database.write(write)

    async def step(self, number: int, step: Step, by: str, reason: str, at: datetime) -> None:
        """Approved, or ended: once each, whoever comes at the same moment. Raises RefusedError."""
        moment = milliseconds(at)

        def write(conn: Connection) -> None:
            done = conn.execute("SELECT 1 FROM deferral_step WHERE deferral = ? AND step = ?", (number, step))
            if done.fetchone() is not None:
                raise RefusedError("uitstel", "Dat is al gebeurd: bekijk de lijst opnieuw.")
            conn.execute(
                "INSERT INTO deferral_step (deferral, at, step, by, reason) VALUES (?, ?, ?, ?, ?)",
                (number, moment, step, by, reason),
            )
            append_log(conn, "deferral", _hash(number, moment, step, by, reason), moment)

        await self._database.write(write)


def read_deferrals(conn: Connection) -> list[Deferral]:
    """Every deferral in a node's database, or in an export of it."""
    return [_deferral(row) for row in conn.execute(f"{_ALL} ORDER BY d.id")]


def _deferral(row: Sequence[Any]) -> Deferral:
    number, at, about, reference, purpose, ground, author, name, review_on, approved, ended = row
    return Deferral(
        number=number,
        about=About(about),
        reference=reference,
        purpose=purpose,
        ground=ground,
        author=author,
        author_name=name,
        at=datetime.fromtimestamp(at / 1000, UTC),
        review_on=date.fromisoformat(review_on),
        approved_by=approved,
        ended_by=ended,
    )


def _hash(*row: str | int) -> bytes:
    text = json.dumps(row, ensure_ascii=False).encode()
    return blake2b(text, digest_size=32, person=b"bekend1-deferral").digest()
