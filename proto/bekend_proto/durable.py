"""SQLite the one allowed way: what was written when the call returns is on the disk.

    callers              writer thread                        file
      | write(fn) ----->  queue
      | write(fn) ----->  BEGIN IMMEDIATE
      |                     SAVEPOINT, fn(connection), RELEASE   (one per caller)
      |                   COMMIT ------------------------------> WAL, synced
      | <---------------  results, all at once

Callers that come while a commit is under way share the next one, so a hundred questions cost one
sync. A caller's own exception undoes its own savepoint; a fault of the disk undoes the whole
transaction and every caller in it gets a StorageError: no log, no answer (protocol section 7).
Several processes may open one file.
"""

import asyncio
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Final, TypeVar

from bekend_proto.errors import BekendError, StorageError
from bekend_proto.log_table import LOG_DDL, append_log
from bekend_proto.migrations import Migration, migrate

__all__ = ["LOG_DDL", "Database", "Migration", "Statement", "append_log"]

T = TypeVar("T")

Statement = Callable[[sqlite3.Connection], T]
"""A piece of work on a connection. It begins and ends no transaction."""

BATCH: Final = 256
"""At most so many writes share one commit."""

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


@dataclass
class _Job:
    work: Statement[Any]
    future: "Future[Any]" = field(default_factory=Future)
    alone: bool = False
    """Runs outside any transaction (a checkpoint)."""


class Database:
    """One SQLite file, written by one thread of this process. Open it with `Database.open`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: sqlite3.Connection | None = None
        self._local = threading.local()
        self._readers: list[sqlite3.Connection] = []
        self._lock = threading.Lock()
        self._closed = False
        self._writer = threading.Thread(target=self._run, name=f"writer {path.name}", daemon=True)

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
        job = _Job(work)
        self._submit(job)
        result: T = await asyncio.wrap_future(job.future)
        return result

    def write_sync(self, work: Statement[T]) -> T:
        """As `write`, for threads without an event loop: blocks until durable."""
        return self._wait(work, alone=False)

    def read(self, work: Statement[T]) -> T:
        """Run `work` on a read-only connection of this thread, over one unchanging snapshot."""
        if self._closed:
            raise StorageError(f"{self.path} is closed")
        connection = self._reader()
        try:
            connection.execute("BEGIN")
            try:
                return work(connection)
            finally:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            if _is_disk_fault(error):
                raise _storage_error(self.path, error) from None
            raise

    def truncate_wal(self) -> None:
        """Move the log of changes into the file and empty it, so that what was deleted is gone.

        Deleted bytes are zeroed in the file (secure_delete); until this runs, older copies of
        their pages may stand in the -wal file. Raises StorageError when a reader stays in the way.
        """
        self._wait(self._checkpoint, alone=True)

    def scrub(self) -> None:
        """Rebuild the file and empty the -wal file: no byte of any deleted row is left anywhere.

        Costs a copy of the file; for the end of an epoch or a retention period. Raises
        StorageError, with everything as it was, when there is no room.
        """

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("VACUUM")
            self._checkpoint(connection)

        self._wait(work, alone=True)

    def check(self) -> None:
        """Raise StorageError when pages, indexes or references of the file are damaged."""

        def work(connection: sqlite3.Connection) -> tuple[str, bool]:
            verdict = str(connection.execute("PRAGMA integrity_check(1)").fetchone()[0])
            return verdict, connection.execute("PRAGMA foreign_key_check").fetchone() is None

        verdict, whole = self.read(work)
        if verdict != "ok" or not whole:
            raise StorageError(f"{self.path} is damaged: stop the service and restore a backup")

    def close(self) -> None:
        """Finish what waits, then close the file. Later writes raise StorageError."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            self._jobs.put(None)
        self._writer.join()
        for reader in self._readers:
            reader.close()
        if self._connection is not None:
            self._connection.close()

    def __enter__(self) -> "Database":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _submit(self, job: _Job) -> None:
        with self._lock:
            if self._closed:
                raise StorageError(f"{self.path} is closed")
            self._jobs.put(job)

    def _wait(self, work: Statement[T], *, alone: bool) -> T:
        job = _Job(work, alone=alone)
        self._submit(job)
        result: T = job.future.result()
        return result

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

    # The writer thread.

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, last = self._drain(job)
            self._write_batch(batch)
            if last is _END:
                return
            if isinstance(last, _Job):
                self._run_alone(last)

    def _drain(self, first: _Job) -> "tuple[list[_Job], _Job | object | None]":
        """What waits now, up to a job that must run alone or the end."""
        if first.alone:
            return [], first
        batch = [first]
        while len(batch) < BATCH:
            try:
                job = self._jobs.get_nowait()
            except queue.Empty:
                break
            if job is None:
                return batch, _END
            if job.alone:
                return batch, job
            batch.append(job)
        return batch, None

    def _write_batch(self, batch: list[_Job]) -> None:
        # A caller that was cancelled before its turn is left out.
        batch = [job for job in batch if job.future.set_running_or_notify_cancel()]
        if not batch:
            return
        try:
            connection = self._open_connection()
            connection.execute("BEGIN IMMEDIATE")
            outcomes = [_run_in_savepoint(connection, job.work) for job in batch]
            connection.execute("COMMIT")
        except Exception as error:
            self._recover(error)
            for job in batch:
                job.future.set_exception(_storage_error(self.path, error))
            return
        for job, (result, failure) in zip(batch, outcomes, strict=True):
            if failure is None:
                job.future.set_result(result)
            else:
                job.future.set_exception(failure)

    def _run_alone(self, job: _Job) -> None:
        job.future.set_running_or_notify_cancel()
        try:
            result = job.work(self._open_connection())
        except sqlite3.Error as error:
            self._recover(error)
            job.future.set_exception(_storage_error(self.path, error))
        except BekendError as error:
            job.future.set_exception(error)
        else:
            job.future.set_result(result)

    def _open_connection(self) -> sqlite3.Connection:
        if self._connection is None:
            self._connection = _connect(self.path)
        return self._connection

    def _recover(self, error: Exception) -> None:
        """Undo the transaction. After a fault other than lack of room the file is opened anew."""
        connection = self._connection
        if connection is None:
            return
        try:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            kept = _primary_code(error) in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_BUSY)
        except sqlite3.Error:
            kept = False
        if not kept:
            self._connection = None
            connection.close()


_END: Final = object()


class _BrokenTransactionError(Exception):
    """The transaction ended under our hands."""


def _run_in_savepoint(connection: sqlite3.Connection, work: Statement[Any]) -> tuple[Any, BaseException | None]:
    """The result of `work`, or its own exception after undoing it. Faults of the disk pass through."""
    connection.execute("SAVEPOINT job")
    result: Any = None
    failure: BaseException | None = None
    try:
        result = work(connection)
    except BaseException as error:
        if isinstance(error, sqlite3.Error) and _is_disk_fault(error):
            raise
        failure = error
    if not connection.in_transaction:
        # SQLite rolled everything back by itself, or `work` committed by hand.
        raise _BrokenTransactionError
    if failure is not None:
        connection.execute("ROLLBACK TO job")
    connection.execute("RELEASE job")
    return result, failure


def _create_private(path: Path) -> None:
    """Make the file, readable by its owner only: SQLite gives -wal and -shm the same mode."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)


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
    return StorageError(f"{path} could not be written or read ({reason}): {remedy}")
