"""The oblivious pseudorandom function of RFC 9497, `ristretto255-SHA512`, modes OPRF (0x00) and VOPRF (0x01).

    client(input)                                      server(secret, public = secret * G)
    -------------                                      -----------------------------------
    x       = hash_to_group(input, context)
    r       = random_scalar()
    blinded = blind(x, r)
                              ---- blinded ---->
                                                       z     = evaluate(secret, blinded)
                                                       proof = dleq.prove(secret, public, [blinded], [z])   (0x01)
                              <--- z, proof ----
    dleq.verify(public, [blinded], [z], proof)         (0x01)
    n       = unblind(r, z)                            = secret * x
    output  = finalize(input, n)                       64 octets

What bekend uses of it: mode 0x01 for every element and proof, and two ways to end.

* The **record path** (Begin, protocol section 8) is the drawing above, whole: U = finalize(identifier, u * x).
* The **matching path** (enrolment, Question, Answer) stops at `unblind` and hashes the element alone, as the
  variant HashDH does: P = k*b*x and W = m*P can be re-keyed by a multiplication, without the identifier. There
  two servers follow one another, broker (b) and source (m*k): a chain of evaluations is one evaluation
  under the product of the keys.

Keys come from DeriveKeyPair over a root and an info string that names party, purpose and period; the blinds
of a lookup come from its seed, so that an audit can reproduce every octet (must-list 22).
"""

import hashlib
from dataclasses import dataclass, field

from bekend_proto.errors import InternalError, KeysError
from bekend_proto.group import (
    CONTEXT_VOPRF,
    ZERO,
    hash_to_group,
    hash_to_scalar,
    multiply,
    multiply_base,
    scalar_invert,
    scalar_reduce,
)
from bekend_proto.identifiers import Identifier
from bekend_proto.octets import blake, i2osp, lp

TARGET_BEGIN = "begin"
"""Target of `lookup_blind` for the elements of Begin; for a Question it is the source's OIN."""

ROLE_BROKER_MATCH = "broker-b"
"""Role of the broker's key per source, purpose and epoch: oin = the source's, period = epoch."""

ROLE_NODE_MATCH = "node-k"
"""Role of the node's key per purpose and epoch: oin = the source's, period = epoch."""

ROLE_BROKER_RECORD = "broker-u"
"""Role of the broker's record key: oin = the broker's, purpose empty, period = calendar month."""


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A secret scalar and its public element `secret * G`. Shows only the public half."""

    secret: bytes = field(repr=False)
    public: bytes


def hash_identifier(identifier: Identifier) -> bytes:
    """x = HashToGroup(kind ":" canonical value), mode 0x01."""
    return hash_to_group(identifier.canonical, CONTEXT_VOPRF)


def blind(x: bytes, r: bytes) -> bytes:
    """r * x: uniform, so that it says nothing about x (RFC 9497 section 3.3.1)."""
    return multiply(r, x)


def evaluate(secret: bytes, blinded: bytes) -> bytes:
    """BlindEvaluate without its proof (RFC 9497 section 3.3.1)."""
    return multiply(secret, blinded)


def unblind(r: bytes, z: bytes) -> bytes:
    """r^-1 * z. For many, invert the blinds together (`group.batch_invert`) and use `unblind_with_inverse`."""
    return multiply(scalar_invert(r), z)


def unblind_with_inverse(r_inverse: bytes, z: bytes) -> bytes:
    """The same, with the inverse of the blind at hand."""
    return multiply(r_inverse, z)


def finalize(data: bytes, unblinded: bytes) -> bytes:
    """Finalize of RFC 9497 section 3.3.1 after unblinding: 64 octets."""
    return hashlib.sha512(lp(data) + lp(unblinded) + b"Finalize").digest()


def derive_key_pair(seed: bytes, info: bytes, context: bytes = CONTEXT_VOPRF) -> KeyPair:
    """DeriveKeyPair of RFC 9497 section 3.2.1. Raises KeysError if the seed is not 32 octets."""
    if len(seed) != 32:
        raise KeysError("a root has 32 octets")
    prefix = seed + lp(info)
    for counter in range(256):
        secret = hash_to_scalar(prefix + i2osp(counter, 1), b"DeriveKeyPair" + context)
        if secret != ZERO:
            return KeyPair(secret, multiply_base(secret))
    raise KeysError("DeriveKeyPairError: this root gives no key; draw another")


def derive_key(root: bytes, role: str, oin: str, purpose: str, period: str) -> KeyPair:
    """The key of `role` for one source, purpose and period, from a root of 32 octets (protocol section 4).

    Roots are independent per epoch (and per month for the record key), so that each can be destroyed alone.
    """
    fields = ("bekend/1", role, oin, purpose, period)
    return derive_key_pair(root, b"".join(lp(field.encode("ascii")) for field in fields))


def lookup_blind(seed: bytes, target: str, person: int) -> bytes:
    """The blind of `person` (from 0) towards `target` in the lookup that has this seed of 32 random octets.

    `target` is TARGET_BEGIN or the OIN of a source. Raises InternalError for a seed of another length,
    and in the one case of 2^252 in which the blind is zero: draw a new seed.
    """
    if len(seed) != 32:
        raise InternalError("the seed of a lookup has 32 octets")
    data = lp(target.encode("ascii")) + i2osp(person, 2)
    scalar = scalar_reduce(blake(64, b"bekend1-blind", data, seed))
    if scalar == ZERO:
        raise InternalError("this seed gives a blind of zero: draw a new one")
    return scalar
