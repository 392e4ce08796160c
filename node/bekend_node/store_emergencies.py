"""Questions that were asked before a second officer had looked (noodgreep), in `node.db`: none without its review.

    emergency         one row each: when, by whom, under which purpose; the rest sealed under the state key
    emergency_review  what a second officer said of it afterwards: once

Rows are added, and forgotten when their term is over; each row's hash stands in the log, in the same transaction. No
identifier is in them: who looks afterwards has the case reference, and with it the own case file.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from sqlite3 import Connection
from typing import Any, Final

from bekend_policy.decision_log import FOUR_EYES
from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.durable import Database, append_log
from bekend_proto.errors import RefusedError
from bekend_proto.octets import blake
from nacl.secret import SecretBox

ROOM: Final = 16_384
"""Octets that every sealed row takes: a long reason looks like a short one."""

DDL: Final = """
CREATE TABLE emergency (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, purpose TEXT NOT NULL, officer TEXT NOT NULL, role TEXT NOT NULL,
  sealed BLOB NOT NULL, warned INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE emergency_review (
  emergency INTEGER PRIMARY KEY REFERENCES emergency, at INTEGER NOT NULL, agreed INTEGER NOT NULL, by TEXT NOT NULL,
  sealed BLOB NOT NULL
);
"""
_ALL: Final = """
SELECT e.id, e.at, e.purpose, e.officer, e.role, e.sealed, e.warned, r.at, r.agreed, r.by, r.sealed
FROM emergency e LEFT JOIN emergency_review r ON r.emergency = e.id
"""
_STEP: Final = 512


@dataclass(frozen=True, slots=True)
class Review:
    """What a second officer said afterwards."""

    at: datetime
    agreed: bool
    by: str
    by_name: str
    text: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Emergency:
    """A question that was asked at once. `number` 0 while it has none."""

    number: int
    at: datetime
    purpose: str
    officer: str
    officer_name: str
    role: str
    case: str = field(repr=False)
    reason: str = field(repr=False)
    justification: str = field(repr=False)
    sources: tuple[str, ...]
    persons: int
    warned: bool = False
    review: Review | None = None

    def due(self, within: timedelta) -> datetime:
        """Until when it may wait for its review."""
        return self.at + within


class EmergencyStore:
    """The rows of one node. `state` seals what was typed."""

    def __init__(self, database: Database, state: SecretBox) -> None:
        self._database = database
        self._state = state

    def open(self) -> list[Emergency]:
        """Those without a review, oldest first."""
        return self._found("r.emergency IS NULL")

    def own(self, officer: str, after: datetime) -> list[Emergency]:
        """Those of this officer without a review, or of after a moment; oldest first."""
        return self._found("e.officer = ? AND (r.emergency IS NULL OR e.at > ?)", officer, milliseconds(after))

    def one(self, number: int) -> Emergency | None:
        """The one with this number, if it has no review."""
        return next(iter(self._found("r.emergency IS NULL AND e.id = ?", number)), None)

    def unwarned(self, before: datetime) -> list[Emergency]:
        """Those without a review, of before or at a moment, of which the privacy officer was not told."""
        return self._found("r.emergency IS NULL AND NOT e.warned AND e.at <= ?", milliseconds(before))

    def numbers(self, first: datetime, until: datetime) -> list[int]:
        """Which there are of a span of time or without a review, the newest first; nothing of them is opened."""
        rows = self._database.rows(
            "SELECT e.id FROM emergency e LEFT JOIN emergency_review r ON r.emergency = e.id"
            " WHERE r.emergency IS NULL OR (e.at >= ? AND e.at < ?) ORDER BY e.id DESC",
            (milliseconds(first), milliseconds(until)),
        )
        return [number for (number,) in rows]

    def opened(self, numbers: Sequence[int]) -> list[Emergency]:
        """These, in this order; what was forgotten meanwhile is left out."""
        found = {one.number: one for one in self._found(f"e.id IN ({', '.join('?' * len(numbers))})", *numbers)}
        return [found[number] for number in numbers if number in found]

    def count(self, overdue: datetime) -> tuple[int, int]:
        """How many have no review, and how many of these are of before or at a moment."""
        ((waiting, late),) = self._database.rows(
            "SELECT count(*), coalesce(sum(e.at <= ?), 0) FROM emergency e"
            " LEFT JOIN emergency_review r ON r.emergency = e.id WHERE r.emergency IS NULL",
            (milliseconds(overdue),),
        )
        return int(waiting), int(late)

    async def add(self, it: Emergency) -> int:
        """Put it on the record; gives its number. Raises StorageError: then nothing was written."""
        facts = {
            "name": it.officer_name,
            "case": it.case,
            "reason": it.reason,
            "justification": it.justification,
            "sources": it.sources,
            "persons": it.persons,
        }
        row = (milliseconds(it.at), it.purpose, it.officer, it.role, self._seal(facts, ROOM))

        def write(conn: Connection) -> int:
            number = conn.execute(
                "INSERT INTO emergency (at, purpose, officer, role, sealed) VALUES (?, ?, ?, ?, ?)", row
            ).lastrowid
            assert number is not None
            append_log(conn, "emergency", _hash(number, *row), row[0])
            return number

        return await self._database.write(write)

    async def review(self, number: int, it: Review) -> None:
        """Put a review on the record, once, whoever comes at the same moment. Raises RefusedError, StorageError."""
        sealed = self._seal({"name": it.by_name, "text": it.text}, 4 * _STEP)
        row = (number, milliseconds(it.at), int(it.agreed), it.by, sealed)

        def write(conn: Connection) -> None:
            done = conn.execute("INSERT OR IGNORE INTO emergency_review VALUES (?, ?, ?, ?, ?)", row).rowcount
            if not done:
                raise RefusedError(FOUR_EYES, "Deze noodgreep is al beoordeeld. Bekijk de lijst opnieuw.")
            append_log(conn, "emergency", _hash(*row), row[1])

        await self._database.write(write)

    async def warned(self, number: int) -> bool:
        """Note that the privacy officer was told that it is late; False when that was noted before."""
        return await self._database.write(
            lambda conn: (
                conn.execute("UPDATE emergency SET warned = 1 WHERE id = ? AND NOT warned", (number,)).rowcount == 1
            )
        )

    async def forget(self, before: datetime) -> None:
        """Forget what was reviewed and is older than a moment; what waits stays, however old."""
        moment = milliseconds(before)

        def write(conn: Connection) -> None:
            old = "SELECT e.id FROM emergency e JOIN emergency_review r ON r.emergency = e.id WHERE e.at < ?"
            found = conn.execute(old, (moment,)).fetchall()
            conn.executemany("DELETE FROM emergency_review WHERE emergency = ?", found)
            conn.executemany("DELETE FROM emergency WHERE id = ?", found)

        await self._database.write(write)

    def _found(self, where: str, *values: object) -> list[Emergency]:
        rows = self._database.read(lambda conn: conn.execute(f"{_ALL} WHERE {where} ORDER BY e.id", values).fetchall())
        return [self._of(row) for row in rows]

    def _of(self, row: tuple[Any, ...]) -> Emergency:
        number, at, purpose, officer, role, sealed, warned, reviewed_at, agreed, by, said = row
        facts = self._open(sealed)
        review = None
        if reviewed_at is not None:
            words = self._open(said)
            review = Review(from_milliseconds(reviewed_at), bool(agreed), by, words["name"], words["text"])
        return Emergency(
            number=number,
            at=from_milliseconds(at),
            purpose=purpose,
            officer=officer,
            officer_name=facts["name"],
            role=role,
            case=facts["case"],
            reason=facts["reason"],
            justification=facts["justification"],
            sources=tuple(facts["sources"]),
            persons=facts["persons"],
            warned=bool(warned),
            review=review,
        )

    def _seal(self, facts: dict[str, Any], room: int) -> bytes:
        data = json.dumps(facts, ensure_ascii=False, separators=(",", ":")).encode()
        return bytes(self._state.encrypt(data.ljust(-(-len(data) // room) * room)))

    def _open(self, sealed: bytes) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._state.decrypt(sealed))
        return found


def _hash(*row: int | str | bytes) -> bytes:
    text = json.dumps([one.hex() if isinstance(one, bytes) else one for one in row]).encode()
    return blake(32, b"bekend1-urgent", text)
