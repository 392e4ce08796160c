"""One run: the floor, then every part against it."""

import os
import tempfile
import time
from collections.abc import Callable, Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from bekend_deploy.processes import ProcessFailed
from bekend_proto.clock import SystemClock

from bekend_bench import enrolment, floor, lookups, machine, rebuild, storage
from bekend_bench.figures import Figure
from bekend_bench.filling import fill, random_pseudonyms
from bekend_bench.floor import Floor
from bekend_bench.ground import LARGE, Ground, ground
from bekend_bench.report import Report

PARTS = (enrolment.PART, rebuild.PART, lookups.PART, storage.PART)
"""What can be measured beside the floor, which always is."""
ENROLLED = 50_000
REBUILT = 200_000

Failed = (ProcessFailed, lookups.WrongOutcomeError)
"""What ends a run: a process that fell over, a partner that did not answer."""

Say = Callable[[str], None]


def run(parts: Collection[str], say: Say, *, full: bool) -> Report:
    """Measure these parts. With `full`, a million persons are enrolled where else stores are filled."""
    clock, began = SystemClock(), time.monotonic()
    say("floor")
    report = Report(clock.now(), machine.describe(), full, floor.measure())
    cores = os.cpu_count() or 1
    if rebuild.PART in parts:
        say("rebuild")
        report.figures += rebuild.measure(_now(report.floor), cores, LARGE if full else REBUILT)
    if set(parts) - {rebuild.PART}:
        with tempfile.TemporaryDirectory(prefix="bekend-") as name:
            say("federation")
            with ground(Path(name), ENROLLED, clock, full=full) as field:
                report.figures += _federated(field, parts, report.floor, cores, say, full=full)
    order = {part: place for place, part in enumerate(PARTS)}
    report.figures.sort(key=lambda one: order[one.part])
    report.seconds = time.monotonic() - began
    return report


def _federated(
    field: Ground, parts: Collection[str], base: Floor, cores: int, say: Say, *, full: bool
) -> Iterator[Figure]:
    field.federation.start_broker()
    if enrolment.PART in parts:
        say("enrolment")
        yield from enrolment.measure(field, _now(base), cores)
    if {lookups.PART, storage.PART}.isdisjoint(parts):
        return
    say("stores")
    _populate(field, full=full, enrolled=enrolment.PART in parts)
    if lookups.PART in parts:
        yield from lookups.measure(field, _now(base), cores, lookups.Effort(), say)
    if storage.PART in parts:
        say("storage")
        yield from storage.measure(field)


def _populate(field: Ground, *, full: bool, enrolled: bool) -> None:
    """Give every source its pseudonyms: by enrolment, or random ones."""
    federation = field.federation
    if not enrolled:
        federation.enrol(field.import_of(field.enrolling))
    if full:
        everybody = [field.import_of(one) for group in field.groups.values() for one in group]
        with ThreadPoolExecutor(2) as together:
            list(together.map(federation.enrol, everybody))
        return
    now = SystemClock().now()
    pseudonyms = random_pseudonyms(max(field.groups))
    for size, group in field.groups.items():
        for one in group:
            fill(federation.built, federation.built.nodes[one.oin], pseudonyms[:: LARGE // size], now)


def _now(base: Floor) -> Floor:
    """The floor at the speed of the cores at this moment: on a shared machine it changes within minutes."""
    return replace(base, multiply_all_cores=min(base.multiply_all_cores, floor.all_cores()))
