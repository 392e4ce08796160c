"""The protocol's own vectors, byte for byte: one person from identifier to tag and sealed record."""

import hashlib
from typing import Any

import pytest
from bekend_proto import dleq, group, oprf, records, release
from bekend_proto import filter as closed
from bekend_proto.channel import OpenChannel, case_commitment, transcript_of
from bekend_proto.errors import MalformedError, ProofError
from bekend_proto.identifiers import parse_identifier
from nacl.bindings import (
    crypto_kx_client_session_keys,
    crypto_kx_server_session_keys,
    crypto_scalarmult_base,
    crypto_secretbox,
)
from nacl.public import PrivateKey, SealedBox

from tests.support.vectors import CHAIN, unhex

INPUTS: dict[str, Any] = CHAIN["inputs"]
SOURCE, REQUESTER, BROKER = INPUTS["source_text"], INPUTS["requester_text"], INPUTS["broker_text"]
PURPOSE, EPOCH, VERSION = INPUTS["purpose_text"], INPUTS["epoch_text"], INPUTS["version"]
SEED, QUESTION_ID = unhex(INPUTS["seed"]), unhex(INPUTS["question_id"])
NAMED = {name: unhex(value) for name, value in INPUTS["vector_scalars"].items()}
KEYS = {name: unhex(value) for name, value in CHAIN["keys"].items()}
X = [unhex(value) for value in CHAIN["x"]]
CONTEXT = unhex(CHAIN["record"]["context"])
U = unhex(CHAIN["begin"]["U"])
W = unhex(CHAIN["answer"]["W"])


def values(section: str) -> dict[str, bytes]:
    return {name: unhex(value) for name, value in CHAIN[section].items() if isinstance(value, str)}


def many(section: str, name: str) -> list[bytes]:
    return [unhex(value) for value in CHAIN[section][name]]


def test_vector_scalars_are_made_as_the_rules_say() -> None:
    for name, scalar in NAMED.items():
        assert group.scalar_reduce(hashlib.sha512(b"bekend/1 vector " + name.encode()).digest()) == scalar


def test_keys() -> None:
    roots = {name: unhex(value) for name, value in INPUTS["roots"].items()}
    b = oprf.derive_key(roots["broker_b"], oprf.ROLE_BROKER_MATCH, SOURCE, PURPOSE, EPOCH)
    k = oprf.derive_key(roots["node_k"], oprf.ROLE_NODE_MATCH, SOURCE, PURPOSE, EPOCH)
    u = oprf.derive_key(roots["broker_u"], oprf.ROLE_BROKER_RECORD, BROKER, "", INPUTS["record_period_text"])
    mk = group.scalar_multiply(NAMED["m"], k.secret)
    assert (b.secret, k.secret, u.secret, mk) == (KEYS["b"], KEYS["k"], KEYS["u"], KEYS["mk"])
    assert (b.public, k.public, u.public) == (KEYS["B"], KEYS["K"], KEYS["U_pk"])
    assert group.multiply_base(mk) == KEYS["M"]


def test_identifiers_hash_to_x() -> None:
    parsed = [parse_identifier(*text.split(":")) for text in INPUTS["identifiers_text"]]
    assert [oprf.hash_identifier(identifier) for identifier in parsed] == X


def test_enrolment() -> None:
    blinds = [NAMED[f"enrol-{index}"] for index in range(3)]
    blinded = [oprf.blind(x, r) for x, r in zip(X, blinds, strict=True)]
    assert blinded == many("enrolment", "blinded")
    evaluated = [oprf.evaluate(KEYS["b"], element) for element in blinded]
    assert evaluated == many("enrolment", "evaluated")
    proof = dleq.prove_with_nonce(KEYS["b"], KEYS["B"], blinded, evaluated, NAMED["nonce-enrol"])
    assert proof == unhex(CHAIN["enrolment"]["proof"])
    dleq.verify(KEYS["B"], blinded, evaluated, proof)
    factors = [group.scalar_multiply(KEYS["k"], inverse) for inverse in group.batch_invert(blinds)]
    assert [group.multiply(f, z) for f, z in zip(factors, evaluated, strict=True)] == many("enrolment", "P")


