"""What the broker keeps: the log, ids seen, budgets spent, manifests, what it decided. All its SQL is here.

Nothing in it is about a person. There is no column for an element, a pseudonym or an answer: a log entry is the
hash of a signed message, and two checks on one person leave two unrelated rows (FG-14, FG-42). A question that a
colleague may decide about keeps a row until its term is over: who asked whom, and what may still be passed on. The
functions that take a connection run inside `Store.write`, several of them in one transaction: what they charge,
remember and log is durable together or not at all.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final, TypeVar

from bekend_proto import log_table
from bekend_proto.clock import REPLAY_MEMORY, milliseconds
from bekend_proto.decision_table import DECISION_DDL, DecisionRow, append_decision
from bekend_proto.durable import Database as SqliteDatabase
from bekend_proto.errors import StorageError
from bekend_proto.incarnation import Incarnation
from bekend_proto.log_table import LOG_DDL
from bekend_proto.migrations import Migration
from bekend_proto.read_table import READ_DDL
from bekend_proto.retention_table import RETENTION_DDL
from bekend_proto.sql import Connection
from bekend_proto.v1.signed_pb2 import ENROLMENT_KIND_FULL

from bekend_broker.config import BrokerConfig
from bekend_broker.database import Database
from bekend_broker.log_head import LogHead

T = TypeVar("T")

_KEEP_DAYS: Final = timedelta(days=8)
"""How long the counts of a day outlive it: for the operator's report, not for the budget."""

_KEEP_IMPORTS: Final = timedelta(days=62)
"""How long an import that nobody goes on with is remembered: past the end of its month."""

_BOXES: Final = 2
"""Different releases of one question: one names, one withdraws. Sealed, they look alike."""

FILE: Final = "broker.db"

MIGRATIONS: Final = (
    Migration(1, "broker: append-only log", LOG_DDL),
    Migration(
        2,
        "broker: ids, budgets, imports, manifests, covenant",
        """
CREATE TABLE seen (
  id    BLOB PRIMARY KEY,
  until INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX seen_until ON seen (until);
CREATE TABLE spent (
  day       TEXT NOT NULL,
  requester TEXT NOT NULL,
  budget    TEXT NOT NULL,
  count     INTEGER NOT NULL CHECK (count >= 0),
  PRIMARY KEY (day, requester, budget)
) WITHOUT ROWID;
CREATE TABLE import (
  source    TEXT NOT NULL,
  purpose   TEXT NOT NULL,
  register  TEXT NOT NULL,
  import_id BLOB NOT NULL,
  epoch     TEXT NOT NULL,
  kind      INTEGER NOT NULL,
  period    TEXT NOT NULL,
  spent     INTEGER NOT NULL CHECK (spent >= 0),
  at        INTEGER NOT NULL,
  PRIMARY KEY (source, purpose, register, import_id)
) WITHOUT ROWID;
CREATE INDEX import_at ON import (at);
CREATE TABLE manifest (
  oin    TEXT PRIMARY KEY,
  number INTEGER NOT NULL,
  note   BLOB NOT NULL
) WITHOUT ROWID;
CREATE TABLE covenant (
  id      TEXT PRIMARY KEY,
  version INTEGER NOT NULL
) WITHOUT ROWID;
""",
    ),
    Migration(
        3,
        "broker: suspensions",
        """
CREATE TABLE suspension (
  covenant TEXT NOT NULL,
  signer   TEXT NOT NULL,
  what     TEXT NOT NULL,
  about    TEXT NOT NULL,
  number   INTEGER NOT NULL,
  note     BLOB NOT NULL,
  PRIMARY KEY (covenant, signer, what, about)
) WITHOUT ROWID;
""",
    ),
    Migration(
        4,
        "broker: questions that a colleague may decide about",
        """
CREATE TABLE open_question (
  question_id BLOB PRIMARY KEY,
  requester   TEXT NOT NULL,
  source      TEXT NOT NULL,
  purpose     TEXT NOT NULL,
  principal   TEXT NOT NULL,
  persons     INTEGER NOT NULL,
  until       INTEGER NOT NULL,
  releases    BLOB NOT NULL DEFAULT x'',
  sent        INTEGER NOT NULL DEFAULT 0,
  collected   INTEGER NOT NULL DEFAULT 0,
  left        INTEGER NOT NULL CHECK (left >= 0)
) WITHOUT ROWID;
CREATE INDEX open_question_until ON open_question (until);
""",
    ),
    Migration(5, "broker: decisions", DECISION_DDL),
    Migration(6, "broker: tree of the log, checkpoints, alarms", log_table.add_tree),
    Migration(7, "broker: readings of the log", READ_DDL),
    Migration(8, "broker: retention", RETENTION_DDL),
    Migration(9, "broker: logs closed by a restore", log_table.CLOSED_DDL),
    Migration(
        10,
        "broker: which machine each node is",
        """
CREATE TABLE incarnation (
  oin      TEXT PRIMARY KEY,
  number   INTEGER NOT NULL,
  instance TEXT NOT NULL
) WITHOUT ROWID;
""",
    ),
)


