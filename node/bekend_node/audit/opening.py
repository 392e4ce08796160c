"""The opening: the file in which a privacy officer shows the auditor what is drawn (protocol section 8).

It holds identifiers, so it exists sealed alone: to the key that the covenant names for the auditor, or, where it names
none, to a fresh key under a passphrase that the two agree upon by another way. Inside, the officer's signature stands
in front; outside stand the organisation, the days, and whom it is for.
"""

import base64
import json
from dataclasses import asdict, dataclass, field
from datetime import date
from typing import Any, Final

from bekend_policy.officer_key import OfficerKey
from bekend_policy.passphrase import Wrapped, wrap
from bekend_policy.strict_yaml import YamlFaults, load_yaml
from bekend_proto.errors import KeysError, MalformedError, SignatureError
from bekend_proto.octets import lp
from nacl.exceptions import BadSignatureError, CryptoError
from nacl.public import PrivateKey, PublicKey, SealedBox
from nacl.signing import VerifyKey

from bekend_node.records.files import StrictFile

KIND: Final = "bekend/1 audit-opening"
MAXIMUM: Final = 1 << 28
"""Octets of an opening: a week of 2,500 Questions takes a fiftieth of it."""
_LABEL: Final = lp(b"bekend/1 audit opening")


@dataclass(frozen=True)
class Opening:
    """What is shown. `draw`: by which checkpoints. `lookups`: own records, of each the Questions that are drawn.

    Manifests are signed notes in base64: the organisation's own, the broker's, and those of sources.
    """

    oin: str
    first: date
    last: date
    draw: bytes
    own_manifest: bytes = field(repr=False)
    broker_manifest: bytes = field(repr=False)
    manifests: tuple[bytes, ...] = field(repr=False)
    lookups: tuple[dict[str, Any], ...] = field(repr=False)


@dataclass(frozen=True)
class Sealed:
    """An opening that is still closed. `to`: the X25519 key that it is sealed to."""

    oin: str
    to: bytes
    box: bytes = field(repr=False)
    wrapped: Wrapped | None = field(repr=False)


class _Person(StrictFile):
    kind: str
    value: str


class _Question(StrictFile):
    source: str
    question_id: str
    question_hash: str
    case_salt: str


class _Lookup(StrictFile):
    """The form of an own record as it is shown; what stands in it is judged later."""

    kind: str
    begin_id: str
    time: str
    officer: str
    role: str
    second: str | None = None
    case: str | None
    on_behalf_of: str | None
    purpose: str
    covenant_hash: str
    identifiers: list[_Person]
    seed: str
    begin: str
    begun: str
    questions: list[_Question]


LOOKUP_FIELDS: Final = tuple(_Lookup.model_fields)
QUESTION_FIELDS: Final = tuple(_Question.model_fields)
"""Of an own record, what the auditor needs to make it again. Names and reasons stay with the officer."""


def seal_opening(opening: Opening, key: OfficerKey, *, auditor: str, to: bytes | None, passphrase: str = "") -> bytes:
    """The file. `to`: the auditor's X25519 key; None: a fresh key, under the passphrase."""
    payload = json.dumps(_content(opening), separators=(",", ":")).encode()
    signature = key.signing.sign(_LABEL + payload).signature
    wrapped: dict[str, Any] = {}
    if to is None:
        fresh = PrivateKey.generate()
        to = bytes(fresh.public_key)
        wrapped = {"wrapped": wrap(bytes(fresh), passphrase)}
    head = {
        "kind": KIND,
        "oin": opening.oin,
        "van": opening.first.isoformat(),
        "tot_en_met": opening.last.isoformat(),
        "voor": auditor,
        "to": to.hex(),
        **wrapped,
        "sealed": base64.b64encode(SealedBox(PublicKey(to)).encrypt(signature + payload)).decode(),
    }
    return (json.dumps(head, ensure_ascii=False, indent=1) + "\n").encode()


def read_opening(data: bytes) -> Sealed:
    """The closed opening in a file. Raises MalformedError."""
    try:
        head = json.loads(data) if len(data) <= MAXIMUM else None
        if not isinstance(head, dict) or head.get("kind") != KIND:
            raise ValueError("another kind")
        box = base64.b64decode(head["sealed"], validate=True)
        wrapped = load_yaml(head["wrapped"], Wrapped, name="opening") if "wrapped" in head else None
        return Sealed(str(head["oin"]), bytes.fromhex(head["to"]), box, wrapped)
    except (ValueError, KeyError, TypeError, RecursionError, YamlFaults):
        raise MalformedError("dit bestand is geen opening van een steekproef, of het is beschadigd") from None


def unwrap(sealed: Sealed, passphrase: str) -> PrivateKey:
    """The key of an opening under a passphrase. Raises KeysError."""
    secret = sealed.wrapped.unwrap(passphrase) if sealed.wrapped else None
    if secret is None or len(secret) != 32:
        raise KeysError("het wachtwoord past niet op deze opening: vraag het na bij de privacyfunctionaris")
    return PrivateKey(secret)


def open_sealed(sealed: Sealed, key: PrivateKey) -> tuple[bytes, bytes, Opening]:
    """Signature, signed octets and content; verify with `check_signature` before any of it is believed.

    Raises KeysError for another key, MalformedError.
    """
    try:
        inner = SealedBox(key).decrypt(sealed.box)
    except (CryptoError, ValueError):
        raise KeysError("deze sleutel opent de opening niet: zij is voor een ander verzegeld, of beschadigd") from None
    signature, payload = inner[:64], inner[64:]
    try:
        return signature, payload, _parse(json.loads(payload))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise MalformedError("de opening is niet goed opgebouwd: vraag een nieuwe") from None


def check_signature(signature: bytes, payload: bytes, officer: bytes | None) -> None:
    """Whether the privacy officer's Ed25519 key signed it. Raises SignatureError."""
    try:
        VerifyKey(officer or b"").verify(_LABEL + payload, signature)
    except (BadSignatureError, ValueError, TypeError):
        raise SignatureError("de opening is niet getekend door de privacyfunctionaris van deze organisatie") from None


def _content(opening: Opening) -> dict[str, Any]:
    texts = {name: _text(value) for name, value in asdict(opening).items() if name != "lookups"}
    return {"kind": KIND, **texts, "lookups": list(opening.lookups)}


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, tuple):
        return [_text(one) for one in value]
    return value.isoformat() if isinstance(value, date) else value


def _parse(content: dict[str, Any]) -> Opening:
    if content.pop("kind") != KIND:
        raise ValueError("another kind")
    return Opening(
        oin=str(content["oin"]),
        first=date.fromisoformat(content["first"]),
        last=date.fromisoformat(content["last"]),
        draw=_octets(content["draw"]),
        own_manifest=_octets(content["own_manifest"]),
        broker_manifest=_octets(content["broker_manifest"]),
        manifests=tuple(map(_octets, content["manifests"])),
        lookups=tuple(_Lookup.model_validate(one).model_dump() for one in content["lookups"]),
    )


def _octets(text: str) -> bytes:
    return base64.b64decode(text, validate=True)
