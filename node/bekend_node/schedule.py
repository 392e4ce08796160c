"""When filters switch: at fixed moments that depend on nothing but the clock, the OIN and the size class.

Changed or not, so that a switch tells nothing about imports or shieldings (protocol section 4, `m`).
"""

from datetime import timedelta
from hashlib import blake2b

_STEPS = (
    (1 << 17, timedelta(minutes=15)),
    (1 << 20, timedelta(hours=1)),
)
_LARGEST = timedelta(hours=6)


def interval_of(tags: int, agreed: timedelta | None) -> timedelta:
    """Time between two switches: as the covenant sets it, else by the number of tags."""
    if agreed is not None:
        return agreed
    return next((interval for limit, interval in _STEPS if tags <= limit), _LARGEST)


def next_switch(oin: str, interval: timedelta, after: int) -> int:
    """The first switch moment after a moment, both in seconds since 1970-01-01 UTC.

    Moments are multiples of the interval plus a constant offset per node, so that not all nodes switch at once.
    """
    seconds = max(1, int(interval.total_seconds()))
    offset = int.from_bytes(blake2b(oin.encode("ascii"), digest_size=8, person=b"bekend1-switch").digest()) % seconds
    return (after - offset) // seconds * seconds + seconds + offset
