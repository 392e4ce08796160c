"""What an import sends, in which order: windows of persons, shuffled per purpose, cut into chunks.

The order follows from the import's seed alone, so an import that goes on after a crash makes the same chunks and sends
only those that were not finished (with fresh blinds). Shuffling per purpose keeps the chunks of two purposes from
holding the same persons, so that not even staged rows can be joined.
"""

import random
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from typing import TypeAlias

from bekend_proto.octets import blake, i2osp, lp

from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.rows import Person, Refused

CHUNK = 1024
"""Elements under one proof (protocol section 5, step 1)."""
WINDOW = 64 * CHUNK
"""Persons that are merged and shuffled together: what an import holds in memory."""
SMALLEST_CHANGE = 16
SHOWN_REFUSALS = 20


_Person: TypeAlias = tuple[bytes, int, int | None]
"""Canonical identifier, end month, and which canary it is, if it is one."""


class LeftOut(StrEnum):
    """Why a row that is in order does not count."""

    ENDED = "ended"
    MARKED = "marked"
    NO_LABEL = "no_label"
    OTHER_LABEL = "other_label"
    INCOMPLETE = "incomplete"
    OTHER_KIND = "other_kind"


@dataclass(frozen=True)
class Selection:
    """What of a list counts: identifiers of these kinds, of persons with one of these labels (None: of everybody)."""

    kinds: frozenset[str]
    labels: frozenset[str] | None = None

    def of(self, row: Person) -> tuple[bytes, ...]:
        """The canonical identifiers of a row that count."""
        return tuple(one for one in row.canonicals if kind_of(one) in self.kinds)

    def without_ground(self, row: Person) -> LeftOut | None:
        """Why a person may not be loaded, whatever else is known of it (FG-39)."""
        if self.labels is None or row.label in self.labels:
            return None
        return LeftOut.OTHER_LABEL if row.label else LeftOut.NO_LABEL

    @property
    def facts(self) -> tuple[list[str], list[str] | None]:
        """The same each time, to compare by."""
        return sorted(self.kinds), None if self.labels is None else sorted(self.labels)

    def lacks(self, row: Person) -> LeftOut:
        """Why a row gives no identifier that counts."""
        return LeftOut.INCOMPLETE if self.kinds & {kind for kind, _ in row.lacking} else LeftOut.OTHER_KIND


def kind_of(canonical: bytes) -> str:
    """The kind that a canonical identifier begins with (protocol section 4)."""
    return canonical.partition(b":")[0].decode()


@dataclass
class Report:
    """What was read, merged, refused, left out. Filled while reading; shown at the end.

    `persons` counts rows that brought a number, `numbers` each number, per kind of identifier.
    """

    rows: int = 0
    merged: int = 0
    refused: int = 0
    persons: int = 0
    numbers: Counter[str] = field(default_factory=Counter)
    left_out: Counter[LeftOut] = field(default_factory=Counter)
    lacking: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Combinations that a row's data do not make: kind and reason."""
    reasons: Counter[str] = field(default_factory=Counter)
    lines: list[Refused] = field(default_factory=list)

    def refuse(self, refused: Refused) -> None:
        """Count a refused row; the first twenty are shown by line."""
        self.refused += 1
        self.reasons[refused.reason] += 1
        if len(self.lines) < SHOWN_REFUSALS:
            self.lines.append(refused)

    def count(self, fresh: int) -> None:
        """Count a row that brought so many numbers that were not there."""
        self.persons += fresh > 0
        self.merged += not fresh


@dataclass(frozen=True)
class Chunk:
    """Persons that travel under one proof for one purpose. `size` is padded; `canaries`: index -> which."""

    purpose: str
    index: int
    persons: tuple[tuple[bytes, int], ...]
    size: int
    canaries: Mapping[int, int]


Window = dict[bytes, int]
"""Canonical identifier to end month."""
Windows: TypeAlias = Callable[[], Iterator[Window]]
"""What is sent, from its beginning at each call: the same every time."""


def windows(
    rows: Iterable[Person | Refused], report: Report, selection: Selection, *, ended_before: int
) -> Iterator[Window]:
    """Merge rows of a full import into windows; what is not selected, or ended before a month, is left out."""
    window: Window = {}
    for row in _in_order(rows, report):
        numbers = selection.of(row)
        if why := _left_out(row, selection, numbers, ended_before):
            report.left_out[why] += 1
            if why is not LeftOut.INCOMPLETE:
                continue
        if row.lacking:
            report.lacking.update(one for one in row.lacking if one[0] in selection.kinds)
        if why:
            continue
        fresh = 0
        for number in numbers:
            if number not in window:
                # Full to the last one: only a window of whole chunks needs no padding.
                if len(window) == WINDOW:
                    yield window
                    window = {}
                fresh += 1
                report.numbers[kind_of(number)] += 1
            window[number] = max(window.get(number, 0), row.end_month)
        report.count(fresh)
    yield window


