"""What the worker processes of an import compute: the two halves of protocol section 5 around the broker's.

Kept free of imports that a worker does not need. Nothing here logs, and no exception carries a value.
"""

from collections.abc import Sequence

from bekend_proto import dleq
from bekend_proto.errors import MalformedError, ProofError
from bekend_proto.group import batch_invert, hash_to_group, multiply, random_element, random_scalar, scalar_multiply
from bekend_proto.octets import blake


def blind_chunk(canonicals: Sequence[bytes], size: int) -> tuple[bytes, list[bytes]]:
    """r_j * x_j for each person, with a fresh r_j, padded with random elements to `size`; and the r_j.

    Elements are joined, 32 bytes each. Protocol section 5, step 1.
    """
    blinds = [random_scalar() for _ in canonicals]
    elements = [multiply(blind, hash_to_group(data)) for blind, data in zip(blinds, canonicals, strict=True)]
    elements += [random_element() for _ in range(size - len(elements))]
    return b"".join(elements), blinds


def finish_chunk(
    secret: bytes, broker_public: bytes, *, elements: bytes, evaluated: bytes, proof: bytes, blinds: Sequence[bytes]
) -> list[bytes]:
    """Verify the broker's proof over the whole chunk, then P_j = k * r_j^-1 * (b * r_j * x_j) for each person.

    `secret` is k, `broker_public` is B from the broker's manifest. Raises ProofError. Section 5, steps 2 and 3.
    """
    if len(evaluated) != len(elements):
        raise ProofError("the broker's reply has another length than the chunk")
    inputs, outputs = split(elements), split(evaluated)
    dleq.verify(broker_public, inputs, outputs, proof)
    try:
        return [
            multiply(scalar_multiply(secret, inverse), output)
            for inverse, output in zip(batch_invert(blinds), outputs, strict=False)
        ]
    except MalformedError as fault:
        raise ProofError("the broker's reply holds no valid elements") from fault


def split(joined: bytes) -> list[bytes]:
    """Elements of 32 bytes each."""
    return [joined[at : at + 32] for at in range(0, len(joined), 32)]


def fingerprint_key(state: bytes, settings: bytes) -> bytes:
    """A key for the fingerprint of a file, from the node's state key: the fingerprint says nothing to others."""
    return blake(32, b"bekend1-importky", settings, state)
