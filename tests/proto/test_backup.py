"""A backup is whole or it is none, nobody but its party can make one, and it ends."""

import os
import shutil
import sqlite3
import threading
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_proto import backup, log_table
from bekend_proto.backup import Source
from bekend_proto.durable import LOG_DDL, Database, Migration, append_log
from bekend_proto.errors import BekendError, SignatureError, StorageError
from nacl.signing import SigningKey

NOW = datetime(2026, 11, 26, 4, 30, tzinfo=UTC)
OIN = "00000099000000001000"
KEY = SigningKey.generate()
PUBLIC = bytes(KEY.verify_key)
STEPS = (Migration(1, "log", LOG_DDL), Migration(2, "tree", log_table.add_tree))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    (folder / "pseudonyms").mkdir(parents=True)
    (folder / "pseudonyms" / "1").write_bytes(b"x" * 3_000_000)
    with Database.open(folder / "node.db", STEPS) as database:
        _grow(database, 10)
    return folder


def _grow(database: Database, count: int) -> None:
    for _ in range(count):
        database.write_sync(lambda c: append_log(c, "test", bytes(32), 1))


def make(data: Path, into: Path, taken: datetime = NOW, **changes: object) -> backup.Backup:
    source = Source({"node.db": data / "node.db"}, {"pseudonyms/1": data / "pseudonyms" / "1"})
    return backup.make(into, "node", OIN, source, taken=taken, key=KEY, facts={"log": "x"})


def rows(path: Path) -> int:
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM log").fetchone()[0])


def test_a_backup_of_a_database_that_is_written_to_is_one_moment_of_it(data: Path, tmp_path: Path) -> None:
    with Database.open(data / "node.db", STEPS) as database:
        ended = threading.Event()

        def write() -> None:
            while not ended.is_set():
                # Two in one transaction: a copy that held one of them would not be of one moment.
                database.write_sync(lambda c: [append_log(c, "test", bytes(32), 1) for _ in range(2)])

        writing = threading.Thread(target=write)
        writing.start()
        try:
            made = [make(data, tmp_path / "backups", NOW + timedelta(seconds=n)) for n in range(5)]
        finally:
            ended.set()
            writing.join()
    counts = [rows(one.folder / "node.db") for one in made]
    assert all(count % 2 == 0 and count >= 10 for count in counts)
    assert counts == sorted(counts)
    for one in made:
        assert backup.verify(one.folder, [PUBLIC]) == one
        # Nothing of it stands beside it.
        assert {path.name for path in one.folder.iterdir()} == {"backup.note", "node.db", "pseudonyms"}
        assert all(path.stat().st_mode & 0o077 == 0 for path in (one.folder, *one.folder.rglob("*")))


@pytest.mark.parametrize("stop", range(5))
def test_a_backup_that_is_stopped_is_none(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stop: int
) -> None:
    """At each sync of its files and folder but the last one: nothing that is left is taken for a backup."""
    into, calls = tmp_path / "backups", iter(range(100))
    honest = os.fsync

    def fsync(handle: int) -> None:
        if next(calls) == stop:
            raise OSError(28, "No space left on device")
        honest(handle)

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        with pytest.raises(StorageError, match="no backup was made"):
            make(data, into)
    assert backup.present(into, "node", OIN) == []
    assert list(into.iterdir()) == []


def test_what_a_kill_left_half_written_is_no_backup_and_goes(data: Path, tmp_path: Path) -> None:
    into = tmp_path / "backups"
    whole = make(data, into)
    shutil.copytree(whole.folder, into / f"node-{OIN}-20261126T050000Z.partial")
    assert backup.present(into, "node", OIN) == [whole]
    with pytest.raises(StorageError):
        backup.read(into)
    assert len(backup.prune(into, "node", OIN, NOW)) == 1
    assert backup.present(into, "node", OIN) == [whole]


def test_a_full_disk_leaves_no_backup(data: Path) -> None:
    with pytest.raises(StorageError, match="no backup was made"):
        make(data, Path("/dev/full/backups"))


