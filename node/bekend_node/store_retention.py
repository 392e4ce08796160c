"""Destroying, in `node.db`, what is past its term: rows and what was sealed in them. The log and its tree stay whole.

Hashes say nothing about a person; what identifies is destroyed here, zeroed in the file (secure_delete) and gone from
the -wal file afterwards.
"""

import asyncio
from dataclasses import dataclass
from sqlite3 import Connection
from typing import Final

from bekend_proto.clock import from_milliseconds
from bekend_proto.decision_table import forget_decisions
from bekend_proto.durable import Database
from bekend_proto.errors import StorageError
from bekend_proto.read_table import forget_reads
from bekend_proto.retention_table import keep_retention_note, newest_retention_note


@dataclass(frozen=True, slots=True)
class Overdue:
    """A requester and purpose of which something is older than a moment: so many answered questions and decisions."""

    requester: str
    purpose: str
    count: int


class RetentionStore:
    """What retention reads and removes. Moments are in milliseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def newest_note(self) -> bytes | None:
        """The bewaarbesluit that counts."""
        found = self._database.read(newest_retention_note)
        return None if found is None else found[1]

    def keep_note(self, number: int, note: bytes, at: int) -> bool:
        """Keep a verified bewaarbesluit; False when one of this number or a higher one is there."""
        return self._database.write_sync(lambda conn: keep_retention_note(conn, number, note, at))

    def older_than(self, before: int) -> list[Overdue]:
        """What is older than a moment, per requester and purpose."""

        def read(conn: Connection) -> list[Overdue]:
            rows = conn.execute(
                "SELECT requester, purpose, sum(n) FROM ("
                "SELECT requester, purpose, count(*) AS n FROM answered WHERE at < ? GROUP BY requester, purpose"
                " UNION ALL"
                " SELECT requester, purpose, count(*) FROM decision WHERE at < ? GROUP BY requester, purpose)"
                " GROUP BY requester, purpose",
                (before, before),
            )
            return [Overdue(*row) for row in rows]

        return self._database.read(read)

    async def destroy(self, requester: str, purpose: str, before: int) -> int:
        """Destroy what is kept of one requester's questions under a purpose that is older; how many rows there were."""

        def write(conn: Connection) -> int:
            old = (requester, purpose, before)
            which = "SELECT number FROM answered WHERE requester = ? AND purpose = ? AND at < ?"
            gone = conn.execute(f"DELETE FROM sealed WHERE number IN ({which})", old).rowcount  # noqa: S608
            gone += conn.execute("DELETE FROM answered WHERE requester = ? AND purpose = ? AND at < ?", old).rowcount
            gone += conn.execute(
                "DELETE FROM own_record WHERE id IN"
                " (SELECT trace FROM decision WHERE requester = ? AND purpose = ? AND at < ?)",
                old,
            ).rowcount
            return gone + forget_decisions(conn, requester, purpose, before)

        return await self._database.write(write)

    async def destroy_rest(self, before: int) -> int:
        """Destroy older own records of no decision, records of the desk, and what questions rested on; how many."""

        def write(conn: Connection) -> int:
            gone = conn.execute(
                "DELETE FROM own_record WHERE at < ? AND id NOT IN (SELECT trace FROM decision)", (before,)
            ).rowcount
            gone += conn.execute("DELETE FROM desk_record WHERE at < ?", (before,)).rowcount
            return gone + _forget_grounds(conn, before)

        return await self._database.write(write)

    async def forget_acts(self, before: int) -> int:
        """Forget readings of the log, lapsed cases, consequences, halts, corrections, audits; how many were older."""

        def write(conn: Connection) -> int:
            gone = forget_reads(conn, before) + conn.execute("DELETE FROM lapsed WHERE at < ?", (before,)).rowcount
            gone += conn.execute("DELETE FROM halt WHERE at < ?", (before,)).rowcount
            gone += conn.execute("DELETE FROM correction WHERE at < ?", (before,)).rowcount
            gone += conn.execute("DELETE FROM audit_request WHERE at < ?", (before,)).rowcount
            gone += conn.execute("DELETE FROM audit_result WHERE at < ?", (before,)).rowcount
            return gone + conn.execute("DELETE FROM consequence WHERE at < ?", (before,)).rowcount

        return await self._database.write(write)

    async def leave_no_copy(self) -> bool:
        """Empty the -wal file, where pages stand as they were; False when a reader is in the way: try again."""
        try:
            await asyncio.to_thread(self._database.truncate_wal)
        except StorageError:
            return False
        return True


def _forget_grounds(conn: Connection, before: int) -> int:
    """Raised limits, deferrals and consents: kept as long as what rested on them, each from its own last moment."""
    # Their tables let nothing go that is younger than this.
    conn.execute("DELETE FROM destroyed_before")
    conn.execute("INSERT INTO destroyed_before VALUES (?)", (before,))
    day = from_milliseconds(before).date().isoformat() if before > 0 else ""
    ended = "SELECT deferral FROM deferral_step WHERE step = 'ended' AND at >= ?"
    which = f"SELECT id FROM deferral WHERE review_on < ? AND id NOT IN ({ended})"  # noqa: S608 - fixed texts
    old = f"SELECT id FROM consent WHERE withdraws IS NULL AND at < ? AND id NOT IN ({_HELD})"  # noqa: S608
    gone = 0
    for statement, values in (
        ("DELETE FROM raised WHERE at < ?", (before,)),
        (f"DELETE FROM deferral_step WHERE deferral IN ({which})", (day, before)),  # noqa: S608
        (f"DELETE FROM deferral WHERE id IN ({which})", (day, before)),  # noqa: S608
        (f"DELETE FROM consent WHERE withdraws IN ({old})", (before, before)),  # noqa: S608
        (f"DELETE FROM consent WHERE id IN ({old})", (before, before)),  # noqa: S608
    ):
        gone += conn.execute(statement, values).rowcount
    return gone


_HELD: Final = (
    "SELECT withdraws FROM consent WHERE withdraws IS NOT NULL AND at >= ?"
    " UNION SELECT consent FROM pending WHERE consent IS NOT NULL"
)
"""Consents that were withdrawn since, and those that a question still rests on."""
