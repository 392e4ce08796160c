"""Signed notes: readable, of one form, signed by several."""

import base64

import pytest
from bekend_proto import note
from bekend_proto.errors import MalformedError, SignatureError
from hypothesis import given, settings
from hypothesis import strategies as st
from nacl.signing import SigningKey

OIN = "00000099000000001000"
NAME = note.note_name(OIN, "ondertekenaar")
SEED, OTHER_SEED = bytes(32), b"1" * 32
VKEY = note.vkey_of(NAME, bytes(SigningKey(SEED).verify_key))
OTHER_VKEY = note.vkey_of("bekend/other/beheerder", bytes(SigningKey(OTHER_SEED).verify_key))
TEXT = "kind: bekend/1 key-manifest\n\nvolgnummer: 3\n"
NOTE = note.sign_note(TEXT, NAME, SEED)

texts = st.text(st.characters(exclude_categories=["Cc", "Cs"]) | st.just("\n"), min_size=1, max_size=60).map(
    lambda text: text + "\n"
)

# The key, text and signature of the test suite of Go's golang.org/x/mod/sumdb/note, which C2SP wrote down.
GO_VKEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_SEED = base64.b64decode("AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz")[1:]
GO_TEXT = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
GO_LINE = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)


def test_notes_are_those_of_the_reference_implementation() -> None:
    assert note.sign_note(GO_TEXT, "PeterNeumann", GO_SEED) == f"{GO_TEXT}\n{GO_LINE}".encode()
    assert note.vkey_of("PeterNeumann", bytes(SigningKey(GO_SEED).verify_key)) == GO_VKEY
    assert note.open_note(f"{GO_TEXT}\n{GO_LINE}".encode(), GO_VKEY) == GO_TEXT


@pytest.mark.parametrize(
    "vkey",
    [
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ],
)
def test_keys_that_the_reference_implementation_refuses_are_malformed(vkey: str) -> None:
    with pytest.raises(MalformedError):
        note.parse_vkey(vkey)


@settings(max_examples=60)
@given(texts.filter(lambda text: text != "\n"))
def test_a_note_round_trips(text: str) -> None:
    signed = note.sign_note(text, NAME, SEED)
    parsed = note.parse_note(signed)
    assert parsed.text == text
    assert parsed.to_bytes() == signed
    assert note.verify_note(parsed, VKEY)
    assert note.open_note(signed, VKEY) == text


def test_a_note_reads_as_its_text_and_a_line_per_signature() -> None:
    text, line = NOTE.decode().rsplit("\n\n", 1)
    assert text + "\n" == TEXT
    assert line.startswith(f"— {NAME} ")
    assert f"bekend/{OIN}/ondertekenaar" == NAME


def test_several_sign_one_note_each_on_a_line() -> None:
    both = note.add_signature(NOTE, "bekend/other/beheerder", OTHER_SEED)
    assert both.startswith(NOTE)
    parsed = note.parse_note(both)
    assert [line.name for line in parsed.signatures] == [NAME, "bekend/other/beheerder"]
    assert note.verify_note(parsed, VKEY)
    assert note.verify_note(parsed, OTHER_VKEY)
    assert note.add_signature(both, NAME, SEED).count(b"\xe2\x80\x94") == 2


def test_a_note_that_the_key_did_not_sign_does_not_verify() -> None:
    assert not note.verify_note(note.parse_note(NOTE), OTHER_VKEY)
    with pytest.raises(SignatureError):
        note.open_note(NOTE, OTHER_VKEY)


def test_a_name_without_its_key_does_not_verify() -> None:
    forged = note.sign_note(TEXT, NAME, OTHER_SEED)
    assert not note.verify_note(note.parse_note(forged), VKEY)


@settings(max_examples=80)
@given(st.integers(0, len(NOTE) * 8 - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    spoiled = bytearray(NOTE)
    spoiled[bit // 8] ^= 1 << bit % 8
    with pytest.raises((MalformedError, SignatureError)):
        note.open_note(bytes(spoiled), VKEY)


def test_one_bad_line_of_a_key_spoils_its_good_one() -> None:
    parsed = note.parse_note(NOTE)
    good = parsed.signatures[0]
    bad = note.NoteSignature(good.name, good.key_id, bytes(64))
    assert not note.verify_note(note.Note(parsed.text, (good, bad)), VKEY)


@pytest.mark.parametrize(
    "spoiled",
    [
        b"",
        b"\n",
        TEXT.encode(),
        TEXT.encode() + b"\n",
        NOTE[:-1],
        NOTE + b"\n",
        NOTE + b"trailing",
        NOTE.replace("— ".encode(), b"- "),
        NOTE.replace("— ".encode(), "—  ".encode()),
        NOTE.replace(NAME.encode() + b" ", NAME.encode() + b"\t"),
        NOTE.replace(NAME.encode(), b"with+plus"),
        NOTE.replace(NAME.encode() + b" ", b" "),
        NOTE.replace(b"volgnummer", b"volg\x00nummer"),
        NOTE.replace(b"volgnummer", b"volg\rnummer"),
        NOTE.replace(b"volgnummer", b"volg\xffnummer"),
        NOTE.replace(b"=\n", b"\n"),
        NOTE.replace(b"=\n", b"=\r\n"),
        TEXT.encode() + "\n— name AAAA\n".encode(),
        TEXT.encode() + "\n— name !!!!\n".encode(),
        TEXT.encode() + b"\n" + NOTE.split(b"\n\n")[-1] * (note.MAX_SIGNATURES + 1),
    ],
)
def test_anything_but_the_one_form_is_malformed(spoiled: bytes) -> None:
    with pytest.raises(MalformedError):
        note.parse_note(spoiled)


@pytest.mark.parametrize("text", ["", "no newline", "\n", "tab\there\n", "bell\x07\n", "line\r\n"])
def test_a_text_that_is_not_plain_lines_is_not_signed(text: str) -> None:
    with pytest.raises(MalformedError):
        note.sign_note(text, NAME, SEED)


@pytest.mark.parametrize("name", ["", "with space", "with+plus", "with\nline", "with\u00a0space"])
def test_a_name_that_would_break_a_line_is_refused(name: str) -> None:
    with pytest.raises(MalformedError):
        note.sign_note(TEXT, name, SEED)
    with pytest.raises(MalformedError):
        note.vkey_of(name, bytes(32))


def test_a_vkey_is_name_hash_and_key() -> None:
    key = note.parse_vkey(VKEY)
    assert (key.name, key.public) == (NAME, bytes(SigningKey(SEED).verify_key))
    assert note.vkey_of(key.name, key.public) == VKEY


@pytest.mark.parametrize(
    "vkey",
    [
        "",
        "name",
        "name+00000000",
        VKEY.replace(OIN, "00000099000000002000"),
        VKEY[:-4] + "AAA=",
        VKEY.upper(),
        VKEY + "\n",
        VKEY.replace("+AT", "+BD"),
    ],
)
def test_a_misspelt_vkey_is_malformed(vkey: str) -> None:
    with pytest.raises(MalformedError):
        note.parse_vkey(vkey)
