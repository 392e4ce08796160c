"""A question to 35 and to 342 partners: all of a police unit, all gemeenten of the country, each a federation of its
own; and to 35 of those 342.

Every partner is a whole node with its own keys, certificate, databases and line, several in a process (hosting.py).
What crosses a line is counted as the kernel counts it, TLS and HTTP/2 included.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bekend_deploy.partners import Partner

from bekend_bench import crowd, traffic
from bekend_bench.figures import Bar, Figure, at_most, median, percentile
from bekend_bench.floor import Floor
from bekend_bench.ground import REQUESTER, Ground
from bekend_bench.lookups import SOURCE, Officer, Say, at_once
from bekend_bench.placing import one_core_each
from bekend_bench.prescribed import bulk_seconds, lookup, seconds, work_seconds
from bekend_bench.traffic import Octets

PART = "many"


@dataclass(frozen=True)
class Size:
    """How a question to so many partners is measured: one after another, then for a while with some at once."""

    partners: int
    sequential: int
    askers: int
    seconds: float
    bar: Bar | None = None
    """For p50, in milliseconds."""


FEDERATIONS = {
    35: (Size(35, 60, 8, 6.0, at_most(100)),),
    342: (Size(35, 60, 8, 6.0), Size(342, 20, 2, 10.0, at_most(1000))),
}
"""By the number of their partners, what is asked in each."""
FIRST = at_most(30)
"""Milliseconds until the first outcome."""
PROCESSES = 2
"""That are started for each size, beside those of the sizes before."""


def measure(field: Ground, floor: Floor, cores: int, sizes: Sequence[Size], say: Say) -> Iterator[Figure]:
    """Each size in its turn, the smallest first; nodes that a size does not ask are not there yet."""
    every = field.sources
    crowd.publish(field.federation, [REQUESTER, *every])
    field.start([REQUESTER])
    try:
        for size in sizes:
            say(f"  {_name(size, field)}")
            sources = every[: size.partners]
            missing = [one for one in sources if one.oin not in field.hosts]
            crowd.host(field, missing, PROCESSES)
            field.await_filters([one.oin for one in missing])
            yield from _size(field, sources, floor, cores, size)
    finally:
        crowd.stop(field)


def _size(field: Ground, sources: Sequence[Partner], floor: Floor, cores: int, size: Size) -> Iterator[Figure]:
    count = size.partners
    officer = Officer(field.federation)
    for _ in range(3):
        officer.ask(sources)
    before = _crossed(field, sources)
    times = [officer.watch(sources) for _ in range(size.sequential)]
    after = _crossed(field, sources)
    with one_core_each(sorted(field.pids(sources))):
        held = [officer.watch(sources) for _ in range(size.sequential)]
    officer.close()
    what, alone = _name(size, field), seconds(lookup(count), floor)
    yield Figure(PART, f"{what}, p90", percentile([one[1] for one in times], 0.9) * 1e3, "ms")
    for how, found in (("", times), (", partners' processes kept on one core each", held)):
        first, whole = (median([one[place] for one in found]) for place in (0, 1))
        yield Figure(PART, f"{what}{how}, p50", whole * 1e3, "ms", alone / whole, size.bar)
        yield Figure(PART, f"{what}{how}, first outcome, p50", first * 1e3, "ms", None, FIRST)
    rate, costs = at_once(field, sources, size.seconds, size.askers)
    yield Figure(PART, f"{what}, at once", rate, "lookups/s", bulk_seconds(lookup(count), floor, cores) * rate)
    every = sum(cost * (count if who == SOURCE else 1) for who, cost in costs.items())
    yield Figure(
        PART, f"{what}, processor time of all", every * 1e3, "ms/lookup", work_seconds(lookup(count), floor) / every
    )
    for who, cost in costs.items():
        yield Figure(PART, f"{what}, processor time of {who}", cost * 1e3, "ms/lookup")
    for (leg, share), start, end in zip(_LEGS, before, after, strict=True):
        crossed, each = end - start, size.sequential * (count if share else 1)
        yield Figure(PART, f"{what}, sent by {leg}", crossed.sent / each, "octets/question")
        yield Figure(PART, f"{what}, received by {leg}", crossed.received / each, "octets/question")


def _name(size: Size, field: Ground) -> str:
    every = len(field.sources)
    return f"{every} partners" if size.partners == every else f"{size.partners} of {every} partners"


_LEGS = (("the requester", False), (SOURCE, True))
"""Who, and whether what crossed is shared among the sources."""


def _crossed(field: Ground, sources: Sequence[Partner]) -> tuple[Octets, Octets]:
    port = field.federation.built.broker_port
    requester = traffic.of_processes([field.federation.nodes[REQUESTER.oin].pid], port)
    return requester, traffic.of_processes(field.pids(sources), port)
