"""Which key epochs there are at a moment: quarters that overlap, and keys that were renewed within one (ADR 0038).

    2026Q4   the keys of a quarter
    2026R4   keys made in its course, after a theft; then 2026S4, up to 2026Z4

Renewed keys stand beside those before them, in both manifests, until those are left out and destroyed. What counts is
the newest of which everything is there.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from typing import Final

from bekend_proto.clock import epoch_of, epoch_start, next_epoch, previous_epoch

OVERLAP: Final = timedelta(days=7)
"""How long an ended quarter is still served (protocol section 4)."""
AHEAD: Final = timedelta(days=14)
"""How long before its start the next quarter's keys are made and its registers enrolled."""


def quarter_of(epoch: str) -> str:
    """The quarter that an epoch lies in, by the name of its first keys. Raises ValueError."""
    return epoch_of(epoch_start(epoch))


def age_of(epoch: str) -> tuple[datetime, str]:
    """To put epochs in order: the later quarter is newer, within one the later letter. Raises ValueError."""
    return epoch_start(epoch), epoch[4]


def renewed(epoch: str) -> str:
    """The epoch of the keys that come after these within their quarter. Raises ValueError after nine."""
    if epoch[4] == "Z":
        raise ValueError(f"the keys of {quarter_of(epoch)} were renewed nine times: no name is left")
    return f"{epoch[:4]}{chr(ord(epoch[4]) + 1)}{epoch[5]}"


def served_epochs(now: datetime, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Epochs in which questions are answered, newest first: of the present quarter and, in its overlap, the one before.

    Each quarter's first, and of `known` those that were renewed within it.
    """
    quarters = [epoch_of(now)]
    if now - epoch_start(quarters[0]) < OVERLAP:
        quarters.append(previous_epoch(quarters[0]))
    return tuple(epoch for quarter in quarters for epoch in _of_quarter(quarter, known))


def enrolled_epochs(now: datetime, known: Iterable[str] = ()) -> tuple[str, ...]:
    """Epochs that registers are enrolled in, oldest first: the present quarter's, and the next one when it is near."""
    present = epoch_of(now)
    coming = next_epoch(present)
    found = tuple(reversed(_of_quarter(present, known)))
    return (*found, coming) if epoch_start(coming) - now <= AHEAD else found


def is_served(epoch: str, now: datetime) -> bool:
    """Whether an epoch's quarter is one that is answered now; False for what is no epoch."""
    try:
        quarter = quarter_of(epoch)
    except ValueError:
        return False
    present = epoch_of(now)
    return quarter == present or (now - epoch_start(present) < OVERLAP and quarter == previous_epoch(present))


def is_enrolled(epoch: str, now: datetime) -> bool:
    """Whether an epoch's quarter is one that is enrolled now; False for what is no epoch."""
    try:
        return quarter_of(epoch) in enrolled_epochs(now)
    except ValueError:
        return False


def is_over(epoch: str, now: datetime) -> bool:
    """Whether an epoch's quarter ended, and its overlap with it. Raises ValueError."""
    return now >= epoch_start(next_epoch(epoch)) + OVERLAP


def replaced(epochs: Iterable[str], announced: Iterable[str]) -> tuple[str, ...]:
    """Those epochs that the signed manifest names no more, because it names keys that were renewed after them."""
    named = set(announced)
    return tuple(
        epoch
        for epoch in epochs
        if epoch not in named
        and any(quarter_of(other) == quarter_of(epoch) and age_of(other) > age_of(epoch) for other in named)
    )


def _of_quarter(quarter: str, known: Iterable[str]) -> tuple[str, ...]:
    """The epochs of a quarter, newest first."""
    found = {quarter, *(epoch for epoch in known if quarter_of(epoch) == quarter)}
    return tuple(sorted(found, key=age_of, reverse=True))
