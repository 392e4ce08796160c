"""The own clock beside a replica's, looked at with every call for its directory: the operator hears of it (T35).

Who is a minute off asks and answers nothing, and each message only says that one is too old. The broker's clock may be
the wrong one: with several replicas the operator sees which of them differs. No clock is set here.

While the own clock is ahead of every replica's, no filter is switched or destroyed (ADR 0049): one with a number of the
future would be believed by nobody until then, also after the clock was set right. What was said counts on by a clock
that nobody sets, so that a leap shows at once. A replica that says what is not true can keep a switch back and nothing
else: what was due and did not come is `geen antwoord`, by the own clock.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, Final, Protocol

from bekend_proto import logs
from bekend_proto.clock import FRESHNESS
from bekend_proto.errors import BekendError
from bekend_proto.interceptors import DATE
from bekend_proto.logs import log

from bekend_node.metrics import NodeMetrics

_STEP: Final = timedelta(seconds=1)
"""A date names whole seconds."""
OFF: Final = FRESHNESS / 2
"""From here on it is told: the other half may be used up on the way."""
AGAIN: Final = 10.0
"""Seconds between two looks while in doubt."""


class Doubt(StrEnum):
    """Why the own clock is not gone by."""

    AHEAD = "the clock is ahead of the broker's: no filter is switched until it is set right"
    UNHEARD = "no replica of the broker was heard yet: its clock is held beside the own first"


class Call(Protocol):
    """A call that ended."""

    def trailing_metadata(self) -> Awaitable[Any]:
        """What the replica said at its end."""
        ...


class ClockBeside:
    """Tells how far the own clock is ahead of each replica's. `elapsed`: seconds on a clock that nobody sets."""

    def __init__(self, metrics: NodeMetrics, elapsed: Callable[[], float] = time.monotonic) -> None:
        self._metrics = metrics
        self._elapsed = elapsed
        self._off: set[str] = set()
        self._said: dict[str, tuple[datetime | None, float]] = {}
        """Per replica the moment that it said last, if it said one, and when on the other clock it was asked."""
        self._asked: float | None = None
        """When the replicas were asked anew last in this doubt, on the other clock."""

    async def look(self, broker: str, call: Call, began: datetime, lasted: timedelta) -> None:
        """`began`: when the call was made, by the own clock; `lasted`: until its reply was there, by the other one."""
        theirs = moment_of(dict(await call.trailing_metadata() or ()).get(DATE))
        self._said[broker] = theirs, self._elapsed() - lasted.total_seconds()
        if theirs is None:
            return
        ahead = ahead_of(theirs, began, began + lasted)
        self._metrics.clock(broker, ahead.total_seconds())
        is_off = abs(ahead) >= OFF
        if is_off != (broker in self._off):
            seconds = round(ahead.total_seconds())
            log(logs.CLOCK_OFF if is_off else logs.CLOCK_RIGHT, broker=broker, ahead=seconds)
            self._off ^= {broker}

    async def doubt(self, ask: Callable[[], Awaitable[None]], now: datetime) -> Doubt | None:
        """Why the own clock, which says `now`, is not gone by; None where it is. `ask` has the replicas looked at anew.

        Nobody is answered before a replica was heard. One that says no moment leaves no doubt.
        """
        since = self._elapsed()
        if self._is_ahead(now, since) and (self._asked is None or since - self._asked >= AGAIN):
            # Or the machine slept, and the other clock with it; or the replicas' clocks were set.
            self._asked = since
            with contextlib.suppress(BekendError):
                await ask()
        if self._is_ahead(now, since):
            return Doubt.AHEAD
        self._asked = None
        return None if self._said else Doubt.UNHEARD

    def _is_ahead(self, now: datetime, since: float) -> bool:
        """Whether nobody whose clock is a replica's would believe what is of this moment, whichever replica that is.

        `since`: that moment on the other clock.
        """
        return bool(self._said) and all(
            theirs is not None and now - theirs - _STEP - timedelta(seconds=since - asked) > FRESHNESS
            for theirs, asked in self._said.values()
        )


def ahead_of(theirs: datetime, began: datetime, ended: datetime) -> timedelta:
    """How far the own clock is ahead at least (negative: behind), when they said `theirs` at some moment of a call."""
    if began - theirs > _STEP:
        return began - theirs - _STEP
    return ended - theirs if ended < theirs else timedelta(0)


def moment_of(said: object) -> datetime | None:
    """The moment that a replica says; None where it says none that can be held beside another."""
    try:
        found = parsedate_to_datetime(str(said))
    except (ValueError, OverflowError):
        return None
    # `-0000` names no zone.
    return found if found.tzinfo is not None else None
