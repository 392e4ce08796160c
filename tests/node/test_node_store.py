"""What the running node writes: all of it or nothing, once per question, and never a word about a hit."""

import asyncio
import secrets
import sqlite3
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.store import AnsweredQuestion, Awaiting, Spend, Store
from bekend_node.store_filters import FilterRow
from bekend_node.store_own import OwnRecord
from bekend_node.store_schema import MIGRATIONS
from bekend_proto.clock import milliseconds
from bekend_proto.durable import Database
from bekend_proto.errors import BudgetError, StaleError, StorageError
from bekend_proto.log_table import Entry

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
DAY = date(2026, 11, 22)
REQUESTER = "00000099000000001000"
SOURCE = "00000099000000002000"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = Store.open(tmp_path)
    yield opened
    opened.close()


def question(question_id: bytes | None = None, persons: int = 1) -> AnsweredQuestion:
    return AnsweredQuestion(
        question_id=question_id or secrets.token_bytes(16),
        question_hash=secrets.token_bytes(32),
        requester=REQUESTER,
        source=SOURCE,
        purpose="demo/een",
        record_month="2026-11",
        payload=b"the bytes",
        signature=bytes(64),
        sealed=tuple(secrets.token_bytes(80) for _ in range(persons)),
    )


def spend(purpose: str = "demo/een", limit: int = 3, amount: int = 1, day: date = DAY) -> Spend:
    return Spend("source", REQUESTER, purpose, day, amount, limit)


async def test_a_question_is_kept_with_its_records_and_its_bytes(store: Store) -> None:
    asked = question(persons=2)
    await store.admit_answer(asked, [spend(amount=2)], NOW)
    assert store.answered(asked.question_id) == (b"the bytes", bytes(64), list(asked.sealed))
    assert store.counts() == {"answered": 1, "sealed": 2, "log": 1, "own_record": 0}
    assert store.used("source", REQUESTER, "demo/een", DAY) == 2


async def test_must_05_an_id_is_answered_once_also_in_a_race_and_after_a_restart(store: Store, tmp_path: Path) -> None:
    asked = question()
    results = await asyncio.gather(
        *(store.admit_answer(asked, [spend(limit=100)], NOW) for _ in range(20)), return_exceptions=True
    )
    assert sum(result is None for result in results) == 1
    assert sum(isinstance(result, StaleError) for result in results) == 19
    store.close()
    again = Store.open(tmp_path)
    with pytest.raises(StaleError):
        await again.admit_answer(asked, [], NOW)
    assert again.used("source", REQUESTER, "demo/een", DAY) == 1
    again.close()


async def test_must_05_questions_that_were_kept_in_the_order_of_their_ids_stay_answered(tmp_path: Path) -> None:
    asked = [question(persons=persons) for persons in (1, 2, 8)]
    times = [NOW + timedelta(seconds=second) for second in (2, 1, 3)]
    with Database.open(tmp_path / "node.db", MIGRATIONS[:23]) as before:
        before.write_sync(lambda conn: keep_by_id(conn, zip(asked, times, strict=True)))
    store = Store.open(tmp_path)
    assert store.database.check() == "node.db"
    first, second = milliseconds(times[1]), milliseconds(times[0])
    assert store.answered_records(first, second + 1) == [
        (one.payload, one.signature, list(one.sealed)) for one in (asked[1], asked[0])
    ]
    for one in asked:
        assert store.answered(one.question_id) == (one.payload, one.signature, list(one.sealed))
        assert store.awaiting(one.question_id) == Awaiting(one.question_id, 7, b"later")
        with pytest.raises(StaleError):
            await store.admit_answer(one, [], NOW)
    assert store.counts() == {"answered": 3, "sealed": 11, "log": 0, "own_record": 0}
    rules = store.read(lambda conn: conn.execute("SELECT rule FROM answered ORDER BY number").fetchall())
    assert rules == [("rule 2",), ("rule 1",), ("rule 8",)]
    store.close()


