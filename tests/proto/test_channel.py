"""Signatures and channel: who said it, to whom, once, and in one encoding."""

from typing import Any

import pytest
from bekend_proto import channel, group
from bekend_proto.channel import OpenChannel, RequesterChannel, respond
from bekend_proto.errors import InternalError, MalformedError, SignatureError
from bekend_proto.v1 import signed_pb2 as pb
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

REQUESTER, SOURCE, QUESTION_ID = "00000099000000002000", "00000099000000001000", b"q" * 16
KEY = SigningKey(bytes(32))
PUBLIC = bytes(KEY.verify_key)


def question() -> pb.Question:
    return pb.Question(
        protocol_version=1,
        question_id=QUESTION_ID,
        requester=REQUESTER,
        source=SOURCE,
        purpose="demo/doel",
        covenant_hash=bytes(32),
        epoch="2027Q1",
        record_month="2027-02",
        requester_manifest=1,
        source_manifest=2,
        broker_manifest=3,
        time=1,
        kind_class=pb.KIND_CLASS_CERTAIN,
        elements=[group.random_element()],
        seal_hashes=[bytes(32)],
        x25519=bytes(32),
        mlkem=bytes(1184),
        checkpoint=bytes(72),
        case_commitment=bytes(32),
    )


def encoded(message: Message) -> bytes:
    return message.SerializeToString(deterministic=True)


def pair(question_id: bytes = QUESTION_ID) -> tuple[OpenChannel, OpenChannel]:
    """The requester's and the source's end of one channel."""
    own = RequesterChannel()
    source, x25519, ciphertext = respond(REQUESTER, SOURCE, question_id, own.x25519, own.mlkem)
    return own.open(REQUESTER, SOURCE, question_id, x25519, ciphertext), source


def test_a_signed_message_opens() -> None:
    sent = question()
    signed = channel.sign_message(KEY, channel.LABEL_QUESTION, sent)
    assert channel.open_signed(pb.Question, signed, channel.LABEL_QUESTION, [bytes(32), PUBLIC]) == sent


@pytest.mark.parametrize("label", sorted(channel.LABELS - {channel.LABEL_QUESTION}))
def test_must_16_a_signature_for_one_label_is_none_for_another(label: bytes) -> None:
    signed = channel.sign_message(KEY, channel.LABEL_QUESTION, question())
    with pytest.raises(SignatureError):
        channel.verify(signed, label, [PUBLIC])


def test_must_16_signature_covers_the_transmitted_bytes() -> None:
    """The same message in another encoding carries the signature of neither."""
    payload = encoded(question())
    reordered = payload[2:] + payload[:2]  # protocol_version last: the same fields to a lenient parser
    assert pb.Question.FromString(reordered) == pb.Question.FromString(payload)
    signed = pb.Signed(payload=reordered, signature=channel.sign(KEY, channel.LABEL_QUESTION, payload).signature)
    with pytest.raises(SignatureError):
        channel.open_signed(pb.Question, signed, channel.LABEL_QUESTION, [PUBLIC])


