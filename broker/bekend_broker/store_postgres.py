"""PostgreSQL for brokers of which several replicas run: one database, one log, exact budgets.

    replica A                 replica B                  PostgreSQL
      | BEGIN, the lock -------------------------------> granted: A writes, alone
      |                         | BEGIN, the lock ------> waits
      | many writes, COMMIT ---------------------------> durable, then the lock is free
      |                         | <-------------------- granted: sees all that A wrote

A transaction that writes begins with one advisory lock, so that at any moment one replica of all writes: what SQLite
does for the processes that open one file (docs/adr). Within a replica many writes share a commit (group_commit.py).
A replica that dies lets go of the lock with its connection; one that hangs in the middle is cut off by the server.

Over a network the line is TLS 1.3, and the server's certificate must name the host: there is no setting for less.
"""

import asyncio
import os
import queue
import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing, suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any, Final, TypeVar

import psycopg
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import milliseconds
from bekend_proto.errors import BekendError, StorageError
from bekend_proto.group_commit import Writer
from bekend_proto.log_table import Closed
from psycopg import errors, pq

from bekend_broker.config import DatabaseServer
from bekend_broker.log_head import LogHead
from bekend_broker.store_postgres_schema import SCHEMA, check_tables, close_here, prepare_tables

T = TypeVar("T")

WRITER_LOCK: Final = int.from_bytes(b"bekend", "big")
"""Key of the advisory lock that the one writer holds, in its own database."""

OLDEST_SERVER: Final = 15
CONNECT_SECONDS: Final = 3
ANSWER_SECONDS: Final = 5.0
"""How long a write or a statement may take before it counts as failed: no longer than a source's answer."""
HANG_SECONDS: Final = 3
"""How long a replica may leave the lock held and do nothing, before the server cuts it off."""
READERS: Final = 4
"""Connections that read at once, per replica."""

_SESSION: Final = (
    f"SET search_path TO {SCHEMA}; SET synchronous_commit TO on; SET timezone TO 'UTC';"
    f"SET statement_timeout TO '{ANSWER_SECONDS:g}s'; SET lock_timeout TO '{ANSWER_SECONDS:g}s';"
    f"SET idle_in_transaction_session_timeout TO '{HANG_SECONDS}s';"
    "SET default_transaction_isolation TO 'read committed'"
)
_OPEN: Final = frozenset({pq.TransactionStatus.INTRANS, pq.TransactionStatus.INERROR})
_OF_THE_WORK: Final = (errors.IntegrityError, errors.DataError)
"""What a piece of work may bring upon itself; every other error says that the database cannot be relied on."""


class PostgresConnection:
    """A connection as the store modules know one: `?` for parameters, and only the statements that they give."""

    def __init__(self, raw: "psycopg.Connection[tuple[Any, ...]]") -> None:
        self.raw = raw

    def execute(self, statement: str, parameters: Sequence[Any] = (), /) -> "psycopg.Cursor[tuple[Any, ...]]":
        """Run one statement."""
        return self.raw.execute(_placeholders(statement), parameters)

    def executemany(self, statement: str, parameters: Iterable[Sequence[Any]], /) -> "psycopg.Cursor[tuple[Any, ...]]":
        """Run one statement for each row of parameters, in one round trip."""
        cursor = self.raw.cursor()
        if rows := list(parameters):
            cursor.executemany(_placeholders(statement), rows)
        return cursor


@lru_cache(maxsize=512)
def _placeholders(statement: str) -> bytes:
    return statement.replace("%", "%%").replace("?", "%s").encode()


Check = Callable[[PostgresConnection], None]


