"""Retention at the broker: decisions past their term, and the month keys `u` of which no record lives any more.

A month's key ties every sealed record of that month, at every source, to its person. It goes when the longest term of
any purpose is over for the whole month, and the audits that the law demands cover it; from then on no access request
and no thief can open what somebody may have kept. The log and its tree stay.
"""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from pathlib import Path
from typing import Final

from bekend_policy.model import Covenant
from bekend_policy.retention import (
    MOST,
    NEVER,
    Kept,
    kept_in,
    over_before,
    parties_of,
    shortest_term,
    years_before,
)
from bekend_proto import logs
from bekend_proto.clock import Clock, add_months, milliseconds, month_start
from bekend_proto.errors import BekendError

from bekend_broker.keys import destroy_root, record_root, roots_at_hand
from bekend_broker.store_retention import RetentionStore

TIDY_SECONDS: Final = 600.0


class Retention:
    """Destroys what is past its term. `covenants`: the versions in service; `reload`: after a key was destroyed."""

    def __init__(
        self,
        rows: RetentionStore,
        keys: Path,
        covenants: Callable[[], tuple[Covenant, ...]],
        clock: Clock,
        reload: Callable[[], Awaitable[bool]],
    ) -> None:
        self._rows = rows
        self._keys = keys
        self._covenants = covenants
        self._clock = clock
        self._reload = reload
        self._copies = False

    async def run(self) -> None:
        """Tidy every ten minutes, until cancelled. What fails is tried again."""
        while True:
            await asyncio.sleep(TIDY_SECONDS)
            await self.try_tidy()

    async def try_tidy(self) -> None:
        """As `tidy`; what fails is logged."""
        try:
            await self.tidy()
        except BekendError as fault:
            logs.log(logs.RETENTION_FAILED, detail=fault.detail)

    async def tidy(self) -> int:
        """Destroy what is past its term now; how many rows and keys there were. Raises StorageError, KeysError."""
        now = self._clock.now()
        covenants, kept = self._covenants(), kept_in(await asyncio.to_thread(self._rows.newest_note))
        gone = await self._rows.forget_reads(milliseconds(years_before(now, MOST)))
        first_over = milliseconds(years_before(now, min(map(shortest_term, covenants))))
        for requester, purpose, _ in await asyncio.to_thread(self._rows.older_than, first_over):
            before = min(_over(covenant, requester, purpose, kept, now) for covenant in covenants)
            if before > NEVER:
                gone += await self._rows.destroy(requester, purpose, milliseconds(before))
        if gone:
            logs.log(logs.RETENTION_DESTROYED, rows=gone)
        if gone or self._copies:
            self._copies = not await self._rows.leave_no_copy()
        months = months_over(self._keys, covenants, kept, now)
        for month in months:
            await asyncio.to_thread(destroy_root, record_root(self._keys, month))
            logs.log(logs.RECORD_KEY_DESTROYED, month=month)
        if months:
            await self._reload()
        return gone + len(months)


def months_over(keys: Path, covenants: tuple[Covenant, ...], kept: Kept | None, now: datetime) -> list[str]:
    """The months of which the root is at hand and no record lives any more, under any purpose of any version."""
    pairs = [
        (covenant, requester, purpose)
        for covenant in covenants
        for purpose in covenant.purposes
        for requester in covenant.requesters(purpose)
    ]
    before = min((_over(*pair, kept, now) for pair in pairs), default=NEVER)
    _, months = roots_at_hand(keys)
    return [month for month in months if month_start(add_months(month, 1)) <= before]


def _over(covenant: Covenant, requester: str, purpose: str, kept: Kept | None, now: datetime) -> datetime:
    parties = parties_of(covenant, purpose, requester, *covenant.sources(purpose))
    return over_before(covenant, purpose, parties, kept, now)