@settings(max_examples=40)
@given(st.data())
def test_any_flipped_bit_of_payload_or_signature_is_refused(data: st.DataObject) -> None:
    signed = channel.sign(KEY, channel.LABEL_BEGIN, b"some payload")
    field = data.draw(st.sampled_from(["payload", "signature"]))
    spoiled = bytearray(getattr(signed, field))
    bit = data.draw(st.integers(0, len(spoiled) * 8 - 1))
    spoiled[bit // 8] ^= 1 << bit % 8
    setattr(signed, field, bytes(spoiled))
    with pytest.raises(SignatureError):
        channel.verify(signed, channel.LABEL_BEGIN, [PUBLIC])


@pytest.mark.parametrize("keys", [[], [bytes(32)], [b""], [bytes(SigningKey(b"1" * 32).verify_key)]])
def test_must_03_only_a_key_of_the_manifest_verifies(keys: list[bytes]) -> None:
    signed = channel.sign(KEY, channel.LABEL_BEGIN, b"payload")
    with pytest.raises(SignatureError):
        channel.verify(signed, channel.LABEL_BEGIN, keys)


@pytest.mark.parametrize("signature", [b"", bytes(63), bytes(64), bytes(65)])
def test_a_missing_or_misshapen_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(SignatureError):
        channel.verify(pb.Signed(payload=b"x", signature=signature), channel.LABEL_BEGIN, [PUBLIC])


def test_nothing_unsigned_is_parsed() -> None:
    with pytest.raises(SignatureError):
        channel.open_signed(pb.Question, pb.Signed(payload=b"\xff"), channel.LABEL_QUESTION, [PUBLIC])


def field_bytes(number: int, value: bytes) -> bytes:
    return bytes([number << 3 & 0x7F | 0x80 | 2, number >> 4, len(value)]) + value


@pytest.mark.parametrize(
    "spoil",
    [
        pytest.param(lambda p: p + field_bytes(99, b"x"), id="unknown field"),
        pytest.param(lambda p: p[2:] + p[:2], id="other order"),
        pytest.param(lambda p: p[:2] + p, id="field twice"),
        pytest.param(lambda p: b"\x08\x81\x00" + p[2:], id="overlong varint"),
        pytest.param(lambda p: p + b"\x2a\x00", id="explicit default"),
        pytest.param(lambda p: p[:-1], id="cut off"),
        pytest.param(lambda p: p + b"\x00", id="trailing byte"),
        pytest.param(lambda p: p.replace(REQUESTER.encode(), b"\xff" * 20), id="not UTF-8"),
        pytest.param(lambda _: b"", id="empty"),
    ],
)
def test_parse_strict_takes_the_one_encoding_and_no_unknown_field(spoil: object) -> None:
    assert callable(spoil)
    payload = encoded(question())
    assert channel.parse_strict(pb.Question, payload) == question_like(payload)
    with pytest.raises(MalformedError):
        channel.parse_strict(pb.Question, spoil(payload))


def question_like(payload: bytes) -> pb.Question:
    return pb.Question.FromString(payload)


def test_parse_strict_refuses_an_unknown_field_inside_a_nested_message() -> None:
    line = encoded(pb.ReceiptLine(source=SOURCE)) + field_bytes(99, b"x")
    receipt = pb.Receipt(
        protocol_version=1, requester=REQUESTER, covenant_hash=bytes(32), requester_manifest=1, time=1, persons=1
    )
    payload = encoded(receipt) + b"\x52" + bytes([len(line)]) + line
    with pytest.raises(MalformedError, match="unknown field"):
        channel.parse_strict(pb.Receipt, payload)


@settings(max_examples=150)
@given(st.binary(max_size=80))
def test_parse_strict_raises_nothing_but_malformed(data: bytes) -> None:
    payload = encoded(question())
    for candidate in (data, payload + data, data + payload):
        try:
            parsed = channel.parse_strict(pb.Question, candidate)
        except MalformedError:
            continue
        assert encoded(parsed) == candidate


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("question_id", b"short"),
        ("requester", "1"),
        ("on_behalf_of", "1"),
        ("covenant_hash", bytes(31)),
        ("epoch", "2027"),
        ("record_month", "2027-2"),
        ("x25519", bytes(33)),
        ("mlkem", bytes(1183)),
        ("checkpoint", b""),
        ("case_commitment", b""),
        ("kind_class", 0),
        ("kind_class", 7),
    ],
)
def test_must_09_each_field_has_one_length(field: str, value: object) -> None:
    message = question()
    setattr(message, field, value)
    with pytest.raises(MalformedError):
        channel.parse_strict(pb.Question, encoded(message))


def order(**more: Any) -> pb.FetchOrder:
    return pb.FetchOrder(
        protocol_version=1, fetch_id=bytes(16), requester=REQUESTER, source=SOURCE, purpose="demo/doel",
        covenant_hash=bytes(32), requester_manifest=1, time=1, x25519=bytes(32), mlkem=bytes(1184), **more,
    )  # fmt: skip


@pytest.mark.parametrize("kind_class", [0, pb.KIND_CLASS_POSSIBLE])
def test_an_order_names_the_class_of_its_filter_or_leaves_it_out(kind_class: "pb.KindClass.ValueType") -> None:
    sent = order(kind_class=kind_class)
    assert channel.parse_strict(pb.FetchOrder, encoded(sent)) == sent


@pytest.mark.parametrize("kind_class", [pb.KIND_CLASS_CERTAIN, 7])
def test_the_class_of_a_filter_is_written_in_one_way(kind_class: "pb.KindClass.ValueType") -> None:
    with pytest.raises(MalformedError):
        channel.parse_strict(pb.FetchOrder, encoded(order(kind_class=kind_class)))


@pytest.mark.parametrize("elements", [[], [bytes(31)], [bytes(32)] * 9])
def test_a_question_is_about_one_to_eight_persons(elements: list[bytes]) -> None:
    message = question()
    del message.elements[:]
    message.elements.extend(elements)
    with pytest.raises(MalformedError):
        channel.parse_strict(pb.Question, encoded(message))


def test_question_hash_names_payload_and_signature() -> None:
    signed = channel.sign(KEY, channel.LABEL_QUESTION, b"payload")
    other = pb.Signed(payload=signed.payload, signature=bytes(64))
    assert len(channel.question_hash(signed)) == 32
    assert channel.question_hash(signed) != channel.question_hash(other)


def test_both_ends_of_a_channel_read_each_other_and_share_the_transcript() -> None:
    requester, source = pair()
    assert requester.transcript == source.transcript
    assert requester.open_from_source(0, source.seal_to_requester(0, b"answer")) == b"answer"
    assert source.open_from_requester(0, requester.seal_to_source(0, b"more")) == b"more"
    assert requester.open_from_source(7, source.seal_to_requester(7, b"x" * 65536)) == b"x" * 65536


def test_must_09_a_box_is_16_octets_longer_than_its_content() -> None:
    _, source = pair()
    assert [len(source.seal_to_requester(n, bytes(n * 100))) for n in range(3)] == [16, 116, 216]


