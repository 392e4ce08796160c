"""Proofs: the right ones verify, and nothing else does."""

from pathlib import Path

import pytest
from bekend_proto import dleq, group, oprf
from bekend_proto.errors import InternalError, ProofError
from hypothesis import given, settings
from hypothesis import strategies as st

PAIR = oprf.derive_key_pair(bytes(32), b"test")
OTHER = oprf.derive_key_pair(bytes(32), b"other")


def batch(size: int) -> tuple[list[bytes], list[bytes]]:
    inputs = [group.random_element() for _ in range(size)]
    return inputs, [group.multiply(PAIR.secret, element) for element in inputs]


INPUTS, OUTPUTS = batch(3)
PROOF = dleq.prove(PAIR.secret, PAIR.public, INPUTS, OUTPUTS)


@pytest.mark.parametrize("size", [1, 2, 8, 100])
def test_a_proof_verifies(size: int) -> None:
    inputs, outputs = batch(size)
    dleq.verify(PAIR.public, inputs, outputs, dleq.prove(PAIR.secret, PAIR.public, inputs, outputs))


def test_a_full_chunk_verifies_and_one_wrong_element_in_it_does_not() -> None:
    inputs, outputs = batch(dleq.MAX_BATCH)
    proof = dleq.prove(PAIR.secret, PAIR.public, inputs, outputs)
    dleq.verify(PAIR.public, inputs, outputs, proof)
    outputs[517] = group.multiply(OTHER.secret, inputs[517])
    with pytest.raises(ProofError):
        dleq.verify(PAIR.public, inputs, outputs, proof)


@settings(max_examples=60)
@given(st.integers(0, 511))
def test_any_flipped_bit_of_the_proof_makes_it_fail(bit: int) -> None:
    spoiled = bytearray(PROOF)
    spoiled[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProofError):
        dleq.verify(PAIR.public, INPUTS, OUTPUTS, bytes(spoiled))


@settings(max_examples=60)
@given(st.sampled_from(["public", "inputs", "outputs"]), st.integers(0, 2), st.integers(0, 255))
def test_any_flipped_bit_of_an_element_makes_it_fail(where: str, index: int, bit: int) -> None:
    def flip(element: bytes) -> bytes:
        spoiled = bytearray(element)
        spoiled[bit // 8] ^= 1 << bit % 8
        return bytes(spoiled)

    public, inputs, outputs = PAIR.public, list(INPUTS), list(OUTPUTS)
    if where == "public":
        public = flip(public)
    else:
        chosen = inputs if where == "inputs" else outputs
        chosen[index] = flip(chosen[index])
    with pytest.raises(ProofError):
        dleq.verify(public, inputs, outputs, PROOF)


@pytest.mark.parametrize(
    ("inputs", "outputs", "proof"),
    [
        pytest.param(INPUTS, [OUTPUTS[1], OUTPUTS[0], OUTPUTS[2]], PROOF, id="swapped"),
        pytest.param(INPUTS[::-1], OUTPUTS[::-1], PROOF, id="reordered"),
        pytest.param(INPUTS[:2], OUTPUTS[:2], PROOF, id="shortened"),
        pytest.param(INPUTS, OUTPUTS[:2], PROOF, id="unequal"),
        pytest.param([], [], PROOF, id="empty"),
        pytest.param(INPUTS, OUTPUTS, PROOF[:63], id="short proof"),
        pytest.param(INPUTS, OUTPUTS, PROOF + b"\x00", id="long proof"),
        pytest.param(INPUTS, OUTPUTS, bytes(64), id="zero proof"),
        pytest.param([group.ZERO] * 3, [group.ZERO] * 3, PROOF, id="identity"),
        pytest.param([INPUTS[0][:31], *INPUTS[1:]], OUTPUTS, PROOF, id="short element"),
        pytest.param(INPUTS * 400, OUTPUTS * 400, PROOF, id="too many"),
    ],
)
def test_a_proof_holds_for_its_own_elements_in_their_order_only(
    inputs: list[bytes], outputs: list[bytes], proof: bytes
) -> None:
    with pytest.raises(ProofError):
        dleq.verify(PAIR.public, inputs, outputs, proof)


def test_must_03_a_proof_fails_under_another_key() -> None:
    with pytest.raises(ProofError):
        dleq.verify(OTHER.public, INPUTS, OUTPUTS, PROOF)


def test_a_wrong_evaluation_cannot_be_proved() -> None:
    wrong = [group.multiply(OTHER.secret, element) for element in INPUTS]
    with pytest.raises(ProofError):
        dleq.verify(PAIR.public, INPUTS, wrong, dleq.prove(PAIR.secret, PAIR.public, INPUTS, wrong))


def test_must_08_each_proof_has_a_nonce_of_its_own() -> None:
    again = dleq.prove(PAIR.secret, PAIR.public, INPUTS, OUTPUTS)
    assert again != PROOF
    dleq.verify(PAIR.public, INPUTS, OUTPUTS, again)


def test_nothing_and_too_much_are_not_proved() -> None:
    for inputs, outputs in [([], []), (INPUTS, OUTPUTS[:2]), (INPUTS * 400, OUTPUTS * 400)]:
        with pytest.raises(InternalError):
            dleq.prove(PAIR.secret, PAIR.public, inputs, outputs)


def test_must_08_no_shipped_code_fixes_a_nonce() -> None:
    """The deterministic cores are called by their own modules, where the nonce is drawn, and by tests."""
    root = Path(dleq.__file__).parents[2]
    rooms = ("proto", "policy", "node", "broker", "deploy", "bench")
    calls = sorted(
        (path.name, line.strip())
        for room in rooms
        for path in (root / room).rglob("*.py")
        for line in path.read_text(encoding="utf-8").splitlines()
        if "_with_nonce(" in line and not line.startswith("def ")
    )
    assert calls == [
        ("dleq.py", "return prove_with_nonce(secret, public, inputs, outputs, random_scalar())"),
        ("release.py", "return seal_release_with_nonce(w, context, payload, secrets.token_bytes(24))"),
    ]
