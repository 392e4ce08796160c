"""The answer receipt: proof, off line and afterwards, of what was asked, and to who holds the openings, of what came.

The requester's node signs a Receipt: purpose, covenant, partners, time, expiry and, per partner and person, a salted
commitment to the outcome. It holds no identifier, so it says what came, never about whom: that stands in the
requester's sealed record alone. A receipt file puts three things together:

    receipt     the signed Receipt
    manifest    the requester's key manifest, a note signed by its ondertekenaar: says which key signs receipts
    openings    per partner and person the outcome and its salt; lines may be left out to show only some outcomes

The chain that `verify` walks is anchor -> manifest -> receipt -> commitments. An opening shows an outcome: keep
the file as carefully as the outcome itself.
"""

import base64
import binascii
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import nacl.signing
from bekend_policy.manifest import KeyManifest, open_manifest
from bekend_proto.channel import LABEL_RECEIPT, open_signed, outcome_commitment, parse_strict, sign_message
from bekend_proto.clock import from_milliseconds
from bekend_proto.errors import KeysError, MalformedError, ProofError
from bekend_proto.v1 import signed_pb2

from bekend_node.ask.outcomes import Outcome, OutcomeKind

KIND: Final = "bekend/1 receipt"
MAXIMUM_SIZE: Final = 1 << 20
PROTOCOL_VERSION: Final = 1
SALT_LENGTH: Final = 32


@dataclass(frozen=True, slots=True)
class Opening:
    """Opens one commitment: this partner gave this outcome about this person (a number, not an identity)."""

    oin: str
    person: int
    outcome: str
    salt: bytes


@dataclass(frozen=True, slots=True)
class ReceiptFile:
    """A signed Receipt with what is needed to check it. `manifest` is a signed note."""

    receipt: signed_pb2.Signed
    manifest: bytes
    openings: tuple[Opening, ...]

    def to_json(self) -> dict[str, object]:
        """The file as JSON values."""
        return {
            "kind": KIND,
            "receipt": base64.b64encode(self.receipt.SerializeToString(deterministic=True)).decode("ascii"),
            "manifest": base64.b64encode(self.manifest).decode("ascii"),
            "openings": [
                {"oin": line.oin, "person": line.person, "outcome": line.outcome, "salt": line.salt.hex()}
                for line in self.openings
            ],
        }

    def to_bytes(self) -> bytes:
        """The file, as UTF-8 text."""
        return (json.dumps(self.to_json(), indent=1) + "\n").encode()


