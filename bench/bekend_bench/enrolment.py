"""What enrolment costs: the real command, the real broker, mutual TLS between them, wall time from start to switch."""

from collections.abc import Iterator

from bekend_bench.figures import Figure, at_least
from bekend_bench.floor import Floor
from bekend_bench.ground import Ground
from bekend_bench.machine import cpu_of_ended, cpu_seconds
from bekend_bench.prescribed import PER_ENROLLED, bulk_seconds, work_seconds

PART = "enrolment"


def measure(field: Ground, floor: Floor, cores: int) -> Iterator[Figure]:
    """Enrol the one register of this federation with `bekend node enrol`."""
    broker = field.federation.broker
    assert broker is not None
    before, ended = cpu_seconds(broker.pid), cpu_of_ended()
    done = field.federation.enrol(field.import_of(field.sources[0]))
    least = bulk_seconds(PER_ENROLLED, floor, cores) * done.persons
    yield Figure(
        PART,
        f"{done.persons:,} persons, node and broker together",
        done.persons / done.seconds,
        "persons/s",
        least / done.seconds,
        at_least(0.70),
    )
    each = (cpu_seconds(broker.pid) - before) / done.persons
    both = each + (cpu_of_ended() - ended) / done.persons
    yield Figure(PART, "processor time of both", both * 1e6, "us/person", work_seconds(PER_ENROLLED, floor) / both)
    yield Figure(PART, "processor time of the broker", each * 1e6, "us/person")
