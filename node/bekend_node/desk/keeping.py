"""What is over at the desk is erased: items at the end of their term, everything an hour later, old bytes at once."""

import asyncio
import contextlib
from datetime import datetime

from bekend_proto.clock import Clock, milliseconds
from bekend_proto.errors import BekendError

from bekend_node.answer.pending import KEPT_LONGER
from bekend_node.desk.matter import Matter
from bekend_node.desk.matters import Matters
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore, Exchange

TICK_SECONDS = 2.0


class Keeping:
    """Erases. `tick` does what is due now."""

    def __init__(self, store: Store, desk: DeskStore, matters: Matters, clock: Clock) -> None:
        self._store = store
        self._desk = desk
        self._matters = matters
        self._clock = clock
        self._ended: set[bytes] = set()

    async def run(self) -> None:
        """Tick every two seconds until cancelled, after one look beside the event loop at what was there before."""
        with contextlib.suppress(BekendError):
            await asyncio.to_thread(self._matters.learn)
        while True:
            # A disk fault: what is due is due at the next tick too.
            with contextlib.suppress(BekendError):
                await self.tick()
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Erase what is over, and the older copies of what was changed. Raises StorageError, KeysError."""
        now = self._clock.now()
        for question_id in self._desk.ended(milliseconds(now)):
            if question_id not in self._ended:
                await self._matters.change(question_id, _end)
                self._ended.add(question_id)
        await self._forget(now - KEPT_LONGER)
        await self._desk.erase()

    async def _forget(self, before: datetime) -> None:
        if await self._matters.forget(milliseconds(before)):
            self._ended &= set(self._desk.question_ids())
        await self._store.forget_awaiting(before)


def _end(exchange: Exchange, kept: list[Matter]) -> tuple[Exchange, list[Matter]]:
    return exchange, [one.ended() for one in kept]
