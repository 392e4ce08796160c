"""What it costs to compare a message that names a person with a million clients, and what it costs the questions.

The node's own comparing process, as the serving node starts it, over a file of random W: whose they are makes no
difference, since the whole file is always read. Lookups go on beside it, to a partner that answers by machine.
"""

import asyncio
import secrets
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bekend_node import client_file
from bekend_node.desk.compare import Named, Order
from bekend_node.desk.comparing import WORKERS, run_compare
from bekend_node.filter_build import write_private
from bekend_proto.group import random_scalar
from bekend_proto.release import RELEASE_LENGTH

from bekend_bench.figures import Figure, at_most, median, percentile
from bekend_bench.filling import PURPOSE
from bekend_bench.ground import LARGE, Ground
from bekend_bench.lookups import Effort, Officer

PART = "release"
TIMES = 5


def measure(field: Ground, effort: Effort) -> Iterator[Figure]:
    """One message against a million clients; then lookups by themselves, and while messages are compared."""
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        order = _order(Path(name))
        alone = [_compare(order) for _ in range(TIMES)]
        yield Figure(PART, f"one message, {LARGE:,} clients", median(alone), "s", None, at_most(1.5))
        officer = Officer(field.federation)
        idle = _lookups(officer, field, effort)
        with _comparing(order) as times:
            beside = _lookups(officer, field, effort)
        officer.close()
    yield Figure(PART, "1 partner, nothing compared, p50", median(idle) * 1e3, "ms")
    yield Figure(PART, "1 partner, nothing compared, p99", percentile(idle, 0.99) * 1e3, "ms")
    yield Figure(PART, "1 partner, while comparing, p50", median(beside) * 1e3, "ms", None, at_most(60))
    yield Figure(PART, "1 partner, while comparing, p99", percentile(beside, 0.99) * 1e3, "ms", None, at_most(150))
    yield Figure(PART, "one message, while lookups go on", median(times), "s")


def _order(folder: Path) -> Order:
    m, file = random_scalar(), folder / "1.clients"
    key = client_file.compare_key(m, "00000099000000001000", PURPOSE, 1)
    write_private(file, client_file.seal(key, [secrets.token_bytes(client_file.LENGTH * LARGE)]))
    named = Named(secrets.token_hex(100), secrets.token_hex(RELEASE_LENGTH), bytes(32).hex(), bytes(32).hex(), {})
    return Order(
        file=str(file),
        key=key.hex(),
        m=m.hex(),
        desk_key=secrets.token_hex(32),
        privacy_officer=secrets.token_hex(32),
        workers=WORKERS,
        named=[named],
    )


def _compare(order: Order) -> float:
    """Seconds from the start of the process to its result."""
    began = time.perf_counter()
    (result,) = asyncio.run(run_compare(order))
    assert result.stage == "nothing"
    return time.perf_counter() - began


def _lookups(officer: Officer, field: Ground, effort: Effort) -> list[float]:
    sources = field.sources[:1]
    for _ in range(5):
        officer.ask(sources)
    return [officer.ask(sources) for _ in range(effort.sequential)]


@contextmanager
def _comparing(order: Order) -> Iterator[list[float]]:
    """One comparison after another in the background; gives their seconds when it ends."""
    over, times = threading.Event(), list[float]()

    def work() -> None:
        while not over.is_set():
            times.append(_compare(order))

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield times
    finally:
        over.set()
        thread.join()
