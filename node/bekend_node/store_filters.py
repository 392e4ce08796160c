"""The filters that this node answers with, over a restart: signed header, and m sealed under the state key."""

import asyncio
import contextlib
import json
from dataclasses import astuple, dataclass
from sqlite3 import Connection

from bekend_proto.durable import Database, append_log
from bekend_proto.errors import StorageError
from bekend_proto.octets import blake


@dataclass(frozen=True)
class FilterRow:
    """A filter over a restart. `ends` in seconds since 1970; payload, signature, m (sealed) are None when withdrawn."""

    purpose: str
    epoch: str
    version: int
    ends: int
    payload: bytes | None
    signature: bytes | None
    m: bytes | None


@dataclass(frozen=True, slots=True)
class HaltRow:
    """One halt: `at` in milliseconds, filters up to `version`, by which user, and why."""

    at: int
    purpose: str
    version: int
    by: str
    reason: str


class KeptFilters:
    """The tables `filter`, `filter_before` and `halt` of node.db. Every write is durable when it returns."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def present(self) -> list[FilterRow]:
        """The filters that were in service last."""
        return self._database.read(lambda conn: [FilterRow(*row) for row in conn.execute("SELECT * FROM filter")])

    def before(self) -> list[FilterRow]:
        """The filters for answering by hand that were replaced, with the moments at which their m is destroyed."""
        return self._database.read(
            lambda conn: [
                FilterRow(*row)
                for row in conn.execute(
                    "SELECT purpose, epoch, version, ends, payload, signature, m FROM filter_before ORDER BY version"
                )
            ]
        )

    async def keep(self, row: FilterRow, before: FilterRow | None = None) -> None:
        """Put a filter in the place of its predecessor, whose m is gone with that (secure_delete).

        `before`: the predecessor, when it goes on to be compared with until its `ends`.
        """

        def write(conn: Connection) -> None:
            conn.execute("INSERT OR REPLACE INTO filter VALUES (?, ?, ?, ?, ?, ?, ?)", astuple(row))
            _keep_before(conn, before)

        await self._database.write(write)
        await empty_wal(self._database)

    async def withdraw(self, purpose: str, before: FilterRow | None = None) -> None:
        """Destroy header and m of the filter in service; that its epoch had one stays known. `before` as above."""

        def write(conn: Connection) -> None:
            conn.execute("UPDATE filter SET payload = NULL, signature = NULL, m = NULL WHERE purpose = ?", (purpose,))
            _keep_before(conn, before)

        await self._database.write(write)
        await empty_wal(self._database)

    def halts(self) -> dict[str, int]:
        """Per purpose, up to which version its filters answer nothing any more."""
        return self._database.read(
            lambda conn: dict(conn.execute("SELECT purpose, max(version) FROM halt GROUP BY purpose").fetchall())
        )

    async def halt(self, row: HaltRow) -> None:
        """Put a halt on the record, and its hash in the log."""
        values = astuple(row)

        def write(conn: Connection) -> None:
            conn.execute("INSERT INTO halt (at, purpose, version, by, reason) VALUES (?, ?, ?, ?, ?)", values)
            append_log(conn, "halt", blake(32, b"bekend1-halt", json.dumps(values).encode()), row.at)

        await self._database.write(write)

    async def forget_before(self, purpose: str, version: int) -> None:
        """Destroy the m of a filter that was replaced."""
        await self._database.write(
            lambda conn: conn.execute("DELETE FROM filter_before WHERE purpose = ? AND version = ?", (purpose, version))
        )
        await empty_wal(self._database)


async def empty_wal(database: Database) -> None:
    """Older pages stand in the -wal file until it is emptied, and with them the m that was replaced."""
    # A reader in the way: the next switch empties it.
    with contextlib.suppress(StorageError):
        await asyncio.to_thread(database.truncate_wal)


def _keep_before(conn: Connection, row: FilterRow | None) -> None:
    if row is not None:
        conn.execute(
            "INSERT OR REPLACE INTO filter_before VALUES (?, ?, ?, ?, ?, ?, ?)",
            (row.purpose, row.version, row.epoch, row.ends, row.payload, row.signature, row.m),
        )
