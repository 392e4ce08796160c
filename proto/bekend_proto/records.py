"""Sealed records: what ties an answered question to a person, for the source's privacy officer alone (section 8).

    U = Finalize(identifier, u * x)     from the broker's month key; no matching key is involved
    c = BLAKE2b(key U, context)         context: both OINs, purpose, question id, index of the person
    E = sealed box of c                 to the privacy officer of the source, 80 octets

The ephemeral key of the seal derives from the seed of the lookup, so that an audit can make E again, octet
for octet; to everybody else it is an ordinary `crypto_box_seal`, opened with SealedBox.
"""

import hashlib
from dataclasses import dataclass, field

from nacl.bindings import crypto_box_afternm, crypto_box_beforenm, crypto_scalarmult_base

from bekend_proto.errors import InternalError
from bekend_proto.octets import blake, i2osp, lp

RECORD_LENGTH = 80
"""Octets of a sealed record: ephemeral public key 32, authenticator 16, c 32."""

VALUE_LENGTH = 64
"""Octets of U."""


def record_context(requester: str, source: str, purpose: str, question_id: bytes, person: int) -> bytes:
    """What one record is about, less the person: no record can be moved to another question, source or index."""
    names = b"".join(lp(name.encode("ascii")) for name in ("bekend/1", requester, source, purpose))
    return names + lp(question_id) + i2osp(person, 2)


def record_value(u_value: bytes, context: bytes) -> bytes:
    """c: 32 octets that only who can compute U for the person can make or recognise."""
    if len(u_value) != VALUE_LENGTH:
        raise InternalError("U has 64 octets")
    return blake(32, b"bekend1-record", context, u_value)


@dataclass(frozen=True, slots=True)
class Seal:
    """What one record is sealed with, made before its content is known: nearly all that sealing costs."""

    public: bytes
    _nonce: bytes = field(repr=False)
    _key: bytes = field(repr=False)

    def close(self, c: bytes) -> bytes:
        """E, 80 octets, of a `record_value`; once, since the nonce serves one content."""
        return self.public + crypto_box_afternm(c, self._nonce, self._key)


def make_seal(seed: bytes, source: str, person: int, officer_public: bytes) -> Seal:
    """The seal of one record to the X25519 key of the source's privacy officer.

    `seed` is that of the lookup. The nonce is that of `crypto_box_seal`: BLAKE2b-192 over both public keys.
    """
    if len(seed) != 32 or len(officer_public) != 32:
        raise InternalError("a record is sealed from a seed and a public key of 32 octets each")
    secret = blake(32, b"bekend1-seal", lp(source.encode("ascii")) + i2osp(person, 2), seed)
    public = crypto_scalarmult_base(secret)
    nonce = hashlib.blake2b(public + officer_public, digest_size=24).digest()
    return Seal(public, nonce, crypto_box_beforenm(officer_public, secret))


def seal_record(seed: bytes, source: str, person: int, officer_public: bytes, c: bytes) -> bytes:
    """E, 80 octets: `c` sealed to the X25519 key of the source's privacy officer."""
    if len(c) != 32:
        raise InternalError("a record is sealed over a value of 32 octets")
    return make_seal(seed, source, person, officer_public).close(c)


def seal_hash(sealed: bytes) -> bytes:
    """BLAKE2b-256 of E as the Question names it."""
    return blake(32, b"bekend1-sealhash", sealed)