class PostgresEngine:
    """The Engine of a PostgreSQL database: see group_commit.py."""

    def __init__(self, server: DatabaseServer, check: Check = lambda _: None) -> None:
        """`check` looks at each new connection before anything is done on it."""
        self._server = server
        self._check = check
        self.name = server.shown

    def connect(self) -> PostgresConnection:
        """Connect, set what every session of a broker needs, and check. Raises what `check` raises."""
        connection = PostgresConnection(psycopg.connect(**_conninfo(self._server), autocommit=True))
        try:
            connection.raw.execute(_SESSION)
            self._check(connection)
        except BaseException:
            connection.raw.close()
            raise
        return connection

    def begin(self, connection: PostgresConnection) -> None:
        """Begin as the one writer. The lock first: each statement after it sees what the writer before committed."""
        connection.raw.execute(f"BEGIN; SELECT pg_advisory_xact_lock({WRITER_LOCK})".encode())

    def commit(self, connection: PostgresConnection) -> None:
        """Commit; the server returns when it is on its disk, and on that of a synchronous standby."""
        status = connection.raw.execute("COMMIT").statusmessage
        if status != "COMMIT":
            # A transaction in which a statement failed is rolled back at COMMIT, without an error.
            raise _RolledBackError

    def in_transaction(self, connection: PostgresConnection) -> bool:
        """Whether a transaction is open."""
        return connection.raw.info.transaction_status in _OPEN

    def close(self, connection: PostgresConnection) -> None:
        """Close the connection."""
        connection.raw.close()

    def is_fault(self, error: BaseException) -> bool:
        """Whether the server failed or refused."""
        return isinstance(error, psycopg.Error) and not isinstance(error, _OF_THE_WORK)

    def is_usable_after(self, error: BaseException) -> bool:
        """Never: a new connection costs milliseconds, and comes to the server that serves now."""
        return False

    def went_away(self, connection: PostgresConnection) -> bool:
        """Whether the server closed the connection."""
        return connection.raw.closed or connection.raw.broken

    def storage_error(self, error: BaseException) -> StorageError:
        """Names the database and PostgreSQL's code, never a value: messages of the server may quote rows."""
        if isinstance(error, StorageError):
            return error
        code = getattr(error, "sqlstate", None)
        reason = f"{type(error).__name__} {code}" if code else _first_line(error)
        return StorageError(f"database {self.name} could not be written or read ({reason}): {_remedy(error)}")


class _RolledBackError(Exception):
    """The server undid the transaction at its end."""


