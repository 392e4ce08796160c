"""Step (10): an Answer is opened, verified and only then unblinded, and looked up in the filter that it names.

Whatever does not hold raises, and what raises becomes `geen antwoord`: never a miss (protocol section 2).
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from bekend_proto import dleq
from bekend_proto.channel import LABEL_ANSWER, OpenChannel, open_signed, parse_strict
from bekend_proto.errors import InternalError, MalformedError, ProofError, StaleError
from bekend_proto.filter import tag
from bekend_proto.group import decode_element
from bekend_proto.oprf import unblind_with_inverse
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.ask.filters_held import HeldFilter
from bekend_node.ask.messages import PROTOCOL_VERSION, Pending


@dataclass(frozen=True, slots=True)
class OpenAnswer:
    """An Answer that the source signed over this very Question. Its proof is not verified yet: that needs M."""

    received: tuple[bytes, ...] = field(repr=False)
    evaluated: tuple[bytes, ...] = field(repr=False)
    proof: bytes = field(repr=False)
    filter_version: int
    m_hash: bytes
    checkpoint: bytes
    channel: OpenChannel
    """Open between requester and source: what follows a manual answer travels in it."""


def open_answer(pending: Pending, requester: str, message: broker_pb2.SealedAnswer) -> OpenAnswer:
    """Open the channel, check signature and every field.

    Raises MalformedError (channel, encoding, fields) or SignatureError (not a key of the source's manifest).
    """
    source = pending.source
    channel = pending.channel.open(requester, source.oin, pending.question_id, message.x25519, message.mlkem)
    signed = parse_strict(signed_pb2.Signed, channel.open_from_source(0, message.box))
    answer = open_signed(signed_pb2.Answer, signed, LABEL_ANSWER, source.signing_keys)
    expected = (PROTOCOL_VERSION, pending.question_hash, requester, source.oin, channel.transcript)
    stated = (answer.protocol_version, answer.question_hash, answer.requester, answer.source, answer.transcript)
    if stated != expected:
        raise MalformedError("the answer belongs to another question, partner or channel")
    persons = len(pending.inverses)
    if len(answer.received) != persons or len(answer.evaluated) != persons:
        raise MalformedError("the answer is about another number of persons")
    return OpenAnswer(
        received=tuple(decode_element(element) for element in answer.received),
        evaluated=tuple(decode_element(element) for element in answer.evaluated),
        proof=answer.proof,
        filter_version=answer.filter_version,
        m_hash=answer.m_hash,
        checkpoint=answer.checkpoint,
        channel=channel,
    )


def unblind(pending: Pending, answer: OpenAnswer, held: HeldFilter) -> list[bytes]:
    """`W_j` of each person, once the source's proof over (V, Z) holds under M of the version that the answer names.

    Raises StaleError when the version or epoch is another (a `W` is never compared with another version's filter),
    ProofError when M or the proof is.
    """
    if (held.version, held.epoch) != (answer.filter_version, pending.held.epoch):
        raise StaleError("the filter of the answer is gone")
    # (10): version and proof, then unblind.
    if held.m_hash != answer.m_hash:
        raise ProofError("the answer was made under another M than the filter's header names")
    dleq.verify(held.m, answer.received, answer.evaluated, answer.proof)
    return [
        unblind_with_inverse(inverse, element)
        for inverse, element in zip(pending.inverses, answer.evaluated, strict=True)
    ]


def look_up(unblinded: Sequence[bytes], held: HeldFilter) -> list[bool]:
    """Whether each person's tag stands in the filter. Raises InternalError for a source that answers by hand: whose `W`
    is looked up nowhere.
    """
    # (10): tag, look up.
    if held.tags is None:
        raise InternalError("a source that answers by hand has no filter to look in")
    return [held.tags.contains(tag(w, held.source, held.purpose, held.version)) for w in unblinded]
