"""From one broker with a file to replicas: what `broker.db` holds, moved into an empty PostgreSQL database.

    broker.db                              PostgreSQL, one transaction
      | an older release's: its schema of now
      | locked, alone --------------------> no replica, no rows; none can connect
      | every table, row by row ----------> COPY
      | every row again ------------------- the same row?
      |                                     tree and roots made anew from all entries
      |                                     data/log-head, then COMMIT

The log stays the same log: name, order, tree, checkpoints and cosignatures, so that nodes have it proved that it goes
on. Rows stream, however many there are. The file is only read, but for the steps that its schema lacks. Before the
commit the log's head is written beside it: whatever fails afterwards, no broker serves from the file while the database
may hold the log (log_head.py).
"""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import chain, islice, zip_longest
from pathlib import Path
from typing import Any, Final, NamedTuple

import psycopg
from bekend_proto import log_table, merkle
from bekend_proto.checkpoint import Checkpoint, log_origin
from bekend_proto.durable import Database, exclusive
from bekend_proto.errors import StorageError
from bekend_proto.log_table import Entry
from bekend_proto.note import parse_note
from bekend_proto.sql import Connection
from psycopg import sql

from bekend_broker.config import DatabaseServer
from bekend_broker.log_head import LogHead
from bekend_broker.store import FILE
from bekend_broker.store_postgres import WRITER_LOCK, PostgresConnection, PostgresEngine
from bekend_broker.store_postgres_schema import SCHEMA, check_tables, check_unused
from bekend_broker.store_schema import MIGRATIONS

_FETCH: Final = 1000
"""Rows that are in memory at once."""

Raw = psycopg.Connection[tuple[Any, ...]]


@dataclass(frozen=True, slots=True)
class Moved:
    """What the database holds now: the head of its log, and the number of rows of each table."""

    head: Checkpoint
    rows: dict[str, int]


class _Table(NamedTuple):
    name: str
    columns: tuple[str, ...]
    order: tuple[tuple[str, bool], ...]
    """What its rows are sorted by, and whether that is text; SQLite compares octets."""
    refers: bool
    """Whether its rows refer to those of another table, which comes first."""

    def select(self, collation: str = "") -> str:
        """All rows, in an order that both databases have."""
        columns = ", ".join(f'"{name}"' for name in self.columns)
        order = ", ".join(f'"{name}"{collation if is_text else ""}' for name, is_text in self.order)
        return f'SELECT {columns} FROM "{self.name}" ORDER BY {order}'  # noqa: S608 - names of our own schema


def move(server: DatabaseServer, service: str, oin: str, log: str, data: Path) -> Moved:
    """Move what the file in the folder `data` holds into the database, for the broker with this OIN and log.

    `server`: with the user who owns the tables; `service`: the role of the running broker. Raises StorageError when
    the file is in use, damaged or of a newer release, when the database is in use or holds any row, and when a row
    did not arrive as it was; LogError when the file's log has another name. The database is then empty as it was.
    """
    origin, head = log_origin(oin, log), LogHead(data)
    if not (data / FILE).is_file():
        raise StorageError(f"{data / FILE} is not there: a broker that never ran with a file has nothing to move")
    _renew(data / FILE)
    with exclusive(data / FILE) as source:
        log_table.check_origin(source, origin)
        head.check(source, FILE, origin)
        size = log_table.log_size(source)
        ours = Checkpoint(origin, size, merkle.root(size, log_table.reader(source)))
        engine = PostgresEngine(server, lambda connection: check_tables(connection, server.shown, oin, log))
        is_sent = False
        try:
            with closing(engine.connect().raw) as raw, raw.transaction():
                _hold(raw, service)
                tables = _tables(source)
                _check_empty(PostgresConnection(raw), tables, server.shown, ours)
                rows = _copy(source, raw, tables)
                _check_log(raw, ours)
                head.keep(ours)
                is_sent = True
        except psycopg.Error as error:
            fault = engine.storage_error(error)
            if is_sent:
                raise StorageError(f"{fault}. Whether it was done is not known: run this again, which tells") from None
            raise fault from None
    return Moved(ours, rows)


def _renew(file: Path) -> None:
    """Bring the file of an older release to the schema of this one, as a start would: `database` in the configuration
    keeps a broker from starting on it. Raises StorageError for a newer release's, and while anything has it open.
    """
    with exclusive(file) as source:
        (done,) = source.execute("SELECT count(*) FROM migrations").fetchone()
    if done != len(MIGRATIONS):
        Database.open(file, MIGRATIONS).close()


def _hold(raw: Raw, service: str) -> None:
    """Keep every replica out until the transaction ends. Raises StorageError while one is there."""
    raw.execute("SET LOCAL statement_timeout TO 0; SET LOCAL idle_in_transaction_session_timeout TO 0")
    raw.execute(f"SELECT pg_advisory_xact_lock({WRITER_LOCK})".encode())
    # A replica reads this table before anything else: one that is not among the sessions now waits at it.
    raw.execute("LOCK TABLE migrations IN ACCESS EXCLUSIVE MODE")
    check_unused(PostgresConnection(raw), service)


def _tables(source: Connection) -> list[_Table]:
    """Every table of the file; those that others refer to first."""
    names = source.execute(
        "SELECT name FROM sqlite_master WHERE type = 'table' AND name <> 'migrations' AND name NOT LIKE 'sqlite%'"
    ).fetchall()
    return sorted((_table(source, name) for (name,) in names), key=lambda table: table.refers)


