"""What an entry of the log costs as the log grows: `python -m bekend_bench.appends`.

Measured is the append as broker and nodes make it (entry, leaf, subtree hashes, in a durable commit that 64 share), the
same for an entry alone, and a proof of each kind, at 1,000 and at 1,000,000 entries. Processor time, so that other work
on the machine counts little; the middle of the rounds.
"""

import json
import secrets
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bekend_proto import log_table, merkle
from bekend_proto.durable import LOG_DDL, Database, Migration
from bekend_proto.log_table import Entry

SMALL, LARGE = 1_000, 1_000_000
TIMES = 2.0
"""An append at LARGE may cost so many times what it costs at SMALL."""
ROUNDS, SHARED = 15, 64
_BATCH = 10_000


@dataclass(frozen=True)
class Figure:
    """Microseconds of processor time for each, at one size of the log."""

    name: str
    size: int
    microseconds: float


def measure(sizes: Sequence[int], rounds: int = ROUNDS) -> list[Figure]:
    """Every figure at every size, the sizes rising; one log grows through all of them."""
    found: list[Figure] = []
    steps = [Migration(1, "log", LOG_DDL), Migration(2, "tree", log_table.add_tree)]
    with tempfile.TemporaryDirectory(prefix="bekend-") as name, Database.open(Path(name) / "log.db", steps) as database:
        for size in sizes:
            _fill(database, size)
            found += _at(database, size, rounds)
    return found


def _at(database: Database, size: int, rounds: int) -> list[Figure]:
    def shared() -> None:
        database.write_sync(lambda c: [log_table.append(c, [_entry()]) for _ in range(SHARED)])

    def alone() -> None:
        database.write_sync(lambda c: log_table.append(c, [_entry()]))

    def inclusion() -> None:
        index = secrets.randbelow(size)
        database.read(lambda c: merkle.inclusion_proof(index, size, log_table.reader(c)))

    def consistency() -> None:
        older = 1 + secrets.randbelow(size - 1)
        database.read(lambda c: merkle.consistency_proof(older, size, log_table.reader(c)))

    return [
        Figure("append, 64 in a commit", size, _middle(shared, rounds) / SHARED),
        Figure("append, alone in a commit", size, _middle(alone, rounds)),
        Figure("inclusion proof", size, _middle(inclusion, rounds)),
        Figure("consistency proof", size, _middle(consistency, rounds)),
    ]


def _middle(work: Callable[[], None], rounds: int) -> float:
    work()
    times = []
    for _ in range(rounds):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return sorted(times)[len(times) // 2] * 1e6


def _fill(database: Database, size: int) -> None:
    """Up to `size` entries."""
    while (missing := size - database.read(log_table.log_size)) > 0:
        batch = [_entry() for _ in range(min(missing, _BATCH))]
        database.write_sync(lambda c, batch=batch: log_table.append(c, batch))  # type: ignore[misc]


def _entry() -> Entry:
    return Entry("question", secrets.token_bytes(32), 1_800_000_000_000, "00000099000000001000", "00000099000000002000")


def main() -> int:
    """Print the figures; code 3 when an append grows more than it may."""
    figures = measure((SMALL, LARGE))
    appends = [it.microseconds for it in figures if it.name == "append, 64 in a commit"]
    times = appends[1] / appends[0]
    if "--json" in sys.argv:
        rows = [{"name": it.name, "size": it.size, "microseconds": round(it.microseconds, 1)} for it in figures]
        sys.stdout.write(json.dumps({"times": round(times, 2), "wanted": TIMES, "figures": rows}, indent=2) + "\n")
    else:
        for it in figures:
            sys.stdout.write(f"  {it.name:<28} {it.size:>10,} entries {it.microseconds:>9,.1f} us\n")
        sys.stdout.write(f"an append at {LARGE:,} entries costs {times:.2f} times that at {SMALL:,}\n")
    return 0 if times <= TIMES else 3


if __name__ == "__main__":
    raise SystemExit(main())
