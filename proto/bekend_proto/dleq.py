"""Proofs that several outputs were made with the one key behind a public element (RFC 9497 section 2.2, mode 0x01).

    prover(secret k, public B = k*G, inputs C, outputs D = k*C)      verifier(B, C, D)
    -----------------------------------------------------------      -----------------
    d_i = weight(B, i, C_i, D_i)                                     d_i likewise
    M   = sum d_i*C_i,   Z = k*M                                     M = sum d_i*C_i,   Z = sum d_i*D_i
    r   = random,  c = H(B, M, Z, r*G, r*M),  s = r - c*k
                               ---- c || s ---->                     c == H(B, M, Z, s*G + c*B, s*M + c*Z)

A batch costs the prover one multiplication per element and the verifier two; order counts. A nonce that is used
twice gives the key away: `prove` draws it, `prove_with_nonce` is the deterministic core that the vectors
describe, and nothing else calls it.
"""

import hashlib
import hmac
from collections.abc import Sequence

from bekend_proto.errors import InternalError, MalformedError, ProofError
from bekend_proto.group import (
    CONTEXT_VOPRF,
    add,
    decode_scalar,
    hash_to_scalar,
    multiply,
    multiply_base,
    random_scalar,
    scalar_multiply,
    scalar_subtract,
)
from bekend_proto.octets import i2osp, lp

PROOF_LENGTH = 64
"""Octets of a proof: c || s."""

MAX_BATCH = 1024
"""Elements under one proof: what one enrolment chunk holds (protocol section 5)."""

_SCALAR_TAG = b"HashToScalar-" + CONTEXT_VOPRF
_SEED_TAG = lp(b"Seed-" + CONTEXT_VOPRF)


def prove(secret: bytes, public: bytes, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> bytes:
    """GenerateProof: 64 octets saying that `outputs[i] == secret * inputs[i]` and `public == secret * G`.

    `inputs` have been decoded (`group.decode_element`) and evaluated by the caller; the proof is made
    over what it is given, and does not verify if the outputs are wrong.
    """
    return prove_with_nonce(secret, public, inputs, outputs, random_scalar())


def prove_with_nonce(
    secret: bytes, public: bytes, inputs: Sequence[bytes], outputs: Sequence[bytes], nonce: bytes
) -> bytes:
    """The deterministic core of `prove`: `nonce` is the r of RFC 9497, secret and never used twice."""
    if len(inputs) != len(outputs) or not 1 <= len(inputs) <= MAX_BATCH:
        raise InternalError(f"a proof is over 1 to {MAX_BATCH} inputs and as many outputs")
    m = _combine(_weights(public, inputs, outputs), inputs)
    z = multiply(secret, m)
    c = _challenge(public, m, z, multiply_base(nonce), multiply(nonce, m))
    return c + scalar_subtract(nonce, scalar_multiply(c, secret))


def verify(public: bytes, inputs: Sequence[bytes], outputs: Sequence[bytes], proof: bytes) -> None:
    """VerifyProof. Raises ProofError unless the proof holds for exactly these elements, in this order.

    `public` comes from a key manifest, never from a message (must-list 3). Invalid elements and scalars
    make it fail like a wrong proof does.
    """
    if len(inputs) != len(outputs) or not 1 <= len(inputs) <= MAX_BATCH:
        raise ProofError(f"a proof is over 1 to {MAX_BATCH} inputs and as many outputs")
    if len(proof) != PROOF_LENGTH:
        raise ProofError("a proof has 64 octets")
    try:
        c, s = decode_scalar(proof[:32]), decode_scalar(proof[32:])
        weights = _weights(public, inputs, outputs)
        m, z = _combine(weights, inputs), _combine(weights, outputs)
        t2 = add(multiply_base(s), multiply(c, public))
        t3 = add(multiply(s, m), multiply(c, z))
        expected = _challenge(public, m, z, t2, t3)
    except MalformedError as error:
        raise ProofError("the proof holds no valid elements and scalars") from error
    if not hmac.compare_digest(expected, c):
        raise ProofError("the proof does not verify")


def _weights(public: bytes, inputs: Sequence[bytes], outputs: Sequence[bytes]) -> list[bytes]:
    """The d_i of ComputeComposites (RFC 9497 section 2.2.1)."""
    # b"\x00\x20" is lp of an element, written out: this runs once per person of a register. An element of
    # another length fails in `_combine`.
    seed = lp(hashlib.sha512(lp(public) + _SEED_TAG).digest())
    return [
        hash_to_scalar(b"%b%b\x00\x20%b\x00\x20%bComposite" % (seed, i2osp(index, 2), c, d), _SCALAR_TAG)
        for index, (c, d) in enumerate(zip(inputs, outputs, strict=True))
    ]


def _combine(weights: Sequence[bytes], elements: Sequence[bytes]) -> bytes:
    """sum weights[i] * elements[i]."""
    terms = map(multiply, weights, elements)
    total = next(terms)
    for term in terms:
        total = add(total, term)
    return total


def _challenge(public: bytes, m: bytes, z: bytes, t2: bytes, t3: bytes) -> bytes:
    return hash_to_scalar(b"".join(map(lp, (public, m, z, t2, t3))) + b"Challenge", _SCALAR_TAG)
