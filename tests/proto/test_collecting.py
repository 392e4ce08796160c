"""Release messages and collected replies: one length each, bound to their question, number and end of the channel."""

import pytest
from bekend_proto import collecting as c
from bekend_proto import group, oprf, records, release
from bekend_proto.channel import OpenChannel, RequesterChannel, respond
from bekend_proto.errors import InternalError, MalformedError, SignatureError
from bekend_proto.identifiers import parse_identifier
from bekend_proto.v1 import signed_pb2 as pb
from hypothesis import given
from hypothesis import strategies as st
from nacl.signing import SigningKey

REQUESTER, SOURCE, QUESTION_ID = "00000099000000002000", "00000099000000001000", b"q" * 16
ASKER, ANSWERER, STRANGER = SigningKey(b"a" * 32), SigningKey(b"b" * 32), SigningKey(b"c" * 32)
UNTIL = 1_800_000_000_000
STATES = st.sampled_from([pb.RELEASE_STATE_WAITING, pb.RELEASE_STATE_KNOWN, pb.RELEASE_STATE_CLOSED])


def parties(persons: int = 1, question_hash: bytes = b"h" * 32) -> c.Parties:
    return c.Parties(question_hash, REQUESTER, SOURCE, persons)


def pair() -> tuple[OpenChannel, OpenChannel]:
    """The requester's and the source's end of one channel, over a restart of both."""
    own = RequesterChannel()
    source, x25519, ciphertext = respond(REQUESTER, SOURCE, QUESTION_ID, own.x25519, own.mlkem)
    requester = own.open(REQUESTER, SOURCE, QUESTION_ID, x25519, ciphertext)
    return OpenChannel.restore(requester.keep(), 0), OpenChannel.restore(source.keep(), 1)


def public(key: SigningKey) -> list[bytes]:
    return [bytes(key.verify_key)]


def messages(persons: int) -> list[bytes]:
    return [bytes([person]) * release.RELEASE_LENGTH for person in range(persons)]


@pytest.mark.parametrize("persons", range(1, 9))
@pytest.mark.parametrize(
    ("number", "kind"), [(c.NAMES, pb.RELEASE_KIND_NAMES), (c.WITHDRAWS, pb.RELEASE_KIND_WITHDRAWS)]
)
def test_must_09_naming_and_withdrawing_have_one_length(
    persons: int, number: int, kind: "pb.ReleaseKind.ValueType"
) -> None:
    requester, source = pair()
    box = c.seal_release_box(requester, ASKER, number, parties(persons), messages(persons))
    assert len(box) == c.release_box(persons)
    found = c.open_release_box(source, public(ASKER), parties(persons), box)
    assert found == (kind, tuple(messages(persons)))


@given(st.lists(STATES, min_size=1, max_size=8), st.integers(1, 2**32 - 1))
def test_must_09_every_reply_has_one_length(states: list["pb.ReleaseState.ValueType"], number: int) -> None:
    requester, source = pair()
    ends = parties(len(states))
    box = c.seal_collected(source, ANSWERER, number, ends, states=states, until=UNTIL)
    assert len(box) == c.COLLECTED_BOX
    assert c.open_collected(requester, public(ANSWERER), number, ends, until=UNTIL, box=box) == tuple(states)


def test_a_reply_counts_for_its_own_question_number_term_and_signer_only() -> None:
    requester, source = pair()
    ends, states = parties(), [pb.RELEASE_STATE_KNOWN]
    box = c.seal_collected(source, ANSWERER, 3, ends, states=states, until=UNTIL)
    with pytest.raises(SignatureError):
        c.open_collected(requester, public(STRANGER), 3, ends, until=UNTIL, box=box)
    for number, other, until in [
        (4, ends, UNTIL),
        (3, parties(2), UNTIL),
        (3, parties(1, b"i" * 32), UNTIL),
        (3, ends, UNTIL + 1),
    ]:
        with pytest.raises(MalformedError):
            c.open_collected(requester, public(ANSWERER), number, other, until=until, box=box)
    with pytest.raises(MalformedError):
        c.open_collected(pair()[0], public(ANSWERER), 3, ends, until=UNTIL, box=box)


def test_must_17_a_message_that_comes_back_to_its_sender_does_not_open() -> None:
    requester, source = pair()
    named = c.seal_release_box(requester, ASKER, c.NAMES, parties(), messages(1))
    with pytest.raises(MalformedError):
        c.open_release_box(requester.restore(_reflected(requester), 0), public(ASKER), parties(), named)
    reply = c.seal_collected(source, ANSWERER, 1, parties(), states=[pb.RELEASE_STATE_WAITING], until=UNTIL)
    with pytest.raises(MalformedError):
        c.open_release_box(source, public(ASKER), parties(), reply.ljust(c.release_box(1), b"\0"))


