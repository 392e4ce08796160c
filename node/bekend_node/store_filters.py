"""The filters that this node answers with, over a restart: signed header, and m sealed under the state key."""

import asyncio
import contextlib
import json
from dataclasses import astuple, dataclass
from sqlite3 import Connection

from bekend_proto.durable import Database, append_log
from bekend_proto.errors import StorageError
from bekend_proto.octets import blake

from bekend_node.classes import FilterId, KindClass

DDL = """
ALTER TABLE filter RENAME TO filter_22;
ALTER TABLE filter_before RENAME TO filter_before_22;
CREATE TABLE filter (
  purpose TEXT NOT NULL, kind_class INTEGER NOT NULL, epoch TEXT NOT NULL, version INTEGER NOT NULL,
  ends INTEGER NOT NULL, payload BLOB, signature BLOB, m BLOB, PRIMARY KEY (purpose, kind_class)
) WITHOUT ROWID;
CREATE TABLE filter_before (
  purpose TEXT NOT NULL, kind_class INTEGER NOT NULL, epoch TEXT NOT NULL, version INTEGER NOT NULL,
  ends INTEGER NOT NULL, payload BLOB NOT NULL, signature BLOB NOT NULL, m BLOB NOT NULL,
  PRIMARY KEY (purpose, kind_class, version)
) WITHOUT ROWID;
INSERT INTO filter SELECT purpose, 1, epoch, version, ends, payload, signature, m FROM filter_22;
INSERT INTO filter_before SELECT purpose, 1, epoch, version, ends, payload, signature, m FROM filter_before_22;
DROP TABLE filter_22;
DROP TABLE filter_before_22;
"""
"""A filter per class of identifier: those of an earlier release are of the certain one (1 on the wire)."""

_COLUMNS = "purpose, kind_class, epoch, version, ends, payload, signature, m"


@dataclass(frozen=True)
class FilterRow:
    """A filter over a restart. `ends` in seconds since 1970; payload, signature, m (sealed) are None when withdrawn."""

    purpose: str
    kind_class: KindClass
    epoch: str
    version: int
    ends: int
    payload: bytes | None
    signature: bytes | None
    m: bytes | None

    @property
    def id(self) -> FilterId:
        """Which filter it is a version of."""
        return FilterId(self.purpose, self.kind_class)


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
        return self._read("filter", "purpose, kind_class")

    def before(self) -> list[FilterRow]:
        """The filters for answering by hand that were replaced, with the moments at which their m is destroyed."""
        return self._read("filter_before", "version")

    def _read(self, table: str, order: str) -> list[FilterRow]:
        query = f"SELECT {_COLUMNS} FROM {table} ORDER BY {order}"  # noqa: S608 - fixed names
        return self._database.read(lambda conn: [FilterRow(*row) for row in conn.execute(query)])

    async def keep(self, row: FilterRow, before: FilterRow | None = None) -> None:
        """Put a filter in the place of its predecessor, whose m is gone with that (secure_delete).

        `before`: the predecessor, when it goes on to be compared with until its `ends`.
        """

        def write(conn: Connection) -> None:
            _put(conn, "filter", row)
            _keep_before(conn, before)

        await self._database.write(write)
        await empty_wal(self._database)

    async def withdraw(self, id_: FilterId, before: FilterRow | None = None) -> None:
        """Destroy header and m of the filter in service; that its epoch had one stays known. `before` as above."""

        def write(conn: Connection) -> None:
            conn.execute(
                "UPDATE filter SET payload = NULL, signature = NULL, m = NULL WHERE purpose = ? AND kind_class = ?", id_
            )
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

    async def forget_before(self, id_: FilterId, version: int) -> None:
        """Destroy the m of a filter that was replaced."""
        await self._database.write(
            lambda conn: conn.execute(
                "DELETE FROM filter_before WHERE purpose = ? AND kind_class = ? AND version = ?", (*id_, version)
            )
        )
        await empty_wal(self._database)


async def empty_wal(database: Database) -> None:
    """Older pages stand in the -wal file until it is emptied, and with them the m that was replaced."""
    # A reader in the way: the next switch empties it.
    with contextlib.suppress(StorageError):
        await asyncio.to_thread(database.truncate_wal)


def _keep_before(conn: Connection, row: FilterRow | None) -> None:
    if row is not None:
        _put(conn, "filter_before", row)


def _put(conn: Connection, table: str, row: FilterRow) -> None:
    query = f"INSERT OR REPLACE INTO {table} ({_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"  # noqa: S608 - fixed names
    conn.execute(query, astuple(row))
