"""The record of consents in `node.db`: append-only, one row per consent and partner, one per withdrawal.

    at          when it was recorded, milliseconds since 1970
    case_tag    a keyed hash of the case reference: rows of one case are found, and no case can be read from it
    withdraws   the consent that this row withdraws; none for a consent
    sealed      what was recorded, under the state key (`ask/consent.py`)

Each row's hash is in the log too. Nothing in it names the person: that stands in the file of the case.
"""

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b
from sqlite3 import Connection, IntegrityError

from bekend_proto.clock import milliseconds
from bekend_proto.durable import Database, append_log
from bekend_proto.errors import StaleError

DDL = """
CREATE TABLE consent (
  id INTEGER PRIMARY KEY, at INTEGER NOT NULL, case_tag TEXT NOT NULL, withdraws INTEGER UNIQUE REFERENCES consent,
  sealed BLOB NOT NULL
);
CREATE INDEX consent_of ON consent (case_tag);
CREATE TRIGGER consent_keeps_rows BEFORE DELETE ON consent
BEGIN SELECT RAISE(ABORT, 'the record of consents is append-only'); END;
CREATE TRIGGER consent_keeps_values BEFORE UPDATE ON consent
BEGIN SELECT RAISE(ABORT, 'the record of consents is append-only'); END;
CREATE TRIGGER consent_replaces_nothing BEFORE INSERT ON consent
WHEN EXISTS (SELECT 1 FROM consent WHERE id = NEW.id)
BEGIN SELECT RAISE(ABORT, 'the record of consents is append-only'); END;
"""


@dataclass(frozen=True, slots=True)
class ConsentRow:
    """One consent; `withdrawal` is what was recorded when it was withdrawn, or None. `at` in milliseconds."""

    id: int
    at: int
    sealed: bytes = field(repr=False)
    withdrawal: bytes | None = field(repr=False)


class Consents:
    """The rows. Every write is durable when it returns; StorageError means nothing was written."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def record(self, case_tag: str, sealed: Sequence[bytes], at: datetime) -> list[int]:
        """Append these consents, and their hashes in the log; their ids."""
        rows = [(case_tag, None, one) for one in sealed]
        return await self._database.write(lambda conn: _append(conn, "consent", rows, at))

    async def withdraw(self, case_tag: str, withdrawals: Iterable[tuple[int, bytes]], at: datetime) -> None:
        """Append a withdrawal per (consent, what is recorded of it). Raises StaleError for one that was withdrawn."""
        rows = [(case_tag, id_, sealed) for id_, sealed in withdrawals]

        def write(conn: Connection) -> None:
            try:
                _append(conn, "consent-withdrawn", rows, at)
            except IntegrityError as fault:
                raise StaleError("this consent was withdrawn before") from fault

        await self._database.write(write)

    def standing(self) -> list[tuple[str, int]]:
        """Case tag and id of every consent that was not withdrawn, oldest first."""
        return self._database.read(
            lambda conn: [
                (str(tag), int(id_))
                for tag, id_ in conn.execute(
                    "SELECT one.case_tag, one.id FROM consent AS one WHERE one.withdraws IS NULL"
                    " AND NOT EXISTS (SELECT 1 FROM consent AS later WHERE later.withdraws = one.id) ORDER BY one.id"
                )
            ]
        )

    def of_case(self, case_tag: str) -> list[ConsentRow]:
        """The consents of a case, oldest first."""
        return self._database.read(
            lambda conn: [
                ConsentRow(*row)
                for row in conn.execute(
                    "SELECT one.id, one.at, one.sealed, later.sealed FROM consent AS one"
                    " LEFT JOIN consent AS later ON later.withdraws = one.id"
                    " WHERE one.case_tag = ? AND one.withdraws IS NULL ORDER BY one.id",
                    [case_tag],
                )
            ]
        )


def _append(conn: Connection, kind: str, rows: Iterable[tuple[str, int | None, bytes]], at: datetime) -> list[int]:
    ids = []
    for case_tag, withdraws, sealed in rows:
        found = conn.execute(
            "INSERT INTO consent (at, case_tag, withdraws, sealed) VALUES (?, ?, ?, ?) RETURNING id",
            (milliseconds(at), case_tag, withdraws, sealed),
        ).fetchone()
        ids.append(int(found[0]))
        append_log(conn, kind, _hash(ids[-1], milliseconds(at), case_tag, withdraws, sealed), milliseconds(at))
    return ids


def _hash(id_: int, at: int, case_tag: str, withdraws: int | None, sealed: bytes) -> bytes:
    """BLAKE2b-256 of a row: what the log holds of it."""
    data = json.dumps([id_, at, case_tag, withdraws, sealed.hex()]).encode()
    return blake2b(data, digest_size=32, person=b"bekend1-consent").digest()