@dataclass(frozen=True, slots=True)
class Account:
    """One requester's count of one budget on one day."""

    day: date
    requester: str
    budget: str

    @property
    def key(self) -> tuple[str, str, str]:
        """Its row."""
        return self.day.isoformat(), self.requester, self.budget


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


@dataclass(frozen=True, slots=True)
class OpenQuestion:
    """A question that a colleague at its source may decide about: between whom, for what, and how long.

    `until` in milliseconds, `collects`: how many may be passed on in all.
    """

    requester: str
    source: str
    purpose: str
    principal: str
    persons: int
    until: int
    collects: int


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

        def work(connection: Connection) -> int:
            row = connection.execute("SELECT version FROM covenant WHERE id = ?", (covenant_id,)).fetchone()
            return int(row[0]) if row else 0

        return self._database.read(work)

    def manifests(self) -> dict[str, tuple[int, bytes]]:
        """Number and note of the newest manifest of each OIN that was ever accepted."""
        return self._database.read(all_manifests)

    def enrolled(self, epoch: str) -> set[tuple[str, str, str]]:
        """Source, purpose and register of each list that was enrolled in an epoch, as far as it is remembered."""
        return self._database.read(lambda connection: enrolled(connection, epoch, ENROLMENT_KIND_FULL))

    def suspensions(self) -> list[bytes]:
        """The newest note of each signer about each thing."""
        return self._database.read(all_suspensions)

    def open_question(self, question_id: bytes, now: datetime) -> OpenQuestion | None:
        """The question under this id, or None when none is open."""

        def work(connection: Connection) -> OpenQuestion | None:
            row = connection.execute(
                'SELECT requester, source, purpose, principal, persons, until, "left" FROM open_question'
                " WHERE question_id = ? AND until > ?",
                (question_id, milliseconds(now)),
            ).fetchone()
            return None if row is None else OpenQuestion(*row)

        return self._database.read(work)

    def open_questions(self, now: datetime) -> int:
        """How many questions a colleague may still decide about."""
        return self._database.read(
            lambda c: int(
                c.execute("SELECT count(*) FROM open_question WHERE until > ?", (milliseconds(now),)).fetchone()[0]
            )
        )

    def spent_on(self, day: date) -> dict[tuple[str, str], int]:
        """Persons counted on a day, per requester and budget: for the operator's report."""

        def work(connection: Connection) -> dict[tuple[str, str], int]:
            rows = connection.execute(
                "SELECT requester, budget, count FROM spent WHERE day = ?", (day.isoformat(),)
            ).fetchall()
            return {(requester, budget): count for requester, budget, count in rows}

        return self._database.read(work)

    def check(self) -> str:
        """What the database is, in a few words. Raises StorageError when it is damaged or may not be used."""
        return self._database.check()

    def close(self) -> None:
        """Finish what waits and close the file."""
        self._database.close()


def keep_decision(connection: Connection, row: DecisionRow) -> None:
    """Keep what was decided, inside the transaction that acts on it."""
    append_decision(connection, row)


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


def spend(connection: Connection, account: Account, count: int, limit: int) -> bool:
    """Count `count` on a day's budget, unless that would exceed `limit`; says whether it was counted."""
    if count > limit:
        return False
    cursor = connection.execute(
        "INSERT INTO spent (day, requester, budget, count) VALUES (?, ?, ?, ?)"
        " ON CONFLICT (day, requester, budget) DO UPDATE SET count = spent.count + excluded.count"
        " WHERE spent.count + excluded.count <= ?",
        (*account.key, count, limit),
    )
    return cursor.rowcount == 1


def give_back(connection: Connection, account: Account, count: int) -> None:
    """Take `count` off a day's budget again."""
    connection.execute(
        "UPDATE spent SET count = count - ? WHERE day = ? AND requester = ? AND budget = ? AND count >= ?",
        (count, *account.key, count),
    )


def forget_days(connection: Connection, day: date) -> None:
    """Remove the counts of days long past."""
    connection.execute("DELETE FROM spent WHERE day < ?", ((day - _KEEP_DAYS).isoformat(),))


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


def all_manifests(connection: Connection) -> dict[str, tuple[int, bytes]]:
    """Number and note of the newest manifest of each OIN that was ever accepted."""
    rows = connection.execute("SELECT oin, number, note FROM manifest").fetchall()
    return {oin: (number, note) for oin, number, note in rows}


