"""A register in any database with an ODBC driver.

ODBC has no word for a snapshot, and drivers may ignore that a connection only reads. So the transaction is rolled back
whatever it did, a statement that gives no rows is refused, and the database's account is to have no right but to read.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from bekend_proto.errors import KeysError, UnreachableError

from bekend_node.enrol.database import ROWS_AT_ONCE, Asked, Rows
from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.mapping import OdbcSource

CONNECT_SECONDS = 10
_PLAIN = re.compile(r"[^\s\[\]{}(),;?*=!@]([^\[\]{}(),;?*=!@]*[^\s\[\]{}(),;?*=!@])?")


class OdbcConnection:
    """A line over a driver, with a transaction that is never committed."""

    def __init__(self, source: OdbcSource, asked: Asked) -> None:
        """Connect. Raises UnreachableError, and KeysError where pyodbc is wanting."""
        self._pyodbc = pyodbc = _library()
        self._asked = asked
        words = dict(source.connection)
        where = next((words[key] for key in words if key.lower() in {"server", "servername", "dsn", "host"}), "here")
        self.name = f"{next((words[key] for key in words if key.lower() == 'database'), 'a database')} at {where}"
        if source.user is not None:
            words["UID"] = source.user
        if asked.password:
            words["PWD"] = asked.password
        try:
            self._raw = pyodbc.connect(
                ";".join(f"{key}={_quoted(value)}" for key, value in words.items()),
                autocommit=False,
                readonly=True,
                timeout=CONNECT_SECONDS,
            )
        except pyodbc.Error as fault:
            detail = str(fault.args[-1]) if fault.args else ""
            # Some drivers repeat the words that they were given.
            shown = detail if detail and (not asked.password or asked.password not in detail) else _state(fault)
            raise UnreachableError(f"{self.name}: {shown}") from None

    @contextmanager
    def query(self) -> Iterator[Rows]:
        """The rows, some at a time as far as the driver does so."""
        statement = self._asked.statement
        parameters = [self._asked.since] * len(re.findall(r"(?<!:):since\b", statement))
        try:
            cursor = self._raw.cursor()
            try:
                cursor.execute(re.sub(r"(?<!:):since\b", "?", statement), *parameters)
                if cursor.description is None:
                    raise ImportFaultError(
                        self.name, 0, "the statement gives no rows: it was undone", "Have the mapping corrected."
                    )
                yield _Rows(cursor)
            finally:
                cursor.close()
        except self._pyodbc.Error as fault:
            raise ImportFaultError(
                self.name,
                0,
                f"the query failed (SQLSTATE {_state(fault)})",
                "Try it in the source system, as this user.",
            ) from None

    def close(self) -> None:
        """Roll back, and leave."""
        with suppress(self._pyodbc.Error):
            self._raw.rollback()
        self._raw.close()


class _Rows:
    def __init__(self, cursor: Any) -> None:
        self._cursor = cursor
        self.names = [column[0] for column in cursor.description]

    def __iter__(self) -> Iterator[Any]:
        while rows := self._cursor.fetchmany(ROWS_AT_ONCE):
            yield from rows


def _quoted(value: str) -> str:
    """A value of a connection string, in braces where it needs them: none of it begins another keyword.

    ODBC, SQLDriverConnect. Not always: some drivers know no braces.
    """
    return value if _PLAIN.fullmatch(value) else "{" + value.replace("}", "}}") + "}"


def _state(fault: Any) -> str:
    return str(fault.args[0]) if fault.args else type(fault).__name__


def _library() -> Any:
    try:
        import pyodbc  # noqa: PLC0415 - only who reads from such a database needs it
    except ImportError as fault:
        raise KeysError(
            "registers over ODBC need more: pip install 'bekend[odbc]', and the system's libodbc.so.2"
        ) from fault
    return pyodbc
