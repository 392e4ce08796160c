"""What the node writes while it runs, in `node.db`: answered questions, budgets, log, manifests seen, own records.

All SQL of the running node is here and in the modules store_*.py beside this one; the tables stand in store_schema.py.
That of the registers is in store_registers.py, over a file of its own: an import may hold the one for seconds while
the other must take a log entry in milliseconds.

There is no column for a hit: nothing here says what was answered.
"""

import json
import secrets
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, field
from datetime import UTC, date, datetime
from hashlib import blake2b
from pathlib import Path
from sqlite3 import Connection, IntegrityError
from typing import Final, TypeVar

from bekend_policy.raising import Raise
from bekend_proto import log_table
from bekend_proto.clock import milliseconds
from bekend_proto.decision_table import DecisionRow, append_decision, replace_decision
from bekend_proto.durable import Database, append_log
from bekend_proto.errors import BudgetError, StaleError
from bekend_proto.log_table import Entry
from bekend_proto.v1.signed_pb2 import Signed

from bekend_node.store_consent import Consents
from bekend_node.store_filters import KeptFilters, empty_wal
from bekend_node.store_own import OwnRecord, keep_own_records, replace_own_records
from bekend_node.store_pending import PendingQuestions
from bekend_node.store_schema import MIGRATIONS
from bekend_node.store_team import TeamStore

T = TypeVar("T")
ASKED: Final = "asked"
"""Kind of log entry: this node sent the Question."""
TOLD: Final = "told"
"""Kind of log entry: an authentic Answer came. Not what it said."""
ANSWERED: Final = "answered"
"""Kind of log entry: this node answers the Question."""


@dataclass(frozen=True)
class Spend:
    """A claim on a budget of one day: `amount` persons, of at most `limit` for this scope, subject and purpose.

    Scopes: `source` (subject = requester's OIN), `officer` (subject = officer), `canary` (subject = own OIN).
    An empty purpose stands for all purposes together.
    """

    scope: str
    subject: str
    purpose: str
    day: date
    amount: int
    limit: int


@dataclass(frozen=True)
class AnsweredQuestion:
    """A question that is about to be answered, with its sealed records and the rule that admits it."""

    question_id: bytes
    question_hash: bytes
    requester: str
    source: str
    purpose: str
    record_month: str
    payload: bytes
    signature: bytes
    sealed: tuple[bytes, ...]
    rule: str = ""
    awaiting: "Awaiting | None" = None
    """Where a colleague decides."""


@dataclass(frozen=True)
class Awaiting:
    """What later messages about a question need, sealed under the state key. `until` in milliseconds since 1970."""

    question_id: bytes
    until: int
    sealed: bytes = field(repr=False)