class PostgresDatabase:
    """One database that replicas share, written by one thread of this process at a time. `PostgresDatabase.open`."""

    def __init__(self, server: DatabaseServer, check: Check = lambda _: None) -> None:
        self._engine = PostgresEngine(server, check)
        self._writer = Writer(self._engine)
        self._idle: queue.LifoQueue[PostgresConnection] = queue.LifoQueue()
        self._slots = threading.BoundedSemaphore(READERS)

    @classmethod
    def open(cls, server: DatabaseServer, oin: str, log: str, head: LogHead | None = None) -> "PostgresDatabase":
        """Connect, for the broker with this OIN and log; `head` is what the log has to hold.

        Raises StorageError when the server cannot be used or is not durable, when its tables are not those of this
        release, when they belong to another broker or log, and when the database went back.
        """

        def check(connection: PostgresConnection) -> None:
            _check_server(connection, server.shown)
            check_tables(connection, server.shown, oin, log)
            if head is not None:
                head.check(connection, server.shown, log_origin(oin, log))

        database = cls(server, check)
        database.read(lambda _: None)
        database._writer.start()
        return database

    @property
    def name(self) -> str:
        """As an operator knows it: name, user and address."""
        return self._engine.name

    async def write(self, work: Callable[[PostgresConnection], T]) -> T:
        """Run `work` in one transaction; returns when it is durable.

        Raises what `work` raised, undone; StorageError when the server fails or does not answer in ANSWER_SECONDS:
        then nothing may be relied on, though it may be found done when the server is back.
        """
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                return await self._writer.write(work)
        except TimeoutError:
            raise StorageError(
                f"database {self.name} does not answer: see whether it runs and is reached; bekend goes on by itself"
            ) from None

    def write_sync(self, work: Callable[[PostgresConnection], T]) -> T:
        """As `write`, for threads without an event loop."""
        return self._writer.write_sync(work)

    def read(self, work: Callable[[PostgresConnection], T]) -> T:
        """Run `work` over one unchanging snapshot, again when its connection was cut. Raises StorageError."""
        self._writer.check_open()
        if not self._slots.acquire(timeout=ANSWER_SECONDS):
            raise StorageError(f"database {self.name} does not answer: see whether it runs and is reached")
        try:
            return self._read(work)
        except psycopg.Error as error:
            raise self._engine.storage_error(error) from None
        finally:
            self._slots.release()

    def check(self) -> str:
        """That log and tree are whole, row by row, and that the server keeps what it commits. Raises StorageError."""
        version = self.read(lambda connection: _check_server(connection, self.name))
        self.read(_check_log)
        return f"{self.name}, PostgreSQL {version}"

    def quick_check(self) -> str:
        """As `check`: a server looks after its pages itself."""
        return self.check()

    def truncate_wal(self) -> None:
        """Nothing to do from here: the server's autovacuum removes what was deleted, its operator the archived WAL."""

    def close(self) -> None:
        """Finish what waits, and close every connection. Later calls raise StorageError."""
        if self._writer.close():
            while not self._idle.empty():
                # One that does not close keeps no other open.
                with suppress(psycopg.Error):
                    self._engine.close(self._idle.get_nowait())

    def _read(self, work: Callable[[PostgresConnection], T]) -> T:
        try:
            connection = self._idle.get_nowait()
        except queue.Empty:
            return self._snapshot(self._engine.connect(), work)
        try:
            return self._snapshot(connection, work)
        except psycopg.Error:
            if not self._engine.went_away(connection):
                raise
            # It waited too long, over a restart of the server, say.
            return self._snapshot(self._engine.connect(), work)

    def _snapshot(self, connection: PostgresConnection, work: Callable[[PostgresConnection], T]) -> T:
        kept = False
        try:
            connection.raw.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                return work(connection)
            finally:
                connection.raw.execute("ROLLBACK")
                kept = True
        finally:
            if kept and not self._writer.closed:
                self._idle.put(connection)
            else:
                self._engine.close(connection)


def prepare(server: DatabaseServer, service: str, oin: str, log: str) -> list[str]:
    """Make or renew the tables as their owner, and grant the role of the running broker what it needs; what was done.

    `server`: with the user who owns the tables; `service`: the role of the running broker, made by the server's
    administrator. Raises StorageError.
    """
    engine = PostgresEngine(server)
    try:
        with closing(engine.connect().raw) as raw, raw.transaction():
            # A long step may wait for the replicas' transactions; they are short.
            raw.execute("SET LOCAL statement_timeout TO 0")
            raw.execute(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})".encode())
            return list(prepare_tables(raw, service, oin, log))
    except psycopg.Error as error:
        raise engine.storage_error(error) from None


def close_log(server: DatabaseServer, service: str, oin: str, log: str, now: datetime) -> Closed:
    """Close the log of a database that its server put back to an older state; it goes on under the name `log`.

    `server`: with the user who owns the tables; `service`: the role of the running broker, of which no session may be
    left. What is lost counts from the last entry that came back. Raises StorageError, LogError; nothing was done then.
    """
    engine = PostgresEngine(server)
    try:
        with closing(engine.connect().raw) as raw, raw.transaction():
            raw.execute(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})".encode())
            return close_here(PostgresConnection(raw), service, oin, log, milliseconds(now))
    except psycopg.Error as error:
        raise engine.storage_error(error) from None


