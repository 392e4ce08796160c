"""The OPRF: the RFC's vectors in both modes, its algebra, and an independent implementation beside it."""

from typing import Any

import pytest
from bekend_proto import dleq, group, oprf
from bekend_proto.errors import InternalError, KeysError, MalformedError
from bekend_proto.identifiers import parse_identifier
from hypothesis import given, settings
from hypothesis import strategies as st
from voprf import ristretto

from tests.support.vectors import RFC9497, unhex

scalars = st.integers(1, group.ORDER - 1).map(lambda number: number.to_bytes(32, "little"))
CONTEXTS = {0: group.CONTEXT_OPRF, 1: group.CONTEXT_VOPRF}
CASES = [
    pytest.param(suite, vector, id=f"mode{suite['mode']}-{index}")
    for suite in RFC9497
    for index, vector in enumerate(suite["vectors"])
]


def octets(joined: str) -> list[bytes]:
    return [unhex(item) for item in joined.split(",")]


@pytest.mark.parametrize("suite", RFC9497, ids=lambda suite: f"mode{suite['mode']}")
def test_derive_key_pair_gives_the_keys_of_rfc_9497(suite: dict[str, Any]) -> None:
    pair = oprf.derive_key_pair(unhex(suite["seed"]), unhex(suite["keyInfo"]), CONTEXTS[suite["mode"]])
    assert pair.secret == unhex(suite["skSm"])
    assert pair.public == group.multiply_base(pair.secret)
    if suite["mode"] == 1:
        assert pair.public == unhex(suite["pkSm"])


@pytest.mark.parametrize(("suite", "vector"), CASES)
def test_blind_evaluate_and_finalize_give_the_vectors_of_rfc_9497(
    suite: dict[str, Any], vector: dict[str, Any]
) -> None:
    context = CONTEXTS[suite["mode"]]
    assert b"HashToGroup-" + context == unhex(suite["groupDST"])
    secret = unhex(suite["skSm"])
    inputs, blinds = octets(vector["Input"]), octets(vector["Blind"])
    blinded = [oprf.blind(group.hash_to_group(data, context), r) for data, r in zip(inputs, blinds, strict=True)]
    assert blinded == octets(vector["BlindedElement"])
    evaluated = [oprf.evaluate(secret, element) for element in blinded]
    assert evaluated == octets(vector["EvaluationElement"])
    outputs = [oprf.finalize(data, oprf.unblind(r, z)) for data, r, z in zip(inputs, blinds, evaluated, strict=True)]
    assert outputs == octets(vector["Output"])


@pytest.mark.parametrize(("suite", "vector"), CASES[-3:])
def test_proofs_are_those_of_rfc_9497(suite: dict[str, Any], vector: dict[str, Any]) -> None:
    secret, public = unhex(suite["skSm"]), unhex(suite["pkSm"])
    blinded, evaluated = octets(vector["BlindedElement"]), octets(vector["EvaluationElement"])
    proof = dleq.prove_with_nonce(secret, public, blinded, evaluated, unhex(vector["Proof"]["r"]))
    assert proof == unhex(vector["Proof"]["proof"])
    dleq.verify(public, blinded, evaluated, proof)


@settings(max_examples=25)
@given(st.binary(max_size=64), scalars)
def test_unblinding_undoes_blinding(data: bytes, r: bytes) -> None:
    x = group.hash_to_group(data)
    blinded = oprf.blind(x, r)
    assert oprf.unblind(r, blinded) == x
    assert oprf.unblind_with_inverse(group.scalar_invert(r), blinded) == x


@settings(max_examples=25)
@given(scalars, scalars, scalars, scalars)
def test_a_chain_of_evaluations_is_one_under_the_product_of_the_keys(b: bytes, k: bytes, m: bytes, r: bytes) -> None:
    x = group.hash_to_group(b"bsn:999990019")
    chained = oprf.unblind(r, oprf.evaluate(m, oprf.evaluate(k, oprf.evaluate(b, oprf.blind(x, r)))))
    product = group.scalar_multiply(group.scalar_multiply(b, k), m)
    assert chained == oprf.evaluate(product, x)


def test_blinds_differ_per_target_and_person_and_repeat_for_a_seed() -> None:
    seed = bytes(range(32))
    asked = [("begin", 0), ("begin", 1), ("00000099000000001000", 0), ("00000099000000002000", 0)]
    blinds = [oprf.lookup_blind(seed, target, person) for target, person in asked]
    assert len(set(blinds)) == len(blinds)
    assert blinds == [oprf.lookup_blind(seed, target, person) for target, person in asked]
    assert oprf.lookup_blind(bytes(32), "begin", 0) != blinds[0]


