"""One run: the floor, then every part against it."""

import os
import time
from collections.abc import Callable, Collection
from dataclasses import replace

from bekend_deploy.processes import ProcessFailed
from bekend_proto.clock import SystemClock

from bekend_bench import enrolment, floor, lookups, machine, rebuild, storage
from bekend_bench.floor import Floor
from bekend_bench.ground import FEW, GROUP, LARGE, MEDIUM, SMALL, SOURCES, ground, populate
from bekend_bench.report import Report

PARTS = (enrolment.PART, rebuild.PART, lookups.PART, storage.PART)
"""What can be measured beside the floor, which always is."""
ENROLLED = 50_000
REBUILT = 200_000
ALL = {FEW: SOURCES - 3 * GROUP, SMALL: GROUP, MEDIUM: GROUP, LARGE: GROUP}
EFFORT = lookups.Effort()

Failed = (ProcessFailed, lookups.WrongOutcomeError)
"""What ends a run: a process that fell over, a partner that did not answer."""

Say = Callable[[str], None]


def run(parts: Collection[str], say: Say, *, full: bool) -> Report:
    """Measure these parts. With `full`, a million persons are enrolled where else stores are filled."""
    clock, began, others = SystemClock(), time.monotonic(), machine.used_by_others()
    say("floor")
    report = Report(clock.now(), machine.describe(), full, floor.measure())
    cores, base = os.cpu_count() or 1, report.floor
    if rebuild.PART in parts:
        say("rebuild")
        report.figures += rebuild.measure(_now(base), cores, LARGE if full else REBUILT)
    if enrolment.PART in parts:
        say("enrolment")
        with ground({ENROLLED: 1}, clock, registers=True) as field:
            report.figures += enrolment.measure(field, _now(base), cores)
    if lookups.PART in parts:
        with ground({SMALL: GROUP}, clock, registers=full) as field:
            populate(field, clock, enrol=full)
            report.figures += lookups.measure_few(field, _now(base), cores, EFFORT, say)
    if {lookups.PART, storage.PART} & set(parts):
        say("stores")
        with ground(ALL, clock, registers=full) as field:
            populate(field, clock, enrol=full)
            if lookups.PART in parts:
                report.figures += lookups.measure_many(field, _now(base), cores, EFFORT, say)
            if storage.PART in parts:
                say("storage")
                report.figures += storage.measure(field)
    report.seconds = time.monotonic() - began
    report.others = max(0.0, machine.used_by_others() - others) / (report.seconds * cores)
    return report


def _now(base: Floor) -> Floor:
    """The floor at the speed of the cores at this moment: on a shared machine it changes within minutes."""
    return replace(base, multiply_all_cores=min(base.multiply_all_cores, floor.all_cores()))
