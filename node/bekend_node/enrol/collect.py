"""From staged chunks to one sorted list, in bounded memory, and from changes to a new generation."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator
from itertools import pairwise

from bekend_node.pseudonym_file import PIECE, RECORD, merge_sorted
from bekend_node.store_registers import Registers

IN_MEMORY = 1 << 18
"""Records that are sorted at once: about 20 MB."""


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


def apply_changes(old: bytes | memoryview, changes: Iterable[bytes]) -> Iterator[bytes]:
    """Sorted records, joined, with sorted changes applied: a month of 0 removes, any other adds or replaces.

    Gives runs of records: what lies between two changes is copied as it is, and a night costs what its changes cost.
    """
    places = range(len(old) // RECORD)
    start = 0
    for change in changes:
        place = bisect_left(places, change[:32], start, key=lambda at: bytes(old[at * RECORD : at * RECORD + 32]))
        yield from _run(old, start, place)
        yield from _added(change)
        known = place < len(places) and old[place * RECORD : place * RECORD + 32] == change[:32]
        start = place + known
    yield from _run(old, start, len(places))


def split(joined: bytes) -> Iterator[bytes]:
    """Records that were joined."""
    for at in range(0, len(joined), RECORD):
        yield joined[at : at + RECORD]


def _between(joined: bytes, low: int, high: int) -> Iterator[bytes]:
    """The records of one chunk, which is sorted, whose first byte is at least `low` and below `high`."""
    places = range(len(joined) // RECORD)
    start, stop = (bisect_left(places, byte, key=lambda at: joined[at * RECORD]) for byte in (low, high))
    return split(joined[start * RECORD : stop * RECORD])


def _run(old: bytes | memoryview, start: int, stop: int) -> Iterator[bytes]:
    """Records number `start` to `stop`, in pieces: what is copied may be most of the file."""
    for at in range(start, stop, PIECE):
        yield bytes(old[at * RECORD : min(at + PIECE, stop) * RECORD])


def _added(change: bytes) -> Iterator[bytes]:
    if change[32:] != b"\0\0":
        yield change
