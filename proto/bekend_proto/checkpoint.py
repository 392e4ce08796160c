"""The signed head of a log: C2SP tlog-checkpoint (https://c2sp.org/tlog-checkpoint), and what witnesses add to it.

    bekend/00000099000000000001/log/main     origin: whose log, and which
    20852163                                 entries
    CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2...      root, base64

    — bekend/00000099000000000001/log/main ...        the log's own signature: Ed25519 over the text
    — bekend/00000099000000000002/witness ...         a cosignature (C2SP tlog-cosignature): time and Ed25519

A witness signs `cosignature/v1`, its time and the text, once it has verified that the log goes on from what it saw
before. In messages a checkpoint is 72 octets: log id, size, root; zeros while none was seen.
"""

import base64
import re
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from nacl.exceptions import BadSignatureError
from nacl.signing import SigningKey, VerifyKey

from bekend_proto.errors import MalformedError, SignatureError
from bekend_proto.note import Note, NoteSignature, key_id, parse_note, parse_vkey, sign_note, verify_note, vkey_of
from bekend_proto.octets import i2osp

COSIGNATURE: Final = b"\x04"
"""Key type of C2SP signed notes for Ed25519 cosignatures of checkpoints."""

CHECKPOINT_LENGTH: Final = 72
NO_CHECKPOINT: Final = bytes(CHECKPOINT_LENGTH)
"""What stands in a Question or Answer while no checkpoint was seen."""

NODE_LOG: Final = "node"
"""Name of a node's log; one that a restore or a standby begins is named `node-` and more. The broker's manifest names
those of its replicas, which begin otherwise.
"""

_SIZE: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN: Final = re.compile(r"bekend/[0-9]{8}[0-9A-Z]{12}/log/[a-z][a-z0-9_-]{0,40}")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How many entries a log has, and the root over them."""

    origin: str
    size: int
    root: bytes

    @property
    def log_id(self) -> bytes:
        """SHA-256 of the origin, 32 octets."""
        return log_id(self.origin)

    def text(self) -> str:
        """What is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def to_bytes(self) -> bytes:
        """The 72 octets of a Question or Answer."""
        return self.log_id + i2osp(self.size, 8) + self.root

    def sign(self, key: SigningKey) -> bytes:
        """The signed note of the log's owner."""
        return sign_note(self.text(), self.origin, bytes(key))

    @classmethod
    def parse(cls, text: str) -> Self:
        """A checkpoint's text. Raises MalformedError for anything but its one form."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not _ORIGIN.fullmatch(lines[0]) or not _SIZE.fullmatch(lines[1]):
            raise MalformedError("a checkpoint is an origin, a size and a root, a line each")
        try:
            root = base64.b64decode(lines[2], validate=True)
        except ValueError as fault:
            raise MalformedError("the root of a checkpoint is base64") from fault
        found = cls(lines[0], int(lines[1]), root)
        if len(root) != 32 or found.text() != text:
            raise MalformedError("the root of a checkpoint has 32 octets, in the one form of base64")
        return found


@dataclass(frozen=True, slots=True)
class Seen:
    """A checkpoint as a message carries it."""

    log_id: bytes
    size: int
    root: bytes

    @classmethod
    def parse(cls, octets: bytes) -> "Seen | None":
        """None when no checkpoint was seen. Raises MalformedError for another length."""
        if len(octets) != CHECKPOINT_LENGTH:
            raise MalformedError(f"a checkpoint in a message has {CHECKPOINT_LENGTH} octets")
        if octets == NO_CHECKPOINT:
            return None
        return cls(octets[:32], int.from_bytes(octets[32:40], "big"), octets[40:])


def log_origin(oin: str, name: str) -> str:
    """The first line of a log's checkpoints, and the name of the key that signs them."""
    return f"bekend/{oin}/log/{name}"


def owner_of(origin: str) -> str:
    """The OIN in an origin. Raises MalformedError."""
    if not _ORIGIN.fullmatch(origin):
        raise MalformedError("the origin of a log is bekend/<oin>/log/<name>")
    return origin.split("/")[1]


def is_node_log(origin: str) -> bool:
    """Whether a log of this origin is a node's; else it is of a replica of the broker."""
    name = origin.rpartition("/")[2]
    return name == NODE_LOG or name.startswith(f"{NODE_LOG}-")


