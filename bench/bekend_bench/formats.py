"""How pseudonyms stand on the disk: the sorted file that the node keeps, beside a table of SQLite with the same rows.

Both are written durably and read whole in the order of P, which is what a rebuild does; and a generation is switched,
small and large, as the last step of an import does it.
"""

import os
import sqlite3
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date
from pathlib import Path

from bekend_node import pseudonym_file
from bekend_node.store_registers import Generation, Registers

from bekend_bench.figures import Figure, at_most
from bekend_bench.filling import PURPOSE, REGISTER

PART = "storage"
ROWS = 1_000_000
SMALL = 10_000
TIMES = 7
_EPOCH = "2026Q4"


def measure(rows: int = ROWS, small: int = SMALL) -> Iterator[Figure]:
    """Octets and microseconds per pseudonym in both, then the switch of a generation at two sizes."""
    records = random_records(rows)
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        folder = Path(name)
        for what, write, read in (("sorted file", _write_file, _read_file), ("SQLite", _write_table, _read_table)):
            path = folder / what.replace(" ", "-")
            began = time.perf_counter()
            write(path, records)
            written = time.perf_counter()
            assert read(path) == rows
            done = time.perf_counter()
            yield Figure(PART, f"{what}, {rows:,} pseudonyms", path.stat().st_size / rows, "octets/pseudonym")
            yield Figure(PART, f"{what}, written durably", (written - began) / rows * 1e6, "us/pseudonym")
            yield Figure(PART, f"{what}, read whole", (done - written) / rows * 1e6, "us/pseudonym")
            path.unlink()
        in_service, destroyed = _switch(folder / "large", records)
        brief, _ = _switch(folder / "small", records[:: rows // small])
    yield Figure(PART, f"generation of {small:,} switched", brief * 1e3, "ms")
    yield Figure(PART, f"generation of {rows:,} switched", in_service * 1e3, "ms")
    factor = in_service / brief
    yield Figure(PART, f"switch at {rows:,} against {small:,}", factor, "times", None, at_most(2))
    yield Figure(PART, f"generation of {rows:,}: the one before is destroyed after", destroyed * 1e3, "ms")


def random_records(count: int) -> list[bytes]:
    """Sorted records of random octets: no multiplication follows, so they need not be group elements."""
    joined = os.urandom(32 * count)
    return sorted(joined[at : at + 32] + b"\xff\xff" for at in range(0, len(joined), 32))


def _write_file(path: Path, records: Sequence[bytes]) -> None:
    pseudonym_file.write(path, records)


def _read_file(path: Path) -> int:
    return sum(1 for _ in pseudonym_file.read(path))


def _write_table(path: Path, records: Sequence[bytes]) -> None:
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("CREATE TABLE pseudonym (p BLOB PRIMARY KEY, ends INTEGER) WITHOUT ROWID")
        rows = ((record[:32], int.from_bytes(record[32:], "big")) for record in records)
        connection.executemany("INSERT INTO pseudonym VALUES (?, ?)", rows)


def _read_table(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return sum(1 for _ in connection.execute("SELECT p, ends FROM pseudonym ORDER BY p"))


def _switch(folder: Path, records: Sequence[bytes]) -> tuple[float, float]:
    """Seconds until another connection sees the new generation, and until nothing is left of the one before.

    The fastest of a few, since a busy disk only adds.
    """
    registers, reader = Registers.open(folder), Registers.open(folder)
    seen, over = [], []
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-4)
    try:
        for _ in range(TIMES + 1):
            number = registers.next_file()
            persons = pseudonym_file.write(registers.file(number), records)
            fresh = Generation(number, REGISTER, PURPOSE, _EPOCH, date(2026, 11, 1), 0, persons, "test")
            moment: list[float] = []
            watching = threading.Thread(target=_await, args=(reader, number, moment))
            watching.start()
            # What the disk has still to do is not the switch's.
            os.sync()
            began = time.perf_counter()
            registers.switch(REGISTER, _EPOCH, [fresh], {}, None)
            over.append(time.perf_counter() - began)
            watching.join()
            seen.append(moment[0] - began)
    finally:
        sys.setswitchinterval(before)
        reader.close()
        registers.close()
    # The first one supersedes nothing.
    return min(seen[1:]), min(over[1:])


def _await(reader: Registers, number: int, moment: list[float]) -> None:
    while not any(generation.id == number for generation in reader.generations()):
        time.sleep(2e-4)
    moment.append(time.perf_counter())