def _conninfo(server: DatabaseServer) -> dict[str, Any]:
    """What libpq is told. Raises StorageError when the password's file cannot be read."""
    facts: dict[str, Any] = {
        "dbname": server.name,
        "user": server.user,
        "application_name": "bekend",
        "connect_timeout": CONNECT_SECONDS,
        "keepalives_idle": 5,
        "keepalives_interval": 2,
        "keepalives_count": 2,
        "tcp_user_timeout": int(ANSWER_SECONDS * 1000),
        # With several addresses: the one that takes writes.
        "target_session_attrs": "read-write",
    }
    if server.socket is not None:
        facts |= {"host": str(server.socket), "port": server.socket_port}
    else:
        hosts = [address.rpartition(":") for address in server.addresses]
        facts |= {
            "host": ",".join(host.strip("[]") for host, _, _ in hosts),
            "port": ",".join(port for _, _, port in hosts),
            "sslmode": "verify-full",
            "sslrootcert": str(server.authorities),
            "ssl_min_protocol_version": "TLSv1.3",
            "gssencmode": "disable",
        }
    if server.certificate is not None:
        facts |= {"sslcert": str(server.certificate), "sslkey": str(server.key)}
    if server.password is not None:
        facts["password"] = _password(server.password)
        if server.socket is None:
            # SCRAM over this very TLS line: whoever stands between learns nothing that opens another.
            facts["channel_binding"] = "require"
    return facts


def _password(path: Path) -> str:
    try:
        with path.open(encoding="utf-8") as file:
            everybody = os.fstat(file.fileno()).st_mode & 0o007
            text = file.read(1000)
    except OSError as fault:
        raise StorageError(f"{path} cannot be read ({fault.strerror}): put the database's password there") from None
    if everybody:
        raise StorageError(f"{path} is readable by everybody: run `chmod 600 {path}`")
    return text.removesuffix("\n")


def _check_server(connection: PostgresConnection, name: str) -> str:
    """The server's version. Raises StorageError for one that does not keep what it commits, or takes no writes."""
    number = connection.raw.info.server_version
    if number < OLDEST_SERVER * 10_000:
        raise StorageError(f"database {name} is PostgreSQL {number // 10_000}: bekend needs {OLDEST_SERVER} or later")
    wanted = {"fsync": "on", "full_page_writes": "on", "synchronous_commit": "on", "server_encoding": "UTF8"}
    for setting, value in wanted.items():
        row = connection.execute("SELECT current_setting(?)", (setting,)).fetchone()
        if row is None or row[0] != value:
            raise StorageError(f"database {name} has {setting} at {row and row[0]}: set it to {value}")
    return f"{number // 10_000}.{number % 10_000}"


def _check_log(connection: PostgresConnection) -> None:
    """Raises StorageError when entries or hashes of the tree are missing in the middle."""
    for table, column, first in (("log", "seq", 1), ("tree", "position", 0)):
        counted = f"SELECT count(*), coalesce(max({column}), {first - 1}) FROM {table}"  # noqa: S608 - our own words
        rows, highest = connection.execute(counted).fetchall()[0]
        if rows != highest - first + 1:
            raise StorageError(
                f"table {table} has gaps: the database is damaged, stop the brokers and restore a backup"
            )


def _first_line(error: BaseException) -> str:
    """What libpq says of a connection that was not made or was cut; no statement was involved."""
    if isinstance(error, psycopg.OperationalError) and str(error):
        return " ".join(str(error).split())[:300]
    return type(error).__name__


def _remedy(error: BaseException) -> str:
    if isinstance(error, errors.InsufficientPrivilege):
        return "this role lacks a right: run `bekend broker database prepare` as the owner of the tables"
    if isinstance(error, errors.UndefinedTable | errors.UndefinedColumn | errors.InvalidSchemaName):
        return "the tables are not those of this release: run `bekend broker database prepare`"
    if isinstance(error, errors.DiskFull):
        return "the server's disk is full: make room"
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return "the server takes no writes: it is a standby"
    if isinstance(error, BekendError):
        return "see above"
    return "see whether the server runs and is reached, and user, password and certificates; bekend goes on by itself"
