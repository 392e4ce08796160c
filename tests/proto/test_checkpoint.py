"""Checkpoints and cosignatures are those of C2SP, in one form, and only their owner's and witnesses' keys count."""

import base64

import pytest
from bekend_node.witness import NOTE_LIMIT
from bekend_proto import checkpoint, note
from bekend_proto.checkpoint import NO_CHECKPOINT, Checkpoint, Seen
from bekend_proto.errors import MalformedError, SignatureError
from bekend_proto.shape import MAX_SOURCES
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey, VerifyKey

OIN, WITNESS = "00000099000000001000", "00000099000000002000"
ORIGIN = checkpoint.log_origin(OIN, "main")
KEY, OTHER = SigningKey(bytes(32)), SigningKey(b"1" * 32)
PUBLIC = bytes(KEY.verify_key)
HEAD = Checkpoint(ORIGIN, 20852163, bytes(range(32)))
NOTE = HEAD.sign(KEY)


def test_a_checkpoint_is_origin_size_and_root() -> None:
    root = base64.b64encode(bytes(range(32))).decode()
    assert HEAD.text() == f"bekend/{OIN}/log/main\n20852163\n{root}\n"
    assert checkpoint.open_checkpoint(NOTE, [bytes(OTHER.verify_key), PUBLIC]) == HEAD
    assert note.open_note(NOTE, note.vkey_of(ORIGIN, PUBLIC)) == HEAD.text()
    with pytest.raises(SignatureError):
        checkpoint.open_checkpoint(NOTE, [bytes(OTHER.verify_key)])


@pytest.mark.parametrize(
    "text",
    [
        "",
        f"{ORIGIN}\n1\n",
        f"{ORIGIN}\n01\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n-1\n{base64.b64encode(bytes(32)).decode()}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(bytes(31)).decode()}\n",
        f"{ORIGIN}\n1\n{base64.b64encode(bytes(32)).decode()}\nextension\n",
        f"{ORIGIN}\n1\n{base64.b64encode(bytes(32)).decode()} \n",
        f"example.org/log\n1\n{base64.b64encode(bytes(32)).decode()}\n",
    ],
)
def test_anything_else_is_malformed(text: str) -> None:
    with pytest.raises(MalformedError):
        Checkpoint.parse(text)


def test_a_cosignature_is_that_of_c2sp() -> None:
    """C2SP tlog-cosignature: key type 0x04, time in eight octets, then Ed25519 over `cosignature/v1`, time and text."""
    signed = checkpoint.cosign(NOTE, WITNESS, OTHER, 1_679_315_147)
    line = note.parse_note(signed).signatures[1]
    assert line.name == f"bekend/{WITNESS}/witness"
    assert line.key_id == note.key_id(line.name, bytes(OTHER.verify_key), b"\x04")
    assert line.signature[:8] == (1_679_315_147).to_bytes(8, "big")
    message = f"cosignature/v1\ntime 1679315147\n{HEAD.text()}".encode()
    VerifyKey(bytes(OTHER.verify_key)).verify(message, line.signature[8:])
    # The log's own signature stays what it was.
    assert checkpoint.open_checkpoint(signed, [PUBLIC]) == HEAD


def test_only_the_witness_cosigns_and_only_this_checkpoint() -> None:
    keys = [bytes(OTHER.verify_key)]
    signed = note.parse_note(checkpoint.cosign(NOTE, WITNESS, OTHER, 77))
    assert checkpoint.cosigned_at(signed, WITNESS, keys) == 77
    assert checkpoint.cosigned_at(signed, OIN, keys) is None
    assert checkpoint.cosigned_at(signed, WITNESS, [PUBLIC]) is None
    assert checkpoint.cosigned_at(note.parse_note(NOTE), WITNESS, keys) is None
    moved = note.Note(Checkpoint(ORIGIN, 1, bytes(32)).text(), signed.signatures)
    assert checkpoint.cosigned_at(moved, WITNESS, keys) is None
    later = checkpoint.cosign(checkpoint.cosign(NOTE, WITNESS, OTHER, 77), WITNESS, OTHER, 78)
    assert len(note.parse_note(later).signatures) == 2
    assert checkpoint.cosigned_at(note.parse_note(later), WITNESS, keys) == 78
    assert checkpoint.merge(NOTE, signed.signatures[1:]) == signed.to_bytes()


def test_every_partner_of_the_country_cosigns_one_checkpoint() -> None:
    """Each sends its own line below the owner's; the broker shows all of them below one text."""
    witnesses = [f"00000099{number:09d}000" for number in range(1, MAX_SOURCES + 1)]
    signed = NOTE
    for oin in witnesses:
        sent = note.parse_note(checkpoint.cosign(checkpoint.bare(signed), oin, OTHER, 77))
        assert [line.name for line in sent.signatures] == [ORIGIN, f"bekend/{oin}/witness"]
        signed = checkpoint.merge(signed, sent.signatures[1:])
    assert checkpoint.open_checkpoint(signed, [PUBLIC]) == HEAD
    shown = note.parse_note(signed)
    assert all(checkpoint.cosigned_at(shown, oin, [bytes(OTHER.verify_key)]) == 77 for oin in witnesses[::50])
    # While all keys are renewed, each is there twice.
    assert 2 * MAX_SOURCES < note.MAX_SIGNATURES
    assert 2 * len(signed) < NOTE_LIMIT


def test_a_witness_key_is_no_signing_key() -> None:
    vkey = checkpoint.witness_vkey(WITNESS, PUBLIC)
    assert checkpoint.parse_witness(vkey) == (WITNESS, PUBLIC)
    with pytest.raises(MalformedError):
        note.parse_vkey(vkey)
    with pytest.raises(MalformedError):
        checkpoint.parse_witness(note.vkey_of(f"bekend/{WITNESS}/witness", PUBLIC))


@settings(max_examples=60)
@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_the_72_octets_round_trip(size: int, root: bytes) -> None:
    head = Checkpoint(ORIGIN, size, root)
    octets = head.to_bytes()
    assert len(octets) == 72
    assert Seen.parse(octets) == Seen(checkpoint.log_id(ORIGIN), size, root)
    assert Checkpoint.parse(head.text()) == head


def test_zeros_stand_for_nothing_seen() -> None:
    assert Seen.parse(NO_CHECKPOINT) is None
    with pytest.raises(MalformedError):
        Seen.parse(bytes(71))
