"""The tables of a log: entry and tree in one transaction, over what was there before, at a cost that hardly grows."""

import asyncio
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
from bekend_proto import log_table, merkle
from bekend_proto.checkpoint import Checkpoint, log_origin
from bekend_proto.durable import LOG_DDL, Database, Migration
from bekend_proto.errors import BudgetError
from bekend_proto.log_table import Alarm, Entry

OIN = "00000099000000001000"
ORIGIN = log_origin(OIN, "main")
BEFORE = [Migration(1, "log", LOG_DDL)]
AFTER = [*BEFORE, Migration(2, "tree", log_table.add_tree)]


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "log.db", AFTER) as opened:
        yield opened


def entry(number: int, kind: str = "question") -> Entry:
    return Entry(kind, hashlib.sha256(str(number).encode()).digest(), 1_800_000_000_000 + number, OIN, OIN[:-1] + "1")


def expected(entries: list[Entry]) -> bytes:
    frontier = merkle.Frontier()
    for one in entries:
        frontier.add(0, one.leaf())
    return frontier.root()


def head(connection: sqlite3.Connection) -> tuple[int, bytes]:
    size = log_table.log_size(connection)
    return size, merkle.root(size, log_table.reader(connection))


def test_a_leaf_commits_to_kind_parties_hash_and_time() -> None:
    one = entry(1)
    assert one.octets() == (
        b"\x00\x0ebekend/1 entry\x00\x08question\x00\x14" + OIN.encode() + b"\x00\x14" + one.source.encode()
        + one.hash + (1_800_000_000_001).to_bytes(8, "big")
    )  # fmt: skip
    assert one.leaf() == hashlib.sha256(b"\x00" + one.octets()).digest()


