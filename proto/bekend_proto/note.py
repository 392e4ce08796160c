"""Signed notes as C2SP writes them (https://c2sp.org/signed-note): a readable text with Ed25519 signatures below.

    <text, each line ended by a newline>
    <empty line>
    — <name> <base64(key id, 4 octets || signature, 64 octets)>

The key id is SHA-256(name || 0x0A || 0x01 || public key)[:4]; a verification key (vkey) is written
`name+<key id, 8 hex digits>+<base64(0x01 || public key)>`. The signature covers the text, its last newline
included. Covenants, key manifests, standing decisions and checkpoints are such notes. Keys of witnesses have another
type than 0x01 (checkpoint.py).
"""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from bekend_proto.errors import MalformedError, SignatureError

ED25519 = b"\x01"
"""Signature type of C2SP signed notes for Ed25519 over the text."""

MAX_SIGNATURES = 1000
"""Signature lines that a note may have: on a checkpoint one of each of 400 partners, two while its key is renewed."""

_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f]")
_NAME = re.compile(r"[^\s+]+")
_VKEY = re.compile(r"(?P<name>[^+]+)\+(?P<id>[0-9a-f]{8})\+(?P<key>[A-Za-z0-9+/]+={0,2})")


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who says to have signed, with which key, and what was signed with."""

    name: str
    key_id: bytes
    signature: bytes


@dataclass(frozen=True, slots=True)
class Note:
    """A parsed note. Nothing in it is verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    def to_bytes(self) -> bytes:
        """The note as it is stored and sent."""
        return f"{self.text}\n{''.join(map(_line, self.signatures))}".encode()


@dataclass(frozen=True, slots=True)
class NoteKey:
    """A parsed vkey."""

    name: str
    key_id: bytes
    public: bytes


def note_name(oin: str, role: str) -> str:
    """The name under which a partner's off-line key signs: `bekend/<oin>/ondertekenaar`, or `beheerder`."""
    return f"bekend/{oin}/{role}"


def vkey_of(name: str, public: bytes, kind: bytes = ED25519) -> str:
    """The vkey of an Ed25519 public key. Raises MalformedError for a bad name or length."""
    _check_name(name)
    if len(public) != 32:
        raise MalformedError("an Ed25519 public key has 32 octets")
    return f"{name}+{key_id(name, public, kind).hex()}+{_base64(kind + public)}"


def parse_vkey(vkey: str, kind: bytes = ED25519) -> NoteKey:
    """The key in a vkey. Raises MalformedError unless it is of this kind and its key id fits name and key."""
    match = _VKEY.fullmatch(vkey)
    if match is None:
        raise MalformedError("a verification key is written name+hash+key")
    name, raw = match["name"], _from_base64(match["key"])
    _check_name(name)
    if len(raw) != 33 or raw[:1] != kind:
        raise MalformedError("the verification key is no Ed25519 key of the kind that is wanted here")
    if bytes.fromhex(match["id"]) != key_id(name, raw[1:], kind):
        raise MalformedError("the hash in the verification key is not that of its name and key")
    return NoteKey(name, bytes.fromhex(match["id"]), raw[1:])


def sign_note(text: str, name: str, seed: bytes) -> bytes:
    """A note over `text` with one signature by the Ed25519 key of `seed` (32 octets).

    Raises MalformedError if the text does not end in a newline, is empty, or holds control characters.
    """
    _check_text(text)
    return Note(text, (_sign(text, name, seed),)).to_bytes()


def add_signature(note: bytes, name: str, seed: bytes) -> bytes:
    """The note with one signature more, below the present ones; one by the same key is replaced."""
    parsed = parse_note(note)
    own = _sign(parsed.text, name, seed)
    others = [line for line in parsed.signatures if (line.name, line.key_id) != (own.name, own.key_id)]
    if len(others) >= MAX_SIGNATURES:
        raise MalformedError(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(parsed.text, (*others, own)).to_bytes()


def parse_note(note: bytes) -> Note:
    """Text and signature lines. Raises MalformedError for anything but the one form above."""
    try:
        whole = note.decode("utf-8")
    except UnicodeDecodeError as error:
        raise MalformedError("the note is not UTF-8") from error
    # The text may hold empty lines: the signatures stand below the last one.
    text, separator, lines = whole.rpartition("\n\n")
    if not separator or not lines.endswith("\n"):
        raise MalformedError("a note is a text, an empty line, and signature lines")
    text += "\n"
    _check_text(text)
    signatures = tuple(map(_parse_line, lines[:-1].split("\n")))
    if len(signatures) > MAX_SIGNATURES:
        raise MalformedError(f"a note has at most {MAX_SIGNATURES} signatures")
    return Note(text, signatures)


def verify_note(note: Note, vkey: str) -> bool:
    """Whether the key signed the text. False if it did not, or if any line that names it does not verify.

    Raises MalformedError for a malformed vkey.
    """
    key = parse_vkey(vkey)
    own = [line for line in note.signatures if (line.name, line.key_id) == (key.name, key.key_id)]
    return bool(own) and all(_verifies(key.public, note.text, line.signature) for line in own)


def key_id(name: str, public: bytes, kind: bytes = ED25519) -> bytes:
    """What a signature line carries of its key: four octets."""
    return hashlib.sha256(name.encode() + b"\n" + kind + public).digest()[:4]


def open_note(note: bytes, vkey: str) -> str:
    """The text of a note that this key signed. Raises MalformedError or SignatureError."""
    parsed = parse_note(note)
    if not verify_note(parsed, vkey):
        raise SignatureError(f"the note has no valid signature of {parse_vkey(vkey).name}")
    return parsed.text


def _sign(text: str, name: str, seed: bytes) -> NoteSignature:
    _check_name(name)
    key = SigningKey(seed)
    return NoteSignature(name, key_id(name, bytes(key.verify_key)), key.sign(text.encode()).signature)


def _verifies(public: bytes, text: str, signature: bytes) -> bool:
    try:
        VerifyKey(public).verify(text.encode(), signature)
    except (BadSignatureError, ValueError):
        return False
    return True


def _line(signature: NoteSignature) -> str:
    return f"— {signature.name} {_base64(signature.key_id + signature.signature)}\n"


def _parse_line(line: str) -> NoteSignature:
    # Not split(): it would take any white space, and each line has one form.
    fields = line.split(" ")
    if len(fields) != 3 or fields[0] != "—":
        raise MalformedError("a signature line is: dash, space, name, space, base64")
    _check_name(fields[1])
    raw = _from_base64(fields[2])
    if len(raw) <= 4:
        raise MalformedError("a signature line holds a key id and a signature")
    return NoteSignature(fields[1], raw[:4], raw[4:])


def _check_name(name: str) -> None:
    if _NAME.fullmatch(name) is None or not name.isprintable():
        raise MalformedError("the name of a key is not empty and holds no white space and no plus sign")


def _check_text(text: str) -> None:
    if not text.endswith("\n") or text == "\n":
        raise MalformedError("the text of a note is not empty and ends in a newline")
    if _CONTROL.search(text):
        raise MalformedError("the text of a note holds no control characters but newlines")


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _from_base64(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedError("not base64") from error
    if _base64(data) != text:
        raise MalformedError("not in the one form of base64")
    return data