@pytest.mark.parametrize("seed", [b"", bytes(31), bytes(33)])
def test_seeds_and_roots_have_32_octets(seed: bytes) -> None:
    with pytest.raises(InternalError):
        oprf.lookup_blind(seed, "begin", 0)
    with pytest.raises(KeysError):
        oprf.derive_key(seed, oprf.ROLE_NODE_MATCH, "00000099000000001000", "demo/doel", "2027Q1")


def test_every_field_of_the_key_derivation_counts() -> None:
    base = ("node-k", "00000099000000001000", "demo/doel", "2027Q1")
    others = [
        ("broker-b", *base[1:]),
        (base[0], "00000099000000002000", *base[2:]),
        (*base[:2], "demo/ander", base[3]),
        (*base[:3], "2027Q2"),
    ]
    secrets = {oprf.derive_key(bytes(32), *fields).secret for fields in [base, *others]}
    assert len(secrets) == 5


def test_a_key_pair_shows_no_secret() -> None:
    pair = oprf.derive_key(bytes(32), "node-k", "00000099000000001000", "demo/doel", "2027Q1")
    assert repr(pair.secret) not in repr(pair)


def test_hash_identifier_hashes_kind_and_value() -> None:
    bsn = oprf.hash_identifier(parse_identifier("bsn", "999990019"))
    assert bsn == group.hash_to_group(b"bsn:999990019", group.CONTEXT_VOPRF)
    assert bsn != oprf.hash_identifier(parse_identifier("test", "999990019"))


def test_what_is_no_element_cannot_be_evaluated() -> None:
    with pytest.raises(MalformedError):
        oprf.evaluate(group.random_scalar(), group.ZERO)


# An independent implementation (PyPI voprf: Rust, ristretto255-SHA512, mode VOPRF) on the other end of the wire.
# It serialises an output as proof || element, a batch as proof || elements.


@settings(max_examples=15)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40))
def test_oracle_derives_the_same_keys(seed: bytes, info: bytes) -> None:
    assert ristretto.Evaluator.from_seed(seed, info).public_key.serialize() == oprf.derive_key_pair(seed, info).public


@settings(max_examples=15)
@given(st.binary(min_size=1, max_size=60))
def test_oracle_server_evaluates_as_we_do(data: bytes) -> None:
    server = ristretto.Evaluator.from_seed(bytes(32), b"oracle")
    pair = oprf.derive_key_pair(bytes(32), b"oracle")
    r = group.random_scalar()
    blinded = oprf.blind(group.hash_to_group(data), r)
    answer = server.evaluate(ristretto.BlindedInput.deserialize(blinded)).serialize()
    proof, z = answer[:64], answer[64:]
    dleq.verify(pair.public, [blinded], [z], proof)
    assert oprf.finalize(data, oprf.unblind(r, z)) == server.evaluate_known_input(data)


@settings(max_examples=15)
@given(st.binary(min_size=1, max_size=60))
def test_oracle_client_accepts_our_evaluation_and_proof(data: bytes) -> None:
    server = ristretto.Evaluator.from_seed(bytes(32), b"oracle")
    pair = oprf.derive_key_pair(bytes(32), b"oracle")
    client, request = ristretto.Client.blind(data)
    blinded = request.serialize()
    z = oprf.evaluate(pair.secret, blinded)
    answer = ristretto.VerifiableOutput.deserialize(dleq.prove(pair.secret, pair.public, [blinded], [z]) + z)
    ours = oprf.finalize(data, oprf.evaluate(pair.secret, group.hash_to_group(data)))
    assert client.finalize(answer, server.public_key) == ours


@pytest.mark.parametrize("size", [1, 2, 17])
def test_oracle_and_we_accept_each_others_batches(size: int) -> None:
    server = ristretto.Evaluator.from_seed(bytes(32), b"oracle")
    pair = oprf.derive_key_pair(bytes(32), b"oracle")
    clients, requests = zip(*(ristretto.Client.blind(b"test:%d" % index) for index in range(size)), strict=True)
    blinded = [request.serialize() for request in requests]
    evaluated = [oprf.evaluate(pair.secret, element) for element in blinded]

    theirs = server.evaluate_batch(requests).serialize()
    assert theirs[64:] == b"".join(evaluated)
    dleq.verify(pair.public, blinded, evaluated, theirs[:64])

    ours = dleq.prove(pair.secret, pair.public, blinded, evaluated) + b"".join(evaluated)
    outputs = ristretto.Client.finalize_batch(
        clients, ristretto.VerifiableBatchOutput.deserialize(ours), server.public_key
    )
    assert outputs == [server.evaluate_known_input(b"test:%d" % index) for index in range(size)]
