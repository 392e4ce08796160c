"""What it costs to look one tag up in a filter of ten million, with the node's own search in a mapped file."""

import mmap
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from bekend_proto.filter import TAG_LENGTH, ClosedFilter, size_class

from bekend_bench.figures import Figure, at_most, median, percentile

PART = "storage"
TAGS = size_class(10_000_000)
WARM, COLD = 20_000, 40


def measure(count: int = TAGS) -> Iterator[Figure]:
    """Look up tags that are there and tags that are not, by turns: at random places, and in a file not in memory."""
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        path = Path(name) / "1.tags"
        path.write_bytes(a_body(count))
        with path.open("rb") as file:
            os.fsync(file.fileno())
            body = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            held = ClosedFilter(body)
            wanted = _wanted(body, count)
            warm = [_look_up(held, tag, there) for tag, there in wanted]
            cold = []
            for tag, there in wanted[:COLD]:
                body.madvise(mmap.MADV_DONTNEED)
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                cold.append(_look_up(held, tag, there))
    what = f"one of {count:,} tags looked up"
    yield Figure(PART, f"{what}, p50", median(warm) * 1e6, "us", None, at_most(50))
    yield Figure(PART, f"{what}, p99", percentile(warm, 0.99) * 1e6, "us")
    yield Figure(PART, f"{what}, nothing of the file in memory, p50", median(cold) * 1e6, "us")


def a_body(count: int) -> bytes:
    """A filter's body of `count` random tags, 2^10 to 2^24, ascending: each has its place for its first three octets.

    Sorting ten million would take longer than everything that is measured.
    """
    body = bytearray(os.urandom(count * TAG_LENGTH))
    step = (1 << 24) // count
    starts = b"".join((place * step).to_bytes(3, "big") for place in range(count))
    for octet in range(3):
        body[octet::TAG_LENGTH] = starts[octet::3]
    return bytes(body)


def _wanted(body: mmap.mmap, count: int) -> list[tuple[bytes, bool]]:
    found = []
    for _ in range(WARM // 2):
        start = secrets.randbelow(count) * TAG_LENGTH
        found += [(body[start : start + TAG_LENGTH], True), (secrets.token_bytes(TAG_LENGTH), False)]
    return found


def _look_up(held: ClosedFilter, tag: bytes, there: bool) -> float:
    began = time.perf_counter()
    found = held.contains(tag)
    passed = time.perf_counter() - began
    # A random tag of 8 octets is there by chance once in 10^12.
    assert found is there
    return passed