def keep_by_id(conn: sqlite3.Connection, kept: Iterable[tuple[AnsweredQuestion, datetime]]) -> None:
    """As it was done before questions were numbered."""
    for one, at in kept:
        rule = f"rule {len(one.sealed)}"
        facts = (milliseconds(at), one.requester, one.purpose, one.record_month, one.payload, one.signature, rule)
        conn.execute("INSERT INTO answered VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (one.question_id, *facts))
        conn.executemany(
            "INSERT INTO sealed VALUES (?, ?, ?)", [(one.question_id, *record) for record in enumerate(one.sealed)]
        )
        conn.execute("INSERT INTO awaiting VALUES (?, ?, ?)", (one.question_id, 7, b"later"))


async def test_own_records_that_were_kept_in_the_order_of_their_ids_are_kept_once(tmp_path: Path) -> None:
    records = [OwnRecord(secrets.token_bytes(16), kind, secrets.token_bytes(2_000)) for kind in ("lookup", "late") * 3]
    rows = [(one.id, second, one.kind, one.sealed) for second, one in enumerate(records)]
    with Database.open(tmp_path / "node.db", MIGRATIONS[:24]) as before:
        before.write_sync(lambda conn: conn.executemany("INSERT INTO own_record VALUES (?, ?, ?, ?)", rows))
    store = Store.open(tmp_path)
    assert store.database.check() == "node.db"
    assert [store.own_records(kind) for kind in ("lookup", "late")] == [records[::2], records[1::2]]
    with pytest.raises(sqlite3.IntegrityError):
        await store.admit_asking(records=records[:1], at=NOW)
    store.close()


async def test_a_budget_that_is_used_up_leaves_nothing_behind(store: Store) -> None:
    for _ in range(3):
        await store.admit_answer(question(), [spend(), spend("", 10)], NOW)
    refused = question()
    with pytest.raises(BudgetError):
        await store.admit_answer(refused, [spend("", 10), spend()], NOW)
    assert store.answered(refused.question_id) is None
    assert store.counts()["log"] == 3
    assert store.used("source", REQUESTER, "", DAY) == 3


async def test_must_18_one_total_over_all_purposes(store: Store) -> None:
    await store.admit_answer(question(), [spend("demo/een", 9), spend("", 2)], NOW)
    await store.admit_answer(question(), [spend("demo/twee", 9), spend("", 2)], NOW)
    with pytest.raises(BudgetError, match="all purposes"):
        await store.admit_answer(question(), [spend("demo/drie", 9), spend("", 2)], NOW)


async def test_a_new_day_has_a_new_budget_and_old_days_are_forgotten(store: Store) -> None:
    await store.admit_answer(question(), [spend(limit=1)], NOW)
    tomorrow = DAY + timedelta(days=1)
    await store.admit_answer(question(), [spend(limit=1, day=tomorrow)], NOW)
    await store.forget_budgets(tomorrow)
    assert store.used("source", REQUESTER, "demo/een", DAY) == 0
    assert store.used("source", REQUESTER, "demo/een", tomorrow) == 1


async def test_the_log_is_append_only(store: Store, tmp_path: Path) -> None:
    await store.admit_answer(question(), [], NOW)
    with sqlite3.connect(tmp_path / "node.db") as other, pytest.raises(sqlite3.IntegrityError):
        other.execute("DELETE FROM log")


async def test_an_older_manifest_or_covenant_never_comes_back(store: Store) -> None:
    await store.remember_manifest(REQUESTER, 5, b"five")
    await store.remember_manifest(REQUESTER, 4, b"four")
    assert store.manifests() == {REQUESTER: (5, b"five")}
    store.remember_covenant("demo", 7)
    store.remember_covenant("demo", 6)
    assert store.covenant_version("demo") == 7
    assert store.covenant_version("ander") == 0


async def test_the_requesters_side_writes_budget_log_and_record_together(store: Store) -> None:
    record = OwnRecord(secrets.token_bytes(16), "lookup", b"sealed")
    officer = Spend("officer", "jansen", "demo/een", DAY, 1, 1)
    await store.admit_asking(spends=[officer], log=[Entry("asked", bytes(32), 1)], records=[record], at=NOW)
    with pytest.raises(BudgetError):
        await store.admit_asking(spends=[officer], log=[Entry("asked", bytes(32), 1)], at=NOW)
    assert store.own_records("lookup") == [record]
    assert store.counts()["log"] == 1


async def test_must_07_a_record_that_is_not_there_any_more_is_not_written_anew(store: Store) -> None:
    """The second Ask of a lookup whose own record is gone: without a record no Question leaves."""
    record = OwnRecord(secrets.token_bytes(16), "lookup", b"sealed")
    entry = Entry("asked", secrets.token_bytes(32), milliseconds(NOW), "00000099000000002000", REQUESTER)
    await store.admit_asking(records=[record], at=NOW)
    await store.admit_asking(records=[OwnRecord(record.id, "lookup", b"anew")], again=True, at=NOW)
    assert [one.sealed for one in store.own_records("lookup")] == [b"anew"]
    with pytest.raises(StorageError):
        await store.admit_asking(log=[entry], records=[OwnRecord(record.id, "late", b"")], again=True, at=NOW)
    assert store.counts()["log"] == 0


async def test_the_m_of_a_filter_that_was_replaced_or_withdrawn_is_gone_from_the_file(
    store: Store, tmp_path: Path
) -> None:
    first, second = secrets.token_bytes(72), secrets.token_bytes(72)
    for version, m in enumerate((first, second), start=1):
        await store.filters.keep(FilterRow("demo/een", CERTAIN, "2026Q4", version, 9, b"header", bytes(64), m))
    assert [row.m for row in store.filters.present()] == [second]
    await store.filters.withdraw(FilterId("demo/een", CERTAIN))
    assert [(row.version, row.m) for row in store.filters.present()] == [(2, None)]
    store.close()
    data = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert first not in data
    assert second not in data


def test_no_column_says_what_was_answered(store: Store, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "node.db") as other:
        text = " ".join(row[0] or "" for row in other.execute("SELECT sql FROM sqlite_master"))
    assert not {"hit", "outcome", "match", "bekend", "identifier", "bsn"} & set(text.lower().replace(",", " ").split())


async def test_must_11_of_an_m_that_was_replaced_or_withdrawn_no_byte_is_left(store: Store, tmp_path: Path) -> None:
    old, new = secrets.token_bytes(72), secrets.token_bytes(72)

    def kept(m: bytes) -> bool:
        return any(m in path.read_bytes() for path in tmp_path.iterdir())

    await store.filters.keep(FilterRow("demo/een", CERTAIN, "2026Q4", 1, 2, b"header", bytes(64), old))
    assert kept(old)
    await store.filters.keep(FilterRow("demo/een", CERTAIN, "2026Q4", 2, 3, b"header", bytes(64), new))
    assert (kept(old), kept(new)) == (False, True)
    await store.filters.withdraw(FilterId("demo/een", CERTAIN))
    assert not kept(new)
