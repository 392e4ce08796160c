"""Figures and the bars that they are held against: plain arithmetic, no measuring."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass


@dataclass(frozen=True)
class Bar:
    """What a figure has to reach: `of` says whether its value or its ratio to the floor is meant."""

    limit: float
    at_most: bool = False
    of: str = "ratio"

    def met(self, figure: "Figure") -> bool:
        """Whether the figure reaches it. A figure without the number that is asked for does not."""
        number = figure.ratio if self.of == "ratio" else figure.value
        if number is None:
            return False
        return number <= self.limit if self.at_most else number >= self.limit

    def words(self, unit: str) -> str:
        """As the table shows it."""
        sign = "at most" if self.at_most else "at least"
        return f"{sign} {self.limit:.0%}" if self.of == "ratio" else f"{sign} {number(self.limit)} {unit}"


@dataclass(frozen=True)
class Figure:
    """One measured figure. `ratio` is the floor's time over the measured time: 1 is as fast as the libraries allow."""

    part: str
    what: str
    value: float
    unit: str
    ratio: float | None = None
    bar: Bar | None = None

    @property
    def met(self) -> bool | None:
        """Whether its bar is met; None where there is none."""
        return None if self.bar is None else self.bar.met(self)

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        return {**asdict(self), "met": self.met}


def at_least(ratio: float) -> Bar:
    """A ratio to the floor."""
    return Bar(ratio)


def at_most(value: float) -> Bar:
    """A value in the figure's own unit."""
    return Bar(value, at_most=True, of="value")


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that `share` of all values do not exceed (nearest rank). Raises ValueError for no values."""
    if not values or not 0 < share <= 1:
        raise ValueError("a percentile needs values, and a share above 0 and at most 1")
    return sorted(values)[math.ceil(share * len(values)) - 1]


def median(values: Sequence[float]) -> float:
    """The middle value (nearest rank)."""
    return percentile(values, 0.5)


def number(value: float) -> str:
    """Three significant digits; thousands in groups."""
    if value == 0:
        return "0"
    digits = max(0, 2 - math.floor(math.log10(abs(value))))
    return f"{value:,.{digits}f}"
