"""What is over at the desk is erased: items at the end of their term, everything an hour later, old bytes at once."""

import asyncio
import contextlib
from datetime import datetime

from bekend_proto.clock import Clock, milliseconds
from bekend_proto.errors import BekendError

from bekend_node.answer.pending import KEPT_LONGER
from bekend_node.desk.matter import open_matter
from bekend_node.keys import NodeKeys
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore, Exchange

TICK_SECONDS = 2.0


class Keeping:
    """Erases. `tick` does what is due now."""

    def __init__(self, keys: NodeKeys, store: Store, desk: DeskStore, clock: Clock) -> None:
        self._keys = keys
        self._store = store
        self._desk = desk
        self._clock = clock
        self._ended: set[bytes] = set()

    async def run(self) -> None:
        """Tick every two seconds until cancelled."""
        while True:
            # A disk fault: what is due is due at the next tick too.
            with contextlib.suppress(BekendError):
                await self.tick()
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Erase what is over, and the older copies of what was changed. Raises StorageError, KeysError."""
        now = self._clock.now()
        for exchange in self._desk.exchanges():
            if exchange.until <= milliseconds(now) and exchange.question_id not in self._ended:
                await self._desk.change(exchange.question_id, self._end)
                self._ended.add(exchange.question_id)
        await self._forget(now - KEPT_LONGER)
        await self._desk.erase()

    def _end(self, exchange: Exchange, sealed: list[bytes]) -> tuple[Exchange, list[bytes]]:
        box = self._keys.desk_box
        return exchange, [open_matter(box, one).ended().seal(box) for one in sealed]

    async def _forget(self, before: datetime) -> None:
        if await self._desk.forget(milliseconds(before)):
            self._ended &= {exchange.question_id for exchange in self._desk.exchanges()}
        await self._store.forget_awaiting(before)