def test_every_change_is_found(data: Path, tmp_path: Path) -> None:
    made = make(data, tmp_path / "backups")
    for path in sorted(path for path in made.folder.rglob("*") if path.is_file()):
        honest = path.read_bytes()
        for other in (honest[:-1], honest + b"x", honest[:100] + bytes([honest[100] ^ 1]) + honest[101:]):
            path.write_bytes(other)
            with pytest.raises(BekendError):
                backup.verify(made.folder, [PUBLIC])
        path.unlink()
        with pytest.raises(StorageError):
            backup.verify(made.folder, [PUBLIC])
        path.write_bytes(honest)
    (made.folder / "more").touch()
    with pytest.raises(StorageError, match="other files"):
        backup.verify(made.folder, [PUBLIC])
    (made.folder / "more").unlink()
    with pytest.raises(SignatureError):
        backup.verify(made.folder, [bytes(SigningKey.generate().verify_key)])
    assert backup.verify(made.folder, [PUBLIC]) == made


def test_a_damaged_database_is_not_backed_up(data: Path, tmp_path: Path) -> None:
    with closing(sqlite3.connect(data / "node.db")) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        page = connection.execute("PRAGMA page_size").fetchone()[0]
    with (data / "node.db").open("r+b") as file:
        file.seek(page + 8)
        file.write(b"\xff" * 64)
    with pytest.raises(StorageError, match="backup"):
        make(data, tmp_path / "backups")
    assert backup.present(tmp_path / "backups", "node", OIN) == []


def test_fg_31_backups_end_by_the_clock_and_no_byte_is_left(data: Path, tmp_path: Path) -> None:
    into = tmp_path / "backups"
    old, new = make(data, into), make(data, into, NOW + timedelta(days=3))
    other = backup.make(into, "node", "00000099000000002000", Source({}), taken=NOW, key=KEY, facts={})
    kept = (old.folder / "pseudonyms" / "1").open("rb")
    assert backup.prune(into, "node", OIN, NOW + timedelta(days=1)) == [old.folder]
    assert backup.present(into, "node", OIN) == [new]
    assert backup.present(into, "node", other.oin) == [other]
    with kept:
        assert set(kept.read()) == {0}


def test_nothing_is_overwritten_by_a_restore(data: Path, tmp_path: Path) -> None:
    made = make(data, tmp_path / "backups")
    with pytest.raises(StorageError, match="not empty"):
        backup.put_back(made, data)
    target = backup.put_back(made, tmp_path / "new")
    assert not (tmp_path / "new").exists()
    backup.put_in_place(target, tmp_path / "new")
    assert rows(tmp_path / "new" / "node.db") == 10
    with pytest.raises(StorageError, match="second"):
        make(data, tmp_path / "backups")


def test_the_service_hears_when_a_backup_succeeded(data: Path) -> None:
    assert backup.last_success(data) == 0
    backup.note_success(data, NOW)
    assert backup.last_success(data) == NOW.timestamp()


@pytest.mark.parametrize("whole", [False, True], ids=["a link in one", "a link for one"])
def test_what_ends_takes_nothing_along_that_a_link_leads_to(data: Path, tmp_path: Path, whole: bool) -> None:
    """Whoever may write where backups are kept must not thereby reach what their owner may write elsewhere."""
    make(data, tmp_path / "backups")
    before = {path: path.read_bytes() for path in data.rglob("*") if path.is_file()}
    planted = tmp_path / "backups" / f"node-{OIN}-20200101T000000Z"
    if whole:
        planted.symlink_to(data)
    else:
        planted.mkdir()
        (planted / "node.db").symlink_to(data / "node.db")
        (planted / "pseudonyms").symlink_to(data / "pseudonyms")
        (planted / backup.NOTE).symlink_to(data / "pseudonyms" / "1")
    assert backup.prune(tmp_path / "backups", "node", OIN, NOW) == [planted]
    assert {path: path.read_bytes() for path in data.rglob("*") if path.is_file()} == before
    assert not planted.is_symlink()
    assert not planted.exists()


def test_what_is_put_back_is_what_was_verified(data: Path, tmp_path: Path) -> None:
    """Somebody may write where the backup lies, and wait until it was looked at."""
    made = make(data, tmp_path / "backups")
    verified = backup.verify(made.folder, [PUBLIC])
    with Database.open(made.folder / "node.db", STEPS) as database:
        _grow(database, 1)
    with pytest.raises(StorageError, match="changed since"):
        backup.put_back(verified, tmp_path / "restored")
    assert not list(tmp_path.glob("restored*"))


def test_the_newest_is_the_one_that_was_taken_last_whatever_it_is_called(data: Path, tmp_path: Path) -> None:
    old, new = (make(data, tmp_path / "backups", NOW + timedelta(hours=n)) for n in range(2))
    shutil.copytree(old.folder, tmp_path / "backups" / f"node-{OIN}-20991231T000000Z")
    assert backup.present(tmp_path / "backups", "node", OIN)[-1] == new