def all_suspensions(connection: Connection) -> list[bytes]:
    """The newest note of each signer about each thing."""
    return [bytes(row[0]) for row in connection.execute("SELECT note FROM suspension").fetchall()]


def newest_manifest(connection: Connection, oin: str) -> tuple[int, bytes] | None:
    """Number and note of the newest manifest of an OIN, or None."""
    row = connection.execute("SELECT number, note FROM manifest WHERE oin = ?", (oin,)).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def keep_manifest(connection: Connection, oin: str, number: int, note: bytes) -> None:
    """Remember a manifest as the newest of its OIN."""
    connection.execute(
        "INSERT INTO manifest (oin, number, note) VALUES (?, ?, ?)"
        " ON CONFLICT (oin) DO UPDATE SET number = excluded.number, note = excluded.note",
        (oin, number, note),
    )


def newest_suspension(connection: Connection, key: tuple[str, str, str, str]) -> tuple[int, bytes] | None:
    """Number and note of the newest suspension under this key, or None."""
    row = connection.execute(
        "SELECT number, note FROM suspension WHERE covenant = ? AND signer = ? AND what = ? AND about = ?", key
    ).fetchone()
    return None if row is None else (int(row[0]), bytes(row[1]))


def keep_suspension(connection: Connection, key: tuple[str, str, str, str], number: int, note: bytes) -> None:
    """Remember a suspension or withdrawal as the newest under its key."""
    connection.execute(
        "INSERT INTO suspension (covenant, signer, what, about, number, note) VALUES (?, ?, ?, ?, ?, ?)"
        " ON CONFLICT (covenant, signer, what, about) DO UPDATE SET number = excluded.number, note = excluded.note",
        (*key, number, note),
    )


def incarnations(connection: Connection) -> dict[str, Incarnation]:
    """The newest machine of each node that ever attached."""
    rows = connection.execute("SELECT oin, number, instance FROM incarnation").fetchall()
    return {oin: Incarnation(int(number), instance, oin) for oin, number, instance in rows}


def keep_incarnation(connection: Connection, it: Incarnation) -> None:
    """Remember a machine as the newest of its node."""
    connection.execute(
        "INSERT INTO incarnation (oin, number, instance) VALUES (?, ?, ?)"
        " ON CONFLICT (oin) DO UPDATE SET number = excluded.number, instance = excluded.instance",
        (it.oin, it.number, it.instance),
    )


def keep_covenant(connection: Connection, covenant_id: str, version: int) -> None:
    """Remember the version of a covenant that comes into service."""
    connection.execute(
        "INSERT INTO covenant (id, version) VALUES (?, ?)"
        " ON CONFLICT (id) DO UPDATE SET version = excluded.version WHERE excluded.version > covenant.version",
        (covenant_id, version),
    )


def keep_open_question(connection: Connection, question_id: bytes, question: OpenQuestion) -> None:
    """Remember a question that a colleague may decide about."""
    connection.execute(
        'INSERT INTO open_question (question_id, requester, source, purpose, principal, persons, until, "left")'
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (
            question_id,
            question.requester,
            question.source,
            question.purpose,
            question.principal,
            question.persons,
            question.until,
            question.collects,
        ),
    )


def use_release(connection: Connection, question_id: bytes, box_hash: bytes, limit: int) -> bool:
    """Whether this box may go to the source: one of two, and one of `limit` times.

    A box that went before is no other message: it may have been lost on its way.
    """
    row = connection.execute("SELECT releases FROM open_question WHERE question_id = ?", (question_id,)).fetchone()
    if row is None:
        return False
    size = len(box_hash)
    seen = {bytes(row[0][at : at + size]) for at in range(0, len(row[0]), size)}
    if box_hash not in seen and len(seen) == _BOXES:
        return False
    cursor = connection.execute(
        "UPDATE open_question SET releases = ?, sent = sent + 1 WHERE question_id = ? AND sent < ?",
        (bytes(row[0]) if box_hash in seen else bytes(row[0]) + box_hash, question_id, limit),
    )
    return cursor.rowcount == 1


def use_collect(connection: Connection, question_id: bytes, number: int) -> bool:
    """Whether a collect with this number may go to the source: higher than any before, and one that is left."""
    cursor = connection.execute(
        'UPDATE open_question SET collected = ?, "left" = "left" - 1'
        ' WHERE question_id = ? AND collected < ? AND "left" > 0',
        (number, question_id, number),
    )
    return cursor.rowcount == 1


def forget_open_questions(connection: Connection, now: datetime) -> None:
    """Remove the questions whose time is over."""
    connection.execute("DELETE FROM open_question WHERE until <= ?", (milliseconds(now),))
