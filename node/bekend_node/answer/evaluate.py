"""Step (9): the source's one multiplication per person, its proof, and the signed answer, sealed to the requester."""

from dataclasses import dataclass

from bekend_proto import dleq
from bekend_proto.channel import LABEL_ANSWER, OpenChannel, respond, sign_message
from bekend_proto.group import multiply
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from bekend_node.serving import Serving


@dataclass(frozen=True)
class Channel:
    """The source's half of the end-to-end channel, made before anything is written: a bad key is refused in time."""

    open: OpenChannel
    x25519: bytes
    mlkem: bytes

    @classmethod
    def to_requester(cls, requester: str, source: str, name: bytes, x25519: bytes, mlkem: bytes) -> "Channel":
        """Fresh ephemeral keys. `name` is the question's or fetch's id. Raises MalformedError."""
        return cls(*respond(requester, source, name, x25519, mlkem))


def answer(
    question: signed_pb2.Question,
    question_hash: bytes,
    received: tuple[bytes, ...],
    *,
    serving: Serving,
    channel: Channel,
    signing: SigningKey,
    checkpoint: bytes,
) -> broker_pb2.SealedAnswer:
    """(9): Z_j = m*k*V_j with one proof under M, signed, then sealed: one length per number of persons."""
    evaluated = [multiply(serving.scalar, element) for element in received]
    reply = signed_pb2.Answer(
        protocol_version=question.protocol_version,
        question_hash=question_hash,
        requester=question.requester,
        source=question.source,
        received=received,
        evaluated=evaluated,
        proof=dleq.prove(serving.scalar, serving.m_public, received, evaluated),
        filter_version=serving.version,
        m_hash=serving.m_hash,
        transcript=channel.open.transcript,
        checkpoint=checkpoint,
    )
    signed = sign_message(signing, LABEL_ANSWER, reply)
    return broker_pb2.SealedAnswer(
        question_id=question.question_id,
        x25519=channel.x25519,
        mlkem=channel.mlkem,
        box=channel.open.seal_to_requester(0, signed.SerializeToString(deterministic=True)),
    )