def test_filter() -> None:
    assert closed.tag_context(SOURCE, PURPOSE, VERSION) == unhex(CHAIN["filter"]["tag_context"])
    tag_of = closed.tagger(SOURCE, PURPOSE, VERSION)
    tags = sorted(tag_of(group.multiply(NAMED["m"], p)) for p in many("enrolment", "P"))
    assert tags == many("filter", "tags_sorted")


def test_begin() -> None:
    begin = values("begin")
    blind = oprf.lookup_blind(SEED, oprf.TARGET_BEGIN, 0)
    assert blind == begin["blind"]
    a0 = oprf.blind(X[0], blind)
    assert a0 == begin["A0"]
    evaluated = oprf.evaluate(KEYS["u"], a0)
    assert evaluated == begin["evaluated"]
    proof = dleq.prove_with_nonce(KEYS["u"], KEYS["U_pk"], [a0], [evaluated], NAMED["nonce-u"])
    assert proof == begin["proof"]
    dleq.verify(KEYS["U_pk"], [a0], [evaluated], proof)
    unblinded = oprf.unblind(blind, evaluated)
    assert unblinded == begin["unblinded"]
    assert oprf.finalize(INPUTS["identifiers_text"][0].encode(), unblinded) == begin["U"]


def test_question() -> None:
    question, begin = values("question"), values("begin")
    blind = oprf.lookup_blind(SEED, SOURCE, 0)
    assert blind == question["blind"]
    assert oprf.blind(X[0], blind) == question["A"]
    ratio = group.scalar_multiply(blind, group.scalar_invert(begin["blind"]))
    assert ratio == question["ratio"]
    assert group.multiply(ratio, begin["A0"]) == question["A"]
    v = oprf.evaluate(KEYS["b"], question["A"])
    assert v == question["V"]
    proof = dleq.prove_with_nonce(KEYS["b"], KEYS["B"], [question["A"]], [v], NAMED["nonce-b"])
    assert proof == question["b_proof"]
    dleq.verify(KEYS["B"], [question["A"]], [v], proof)


def test_answer() -> None:
    answer, question = values("answer"), values("question")
    z = oprf.evaluate(KEYS["mk"], question["V"])
    assert z == answer["Z"]
    proof = dleq.prove_with_nonce(KEYS["mk"], KEYS["M"], [question["V"]], [z], NAMED["nonce-mk"])
    assert proof == answer["mk_proof"]
    dleq.verify(KEYS["M"], [question["V"]], [z], proof)
    w = oprf.unblind(question["blind"], z)
    assert w == answer["W"]
    assert w == group.multiply(NAMED["m"], many("enrolment", "P")[0])
    tag = closed.tag(w, SOURCE, PURPOSE, VERSION)
    assert tag == answer["tag"]
    body = closed.pad_and_sort(many("filter", "tags_sorted"), 1024)
    assert closed.ClosedFilter(body).contains(tag)


def test_sealed_record() -> None:
    record = values("record")
    assert records.record_context(REQUESTER, SOURCE, PURPOSE, QUESTION_ID, 0) == CONTEXT
    c = records.record_value(U, CONTEXT)
    assert c == record["c"]
    sealed = records.seal_record(SEED, SOURCE, 0, unhex(INPUTS["fg_public"]), c)
    assert sealed == record["E"]
    assert sealed[:32] == crypto_scalarmult_base(record["eph_secret"])
    assert records.seal_hash(sealed) == record["e_hash"]
    assert SealedBox(PrivateKey(unhex(INPUTS["fg_secret"]))).decrypt(sealed) == c


def test_call_of_the_privacy_officer_gives_the_same_u() -> None:
    call = {name: CHAIN["record"]["fg_call"][name] for name in ("blinded", "evaluated")}
    blinded = oprf.blind(X[0], NAMED["fg-call"])
    assert blinded == unhex(call["blinded"])
    evaluated = oprf.evaluate(KEYS["u"], blinded)
    assert evaluated == unhex(call["evaluated"])
    unblinded = oprf.unblind(NAMED["fg-call"], evaluated)
    assert oprf.finalize(INPUTS["identifiers_text"][0].encode(), unblinded) == U


