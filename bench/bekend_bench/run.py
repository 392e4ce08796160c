"""One run: the floor, then every part against it."""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace

from bekend_deploy.processes import ProcessFailed
from bekend_proto.clock import Clock, SystemClock

from bekend_bench import (
    attached,
    enrolment,
    floor,
    formats,
    lookups,
    machine,
    many,
    page,
    peers,
    rebuild,
    records,
    recovery,
    release,
    replicas,
    storage,
    switching,
    tags,
)
from bekend_bench.figures import Figure, at_least
from bekend_bench.floor import Floor
from bekend_bench.ground import FEW, GROUP, LARGE, MEDIUM, REQUESTER, SMALL, SOURCES, Ground, ground, populate
from bekend_bench.report import Report

PARTS = (
    enrolment.PART,
    rebuild.PART,
    switching.PART,
    lookups.PART,
    storage.PART,
    records.PART,
    recovery.PART,
    release.PART,
    page.PART,
    peers.PART,
    many.PART,
    replicas.PART,
    attached.PART,
)
"""What can be measured beside the floor, which always is."""
ENROLLED, ENROLLED_MANY = 50_000, 200_000
REBUILT = 500_000
ALL = {FEW: SOURCES - 3 * GROUP, SMALL: GROUP, MEDIUM: GROUP, LARGE: GROUP}
EFFORT = lookups.Effort()

Failed = (ProcessFailed, lookups.WrongOutcomeError)
"""What ends a run: a process that fell over, a partner that did not answer."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Run:
    """What every stage works with. `others` gets, per stage, the share of the cores that other processes had."""

    parts: frozenset[str]
    full: bool
    base: Floor
    say: Say
    others: dict[str, float]
    attached_minutes: float = 1.0
    clock: Clock = field(default_factory=SystemClock)
    cores: int = os.cpu_count() or 1

    def floor(self) -> Floor:
        """The floor at the speed of the cores at this moment: on a shared machine it changes within minutes."""
        return replace(self.base, multiply_all_cores=min(self.base.multiply_all_cores, floor.all_cores()))

    @contextlib.contextmanager
    def ground(self, groups: Mapping[int, int], *, registers: bool = False, pages: bool = False) -> Iterator[Ground]:
        """A federation whose sources have their pseudonyms: enrolled from registers, else filled with random ones."""
        with ground(groups, self.clock, registers=registers, pages=pages) as found:
            populate(found, self.clock, enrol=registers)
            yield found


def run(parts: Collection[str], say: Say, *, full: bool, attached_minutes: float = 1.0) -> Report:
    """Measure these parts. With `full`, a million persons are enrolled where else stores are filled."""
    began, others = time.monotonic(), dict[str, float]()
    with _stage("floor", say, others):
        base = floor.measure()
    work = Run(frozenset(parts), full, base, say, others, attached_minutes)
    report = Report(work.clock.now(), machine.describe(), full, base, others=others)
    for name, needed, measure in STAGES:
        if needed & work.parts:
            with _stage(name, say, others):
                report.figures += measure(work)
    report.seconds = time.monotonic() - began
    return report


@contextlib.contextmanager
def _stage(name: str, say: Say, others: dict[str, float]) -> Iterator[None]:
    say(name)
    before, start = machine.used_by_others(), time.monotonic()
    yield
    share = (machine.used_by_others() - before) / (time.monotonic() - start) / (os.cpu_count() or 1)
    others[name] = max(0.0, share)


def _rebuild(work: Run) -> Iterator[Figure]:
    yield from rebuild.measure(work.floor(), work.cores, MEDIUM)
    yield from rebuild.measure(work.floor(), work.cores, LARGE if work.full else REBUILT, at_least(0.90))


def _enrolment(work: Run) -> Iterator[Figure]:
    with ground({ENROLLED: 1, ENROLLED_MANY: 1}, work.clock, registers=True) as field:
        yield from enrolment.measure(field, work.floor(), work.cores)


def _switching(work: Run) -> Iterator[Figure]:
    with work.ground({SMALL: GROUP}) as field:
        yield from switching.measure(field, work.floor(), work.cores, LARGE if work.full else MEDIUM)


def _few(work: Run) -> Iterator[Figure]:
    with work.ground({SMALL: GROUP}, registers=work.full) as field:
        yield from lookups.measure_few(field, work.floor(), work.cores, EFFORT, work.say)


def _large(work: Run) -> Iterator[Figure]:
    with work.ground(ALL, registers=work.full) as field:
        if lookups.PART in work.parts:
            yield from lookups.measure_many(field, work.floor(), work.cores, EFFORT, work.say)
        if storage.PART in work.parts:
            yield from storage.measure(field)


def _files(_work: Run) -> Iterator[Figure]:
    yield from tags.measure()
    yield from formats.measure()


def _records(work: Run) -> Iterator[Figure]:
    yield from records.measure(work.floor())


def _recovery(work: Run) -> Iterator[Figure]:
    with ground({ENROLLED: 1}, work.clock, registers=True) as field:
        yield from recovery.measure(field, work.clock)


def _release(work: Run) -> Iterator[Figure]:
    with work.ground({SMALL: 1}) as field:
        field.start([REQUESTER, *field.sources])
        yield from release.measure(field, EFFORT)


def _page(work: Run) -> Iterator[Figure]:
    with work.ground({SMALL: GROUP}, pages=True) as field:
        field.start([REQUESTER, *field.sources])
        yield from page.measure(field, EFFORT)


def _peers(work: Run) -> Iterator[Figure]:
    yield from peers.measure(work.say)


def _many(work: Run) -> Iterator[Figure]:
    for partners, sizes in many.FEDERATIONS.items():
        with work.ground({FEW: partners}) as field:
            yield from many.measure(field, work.floor(), work.cores, sizes, work.say)


def _broker(work: Run) -> Iterator[Figure]:
    yield from replicas.measure(replicas.Load(), work.clock, work.cores, work.say)


def _attached(work: Run) -> Iterator[Figure]:
    stay = attached.Stay(minutes=work.attached_minutes)
    with work.ground({FEW: max(stay.counts) - 1}) as field:
        yield from attached.measure(field, stay, work.say)


STAGES: tuple[tuple[str, frozenset[str], Callable[[Run], Iterator[Figure]]], ...] = (
    ("rebuild", frozenset({rebuild.PART}), _rebuild),
    ("enrolment", frozenset({enrolment.PART}), _enrolment),
    ("switching", frozenset({switching.PART}), _switching),
    ("lookups, few partners", frozenset({lookups.PART}), _few),
    ("large stores", frozenset({lookups.PART, storage.PART}), _large),
    ("files", frozenset({storage.PART}), _files),
    ("release", frozenset({release.PART}), _release),
    ("page", frozenset({page.PART}), _page),
    ("records", frozenset({records.PART}), _records),
    ("recovery", frozenset({recovery.PART}), _recovery),
    ("peers", frozenset({peers.PART}), _peers),
    ("many partners", frozenset({many.PART}), _many),
    ("broker", frozenset({replicas.PART}), _broker),
    ("attached", frozenset({attached.PART}), _attached),
)
"""Name, the parts that need it, and what it measures: in this order."""
