"""What a party decided, kept beside its log: the table from which the decision log and the processing log are made.

One row per bundle of questions (a lookup, at requester and broker) or per message that was refused (at the source; what
a source answers stands in its table of answers). `facts` is JSON, and holds no identifier, no element and no outcome.
Rows are removed when their term is over; the log's hashes stay.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from bekend_proto.sql import Connection

DECISION_DDL: Final = """
CREATE TABLE decision (
  seq       INTEGER PRIMARY KEY,
  at        INTEGER NOT NULL,
  trace     BLOB NOT NULL CHECK (typeof(trace) = 'blob' AND length(trace) = 16),
  requester TEXT NOT NULL,
  purpose   TEXT NOT NULL,
  refused   INTEGER NOT NULL,
  facts     TEXT NOT NULL
);
CREATE INDEX decision_at ON decision (at);
CREATE INDEX decision_refused ON decision (requester, at) WHERE refused;
"""
"""For a migration. `at` in milliseconds; `refused`: whether nothing in it was allowed."""

REFUSALS_A_DAY: Final = 1000
"""Rows with nothing but refusals that one requester can cause in 24 hours: a partner cannot fill another's disk."""

_DAY: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """One row. `trace`: 16 octets, the begin_id, question_id or fetch_id, or fresh ones where nothing was sent."""

    at: int
    trace: bytes
    requester: str
    purpose: str
    refused: bool
    facts: str


def append_decision(connection: Connection, row: DecisionRow) -> bool:
    """Keep a row, inside the transaction of what it is about.

    False for a refusal too many (REFUSALS_A_DAY), or of a message that was refused before: a repetition tells nothing.
    """
    if row.refused:
        count, known = connection.execute(
            "SELECT count(*), sum(CASE WHEN trace = ? THEN 1 ELSE 0 END) FROM decision"
            " WHERE refused AND requester = ? AND at > ?",
            (row.trace, row.requester, row.at - _DAY),
        ).fetchone()
        if known or count >= REFUSALS_A_DAY:
            return False
    connection.execute(
        "INSERT INTO decision (at, trace, requester, purpose, refused, facts) VALUES (?, ?, ?, ?, ?, ?)",
        (row.at, row.trace, row.requester, row.purpose, row.refused, row.facts),
    )
    return True


def replace_decision(connection: Connection, row: DecisionRow) -> None:
    """Write the row of a lookup anew, now that more of its questions are decided; keep it where none was kept.

    `at` and `trace` are those of the row that was appended before.
    """
    changed = connection.execute(
        "UPDATE decision SET refused = ?, facts = ? WHERE at = ? AND trace = ?",
        (row.refused, row.facts, row.at, row.trace),
    ).rowcount
    if not changed:
        append_decision(connection, row)


def decisions_between(connection: Connection, first: int, until: int) -> Iterator[DecisionRow]:
    """The rows of a span of time (milliseconds), oldest first."""
    for at, trace, requester, purpose, refused, facts in connection.execute(
        "SELECT at, trace, requester, purpose, refused, facts FROM decision WHERE at >= ? AND at < ? ORDER BY at, seq",
        (first, until),
    ):
        yield DecisionRow(at, bytes(trace), requester, purpose, bool(refused), facts)


def forget_decisions(connection: Connection, requester: str, purpose: str, before: int) -> int:
    """Remove the rows of one requester and purpose that are older than a moment (milliseconds); how many there were."""
    return connection.execute(
        "DELETE FROM decision WHERE requester = ? AND purpose = ? AND at < ?", (requester, purpose, before)
    ).rowcount
