"""Reading, in `node.db`, what the logs of the standards are made from: decisions, answered questions, moments.

Writing them belongs to the transactions of store.py.
"""

import json
from collections.abc import Iterable, Iterator
from sqlite3 import Connection
from typing import Final

from bekend_policy.decided import Decided
from bekend_proto.clock import from_milliseconds
from bekend_proto.decision_table import decisions_between
from bekend_proto.durable import Database, append_log
from bekend_proto.octets import blake
from bekend_proto.read_table import LogRead, append_read, reads_between
from bekend_proto.v1 import signed_pb2

from bekend_node.answer.decisions import decided
from bekend_node.ask.own_record import KIND_OUTCOMES
from bekend_node.store import ASKED, TOLD

EXPORT: Final = "export"
"""Kind of log entry: sealed records were exported, for an access request or an audit."""
_DAY: Final = 86_400_000


class Decisions:
    """What this node decided, as requester and as source. Spans of time are in milliseconds, their end excluded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def own(self, first: int, until: int) -> list[tuple[Decided, int | None]]:
        """Lookups of the own officers, oldest first, with the moment at which their outcomes were there."""

        def read(conn: Connection) -> list[tuple[Decided, int | None]]:
            return [(one, _ended(conn, one.trace)) for one in _rows(conn, first, until) if one.stated is not None]

        return self._database.read(read)

    def of_others(self, first: int, until: int) -> list[Decided]:
        """Questions of others that were answered, and what was decided about other messages, oldest first."""

        def read(conn: Connection) -> list[Decided]:
            found = [one for one in _rows(conn, first, until) if one.stated is None]
            for at, payload, rule in conn.execute(
                "SELECT at, payload, rule FROM answered WHERE at >= ? AND at < ?", (first, until)
            ):
                question = signed_pb2.Question.FromString(payload)  # checked before it was stored
                found.append(decided(question, from_milliseconds(at), allowed=True, rule=rule))
            return sorted(found, key=lambda one: one.at)

        return self._database.read(read)

    def exports(self, first: int, until: int) -> list[tuple[bytes, int]]:
        """Hash and moment of the log entries of exports of sealed records."""
        return self._database.read(
            lambda conn: conn.execute(
                "SELECT hash, at FROM log WHERE kind = ? AND at >= ? AND at < ? ORDER BY seq", (EXPORT, first, until)
            ).fetchall()
        )

    def of_case(self, case: str, since: int) -> list[Decided]:
        """The lookups of a case since a moment, oldest first; `case` is its keyed hash (hex)."""

        def read(conn: Connection) -> list[Decided]:
            found = _rows(conn, since, 1 << 62)
            return [one for one in found if one.stated is not None and one.stated.case == case]

        return self._database.read(read)

    def unanswered(self, first: int, until: int) -> dict[str, int]:
        """Per source, how many Questions went out in a span of time and had no authentic Answer a day after it."""

        def read(conn: Connection) -> dict[str, int]:
            return dict(
                conn.execute(
                    "SELECT source, count(*) FROM log WHERE kind = ? AND at >= ? AND at < ? AND hash NOT IN"
                    " (SELECT hash FROM log WHERE kind = ? AND at >= ? AND at < ?) GROUP BY source",
                    (ASKED, first, until, TOLD, first, until + _DAY),
                ).fetchall()
            )

        return self._database.read(read)

    async def keep_consequence(self, case: str, purposes: Iterable[str], at: int, *, changed: bool) -> bool:
        """Keep whether what came changed what was decided in a case; False when that was told of all these purposes.

        Who told it is not kept, and nothing about a person.
        """
        rows = [(case, purpose, at, changed) for purpose in purposes]

        def write(conn: Connection) -> bool:
            kept = conn.executemany("INSERT INTO consequence VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", rows)
            return kept.rowcount > 0

        return await self._database.write(write)

    def consequence_of(self, case: str) -> set[str]:
        """The purposes of a case (its keyed hash) of which was told whether a decision changed."""
        return self._database.read(
            lambda conn: {
                purpose for (purpose,) in conn.execute("SELECT purpose FROM consequence WHERE case_tag = ?", (case,))
            }
        )

    def consequences(self, first: int, until: int) -> list[tuple[str, bool]]:
        """What was told in a span of time about cases: purpose, and whether a decision changed."""
        return self._database.read(
            lambda conn: [
                (purpose, bool(changed))
                for purpose, changed in conn.execute(
                    "SELECT purpose, changed FROM consequence WHERE at >= ? AND at < ?", (first, until)
                )
            ]
        )

    async def keep_lapse(self, case: str, by: str, lookups: int, at: int) -> None:
        """Put on the record that a case was not taken in: a row, and its hash in the log."""
        row = (at, case, by, lookups)

        def write(conn: Connection) -> None:
            conn.execute("INSERT INTO lapsed VALUES (?, ?, ?, ?)", row)
            append_log(conn, "lapsed", blake(32, b"bekend1-lapsed", json.dumps(row).encode()), at)

        await self._database.write(write)

    async def keep_read(self, read: LogRead) -> None:
        """Put a reading of the log on the record. Raises StorageError: then nothing may be shown."""
        await self._database.write(lambda conn: append_read(conn, read))

    def reads(self, first: int, until: int) -> list[LogRead]:
        """Who read the log."""
        return self._database.read(lambda conn: reads_between(conn, first, until))


def _rows(conn: Connection, first: int, until: int) -> Iterator[Decided]:
    return map(Decided.of, decisions_between(conn, first, until))


def _ended(conn: Connection, trace: bytes) -> int | None:
    row = conn.execute("SELECT at FROM own_record WHERE id = ? AND kind = ?", (trace, KIND_OUTCOMES)).fetchone()
    return int(row[0]) if row else None
