"""The message by which a requester names a person to a source that answers by hand (section 9): 4,096 octets.

    D = locator || nonce || SecretBox(lp(payload) || zeros, release key)
    locator, release key = BLAKE2b(key W, context)

Only a source that has the person in its own set can compute W, find the locator among its clients' and open
the box. Kept to formats here: who may send, open and release stands with the nodes; how D travels in collecting.py.

The payload is a `Named`: the identifier and what a colleague needs to decide, and the blind of the Question's element;
by a combination also the person in full, of which the identifier is made.
With that blind the source sees that it was asked about this person and no other (`check_named`).
"""

import secrets

from nacl.bindings import crypto_secretbox, crypto_secretbox_open
from nacl.exceptions import CryptoError

from bekend_proto.channel import parse_strict
from bekend_proto.errors import InternalError, MalformedError
from bekend_proto.group import decode_scalar, multiply
from bekend_proto.identifiers import Identifier, InvalidIdentifier, KindClass, class_of, parse_identifier
from bekend_proto.names import PersonData, combine
from bekend_proto.octets import blake, lp
from bekend_proto.oprf import hash_identifier, unblind
from bekend_proto.shape import check_shape
from bekend_proto.v1.signed_pb2 import Named

RELEASE_LENGTH = 4096
"""Octets of D: 32 locator, 24 nonce, 16 authenticator, 4,024 of padded payload."""

_PADDED = 4024

LOCATOR_PERSON = b"bekend1-locator"
"""Personalisation of the locator, for who compares a whole list of W with one."""

PAYLOAD_LIMIT = _PADDED - 2
"""Octets of payload that D holds at most."""


def locator(w: bytes, context: bytes) -> bytes:
    """What the source looks for among its own clients' W; `context` is that of the sealed record."""
    return blake(32, LOCATOR_PERSON, context, w)


def release_key(w: bytes, context: bytes) -> bytes:
    """The SecretBox key of D."""
    return blake(32, b"bekend1-release", context, w)


def seal_release(w: bytes, context: bytes, payload: bytes) -> bytes:
    """D over `payload` (at most 4,022 octets), under a random nonce."""
    return seal_release_with_nonce(w, context, payload, secrets.token_bytes(24))


def seal_release_with_nonce(w: bytes, context: bytes, payload: bytes, nonce: bytes) -> bytes:
    """The deterministic core of `seal_release`; a nonce serves once."""
    if len(payload) > PAYLOAD_LIMIT:
        raise InternalError(f"a release message holds at most {PAYLOAD_LIMIT} octets")
    padded = lp(payload).ljust(_PADDED, b"\x00")
    return locator(w, context) + nonce + crypto_secretbox(padded, nonce, release_key(w, context))


def open_release(w: bytes, context: bytes, sealed: bytes) -> bytes:
    """The payload of D. Raises MalformedError when it is not for this W and context, or not in its one form."""
    if len(sealed) != RELEASE_LENGTH or sealed[:32] != locator(w, context):
        raise MalformedError("this release message is about another person or question")
    try:
        padded = crypto_secretbox_open(sealed[56:], sealed[32:56], release_key(w, context))
    except CryptoError as error:
        raise MalformedError("this release message does not open") from error
    end = 2 + int.from_bytes(padded[:2], "big")
    if end > _PADDED or padded[end:].strip(b"\x00"):
        raise MalformedError("this release message is not padded with zeros")
    return padded[2:end]


class MisnamedError(MalformedError):
    """D is keyed for one person and names another: for the privacy officer, not for the desk."""


def pack_named(named: Named) -> bytes:
    """The payload of D. Raises MalformedError when the texts are too long for it."""
    payload = named.SerializeToString(deterministic=True)
    if len(payload) > PAYLOAD_LIMIT:
        raise MalformedError(f"the texts are too long: a release message holds {PAYLOAD_LIMIT} octets")
    return payload


def check_named(payload: bytes, element: bytes, evaluated: bytes, w: bytes) -> tuple[Identifier, Named]:
    """Who is named, once it is certain that the Question was about that person, and W is that person's.

    By a combination the person that a colleague compares is the one of the combination, and nobody else.

    `element` is the Question's `A = r*x`, `evaluated` the source's own `Z = m*k*V`, `w` the W whose key opened D: with
    the blind r the source computes both again. Raises MalformedError for another form, MisnamedError for somebody else.
    """
    named = parse_strict(Named, payload)
    try:
        identifier = parse_identifier(named.kind, named.value)
    except InvalidIdentifier:
        # Its text may quote the number.
        raise MalformedError("a release message names no valid identifier") from None
    if identifier.value != named.value:
        raise MalformedError("a release message names an identifier in another than its canonical form")
    if named.HasField("consent"):
        check_shape(named.consent)
    blind = decode_scalar(named.blind)
    if multiply(blind, hash_identifier(identifier)) != element or unblind(blind, evaluated) != w:
        raise MisnamedError("a release message names another person than it is keyed for")
    _check_described(identifier, named)
    return identifier, named


def described(named: Named) -> PersonData:
    """The person as the requester's officer typed it: what a colleague compares where a combination was asked by."""
    one = named.person
    return PersonData(
        geslachtsnaam=one.surname,
        voorvoegsel=one.prefix,
        voornamen=one.given_names,
        geboortedatum=one.birth_date,
        postcode=one.postcode,
        huisnummer=one.house_number,
    )


def _check_described(identifier: Identifier, named: Named) -> None:
    if class_of(identifier.kind) is KindClass.CERTAIN:
        if named.HasField("person"):
            raise MalformedError("a release message with a number describes nobody besides")
        return
    try:
        made = combine(identifier.kind, described(named))
    except InvalidIdentifier:
        raise MisnamedError("a release message describes nobody that the combination could be") from None
    if made != identifier:
        raise MisnamedError("a release message describes another person than its combination")
