"""The own clock beside a replica's, looked at with every call for its directory: the operator hears of it (T35).

Who is a minute off asks and answers nothing, and each message only says that one is too old. The broker's clock may be
the wrong one: with several replicas the operator sees which of them differs. Nothing is set or refused here.
"""

from collections.abc import Awaitable
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final, Protocol

from bekend_proto import logs
from bekend_proto.clock import FRESHNESS
from bekend_proto.interceptors import DATE
from bekend_proto.logs import log

from bekend_node.metrics import NodeMetrics

_STEP: Final = timedelta(seconds=1)
"""A date names whole seconds."""
OFF: Final = FRESHNESS / 2
"""From here on it is told: the other half may be used up on the way."""


class Call(Protocol):
    """A call that ended."""

    def trailing_metadata(self) -> Awaitable[Any]:
        """What the replica said at its end."""
        ...


class ClockBeside:
    """Tells how far the own clock is ahead of each replica's."""

    def __init__(self, metrics: NodeMetrics) -> None:
        self._metrics = metrics
        self._off: set[str] = set()

    async def look(self, broker: str, call: Call, began: datetime, ended: datetime) -> None:
        """`began` and `ended`: when the call was made and its reply was there, by the own clock."""
        theirs = moment_of(dict(await call.trailing_metadata() or ()).get(DATE))
        if theirs is None:
            return
        ahead = ahead_of(theirs, began, ended)
        self._metrics.clock(broker, ahead.total_seconds())
        is_off = abs(ahead) >= OFF
        if is_off != (broker in self._off):
            seconds = round(ahead.total_seconds())
            log(logs.CLOCK_OFF if is_off else logs.CLOCK_RIGHT, broker=broker, ahead=seconds)
            self._off ^= {broker}


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
