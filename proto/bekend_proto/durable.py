"""SQLite the one allowed way: what was written when the call returns is on the disk.

One thread writes (group_commit.py), each thread that reads has a connection of its own, and the file is in WAL mode
with every commit synced. Several processes may open one file.
"""

import os
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from bekend_proto.errors import DamagedError, StorageError
from bekend_proto.group_commit import BATCH, Writer
from bekend_proto.log_table import LOG_DDL, append_log
from bekend_proto.migrations import Migration, migrate

__all__ = ["BATCH", "LOG_DDL", "Database", "Migration", "Statement", "append_log", "exclusive"]

T = TypeVar("T")

Statement = Callable[[sqlite3.Connection], T]
"""A piece of work on a connection. It begins and ends no transaction."""

BUSY_MILLISECONDS: Final = 10_000
"""How long to wait for another process that writes to the same file."""

# A page or a file cannot be read or written: nothing of the transaction may be trusted to stay.
_DISK_FAULTS: Final = frozenset(
    {
        sqlite3.SQLITE_BUSY,
        sqlite3.SQLITE_CANTOPEN,
        sqlite3.SQLITE_CORRUPT,
        sqlite3.SQLITE_FULL,
        sqlite3.SQLITE_INTERRUPT,
        sqlite3.SQLITE_IOERR,
        sqlite3.SQLITE_LOCKED,
        sqlite3.SQLITE_NOLFS,
        sqlite3.SQLITE_NOMEM,
        sqlite3.SQLITE_NOTADB,
        sqlite3.SQLITE_PERM,
        sqlite3.SQLITE_PROTOCOL,
        sqlite3.SQLITE_READONLY,
    }
)


class SqliteFile:
    """The Engine of one file: see group_commit.py."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.name = path.name

    def connect(self) -> sqlite3.Connection:
        """Open the file."""
        return _connect(self.path)

    def begin(self, connection: sqlite3.Connection) -> None:
        """Begin as the one writer of the file."""
        connection.execute("BEGIN IMMEDIATE")

    def commit(self, connection: sqlite3.Connection) -> None:
        """Commit, synced."""
        connection.execute("COMMIT")

    def in_transaction(self, connection: sqlite3.Connection) -> bool:
        """Whether a transaction is open."""
        return connection.in_transaction

    def close(self, connection: sqlite3.Connection) -> None:
        """Close the connection."""
        connection.close()

    def is_fault(self, error: BaseException) -> bool:
        """Whether the disk failed."""
        return isinstance(error, sqlite3.Error) and _is_disk_fault(error)

    def is_usable_after(self, error: BaseException) -> bool:
        """After lack of room or another's lock; after anything else the file is opened anew."""
        return _primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)

    def went_away(self, connection: sqlite3.Connection) -> bool:
        """A file does not go away."""
        return False

    def storage_error(self, error: BaseException) -> StorageError:
        """Names the file and SQLite's or the system's code."""
        return _storage_error(self.path, error)


