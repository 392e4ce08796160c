"""One thread that writes to a database; writes that wait share a commit.

    callers              writer thread                        database
      | write(fn) ----->  queue
      | write(fn) ----->  begin (the one writer of all processes)
      |                     SAVEPOINT, fn(connection), RELEASE   (one per caller, unless it is the only one)
      |                   commit ------------------------------> durable
      | <---------------  results, all at once

Callers that come while a commit is under way share the next one, so a hundred questions cost one sync. A caller's own
exception undoes its own savepoint; a fault of the database undoes the whole transaction, and every caller in it gets a
StorageError: no log, no answer (protocol section 7).
"""

import asyncio
import contextlib
import queue
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, Final, Generic, Protocol, TypeVar

from bekend_proto.errors import BekendError, StorageError
from bekend_proto.sql import Connection

T = TypeVar("T")
C = TypeVar("C", bound=Connection)

BATCH: Final = 256
"""At most so many writes share one commit."""


class Engine(Protocol[C]):
    """How one kind of database is spoken to by the writer thread. Its methods raise what its driver raises."""

    name: str
    """As an operator knows the database."""

    def connect(self) -> C:
        """A connection that writes."""
        ...

    def begin(self, connection: C) -> None:
        """Begin a transaction, alone among all processes that write to the database."""
        ...

    def commit(self, connection: C) -> None:
        """Return when everything in the transaction is durable."""
        ...

    def in_transaction(self, connection: C) -> bool:
        """Whether the transaction that was begun is still open."""
        ...

    def close(self, connection: C) -> None:
        """Close the connection, whatever its state."""
        ...

    def is_fault(self, error: BaseException) -> bool:
        """Whether the database failed, not the work: nothing of the transaction may be trusted to stay."""
        ...

    def is_usable_after(self, error: BaseException) -> bool:
        """Whether the connection goes on after this fault, once its transaction is undone."""
        ...

    def went_away(self, connection: C) -> bool:
        """Whether the connection was cut while it waited, so that a transaction has to begin on a new one."""
        ...

    def storage_error(self, error: BaseException) -> StorageError:
        """The fault with its remedy, and never a value."""
        ...


@dataclass(slots=True)
class _Job:
    work: Callable[[Any], Any]
    future: "Future[Any] | asyncio.Future[Any]" = field(default_factory=Future)
    loop: asyncio.AbstractEventLoop | None = None
    """Where the caller awaits its future; None for a thread that blocks."""
    alone: bool = False
    """Runs outside any transaction."""

    def wanted(self) -> bool:
        """Whether the caller still waits, now that its turn has come."""
        if isinstance(self.future, Future):
            return self.future.set_running_or_notify_cancel()
        return not self.future.cancelled()


@dataclass(slots=True)
class _Ended:
    """What came of one job."""

    job: _Job
    result: Any
    failure: BaseException | None

    def tell(self) -> None:
        """Hand it to the caller, in the caller's thread or to one that blocks."""
        future = self.job.future
        if future.done():
            # An awaiting caller that was cancelled meanwhile.
            return
        if self.failure is None:
            future.set_result(self.result)
        else:
            future.set_exception(self.failure)