@dataclass(frozen=True, slots=True)
class Verified:
    """What a receipt proves. Moments are aware UTC datetimes; `unopened` counts commitments without an opening."""

    requester: str
    on_behalf_of: str | None
    purpose: str
    covenant_hash: bytes
    time: datetime
    expires: datetime
    persons: int
    asked: tuple[str, ...]
    not_asked: tuple[str, ...]
    openings: tuple[Opening, ...]
    unopened: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What a receipt states beside the outcomes. Times are milliseconds since 1970-01-01 UTC."""

    requester: str
    on_behalf_of: str | None
    purpose: str
    covenant_hash: bytes
    manifest_number: int
    time: int
    expires: int
    persons: int


def issue(
    key: nacl.signing.SigningKey,
    manifest: bytes,
    facts: Facts,
    question_hashes: Mapping[str, bytes],
    outcomes: Iterable[Outcome],
) -> ReceiptFile:
    """Sign a receipt for one lookup, with a fresh salt of 32 bytes per outcome (protocol section 12, item 13).

    `question_hashes` holds the hash of the signed Question per source that was asked; `outcomes` one per source and
    person.
    """
    receipt = signed_pb2.Receipt(
        protocol_version=PROTOCOL_VERSION,
        requester=facts.requester,
        on_behalf_of=facts.on_behalf_of or "",
        purpose=facts.purpose,
        covenant_hash=facts.covenant_hash,
        requester_manifest=facts.manifest_number,
        time=facts.time,
        expires=facts.expires,
        persons=facts.persons,
    )
    ordered = sorted(outcomes, key=lambda one: (one.oin, one.person))
    random = secrets.token_bytes(SALT_LENGTH * len(ordered))
    openings = []
    lines: dict[str, signed_pb2.ReceiptLine] = {}
    for start, outcome in zip(range(0, len(random), SALT_LENGTH), ordered, strict=True):
        salt = random[start : start + SALT_LENGTH]
        opening = Opening(outcome.oin, outcome.person, outcome.outcome.value, salt)
        openings.append(opening)
        line = lines.setdefault(outcome.oin, signed_pb2.ReceiptLine(source=outcome.oin))
        line.question_hash = question_hashes.get(outcome.oin, b"")
        line.commitments.append(_commitment_of(line.question_hash, opening))
    receipt.lines.extend(lines.values())
    signed = sign_message(key, LABEL_RECEIPT, receipt)
    return ReceiptFile(signed, manifest, tuple(openings))


def parse(data: bytes) -> ReceiptFile:
    """The receipt in a file. Raises MalformedError for anything that is not exactly one."""
    if len(data) > MAXIMUM_SIZE:
        raise MalformedError("a receipt file is at most 1 MiB")
    try:
        content = json.loads(data)
        if set(content) != {"kind", "receipt", "manifest", "openings"} or content["kind"] != KIND:
            raise MalformedError(f"not a receipt: the file must hold kind {KIND!r}, receipt, manifest and openings")
        signed = signed_pb2.Signed.FromString(base64.b64decode(content["receipt"], validate=True))
        manifest = base64.b64decode(content["manifest"], validate=True)
        openings = tuple(_opening(line) for line in content["openings"])
    except MalformedError:
        raise
    except (ValueError, TypeError, KeyError, AttributeError, binascii.Error, RecursionError) as error:
        raise MalformedError("not a receipt: the file is damaged or incomplete") from error
    except Exception as error:  # protobuf's DecodeError has no common base with the above
        raise MalformedError("not a receipt: the signed part cannot be read") from error
    return ReceiptFile(signed, manifest, openings)


def verify(file: ReceiptFile, anchors: Mapping[str, str]) -> Verified:
    """Check a receipt off line; `anchors` maps a requester's OIN to the public key (vkey) of its ondertekenaar.

    The key `*` stands for whichever requester.

    Raises KeysError when the chain anchor -> manifest does not hold at the receipt's own time, SignatureError for a
    wrong signature, ProofError when an opening fits no commitment, MalformedError for a payload that is no Receipt.
    """
    # The payload is read before its signature, only to learn whose manifest to open and for which moment.
    claimed = parse_strict(signed_pb2.Receipt, file.receipt.payload)
    time = _moment(claimed.time)
    anchor = anchors.get(claimed.requester, anchors.get("*"))
    if anchor is None:
        raise KeysError("no anchor for the organisation that signed this receipt")
    manifest = open_manifest(file.manifest, anchor, time)
    receipt = open_signed(signed_pb2.Receipt, file.receipt, LABEL_RECEIPT, manifest.signing_keys)
    _check(receipt, manifest)
    unopened = _check_openings(receipt, file.openings)
    return Verified(
        requester=receipt.requester,
        on_behalf_of=receipt.on_behalf_of or None,
        purpose=receipt.purpose,
        covenant_hash=receipt.covenant_hash,
        time=time,
        expires=_moment(receipt.expires),
        persons=receipt.persons,
        asked=tuple(line.source for line in receipt.lines if line.question_hash),
        not_asked=tuple(line.source for line in receipt.lines if not line.question_hash),
        openings=file.openings,
        unopened=unopened,
    )


def _check(receipt: signed_pb2.Receipt, manifest: KeyManifest) -> None:
    if receipt.protocol_version != PROTOCOL_VERSION:
        raise MalformedError("a receipt of another protocol version")
    if manifest.oin != receipt.requester or manifest.number != receipt.requester_manifest:
        raise KeysError("the manifest is not the one that the receipt names")
    sources = [line.source for line in receipt.lines]
    if len(set(sources)) != len(sources) or len(receipt.covenant_hash) != 32:
        raise MalformedError("a receipt names each partner once, and a covenant hash of 32 bytes")
    for line in receipt.lines:
        if len(line.commitments) != receipt.persons or any(len(one) != 32 for one in line.commitments):
            raise MalformedError("a receipt holds one commitment of 32 bytes per partner and person")
        if len(line.question_hash) not in {0, 32}:
            raise MalformedError("the hash of a question has 32 bytes")


def _check_openings(receipt: signed_pb2.Receipt, openings: Sequence[Opening]) -> int:
    """How many commitments stay closed. Raises ProofError for an opening that fits none."""
    closed = {(line.source, person): line for line in receipt.lines for person in range(receipt.persons)}
    for opening in openings:
        line = closed.pop((opening.oin, opening.person), None)
        if line is None or line.commitments[opening.person] != _commitment_of(line.question_hash, opening):
            raise ProofError("an opening does not fit its commitment, or stands there twice")
    return len(closed)


def _commitment_of(question_hash: bytes, opening: Opening) -> bytes:
    return outcome_commitment(opening.salt, question_hash, opening.person, opening.outcome)


def _moment(value: int) -> datetime:
    try:
        return from_milliseconds(value)
    except ValueError as error:
        raise MalformedError("a receipt with an impossible time") from error


def _opening(line: dict[str, object]) -> Opening:
    if set(line) != {"oin", "person", "outcome", "salt"}:
        raise MalformedError("an opening holds oin, person, outcome and salt")
    oin, person, outcome, salt = line["oin"], line["person"], line["outcome"], line["salt"]
    if not (isinstance(oin, str) and type(person) is int and isinstance(outcome, str) and isinstance(salt, str)):
        raise MalformedError("an opening holds texts and a number")
    if not (oin.isascii() and 0 <= person < 1 << 16 and len(salt) == 2 * SALT_LENGTH):
        raise MalformedError("an opening with an impossible value")
    return Opening(oin, person, OutcomeKind(outcome).value, bytes.fromhex(salt))
