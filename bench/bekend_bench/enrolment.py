"""What enrolment costs: the real command, the real broker, mutual TLS between them, wall time from start to switch."""

from collections.abc import Iterator

from bekend_bench.figures import Figure, at_least
from bekend_bench.floor import Floor
from bekend_bench.ground import Ground
from bekend_bench.machine import cpu_seconds
from bekend_bench.prescribed import PER_ENROLLED, bulk_seconds

PART = "enrolment"


def measure(field: Ground, floor: Floor, cores: int) -> Iterator[Figure]:
    """Enrol the one register of this federation with `bekend node enrol`."""
    broker = field.federation.broker
    assert broker is not None
    before = cpu_seconds(broker.pid)
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
    yield Figure(PART, "of which the broker", (cpu_seconds(broker.pid) - before) / done.persons * 1e6, "us/person")
