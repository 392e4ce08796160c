"""Questions that a colleague at the source may decide about, until their term is over."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bekend_proto.clock import milliseconds
from bekend_proto.sql import Connection

_BOXES: Final = 2
"""Different releases of one question: one names, one withdraws. Sealed, they look alike."""


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


def find_question(connection: Connection, question_id: bytes, now: datetime) -> OpenQuestion | None:
    """The question under this id, or None when none is open."""
    row = connection.execute(
        'SELECT requester, source, purpose, principal, persons, until, "left" FROM open_question'
        " WHERE question_id = ? AND until > ?",
        (question_id, milliseconds(now)),
    ).fetchone()
    return None if row is None else OpenQuestion(*row)


def count_questions(connection: Connection, now: datetime) -> int:
    """How many are open."""
    row = connection.execute("SELECT count(*) FROM open_question WHERE until > ?", (milliseconds(now),)).fetchone()
    return int(row[0])


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
