"""Step (7): is this question what it says, and may it be answered? Nothing is written or evaluated before all holds."""

from dataclasses import dataclass
from datetime import datetime

from bekend_policy.decide import Asked, Decision
from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspensions
from bekend_proto import dleq
from bekend_proto.channel import LABEL_FETCH, LABEL_QUESTION, open_signed
from bekend_proto.clock import FRESHNESS, is_fresh, month_of
from bekend_proto.errors import (
    KeysError,
    MalformedError,
    NotReadyError,
    RecordError,
    StaleError,
    VersionError,
)
from bekend_proto.filter import class_of_filter
from bekend_proto.group import decode_element
from bekend_proto.records import RECORD_LENGTH, seal_hash
from bekend_proto.v1 import broker_pb2, signed_pb2
from google.protobuf.message import DecodeError

from bekend_node.classes import CERTAIN, KindClass
from bekend_node.directory import Directory
from bekend_node.rules import Rules, RulesInForce
from bekend_node.serving import Serving

PROTOCOL_VERSION = 1


@dataclass(frozen=True)
class Sender:
    """Who says to have signed, before it is verified: enough to find the keys."""

    requester: str
    manifest: int
    id: bytes


def question_sender(signed: signed_pb2.Signed) -> Sender:
    """Read the front of a Question. Raises MalformedError."""
    try:
        claim = signed_pb2.Question.FromString(signed.payload)
    except DecodeError as fault:
        raise MalformedError("not a Question") from fault
    return Sender(claim.requester, claim.requester_manifest, claim.question_id)


async def open_question(signed: signed_pb2.Signed, sender: Sender, directory: Directory) -> signed_pb2.Question:
    """(7): the signature, with a key of the requester's manifest that the Question names, over the bytes received."""
    manifest = await directory.require(sender.requester, sender.manifest)
    return open_signed(signed_pb2.Question, signed, LABEL_QUESTION, manifest.signing_keys)


async def open_fetch(signed: signed_pb2.Signed, directory: Directory) -> signed_pb2.FetchOrder:
    """The same for a FetchOrder."""
    try:
        claim = signed_pb2.FetchOrder.FromString(signed.payload)
    except DecodeError as fault:
        raise MalformedError("not a FetchOrder") from fault
    manifest = await directory.require(claim.requester, claim.requester_manifest)
    return open_signed(signed_pb2.FetchOrder, signed, LABEL_FETCH, manifest.signing_keys)


def check_admitted(
    message: signed_pb2.Question | signed_pb2.FetchOrder, rules: Rules, suspensions: Suspensions, now: datetime
) -> tuple[Covenant, Decision]:
    """(7): addressed to this node, in this version, fresh, not suspended, and allowed by the own reading of the
    covenant: of the version that the message names, which is returned with the decision.

    A FetchOrder is about no person and is judged as a question about one, by an identifier of its class. Raises
    BekendErrors.
    """
    if message.protocol_version != PROTOCOL_VERSION:
        raise VersionError(f"protocol version {message.protocol_version}: this node speaks {PROTOCOL_VERSION}")
    if message.source != rules.oin:
        raise MalformedError(f"a message to {message.source} was delivered to {rules.oin}")
    covenant = rules.under(message.covenant_hash)
    if not is_fresh(message.time, now):
        raise StaleError(f"the time differs by more than {FRESHNESS.seconds} s: check the clocks of both sides")
    asked = Asked(
        requester=message.requester,
        source=message.source,
        purpose=message.purpose,
        on_behalf_of=message.on_behalf_of or None,
        persons=len(message.elements) if isinstance(message, signed_pb2.Question) else 1,
        kind_class=class_asked(message),
        covenant_hash=message.covenant_hash,
    )
    return covenant, suspensions.decided(covenant, asked, now)


def class_asked(message: signed_pb2.Question | signed_pb2.FetchOrder) -> KindClass:
    """By which class of identifier is asked, or is to be asked. Raises MalformedError."""
    return message.kind_class if isinstance(message, signed_pb2.Question) else class_of_filter(message)


def check_keys(question: signed_pb2.Question, serving: Serving, rules: RulesInForce, now: datetime) -> None:
    """(7): class of identifier, epoch, record month and manifest number are those that this node goes by now.

    Raises KeysError, and NotReadyError where nobody is enrolled with what is asked by.
    """
    if question.kind_class != serving.id.kind_class or (question.kind_class != CERTAIN and not serving.by_hand):
        raise KeysError("a question is answered under the m of its own class of identifier, and by no other")
    if not serving.header.kinds:
        raise NotReadyError(f"no register of {question.purpose} was enrolled with a combination: its header says so")
    if question.epoch != serving.header.epoch:
        raise KeysError(f"epoch {question.epoch} is asked, {serving.header.epoch} is served")
    if question.record_month not in {month_of(now - FRESHNESS), month_of(now + FRESHNESS)}:
        raise KeysError(f"record month {question.record_month} is not the present one")
    if not rules.goes_by(question.source_manifest, now):
        number = rules.now.manifest.number
        raise KeysError(f"the requester goes by manifest {question.source_manifest} of this node, not {number}")


def check_records(question: signed_pb2.Question, sealed: tuple[bytes, ...]) -> None:
    """(7): each E_ij is there, of the exact length, with the hash that the Question names. Raises RecordError."""
    if len(sealed) != len(question.elements) or len(question.seal_hashes) != len(question.elements):
        raise RecordError("a sealed record per person is demanded: no record, no answer")
    for record, named in zip(sealed, question.seal_hashes, strict=True):
        if len(record) != RECORD_LENGTH or seal_hash(record) != named:
            raise RecordError("a sealed record is not the one that the Question names")


def check_proof(
    message: broker_pb2.EvaluatedQuestion, question: signed_pb2.Question, broker: KeyManifest
) -> tuple[bytes, ...]:
    """(7): the broker's proof, over the Question's own elements, under B from the broker's manifest.

    Returns the V_j. Raises MalformedError, KeysError or ProofError. Without it a broker could send elements of its own
    choosing and have them multiplied (must-list 2).
    """
    public = broker.evaluation_keys.get((question.source, question.purpose, question.epoch))
    if public is None:
        raise KeysError(f"the broker's manifest has no key for {question.purpose} in {question.epoch}")
    inputs = [decode_element(element) for element in question.elements]
    outputs = [decode_element(element) for element in message.evaluated]
    dleq.verify(public, inputs, outputs, message.proof)
    return tuple(outputs)