class Store:
    """The running node's database. Every write is durable when it returns; StorageError means nothing was written."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.pending = PendingQuestions(database)
        self.consents = Consents(database)
        self.filters = KeptFilters(database)
        self.team = TeamStore(database)

    @classmethod
    def open(cls, folder: Path) -> "Store":
        """Open or create `node.db` in the data folder."""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls(Database.open(folder / "node.db", MIGRATIONS))

    @property
    def database(self) -> Database:
        """The file itself, for the store modules beside this one."""
        return self._database

    def close(self) -> None:
        """Finish writing and close."""
        self._database.close()

    async def admit_answer(self, question: AnsweredQuestion, spends: Sequence[Spend], at: datetime) -> None:
        """Replay memory, budgets, log entry and sealed records in one durable transaction, before evaluating.

        Raises StaleError for an id that was admitted before, BudgetError, StorageError; then nothing was written.
        """

        def write(conn: Connection) -> None:
            try:
                number = conn.execute(
                    "INSERT INTO answered (question_id, at, requester, purpose, record_month, payload, signature, rule)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                    (
                        question.question_id,
                        milliseconds(at),
                        question.requester,
                        question.purpose,
                        question.record_month,
                        question.payload,
                        question.signature,
                        question.rule,
                    ),
                ).lastrowid
            except IntegrityError as fault:
                raise StaleError("this question id was answered before") from fault
            _spend(conn, spends)
            append_log(
                conn,
                ANSWERED,
                question.question_hash,
                milliseconds(at),
                requester=question.requester,
                source=question.source,
            )
            conn.executemany(
                "INSERT INTO sealed VALUES (?, ?, ?)",
                [(number, person, sealed) for person, sealed in enumerate(question.sealed)],
            )
            if question.awaiting is not None:
                conn.execute("INSERT INTO awaiting VALUES (?, ?, ?)", astuple(question.awaiting))

        await self._database.write(write)

    async def admit_asking(
        self, *, spends: Sequence[Spend] = (), log: Iterable[Entry] = (), records: Iterable[OwnRecord] = (),
        decisions: Iterable[DecisionRow] = (), promises: Iterable[Signed] = (), again: bool = False, at: datetime,
    ) -> None:  # fmt: skip
        """The requester's side: budgets, log entries, own records, decisions, promises in one durable transaction.

        `again`: the records and decisions are there, and are written anew. Raises BudgetError, StorageError; then
        nothing was written.
        """
        entries, kept, decided, owed = list(log), list(records), list(decisions), list(promises)

        def write(conn: Connection) -> None:
            _spend(conn, spends)
            if entries:
                log_table.append(conn, entries)
            conn.executemany(
                "INSERT INTO promise (at, payload, signature) VALUES (?, ?, ?)",
                [(milliseconds(at), promise.payload, promise.signature) for promise in owed],
            )
            if again:
                replace_own_records(conn, kept)
            else:
                keep_own_records(conn, kept, at)
            for row in decided:
                (replace_decision if again else append_decision)(conn, row)

        await self._database.write(write)

    async def keep_decision(self, row: DecisionRow) -> None:
        """Keep what was decided about a message of another, by itself. Raises StorageError."""
        await self._database.write(lambda conn: append_decision(conn, row))

    def read(self, work: Callable[[Connection], T]) -> T:
        """Run `work` of log_table.py over one unchanging snapshot."""
        return self._database.read(work)

    async def write(self, work: Callable[[Connection], T]) -> T:
        """Run `work` of log_table.py in one durable transaction."""
        return await self._database.write(work)

    def open_promises(self, at_most: int) -> list[tuple[int, Signed]]:
        """Number and text of the promises that are not proved yet, oldest first."""

        def read(conn: Connection) -> list[tuple[int, Signed]]:
            rows = conn.execute(
                "SELECT id, payload, signature FROM promise WHERE proved IS NULL ORDER BY id LIMIT ?", (at_most,)
            )
            return [(number, Signed(payload=payload, signature=signature)) for number, payload, signature in rows]

        return self._database.read(read)

    async def settle_promises(self, numbers: Iterable[int], at: datetime) -> None:
        """These promises need no more looking at: they were proved, or an alarm says that they were not."""
        rows = [(milliseconds(at), number) for number in numbers]
        await self._database.write(lambda conn: conn.executemany("UPDATE promise SET proved = ? WHERE id = ?", rows))

    def promises_between(self, first: int, until: int) -> list[Signed]:
        """The promises of this span (milliseconds), oldest first."""

        def read(conn: Connection) -> list[Signed]:
            rows = conn.execute(
                "SELECT payload, signature FROM promise WHERE at >= ? AND at < ? ORDER BY id", (first, until)
            )
            return [Signed(payload=payload, signature=signature) for payload, signature in rows]

        return self._database.read(read)

    def used(self, scope: str, subject: str, purpose: str, day: date) -> int:
        """Persons already counted against a budget."""

        def read(conn: Connection) -> int:
            row = conn.execute(
                "SELECT used FROM budget WHERE day = ? AND scope = ? AND subject = ? AND purpose = ?",
                (day.isoformat(), scope, subject, purpose),
            ).fetchone()
            return int(row[0]) if row else 0

        return self._database.read(read)

    def used_on(self, day: date, scope: str) -> dict[tuple[str, str], int]:
        """Persons counted on a day in one scope, by subject and purpose."""

        def work(conn: Connection) -> dict[tuple[str, str], int]:
            rows = conn.execute(
                "SELECT subject, purpose, used FROM budget WHERE day = ? AND scope = ?", (day.isoformat(), scope)
            )
            return {(subject, purpose): used for subject, purpose, used in rows}

        return self._database.read(work)

    async def forget_budgets(self, before: date) -> None:
        """Remove budget rows of days that are over."""
        await self._database.write(lambda conn: conn.execute("DELETE FROM budget WHERE day < ?", (before.isoformat(),)))

    def manifests(self) -> dict[str, tuple[int, bytes]]:
        """The highest manifest seen of each party: OIN to (number, signed note)."""
        return self._database.read(
            lambda conn: {oin: (number, note) for oin, number, note in conn.execute("SELECT * FROM manifest")}
        )

    async def remember_manifest(self, oin: str, number: int, note: bytes) -> None:
        """Keep a verified manifest; an older number never replaces a newer one."""
        await self._database.write(
            lambda conn: conn.execute(
                "INSERT INTO manifest VALUES (?, ?, ?) ON CONFLICT (oin) DO UPDATE"
                " SET number = excluded.number, note = excluded.note WHERE excluded.number > number",
                (oin, number, note),
            )
        )

    def suspensions(self) -> list[bytes]:
        """The newest note of each signer about each thing."""
        return self._database.read(lambda conn: [bytes(row[0]) for row in conn.execute("SELECT note FROM suspension")])

    async def keep_suspension(self, key: tuple[str, str, str, str], number: int, note: bytes) -> None:
        """Keep a verified note; an older number never replaces a newer one."""
        await self._database.write(
            lambda conn: conn.execute(
                "INSERT INTO suspension VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE"
                " SET number = excluded.number, note = excluded.note WHERE excluded.number > number",
                (*key, number, note),
            )
        )

    def awaiting(self, question_id: bytes) -> Awaiting | None:
        """What is kept of a question that a colleague decides on; None when there is none, or its term is long over."""

        def read(conn: Connection) -> Awaiting | None:
            row = conn.execute(
                "SELECT question_id, until, sealed FROM awaiting WHERE question_id = ?", (question_id,)
            ).fetchone()
            return Awaiting(*row) if row else None

        return self._database.read(read)

    def awaited(self) -> set[bytes]:
        """Of which questions something is kept for a colleague's decision."""
        return {row[0] for row in self._database.rows("SELECT question_id FROM awaiting")}

    async def forget_awaiting(self, before: datetime) -> None:
        """Destroy what is kept of questions whose term ended before a moment: their channels are gone with it."""
        limit = (milliseconds(before),)
        over = "FROM awaiting WHERE until < ?"
        if self._database.rows(f"SELECT 1 {over} LIMIT 1", limit):
            await self._database.write(lambda conn: conn.execute(f"DELETE {over}", limit))
            await empty_wal(self._database)

    async def keep_desk_record(self, sealed: bytes, at: datetime, *, name: bytes | None = None) -> None:
        """Put on the record what was done at the desk, and its hash in the log, in one durable transaction.

        With a name that is there already nothing is done: a comparison that a crash cut short comes again.
        """
        moment = milliseconds(at)
        entry = blake2b(sealed, digest_size=32, person=b"bekend1-desk").digest()

        def write(conn: Connection) -> None:
            kept = conn.execute(
                "INSERT INTO desk_record (name, at, sealed) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
                (secrets.token_bytes(16) if name is None else name, moment, sealed),
            ).rowcount
            if kept:
                append_log(conn, "desk", entry, moment)

        await self._database.write(write)

    def desk_records(self) -> list[bytes]:
        """What was done at the desk, oldest first, as only the privacy officer can open it."""
        return self._database.read(
            lambda conn: [bytes(row[0]) for row in conn.execute("SELECT sealed FROM desk_record ORDER BY id")]
        )

    def covenant_version(self, covenant: str) -> int:
        """The highest version of a covenant that this node went by; 0 for none."""

        def read(conn: Connection) -> int:
            row = conn.execute("SELECT version FROM covenant WHERE id = ?", (covenant,)).fetchone()
            return int(row[0]) if row else 0

        return self._database.read(read)

    def remember_covenant(self, covenant: str, version: int) -> None:
        """Remember a version; a lower one never replaces a higher."""
        self._database.write_sync(
            lambda conn: conn.execute(
                "INSERT INTO covenant VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET version = max(version, ?)",
                (covenant, version, version),
            )
        )

    def raises(self, officer: str, since: datetime) -> list[Raise]:
        """The raises of an officer's limits from a moment on, oldest first."""

        def read(conn: Connection) -> list[Raise]:
            rows = conn.execute(
                "SELECT purpose, officer, granted_by, role, at, reason, extra FROM raised"
                " WHERE officer = ? AND at >= ? ORDER BY id",
                (officer, milliseconds(since)),
            )
            return [
                Raise(purpose, officer, by, role, datetime.fromtimestamp(at / 1000, UTC), reason, extra)
                for purpose, officer, by, role, at, reason, extra in rows
            ]

        return self._database.read(read)

    async def keep_raise(self, it: Raise) -> None:
        """Put a raise on the record, and its hash in the log, in one durable transaction."""
        at = milliseconds(it.at)
        row = (at, it.purpose, it.officer, it.by, it.role, it.extra, it.reason)
        entry = blake2b(json.dumps(row, ensure_ascii=False).encode(), digest_size=32, person=b"bekend1-raise").digest()

        def write(conn: Connection) -> None:
            conn.execute(
                "INSERT INTO raised (at, purpose, officer, granted_by, role, extra, reason)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                row,
            )
            append_log(conn, "raised", entry, at)

        await self._database.write(write)

    def answered(self, question_id: bytes) -> tuple[bytes, bytes, list[bytes]] | None:
        """Payload, signature and sealed records of an answered question, for audit and access requests."""

        def read(conn: Connection) -> tuple[bytes, bytes, list[bytes]] | None:
            row = conn.execute(
                "SELECT number, payload, signature FROM answered WHERE question_id = ?", (question_id,)
            ).fetchone()
            if row is None:
                return None
            number, payload, signature = row
            sealed = conn.execute("SELECT sealed FROM sealed WHERE number = ? ORDER BY person", (number,))
            return payload, signature, [record[0] for record in sealed]

        return self._database.read(read)

    def answered_between(self, first: int, until: int) -> list[bytes]:
        """Payloads of the questions answered in this span (milliseconds), oldest first."""
        return self._database.read(
            lambda conn: [
                row[0]
                for row in conn.execute(
                    "SELECT payload FROM answered WHERE at >= ? AND at < ? ORDER BY at, question_id", (first, until)
                )
            ]
        )

    def answered_records(self, first: int, until: int) -> list[tuple[bytes, bytes, list[bytes]]]:
        """Payload, signature and sealed records of the questions answered in this span (milliseconds), oldest first."""

        def read(conn: Connection) -> list[tuple[bytes, bytes, list[bytes]]]:
            found: dict[bytes, tuple[bytes, bytes, list[bytes]]] = {}
            for name, payload, signature, sealed in conn.execute(
                "SELECT question_id, payload, signature, sealed FROM answered JOIN sealed USING (number)"
                " WHERE at >= ? AND at < ? ORDER BY at, question_id, person",
                (first, until),
            ):
                found.setdefault(name, (payload, signature, []))[2].append(sealed)
            return list(found.values())

        return self._database.read(read)

    def own_records(self, kind: str) -> list[OwnRecord]:
        """Own sealed records of one kind, oldest first."""
        return self._database.read(
            lambda conn: [
                OwnRecord(*row)
                for row in conn.execute("SELECT id, kind, sealed FROM own_record WHERE kind = ? ORDER BY at", (kind,))
            ]
        )

    def counts(self) -> dict[str, int]:
        """Rows per table, for `status` and the demo's table of who holds what."""
        return self._database.read(
            lambda conn: {
                table: int(conn.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - fixed names
                for table in ("answered", "sealed", "log", "own_record")
            }
        )


def _spend(conn: Connection, spends: Iterable[Spend]) -> None:
    for spend in spends:
        changed = conn.execute(
            "INSERT INTO budget VALUES (?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET used = used + excluded.used"
            " WHERE used + excluded.used <= ?",
            (spend.day.isoformat(), spend.scope, spend.subject, spend.purpose, spend.amount, spend.limit),
        ).rowcount
        if not changed or spend.amount > spend.limit:
            what = spend.purpose or "all purposes"
            raise BudgetError(f"the budget of today is used up: {spend.scope}, {what}, {spend.limit} persons")
