"""Reading, in the broker's database, what the logs of the standards are made from. The lookups write it."""

from bekend_policy.decided import Decided
from bekend_proto.decision_table import decisions_between
from bekend_proto.read_table import LogRead, append_read, reads_between

from bekend_broker.database import Database
from bekend_broker.log import ACCESS


class Decisions:
    """What this broker decided. Spans of time are in milliseconds, their end excluded."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def between(self, first: int, until: int) -> list[Decided]:
        """Every bundle of questions, and every order for a filter, oldest first."""
        return self._database.read(lambda c: [Decided.of(row) for row in decisions_between(c, first, until)])

    def accesses(self, first: int, until: int) -> list[tuple[bytes, int]]:
        """Hash and moment of the log entries of access requests."""
        return self._database.read(
            lambda c: c.execute(
                "SELECT hash, at FROM log WHERE kind = ? AND at >= ? AND at < ? ORDER BY seq", (ACCESS, first, until)
            ).fetchall()
        )

    def keep_read(self, read: LogRead) -> None:
        """Put a reading of the log on the record. Raises StorageError: then nothing may be shown."""
        self._database.write_sync(lambda c: append_read(c, read))

    def reads(self, first: int, until: int) -> list[LogRead]:
        """Who read the log."""
        return self._database.read(lambda c: reads_between(c, first, until))
