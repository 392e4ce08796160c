"""Destroying, in the broker's database, what is past its term. The log and its tree stay whole."""

import asyncio

from bekend_proto.decision_table import forget_decisions
from bekend_proto.errors import StorageError
from bekend_proto.read_table import forget_reads
from bekend_proto.retention_table import keep_retention_note, newest_retention_note

from bekend_broker.database import Database


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
        return self._database.write_sync(lambda c: keep_retention_note(c, number, note, at))

    def older_than(self, before: int) -> list[tuple[str, str, int]]:
        """Requester, purpose and number of the decisions that are older than a moment."""
        return self._database.read(
            lambda c: c.execute(
                "SELECT requester, purpose, count(*) FROM decision WHERE at < ? GROUP BY requester, purpose", (before,)
            ).fetchall()
        )

    async def destroy(self, requester: str, purpose: str, before: int) -> int:
        """Destroy the older decisions about one requester's questions under a purpose; how many there were."""
        return await self._database.write(lambda c: forget_decisions(c, requester, purpose, before))

    async def forget_reads(self, before: int) -> int:
        """Forget readings of the log that are older; how many there were."""
        return await self._database.write(lambda c: forget_reads(c, before))

    async def leave_no_copy(self) -> bool:
        """Empty the -wal file, where pages stand as they were; False when a reader is in the way: try again."""
        try:
            await asyncio.to_thread(self._database.truncate_wal)
        except StorageError:
            return False
        return True
