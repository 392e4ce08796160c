"""Sealed records opened and compared, many at once (protocol section 8).

    for every record of every answered Question of the export
        E  ==  what the Question names (BLAKE2b), the Question itself in the node's log
        c  =   what the officer's key finds in E
        c  ==  BLAKE2b(key U[month], context)       then this question was about the person of the request

What does not fit is a breach: a record that opens under no key, that is not the one that was signed for, that was made
for another question (its c stands where another context would give it, or stands twice). Whose record it is stays
unknown: c says nothing without U. X25519 is nine tenths of the work, so the work is spread over processes.
"""

import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Final, TypeVar

from bekend_proto.channel import parse_strict, question_hash
from bekend_proto.errors import MalformedError
from bekend_proto.records import RECORD_LENGTH, record_context, record_value, seal_hash
from bekend_proto.v1 import signed_pb2
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from bekend_node.classes import CERTAIN, KindClass
from bekend_node.store_export import Export, ExportedQuestion, Progress

PART: Final = 2_048
"""Questions, or own records, that one process takes at a time."""

SMALL: Final = 1_000
"""Up to so many, the processes cost more than they save."""

T = TypeVar("T")


class Breach(StrEnum):
    """What is wrong with a record, in words for the privacy officer."""

    MALFORMED = "de vraag is niet goed opgebouwd"
    NOT_LOGGED = "de vraag staat niet in het logboek van uw node: zij is veranderd of toegevoegd"
    MISSING = "er zijn niet evenveel verzegelde aantekeningen als personen"
    OTHER_RECORD = "de aantekening is niet die waarvoor de vrager tekende"
    DOES_NOT_OPEN = "geen van uw sleutels opent de aantekening"
    TRANSPLANTED = "de aantekening is voor een andere vraag gemaakt, of een kopie van een andere aantekening"
    GONE = "het logboek noemt een vraag die er niet meer is"
    NOT_REPRODUCED = "uit de eigen vastlegging volgt niet wat is verstuurd"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a signed Question says of itself; `time` in milliseconds."""

    hash: str
    requester: str
    on_behalf_of: str
    purpose: str
    covenant_hash: bytes
    time: int
    kind_class: KindClass = CERTAIN


@dataclass(frozen=True, slots=True)
class Fault:
    """A breach, and the question it is about as far as that can be read."""

    what: Breach
    question: str
    requester: str = ""
    purpose: str = ""
    time: int | None = None


@dataclass
class Part:
    """What was found among some of the questions. Values stand with their place: number of the question, person."""

    matches: list[Asked] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)
    opened: list[tuple[bytes, int, int]] = field(default_factory=list, repr=False)
    expected: list[tuple[bytes, int, int]] = field(default_factory=list, repr=False)
    asked: dict[int, Asked] = field(default_factory=dict)
    hashes: list[bytes] = field(default_factory=list)
    lacking: set[str] = field(default_factory=set)
    """Months for which there is no U."""

    def add(self, other: "Part") -> None:
        """Take in another part."""
        self.matches += other.matches
        self.faults += other.faults
        self.opened += other.opened
        self.expected += other.expected
        self.asked |= other.asked
        self.hashes += other.hashes
        self.lacking |= other.lacking


def open_all(
    path: Path,
    keys: Sequence[PrivateKey],
    values: Mapping[str, bytes],
    oin: str,
    *,
    kept_since: int,
    progress: Progress = lambda *_: None,
    workers: int = 0,
) -> Part:
    """Open every record of an export. `values`: month -> U of one person; empty to look for breaches alone.

    `keys` are the officer's, the present one first and older ones after it; `oin` is the own organisation. Questions
    that were logged from `kept_since` (milliseconds) on must still be there. `workers`: processes, all cores unless
    given. Raises MalformedError when the file is no export.
    """
    with Export.open(path) as export:
        total = export.questions()
        logged = export.logged()
    found = Part()
    secrets = tuple(bytes(key) for key in keys)
    for part in spread(total, workers, progress, open_part, path, secrets, dict(values), oin):
        found.add(part)
    found.faults += _transplanted(found)
    added = (one for one in found.asked.values() if bytes.fromhex(one.hash) not in logged)
    found.faults += [_fault(Breach.NOT_LOGGED, one) for one in added]
    gone = logged.keys() - set(found.hashes)
    found.faults += [Fault(Breach.GONE, entry.hex()) for entry in sorted(gone) if logged[entry] >= kept_since]
    return found


def open_part(  # noqa: PLR0917 - called by a pool
    path: Path, keys: tuple[bytes, ...], values: Mapping[str, bytes], oin: str, first: int, last: int
) -> Part:
    """The questions numbered from `first` to `last`."""
    boxes = [SealedBox(PrivateKey(key)) for key in keys]
    found = Part()
    with Export.open(path) as export:
        for one in export.read_questions(first, last):
            _open_question(found, boxes, values, oin, one)
    return found


def _open_question(
    found: Part,
    boxes: list["SealedBox[PrivateKey]"],
    values: Mapping[str, bytes],
    oin: str,
    one: ExportedQuestion,
) -> None:
    entry = question_hash(signed_pb2.Signed(payload=one.payload, signature=one.signature))
    found.hashes.append(entry)
    try:
        question = parse_strict(signed_pb2.Question, one.payload)
    except MalformedError:
        found.faults.append(Fault(Breach.MALFORMED, entry.hex()))
        return
    asked = Asked(
        entry.hex(),
        question.requester,
        question.on_behalf_of,
        question.purpose,
        question.covenant_hash,
        question.time,
        question.kind_class,
    )
    if question.source != oin:
        found.faults.append(_fault(Breach.NOT_LOGGED, asked))
    if question.requester == question.source:
        return  # the node's own canary: nobody
    if [person for person, _ in one.sealed] != list(range(len(question.seal_hashes))):
        found.faults.append(_fault(Breach.MISSING, asked))
    found.asked[one.number] = asked
    u_value = values.get(question.record_month)
    if u_value is None:
        found.lacking.add(question.record_month)
    for person, sealed in one.sealed[: len(question.seal_hashes)]:
        if len(sealed) != RECORD_LENGTH or seal_hash(sealed) != question.seal_hashes[person]:
            found.faults.append(_fault(Breach.OTHER_RECORD, asked))
        c = _open(boxes, sealed)
        if c is None:
            found.faults.append(_fault(Breach.DOES_NOT_OPEN, asked))
            continue
        found.opened.append((c, one.number, person))
        if u_value is not None and _is_about(found, question, u_value, c, (one.number, person)):
            found.matches.append(asked)


def _is_about(found: Part, question: signed_pb2.Question, u_value: bytes, c: bytes, place: tuple[int, int]) -> bool:
    """Whether this record is about the person of U. What it should hold if it is, is kept."""
    _, person = place
    names = question.requester, question.source, question.purpose
    expected = record_value(u_value, record_context(*names, question.question_id, person))
    found.expected.append((expected, *place))
    return c == expected


def _open(boxes: list["SealedBox[PrivateKey]"], sealed: bytes) -> bytes | None:
    """c, or None. The box that opened the last one is tried first: a key is used for months on end."""
    for place, box in enumerate(boxes):
        try:
            c = box.decrypt(sealed)
        except (CryptoError, ValueError):
            continue
        boxes.insert(0, boxes.pop(place))
        return c
    return None


def _transplanted(found: Part) -> Iterator[Fault]:
    """Records whose c belongs to another question, or stands twice: the first keeps it."""
    owner = {c: (number, person) for c, number, person in found.expected}
    first: dict[bytes, tuple[int, int]] = {}
    for c, number, person in sorted(found.opened, key=lambda one: one[1:]):
        place = first.setdefault(c, owner.get(c, (number, person)))
        if place != (number, person):
            yield _fault(Breach.TRANSPLANTED, found.asked[number])


def _fault(what: Breach, asked: Asked) -> Fault:
    return Fault(what, asked.hash, asked.requester, asked.purpose, asked.time)


# --- spreading work over processes ----------------------------------------------------------------------------------


def spread(total: int, workers: int, progress: Progress, work: Callable[..., T], *arguments: object) -> Iterator[T]:
    """`work(*arguments, first, last)` for ranges of numbers that together are 1 to `total`, as they get ready.

    Call it before anything opens a thread: the processes are forked from this one as it is now.
    """
    ranges = [(first, min(first + PART - 1, total)) for first in range(1, total + 1, PART)]
    count = workers or os.cpu_count() or 1
    if total <= SMALL or count == 1:
        for first, last in ranges:
            yield work(*arguments, first, last)
            progress(last, total)
        return
    with _pool(count) as pool:
        waiting: dict[Future[T], int] = {
            pool.submit(work, *arguments, first, last): last - first + 1 for first, last in ranges
        }
        done = 0
        for ready in as_completed(waiting):
            yield ready.result()
            done += waiting[ready]
            progress(done, total)


@contextmanager
def _pool(count: int) -> Iterator[Executor]:
    pool = ProcessPoolExecutor(count, mp_context=multiprocessing.get_context("fork"))
    try:
        yield pool
    finally:
        pool.shutdown(cancel_futures=True)
