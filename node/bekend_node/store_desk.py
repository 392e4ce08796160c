"""What waits at the release desk, in `desk.db`: apart from node.db, in no backup, erased when it is over (section 9).

    exchange   one row per question whose persons were named: which number was answered last, what is done
    matter     one row per person: what is kept about it, sealed under the desk key, always of one length

Whatever comes of a person - nothing, an item for a colleague, a decision - its row is there from the message that
names it until an hour after the term, and only what is sealed in it changes: rows and sizes tell nothing. What was
replaced is overwritten (secure_delete), and gone from the -wal file when that was emptied.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from dataclasses import astuple, dataclass, replace
from pathlib import Path
from sqlite3 import Connection

from bekend_proto.collecting import COLLECTED_BOX
from bekend_proto.durable import Database, Migration
from bekend_proto.errors import InternalError, StaleError, StorageError

from bekend_node.classes import CERTAIN, FilterId, KindClass

MIGRATIONS = (
    Migration(
        1,
        "start",
        """
CREATE TABLE exchange (
  question_id BLOB PRIMARY KEY, until INTEGER NOT NULL, purpose TEXT NOT NULL, version INTEGER NOT NULL,
  compared INTEGER NOT NULL, highest INTEGER NOT NULL, withdrawal BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE matter (
  question_id BLOB NOT NULL REFERENCES exchange ON DELETE CASCADE, person INTEGER NOT NULL, sealed BLOB NOT NULL,
  PRIMARY KEY (question_id, person)
) WITHOUT ROWID;
""",
    ),
    Migration(2, "class of identifier", "ALTER TABLE exchange ADD COLUMN kind_class INTEGER NOT NULL DEFAULT 1;"),
)

NAMED_BY = 4
"""Octets at the front of a question's id, by which a colleague names what waits."""


@dataclass(frozen=True)
class Exchange:
    """A question whose persons were named. `until` in milliseconds since 1970, `highest` the last number answered,
    `withdrawal` the reply to a withdrawal, or as many zero octets: the broker saw both.
    """

    question_id: bytes
    until: int
    purpose: str
    version: int
    compared: bool = False
    highest: int = 0
    withdrawal: bytes = bytes(COLLECTED_BOX)
    kind_class: KindClass = CERTAIN

    @property
    def filter(self) -> FilterId:
        """The filter under a version of which the question was answered."""
        return FilterId(self.purpose, self.kind_class)

    @property
    def is_withdrawn(self) -> bool:
        """Whether the consent was withdrawn."""
        return any(self.withdrawal)


Change = Callable[[Exchange, list[bytes]], tuple[Exchange, Sequence[bytes]]]
"""What is to stand in place of an exchange and its matters. Raises to leave everything as it was."""


class DeskStore:
    """The desk's database. Every write is durable when it returns; StorageError means nothing was written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._is_dirty = False

    @classmethod
    def open(cls, folder: Path) -> "DeskStore":
        """Open or create `desk.db` in the data folder."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(Database.open(folder / "desk.db", MIGRATIONS))

    def quick_check(self) -> None:
        """Raise DamagedError when the database is damaged, as far as a start can wait for it."""
        self._database.quick_check()

    def check(self) -> None:
        """Raise StorageError when the file is damaged."""
        self._database.check()

    def close(self) -> None:
        """Finish writing and close."""
        self._database.close()

    async def begin(self, exchange: Exchange, sealed: Sequence[bytes]) -> None:
        """Keep what named the persons of a question.

        Raises StaleError when they were named before, or those of another whose id begins alike; StorageError.
        """

        def write(conn: Connection) -> None:
            # The requester chooses the ids, and a colleague knows an item by the front of one.
            front = exchange.question_id[:NAMED_BY]
            if conn.execute("SELECT 1 FROM exchange WHERE substr(question_id, 1, ?) = ?", (NAMED_BY, front)).fetchone():
                raise StaleError("the persons of this question were named before, or its id begins as that of another")
            conn.execute("INSERT INTO exchange VALUES (?, ?, ?, ?, ?, ?, ?, ?)", astuple(exchange))
            conn.executemany(
                "INSERT INTO matter VALUES (?, ?, ?)",
                [(exchange.question_id, person, one) for person, one in enumerate(sealed)],
            )

        await self._database.write(write)

    async def change(self, question_id: bytes, change: Change) -> Exchange:
        """Read, change and write one exchange in one durable transaction; returns it as it is then.

        Raises StaleError when there is none, what `change` raises, StorageError; then nothing was written.
        """

        def write(conn: Connection) -> Exchange:
            exchange = _exchange(conn, question_id)
            if exchange is None:
                raise StaleError("the persons of this question were not named, or its term is long over")
            before = _matters(conn, question_id)
            fresh, after = change(exchange, before)
            if [len(one) for one in after] != [len(one) for one in before] or fresh.question_id != question_id:
                raise InternalError("what is kept of a person has one length")
            conn.execute(
                "UPDATE exchange SET compared = ?, highest = ?, withdrawal = ? WHERE question_id = ?",
                (fresh.compared, fresh.highest, fresh.withdrawal, question_id),
            )
            conn.executemany(
                "UPDATE matter SET sealed = ? WHERE question_id = ? AND person = ?",
                [(one, question_id, person) for person, one in enumerate(after)],
            )
            return fresh

        fresh = await self._database.write(write)
        self._is_dirty = True
        return fresh

    def exchange(self, question_id: bytes) -> Exchange | None:
        """One exchange, or None."""
        return self._database.read(lambda conn: _exchange(conn, question_id))

    def exchanges(self, *, waiting: bool = False) -> list[Exchange]:
        """All exchanges, by deadline; `waiting`: only those that were not compared yet."""
        where = "WHERE NOT compared" if waiting else ""
        query = f"SELECT * FROM exchange {where} ORDER BY until, question_id"  # noqa: S608 - fixed texts
        return [_row(row) for row in self._database.rows(query)]

    def question_ids(self) -> list[bytes]:
        """Of which question each exchange is."""
        return [row[0] for row in self._database.rows("SELECT question_id FROM exchange")]

    def ended(self, moment: int) -> list[bytes]:
        """Of which question each exchange is whose term is over (milliseconds since 1970), by deadline."""
        rows = self._database.rows(
            "SELECT question_id FROM exchange WHERE until <= ? ORDER BY until, question_id", (moment,)
        )
        return [row[0] for row in rows]

    def compared(self, purposes: Collection[str] | None = None) -> list[bytes]:
        """Of which question each exchange is that was compared, by deadline; under these purposes only."""
        where = "" if purposes is None else f"AND purpose IN ({', '.join('?' * len(purposes))})"
        query = f"SELECT question_id FROM exchange WHERE compared {where} ORDER BY until, question_id"  # noqa: S608
        return [row[0] for row in self._database.rows(query, tuple(purposes or ()))]

    def beginning(self, front: bytes) -> list[bytes]:
        """The questions with an exchange whose id begins with these octets, by deadline."""
        rows = self._database.rows(
            "SELECT question_id FROM exchange WHERE question_id BETWEEN ? AND ? ORDER BY until, question_id",
            (front, front + b"\xff" * 16),
        )
        return [row[0] for row in rows]

    def matters(self, question_id: bytes) -> list[bytes]:
        """What is kept about each person of a question, sealed, in the order of the question."""
        return self._database.read(lambda conn: _matters(conn, question_id))

    def is_comparing(self, id_: FilterId, version: int) -> bool:
        """Whether something that came under this version of a filter was not compared yet."""
        return any((one.filter, one.version) == (id_, version) for one in self.exchanges(waiting=True))

    async def forget(self, before: int) -> int:
        """Remove exchanges whose term ended before a moment (milliseconds since 1970); how many there were."""
        over = "FROM exchange WHERE until < ?"
        if not self._database.rows(f"SELECT 1 {over} LIMIT 1", (before,)):
            return 0
        gone = await self._database.write(lambda conn: conn.execute(f"DELETE {over}", (before,)).rowcount)
        self._is_dirty = self._is_dirty or gone > 0
        return int(gone)

    async def erase(self) -> None:
        """Empty the -wal file, where older copies of what was changed still stand; does nothing when clean."""
        if not self._is_dirty:
            return
        self._is_dirty = False
        try:
            await asyncio.to_thread(self._database.truncate_wal)
        except StorageError:
            # A reader in the way: the next time empties it.
            self._is_dirty = True


def _exchange(conn: Connection, question_id: bytes) -> Exchange | None:
    row = conn.execute("SELECT * FROM exchange WHERE question_id = ?", (question_id,)).fetchone()
    return _row(row) if row else None


def _row(row: Sequence[object]) -> Exchange:
    found = Exchange(*row)  # type: ignore[arg-type]
    return replace(found, compared=bool(found.compared))


def _matters(conn: Connection, question_id: bytes) -> list[bytes]:
    rows = conn.execute("SELECT sealed FROM matter WHERE question_id = ? ORDER BY person", (question_id,))
    return [bytes(row[0]) for row in rows]
