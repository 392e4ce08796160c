"""Steps (2) and (5): the bytes that leave, all signed, none of which says anything about the person."""

import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bekend_policy.manifest import KeyManifest
from bekend_proto import dleq
from bekend_proto.channel import (
    LABEL_BEGIN,
    LABEL_QUESTION,
    RequesterChannel,
    case_commitment,
    question_hash,
    sign_message,
)
from bekend_proto.clock import milliseconds, month_of
from bekend_proto.errors import KeysError, ProofError
from bekend_proto.group import decode_element
from bekend_proto.records import Seal, seal_hash
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from bekend_node.ask.blinds import Blinds, SourceBlinds, close
from bekend_node.ask.filters_held import HeldFilter

PROTOCOL_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Facts:
    """What Begin and all Questions of one lookup have in common."""

    requester: str
    on_behalf_of: str | None
    purpose: str
    covenant_hash: bytes
    requester_manifest: int
    broker: KeyManifest
    time: datetime
    checkpoint: bytes
    case_reference: str
    officer: str

    @property
    def month(self) -> str:
        """The record month (UTC)."""
        return month_of(self.time)

    @property
    def record_key(self) -> bytes:
        """`U = u * G` of the record month, from the broker's manifest. Raises KeysError when it has none."""
        key = self.broker.record_keys.get(self.month)
        if key is None:
            raise KeysError(f"the broker's manifest has no record key for {self.month}")
        return key


@dataclass(frozen=True, slots=True)
class Draft:
    """What one Question needs besides the broker's reply to Begin, made while that is under way."""

    source: KeyManifest
    held: HeldFilter
    channel: RequesterChannel = field(repr=False)
    question_id: bytes
    salt: bytes = field(repr=False)
    own: SourceBlinds = field(repr=False)
    seals: tuple[Seal, ...] = field(repr=False)


@dataclass(frozen=True, slots=True)
class Pending:
    """A Question on its way: all that its Answer is held against."""

    source: KeyManifest
    held: HeldFilter
    channel: RequesterChannel = field(repr=False)
    question_id: bytes
    question_hash: bytes
    asked: int
    """The Question's time, in milliseconds."""
    salt: bytes = field(repr=False)
    blinds: tuple[bytes, ...] = field(repr=False)
    inverses: tuple[bytes, ...] = field(repr=False)
    routed: broker_pb2.RoutedQuestion = field(repr=False)


def make_begin(key: SigningKey, facts: Facts, begin_id: bytes, blinds: Blinds) -> signed_pb2.Signed:
    """Begin: one element `A0_j = r0_j * x_j` per person, and no sources yet."""
    begin = signed_pb2.Begin(
        protocol_version=PROTOCOL_VERSION,
        begin_id=begin_id,
        requester=facts.requester,
        on_behalf_of=facts.on_behalf_of or "",
        purpose=facts.purpose,
        covenant_hash=facts.covenant_hash,
        record_month=facts.month,
        requester_manifest=facts.requester_manifest,
        broker_manifest=facts.broker.number,
        time=milliseconds(facts.time),
        elements=blinds.begin_elements,
    )
    return sign_message(key, LABEL_BEGIN, begin)


def check_begun(facts: Facts, blinds: Blinds, begun: broker_pb2.Begun) -> tuple[bytes, ...]:
    """`u * A0_j`, verified under the month's key of the broker's manifest.

    Raises MalformedError, ProofError, KeysError.
    """
    if len(begun.evaluated) != len(blinds.begin_elements):
        raise ProofError("the broker evaluated another number of persons")
    evaluated = tuple(decode_element(element) for element in begun.evaluated)
    dleq.verify(facts.record_key, blinds.begin_elements, evaluated, begun.proof)
    return evaluated


def draft(source: KeyManifest, held: HeldFilter, blinds: Blinds) -> Draft:
    """Ephemeral channel keys, id and salt of one Question: its own for every source, so that none can be linked."""
    assert source.privacy_officer is not None  # a source without one is not asked
    seals = blinds.seals(source.oin, source.privacy_officer)
    own = blinds.source(source.oin)
    return Draft(source, held, RequesterChannel(), secrets.token_bytes(16), secrets.token_bytes(32), own, seals)


def make_question(key: SigningKey, facts: Facts, record_keys: tuple[bytes, ...], one: Draft) -> Pending:
    """One signed Question with its sealed records `E_ij` and, for the broker alone, the ratios `r_ij / r0_j`."""
    oin = one.source.oin
    own = one.own
    sealed = close(
        one.seals,
        record_keys,
        requester=facts.requester,
        source=oin,
        purpose=facts.purpose,
        question_id=one.question_id,
    )
    question = signed_pb2.Question(
        protocol_version=PROTOCOL_VERSION,
        question_id=one.question_id,
        requester=facts.requester,
        source=oin,
        on_behalf_of=facts.on_behalf_of or "",
        purpose=facts.purpose,
        covenant_hash=facts.covenant_hash,
        epoch=one.held.epoch,
        record_month=facts.month,
        requester_manifest=facts.requester_manifest,
        source_manifest=one.source.number,
        broker_manifest=facts.broker.number,
        time=milliseconds(facts.time),
        kind_class=one.held.kind_class,
        elements=own.elements,
        seal_hashes=[seal_hash(record) for record in sealed],
        x25519=one.channel.x25519,
        mlkem=one.channel.mlkem,
        checkpoint=facts.checkpoint,
        case_commitment=case_commitment(one.salt, facts.case_reference, facts.officer),
    )
    signed = sign_message(key, LABEL_QUESTION, question)
    return Pending(
        source=one.source,
        held=one.held,
        channel=one.channel,
        question_id=one.question_id,
        question_hash=question_hash(signed),
        asked=question.time,
        salt=one.salt,
        blinds=own.blinds,
        inverses=own.inverses,
        routed=broker_pb2.RoutedQuestion(question=signed, sealed_records=sealed, ratios=own.ratios),
    )
