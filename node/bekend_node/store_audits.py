"""Audits by sample that the privacy officer is to answer, in `node.db`, and what came of them.

    audit_request  the auditor's checkpoint about a period, and by when the auditor wants the opening
    audit_result   the note that the auditor signed, verified when it came

What is drawn is not kept: checkpoint and own log say it again (`audit/requests.py`).
"""

from dataclasses import dataclass
from datetime import date, datetime
from sqlite3 import Connection

from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.durable import Database, append_log
from bekend_proto.log_table import Entry
from bekend_proto.octets import blake

DDL = """
CREATE TABLE audit_request (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, by TEXT NOT NULL, first TEXT NOT NULL, last TEXT NOT NULL,
  due TEXT NOT NULL, note BLOB NOT NULL UNIQUE
);
CREATE TABLE audit_result (id INTEGER PRIMARY KEY, at INTEGER NOT NULL, note BLOB NOT NULL UNIQUE);
"""


@dataclass(frozen=True, slots=True)
class AuditRequest:
    """One checkpoint by which is drawn: of the Questions from `first` to `last`, to be opened by `due`."""

    number: int
    at: datetime
    by: str
    first: date
    last: date
    due: date
    note: bytes


class Audits:
    """The rows. Every write is durable when it returns; StorageError means nothing was written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def ask(self, it: AuditRequest) -> None:
        """Keep a request, once per checkpoint; its number counts for nothing."""
        at = milliseconds(it.at)
        row = (at, it.by, it.first.isoformat(), it.last.isoformat(), it.due.isoformat(), it.note)

        def write(conn: Connection) -> None:
            done = conn.execute(
                "INSERT INTO audit_request (at, by, first, last, due, note) VALUES (?, ?, ?, ?, ?, ?)"
                " ON CONFLICT (note) DO UPDATE SET due = excluded.due",
                row,
            )
            if done.rowcount:
                append_log(conn, "audit", blake(32, b"bekend1-audit", it.note), at)

        await self._database.write(write)

    async def answer(self, note: bytes, at: datetime) -> None:
        """Keep a verified result, once."""

        def write(conn: Connection) -> None:
            done = conn.execute(
                "INSERT INTO audit_result (at, note) VALUES (?, ?) ON CONFLICT DO NOTHING", (milliseconds(at), note)
            )
            if done.rowcount:
                append_log(conn, "audit-result", blake(32, b"bekend1-audit", note), milliseconds(at))

        await self._database.write(write)

    def requests(self) -> list[AuditRequest]:
        """Every request, the newest first."""
        rows = self._database.read(
            lambda conn: conn.execute(
                "SELECT id, at, by, first, last, due, note FROM audit_request ORDER BY id DESC"
            ).fetchall()
        )
        return [
            AuditRequest(
                number=id_,
                at=from_milliseconds(at),
                by=by,
                first=date.fromisoformat(first),
                last=date.fromisoformat(last),
                due=date.fromisoformat(due),
                note=bytes(note),
            )
            for id_, at, by, first, last, due, note in rows
        ]

    def results(self) -> list[bytes]:
        """The notes of every result, the newest first."""
        return self._database.read(
            lambda conn: [bytes(note) for (note,) in conn.execute("SELECT note FROM audit_result ORDER BY id DESC")]
        )

    def asked(self, first: int, until: int) -> list[Entry]:
        """The own log's entries of Questions that went out in a span of time (milliseconds)."""
        return self._database.read(
            lambda conn: [
                Entry(*row)
                for row in conn.execute(
                    "SELECT kind, hash, at, requester, source FROM log WHERE kind = 'asked' AND at >= ? AND at < ?"
                    " AND requester != source ORDER BY seq",
                    (first, until),
                )
            ]
        )
