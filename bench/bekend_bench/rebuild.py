"""What a new filter costs: the node's own builder, in its own process, as the serving node starts it."""

import asyncio
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bekend_node import pseudonym_file
from bekend_node.filter_build import Order
from bekend_node.filters import run_builder
from bekend_proto.group import random_element, random_scalar

from bekend_bench.figures import Bar, Figure
from bekend_bench.filling import PURPOSE, random_pseudonyms
from bekend_bench.floor import Floor
from bekend_bench.machine import cpu_of_ended
from bekend_bench.prescribed import PER_TAG, bulk_seconds, work_seconds

PART = "rebuild"


def measure(floor: Floor, cores: int, persons: int, bar: Bar | None = None) -> Iterator[Figure]:
    """Build one filter over random pseudonyms, from the start of the builder to the synced file."""
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        order = _order(Path(name), persons, cores)
        ended, began = cpu_of_ended(), time.perf_counter()
        built = asyncio.run(run_builder(order))
        passed, used = time.perf_counter() - began, cpu_of_ended() - ended
    assert built.tags >= persons
    ratio = bulk_seconds(PER_TAG, floor, cores) * persons / passed
    yield Figure(PART, f"{persons:,} pseudonyms", persons / passed, "tags/s", ratio, bar)
    each = used / persons
    yield Figure(
        PART, f"{persons:,} pseudonyms, processor time", each * 1e6, "us/tag", work_seconds(PER_TAG, floor) / each
    )


def _order(folder: Path, persons: int, cores: int) -> Order:
    file = folder / "1.pseudonyms"
    pseudonym_file.write(file, random_pseudonyms(persons))
    return Order(
        files=[str(file)],
        shielded=[],
        ended_before=0,
        m=random_scalar().hex(),
        canary=random_element().hex(),
        source="00000099000000001000",
        purpose=PURPOSE,
        version=1,
        out=str(folder / "1.tags"),
        workers=cores,
    )
