"""What was written when the call returns is on the disk; what was deleted is not."""

import asyncio
import hashlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import cast

import pytest
import sqlite_utils
from bekend_proto.durable import LOG_DDL, Database, Migration, SqliteFile, append_log, exclusive
from bekend_proto.errors import BudgetError, StorageError
from bekend_proto.group_commit import Writer
from bekend_proto.log_table import add_tree

SCHEMA = [Migration(1, "things", "CREATE TABLE things (id INTEGER PRIMARY KEY, value BLOB UNIQUE)")]


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "store.db", SCHEMA) as opened:
        yield opened


def insert(value: bytes | str) -> "Statement":
    return Statement(value)


class Statement:
    """A write as the rooms write them: a function of the connection."""

    def __init__(self, value: bytes | str) -> None:
        self.value = value

    def __call__(self, connection: sqlite3.Connection) -> int:
        row = connection.execute("INSERT INTO things (value) VALUES (?)", (self.value,)).lastrowid
        assert row is not None
        return row


def count(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT count(*) FROM things").fetchone()[0])


async def test_a_write_is_visible_to_others_when_it_returns(database: Database, tmp_path: Path) -> None:
    row = await database.write(insert(b"one"))
    other = sqlite3.connect(tmp_path / "store.db")
    assert other.execute("SELECT value FROM things WHERE id = ?", (row,)).fetchone() == (b"one",)
    other.close()


async def test_every_connection_syncs_and_erases(database: Database) -> None:
    wanted = {
        "journal_mode": "wal", "synchronous": 2, "secure_delete": 1, "foreign_keys": 1,
        "temp_store": 2, "recursive_triggers": 1,
    }  # fmt: skip

    def pragmas(connection: sqlite3.Connection) -> dict[str, object]:
        return {name: connection.execute(f"PRAGMA {name}").fetchone()[0] for name in wanted}

    assert await database.write(pragmas) == wanted
    assert database.read(pragmas) == wanted


async def test_concurrent_writes_share_commits(database: Database) -> None:
    statements: list[str] = []
    inside, go = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        inside.set()
        go.wait()

    first = asyncio.create_task(database.write(block))
    await asyncio.to_thread(inside.wait)
    tracing = asyncio.create_task(database.write(lambda connection: connection.set_trace_callback(statements.append)))
    others = [asyncio.create_task(database.write(insert(f"{n}"))) for n in range(200)]
    await asyncio.sleep(0)  # every task has put its write in the queue
    go.set()
    await asyncio.gather(first, tracing, *others)
    assert database.read(count) == 200
    assert statements.count("COMMIT") == 1
    assert sum(line.startswith("INSERT INTO things") for line in statements) == 200


async def test_a_failing_write_undoes_only_itself(database: Database) -> None:
    def refuse(connection: sqlite3.Connection) -> None:
        insert("of the refused one")(connection)
        raise BudgetError("used up")

    results = await asyncio.gather(
        database.write(insert("a")),
        database.write(refuse),
        database.write(insert("a")),  # breaks UNIQUE
        database.write(insert("b")),
        return_exceptions=True,
    )
    assert isinstance(results[0], int)
    assert isinstance(results[1], BudgetError)
    assert isinstance(results[2], sqlite3.IntegrityError)
    assert isinstance(results[3], int)
    values = database.read(lambda connection: connection.execute("SELECT value FROM things").fetchall())
    assert sorted(values) == [("a",), ("b",)]


async def test_work_that_runs_out_of_what_it_reads_keeps_nobody_waiting(database: Database) -> None:
    def next_of_none(connection: sqlite3.Connection) -> object:
        insert("of who ran out")(connection)
        return next(connection.execute("SELECT value FROM things WHERE id = 0"))

    async with asyncio.timeout(10):
        results = await asyncio.gather(
            database.write(insert("a")),
            database.write(next_of_none),
            database.write(insert("b")),
            return_exceptions=True,
        )
        assert [type(one) for one in results] == [int, RuntimeError, int]
        with pytest.raises(RuntimeError):
            await database.write(next_of_none)
    with pytest.raises(RuntimeError):
        database.write_sync(next_of_none)
    assert database.read(lambda c: c.execute("SELECT value FROM things").fetchall()) == [("a",), ("b",)]


class Broken(SqliteFile):
    """A database that fails where nobody foresaw it."""

    def __init__(self, path: Path, *, what: str) -> None:
        super().__init__(path)
        self.what = what

    def commit(self, connection: sqlite3.Connection) -> None:
        if self.what:
            raise sqlite3.OperationalError("disk I/O error")
        super().commit(connection)

    def close(self, connection: sqlite3.Connection) -> None:
        super().close(connection)
        if self.what == "close":
            raise OSError("it does not close")

    def storage_error(self, error: BaseException) -> StorageError:
        if self.what == "storage_error":
            raise MemoryError
        return super().storage_error(error)


async def test_a_connection_that_does_not_close_is_replaced(database: Database) -> None:
    engine = Broken(database.path, what="close")
    writer = Writer(engine)
    writer.start()
    async with asyncio.timeout(10):
        with pytest.raises(StorageError):
            await writer.write(insert("lost"))
        engine.what = ""
        await writer.write(insert("kept"))
    writer.close()
    assert database.read(count) == 1


async def test_nobody_waits_for_a_writer_that_died(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    writer = Writer(Broken(database.path, what="storage_error"))
    inside, go = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        inside.set()
        go.wait()

    writer.start()
    async with asyncio.timeout(10):
        first = asyncio.create_task(writer.write(block))
        await asyncio.to_thread(inside.wait)
        waiting = [asyncio.create_task(writer.write(insert(value))) for value in ("one", "two")]
        alone = asyncio.create_task(asyncio.to_thread(writer.run_alone, lambda connection: None))
        await asyncio.sleep(0.05)
        go.set()
        results = await asyncio.gather(first, *waiting, alone, return_exceptions=True)
        assert [type(one) for one in results] == [StorageError] * 4
        with pytest.raises(StorageError):
            await writer.write(insert("late"))
        with pytest.raises(StorageError):
            await asyncio.to_thread(writer.write_sync, insert("late"))
    assert database.read(count) == 0


async def test_after_a_writer_died_everything_is_closed_and_what_it_died_of_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store.db"
    database = Database.open(path, SCHEMA)
    assert database.read(count) + await asyncio.to_thread(database.read, count) == 0
    monkeypatch.setattr(threading, "excepthook", lambda _: None)
    broken = Broken(path, what="storage_error")
    monkeypatch.setattr(SqliteFile, "commit", lambda _, connection: broken.commit(connection))
    monkeypatch.setattr(SqliteFile, "storage_error", lambda _, error: broken.storage_error(error))
    async with asyncio.timeout(10):
        with pytest.raises(StorageError, match="start the service again") as lost:
            await database.write(insert("lost"))
    with pytest.raises(StorageError, match="start the service again") as late:
        database.read(count)
    with pytest.raises(StorageError, match="is in use"), exclusive(path):
        pass
    for _ in range(2):
        database.close()
    with exclusive(path):
        pass
    with pytest.raises(StorageError) as closed:
        await database.write(insert("after the end"))
    assert {type(one.value.__cause__) for one in (lost, late, closed)} == {MemoryError}


async def test_a_reader_that_does_not_close_keeps_no_other_open(database: Database) -> None:
    for _ in range(3):
        await asyncio.to_thread(database.read, count)
    assert database.read(count) == 0
    first, *others = database._readers
    first.close()
    closed: list[str] = []
    database._readers[0] = cast(sqlite3.Connection, NeverCloses(closed))
    database.close()
    assert closed == ["asked"]
    for one in others:
        with pytest.raises(sqlite3.ProgrammingError):
            one.execute("SELECT 1")


class NeverCloses:
    def __init__(self, closed: list[str]) -> None:
        self._closed = closed

    def close(self) -> None:
        self._closed.append("asked")
        raise sqlite3.OperationalError("disk I/O error")


async def test_work_that_commits_by_hand_gets_a_storage_error(database: Database) -> None:
    with pytest.raises(StorageError):
        await database.write(lambda connection: connection.execute("COMMIT"))
    assert await database.write(insert("afterwards"))


async def test_a_full_disk_fails_every_waiting_write_and_keeps_nothing(database: Database) -> None:
    await database.write(insert("before"))

    def no_more_room(connection: sqlite3.Connection) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()

    await database.write(no_more_room)
    inside, go = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        inside.set()
        go.wait()

    first = asyncio.create_task(database.write(block))
    await asyncio.to_thread(inside.wait)
    waiting = [
        asyncio.create_task(database.write(insert(value)))
        for value in ("small before", os.urandom(100_000), "small after")
    ]
    await asyncio.sleep(0)
    go.set()
    await first
    results = await asyncio.gather(*waiting, return_exceptions=True)
    assert [type(result) for result in results] == [StorageError] * 3
    assert "make room" in str(results[0])
    assert database.read(count) == 1

    await database.write(lambda connection: connection.execute("PRAGMA max_page_count = 1000000").fetchone() and None)
    await database.write(insert(os.urandom(100_000)))
    assert database.read(count) == 2
    database.check()


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small disk needs root")
async def test_a_really_full_disk_recovers_when_room_returns(tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=512k", "tmpfs", str(disk)], check=False)
    if mounted.returncode != 0:
        pytest.skip("this machine lets nobody mount")
    try:
        with Database.open(disk / "store.db", SCHEMA) as database:
            await database.write(insert("before"))
            hog = disk / "hog"
            with hog.open("wb", buffering=0) as file:
                while True:
                    try:
                        file.write(bytes(4096))
                    except OSError:
                        break
            kept = 1
            with pytest.raises(StorageError):  # noqa: PT012 - the write that meets the end is one of these
                for n in range(1000):
                    await database.write(insert(n.to_bytes(4) * 4096))
                    kept += 1
            assert database.read(count) == kept
            with pytest.raises(StorageError):
                await database.write(insert(os.urandom(200_000)))
            assert database.read(count) == kept
            hog.unlink()
            await database.write(insert(b"room again"))
            assert database.read(count) == kept + 1
            database.check()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_killed_process_keeps_what_it_was_told_is_written(tmp_path: Path) -> None:
    child = """
import asyncio, sys, time
from bekend_proto.durable import Database
async def main():
    database = Database.open(sys.argv[1], [(1, "things", "CREATE TABLE things (id INTEGER PRIMARY KEY, value BLOB)")])
    await database.write(lambda c: c.execute("INSERT INTO things (value) VALUES ('kept')") and None)
    print("written", flush=True)
    sys.stdin.read()
asyncio.run(main())
"""
    path = tmp_path / "store.db"
    process = subprocess.Popen(
        [sys.executable, "-c", child, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "written\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    with Database.open(path, [(1, "things", "")]) as database:
        assert database.read(count) == 1
        database.check()


async def test_two_processes_may_share_a_file(database: Database, tmp_path: Path) -> None:
    with Database.open(tmp_path / "store.db", SCHEMA) as second:
        await asyncio.gather(
            *(database.write(insert(f"a{n}")) for n in range(50)), *(second.write(insert(f"b{n}")) for n in range(50))
        )
        assert second.read(count) == 100
        assert database.read(count) == 100


async def test_a_read_sees_one_snapshot_and_writes_nothing(database: Database) -> None:
    await database.write(insert("one"))

    def twice(connection: sqlite3.Connection) -> tuple[int, int]:
        before = count(connection)
        database.write_sync(insert("two"))
        return before, count(connection)

    assert await asyncio.to_thread(database.read, twice) == (1, 1)
    assert database.read(count) == 2
    with pytest.raises(StorageError, match="READONLY"):
        database.read(insert("three"))


async def test_a_caller_that_went_away_harms_nobody(database: Database) -> None:
    inside, go = threading.Event(), threading.Event()

    def block(connection: sqlite3.Connection) -> None:
        inside.set()
        go.wait()

    first = asyncio.create_task(database.write(block))
    await asyncio.to_thread(inside.wait)
    gone = asyncio.create_task(database.write(insert("gone")))
    stays = asyncio.create_task(database.write(insert("stays")))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.sleep(0)
    go.set()
    await first
    await stays
    assert database.read(lambda c: c.execute("SELECT value FROM things").fetchall()) == [("stays",)]


def test_deleted_values_are_gone_from_the_files(database: Database, tmp_path: Path) -> None:
    secrets = [hashlib.sha256(bytes([n])).digest() for n in range(200)]
    for value in secrets:
        database.write_sync(insert(value))
    database.write_sync(lambda connection: connection.execute("DELETE FROM things WHERE id % 2") and None)
    database.truncate_wal()
    files = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    assert [value for value in secrets[0::2] if value in files] == []
    assert all(value in files for value in secrets[1::2])


def test_scrubbing_leaves_no_trace_of_rows_that_moved_between_pages(database: Database, tmp_path: Path) -> None:
    secrets = [hashlib.sha256(n.to_bytes(4)).digest() for n in range(20_000)]

    def fill(connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO things (value) VALUES (?)", ((value,) for value in secrets))

    database.write_sync(fill)
    database.write_sync(lambda connection: connection.execute("DELETE FROM things WHERE id % 3") and None)
    database.scrub()
    files = b"".join(path.read_bytes() for path in sorted(tmp_path.iterdir()))
    deleted = [value for n, value in enumerate(secrets, 1) if n % 3]
    assert sum(value in files for value in deleted) == 0
    assert database.read(count) == len(secrets) - len(deleted)


def test_a_reader_in_the_way_of_emptying_the_wal_is_named(database: Database) -> None:
    database.write_sync(insert("one"))

    def reading(connection: sqlite3.Connection) -> None:
        count(connection)
        database.write_sync(lambda writer: writer.execute("PRAGMA busy_timeout = 1").fetchone() and None)
        database.write_sync(insert("two"))
        with pytest.raises(StorageError, match="reader"):
            database.truncate_wal()

    database.read(reading)
    database.truncate_wal()


def test_files_are_for_their_owner_only(database: Database, tmp_path: Path) -> None:
    database.write_sync(insert("one"))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["store.db", "store.db-shm", "store.db-wal"]
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_a_closed_database_says_so(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "store.db", SCHEMA)
    database.write_sync(insert("one"))
    database.close()
    database.close()
    with pytest.raises(StorageError, match="closed"):
        database.write_sync(insert("two"))
    with pytest.raises(StorageError, match="closed"):
        database.read(count)
    with pytest.raises(StorageError, match="closed"):
        database.rows("SELECT 1")


def test_rows_are_those_of_one_moment_and_change_nothing(database: Database) -> None:
    for value in ("one", "two"):
        database.write_sync(insert(value))
    assert database.rows("SELECT value FROM things WHERE value > ? ORDER BY value", ("one",)) == [("two",)]
    with pytest.raises(StorageError, match="READONLY"):
        database.rows("INSERT INTO things (value) VALUES (3)")
    assert database.read(count) == 2


# Schemas.


def test_migrations_are_applied_once_in_order(tmp_path: Path) -> None:
    ran: list[int] = []

    def second(database: sqlite_utils.Database) -> None:
        ran.append(2)
        database.table("people").create({"id": int, "role": str}, pk="id")

    steps = [Migration(1, "things", "CREATE TABLE things (id INTEGER);\nCREATE TABLE more (id INTEGER);")]
    Database.open(tmp_path / "s.db", steps).close()
    steps.append(Migration(2, "people", second))
    for _ in range(2):
        Database.open(tmp_path / "s.db", steps).close()
    assert ran == [2]
    inspected = sqlite_utils.Database(tmp_path / "s.db")
    assert set(inspected.table_names()) == {"migrations", "things", "more", "people"}
    assert [row["name"] for row in inspected.table("migrations").rows] == ["things", "people"]
    inspected.close()


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    steps = [*SCHEMA, Migration(2, "half", "CREATE TABLE half (id INTEGER);\nINSERT INTO absent VALUES (1);")]
    with pytest.raises(StorageError):
        Database.open(tmp_path / "s.db", steps)
    with Database.open(tmp_path / "s.db", SCHEMA) as database:
        names = database.read(lambda c: [row[0] for row in c.execute("SELECT name FROM sqlite_master")])
    assert "half" not in names


def test_a_new_file_has_every_step_or_none(tmp_path: Path) -> None:
    broken = Migration(2, "broken", "INSERT INTO absent VALUES (1);")
    with pytest.raises(StorageError):
        Database.open(tmp_path / "s.db", [*SCHEMA, broken])
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("SELECT count(*) FROM migrations").fetchone() == (0,)
        assert connection.execute("SELECT name FROM sqlite_master WHERE name = 'things'").fetchone() is None
    # A file in use keeps each step that was done: the next start goes on where this one stopped.
    Database.open(tmp_path / "s.db", SCHEMA).close()
    more = Migration(2, "more", "CREATE TABLE more (id INTEGER);")
    with pytest.raises(StorageError):
        Database.open(tmp_path / "s.db", [*SCHEMA, more, broken._replace(number=3)])
    with closing(sqlite3.connect(tmp_path / "s.db")) as connection:
        assert connection.execute("SELECT name FROM migrations ORDER BY number").fetchall() == [("things",), ("more",)]


def test_a_database_of_a_newer_release_is_refused(tmp_path: Path) -> None:
    Database.open(tmp_path / "s.db", [*SCHEMA, Migration(2, "later", "CREATE TABLE later (id INTEGER)")]).close()
    with pytest.raises(StorageError, match=r"newer release \(schema 2, later; this one knows 1\)"):
        Database.open(tmp_path / "s.db", SCHEMA)


def test_another_kind_of_database_is_refused(tmp_path: Path) -> None:
    Database.open(tmp_path / "s.db", SCHEMA).close()
    with pytest.raises(StorageError, match="another kind of database"):
        Database.open(tmp_path / "s.db", [Migration(1, "questions", "CREATE TABLE questions (id INTEGER)")])


def test_two_processes_may_migrate_at_once(tmp_path: Path) -> None:
    errors: list[BaseException] = []
    steps = [Migration(n, f"t{n}", f"CREATE TABLE t{n} (id INTEGER)") for n in range(1, 6)]

    def start() -> None:
        try:
            Database.open(tmp_path / "s.db", steps).close()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_what_is_no_database_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("Not a database at all, but long enough to be looked at. " * 50)
    with pytest.raises(StorageError, match="no SQLite database: check the path"):
        Database.open(path, SCHEMA)
    with pytest.raises(StorageError, match="No such file or directory"):
        Database.open(tmp_path / "absent" / "s.db", SCHEMA)


def test_damage_is_found(tmp_path: Path) -> None:
    path = tmp_path / "s.db"
    with Database.open(path, SCHEMA) as database:
        for n in range(300):
            database.write_sync(insert(os.urandom(32) + bytes([n % 256])))
        database.check()
    data = bytearray(path.read_bytes())
    data[-2048:] = os.urandom(2048)
    path.write_bytes(data)
    with Database.open(path, SCHEMA) as database, pytest.raises(StorageError):
        database.check()


# The append-only log.


@pytest.fixture
def logged(tmp_path: Path) -> Iterator[Database]:
    with Database.open(tmp_path / "log.db", [Migration(1, "log", LOG_DDL), Migration(2, "tree", add_tree)]) as opened:
        yield opened


def test_log_entries_are_numbered_without_gaps(logged: Database) -> None:
    numbers = [
        logged.write_sync(lambda c, n=n: append_log(c, "question", bytes([n]) * 32, 1000 + n))  # type: ignore[misc]
        for n in range(3)
    ]
    assert numbers == [0, 1, 2]
    with pytest.raises(ValueError, match="32 bytes"):
        logged.write_sync(lambda c: append_log(c, "question", b"short", 0))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE log SET at = 0",
        "DELETE FROM log",
        "DELETE FROM log WHERE seq = 1",
        "INSERT OR REPLACE INTO log VALUES (1, 'question', zeroblob(32), 0, '', '')",
        "INSERT INTO log VALUES (7, 'question', zeroblob(32), 0, '', '')",
        "INSERT INTO log VALUES (2, 'question', 'text', 0, '', '')",
        "UPDATE OR REPLACE log SET seq = 9",
        "UPDATE tree SET hash = zeroblob(32)",
        "DELETE FROM tree",
        "INSERT OR REPLACE INTO tree VALUES (0, zeroblob(32))",
        "INSERT INTO tree VALUES (9, zeroblob(32))",
    ],
)
def test_the_log_only_grows(logged: Database, statement: str, tmp_path: Path) -> None:
    logged.write_sync(lambda c: append_log(c, "question", bytes(range(32)), 1))
    with pytest.raises(sqlite3.IntegrityError):
        logged.write_sync(lambda c: c.execute(statement) and None)
    # Also for another program that sets no pragma at all.
    other = sqlite3.connect(tmp_path / "log.db")
    with pytest.raises(sqlite3.IntegrityError):
        other.execute(statement)
    other.close()
    rows = logged.read(lambda c: c.execute("SELECT seq, kind, hash, at FROM log").fetchall())
    assert rows == [(1, "question", bytes(range(32)), 1)]


async def test_a_close_waits_for_a_read_in_another_thread(tmp_path: Path) -> None:
    opened = Database.open(tmp_path / "store.db", SCHEMA)
    reading, go = threading.Event(), threading.Event()

    def slow(connection: sqlite3.Connection) -> int:
        reading.set()
        go.wait()
        return count(connection)

    looking = asyncio.create_task(asyncio.to_thread(opened.read, slow))
    await asyncio.to_thread(reading.wait)
    closing = asyncio.create_task(asyncio.to_thread(opened.close))
    await asyncio.sleep(0)
    go.set()
    assert await looking == 0
    await closing
    with pytest.raises(StorageError, match="closed"):
        opened.read(count)


def test_a_file_is_held_alone_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    other = (
        f"import sqlite3; sqlite3.connect({str(path)!r}, timeout=0).execute('SELECT count(*) FROM things').fetchall()"
    )
    with Database.open(path, SCHEMA) as opened:
        opened.write_sync(insert(b"one"))
        with pytest.raises(StorageError, match="in use"), exclusive(path):
            pass
    with exclusive(path) as connection:
        assert count(connection) == 1
        done = subprocess.run([sys.executable, "-c", other], capture_output=True, text=True, check=False, timeout=60)
        assert "database is locked" in done.stderr
        with pytest.raises(sqlite3.OperationalError, match="readonly"):
            connection.execute("DELETE FROM things")
    with Database.open(path, SCHEMA) as opened:
        assert opened.read(count) == 1


def test_what_a_killed_process_had_committed_is_read_alone_too(tmp_path: Path) -> None:
    path = tmp_path / "store.db"
    with Database.open(path, SCHEMA):
        pass
    killed = (
        f"import os, sqlite3; c = sqlite3.connect({str(path)!r}); c.execute('INSERT INTO things (value) VALUES (1)');"
        "c.commit(); os.kill(os.getpid(), 9)"
    )
    subprocess.run([sys.executable, "-c", killed], check=False, timeout=60)
    assert path.with_name("store.db-wal").stat().st_size
    with exclusive(path) as connection:
        assert count(connection) == 1