def log_id(origin: str) -> bytes:
    """SHA-256 of a log's origin: its name in messages."""
    return sha256(origin.encode()).digest()


def witness_name(oin: str) -> str:
    """The name under which a partner cosigns checkpoints."""
    return f"bekend/{oin}/witness"


def open_checkpoint(note: bytes, keys: Iterable[bytes]) -> Checkpoint:
    """The checkpoint in a note that one of its owner's keys (Ed25519, from a manifest) signed.

    Raises MalformedError or SignatureError.
    """
    parsed = parse_note(note)
    found = Checkpoint.parse(parsed.text)
    if not any(verify_note(parsed, vkey_of(found.origin, key)) for key in keys):
        raise SignatureError(f"no key of its owner signed this checkpoint of {found.origin}")
    return found


def bare(note: bytes) -> bytes:
    """The checkpoint with the signatures of its owner alone, without those of witnesses. Raises MalformedError."""
    parsed = parse_note(note)
    origin = Checkpoint.parse(parsed.text).origin
    return Note(parsed.text, tuple(line for line in parsed.signatures if line.name == origin)).to_bytes()


def cosign(note: bytes, oin: str, key: SigningKey, seconds: int) -> bytes:
    """The note with this partner's cosignature in the place of an earlier one; `seconds` since 1970.

    Raises MalformedError for a note that is no checkpoint.
    """
    parsed = parse_note(note)
    Checkpoint.parse(parsed.text)
    name = witness_name(oin)
    signature = i2osp(seconds, 8) + key.sign(_cosigned(parsed.text, seconds)).signature
    own = NoteSignature(name, key_id(name, bytes(key.verify_key), COSIGNATURE), signature)
    others = tuple(line for line in parsed.signatures if (line.name, line.key_id) != (own.name, own.key_id))
    return Note(parsed.text, (*others, own)).to_bytes()


def cosigned_at(note: Note, oin: str, keys: Iterable[bytes]) -> int | None:
    """When this partner cosigned, in seconds since 1970; None when it did not, under none of these keys."""
    found = cosignature_of(note, oin, keys)
    return None if found is None else int.from_bytes(found[:8], "big")


def cosignature_of(note: Note, oin: str, keys: Iterable[bytes]) -> bytes | None:
    """This partner's cosignature, time and signature, 72 octets; None when it has none that holds under these keys."""
    found = cosignature_line(note, oin, keys)
    return None if found is None else found.signature


def cosignature_line(note: Note, oin: str, keys: Iterable[bytes]) -> NoteSignature | None:
    """The line of this partner's cosignature; None when none in its name holds under these keys."""
    name = witness_name(oin)
    ids = {key_id(name, key, COSIGNATURE): key for key in keys}
    for line in note.signatures:
        key = ids.get(line.key_id) if line.name == name else None
        if key is None or len(line.signature) != 72:
            continue
        seconds = int.from_bytes(line.signature[:8], "big")
        try:
            VerifyKey(key).verify(_cosigned(note.text, seconds), line.signature[8:])
        except (BadSignatureError, ValueError):
            continue
        return line
    return None


def merge(note: bytes, lines: Iterable[NoteSignature]) -> bytes:
    """The note with these signature lines below its own."""
    parsed = parse_note(note)
    own = {(line.name, line.key_id) for line in parsed.signatures}
    more = tuple(line for line in lines if (line.name, line.key_id) not in own)
    return Note(parsed.text, (*parsed.signatures, *more)).to_bytes()


def witness_vkey(oin: str, public: bytes) -> str:
    """The vkey of a partner's cosignatures."""
    return vkey_of(witness_name(oin), public, COSIGNATURE)


def parse_witness(vkey: str) -> tuple[str, bytes]:
    """OIN and public key in a witness's vkey. Raises MalformedError."""
    key = parse_vkey(vkey, COSIGNATURE)
    parts = key.name.split("/")
    if len(parts) != 3 or key.name != witness_name(parts[1]):
        raise MalformedError("the key of a witness is named bekend/<oin>/witness")
    return parts[1], key.public


def _cosigned(text: str, seconds: int) -> bytes:
    return f"cosignature/v1\ntime {seconds}\n{text}".encode()
