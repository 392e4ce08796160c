"""Misuse signals in `node.db`: what a human should look at, and which cases were asked about once.

    signal       one row per kind, officer, case and day, with how often; no number, no person, no outcome
    case_asked   cases that were asked about, until they are used again or the term is over

Case references stand sealed under the state key, and as the keyed hash that finds them: a database alone tells no case.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from sqlite3 import Connection
from typing import Final

from bekend_proto.clock import milliseconds
from bekend_proto.durable import Database
from nacl.secret import SecretBox

from bekend_node.ask.case_reference import case_tag

DDL: Final = """
CREATE TABLE signal (
  id INTEGER PRIMARY KEY, day TEXT NOT NULL, kind TEXT NOT NULL, officer TEXT NOT NULL, tag TEXT NOT NULL,
  sealed BLOB, times INTEGER NOT NULL, last INTEGER NOT NULL, UNIQUE (day, kind, officer, tag)
);
CREATE TABLE case_asked (
  tag TEXT PRIMARY KEY, officer TEXT NOT NULL, at INTEGER NOT NULL, sealed BLOB NOT NULL, used INTEGER NOT NULL
) WITHOUT ROWID;
"""


@dataclass(frozen=True, slots=True)
class Signal:
    """A signal as a human reads it. `last`: milliseconds since 1970."""

    number: int
    day: date
    kind: str
    officer: str
    case: str | None = field(repr=False)
    times: int
    last: int


Found = tuple[str, str, str, date]
"""What was noticed: kind, officer, case (or empty) and day."""


class SignalStore:
    """The signals of one node. `key` hashes case references, `state` seals them."""

    def __init__(self, database: Database, key: bytes, state: SecretBox) -> None:
        self._database = database
        self._key = key
        self._state = state

    async def add(self, found: Sequence[Found], at: datetime, asked: tuple[str, str] | None = None) -> None:
        """Keep signals. One that is there already is counted.

        `asked`: officer and case of the lookup at which they were noticed; a second one, whoever asks, is use of it.
        """
        rows = [
            (day.isoformat(), kind, officer, case_tag(self._key, case), self._seal(case) if case else None)
            for kind, officer, case, day in found
        ]

        lookup = (case_tag(self._key, asked[1]), asked[0], milliseconds(at), self._seal(asked[1])) if asked else None

        def write(conn: Connection) -> None:
            if lookup is not None:
                conn.execute(
                    "INSERT INTO case_asked VALUES (?, ?, ?, ?, 0) ON CONFLICT (tag) DO UPDATE SET used = 1", lookup
                )
            conn.executemany(
                "INSERT INTO signal (day, kind, officer, tag, sealed, times, last) VALUES (?, ?, ?, ?, ?, 1, ?)"
                " ON CONFLICT (day, kind, officer, tag) DO UPDATE SET times = times + 1, last = excluded.last",
                [(*row, milliseconds(at)) for row in rows],
            )

        await self._database.write(write)

    def between(self, first: date, last: date) -> list[Signal]:
        """The signals of these days, both included."""
        return self.opened(self.numbers(first, last))

    def numbers(self, first: date, last: date) -> list[int]:
        """Which signals there are of these days, both included, in their order; nothing of them is opened."""
        rows = self._database.rows(
            "SELECT id FROM signal WHERE day >= ? AND day <= ? ORDER BY day, id", (first.isoformat(), last.isoformat())
        )
        return [number for (number,) in rows]

    def opened(self, numbers: Sequence[int]) -> list[Signal]:
        """These, in this order; what was forgotten meanwhile is left out."""

        def read(conn: Connection) -> list[Signal]:
            one = "SELECT id, day, kind, officer, sealed, times, last FROM signal WHERE id = ?"
            rows = (conn.execute(one, (number,)).fetchone() for number in numbers)
            return [
                Signal(number, date.fromisoformat(day), kind, officer, self._open(sealed), times, at)
                for number, day, kind, officer, sealed, times, at in filter(None, rows)
            ]

        return self._database.read(read)

    async def case_used(self, case: str) -> None:
        """Something else was done for a case."""
        tag = case_tag(self._key, case)
        await self._database.write(lambda conn: conn.execute("UPDATE case_asked SET used = 1 WHERE tag = ?", (tag,)))

    async def take_unused(self, before: datetime, least: int) -> list[tuple[str, list[str]]]:
        """Cases asked about once, before a moment, and not used since: per officer who has at least so many.

        They are taken out, and so is what was used, or waited a term longer in vain. `least` 0: none.
        """
        moment = milliseconds(before)

        def write(conn: Connection) -> list[tuple[str, list[bytes]]]:
            conn.execute("DELETE FROM case_asked WHERE used AND at < ?", (moment,))
            found: dict[str, list[bytes]] = {}
            for officer, sealed in conn.execute(
                "SELECT officer, sealed FROM case_asked WHERE at < ? ORDER BY at, tag", (moment,)
            ):
                found.setdefault(officer, []).append(sealed)
            told = [(officer, cases) for officer, cases in found.items() if least and len(cases) >= least]
            conn.executemany(
                "DELETE FROM case_asked WHERE officer = ? AND at < ?", [(officer, moment) for officer, _ in told]
            )
            conn.execute("DELETE FROM case_asked WHERE at < ?", (milliseconds(before - timedelta(days=28)),))
            return told

        taken = await self._database.write(write)
        return [(officer, [self._open(one) or "" for one in cases]) for officer, cases in taken]

    async def forget(self, before: date) -> None:
        """Forget the signals of days before this one."""
        await self._database.write(lambda conn: conn.execute("DELETE FROM signal WHERE day < ?", (before.isoformat(),)))

    def _seal(self, case: str) -> bytes:
        return bytes(self._state.encrypt(case.encode().ljust(256)))

    def _open(self, sealed: bytes | None) -> str | None:
        return None if sealed is None else self._state.decrypt(sealed).decode().rstrip()
