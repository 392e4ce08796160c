"""Misuse signals at the requester's node (FG-19): what a human should look at, found without keeping a number.

    odd-hours      a lookup outside the usual hours of this organisation
    burst          many lookups of one officer within ten minutes
    repeats        one officer asks again and again for one case within a day
    neighbours     numbers that lie close together, in different lookups of one officer within a day
    unused-cases   cases that were asked about once, and never used again
    own-staff      somebody of the own list of colleagues and known persons was to be asked about (FG-37)
    emergency      a question was asked before a second officer had looked (noodgreep)
    not-reviewed   nobody looked at such a question within 24 hours

A signal is for the privacy officer. It stops nothing, ranks nobody, and is no figure per person: a row says what, who,
which case, on which day, how often. Numbers are compared in memory alone: what stays of one is two hashes of the
stretch of numbers around it, under a key of the day and the officer that nobody else has and no disk holds.
"""

import asyncio
import contextlib
import secrets
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from enum import StrEnum
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import AMSTERDAM, Clock, day_of
from bekend_proto.errors import BekendError
from bekend_proto.identifiers import Identifier
from bekend_proto.octets import blake, i2osp

from bekend_node.ask.rules import Inquiry
from bekend_node.config import SignalTerms
from bekend_node.store_signals import SignalStore

SHORT: Final = timedelta(minutes=10)
STRETCH: Final = 100
"""Numbers that differ by at most half of this are neighbours; by more than this they never are."""
UNUSED_AFTER: Final = timedelta(days=28)
KEPT: Final = timedelta(days=365)


class Kind(StrEnum):
    """What was noticed."""

    ODD_HOURS = "odd-hours"
    BURST = "burst"
    REPEATS = "repeats"
    NEIGHBOURS = "neighbours"
    UNUSED_CASES = "unused-cases"
    OWN_STAFF = "own-staff"
    EMERGENCY = "emergency"
    NOT_REVIEWED = "not-reviewed"


@dataclass(frozen=True, slots=True)
class Noticed:
    """A signal about to be kept. `case` is empty where it is about no single case."""

    kind: Kind
    officer: str
    day: date
    case: str = ""


@dataclass
class _Seen:
    """What memory holds of one officer's lookups of a day. Nothing of it says a number."""

    day: date
    key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    moments: deque[datetime] = field(default_factory=deque)
    cases: dict[str, int] = field(default_factory=lambda: defaultdict(int), repr=False)
    stretches: dict[bytes, set[bytes]] = field(default_factory=lambda: defaultdict(set), repr=False)
    neighbours: int = 0

    def next_to(self, persons: Collection[Identifier]) -> bool:
        """Whether a number that is new today is close to one of an earlier lookup; then takes these in."""
        found = [self._hashes(one) for one in persons if one.kind == "bsn"]
        stretches = [(exact, self.stretches[place]) for exact, places in found for place in places]
        near = any(held and exact not in held for exact, held in stretches)
        for exact, places in found:
            for place in places:
                self.stretches[place].add(exact)
        return near

    def _hashes(self, one: Identifier) -> tuple[bytes, tuple[bytes, bytes]]:
        """Of the number itself, and of the two stretches that it lies in: one begins in the middle of the other."""
        number = int(one.value)
        first, second = number // STRETCH, (number + STRETCH // 2) // STRETCH
        return self._hash(0, number), (self._hash(1, first), self._hash(2, second))

    def _hash(self, what: int, number: int) -> bytes:
        return blake(16, b"bekend1-nearby", i2osp(what, 1) + i2osp(number, 8), self.key)