class Database:
    """One SQLite file, written by one thread of this process. Open it with `Database.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._writer = Writer(SqliteFile(path))
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._reading = 0
        self._idle = threading.Condition(self._lock)

    @classmethod
    def open(cls, path: Path | str, migrations: Sequence[Migration | tuple[int, str, Any]] = ()) -> "Database":
        """Open or create the file (mode 0600) and bring its schema up to date.

        Raises StorageError when the file cannot be used, is no database, was written by a newer
        release, or belongs to something with other migrations.
        """
        steps = [Migration(*step) for step in migrations]
        if [step.number for step in steps] != list(range(1, len(steps) + 1)):
            raise ValueError("migrations are numbered from 1 without gaps")
        database = cls(Path(path))
        try:
            _create_private(database.path)
            with closing(_connect(database.path)) as connection:
                migrate(connection, steps, database.path)
        except (OSError, sqlite3.Error) as error:
            raise _storage_error(database.path, error) from None
        database._writer.start()
        return database

    async def write(self, work: Statement[T]) -> T:
        """Run `work` in the writer thread; returns its result once that is durable.

        Raises whatever `work` raised, undone; StorageError when the disk fails, nothing kept. A
        caller that is cancelled while waiting does not undo a write that has begun.
        """
        return await self._writer.write(work)

    def write_sync(self, work: Statement[T]) -> T:
        """As `write`, for threads without an event loop: blocks until durable."""
        return self._writer.write_sync(work)

    def read(self, work: Statement[T]) -> T:
        """Run `work` on a read-only connection of this thread, over one unchanging snapshot."""
        return self._read(lambda connection: _over_one_snapshot(connection, work))

    def rows(self, query: str, parameters: Sequence[object] = ()) -> list[Any]:
        """All rows of one SELECT, which is a snapshot by itself and needs no transaction around it."""
        return self._read(lambda connection: connection.execute(query, parameters).fetchall())

    def _read(self, work: Callable[[sqlite3.Connection], T]) -> T:
        with self._lock:
            self._writer.check_open()
            self._reading += 1
        try:
            return work(self._reader())
        except sqlite3.Error as error:
            if _is_disk_fault(error):
                raise _storage_error(self.path, error) from None
            raise
        finally:
            with self._lock:
                self._reading -= 1
                self._idle.notify_all()

    def truncate_wal(self) -> None:
        """Move the log of changes into the file and empty it, so that what was deleted is gone.

        Deleted bytes are zeroed in the file (secure_delete); until this runs, older copies of
        their pages may stand in the -wal file. Raises StorageError when a reader stays in the way.
        """
        self._writer.run_alone(self._checkpoint)

    def scrub(self) -> None:
        """Rebuild the file and empty the -wal file: no byte of any deleted row is left anywhere.

        Costs a copy of the file; for the end of an epoch or a retention period. Raises
        StorageError, with everything as it was, when there is no room.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("VACUUM")
            self._checkpoint(connection)

        self._writer.run_alone(work)

    def check(self) -> str:
        """The file's name. Raises DamagedError when pages, indexes or references of the file are damaged."""

        def work(connection: sqlite3.Connection) -> tuple[str, bool]:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            return verdict, connection.execute("PRAGMA foreign_key_check").fetchone() is None

        return self._whole(*self.read(work))

    def quick_check(self) -> str:
        """As `check`, without comparing indexes and references with the rows: for the start of a service."""
        return self._whole(self.read(lambda c: str(c.execute("PRAGMA quick_check(1)").fetchone()[0])))

    def _whole(self, verdict: str, has_references: bool = True) -> str:
        if verdict != "ok" or not has_references:
            raise DamagedError(f"{self.path} is damaged: stop the service and restore a backup")
        return self.path.name

    def close(self) -> None:
        """Finish what waits, then close the file, also after the writer died. Later calls raise StorageError."""
        if self._writer.close():
            with self._lock:
                # A read in another thread ends on its own connection first.
                self._idle.wait_for(lambda: not self._reading, BUSY_MILLISECONDS / 1000)
            for reader in self._readers:
                # One that does not close keeps no other open.
                with suppress(sqlite3.Error):
                    reader.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        if busy:
            raise StorageError(f"{self.path}: a reader keeps the -wal file in use; try again")

    def _reader(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            try:
                connection = _connect(self.path)
                connection.execute("PRAGMA query_only=ON")
            except sqlite3.Error as error:
                raise _storage_error(self.path, error) from None
            with self._lock:
                self._readers.append(connection)
            self._local.connection = connection
        return connection


@contextmanager
def exclusive(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, to read, while no other process has it open; one that opens it meanwhile waits.

    Raises StorageError when the file is in use or cannot be read, DamagedError when it is damaged.
    """
    try:
        # Read-only, it could not be locked; and a -wal that a crash left has to be moved into the file.
        uri = f"{path.absolute().as_uri()}?mode=rw"
        with closing(sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None)) as connection:
            # In WAL mode every open connection holds a shared lock on the file, so this one has to be the only one.
            connection.execute("PRAGMA locking_mode=EXCLUSIVE").fetchall()
            connection.execute("BEGIN EXCLUSIVE")
            connection.execute("PRAGMA query_only=ON")
            if connection.execute("PRAGMA quick_check(1)").fetchone()[0] != "ok":
                raise DamagedError(f"{path} is damaged: restore a backup")
            yield connection
            connection.execute("ROLLBACK")
    except sqlite3.Error as error:
        if _primary_code(error) == sqlite3.SQLITE_BUSY:
            raise StorageError(f"{path} is in use: stop the service, and every command that reads there") from None
        raise _storage_error(path, error) from None


def _create_private(path: Path) -> None:
    """Make the file, readable by its owner only: SQLite gives -wal and -shm the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


def _over_one_snapshot(connection: sqlite3.Connection, work: Statement[T]) -> T:
    connection.execute("BEGIN")
    try:
        return work(connection)
    finally:
        if connection.in_transaction:
            connection.execute("ROLLBACK")


def _connect(path: Path) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode=rw"
    connection = sqlite3.connect(
        uri, uri=True, timeout=BUSY_MILLISECONDS / 1000, isolation_level=None, check_same_thread=False
    )
    try:
        for pragma in (
            f"busy_timeout={BUSY_MILLISECONDS}",
            "journal_mode=WAL",
            "synchronous=FULL",
            "secure_delete=ON",
            "foreign_keys=ON",
            "recursive_triggers=ON",
            "temp_store=MEMORY",
            "trusted_schema=OFF",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _primary_code(error: BaseException) -> int | None:
    code: int | None = getattr(error, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _is_disk_fault(error: sqlite3.Error) -> bool:
    return _primary_code(error) in _DISK_FAULTS


def _storage_error(path: Path, error: BaseException) -> StorageError:
    """A StorageError that names the file and SQLite's or the system's code, and never a value."""
    if isinstance(error, StorageError):
        return error
    reason = getattr(error, "sqlite_errorname", None) or type(error).__name__
    if isinstance(error, OSError):
        reason = error.strerror or reason
    remedy = {
        sqlite3.SQLITE_FULL: "the disk is full: make room",
        sqlite3.SQLITE_NOTADB: "this is no SQLite database: check the path in the configuration",
        sqlite3.SQLITE_CORRUPT: "the file is damaged: stop the service and restore a backup",
        sqlite3.SQLITE_BUSY: "another process keeps it locked",
    }.get(_primary_code(error) or -1, "check that folder and file exist and that this user may write there")
    kind = DamagedError if _primary_code(error) == sqlite3.SQLITE_CORRUPT else StorageError
    return kind(f"{path} could not be written or read ({reason}): {remedy}")
