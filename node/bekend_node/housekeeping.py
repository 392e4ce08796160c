"""Housekeeping: what is over is destroyed while the node serves, each part by the rules of its own module."""

import asyncio
import contextlib
from datetime import datetime, timedelta
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import Clock, day_of
from bekend_proto.epochs import enrolled_epochs, is_over, replaced, served_epochs
from bekend_proto.errors import BekendError

from bekend_node.ask.asker import Asker
from bekend_node.ask.signals import Signals
from bekend_node.ask.team import Team
from bekend_node.keys import NodeKeys
from bekend_node.metrics import NodeMetrics
from bekend_node.retention import Retention
from bekend_node.rules import RulesInForce
from bekend_node.store import Store
from bekend_node.store_registers import Registers

SECONDS: Final = 600.0


class Housekeeping:
    """Keys and pseudonyms of epochs, records past their term, budgets of old days, what waited too long."""

    def __init__(
        self,
        *,
        keys: NodeKeys,
        rules: RulesInForce,
        registers: Registers,
        store: Store,
        retention: Retention,
        team: Team,
        signals: Signals,
        asker: Asker,
        metrics: NodeMetrics,
        clock: Clock,
    ) -> None:
        self._keys = keys
        self._rules = rules
        self._registers = registers
        self._store = store
        self._retention = retention
        self._team = team
        self._signals = signals
        self._asker = asker
        self._metrics = metrics
        self._clock = clock

    async def run(self) -> None:
        """Keep house until cancelled; what fails is done the next time."""
        while True:
            await asyncio.sleep(SECONDS)
            with contextlib.suppress(BekendError):
                await self.keep()

    async def keep(self) -> None:
        """Destroy what is over now. Raises StorageError, KeysError."""
        now = self._clock.now()
        await self._forget_epochs(now)
        await self._store.forget_budgets(day_of(now) - timedelta(days=1))
        await self._retention.tidy()
        await self._team.tidy()
        await self._signals.tidy()
        self._asker.four_eyes.tidy()
        await self._asker.emergencies.tidy()
        self._metrics.retention_waits(self._retention.waiting_rows)

    async def _forget_epochs(self, now: datetime) -> None:
        """Those that have ended, and those whose keys the signed manifest no more names."""
        known = self._keys.epochs()
        left_out = replaced(known, {epoch for _, _, epoch in self._rules.now.manifest.evaluation_keys})
        kept = {*served_epochs(now, known), *enrolled_epochs(now, known)} - {*left_out}
        await asyncio.to_thread(self._registers.forget_epochs, kept)
        for epoch in known:
            if epoch in left_out or is_over(epoch, now):
                self._keys.destroy_epoch(epoch)
                logs.log(logs.EPOCH_DESTROYED, epoch=epoch)
