"""The one clock, and the calendar that the protocol counts by.

Epochs (quarters) and record months are UTC (protocol section 4); a day of a budget is a day in
Europe/Amsterdam (protocol section 7). Everything that needs the time is handed a Clock.
"""

import re
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Final, Protocol
from zoneinfo import ZoneInfo

FRESHNESS: Final = timedelta(seconds=60)
"""A signed time may differ from the receiver's by this much, either way (protocol, parameters)."""

REPLAY_MEMORY: Final = timedelta(minutes=10)
"""How long an id that was seen is remembered at least (protocol, parameters)."""

AMSTERDAM: Final = ZoneInfo("Europe/Amsterdam")

_START = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_EPOCH = re.compile(r"([0-9]{4})[Q-Z]([1-4])")
_MONTH = re.compile(r"([0-9]{4})-(0[1-9]|1[0-2])")


class Clock(Protocol):
    """Says what time it is: an aware datetime in UTC."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        ...


class SystemClock:
    """The clock of the machine."""

    def now(self) -> datetime:
        """The present moment, in UTC."""
        return datetime.now(UTC)


def epoch_of(moment: datetime) -> str:
    """The key epoch of a moment: its UTC quarter, `2026Q4`."""
    utc = _utc(moment)
    return f"{utc.year:04}Q{(utc.month + 2) // 3}"


@lru_cache(maxsize=64)
def epoch_start(epoch: str) -> datetime:
    """The first moment of an epoch's quarter.

    Raises ValueError unless it reads `YYYYQn`, or has a later letter for keys that were renewed within the quarter.
    """
    year, quarter = _parts(_EPOCH, epoch)
    return datetime(year, 3 * quarter - 2, 1, tzinfo=UTC)


def next_epoch(epoch: str) -> str:
    """The quarter after this one; its start is this one's end."""
    return epoch_of(epoch_start(epoch) + timedelta(days=93))


def previous_epoch(epoch: str) -> str:
    """The quarter before this one."""
    return epoch_of(epoch_start(epoch) - timedelta(days=1))


def month_of(moment: datetime) -> str:
    """The record month of a moment: its UTC calendar month, `2026-11`."""
    utc = _utc(moment)
    return f"{utc.year:04}-{utc.month:02}"


def month_start(month: str) -> datetime:
    """The first moment of a month, in UTC. Raises ValueError unless it reads `YYYY-MM`."""
    year, number = _parts(_MONTH, month)
    return datetime(year, number, 1, tzinfo=UTC)


def add_months(month: str, count: int) -> str:
    """The month that lies `count` months later (earlier when negative)."""
    year, number = _parts(_MONTH, month)
    years, rest = divmod(12 * year + number - 1 + count, 12)
    return f"{years:04}-{rest + 1:02}"


def day_of(moment: datetime) -> date:
    """The day to which a question counts: its date in Europe/Amsterdam."""
    return _utc(moment).astimezone(AMSTERDAM).date()


def day_start(day: date) -> datetime:
    """The first moment (UTC) of a day in Europe/Amsterdam. Of the calendar's first day, its beginning."""
    try:
        return datetime.combine(day, time(0), AMSTERDAM).astimezone(UTC)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def day_end(day: date) -> datetime:
    """The first moment (UTC) after a day in Europe/Amsterdam. Of 9999-12-31, which many write for "no end", never."""
    return datetime.max.replace(tzinfo=UTC) if day == date.max else day_start(day + timedelta(days=1))


def milliseconds(moment: datetime) -> int:
    """Whole milliseconds since 1970-01-01 UTC, as signed payloads carry them."""
    return (_utc(moment) - _START) // _MILLISECOND


def from_milliseconds(value: int) -> datetime:
    """The moment of a signed payload's time. Raises ValueError when no calendar holds it."""
    try:
        return _START + timedelta(milliseconds=value)
    except OverflowError as error:
        raise ValueError("a time outside the calendar") from error


def is_fresh(value: int, now: datetime, window: timedelta = FRESHNESS) -> bool:
    """Whether a payload's milliseconds lie within the window around now, bounds included."""
    return abs(milliseconds(now) - value) <= window // _MILLISECOND


def _parts(pattern: re.Pattern[str], text: str) -> tuple[int, int]:
    found = pattern.fullmatch(text)
    if found is None:
        raise ValueError(f"not a period: {text!r}")
    return int(found[1]), int(found[2])


def _utc(moment: datetime) -> datetime:
    if moment.tzinfo is None:
        raise ValueError("a moment without a time zone")
    return moment if moment.tzinfo is UTC else moment.astimezone(UTC)
