"""Sealed records and release messages: bound to one person, question and source; open to one key."""

import pytest
from bekend_proto import records, release
from bekend_proto.errors import InternalError, MalformedError
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

OFFICER = PrivateKey.generate()
SEED, U, C = bytes(32), bytes(64), b"c" * 32
BASE = ("00000099000000002000", "00000099000000001000", "demo/doel", b"q" * 16, 0)
OTHERS = [
    ("00000099000000003000", *BASE[1:]),
    (BASE[0], "00000099000000003000", *BASE[2:]),
    (*BASE[:2], "demo/ander", *BASE[3:]),
    (*BASE[:3], b"r" * 16, BASE[4]),
    (*BASE[:4], 1),
]


def test_a_record_opens_for_the_privacy_officer_and_for_nobody_else() -> None:
    sealed = records.seal_record(SEED, BASE[1], 0, bytes(OFFICER.public_key), C)
    assert len(sealed) == records.RECORD_LENGTH
    assert SealedBox(OFFICER).decrypt(sealed) == C
    with pytest.raises(CryptoError):
        SealedBox(PrivateKey.generate()).decrypt(sealed)


@pytest.mark.parametrize("other", OTHERS)
def test_a_record_cannot_stand_for_another_question_source_or_person(other: tuple[str, str, str, bytes, int]) -> None:
    assert records.record_context(*other) != records.record_context(*BASE)
    values = {records.record_value(U, records.record_context(*parts)) for parts in (BASE, other)}
    assert len(values) == 2


def test_must_22_the_seed_makes_the_same_record_again() -> None:
    arguments = (BASE[1], 0, bytes(OFFICER.public_key), C)
    assert records.seal_record(SEED, *arguments) == records.seal_record(SEED, *arguments)
    assert records.seal_record(b"1" * 32, *arguments) != records.seal_record(SEED, *arguments)
    assert records.seal_record(SEED, BASE[1], 1, *arguments[2:]) != records.seal_record(SEED, *arguments)


def test_lengths_are_held() -> None:
    with pytest.raises(InternalError):
        records.record_value(bytes(32), b"context")
    for seed, key, value in [(b"", bytes(32), C), (SEED, b"", C), (SEED, bytes(32), b"")]:
        with pytest.raises(InternalError):
            records.seal_record(seed, BASE[1], 0, key, value)


def test_every_release_message_has_one_length_and_opens_for_its_person_only() -> None:
    w, context = b"w" * 32, records.record_context(*BASE)
    for payload in (b"", b"x", bytes(4022)):
        sealed = release.seal_release(w, context, payload)
        assert len(sealed) == release.RELEASE_LENGTH
        assert release.open_release(w, context, sealed) == payload
        for other_w, other_context in [(b"v" * 32, context), (w, records.record_context(*OTHERS[4]))]:
            with pytest.raises(MalformedError):
                release.open_release(other_w, other_context, sealed)
    with pytest.raises(InternalError):
        release.seal_release(w, context, bytes(4023))


def test_a_spoiled_release_message_is_malformed() -> None:
    w, context = b"w" * 32, records.record_context(*BASE)
    sealed = release.seal_release(w, context, b"payload")
    for spoiled in (b"", sealed[:-1], sealed + b"\x00", sealed[:-1] + bytes([sealed[-1] ^ 1])):
        with pytest.raises(MalformedError):
            release.open_release(w, context, spoiled)


def test_must_08_each_release_message_has_a_nonce_of_its_own() -> None:
    sealed = [release.seal_release(b"w" * 32, b"context", b"payload") for _ in range(3)]
    assert len({message[32:56] for message in sealed}) == 3
