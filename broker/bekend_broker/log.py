"""The broker's log: the hash of every signed message, durable before it is acted on (protocol section 10).

A hash says nothing about a person: it covers uniformly random elements, a fresh id and a signature. Requester and
source log the same hash of the same Question, so that one that a party hides is missing at the others.
"""

from datetime import datetime

from bekend_proto import log_table
from bekend_proto.channel import begin_hash, question_hash
from bekend_proto.clock import milliseconds
from bekend_proto.log_table import Entry
from bekend_proto.octets import blake
from bekend_proto.sql import Connection
from bekend_proto.v1.signed_pb2 import Signed

BEGIN = "begin"
QUESTION = "question"
FETCH = "fetch"
ENROLMENT = "enrolment"
ACCESS = "access"

_NAMED = {QUESTION: question_hash, BEGIN: begin_hash}
_PERSONS = {
    FETCH: b"bekend1-fetch",
    ENROLMENT: b"bekend1-enrol",
    ACCESS: b"bekend1-access",
}


def entry_hash(kind: str, signed: Signed) -> bytes:
    """BLAKE2b-256 of a signed message, personalised per kind; of a Question the one that all parties log."""
    if kind in _NAMED:
        return _NAMED[kind](signed)
    return blake(32, _PERSONS[kind], signed.payload + signed.signature)


def entry(kind: str, signed: Signed, now: datetime, *, requester: str = "", source: str = "") -> Entry:
    """The log entry of a signed message between these parties."""
    return Entry(kind, entry_hash(kind, signed), milliseconds(now), requester, source)


def append(
    connection: Connection, kind: str, signed: Signed, now: datetime, *, requester: str = "", source: str = ""
) -> None:
    """Log a signed message, inside the transaction that admits it."""
    log_table.append(connection, [entry(kind, signed, now, requester=requester, source=source)])
