"""Staged chunks become one sorted list in passes: the same list, whatever is held at once, and never much of it."""

import secrets
import tracemalloc
from collections.abc import Iterator
from pathlib import Path

import pytest
from bekend_node.enrol import collect
from bekend_node.pseudonym_file import RECORD, record
from bekend_node.store_registers import Registers

CHUNK, KIND, PURPOSE = 64, "bsn", "c/doel"


async def staged(folder: Path, records: list[bytes]) -> tuple[Registers, int]:
    registers = Registers.open(folder)
    work = registers.start_import("nazorg", "2026Q4", b"f", bytes(32), {PURPOSE: bytes(16)})
    for number, start in enumerate(range(0, len(records), CHUNK)):
        joined = b"".join(sorted(records[start : start + CHUNK]))
        await registers.stage(work.id, PURPOSE, number, {KIND: joined}, {})
    return registers, work.id


def drawn(count: int) -> list[bytes]:
    """Records as they come: an encoded element begins with an even byte."""
    return [record(bytes([2 * secrets.randbelow(128)]) + secrets.token_bytes(31), 1) for _ in range(count)]


@pytest.mark.parametrize("at_once", [1 << 18, 300])
async def test_the_list_is_sorted_and_whole_whatever_is_held_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at_once: int
) -> None:
    records = drawn(1_000)
    # Somebody who stands in two windows counts once, until the later of the two months.
    records += [record(records[0][:32], 7), record(records[900][:32], 0)]
    registers, number = await staged(tmp_path, records)
    monkeypatch.setattr(collect, "IN_MEMORY", at_once)
    found = list(collect.staged_sorted(registers, number, PURPOSE, KIND, len(records)))
    registers.close()
    assert found == sorted([*records[1:1_000], record(records[0][:32], 7)])


class Stock:
    """Chunks by the thousand that take no room: each is made when it is read."""

    def __init__(self, chunks: int) -> None:
        self.chunks = chunks

    def staged_records(self, *_: object) -> Iterator[bytes]:
        for number in range(self.chunks):
            step = number.to_bytes(4, "big")
            yield b"".join(record(bytes([2 * place]) + step.ljust(31, b"\1"), 1) for place in range(128))


def peak(chunks: int) -> int:
    """Octets held at most while so many chunks become one list."""
    stock: Registers = Stock(chunks)  # type: ignore[assignment]
    tracemalloc.start()
    try:
        count = sum(1 for _ in collect.staged_sorted(stock, 1, PURPOSE, KIND, 128 * chunks))
        assert count == 128 * chunks
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_four_times_as_many_persons_take_no_more_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "IN_MEMORY", 1_000)
    small, large = peak(30), peak(120)
    assert large < 1.25 * small
    # Records are held as octet strings: no more of them than a pass is meant to hold.
    assert large < 3 * 1_000 * (RECORD + 60)
