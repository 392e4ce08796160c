"""A damaged database is found, and ends the process that serves from it."""

import signal
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from bekend_proto.durable import LOG_DDL, Database, Migration, append_log
from bekend_proto.errors import DamagedError, StorageError
from bekend_proto.integrity import Integrity
from bekend_proto.log_table import add_tree

STEPS = (Migration(1, "log", LOG_DDL), Migration(2, "tree", add_tree))


def damaged(folder: Path) -> Path:
    """A database of which one page in the middle was overwritten."""
    path = folder / "node.db"
    with Database.open(path, STEPS) as database:
        database.write_sync(lambda c: [append_log(c, "test", bytes([n % 251] * 32), n) for n in range(5_000)])
        database.truncate_wal()
    with closing(sqlite3.connect(path)) as connection:
        size = connection.execute("PRAGMA page_size").fetchone()[0]
        page = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'tree'").fetchone()[0]
    with path.open("r+b") as file:
        file.seek((page - 1) * size)
        file.write(b"\xa5" * size)
    return path


@pytest.mark.parametrize("look", [Database.check, Database.quick_check])
def test_a_damaged_page_is_found(tmp_path: Path, look: Callable[[Database], str]) -> None:
    with Database.open(damaged(tmp_path), STEPS) as database, pytest.raises(DamagedError, match="restore a backup"):
        look(database)


async def test_a_damaged_database_ends_the_process_with_a_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    with Database.open(damaged(tmp_path), STEPS) as database:
        integrity = Integrity([database.check])
        integrity.raise_if_damaged()
        await integrity.look()
    assert raised == [signal.SIGTERM]
    with pytest.raises(DamagedError, match=r"node\.db"):
        integrity.raise_if_damaged()


async def test_what_cannot_be_looked_at_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def busy() -> None:
        raise StorageError("another process keeps it locked")

    monkeypatch.setattr(signal, "raise_signal", lambda _: pytest.fail("it was ended"))
    integrity = Integrity([busy])
    await integrity.look()
    integrity.raise_if_damaged()
