"""What the fixed moments cost a node: the filters of six purposes built at once, while officers go on asking.

The builders are the node's own, started as the serving node starts them; all purposes of a node switch at one moment,
so all are built together. The bar is a tenth of the time between two switches of filters of that size.
"""

import asyncio
import contextlib
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from bekend_node import pseudonym_file
from bekend_node.filter_build import Order
from bekend_node.filters import run_builder
from bekend_node.schedule import interval_of
from bekend_proto.filter import size_class
from bekend_proto.group import random_element, random_scalar

from bekend_bench.figures import Figure, at_most, median, percentile
from bekend_bench.filling import random_pseudonyms
from bekend_bench.floor import Floor
from bekend_bench.ground import GROUP, MEDIUM, REQUESTER, Ground
from bekend_bench.lookups import Officer
from bekend_bench.prescribed import PER_TAG, bulk_seconds
from bekend_bench.watching import Watch

PART = "switching"
PURPOSES = 6
ALONE = 30
PACES = (("", 0.0), (", one a second", 1.0))
"""How officers ask meanwhile, and the seconds from one question to the next: one of them without pause, who leaves the
builders what a lookup to six leaves of the cores; or more than all officers of the country in their busiest second
(docs/sizing.md).
"""


def measure(field: Ground, floor: Floor, cores: int, persons: int = MEDIUM) -> Iterator[Figure]:
    """Build all filters of a node, six purposes of `persons` pseudonyms, beside questions to six partners."""
    sources = field.sources[:GROUP]
    field.start([REQUESTER, *sources])
    officer = Officer(field.federation)
    alone = [officer.ask(sources) for _ in range(ALONE)]
    officer.close()
    interval = interval_of(size_class(persons + 1), None).total_seconds()
    what, peak = f"{PURPOSES} purposes of {persons:,}", 0.0
    for pace, pause in PACES:
        with tempfile.TemporaryDirectory(prefix="bekend-") as name:
            orders = _orders(Path(name), persons, cores)
            with Watch(_builder) as watch, _asking(field, pause) as times:
                began = time.perf_counter()
                asyncio.run(_all(orders))
                passed = time.perf_counter() - began
        peak = max(peak, watch.peaks["builder"])
        ratio = bulk_seconds(PER_TAG, floor, cores) * persons * PURPOSES / passed
        yield Figure(PART, f"{what}, beside questions{pace}", passed, "s", ratio, at_most(interval / 10))
        yield Figure(PART, f"{what}, of the time between switches{pace}", 100 * passed / interval, "%")
        yield Figure(PART, f"{GROUP} partners, while building{pace}, p50", median(times) * 1e3, "ms")
        yield Figure(PART, f"{GROUP} partners, while building{pace}, p99", percentile(times, 0.99) * 1e3, "ms")
    yield Figure(PART, f"{what}, peak memory of a builder's process", peak / 1e6, "MB")
    yield Figure(PART, f"{GROUP} partners, nothing built, p50", median(alone) * 1e3, "ms")


def _orders(folder: Path, persons: int, cores: int) -> list[Order]:
    """One per purpose. All read the same pseudonyms: whose they are makes no difference to a multiplication."""
    file = folder / "1.pseudonyms"
    pseudonym_file.write(file, random_pseudonyms(persons))
    return [
        Order(
            files=[str(file)],
            shielded=[],
            ended_before=0,
            m=random_scalar().hex(),
            canary=random_element().hex(),
            source="00000099000000001000",
            purpose=f"bench/{secrets.token_hex(4)}",
            version=1,
            out=str(folder / f"{number}.tags"),
            workers=cores,
        )
        for number in range(PURPOSES)
    ]


async def _all(orders: Sequence[Order]) -> None:
    await asyncio.gather(*(run_builder(order) for order in orders))


@contextlib.contextmanager
def _asking(field: Ground, pause: float) -> Iterator[list[float]]:
    """One officer asks on in the background, every `pause` seconds; gives the seconds of each lookup when it ends."""
    over, times = threading.Event(), list[float]()

    def work() -> None:
        officer = Officer(field.federation)
        while not over.wait(max(0.0, pause - times[-1]) if times else 0.0):
            times.append(officer.ask(field.sources[:GROUP]))
        officer.close()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()


def _builder(words: list[str], _parent: list[str]) -> str | None:
    return "builder" if words[-1:] == ["bekend_node.filter_build"] else None