def changes_window(
    name: str, rows: Iterable[Person | Refused], report: Report, selection: Selection, *, shielding: bool = False
) -> Window:
    """Merge a list of changes into its one window. An identifier that is both added and removed is refused.

    `shielding`: the register is `afgeschermd`; then it is added, whichever line comes first. Raises ImportFaultError
    when there are more changes than a window holds.
    """
    window: Window = {}
    for row in _in_order(rows, report):
        numbers = selection.of(row)
        if not numbers:
            report.left_out[selection.lacks(row)] += 1
            continue
        # Who may not be there any more is taken out.
        out = (LeftOut.MARKED if row.secret else selection.without_ground(row)) if row.added else None
        month = 0 if out else row.end_month
        if any(bool(window[number]) is not bool(month) for number in numbers if number in window):
            report.refuse(Refused(row.line, "this person is both added and removed in this list"))
            if not (shielding and month):
                continue
        if out:
            report.left_out[out] += 1
        report.lacking.update(one for one in row.lacking if one[0] in selection.kinds)
        fresh = [number for number in numbers if number not in window]
        report.numbers.update(map(kind_of, fresh))
        report.count(len(fresh))
        for number in numbers:
            window[number] = max(window.get(number, 0), month)
        if len(window) > WINDOW:
            raise ImportFaultError(name, row.line, f"more than {WINDOW} changes", "Import the whole register instead.")
    return window


def _in_order(rows: Iterable[Person | Refused], report: Report) -> Iterator[Person]:
    """The rows that can be read; the others, and numbers that cannot be used, are counted."""
    for row in rows:
        report.rows += 1
        for fault in (row,) if isinstance(row, Refused) else row.faults:
            report.refuse(fault)
        if isinstance(row, Person):
            yield row


def _left_out(row: Person, selection: Selection, numbers: Sequence[bytes], ended_before: int) -> LeftOut | None:
    if row.secret:
        return LeftOut.MARKED
    if why := selection.without_ground(row):
        return why
    if row.end_month < ended_before:
        return LeftOut.ENDED
    return None if numbers else selection.lacks(row)


def full_elements(numbers: int, canaries: int = 1) -> int:
    """Elements that a full import sends: the numbers of all kinds, the canaries, and padding to whole chunks."""
    return -(-(numbers + canaries) // CHUNK) * CHUNK


def change_elements(numbers: int) -> int:
    """Elements that a file of changes sends: a power of two, at least 16 (protocol section 5, step 5)."""
    return max(SMALLEST_CHANGE, 1 << max(numbers - 1, 0).bit_length())


def full_chunks(all_windows: Iterable[Window], purpose: str, seed: bytes, canaries: Sequence[bytes]) -> Iterator[Chunk]:
    """Chunks of a full import for one purpose, window by window; the last hold the canaries and the padding."""
    source = iter(all_windows)
    window: Window | None = next(source)
    number = 0
    while window is not None:
        after = next(source, None)
        persons: list[_Person] = [(key, month, None) for key, month in window.items()]
        if after is None:
            persons += [(canary, 0, which) for which, canary in enumerate(canaries)]
        yield from _cut(purpose, number * (WINDOW // CHUNK), _shuffled(persons, seed, purpose, number), CHUNK)
        window, number = after, number + 1


def change_chunks(window: Window, purpose: str, seed: bytes) -> Iterator[Chunk]:
    """Chunks of a file of changes for one purpose, padded to a power of two in all."""
    total = change_elements(len(window))
    persons = _shuffled([(key, month, None) for key, month in window.items()], seed, purpose, 0)
    chunks = list(_cut(purpose, 0, persons, min(CHUNK, total)))
    yield from chunks
    for index in range(len(chunks), -(-total // CHUNK)):
        yield Chunk(purpose, index, (), min(CHUNK, total), {})


def _cut(purpose: str, first: int, persons: Iterable[_Person], size: int) -> Iterator[Chunk]:
    source = iter(persons)
    for index in range(first, first + WINDOW // CHUNK + 1):
        part = list(islice(source, size))
        if not part:
            return
        canaries = {at: which for at, (_, _, which) in enumerate(part) if which is not None}
        yield Chunk(purpose, index, tuple((key, month) for key, month, _ in part), size, canaries)


def _shuffled(persons: list[_Person], seed: bytes, purpose: str, window: int) -> list[_Person]:
    # Only the order depends on this generator: what is sent is blinded afresh with the system's randomness.
    order = random.Random(blake(32, b"bekend1-order", lp(purpose.encode()) + i2osp(window, 4), seed))  # noqa: S311
    order.shuffle(persons)
    return persons
