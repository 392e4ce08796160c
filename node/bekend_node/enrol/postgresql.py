"""A register in PostgreSQL: TLS with a verified certificate, one snapshot, a read-only transaction, a cursor there.

A cursor takes one SELECT and nothing else (PostgreSQL, DECLARE); the transaction refuses what a function in it would
write, and cannot be made to write once it has begun (SET TRANSACTION).
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from bekend_proto.errors import KeysError, UnreachableError

from bekend_node.config import DatabaseAccess
from bekend_node.enrol.database import ROWS_AT_ONCE, Asked, Rows
from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.mapping import LOCAL, PostgresqlSource

CONNECT_SECONDS = 10
_ABOUT_THE_QUERY = ("25", "42", "57")
"""Classes of SQLSTATE whose words are about the query, its rights or the server: read-only, syntax and access, shut
down."""


class PostgresqlConnection:
    """A line to PostgreSQL with its transaction."""

    def __init__(self, source: PostgresqlSource, access: DatabaseAccess, asked: Asked) -> None:
        """Connect and begin. Raises UnreachableError, and KeysError where TLS or psycopg is wanting."""
        self._psycopg = psycopg = _library()
        self._asked = asked
        self.name = f"{source.name} at {source.host}"
        is_here = source.host.startswith("/") or source.host in LOCAL
        if not is_here and access.authorities is None:
            raise KeysError(
                f"{self.name}: the line needs TLS, and `authorities` says whose certificates are good: add it under "
                "`database` of this register in node.yaml"
            )
        try:
            self._raw = psycopg.connect(
                host=source.host,
                port=source.port,
                dbname=source.name,
                user=source.user,
                password=asked.password or None,
                sslmode="verify-full" if access.authorities else "prefer",
                sslrootcert=str(access.authorities) if access.authorities else None,
                ssl_min_protocol_version="TLSv1.2",
                connect_timeout=CONNECT_SECONDS,
                application_name="bekend",
                options="-c default_transaction_read_only=on -c synchronize_seqscans=off -c datestyle=ISO",
            )
        except psycopg.Error as fault:
            words = str(fault).strip().splitlines() or [type(fault).__name__]
            raise UnreachableError(f"{self.name}: {words[-1]}") from None
        self._raw.isolation_level = psycopg.IsolationLevel.REPEATABLE_READ
        self._raw.read_only = True

    @contextmanager
    def query(self) -> Iterator[Rows]:
        """The rows, by a cursor at the server."""
        statement, parameters = self._asked.statement, {}
        if self._asked.since is not None:
            # Only then psycopg looks for placeholders.
            statement = re.sub(r"(?<!:):since\b", "%(since)s", statement.replace("%", "%%"))
            parameters = {"since": self._asked.since}
        try:
            with self._raw.cursor(name="bekend") as cursor:
                cursor.itersize = ROWS_AT_ONCE
                cursor.execute(statement.encode(), parameters or None)
                yield _Rows(cursor)
        except self._psycopg.Error as fault:
            state = fault.sqlstate or ""
            words = fault.diag.message_primary if state.startswith(_ABOUT_THE_QUERY) else None
            raise ImportFaultError(
                self.name,
                0,
                f"the query failed ({words or type(fault).__name__}, SQLSTATE {state or 'none'})",
                "Try it in the source system, as this user.",
            ) from None

    def close(self) -> None:
        """Roll back, and leave."""
        self._raw.close()


class _Rows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.names = [column.name for column in cursor.description or ()]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._cursor)


def _library() -> Any:
    try:
        import psycopg  # noqa: PLC0415 - only who reads from such a database needs it
    except ImportError as fault:
        raise KeysError("registers in PostgreSQL need more: pip install 'bekend[postgres]'") from fault
    return psycopg