def _table(source: Connection, name: str) -> _Table:
    columns = source.execute("SELECT name, type, pk FROM pragma_table_info(?)", (name,)).fetchall()
    # Without a key, rows are told apart by everything they hold.
    keys = sorted((one for one in columns if one[2]), key=lambda one: int(one[2])) or columns
    refers = source.execute("SELECT 1 FROM pragma_foreign_key_list(?)", (name,)).fetchone() is not None
    order = tuple((column, kind == "TEXT") for column, kind, _ in keys)
    return _Table(name, tuple(column for column, _, _ in columns), order, refers)


def _check_empty(target: Connection, tables: list[_Table], shown: str, ours: Checkpoint) -> None:
    filled = [
        name
        for name, *_ in tables
        if target.execute(f'SELECT EXISTS (SELECT 1 FROM "{name}")').fetchone()[0]  # noqa: S608
    ]
    if not filled:
        return
    if ours.size and log_table.log_size(target) >= ours.size:
        held = merkle.root(ours.size, log_table.reader(target))
        if held == ours.root:
            raise StorageError(
                f"database {shown} holds all {ours.size} entries of the log already: it was moved before; "
                "start the broker with `database` in its configuration"
            )
    raise StorageError(
        f"database {shown} is not empty ({', '.join(sorted(filled))}): make a new one, run "
        "`bekend broker database prepare`, and move then; nothing is ever overwritten"
    )


def _copy(source: Connection, raw: Raw, tables: list[_Table]) -> dict[str, int]:
    """Copy every row, then hold each row that is there now against the file's; how many there are of each table."""
    for table in tables:
        into = sql.SQL("COPY {} ({}) FROM STDIN").format(
            sql.Identifier(table.name), sql.SQL(", ").join(map(sql.Identifier, table.columns))
        )
        with raw.cursor() as cursor, cursor.copy(into) as copy:
            for row in source.execute(table.select()):
                copy.write_row(row)
    _number_on(raw)
    return {table.name: _compared(source, raw, table) for table in tables}


def _number_on(raw: Raw) -> None:
    """Let the numbers that PostgreSQL gives go on after the highest there is."""
    found = raw.execute(
        "SELECT table_name, column_name FROM information_schema.columns"
        " WHERE table_schema = %s AND is_identity = 'YES'",
        (SCHEMA,),
    ).fetchall()
    for table, column in found:
        names = {"table": sql.Identifier(table), "column": sql.Identifier(column)}
        highest = sql.SQL("SELECT coalesce(max({column}), 0) FROM {table}").format(**names)
        following = raw.execute(highest).fetchall()[0][0] + 1
        # Unlike setval, this is undone with the transaction.
        restart = sql.SQL("ALTER TABLE {table} ALTER COLUMN {column} RESTART WITH {following}")
        raw.execute(restart.format(**names, following=sql.Literal(following)))


def _compared(source: Connection, raw: Raw, table: _Table) -> int:
    count = 0
    arrived = _stream(raw, table.name, table.select(' COLLATE "C"'))
    for ours, theirs in zip_longest(source.execute(table.select()), arrived):
        if ours != theirs:
            raise StorageError(f"table {table.name} did not arrive as it is in {FILE}: nothing was moved")
        count += 1
    return count


def _check_log(raw: Raw, ours: Checkpoint) -> None:
    """Make the tree anew from the entries that arrived, and its root at every checkpoint and at the end."""
    entries = _stream(raw, "entries", "SELECT kind, hash, at, requester, source FROM log ORDER BY seq")
    tree = _stream(raw, "hashes", "SELECT position, hash FROM tree ORDER BY position")
    # The perfect subtrees so far, by their place: all that the next entry, and a root, are made from.
    perfect: dict[int, bytes] = {}
    done = 0
    for wanted in chain(_checkpoints(raw), [ours]):
        for index, row in enumerate(islice(entries, wanted.size - done), done):
            hashes = merkle.completed(index, Entry(*row).leaf(), perfect.pop)
            made = list(enumerate(hashes, merkle.stored(index)))
            perfect.update(made[-1:])
            _check(list(islice(tree, len(made))) == made, index + 1)
        done = wanted.size
        _check(merkle.root(done, lambda at: perfect.get(at, b"")) == wanted.root, done)
    _check(next(tree, None) is None, done)


def _checkpoints(raw: Raw) -> Iterator[Checkpoint]:
    for size, note in _stream(raw, "checkpoints", "SELECT size, note FROM checkpoint ORDER BY size"):
        signed = Checkpoint.parse(parse_note(note).text)
        _check(signed.size == size, size)
        yield signed


def _check(holds: bool, size: int) -> None:
    if not holds:
        raise StorageError(
            f"entries, tree and checkpoints in {FILE} do not agree at {size} entries: the file is damaged or was "
            "changed; restore a backup. Nothing was moved"
        )


def _stream(raw: Raw, name: str, statement: str) -> Iterator[tuple[Any, ...]]:
    """The rows, so many at a time, by a cursor of this name at the server."""
    with raw.cursor(name) as cursor:
        cursor.itersize = _FETCH
        cursor.execute(statement.encode())
        yield from cursor