def _reflected(channel: OpenChannel) -> bytes:
    kept = channel.keep()
    return kept[:32] + kept[64:] + kept[32:64]


def test_a_release_is_the_requesters_own_about_this_question_and_as_many_persons() -> None:
    requester, source = pair()
    box = c.seal_release_box(requester, ASKER, c.NAMES, parties(2), messages(2))
    with pytest.raises(SignatureError):
        c.open_release_box(source, public(STRANGER), parties(2), box)
    for other in (parties(1), parties(3), parties(2, b"i" * 32)):
        with pytest.raises(MalformedError):
            c.open_release_box(source, public(ASKER), other, box)


def test_a_number_seals_once_also_over_a_restart() -> None:
    requester, source = pair()
    c.seal_collected(source, ANSWERER, 3, parties(), states=[pb.RELEASE_STATE_WAITING], until=UNTIL)
    with pytest.raises(InternalError):
        c.seal_collected(source, ANSWERER, 3, parties(), states=[pb.RELEASE_STATE_KNOWN], until=UNTIL)
    c.seal_collect(requester, 2, b"h" * 32)
    with pytest.raises(InternalError):
        c.seal_collect(requester, 2, b"h" * 32)
    with pytest.raises(InternalError):
        OpenChannel.restore(bytes(95), 0)


def test_a_collect_opens_under_its_own_number_and_question() -> None:
    requester, source = pair()
    box = c.seal_collect(requester, 7, b"h" * 32)
    assert len(box) == c.COLLECT_BOX
    c.check_collect(source, 7, b"h" * 32, box)
    for number, question_hash in [(8, b"h" * 32), (7, b"i" * 32), (1, b"h" * 32)]:
        with pytest.raises(MalformedError):
            c.check_collect(source, number, question_hash, box)


class Asked:
    """A question about one person as a source with m*k keeps it, and the D that names the person."""

    def __init__(self, value: str = "999990019") -> None:
        self.identifier = parse_identifier("bsn", value)
        self.r, self.b, self.mk = (group.random_scalar() for _ in range(3))
        x = oprf.hash_identifier(self.identifier)
        self.element = group.multiply(self.r, x)
        self.evaluated = group.multiply(self.mk, group.multiply(self.b, self.element))
        self.w = group.multiply(self.mk, group.multiply(self.b, x))

    def named(self, value: str = "999990019", blind: bytes | None = None) -> bytes:
        consent = pb.Consent(reference="T-1", date="2026-11-20", scope="hulp", giver=pb.CONSENT_GIVER_SELF)
        return release.pack_named(
            pb.Named(kind="bsn", value=value, blind=blind or self.r, desk="loket", consent=consent)
        )


def test_who_is_named_is_who_was_asked_about() -> None:
    asked = Asked()
    context = records.record_context(REQUESTER, SOURCE, "demo/doel", QUESTION_ID, 0)
    d = release.seal_release(asked.w, context, asked.named())
    payload = release.open_release(asked.w, context, d)
    identifier, named = release.check_named(payload, asked.element, asked.evaluated, asked.w)
    assert (identifier, named.desk) == (asked.identifier, "loket")


def test_another_person_than_d_is_keyed_for_shows() -> None:
    asked, other = Asked(), Asked("999990342")
    for payload, element, evaluated, w in [
        (asked.named("999990342"), asked.element, asked.evaluated, asked.w),
        (asked.named(), other.element, asked.evaluated, asked.w),
        (asked.named(), asked.element, other.evaluated, asked.w),
        (asked.named(), asked.element, asked.evaluated, other.w),
        (asked.named(blind=other.r), asked.element, asked.evaluated, asked.w),
    ]:
        with pytest.raises(release.MisnamedError):
            release.check_named(payload, element, evaluated, w)


def test_a_payload_in_another_form_is_malformed_and_quotes_nothing() -> None:
    asked = Asked()
    for payload in (
        b"no message",
        asked.named("999990018"),
        asked.named("99999019"),
        asked.named(blind=bytes(32)),
        asked.named() + b"\x38\x01",
        release.pack_named(pb.Named(kind="bsn", value="999990019", blind=asked.r, consent=pb.Consent(date="gisteren"))),
    ):
        with pytest.raises(MalformedError) as caught:
            release.check_named(payload, asked.element, asked.evaluated, asked.w)
        assert "99999" not in str(caught.value)


def test_texts_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MalformedError, match="too long"):
        release.pack_named(pb.Named(kind="bsn", value="999990019", blind=bytes(32), justification="x" * 4000))
