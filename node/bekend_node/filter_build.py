"""Builds one closed filter with all cores, in a process of its own: `python -m bekend_node.filter_build`.

The serving node starts it, writes one JSON object to its standard input, and reads one from its standard output. So the
rows, the sorting and the workers are gone from memory when it ends, and answering goes on meanwhile.

Each worker takes ranges of the first byte of P (uniformly distributed) out of the sorted pseudonym files: union of the
registers, less `afgeschermd`, less who is past the end month; then W = m * P and its tag (protocol section 6). Where a
colleague decides, W itself, sealed (section 9).
"""

import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from bekend_proto.disk import sync
from bekend_proto.filter import body_hash, pad_and_sort, size_class, tagger
from bekend_proto.group import multiply

from bekend_node import client_file, pseudonym_file

RANGES = 128
"""Ranges of the first byte: an encoded element begins with an even byte."""
NICENESS = 10
"""Questions come first."""


@dataclass(frozen=True)
class Order:
    """What to build: `m` the scalar and `canary` the canaries' pseudonyms, joined, in hex; `out` the file to write."""

    files: list[str]
    shielded: list[str]
    ended_before: int
    m: str
    canary: str
    source: str
    purpose: str
    version: int
    out: str
    workers: int
    by_hand: bool = False

    def to_json(self) -> bytes:
        """As it is written to the builder's standard input."""
        return json.dumps(asdict(self)).encode()


@dataclass(frozen=True)
class Built:
    """What was built: number of tags with padding, hash of the body in hex. By hand nothing is published: the number is
    that of the size class, for the moments of the switches, the hash that of nothing.
    """

    tags: int
    body_hash: str


def build(order: Order) -> Built:
    """Build and write the filter's body. Raises StorageError when a file is missing or cannot be written."""
    pieces: Iterator[bytes]
    make_range = partial(_range_of, order)
    if order.workers == 1 or sum(pseudonym_file.count(Path(file)) for file in order.files) < 4 * RANGES:
        joined = [make_range(number) for number in range(RANGES)]
    else:
        # This process has one thread and no connections: forking it is safe, and costs no start-up per worker.
        with get_context("fork").Pool(order.workers) as pool:
            pieces = pool.imap_unordered(make_range, range(RANGES))
            joined = list(pieces)
    scalar = bytes.fromhex(order.m)
    canaries = bytes.fromhex(order.canary)
    for start in range(0, len(canaries), 32):
        joined.append(_maker(order)(multiply(scalar, canaries[start : start + 32])))
    if order.by_hand:
        key = client_file.compare_key(scalar, order.source, order.purpose, order.version)
        write_private(Path(order.out), client_file.seal(key, joined))
        return Built(size_class(sum(map(len, joined)) // 32), body_hash(b"").hex())
    count = size_class(sum(map(len, joined)) // 8)
    body = pad_and_sort(joined, count)
    write_private(Path(order.out), [body])
    return Built(count, body_hash(body).hex())


def _maker(order: Order) -> Callable[[bytes], bytes]:
    """What stands in the file for a W: its tag, or itself."""
    return bytes if order.by_hand else tagger(order.source, order.purpose, order.version)


def _range_of(order: Order, number: int) -> bytes:
    """What the file holds of all pseudonyms whose first byte is 2 * number or 2 * number + 1, joined."""
    scalar = bytes.fromhex(order.m)
    made = _maker(order)
    people = {
        record[:32]
        for file in order.files
        for record in _range(Path(file), number)
        if int.from_bytes(record[32:], "big") >= order.ended_before
    }
    for file in order.shielded:
        people.difference_update(record[:32] for record in _range(Path(file), number))
    # Sorted here, by all workers at once: what is left to sort at the end are runs.
    return b"".join(sorted(made(multiply(scalar, pseudonym)) for pseudonym in people))


def _range(path: Path, number: int) -> Iterator[bytes]:
    start = pseudonym_file.find(path, bytes([2 * number]))
    stop = pseudonym_file.find(path, bytes([2 * number + 2])) if number + 1 < RANGES else None
    return pseudonym_file.read(path, start, stop)


def write_private(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file of mode 0600 whole, durably."""
    # Of two classes of identifier, two files of one version may be written at once.
    temporary = path.with_name(f"{path.name}.partial")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.writelines(pieces)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync(path.parent)


def main() -> None:
    """Read an Order from standard input, write a Built to standard output."""
    os.nice(NICENESS)
    # Ctrl-C in the node's terminal is for the node, which ends this process itself.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    order = Order(**json.load(sys.stdin))
    sys.stdout.write(json.dumps(asdict(build(order))))


if __name__ == "__main__":
    main()
