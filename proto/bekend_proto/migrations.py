"""Numbered steps of a schema.

A step is applied once, and recorded in the table `migrations`. A new file gets all its steps in one transaction: it is
whole, or has none. Of a file that is in use each step has a transaction of its own, since it may copy whole tables.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from bekend_proto.errors import StorageError

if TYPE_CHECKING:
    import sqlite_utils


class Migration(NamedTuple):
    """One step of a schema. Once released it is never changed; a change is a new number."""

    number: int
    """From 1, without gaps."""
    name: str
    step: "str | Callable[[sqlite_utils.Database], object]"
    """SQL statements, or a function of a sqlite-utils Database; it runs inside a transaction."""


def migrate(connection: sqlite3.Connection, steps: Sequence[Migration], path: Path) -> None:
    """Apply each step that the file has not had.

    Raises StorageError when the file was written by a newer release, or is another kind of database.
    """
    connection.execute("CREATE TABLE IF NOT EXISTS migrations (number INTEGER PRIMARY KEY, name TEXT NOT NULL)")
    done = _applied(connection, steps, path)
    missing = [step for step in steps if step.number not in done]
    for together in [[step] for step in missing] if done else [missing]:
        with _transaction(connection):
            # Another process may have applied some since.
            done = _applied(connection, steps, path)
            for step in together:
                if step.number not in done:
                    _apply(connection, step)


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _applied(connection: sqlite3.Connection, steps: Sequence[Migration], path: Path) -> set[int]:
    """The numbers of the steps that the file had, which are steps of this release."""
    known = {step.number: step.name for step in steps}
    done = set()
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
        done.add(number)
    return done


def _apply(connection: sqlite3.Connection, step: Migration) -> None:
    if isinstance(step.step, str):
        for statement in statements(step.step):
            connection.execute(statement)
    else:
        import sqlite_utils  # noqa: PLC0415 - loads much, and few steps are functions

        step.step(sqlite_utils.Database(connection, execute_plugins=False))
    if not connection.in_transaction:
        raise StorageError(f"migration {step.number} ({step.name}) ended its transaction")
    connection.execute("INSERT INTO migrations VALUES (?, ?)", (step.number, step.name))


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
