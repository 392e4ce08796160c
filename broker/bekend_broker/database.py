"""The broker's database, of either kind: one SQLite file, or PostgreSQL that several replicas share."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from bekend_proto.sql import Connection

T = TypeVar("T")


class Database(Protocol):
    """What the store modules need of it. At any moment one process of all writes to it."""

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` in one transaction; returns when it is durable. Raises what `work` raised, and StorageError."""
        ...

    def write_sync(self, work: Callable[[Connection], T]) -> T:
        """As `write`, for threads without an event loop."""
        ...

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` over one unchanging snapshot. Raises StorageError."""
        ...

    def check(self) -> str:
        """What the database is, in a few words. Raises StorageError when it is damaged or may not be used."""
        ...

    def quick_check(self) -> str:
        """As `check`, as far as a start can wait for it."""
        ...

    def truncate_wal(self) -> None:
        """Leave no older copy of what was deleted, as far as this process can. Raises StorageError."""
        ...

    def close(self) -> None:
        """Finish what waits, and close."""
        ...