def test_must_17_a_message_sent_back_to_its_sender_is_refused() -> None:
    requester, source = pair()
    box = source.seal_to_requester(0, b"answer")
    with pytest.raises(MalformedError):
        source.open_from_requester(0, box)
    with pytest.raises(MalformedError):
        requester.open_from_source(0, requester.seal_to_source(0, b"more"))


def test_a_box_opens_under_its_own_number_and_channel_only() -> None:
    requester, source = pair()
    box = source.seal_to_requester(1, b"answer")
    for wrong in (0, 2):
        with pytest.raises(MalformedError):
            requester.open_from_source(wrong, box)
    with pytest.raises(MalformedError):
        pair()[0].open_from_source(1, box)
    for spoiled in (b"", box[:15], box[:-1], box + b"\x00", bytes(len(box))):
        with pytest.raises(MalformedError):
            requester.open_from_source(1, spoiled)


def test_must_08_a_nonce_never_comes_back() -> None:
    _, source = pair()
    source.seal_to_requester(3, b"one")
    for counter in (3, 2, 0):
        with pytest.raises(InternalError):
            source.seal_to_requester(counter, b"another")


def test_must_08_ephemeral_keys_are_fresh_each_time() -> None:
    channels = [RequesterChannel() for _ in range(3)]
    assert len({c.x25519 for c in channels}) == len({c.mlkem for c in channels}) == 3
    answers = [respond(REQUESTER, SOURCE, QUESTION_ID, channels[0].x25519, channels[0].mlkem) for _ in range(3)]
    assert len({public for _, public, _ in answers}) == len({ciphertext for _, _, ciphertext in answers}) == 3


@pytest.mark.parametrize(
    "names",
    [
        (SOURCE, REQUESTER, QUESTION_ID),
        (REQUESTER, "00000099000000003000", QUESTION_ID),
        (REQUESTER, SOURCE, b"r" * 16),
    ],
)
def test_must_04_a_channel_for_other_parties_or_another_question_does_not_open(names: tuple[str, str, bytes]) -> None:
    own = RequesterChannel()
    source, x25519, ciphertext = respond(*names, own.x25519, own.mlkem)
    requester = own.open(REQUESTER, SOURCE, QUESTION_ID, x25519, ciphertext)
    with pytest.raises(MalformedError):
        requester.open_from_source(0, source.seal_to_requester(0, b"answer"))


@pytest.mark.parametrize("part", ["x25519", "ciphertext"])
def test_a_tampered_half_opens_nothing(part: str) -> None:
    own = RequesterChannel()
    source, x25519, ciphertext = respond(REQUESTER, SOURCE, QUESTION_ID, own.x25519, own.mlkem)
    box = source.seal_to_requester(0, b"answer")
    if part == "x25519":
        x25519 = bytes([x25519[0] ^ 1]) + x25519[1:]
    else:
        ciphertext = bytes([ciphertext[0] ^ 1]) + ciphertext[1:]
    requester = own.open(REQUESTER, SOURCE, QUESTION_ID, x25519, ciphertext)
    with pytest.raises(MalformedError):
        requester.open_from_source(0, box)


@pytest.mark.parametrize(("x25519", "ciphertext"), [(bytes(32), bytes(1088)), (b"x", bytes(1088)), (b"1" * 32, b"")])
def test_a_worthless_half_of_the_source_is_malformed(x25519: bytes, ciphertext: bytes) -> None:
    with pytest.raises(MalformedError):
        RequesterChannel().open(REQUESTER, SOURCE, QUESTION_ID, x25519, ciphertext)


def test_a_worthless_half_of_the_requester_is_malformed() -> None:
    own = RequesterChannel()
    for x25519, mlkem in [(bytes(32), own.mlkem), (b"", own.mlkem), (own.x25519, b""), (own.x25519, b"\xff" * 1184)]:
        with pytest.raises(MalformedError):
            respond(REQUESTER, SOURCE, QUESTION_ID, x25519, mlkem)


def test_must_12_a_channel_shows_no_key() -> None:
    requester, _ = pair()
    assert repr(requester) == f"OpenChannel(transcript={requester.transcript!r})"


@pytest.mark.parametrize("length", [0, 8, 16, 31, 33])
def test_must_13_commitments_take_salts_of_32_octets(length: int) -> None:
    with pytest.raises(InternalError):
        channel.case_commitment(bytes(length), "ZAAK-1", "officer")
    with pytest.raises(InternalError):
        channel.outcome_commitment(bytes(length), bytes(32), 0, "bekend")


def test_must_13_a_commitment_binds_each_part() -> None:
    salt = bytes(32)
    cases = {channel.case_commitment(salt, *parts) for parts in [("ab", "c"), ("a", "bc"), ("ab", "d"), ("é", "c")]}
    outcomes = {
        channel.outcome_commitment(salt, *parts)
        for parts in [(b"q", 0, "bekend"), (b"q", 1, "bekend"), (b"r", 0, "bekend"), (b"q", 0, "geen_antwoord")]
    }
    assert len(cases) == len(outcomes) == 4
    assert channel.case_commitment(b"1" * 32, "ab", "c") not in cases