def test_release_message() -> None:
    manual = CHAIN["manual"]
    assert release.locator(W, CONTEXT) == unhex(manual["locator"])
    assert release.release_key(W, CONTEXT) == unhex(manual["release_key"])
    payload = manual["payload_text"].encode()
    sealed = release.seal_release_with_nonce(W, CONTEXT, payload, unhex(manual["nonce"]))
    assert len(sealed) == release.RELEASE_LENGTH
    assert hashlib.sha256(sealed).hexdigest() == manual["D_sha256"]
    assert release.open_release(W, CONTEXT, sealed) == payload


def test_case_commitment() -> None:
    case = CHAIN["case"]
    commitment = case_commitment(unhex(case["salt"]), case["case_text"], case["officer_text"])
    assert commitment == unhex(case["commitment"])


def test_channel() -> None:
    channel = values("channel")
    requester, source = channel["requester_public"], channel["source_public"]
    rx, tx = crypto_kx_client_session_keys(requester, channel["requester_secret"], source)
    assert (rx, tx) == (channel["client_rx"], channel["client_tx"])
    assert crypto_kx_server_session_keys(source, channel["source_secret"], requester) == (tx, rx)
    mlkem = channel["mlkem_public_repeated_byte"] * 1184, channel["mlkem_ciphertext_repeated_byte"] * 1088
    transcript = transcript_of(REQUESTER, SOURCE, QUESTION_ID, (requester, source), mlkem)
    assert transcript == channel["transcript"]
    opened = OpenChannel.of(rx, tx, channel["mlkem_shared_secret"], transcript)
    for counter in (0, 1, 300):
        nonce = counter.to_bytes(24, "big")
        to_requester = crypto_secretbox(b"reply", nonce, channel["key_source_to_requester"])
        assert opened.open_from_source(counter, to_requester) == b"reply"
        assert opened.seal_to_source(counter, b"more") == crypto_secretbox(
            b"more", nonce, channel["key_requester_to_source"]
        )


def refused(public: bytes, inputs: list[bytes], outputs: list[bytes], proof: bytes) -> None:
    with pytest.raises(ProofError):
        dleq.verify(public, inputs, outputs, proof)


def test_must_fail_swapped_batch() -> None:
    evaluated = many("enrolment", "evaluated")
    evaluated[0], evaluated[1] = evaluated[1], evaluated[0]
    refused(KEYS["B"], many("enrolment", "blinded"), evaluated, unhex(CHAIN["enrolment"]["proof"]))


def test_must_fail_reordered_batch() -> None:
    blinded, evaluated = many("enrolment", "blinded")[::-1], many("enrolment", "evaluated")[::-1]
    refused(KEYS["B"], blinded, evaluated, unhex(CHAIN["enrolment"]["proof"]))


def test_must_fail_s_plus_order() -> None:
    answer = values("answer")
    c, s = answer["mk_proof"][:32], int.from_bytes(answer["mk_proof"][32:], "little")
    proof = c + (s + group.ORDER).to_bytes(32, "little")
    refused(KEYS["M"], [values("question")["V"]], [answer["Z"]], proof)


def test_must_fail_b_proof_under_other_key() -> None:
    question = values("question")
    refused(KEYS["U_pk"], [question["A"]], [question["V"]], question["b_proof"])


def test_must_fail_one_of_batch_under_u() -> None:
    blinded, evaluated = many("enrolment", "blinded"), many("enrolment", "evaluated")
    evaluated[2] = group.multiply(KEYS["u"], blinded[2])
    refused(KEYS["B"], blinded, evaluated, unhex(CHAIN["enrolment"]["proof"]))


def test_must_fail_elements_and_scalars() -> None:
    for element in CHAIN["must_fail"]["elements"]:
        with pytest.raises(MalformedError):
            group.decode_element(unhex(element))
    for scalar in CHAIN["must_fail"]["scalars"]:
        with pytest.raises(MalformedError):
            group.decode_scalar(unhex(scalar))


def test_no_case_of_must_fail_is_left_out() -> None:
    covered = {name.removeprefix("test_must_fail_") for name in globals() if name.startswith("test_must_fail_")}
    assert covered == (set(CHAIN["must_fail"]) - {"elements", "scalars"}) | {"elements_and_scalars"}