class Writer(Generic[C]):
    """The writer thread of one process. `start` before the first write, `close` at the end."""

    def __init__(self, engine: Engine[C]) -> None:
        self._engine = engine
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._connection: C | None = None
        self._lock = threading.Lock()
        self._closed = False
        self._ended = False
        self._fault: BaseException | None = None
        """What ended the thread, if it did not end by itself."""
        self._under_way: list[_Job] = []
        self._thread = threading.Thread(target=self._run, name=f"writer {engine.name}", daemon=True)

    def start(self) -> None:
        """Begin to take writes."""
        self._thread.start()

    @property
    def closed(self) -> bool:
        """Whether nothing is taken any more."""
        return self._closed

    async def write(self, work: Callable[[C], T]) -> T:
        """Run `work` in the writer thread; returns its result once that is durable.

        Raises whatever `work` raised, undone; StorageError when the database fails, nothing kept. A caller that is
        cancelled while waiting does not undo a write that has begun.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._submit(_Job(work, future, loop))
        return await future

    def write_sync(self, work: Callable[[C], T]) -> T:
        """As `write`, for threads without an event loop: blocks until durable."""
        result: T = self._block_on(_Job(work))
        return result

    def run_alone(self, work: Callable[[C], T]) -> T:
        """As `write_sync`, outside any transaction."""
        result: T = self._block_on(_Job(work, alone=True))
        return result

    def check_open(self) -> None:
        """Raise StorageError when nothing is taken any more: closed, or what ended the thread is its cause."""
        if self._fault is not None:
            raise self._refusal()
        if self._closed:
            raise StorageError(f"{self._engine.name} is closed")

    def close(self) -> bool:
        """Finish what waits and close the connection; False when that was done before.

        After the thread died there is nothing to finish, and the connection is closed all the same.
        """
        with self._lock:
            if self._ended:
                return False
            self._ended = self._closed = True
            self._jobs.put(None)
        self._thread.join()
        self._drop()
        return True

    def _submit(self, job: _Job) -> None:
        with self._lock:
            self.check_open()
            self._jobs.put(job)

    def _refusal(self) -> StorageError:
        refusal = StorageError(f"{self._engine.name} is not written to any more: start the service again")
        refusal.__cause__ = self._fault
        return refusal

    def _block_on(self, job: _Job) -> Any:
        self._submit(job)
        assert isinstance(job.future, Future)
        return job.future.result()

    # The writer thread.

    def _run(self) -> None:
        try:
            self._take_all()
        except BaseException as fault:
            self._fault = fault
            raise
        finally:
            self._refuse_all()

    def _take_all(self) -> None:
        while (job := self._jobs.get()) is not None:
            batch, last = self._drain(job)
            self._under_way = [*batch, *([last] if isinstance(last, _Job) else [])]
            self._write_batch(batch)
            if isinstance(last, _Job):
                self._run_alone(last)
            self._under_way = []
            if last is _END:
                return

    def _refuse_all(self) -> None:
        """Whatever ended the thread: nobody waits for it any more."""
        with self._lock:
            self._closed = True
        left = list(self._under_way)
        while not self._jobs.empty():
            job = self._jobs.get()
            left += [] if job is None else [job]
        _tell(_Ended(job, None, self._refusal()) for job in left)

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
        batch = [job for job in batch if job.wanted()]
        if not batch:
            return
        try:
            connection = self._begin()
            if len(batch) == 1:
                ended = [self._run_only(connection, batch[0])]
            else:
                ended = [self._run_in_savepoint(connection, job) for job in batch]
                self._engine.commit(connection)
        except Exception as error:
            self._recover(error)
            ended = [_Ended(job, None, self._engine.storage_error(error)) for job in batch]
        _tell(ended)

    def _begin(self) -> C:
        connection = self._open_connection()
        try:
            self._engine.begin(connection)
        except Exception:
            if not self._engine.went_away(connection):
                raise
            # Nothing was done on it yet: a server that was restarted meanwhile costs nobody an answer.
            self._drop()
            connection = self._open_connection()
            self._engine.begin(connection)
        return connection

    def _run_alone(self, job: _Job) -> None:
        if not job.wanted():
            return
        try:
            ended = _Ended(job, job.work(self._open_connection()), None)
        except BekendError as error:
            ended = _Ended(job, None, error)
        except Exception as error:
            self._recover(error)
            ended = _Ended(job, None, self._engine.storage_error(error))
        _tell([ended])

    def _run_only(self, connection: C, job: _Job) -> _Ended:
        """Nobody shares the transaction: it is committed, or ends with the work's own exception."""
        ended = self._do(connection, job)
        if ended.failure is None:
            self._engine.commit(connection)
        else:
            connection.execute("ROLLBACK")
        return ended

    def _run_in_savepoint(self, connection: C, job: _Job) -> _Ended:
        """What the work gives, or its own exception after undoing it."""
        connection.execute("SAVEPOINT job")
        ended = self._do(connection, job)
        if ended.failure is not None:
            connection.execute("ROLLBACK TO job")
        connection.execute("RELEASE job")
        return ended

    def _do(self, connection: C, job: _Job) -> _Ended:
        """Do the work. Faults of the database pass through."""
        ended = _Ended(job, None, None)
        try:
            ended.result = job.work(connection)
        except StopIteration as error:
            # No future takes it: its caller, and all who share the commit, would wait for ever.
            ended.failure = RuntimeError("the work raised StopIteration")
            ended.failure.__cause__ = error
        except BaseException as error:
            if self._engine.is_fault(error):
                raise
            ended.failure = error
        if not self._engine.in_transaction(connection):
            # The database rolled everything back by itself, or `work` committed by hand.
            raise _BrokenTransactionError
        return ended

    def _open_connection(self) -> C:
        if self._connection is None:
            self._connection = self._engine.connect()
        return self._connection

    def _recover(self, error: Exception) -> None:
        """Undo the transaction. After a fault that the connection does not survive another is opened."""
        connection = self._connection
        if connection is None:
            return
        try:
            if self._engine.in_transaction(connection):
                connection.execute("ROLLBACK")
            kept = self._engine.is_usable_after(error)
        except Exception:
            kept = False
        if not kept:
            self._drop()

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            # It is of no use any more, also where it does not close.
            with contextlib.suppress(Exception):
                self._engine.close(connection)


def _tell(ended: Iterable[_Ended]) -> None:
    """Hand everybody what came of their work; each event loop is woken once."""
    by_loop: dict[asyncio.AbstractEventLoop, list[_Ended]] = {}
    for one in ended:
        if one.job.loop is None:
            one.tell()
        else:
            by_loop.setdefault(one.job.loop, []).append(one)
    for loop, theirs in by_loop.items():
        # A loop that is closed waits for nothing.
        with contextlib.suppress(RuntimeError):
            loop.call_soon_threadsafe(_tell_each, theirs)


def _tell_each(ended: list[_Ended]) -> None:
    for one in ended:
        one.tell()


_END: Final = object()


class _BrokenTransactionError(Exception):
    """The transaction ended under our hands."""
