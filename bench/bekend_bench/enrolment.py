"""What enrolment costs: the real command, the real broker, mutual TLS between them, wall time from start to switch."""

from collections.abc import Iterator

from bekend_bench.figures import Figure, at_least
from bekend_bench.floor import Floor
from bekend_bench.ground import Ground
from bekend_bench.machine import cpu_seconds
from bekend_bench.prescribed import PER_ENROLLED, bulk_seconds

PART = "enrolment"


def measure(ground: Ground, floor: Floor, cores: int) -> Iterator[Figure]:
    """Enrol one register with `bekend node enrol`; the broker runs."""
    broker = ground.federation.broker
    assert broker is not None
    before = cpu_seconds(broker.pid)
    done = ground.federation.enrol(ground.import_of(ground.enrolling))
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
