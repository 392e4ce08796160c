"""Numbered steps of a schema.

A step is applied once, in a transaction of its own, and recorded in the table `migrations`.
"""

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import sqlite_utils

from bekend_proto.errors import StorageError


class Migration(NamedTuple):
    """One step of a schema. Once released it is never changed; a change is a new number."""

    number: int
    """From 1, without gaps."""
    name: str
    step: str | Callable[[sqlite_utils.Database], object]
    """SQL statements, or a function of a sqlite-utils Database; it runs inside a transaction."""


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], path: Path) -> None:
    """Apply each step that the file has not had, each in a transaction of its own.

    Raises StorageError when the file was written by a newer release, or is another kind of database.
    """
    database = sqlite_utils.Database(connection, execute_plugins=False)
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    _check_history(connection, steps, path)
    for step in steps:
        connection.execute("BEGIN IMMEDIATE")
        try:
            # Another process may have applied it since.
            if connection.execute("SELECT 1 FROM migrations WHERE number = ?", (step.number,)).fetchone() is None:
                _apply(database, step)
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise


def _check_history(connection: sqlite3.Connection, steps: Sequence[Migration], path: Path) -> None:
    known = {step.number: step.name for step in steps}
    for number, name in connection.execute("SELECT number, name FROM migrations ORDER BY number"):
        if number > len(steps):
            raise StorageError(
                f"{path} was written by a newer release (schema {number}, {name}; this one knows {len(steps)}): "
                "start the newer release, or restore the backup made before upgrading"
            )
        if known[number] != name:
            raise StorageError(
                f"{path} is another kind of database (schema {number} is {name}, not {known[number]}): "
                "check the path in the configuration"
            )


def _apply(database: sqlite_utils.Database, step: Migration) -> None:
    if isinstance(step.step, str):
        for statement in statements(step.step):
            database.conn.execute(statement)
    else:
        step.step(database)
    if not database.conn.in_transaction:
        raise StorageError(f"migration {step.number} ({step.name}) ended its transaction")
    database.table("migrations").insert({"number": step.number, "name": step.name})


def statements(script: str) -> list[str]:
    """The statements of a script, one by one: `executescript` would commit the transaction first."""
    found, pending = [], ""
    for line in script.splitlines(keepends=True):
        pending += line
        if sqlite3.complete_statement(pending):
            found.append(pending)
            pending = ""
    if pending.strip():
        found.append(pending)
    return found
