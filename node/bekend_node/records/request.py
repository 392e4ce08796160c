"""An access request leaves the privacy officer's machine as two files, made off line (protocol section 8).

    request    signed with the officer's key: r * x and a fresh id; whoever carries it learns nothing
    secret     r, the identifier and when: signed, padded and sealed to the officer's own key; it never leaves

Nobody but who holds the officer's key can make a request of this partner, read whom it is about, or swap one secret for
another: the signature inside names what it was made for.
"""

import json
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bekend_policy.officer_key import OfficerKey
from bekend_proto import oprf
from bekend_proto.channel import LABEL_ACCESS, parse_strict, sign_message
from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.errors import KeysError, MalformedError, SignatureError
from bekend_proto.group import random_scalar
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.octets import blake, lp
from bekend_proto.v1 import signed_pb2
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.public import SealedBox

from bekend_node.records.files import StrictFile, file_bytes, from_base64, parse_file, to_base64

KIND_REQUEST: Final = "bekend/1 access-request"
KIND_PRIVATE: Final = "bekend/1 access-secret"
PROTOCOL_VERSION: Final = 1
_LABEL: Final = lp(b"bekend/1 access secret")
_ROOM: Final = 1024
"""The content of a secret is this long, whoever it is about."""


class _RequestFile(StrictFile):
    request: str


class _SecretFile(StrictFile):
    sealed: str


class _Content(StrictFile):
    oin: str
    identifier_kind: str
    identifier: str
    blind: str
    element: str
    request_hash: str
    time: int


@dataclass(frozen=True)
class Asked:
    """An access request that was made: about whom, with which blind. `made` is aware UTC."""

    oin: str
    identifier: Identifier = field(repr=False)
    blind: bytes = field(repr=False)
    element: bytes
    request_hash: bytes
    made: datetime


def make_request(key: OfficerKey, identifier: Identifier, now: datetime) -> tuple[bytes, bytes]:
    """The two files for one person: the request that travels, and the secret that stays."""
    blind = random_scalar()
    element = oprf.blind(oprf.hash_identifier(identifier), blind)
    order = signed_pb2.SubjectAccess(
        protocol_version=PROTOCOL_VERSION,
        request_id=secrets.token_bytes(16),
        requester=key.oin,
        element=element,
        time=milliseconds(now),
    )
    signed = sign_message(key.signing, LABEL_ACCESS, order)
    content = {
        "kind": KIND_PRIVATE,
        "oin": key.oin,
        "identifier_kind": identifier.kind,
        "identifier": identifier.value,
        "blind": blind.hex(),
        "element": element.hex(),
        "request_hash": request_hash(signed).hex(),
        "time": milliseconds(now),
    }
    return (
        file_bytes(KIND_REQUEST, request=to_base64(signed.SerializeToString(deterministic=True))),
        file_bytes(KIND_PRIVATE, sealed=to_base64(_seal(key, content))),
    )


def request_hash(signed: signed_pb2.Signed) -> bytes:
    """BLAKE2b-256 of a signed request: what the logs hold, and what a reply names."""
    return blake(32, b"bekend1-access", signed.payload + signed.signature)


def parse_request(data: bytes) -> signed_pb2.Signed:
    """The signed request in a file. Its form is checked, its signature is not. Raises MalformedError."""
    signed = parse_strict(signed_pb2.Signed, from_base64(parse_file(data, _RequestFile, KIND_REQUEST).request))
    parse_strict(signed_pb2.SubjectAccess, signed.payload)
    return signed


def open_secret(data: bytes, key: OfficerKey) -> Asked:
    """What a secret holds.

    Raises MalformedError, KeysError (sealed to another officer), SignatureError (not made with this officer's key).
    """
    sealed = from_base64(parse_file(data, _SecretFile, KIND_PRIVATE).sealed)
    try:
        inner = SealedBox(key.opening).decrypt(sealed)
    except (CryptoError, ValueError):
        raise KeysError("deze sleutel opent het geheim bij dit verzoek niet: gebruik de sleutel van toen") from None
    signature, payload = inner[:64], inner[64:]
    try:
        key.signing.verify_key.verify(_LABEL + payload, signature)
    except (BadSignatureError, ValueError):
        raise SignatureError("het geheim is niet met uw sleutel gemaakt: iemand heeft het vervangen") from None
    found = parse_file(payload, _Content, KIND_PRIVATE)
    if found.oin != key.oin:
        raise KeysError("het geheim is van een andere organisatie dan uw sleutel")
    return Asked(
        oin=found.oin,
        identifier=parse_identifier(found.identifier_kind, found.identifier),
        blind=_octets(found.blind),
        element=_octets(found.element),
        request_hash=_octets(found.request_hash),
        made=from_milliseconds(found.time),
    )


def _seal(key: OfficerKey, content: dict[str, Any]) -> bytes:
    payload = json.dumps(content, separators=(",", ":")).encode().ljust(_ROOM)
    signature = key.signing.sign(_LABEL + payload).signature
    return SealedBox(key.opening.public_key).encrypt(signature + payload)


def _octets(text: str) -> bytes:
    try:
        value = bytes.fromhex(text)
    except ValueError:
        value = b""
    if len(value) != 32:
        raise MalformedError("het geheim is beschadigd: maak een nieuw verzoek")
    return value
