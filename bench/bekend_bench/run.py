"""One run: the floor, then every part against it."""

import contextlib
import os
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

from bekend_deploy.processes import ProcessFailed
from bekend_proto.clock import Clock, SystemClock

from bekend_bench import enrolment, floor, lookups, machine, page, rebuild, records, recovery, release, storage
from bekend_bench.figures import Figure, at_least
from bekend_bench.floor import Floor
from bekend_bench.ground import FEW, GROUP, LARGE, MEDIUM, REQUESTER, SMALL, SOURCES, ground, populate
from bekend_bench.report import Report

PARTS = (enrolment.PART, rebuild.PART, lookups.PART, storage.PART, records.PART, recovery.PART, release.PART, page.PART)
"""What can be measured beside the floor, which always is."""
ENROLLED = 50_000
REBUILT = 500_000
ALL = {FEW: SOURCES - 3 * GROUP, SMALL: GROUP, MEDIUM: GROUP, LARGE: GROUP}
EFFORT = lookups.Effort()

Failed = (ProcessFailed, lookups.WrongOutcomeError)
"""What ends a run: a process that fell over, a partner that did not answer."""

Say = Callable[[str], None]
Stage = Callable[[str], contextlib.AbstractContextManager[None]]


def run(parts: Collection[str], say: Say, *, full: bool) -> Report:
    """Measure these parts. With `full`, a million persons are enrolled where else stores are filled."""
    clock, began, cores, others = SystemClock(), time.monotonic(), os.cpu_count() or 1, dict[str, float]()

    @contextlib.contextmanager
    def stage(name: str) -> Iterator[None]:
        say(name)
        before, start = machine.used_by_others(), time.monotonic()
        yield
        share = (machine.used_by_others() - before) / (time.monotonic() - start) / cores
        others[name] = max(0.0, share)

    with stage("floor"):
        base = floor.measure()
    report = Report(clock.now(), machine.describe(), full, base, others=others)
    if rebuild.PART in parts:
        with stage("rebuild"):
            report.figures += rebuild.measure(_now(base), cores, MEDIUM)
            report.figures += rebuild.measure(_now(base), cores, LARGE if full else REBUILT, at_least(0.90))
    if enrolment.PART in parts:
        with stage("enrolment"), ground({ENROLLED: 1}, clock, registers=True) as field:
            report.figures += enrolment.measure(field, _now(base), cores)
    if lookups.PART in parts:
        with stage("lookups, few partners"), ground({SMALL: GROUP}, clock, registers=full) as field:
            populate(field, clock, enrol=full)
            report.figures += lookups.measure_few(field, _now(base), cores, EFFORT, say)
    if {lookups.PART, storage.PART} & set(parts):
        with stage("large stores"), ground(ALL, clock, registers=full) as field:
            populate(field, clock, enrol=full)
            if lookups.PART in parts:
                report.figures += lookups.measure_many(field, _now(base), cores, EFFORT, say)
            if storage.PART in parts:
                report.figures += storage.measure(field)
    if release.PART in parts:
        with stage("release"), ground({SMALL: 1}, clock, registers=False) as field:
            populate(field, clock, enrol=False)
            field.start([REQUESTER, *field.sources])
            report.figures += release.measure(field, EFFORT)
    if page.PART in parts:
        with stage("page"), ground({SMALL: GROUP}, clock, registers=False, pages=True) as field:
            populate(field, clock, enrol=False)
            field.start([REQUESTER, *field.sources])
            report.figures += page.measure(field, EFFORT)
    report.figures += _accountability(parts, stage, base, clock)
    report.seconds = time.monotonic() - began
    return report


def _accountability(parts: Collection[str], stage: Stage, base: Floor, clock: Clock) -> Iterator[Figure]:
    """What answering citizens costs, and what a loss of the roots does."""
    if records.PART in parts:
        with stage("records"):
            yield from records.measure(_now(base))
    if recovery.PART in parts:
        with stage("recovery"), ground({ENROLLED: 1}, clock, registers=True) as field:
            yield from recovery.measure(field, clock)


def _now(base: Floor) -> Floor:
    """The floor at the speed of the cores at this moment: on a shared machine it changes within minutes."""
    return replace(base, multiply_all_cores=min(base.multiply_all_cores, floor.all_cores()))
