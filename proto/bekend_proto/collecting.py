"""How a release message travels and its reply is collected (section 9): one length and moment, whatever happens.

    requester                                                     source
      | Answer came: the channel of the Question is open  <---------|
      | number 0: Release{D_j} ------------------------------------>| keeps D, replies at once
      |<-------------------------- number 1: Collected{waiting} ----|
      |                                   compared off the reply path; a colleague decides
      | number n: collect, at fixed moments, from 2 --------------->|
      |<------ number n + 1: Collected{waiting, known or closed} ---|
      |        ... to the end of the term, also after `known`
      | number 1: Release{withdraws}, at any time ----------------->| ends what is open
      |<-------------------------- number 2: Collected -------------|

All in the channel of the Question and its Answer, signed first where it says something, then sealed. Each number seals
once in each direction: who repeats, reorders or drops a message gains nothing.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from nacl.signing import SigningKey

from bekend_proto.channel import (
    BOX_OVERHEAD,
    LABEL_COLLECTED,
    LABEL_RELEASE,
    SIGNATURE_LENGTH,
    OpenChannel,
    open_signed,
    parse_strict,
    sign_message,
)
from bekend_proto.errors import MalformedError
from bekend_proto.octets import lp
from bekend_proto.release import RELEASE_LENGTH
from bekend_proto.v1 import signed_pb2
from bekend_proto.v1.signed_pb2 import Collected, Release, ReleaseKind, ReleaseState, Signed

NAMES: Final = 0
WITHDRAWS: Final = 1
FIRST_COLLECT: Final = 2
"""Numbers of the requester's messages after Question and Answer; the reply to number n has number n + 1."""

COLLECT_BOX: Final = 32 + BOX_OVERHEAD
COLLECTED_BOX: Final = 512
_PADDED: Final = COLLECTED_BOX - BOX_OVERHEAD

_KINDS: Final = {
    NAMES: signed_pb2.RELEASE_KIND_NAMES,
    WITHDRAWS: signed_pb2.RELEASE_KIND_WITHDRAWS,
}


@dataclass(frozen=True, slots=True)
class Parties:
    """Which question this is about, and between whom: what every message of the exchange repeats."""

    question_hash: bytes
    requester: str
    source: str
    persons: int

    def are_of(self, message: Release | Collected, channel: OpenChannel) -> bool:
        """Whether a message names exactly these, and this channel."""
        stated = (message.protocol_version, message.question_hash, message.requester, message.source)
        return (*stated, message.transcript) == (
            1,
            self.question_hash,
            self.requester,
            self.source,
            channel.transcript,
        )


def release_box(persons: int) -> int:
    """Octets of the box of a Release about so many persons, naming or withdrawing."""
    release = Release(
        protocol_version=1,
        question_hash=bytes(32),
        requester="0" * 20,
        source="0" * 20,
        transcript=bytes(32),
        kind=signed_pb2.RELEASE_KIND_NAMES,
        messages=[bytes(RELEASE_LENGTH)] * persons,
    )
    return Signed(payload=release.SerializeToString(), signature=bytes(SIGNATURE_LENGTH)).ByteSize() + BOX_OVERHEAD


def seal_release_box(
    channel: OpenChannel, key: SigningKey, number: int, parties: Parties, messages: Sequence[bytes]
) -> bytes:
    """Number NAMES with a D per person, or WITHDRAWS with as many random octets; signed, then sealed."""
    release = Release(
        protocol_version=1,
        question_hash=parties.question_hash,
        requester=parties.requester,
        source=parties.source,
        transcript=channel.transcript,
        kind=_KINDS[number],
        messages=messages,
    )
    signed = sign_message(key, LABEL_RELEASE, release)
    return channel.seal_to_source(number, signed.SerializeToString(deterministic=True))


def open_release_box(
    channel: OpenChannel, keys: Iterable[bytes], parties: Parties, box: bytes
) -> tuple["ReleaseKind.ValueType", tuple[bytes, ...]]:
    """What the requester sealed: whether it names or withdraws, and the messages.

    `keys` are the signing keys of the requester's manifest. Raises MalformedError, SignatureError.
    """
    if len(box) != release_box(parties.persons):
        raise MalformedError("a release message has one length")
    data, number = _open_either(channel, box)
    release = open_signed(Release, parse_strict(Signed, data), LABEL_RELEASE, keys)
    if _KINDS[number] != release.kind or not parties.are_of(release, channel):
        raise MalformedError("the release message belongs to another question, partner or channel")
    if len(release.messages) != parties.persons:
        raise MalformedError("the release message is about another number of persons")
    return release.kind, tuple(release.messages)


def seal_collect(channel: OpenChannel, number: int, question_hash: bytes) -> bytes:
    """Collect `number`, from FIRST_COLLECT on: nobody but the two ends of the channel can make it."""
    return channel.seal_to_source(number, question_hash)


def check_collect(channel: OpenChannel, number: int, question_hash: bytes, box: bytes) -> None:
    """Raises MalformedError unless the requester sealed this collect under this number."""
    if number < FIRST_COLLECT or channel.open_from_requester(number, box) != question_hash:
        raise MalformedError("a collect that is not of this question and number")


def seal_collected(
    channel: OpenChannel,
    key: SigningKey,
    number: int,
    parties: Parties,
    *,
    states: Sequence["ReleaseState.ValueType"],
    until: int,
) -> bytes:
    """The reply with this number: signed, padded, sealed; COLLECTED_BOX octets, whatever it says."""
    collected = Collected(
        protocol_version=1,
        question_hash=parties.question_hash,
        requester=parties.requester,
        source=parties.source,
        transcript=channel.transcript,
        number=number,
        until=until,
        states=states,
    )
    signed = sign_message(key, LABEL_COLLECTED, collected).SerializeToString(deterministic=True)
    return channel.seal_to_requester(number, lp(signed).ljust(_PADDED, b"\x00"))


def open_collected(
    channel: OpenChannel, keys: Iterable[bytes], number: int, parties: Parties, *, until: int, box: bytes
) -> tuple["ReleaseState.ValueType", ...]:
    """What the source says about each person, in the reply with this number.

    `keys` are the signing keys of the source's manifest, `until` the end of the term as the covenant sets it. Raises
    MalformedError, SignatureError: such a reply counts as none.
    """
    if len(box) != COLLECTED_BOX:
        raise MalformedError("a reply to a collect has one length")
    padded = channel.open_from_source(number, box)
    end = 2 + int.from_bytes(padded[:2], "big")
    if padded[end:].strip(b"\x00"):
        raise MalformedError("a reply to a collect is padded with zeros")
    collected = open_signed(Collected, parse_strict(Signed, padded[2:end]), LABEL_COLLECTED, keys)
    if not parties.are_of(collected, channel) or (collected.number, collected.until) != (number, until):
        raise MalformedError("the reply belongs to another question, partner, channel, number or term")
    if len(collected.states) != parties.persons:
        raise MalformedError("the reply is about another number of persons")
    return tuple(collected.states)


def _open_either(channel: OpenChannel, box: bytes) -> tuple[bytes, int]:
    """The box and its number: the two kinds look alike from outside."""
    try:
        return channel.open_from_requester(NAMES, box), NAMES
    except MalformedError:
        return channel.open_from_requester(WITHDRAWS, box), WITHDRAWS
