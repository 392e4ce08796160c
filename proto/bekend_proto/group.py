"""The group ristretto255 (RFC 9496) and the hashes into it (RFC 9497 section 4.1), with every reject at the boundary.

An Element and a Scalar are plain `bytes` of 32 octets; scalars are little-endian. What comes from outside goes
through `decode_element` or `decode_scalar` first (protocol section 12, item 1):

* The identity is no element. A blinded identity stays the identity under every key, so whoever sends it
  learns nothing about the key but makes every "evaluation" of it true; libsodium calls it a valid point.
* Zero is no scalar: as a key it maps everybody to the identity, as a blind it erases the person.
* One value has one encoding: two encodings of one element would be two pseudonyms, two log entries, one person.
  libsodium up to 1.0.18 ignores the highest bit of an encoding, so that bit is checked here, in every operation.

Secrets are multiplied and inverted by libsodium, in constant time; Python's integers touch public values only.
"""

import hashlib
import secrets
from collections.abc import Sequence

from bekend_proto import sodium
from bekend_proto.errors import MalformedError
from bekend_proto.octets import i2osp

CONTEXT_OPRF = b"OPRFV1-\x00-ristretto255-SHA512"
"""contextString of RFC 9497 section 3.1, mode OPRF (0x00)."""

CONTEXT_VOPRF = b"OPRFV1-\x01-ristretto255-SHA512"
"""contextString of mode VOPRF (0x01): the one that the protocol uses."""

ORDER = 2**252 + 27742317777372353535851937790883648493
"""Order of the group (RFC 9496 section 4), public."""

ZERO = bytes(32)
"""The scalar 0, and also the encoding of the identity: neither is ever accepted."""

_ORDER_OCTETS = i2osp(ORDER, 32)
_SHA512_BLOCK = bytes(128)


def decode_element(data: bytes) -> bytes:
    """The element in `data`. Raises MalformedError unless it is 32 octets, canonical, and not the identity."""
    if not _is_encoding(data) or data == ZERO or not sodium.is_valid_point(data):
        raise MalformedError("not a group element: it must be 32 octets, canonical, and not the identity")
    return data


def decode_scalar(data: bytes) -> bytes:
    """The scalar in `data`. Raises MalformedError unless it is 32 octets, below the order, and not zero."""
    # Compared as octets: exact, and without an integer made of a value that may be secret.
    if len(data) != 32 or data[::-1] >= _ORDER_OCTETS or data == ZERO:
        raise MalformedError("not a scalar: it must be 32 octets, below the order, and not zero")
    return data


def multiply(scalar: bytes, element: bytes) -> bytes:
    """`scalar * element`. Raises MalformedError when the element is invalid or the product is the identity."""
    if len(scalar) != 32 or not _is_encoding(element):
        raise MalformedError("scalars and elements have 32 octets, elements the highest bit clear")
    product = sodium.scalarmult(scalar, element)
    if product is None:
        raise MalformedError("the product is not a group element: the element is invalid, or the scalar is zero")
    return product


def multiply_base(scalar: bytes) -> bytes:
    """`scalar * G`: the public key of a secret. Raises MalformedError for zero."""
    if len(scalar) != 32:
        raise MalformedError("scalars have 32 octets")
    product = sodium.scalarmult_base(scalar)
    if product is None:
        raise MalformedError("the scalar is zero")
    return product


def add(left: bytes, right: bytes) -> bytes:
    """`left + right`. Raises MalformedError when one of them is invalid or the sum is the identity."""
    if not _is_encoding(left) or not _is_encoding(right):
        raise MalformedError("elements have 32 octets, the highest bit clear")
    total = sodium.add(left, right)
    if total is None or total == ZERO:
        raise MalformedError("the sum is not a group element")
    return total


def scalar_multiply(left: bytes, right: bytes) -> bytes:
    """`left * right` mod order."""
    _two_scalars(left, right)
    return sodium.scalar_mul(left, right)


def scalar_add(left: bytes, right: bytes) -> bytes:
    """`left + right` mod order; may be zero."""
    _two_scalars(left, right)
    return sodium.scalar_add(left, right)


def scalar_subtract(left: bytes, right: bytes) -> bytes:
    """`left - right` mod order; may be zero."""
    _two_scalars(left, right)
    return sodium.scalar_sub(left, right)


def scalar_invert(scalar: bytes) -> bytes:
    """`1 / scalar` mod order, in constant time. Raises MalformedError for zero."""
    inverse = sodium.scalar_invert(scalar) if len(scalar) == 32 else None
    if inverse is None:
        raise MalformedError("zero has no inverse")
    return inverse


def scalar_reduce(wide: bytes) -> bytes:
    """64 octets, little-endian, mod order; may be zero."""
    if len(wide) != 64:
        raise MalformedError("64 octets are reduced to a scalar")
    return sodium.scalar_reduce(wide)


def batch_invert(scalars: Sequence[bytes]) -> list[bytes]:
    """`1 / s` for each scalar, in order, with one inversion and three products per scalar (Montgomery's trick).

    Raises MalformedError when one of them is zero: its product would spoil all others.
    """
    if not scalars:
        return []
    if any(len(scalar) != 32 for scalar in scalars):
        raise MalformedError("scalars have 32 octets")
    multiply_scalars = sodium.scalar_mul
    running = [scalars[0]]
    for scalar in scalars[1:]:
        running.append(multiply_scalars(running[-1], scalar))
    inverse = scalar_invert(running[-1])
    inverses = [ZERO] * len(scalars)
    for index in range(len(scalars) - 1, 0, -1):
        inverses[index] = multiply_scalars(inverse, running[index - 1])
        inverse = multiply_scalars(inverse, scalars[index])
    inverses[0] = inverse
    return inverses


def random_scalar() -> bytes:
    """A uniform scalar other than zero, from the system's generator."""
    while True:
        # 64 octets and not 32, so that the reduction leaves no measurable bias.
        scalar = sodium.scalar_reduce(secrets.token_bytes(64))
        if scalar != ZERO:
            return scalar


def random_element() -> bytes:
    """A uniform element whose discrete logarithm nobody knows: padding that looks like a blinded person."""
    while True:
        element = sodium.from_hash(secrets.token_bytes(64))
        if element != ZERO:
            return element


def expand_message(message: bytes, tag: bytes) -> bytes:
    """expand_message_xmd with SHA-512 to 64 octets (RFC 9380 section 5.3.1); `tag` is the DST, at most 255 octets."""
    tag_prime = tag + i2osp(len(tag), 1)
    first = hashlib.sha512(_SHA512_BLOCK + message + b"\x00\x40\x00" + tag_prime).digest()
    return hashlib.sha512(first + b"\x01" + tag_prime).digest()


def hash_to_group(data: bytes, context: bytes = CONTEXT_VOPRF) -> bytes:
    """HashToGroup of RFC 9497 section 4.1. Raises MalformedError if it gives the identity (RFC 9497 section 3.3)."""
    element = sodium.from_hash(expand_message(data, b"HashToGroup-" + context))
    if element == ZERO:
        raise MalformedError("the input hashes to the identity")
    return element


def hash_to_scalar(data: bytes, tag: bytes) -> bytes:
    """HashToScalar of RFC 9497 section 4.1 under the DST `tag`; may be zero."""
    return sodium.scalar_reduce(expand_message(data, tag))


def _is_encoding(data: bytes) -> bool:
    return len(data) == 32 and data[31] < 0x80


def _two_scalars(left: bytes, right: bytes) -> None:
    if len(left) != 32 or len(right) != 32:
        raise MalformedError("scalars have 32 octets")