class Signals:
    """Looks at each lookup that is asked. Never stops, delays or fails one. `noticed` is told of which kind."""

    def __init__(
        self, store: SignalStore, terms: SignalTerms, clock: Clock, noticed: Callable[[str], None] = lambda _: None
    ) -> None:
        self._noticed = noticed
        self._store = store
        self._terms = terms
        self._clock = clock
        self._seen: dict[str, _Seen] = {}
        self._writing: set[asyncio.Task[None]] = set()

    def asked(self, inquiry: Inquiry, ended: Awaitable[object]) -> None:
        """A lookup begins. What is noticed is written when it has `ended`: its own writes wait for no other."""
        now = self._clock.now()
        case = (inquiry.case_reference or "").strip()
        found = self._look(inquiry, case, now)
        task = asyncio.create_task(self._keep(inquiry.officer.user, case, found, now, ended))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def tell(self, kind: Kind, officer: str, case: str) -> None:
        """What was noticed elsewhere; it is written in the background too."""
        now = self._clock.now()
        task = asyncio.create_task(self._tell(Noticed(kind, officer, day_of(now), case.strip()), now))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    def used(self, case: str) -> None:
        """A case turned up again by something else than a lookup."""
        task = asyncio.create_task(self._use(case.strip(), set(self._writing)))
        self._writing.add(task)
        task.add_done_callback(self._writing.discard)

    async def settle(self) -> None:
        """Wait until all that was noticed is written."""
        if self._writing:
            await asyncio.wait(self._writing)

    async def tidy(self) -> None:
        """Find cases that were not used again, forget old signals and yesterday's memory. Raises StorageError."""
        now = self._clock.now()
        today = day_of(now)
        self._seen = {user: seen for user, seen in self._seen.items() if seen.day == today}
        least = self._terms.unused_cases
        for officer, cases in await self._store.take_unused(now - UNUSED_AFTER, least):
            await self._write([Noticed(Kind.UNUSED_CASES, officer, today, case) for case in cases], now)
        await self._store.forget(today - KEPT)

    def _look(self, inquiry: Inquiry, case: str, now: datetime) -> list[Noticed]:
        user, today, terms = inquiry.officer.user, day_of(now), self._terms
        seen = self._seen.get(user)
        if seen is None or seen.day != today:
            seen = self._seen[user] = _Seen(today)
        seen.moments.append(now)
        while seen.moments[0] < now - SHORT:
            seen.moments.popleft()
        seen.cases[case] += 1
        near = seen.next_to(inquiry.persons)
        seen.neighbours += near
        noticed = {
            Kind.ODD_HOURS: not _is_between(now.astimezone(AMSTERDAM).time(), terms.usual_hours),
            Kind.BURST: 0 < terms.burst <= len(seen.moments),
            Kind.REPEATS: bool(case) and 0 < terms.repeats <= seen.cases[case],
            Kind.NEIGHBOURS: near and 0 < terms.neighbours <= seen.neighbours,
        }
        return [Noticed(kind, user, today, case) for kind, is_so in noticed.items() if is_so]

    async def _keep(
        self, officer: str, case: str, found: list[Noticed], now: datetime, ended: Awaitable[object]
    ) -> None:
        await ended
        # A disk that fails stops the lookup by itself: its own record has to be durable.
        with contextlib.suppress(BekendError):
            await self._write(found, now, (officer, case) if case else None)

    async def _tell(self, one: Noticed, now: datetime) -> None:
        with contextlib.suppress(BekendError):
            await self._write([one], now)

    async def _use(self, case: str, before: Collection[asyncio.Task[None]]) -> None:
        # The lookup that is used may not have ended, and then is not written yet.
        if before:
            await asyncio.wait(before)
        with contextlib.suppress(BekendError):
            await self._store.case_used(case)

    async def _write(self, found: list[Noticed], now: datetime, asked: tuple[str, str] | None = None) -> None:
        if not found and asked is None:
            return
        await self._store.add([(one.kind.value, one.officer, one.case, one.day) for one in found], now, asked)
        for kind in {one.kind for one in found}:
            logs.log(logs.MISUSE_SIGNAL, kind=kind.value)
            self._noticed(kind.value)


def _is_between(at: time, hours: tuple[time, time]) -> bool:
    return hours[0] <= at < hours[1]
