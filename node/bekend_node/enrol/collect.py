"""From staged chunks to one sorted list, in bounded memory, and from changes to a new generation."""

from collections.abc import Iterable, Iterator
from itertools import pairwise

from bekend_node.pseudonym_file import RECORD, merge_sorted
from bekend_node.store_registers import Registers

IN_MEMORY = 1 << 20
"""Records that are sorted at once: about 100 MB."""


def staged_sorted(registers: Registers, number: int, purpose: str, kind: str, persons: int) -> Iterator[bytes]:
    """All staged records of an import for one purpose and kind, sorted, each P once with the later end month.

    More than IN_MEMORY are sorted in passes over ranges of the first byte: P is uniformly distributed.
    """
    passes = -(-persons // IN_MEMORY) or 1
    bounds = [256 * at // passes for at in range(passes + 1)]
    for low, high in pairwise(bounds):
        records = [
            record
            for joined in registers.staged_records(number, purpose, kind)
            for record in split(joined)
            if low <= record[0] < high
        ]
        records.sort()
        yield from merge_sorted(records)


def apply_changes(old: Iterable[bytes], changes: Iterable[bytes]) -> Iterator[bytes]:
    """Sorted records with sorted changes applied: a month of 0 removes, any other adds or replaces."""
    ahead = iter(changes)
    change = next(ahead, None)
    for record in old:
        while change is not None and change[:32] < record[:32]:
            yield from _added(change)
            change = next(ahead, None)
        if change is not None and change[:32] == record[:32]:
            yield from _added(change)
            change = next(ahead, None)
        else:
            yield record
    while change is not None:
        yield from _added(change)
        change = next(ahead, None)


def split(joined: bytes) -> Iterator[bytes]:
    """Records that were joined."""
    for at in range(0, len(joined), RECORD):
        yield joined[at : at + RECORD]


def _added(change: bytes) -> Iterator[bytes]:
    if change[32:] != b"\0\0":
        yield change
