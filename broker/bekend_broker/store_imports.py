"""Imports of registers, as far as they are remembered: what each has spent of its budget."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from bekend_proto.clock import milliseconds
from bekend_proto.sql import Connection

_KEEP_IMPORTS: Final = timedelta(days=62)
"""How long an import that nobody goes on with is remembered: past the end of its month."""


@dataclass(frozen=True, slots=True)
class ImportId:
    """One import of one register for one purpose, as its node numbered it."""

    source: str
    purpose: str
    register: str
    import_id: bytes

    @property
    def register_key(self) -> tuple[str, str, str]:
        """What its budget is kept for."""
        return self.source, self.purpose, self.register

    @property
    def key(self) -> tuple[str, str, str, bytes]:
        """Its row."""
        return self.source, self.purpose, self.register, self.import_id


@dataclass(frozen=True, slots=True)
class ImportRow:
    """What is remembered of an import."""

    epoch: str
    kind: int
    period: str
    spent: int


def find_import(connection: Connection, name: ImportId) -> ImportRow | None:
    """What is remembered of this import, or None when it is new."""
    row = connection.execute(
        "SELECT epoch, kind, period, spent FROM import"
        " WHERE source = ? AND purpose = ? AND register = ? AND import_id = ?",
        name.key,
    ).fetchone()
    return None if row is None else ImportRow(*row)


def begin_import(connection: Connection, name: ImportId, row: ImportRow, now: datetime) -> None:
    """Remember a new import; forget those of long ago."""
    present = milliseconds(now)
    oldest = present - _KEEP_IMPORTS // timedelta(milliseconds=1)
    connection.execute("DELETE FROM import WHERE at < ?", (oldest,))
    connection.execute(
        "INSERT INTO import (source, purpose, register, import_id, epoch, kind, period, spent, at)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*name.key, row.epoch, row.kind, row.period, row.spent, present),
    )


def imports_in(connection: Connection, name: ImportId, kind: int, period: str) -> tuple[int, int]:
    """How many imports of this register began in a period, and how many elements they spent together."""
    count, spent = connection.execute(
        "SELECT count(*), coalesce(sum(spent), 0) FROM import"
        " WHERE source = ? AND purpose = ? AND register = ? AND kind = ? AND period = ?",
        (*name.register_key, kind, period),
    ).fetchone()
    return int(count), int(spent)


def enrolled(connection: Connection, epoch: str, kind: int) -> set[tuple[str, str, str]]:
    """Source, purpose and register of every import of this kind that began in an epoch and had something evaluated."""
    rows = connection.execute(
        "SELECT DISTINCT source, purpose, register FROM import WHERE epoch = ? AND kind = ? AND spent > 0",
        (epoch, kind),
    ).fetchall()
    return {(str(source), str(purpose), str(register)) for source, purpose, register in rows}


def spend_import(connection: Connection, name: ImportId, count: int) -> None:
    """Count elements on an import."""
    connection.execute(
        "UPDATE import SET spent = spent + ? WHERE source = ? AND purpose = ? AND register = ? AND import_id = ?",
        (count, *name.key),
    )
