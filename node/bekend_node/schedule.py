"""When filters switch and late answers are collected: at fixed moments that depend on nothing but clock and OIN.

Changed or not, so that a switch tells nothing about imports or shieldings (protocol section 4, `m`); released or not,
so that a collect tells nothing about what was decided (section 9).
"""

from datetime import timedelta
from hashlib import blake2b

from bekend_proto.collecting import FIRST_COLLECT

RELEASE_SECONDS = 600
"""How long after its Question a D is taken: so long a filter for answering by hand outlives its switch (section 9)."""
_STEPS = (
    (1 << 17, timedelta(minutes=15)),
    (1 << 20, timedelta(hours=1)),
)
LONGEST_INTERVAL = timedelta(hours=6)
"""Between two switches of a filter of any size, where the covenant sets no interval."""


def interval_of(tags: int, agreed: timedelta | None) -> timedelta:
    """Time between two switches: as the covenant sets it, else by the number of tags."""
    if agreed is not None:
        return agreed
    return next((interval for limit, interval in _STEPS if tags <= limit), LONGEST_INTERVAL)


def next_switch(oin: str, interval: timedelta, after: int) -> int:
    """The first switch moment after a moment, both in seconds since 1970-01-01 UTC.

    Moments are multiples of the interval plus a constant offset per node, so that not all nodes switch at once.
    """
    seconds = _seconds(interval)
    offset = int.from_bytes(blake2b(oin.encode("ascii"), digest_size=8, person=b"bekend1-switch").digest()) % seconds
    return (after - offset) // seconds * seconds + seconds + offset


def collect_moment(requester: str, interval: timedelta, asked: int, number: int) -> int:
    """When the collect with this number is due, in seconds since 1970-01-01 UTC; it is never made earlier.

    `asked` is the Question's time, in milliseconds. FIRST_COLLECT belongs to the requester's first moment after it,
    each next number to the moment after that. Both sides count so: a number tells nothing but its moment.
    """
    return next_switch(requester, interval, asked // 1000) + (number - FIRST_COLLECT) * _seconds(interval)


def collect_number(requester: str, interval: timedelta, asked: int, now: int) -> int:
    """The number of the last collect that is due at `now` (seconds); FIRST_COLLECT - 1 before the first one."""
    late = now - collect_moment(requester, interval, asked, FIRST_COLLECT)
    return max(FIRST_COLLECT - 1, FIRST_COLLECT + late // _seconds(interval))


def _seconds(interval: timedelta) -> int:
    return max(1, int(interval.total_seconds()))
