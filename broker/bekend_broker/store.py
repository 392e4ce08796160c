"""The broker's database. All its SQL is in the `store*.py`, a module for what belongs together.

    store_schema.py      the tables, numbered migrations
    store_directory.py   covenant, manifests, suspensions, machines: the newest of each, over a restart
    store_budgets.py     persons counted on a day
    store_imports.py     imports under way and over
    store_questions.py   questions that a colleague may decide about
    store_decisions.py   what was decided, read for the logs of the standards
    store_retention.py   what is past its term

Functions that take a connection run inside `Store.write`, several of them in one transaction: what they charge,
remember and log is durable together or not at all.
"""

import asyncio
from collections.abc import Callable
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from bekend_proto import log_table
from bekend_proto.clock import REPLAY_MEMORY, milliseconds
from bekend_proto.durable import Database as SqliteDatabase
from bekend_proto.errors import StorageError
from bekend_proto.sql import Connection
from bekend_proto.v1.signed_pb2 import ENROLMENT_KIND_FULL

from bekend_broker import store_directory, store_imports
from bekend_broker.config import BrokerConfig
from bekend_broker.database import Database
from bekend_broker.log_head import LogHead
from bekend_broker.store_budgets import spent_on
from bekend_broker.store_questions import OpenQuestion, count_questions, find_question
from bekend_broker.store_schema import MIGRATIONS

T = TypeVar("T")

FILE: Final = "broker.db"


class Store:
    """The broker's database, opened once per process."""

    def __init__(self, database: Database) -> None:
        self._database = database

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open or create `broker.db` in the folder. Raises StorageError when it cannot be used."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(SqliteDatabase.open(folder / FILE, MIGRATIONS))

    @classmethod
    def of(cls, config: BrokerConfig) -> "Store":
        """Open what the configuration names: PostgreSQL, else the file in its folder. Raises StorageError."""
        if config.database is None:
            store = cls.open(config.data)
            try:
                store.read(LogHead(config.data).check_file)
            except BaseException:
                store.close()
                raise
            return store
        try:
            from bekend_broker.store_postgres import PostgresDatabase  # noqa: PLC0415 - a broker with SQLite needs none
        except ImportError as fault:
            raise StorageError(
                f"the driver for PostgreSQL cannot be loaded ({fault}): pip install 'bekend[postgres]'"
            ) from None
        head = LogHead(config.data)
        head.check_moved(config.data / FILE)
        return cls(PostgresDatabase.open(config.database, config.oin, config.log, head))

    @staticmethod
    def is_there(config: BrokerConfig) -> bool:
        """Whether there is anything to open: a file is made at the first start, tables by `database prepare`."""
        return config.database is not None or (config.data / FILE).exists()

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction; returns when it is durable.

        Raises what `work` raised, undone, and StorageError when the disk fails.
        """
        return await self._database.write(work)

    @property
    def database(self) -> Database:
        """The database itself, for the store modules beside this one."""
        return self._database

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one unchanging snapshot. Raises StorageError."""
        return self._database.read(work)

    async def look(self, work: Callable[[Connection], T]) -> T:
        """As `read`, without holding up the event loop: a database over a network may be slow to answer."""
        return await asyncio.to_thread(self._database.read, work)

    def log_entries(self) -> int:
        """How many entries the log has."""
        return self._database.read(log_table.log_size)

    def newest_covenant(self, covenant_id: str) -> int:
        """The highest version of a covenant that ever served here; 0 for none."""
        return self._database.read(lambda connection: store_directory.newest_covenant(connection, covenant_id))

    def manifests(self) -> dict[str, tuple[int, bytes]]:
        """Number and note of the newest manifest of each OIN that was ever accepted."""
        return self._database.read(store_directory.all_manifests)

    def enrolled(self, epoch: str) -> set[tuple[str, str, str]]:
        """Source, purpose and register of each list that was enrolled in an epoch, as far as it is remembered."""
        return self._database.read(lambda connection: store_imports.enrolled(connection, epoch, ENROLMENT_KIND_FULL))

    def suspensions(self) -> list[bytes]:
        """The newest note of each signer about each thing."""
        return self._database.read(store_directory.all_suspensions)

    def open_question(self, question_id: bytes, now: datetime) -> OpenQuestion | None:
        """The question under this id, or None when none is open."""
        return self._database.read(lambda connection: find_question(connection, question_id, now))

    def open_questions(self, now: datetime) -> int:
        """How many questions a colleague may still decide about."""
        return self._database.read(lambda connection: count_questions(connection, now))

    def spent_on(self, day: date) -> dict[tuple[str, str], int]:
        """Persons counted on a day, per requester and budget: for the operator's report."""
        return self._database.read(lambda connection: spent_on(connection, day))

    def check(self) -> str:
        """What the database is, in a few words. Raises StorageError when it is damaged or may not be used."""
        return self._database.check()

    def close(self) -> None:
        """Finish what waits and close the file."""
        self._database.close()


def first_time(
    connection: Connection, kind: bytes, name: bytes, now: datetime, memory: timedelta = REPLAY_MEMORY
) -> bool:
    """Whether this id is new; it is remembered from now on, for the replay memory unless it must be longer."""
    present = milliseconds(now)
    connection.execute("DELETE FROM seen WHERE until < ?", (present,))
    until = present + memory // timedelta(milliseconds=1)
    cursor = connection.execute(
        "INSERT INTO seen (id, until) VALUES (?, ?) ON CONFLICT (id) DO NOTHING", (kind + name, until)
    )
    return cursor.rowcount == 1
