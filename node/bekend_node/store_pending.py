"""Questions whose answer is still to come, in `node.db`: one row each until whatever can come has had its lifetime.

    question_id   of the Question
    due           seconds since 1970: when this row is looked at next, to collect or to destroy what has expired; no
                  matter what came
    number        of the last collect that was sent: durable before it leaves, so that no restart sends one twice
    consent       row of the consent that was stated to the source; none where it asks none
    sealed        everything else, under the state key and of one length (`ask/pending.py`): parties, channel, answers
    withdrawal    the sealed message that says that the consent was withdrawn: made once, sent until it got through
    withdrawn     whether the consent stands (0), was withdrawn (1), and its source knows so or need not (2)

No column says what was answered: the row is written anew after each collect, whatever came.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from sqlite3 import Connection
from typing import Final

from bekend_proto.clock import milliseconds
from bekend_proto.durable import Database
from bekend_proto.errors import StaleError, StorageError

from bekend_node.store_own import OwnRecord, keep_own_records
from bekend_node.store_team import Waits, note_waits

DDL = """
CREATE TABLE pending (
  question_id BLOB PRIMARY KEY, due INTEGER NOT NULL, number INTEGER NOT NULL, consent INTEGER REFERENCES consent,
  sealed BLOB NOT NULL, withdrawal BLOB, withdrawn INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX pending_due ON pending (due);
"""


WITHDRAWN: Final = 1
TOLD: Final = 2
"""Values of `withdrawn`."""


@dataclass(frozen=True, slots=True)
class PendingRow:
    """One question. `due` in seconds since 1970; `consent` is the row of the consent, or None."""

    question_id: bytes
    due: int
    number: int
    consent: int | None
    sealed: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Change:
    """What takes the place of a row's content. `sealed` None: the row goes. Another field None: stays as it is.

    `withdrawal`: the message to send; `records`: own records, written in the same transaction.
    """

    sealed: bytes | None = field(repr=False)
    due: int | None = None
    withdrawal: bytes | None = field(default=None, repr=False)
    withdrawn: int | None = None
    records: tuple[OwnRecord, ...] = ()
    waits: Waits | None = None
    """Whom something waits for now, written in the same transaction."""
    over: bool = False
    """The term is over: what was not told to the source is not told any more."""


_TOLD = f"UPDATE pending SET withdrawn = {TOLD}, withdrawal = NULL WHERE question_id = ?"  # noqa: S608
_ROW = "question_id, due, number, consent, sealed"


class PendingQuestions:
    """The rows. Every write is durable when it returns; StorageError means nothing was written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def add(self, row: PendingRow) -> None:
        """Keep a question before a person is named to its source. Raises StaleError when its consent was withdrawn."""

        def write(conn: Connection) -> None:
            if row.consent is not None and _withdrawn(conn, row.consent):
                raise StaleError("the consent was withdrawn while the question was under way")
            conn.execute(
                f"INSERT INTO pending ({_ROW}) VALUES (?, ?, ?, ?, ?)",  # noqa: S608 - fixed names
                (row.question_id, row.due, row.number, row.consent, row.sealed),
            )

        await self._database.write(write)

    async def drop(self, question_id: bytes) -> None:
        """Destroy a question to which the source did not reply: nothing is collected."""
        await self._database.write(
            lambda conn: conn.execute("DELETE FROM pending WHERE question_id = ?", [question_id])
        )

    def any(self) -> bool:
        """Whether there is a row at all."""
        return bool(self._database.rows("SELECT 1 FROM pending LIMIT 1"))

    def due(self, now: int, most: int) -> list[PendingRow]:
        """Rows to be looked at now (seconds), the longest waiting first."""
        return self._rows("due <= ? ORDER BY due LIMIT ?", (now, most))

    def all(self) -> list[PendingRow]:
        """Every row."""
        return self._rows("1 ORDER BY question_id", ())

    def ended_consents(self) -> list[PendingRow]:
        """Rows whose consent was withdrawn meanwhile."""
        return self._rows(
            "withdrawn = 0 AND consent IN (SELECT withdraws FROM consent WHERE withdraws IS NOT NULL)", ()
        )

    def withdrawals(self) -> list[tuple[PendingRow, bytes]]:
        """Rows whose withdrawal has not got through yet, with the message."""
        return self._database.read(
            lambda conn: [
                (PendingRow(*row[:5]), row[5])
                for row in conn.execute(
                    f"SELECT {_ROW}, withdrawal FROM pending WHERE withdrawn = {WITHDRAWN}"  # noqa: S608
                )
            ]
        )

    async def number(self, numbers: Iterable[tuple[bytes, int, int]]) -> None:
        """Take (question, number, next due) before the collects with these numbers leave."""
        taken = [(number, due, question_id) for question_id, number, due in numbers]
        await self._database.write(
            lambda conn: conn.executemany("UPDATE pending SET number = ?, due = ? WHERE question_id = ?", taken)
        )

    async def change(self, question_id: bytes, work: Callable[[bytes], Change], at: datetime) -> None:
        """Read a row's content, and write what `work` makes of it, in one transaction; nothing when the row is gone."""

        def write(conn: Connection) -> None:
            found = conn.execute("SELECT sealed FROM pending WHERE question_id = ?", [question_id]).fetchone()
            if found is not None:
                change = work(found[0])
                _apply(conn, question_id, change)
                keep_own_records(conn, change.records, at)
                if change.waits is not None:
                    note_waits(conn, change.waits, milliseconds(at))

        await self._database.write(write)

    async def told(self, question_id: bytes) -> None:
        """The withdrawal got through."""
        await self._database.write(lambda conn: conn.execute(_TOLD, [question_id]))

    async def empty_wal(self) -> None:
        """Until this, what was replaced or deleted may stand in the -wal file."""
        # A reader in the way: the next one empties it.
        with contextlib.suppress(StorageError):
            await asyncio.to_thread(self._database.truncate_wal)

    def _rows(self, where: str, values: Sequence[int]) -> list[PendingRow]:
        query = f"SELECT {_ROW} FROM pending WHERE {where}"  # noqa: S608 - fixed texts
        return [PendingRow(*row) for row in self._database.rows(query, values)]


def _apply(conn: Connection, question_id: bytes, change: Change) -> None:
    if change.sealed is None:
        conn.execute("DELETE FROM pending WHERE question_id = ?", [question_id])
        return
    if change.over:
        conn.execute(f"{_TOLD} AND withdrawn = {WITHDRAWN}", [question_id])
    conn.execute(
        "UPDATE pending SET sealed = ?, due = coalesce(?, due), withdrawal = coalesce(?, withdrawal),"
        " withdrawn = coalesce(?, withdrawn) WHERE question_id = ?",
        (change.sealed, change.due, change.withdrawal, change.withdrawn, question_id),
    )


def _withdrawn(conn: Connection, consent: int) -> bool:
    return conn.execute("SELECT 1 FROM consent WHERE withdraws = ?", [consent]).fetchone() is not None
