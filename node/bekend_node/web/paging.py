"""A long list shown in parts: which part, out of how many, and what can be turned to; links alone, without script."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, TypeVar

from starlette.requests import Request

T = TypeVar("T")
S = TypeVar("S")

AT_ONCE: Final = 20
"""What one page shows of a list."""


@dataclass(frozen=True)
class Part(Generic[T]):
    """The part `number` of `parts` of a list of `total`; numbers begin at 1, and a list of nothing has one part.

    `name` is the list's parameter in the address, and the fragment where its part begins.
    """

    name: str
    shown: Sequence[T]
    number: int
    parts: int
    total: int

    @property
    def first(self) -> int:
        """Which of the whole list stands first here."""
        return (self.number - 1) * AT_ONCE + 1

    @property
    def last(self) -> int:
        """Which stands last here."""
        return self.first + len(self.shown) - 1

    @property
    def numbers(self) -> list[int]:
        """The parts to offer by number: the ends, this one and its neighbours; between those, some may be left out."""
        near = {1, self.number - 1, self.number, self.number + 1, self.parts}
        return sorted(one for one in near if 1 <= one <= self.parts)

    def showing(self, shown: Sequence[S]) -> "Part[S]":
        """The same part of the list, with what a page shows of it."""
        return Part(self.name, shown, self.number, self.parts, self.total)


def part_of(request: Request, name: str, found: Sequence[T], sought: Callable[[T], bool] = lambda _: False) -> Part[T]:
    """The part that the address names, else the one with what is sought, else the first.

    A list may have become shorter since the address was made: past its end is its last part.
    """
    parts = max(1, -(-len(found) // AT_ONCE))
    at = next((place // AT_ONCE + 1 for place, one in enumerate(found) if sought(one)), 1)
    number = min(_number(request.query_params.get(name, "")) or at, parts)
    return Part(name, found[(number - 1) * AT_ONCE : number * AT_ONCE], number, parts, len(found))


def _number(text: str) -> int:
    """A number as it stands in an address; 0 for anything else."""
    return int(text) if text.isascii() and text.isdecimal() and len(text) <= 6 else 0