def test_entries_of_before_become_leaves(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old = [Entry("question", bytes([n]) * 32, 1000 + n) for n in range(70)]
    with Database.open(path, BEFORE) as database:
        database.write_sync(
            lambda c: (
                c.executemany(
                    "INSERT INTO log (kind, hash, at) VALUES (?, ?, ?)", [(e.kind, e.hash, e.at) for e in old]
                )
                and None
            )
        )
    with Database.open(path, AFTER) as database:
        assert database.read(head) == (70, expected(old))
        database.write_sync(lambda c: log_table.append(c, [entry(1)]))
        assert database.read(head) == (71, expected([*old, entry(1)]))
        assert database.read(lambda c: log_table.entries(c, 0, 71)) == [*old, entry(1)]


async def test_what_is_undone_is_not_in_the_tree_and_what_shares_a_commit_is(logged: Database) -> None:
    def refused(connection: sqlite3.Connection) -> None:
        log_table.append(connection, [entry(100), entry(101)])
        raise BudgetError("used up")

    works = [logged.write(lambda c, n=n: log_table.append(c, [entry(n), entry(n)])) for n in range(20)]  # type: ignore[misc]
    results = await asyncio.gather(*works, logged.write(refused), return_exceptions=True)
    assert isinstance(results[-1], BudgetError)
    indexes = [one for one in results if isinstance(one, int)]
    assert sorted(indexes) == list(range(0, 40, 2))
    held = logged.read(lambda c: log_table.entries(c, 0, 40))
    assert logged.read(head) == (40, expected(held))
    assert logged.read(lambda c: c.execute("SELECT count(*) FROM tree").fetchone()[0]) == merkle.stored(40)


def test_an_append_to_a_million_entries_costs_what_it_costs_at_a_thousand(
    logged: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Counted work, not time: hashes and rows per append."""
    honest = merkle.node_hash
    hashed = 0

    def counting(left: bytes, right: bytes) -> bytes:
        nonlocal hashed
        hashed += 1
        return honest(left, right)

    monkeypatch.setattr(merkle, "node_hash", counting)

    def jump(connection: sqlite3.Connection, size: int) -> None:
        """A log of this size, with any hashes where nobody will look at the entries."""
        for trigger in ("log_has_no_gaps", "tree_has_no_gaps"):
            connection.execute(f"DROP TRIGGER {trigger}")
        connection.execute("INSERT INTO log (seq, kind, hash, at) VALUES (?, 'x', zeroblob(32), 0)", (size,))
        places = [(merkle.position(level, index),) for level, index in merkle.subtrees(0, size)]
        connection.executemany("INSERT OR IGNORE INTO tree VALUES (?, zeroblob(32))", places)

    def work(size: int) -> tuple[int, int]:
        nonlocal hashed
        rows: list[str] = []
        with Database.open(logged.path.with_name(f"{size}.db"), AFTER) as database:
            database.write_sync(lambda c: jump(c, size))
            hashed = 0
            database.write_sync(lambda c: c.set_trace_callback(rows.append))
            for number in range(1024):
                database.write_sync(lambda c, n=number: log_table.append(c, [entry(n)]))  # type: ignore[misc]
        return hashed, sum(line.startswith(("INSERT", "SELECT")) for line in rows)

    small, large = work(1 << 10), work(1 << 20)
    assert large[0] <= small[0] + 20
    assert large[1] <= small[1] + 40
    assert small[0] <= 1100


def test_a_period_comes_with_its_neighbours(logged: Database) -> None:
    logged.write_sync(lambda c: log_table.append(c, [Entry("q", bytes(32), at) for at in (10, 20, 30, 40, 50)]))

    def span(since: int, until: int) -> tuple[int, int]:
        return logged.read(lambda c: log_table.span(c, since, until))

    assert span(20, 41) == (0, 5)
    assert span(30, 31) == (1, 4)
    assert span(0, 100) == (0, 5)
    assert span(60, 70) == (4, 5)
    assert span(0, 5) == (0, 1)


def test_one_checkpoint_an_hour_is_kept_for_ever(logged: Database) -> None:
    hour = 3_600_000
    for number in range(1, 200):
        at = number * hour // 4
        logged.write_sync(lambda c, n=number, at=at: log_table.keep_checkpoint(c, n, b"note", at))  # type: ignore[misc]
    kept = [size for size, _, _ in logged.read(lambda c: log_table.checkpoints(c, 0, 1000))]
    # Those of the last 48 hours, and the first of each hour before.
    assert kept == [1, 4, *range(7, 200)]


def test_what_was_seen_never_goes_back_and_alarms_stay(logged: Database, tmp_path: Path) -> None:
    def seen() -> tuple[int, bytes]:
        found, note = logged.read(log_table.seen)[ORIGIN]
        return found.size, note

    for size in (5, 3, 9):
        logged.write_sync(
            lambda c, n=size: log_table.keep_seen(c, Checkpoint(ORIGIN, n, bytes(32)), f"note {n}".encode(), n)  # type: ignore[misc]
        )
    assert seen() == (9, b"note 9")
    alarm = Alarm(0, 7, ORIGIN, "fork", True, "two roots", b"evidence", False)
    number = logged.write_sync(lambda c: log_table.raise_alarm(c, alarm))
    assert logged.write_sync(lambda c: log_table.raise_alarm(c, alarm)) == number
    assert [one.detail for one in logged.read(log_table.alarms)] == ["two roots"]
    for statement in ("DELETE FROM alarm", "UPDATE alarm SET stops = 0"):
        with pytest.raises(sqlite3.IntegrityError):
            logged.write_sync(lambda c, text=statement: c.execute(text) and None)  # type: ignore[misc]
    logged.write_sync(lambda c: log_table.clear_alarm(c, number, at=8, by="root", reason="restored"))
    assert logged.read(log_table.alarms) == []
    assert [one.cleared for one in logged.read(lambda c: log_table.alarms(c, open_only=False))] == [True]
    assert logged.write_sync(lambda c: log_table.raise_alarm(c, alarm)) == number + 1
