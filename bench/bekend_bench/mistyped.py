"""What a number that was mistyped becomes: every slip of a finger, tried out, and how many the parser lets through.

The shares of the slips are those that Verhoeff counted (Error detecting decimal codes, 1969), rounded.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from bekend_proto.identifiers import BSN, SKN, V_NUMMER, InvalidIdentifier, parse_identifier

MISTYPED: Final = 0.01
"""Share of numbers that are typed wrong, an estimate. A number that is copied is not typed."""

VALUES: Final[Mapping[str, int]] = MappingProxyType({BSN: 10**9 // 11, SKN: 10**7 + 10**8, V_NUMMER: 10**10})
"""How many numbers of a kind can be; of the BSN one in eleven."""


def one_digit(number: str) -> Iterator[str]:
    """Another digit in one place."""
    for place, digit in enumerate(number):
        yield from (number[:place] + other + number[place + 1 :] for other in "0123456789" if other != digit)


def neighbours(number: str) -> Iterator[str]:
    """Two neighbours swapped."""
    for place in range(len(number) - 1):
        yield number[:place] + number[place + 1] + number[place] + number[place + 2 :]


def over_one(number: str) -> Iterator[str]:
    """Two digits swapped over the one between."""
    for place in range(len(number) - 2):
        yield number[:place] + number[place : place + 3][::-1] + number[place + 3 :]


def twins(number: str) -> Iterator[str]:
    """A doubled digit that becomes another one, doubled."""
    for place in range(len(number) - 1):
        if number[place] == number[place + 1]:
            yield from (number[:place] + 2 * other + number[place + 2 :] for other in "0123456789")


def length(number: str) -> Iterator[str]:
    """One digit left out, or typed twice."""
    for place, digit in enumerate(number):
        yield number[:place] + number[place + 1 :]
        yield number[:place] + digit + number[place:]


SLIPS: Final[Mapping[Callable[[str], Iterator[str]], float]] = MappingProxyType(
    {one_digit: 0.79, neighbours: 0.10, over_one: 0.01, twins: 0.01, length: 0.09}
)


@dataclass(frozen=True)
class Mistyped:
    """Of the slips, the share that still reads as a number of the kind; and what follows for one comparison."""

    kind: str
    passes: float
    values: int

    @property
    def each(self) -> float:
        """Chance that a question is about another enrolled person, per enrolled person."""
        return MISTYPED * self.passes / self.values


def mistyped(kind: str) -> Mistyped:
    """Every slip in every number of a set that is the same each time."""
    right = numbers(kind)
    share = 0.0
    for slip, weight in SLIPS.items():
        tried = [other for number in right for other in slip(number) if other != number]
        share += weight * sum(_reads(kind, other) for other in tried) / max(1, len(tried))
    return Mistyped(kind, share, VALUES[kind])


def numbers(kind: str) -> list[str]:
    """A few hundred numbers of a kind: BSNs of the range for tests, others spread evenly."""
    if kind == BSN:
        return [str(one) for one in range(999_900_000, 999_910_000) if _reads(BSN, str(one))]
    digits, values = {SKN: (8, 10**8), V_NUMMER: (10, 10**10)}[kind]
    return [f"{(one * 7_919 + 1) * 104_729 % values:0{digits}d}" for one in range(300)]


def _reads(kind: str, number: str) -> bool:
    try:
        parse_identifier(kind, number)
    except InvalidIdentifier:
        return False
    return True
