"""What enrolment costs: the real command, the real broker, mutual TLS between them, wall time from start to switch.

The larger of two imports is held against the bar: the command takes a second to start on one core, whatever it
imports. Then the nightly file, with one person in a hundred changed, is held against the whole import.
"""

import csv
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bekend_deploy.importing import Import
from bekend_node.enrol.plan import SMALLEST_CHANGE, change_elements

from bekend_bench.figures import Bar, Figure, at_least, at_most
from bekend_bench.floor import Floor
from bekend_bench.ground import Ground
from bekend_bench.machine import cpu_of_ended, cpu_seconds
from bekend_bench.prescribed import PER_ENROLLED, bulk_seconds, work_seconds
from bekend_bench.watching import Watch, import_role

PART = "enrolment"
CHANGED = 100
"""One person in so many changes in a night."""


@dataclass(frozen=True)
class Cost:
    """One run of the command: seconds that passed, and seconds of processor time, of both and of the broker."""

    persons: int
    seconds: float
    both: float
    broker: float


def measure(field: Ground, floor: Floor, cores: int) -> Iterator[Figure]:
    """Enrol the registers of this federation with `bekend node enrol`, the smallest first; then a night's changes."""
    *small, large = sorted(field.groups)
    for size in small:
        cost = _enrol(field, field.import_of(field.groups[size][0]))
        yield from _figures(cost, floor, cores, "", None)
    work = field.import_of(field.groups[large][0])
    with Watch(import_role) as watch:
        whole = _enrol(field, work)
    yield from _figures(whole, floor, cores, f"{large:,} persons, ", at_least(0.85))
    for who, octets in sorted(watch.peaks.items()):
        yield Figure(PART, f"{large:,} persons, peak memory of {who}", octets / 1e6, "MB")
    yield from _nightly(field, work, whole, floor, cores)


def _figures(cost: Cost, floor: Floor, cores: int, prefix: str, bar: Bar | None) -> Iterator[Figure]:
    least = bulk_seconds(PER_ENROLLED, floor, cores) * cost.persons
    what = f"{cost.persons:,} persons, node and broker together"
    yield Figure(PART, what, cost.persons / cost.seconds, "persons/s", least / cost.seconds, bar)
    each, of_broker = cost.both / cost.persons, cost.broker / cost.persons
    ratio = work_seconds(PER_ENROLLED, floor) / each
    yield Figure(PART, f"{prefix}processor time of both", each * 1e6, "us/person", ratio)
    yield Figure(PART, f"{prefix}processor time of the broker", of_broker * 1e6, "us/person")


def _enrol(field: Ground, work: Import, *options: str) -> Cost:
    broker = field.federation.broker
    assert broker is not None
    before, ended = cpu_seconds(broker.pid), cpu_of_ended()
    done = field.federation.enrol(work, *options)
    of_broker = cpu_seconds(broker.pid) - before
    return Cost(done.persons, done.seconds, of_broker + cpu_of_ended() - ended, of_broker)


def _nightly(field: Ground, work: Import, whole: Cost, floor: Floor, cores: int) -> Iterator[Figure]:
    """A file of changes, and the smallest one: what lies between is what the changes themselves cost."""
    changed = whole.persons // CHANGED
    files = [write_changes(work.path, count) for count in (2, changed)]
    least, night = (_enrol(field, Import(work.node, work.register, file), "--changes") for file in files)
    elements = change_elements(changed)
    ratio = bulk_seconds(PER_ENROLLED, floor, cores) * elements / night.seconds
    name = f"{changed:,} of {whole.persons:,} changed"
    yield Figure(PART, f"{name}, sent as {elements:,}", night.seconds, "s", ratio)
    share = 100 * night.seconds / whole.seconds
    yield Figure(PART, f"{name}, against the whole import", share, "%", None, at_most(5))
    each = (night.both - least.both) / (elements - SMALLEST_CHANGE)
    per_person = whole.both / whole.persons
    yield Figure(
        PART, f"{name}, a change against a person of the whole", each / per_person, "times", None, at_most(1.5)
    )
    yield Figure(PART, f"the smallest file of changes, {whole.persons:,} persons", least.seconds, "s")


def write_changes(register: Path, count: int) -> Path:
    """A file of changes to a register: half of `count` leave, as many are new."""
    path = register.with_name(f"changes-{count}.csv")
    with register.open(encoding="utf-8", newline="") as rows, path.open("w", encoding="utf-8", newline="") as file:
        reader, writer = csv.reader(rows, delimiter=";"), csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow([*next(reader), "mutatie"])
        leaving = [next(reader) for _ in range(count // 2)]
        writer.writerows([*row, "-"] for row in leaving)
        # Ten digits on: nobody of the register has such a number.
        writer.writerows([f"9{number}", *others, "+"] for number, *others in leaving)
    return path
