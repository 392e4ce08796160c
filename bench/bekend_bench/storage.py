"""What a pseudonym takes on the disk and in memory of the node that serves it, its filter included."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from bekend_deploy.partners import Partner
from bekend_node.schedule import interval_of
from bekend_proto.filter import TAG_LENGTH, size_class

from bekend_bench.figures import Figure, at_most
from bekend_bench.ground import FEW, LARGE, MEDIUM, REQUESTER, Ground
from bekend_bench.lookups import Officer
from bekend_bench.machine import loopback, resident

PART = "storage"


def measure(field: Ground) -> Iterator[Figure]:
    """Nodes that serve, have sent their filter and have answered. Nodes are started where needed."""
    chosen = {size: field.groups[size][0] for size in (FEW, MEDIUM, LARGE)}
    field.start([REQUESTER, *chosen.values()])
    officer = Officer(field.federation)
    for _ in range(20):
        officer.ask(list(chosen.values()))
    officer.close()
    federation = field.federation
    memory = {size: resident(federation.nodes[one.oin].pid) for size, one in chosen.items()}
    for size in (MEDIUM, LARGE):
        disk = _octets(federation.built.nodes[chosen[size].oin].folder / "data") / size
        yield Figure(PART, f"disk at {size:,}, filter included", disk, "octets/pseudonym", None, at_most(50))
    for size in (MEDIUM, LARGE):
        each = max(0, memory[size] - memory[FEW]) / size
        yield Figure(PART, f"memory at {size:,}, above a node with {FEW:,}", each, "octets/pseudonym")
    for size in (FEW, LARGE):
        bar = at_most(250) if size == LARGE else None
        yield Figure(PART, f"resident memory of a node with {size:,}", memory[size] / 1e6, "MB", None, bar)
    yield from _distribution(field, chosen[LARGE])


def _distribution(field: Ground, source: Partner) -> Iterator[Figure]:
    """What a filter takes on the wire, TLS and TCP included, and what that comes to in a day."""
    federation, tags = field.federation, size_class(LARGE + 1)
    # A requester that starts holds no filter.
    federation.stop_node(REQUESTER.oin)
    federation.start_node(REQUESTER.oin)
    before = loopback()
    field.await_filters([source.oin])
    # It passes twice: from the source to the broker, and from there to the requester.
    each = (loopback() - before) / 2 / tags
    yield Figure(PART, f"filter of {tags:,} tags on the wire", each, "octets/tag", TAG_LENGTH / each)
    fetched = size_class(MEDIUM + 1) * each
    a_day = timedelta(days=1) / interval_of(size_class(MEDIUM + 1), None)
    for partners in (35, 342):
        what = f"filters of {partners} partners of {MEDIUM:,}, to a requester that keeps them all a day long"
        yield Figure(PART, what, partners * a_day * fetched / 1e9, "GB/day")


def _octets(folder: Path) -> int:
    """All but `node.db`: what is recorded of questions grows with these, and not with pseudonyms."""
    files = (path for path in folder.rglob("*") if path.is_file() and not path.name.startswith("node.db"))
    return sum(path.stat().st_size for path in files)
