"""The asking side against a broker and sources that lie: every lie is `geen antwoord`, never a miss and never a hit."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask import answers, filters_held
from bekend_node.ask import replies as replies_module
from bekend_node.ask.outcomes import OTHER_NUMBER, reason_for
from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.classes import CERTAIN, FilterId
from bekend_proto import channel, dleq, group
from bekend_proto.clock import FRESHNESS
from bekend_proto.errors import Code, KeysError, MalformedError, StorageError
from bekend_proto.filter import m_hash
from bekend_proto.v1 import broker_pb2, errors_pb2, signed_pb2
from nacl.signing import SigningKey

from tests.support.asking import OTHER, PERSON, THIRD, Line, Source, Stage, weighing, zsm
from tests.support.covenants import (
    HAARLEM,
    NOW,
    OM,
    OPERATOR,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VELSEN,
    ZSM,
    edit,
)

BOTH = (POLITIE, RECLASSERING)
STRANGER = SigningKey.generate()
Fields = dict[str, Any]


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON,)
    made.sources[HAARLEM].known = (PERSON,)
    yield made
    await made.close()


async def lied(stage: Stage) -> str:
    """Ask both; the police lie. Returns the reason shown, after checking that the other partner's outcome stands."""
    found, _ = await stage.ask(zsm(BOTH))
    told = {one.oin: one for one in found if one.oin in BOTH}
    assert told[POLITIE].outcome == "geen_antwoord"
    assert told[POLITIE].as_of is None
    assert told[POLITIE].desk is None
    assert told[RECLASSERING].outcome == "geen_uitsluitsel"
    return told[POLITIE].reason


def by_police(change: Callable[[Any], Any]) -> Callable[[Any, Source], Any]:
    """This lie is told by the police alone."""
    return lambda honest, source: change(honest) if source.oin == POLITIE else honest


def other_element(_: object = None) -> bytes:
    return group.random_element()


def prove_anew(fields: Fields, scalar: bytes) -> Fields:
    """A right proof under another key than the filter's."""
    received = list(fields["received"])
    evaluated = [group.multiply(scalar, element) for element in received]
    proof = dleq.prove(scalar, group.multiply_base(scalar), received, evaluated)
    return {**fields, "evaluated": evaluated, "proof": proof}


ANSWERS: dict[str, Callable[[Fields], Fields]] = {
    "bad proof": lambda f: {**f, "proof": bytes([f["proof"][0] ^ 1]) + f["proof"][1:]},
    "proof of zeros": lambda f: {**f, "proof": bytes(64)},
    "proof under another key": lambda f: prove_anew(f, group.random_scalar()),
    "evaluated something else": lambda f: {**f, "evaluated": [other_element() for _ in f["evaluated"]]},
    "received something else": lambda f: {**f, "received": [other_element() for _ in f["received"]]},
    "identity": lambda f: {**f, "evaluated": [bytes(32)]},
    "not canonical": lambda f: {**f, "evaluated": [b"\xff" * 32]},
    "two persons": lambda f: {**f, "evaluated": f["evaluated"] * 2, "received": f["received"] * 2},
    "nobody": lambda f: {**f, "evaluated": [], "received": []},
    "wrong m_hash": lambda f: {**f, "m_hash": m_hash(other_element())},
    "other version": lambda f: {**f, "filter_version": f["filter_version"] + 1},
    "older version": lambda f: {**f, "filter_version": f["filter_version"] - 900},
    "other requester": lambda f: {**f, "requester": HAARLEM},
    "other source": lambda f: {**f, "source": RECLASSERING},
    "other question": lambda f: {**f, "question_hash": bytes(32)},
    "other transcript": lambda f: {**f, "transcript": bytes(32)},
    "other protocol version": lambda f: {**f, "protocol_version": 2},
    "short checkpoint": lambda f: {**f, "checkpoint": bytes(71)},
}


@pytest.mark.parametrize("name", ANSWERS)
async def test_a_false_answer_is_geen_antwoord(stage: Stage, name: str) -> None:
    stage.changes.answer = by_police(ANSWERS[name])
    await lied(stage)


async def test_must_02_the_requester_verifies_the_proof_of_the_source(stage: Stage) -> None:
    stage.changes.answer = by_police(ANSWERS["proof under another key"])
    assert "bewijs dat niet klopt" in await lied(stage)


async def test_must_03_a_signing_key_comes_from_the_manifest_only(stage: Stage) -> None:
    stage.changes.answer_key = by_police(lambda _: STRANGER)
    assert "handtekening" in await lied(stage)


async def test_must_03_the_key_of_another_partner_signs_nothing(stage: Stage) -> None:
    stage.changes.answer_key = by_police(lambda _: stage.sources[RECLASSERING].signing)
    await lied(stage)


async def test_must_03_an_unknown_manifest_is_geen_antwoord(stage: Stage) -> None:
    del stage.manifests[POLITIE]
    await lied(stage)


async def test_a_signature_for_another_kind_of_message_is_none(stage: Stage) -> None:
    honest = channel.LABEL_ANSWER
    stage.changes.before_answer = lambda source: setattr(
        stage.changes, "answer_label", channel.LABEL_FILTER if source.oin == POLITIE else honest
    )
    await lied(stage)


async def test_must_16_an_answer_with_an_unknown_field_is_refused(stage: Stage) -> None:
    source = stage.sources[POLITIE]

    def add(box: bytes) -> bytes:
        signed = signed_pb2.Signed.FromString(box)
        payload = signed.payload + b"\xa2\x06\x01x"
        return channel.sign(source.signing, channel.LABEL_ANSWER, payload).SerializeToString(deterministic=True)

    stage.changes.box = by_police(add)
    await lied(stage)


@pytest.mark.parametrize(
    "change",
    [
        lambda one: broker_pb2.SealedAnswer(question_id=one.question_id),
        lambda one: broker_pb2.SealedAnswer(
            question_id=one.question_id, x25519=bytes(32), mlkem=one.mlkem, box=one.box
        ),
        lambda one: broker_pb2.SealedAnswer(
            question_id=one.question_id, x25519=one.x25519, mlkem=bytes(1088), box=one.box
        ),
        lambda one: broker_pb2.SealedAnswer(
            question_id=one.question_id, x25519=one.x25519, mlkem=one.mlkem, box=one.box[:-1] + bytes([one.box[-1] ^ 1])
        ),
    ],
    ids=["empty", "small-order key", "other ciphertext", "tampered box"],
)
async def test_a_broken_seal_is_geen_antwoord(stage: Stage, change: Callable[[Any], Any]) -> None:
    stage.changes.sealed = by_police(change)
    await lied(stage)


async def test_must_17_a_question_sent_back_is_no_answer(stage: Stage) -> None:
    question: list[bytes] = []
    stage.changes.before_answer = lambda source: question.append(
        source.asked[-1].question.SerializeToString(deterministic=True)
    )
    # Sealed under the right key, by the real peer, and signed by the requester itself: still no Answer.
    stage.changes.box = by_police(lambda _: question[-1])
    await lied(stage)


async def test_must_17_a_box_under_the_other_direction_does_not_open(stage: Stage) -> None:
    honest = channel.OpenChannel.seal_to_requester

    def wrong_way(self: channel.OpenChannel, counter: int, data: bytes) -> bytes:
        return channel.OpenChannel.seal_to_source(self, counter, data)

    await stage.asker.open_purpose(ZSM, BOTH)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(channel.OpenChannel, "seal_to_requester", wrong_way)
        found, _ = await stage.ask(zsm(BOTH))
    assert channel.OpenChannel.seal_to_requester is honest
    assert {one.outcome.value for one in found if one.oin in BOTH} == {"geen_antwoord"}


async def test_must_06_a_replayed_answer_of_another_question_is_refused(stage: Stage) -> None:
    kept: list[broker_pb2.SealedAnswer] = []

    def keep(one: broker_pb2.SealedAnswer) -> broker_pb2.SealedAnswer:
        kept.append(one)
        return one

    stage.changes.sealed = by_police(keep)
    assert (await stage.outcome_of(zsm(BOTH), POLITIE)).outcome == "bekend"

    def replay(one: broker_pb2.SealedAnswer) -> broker_pb2.SealedAnswer:
        return broker_pb2.SealedAnswer(
            question_id=one.question_id, x25519=kept[0].x25519, mlkem=kept[0].mlkem, box=kept[0].box
        )

    stage.changes.sealed = by_police(replay)
    await lied(stage)


async def test_must_06_a_second_answer_to_a_question_changes_nothing(stage: Stage) -> None:
    def twice(replies: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        failures = [
            broker_pb2.LookupResponse(
                failure=broker_pb2.Failure(question_id=one.answer.question_id, code=errors_pb2.ERROR_CODE_UNREACHABLE)
            )
            for one in replies
        ]
        return [replies[0], replies[0], failures[0], *replies[1:]]

    stage.changes.replies = twice
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.oin: one.outcome.value for one in found if one.oin in BOTH} == {
        POLITIE: "bekend",
        RECLASSERING: "geen_uitsluitsel",
    }


async def test_a_broker_that_promises_without_end_fills_no_disk(stage: Stage) -> None:
    def many(replies: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        lost = broker_pb2.Failure(question_id=bytes(16), code=errors_pb2.ERROR_CODE_UNREACHABLE)
        more = [broker_pb2.LookupResponse(failure=lost, promise=replies[0].promise) for _ in range(50)]
        return [replies[0], *more, *replies[1:]]

    stage.changes.replies = many
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.oin for one in found if one.outcome in {"bekend", "geen_uitsluitsel"}} == set(BOTH)
    assert len(stage.store.open_promises(100)) == 1


async def test_answers_of_two_partners_cannot_be_exchanged(stage: Stage) -> None:
    def exchange(replies: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        first, second = replies
        first.answer.question_id, second.answer.question_id = second.answer.question_id, first.answer.question_id
        return [first, second]

    stage.changes.replies = exchange
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.outcome.value for one in found if one.oin in BOTH} == {"geen_antwoord"}


@pytest.mark.parametrize("field", ["evaluated", "received", "both"])
async def test_swapped_persons_are_geen_antwoord(stage: Stage, field: str) -> None:
    def swap(fields: Fields, source: Source) -> Fields:
        names = ["evaluated", "received"] if field == "both" else [field]
        return {**fields, **{name: fields[name][::-1] for name in names}}

    stage.changes.answer = swap
    found, _ = await stage.ask(weighing((HAARLEM, VELSEN), (PERSON, OTHER, THIRD)))
    told = [one.outcome.value for one in found if one.oin in {HAARLEM, VELSEN}]
    assert told == ["geen_antwoord"] * 6


def _after(span: timedelta) -> int:
    return int((NOW + span).timestamp())


HEADERS: dict[str, Callable[[Fields], Fields]] = {
    "other source": lambda f: {**f, "source": RECLASSERING},
    "other purpose": lambda f: {**f, "purpose": "kennemerland/zsm-lokale-context"},
    "other covenant": lambda f: {**f, "covenant_hash": bytes(32)},
    "epoch long gone": lambda f: {**f, "epoch": "2026Q1"},
    "epoch to come": lambda f: {**f, "epoch": "2027Q1"},
    "no epoch": lambda f: {**f, "epoch": "2026Q9"},
    "identity as M": lambda f: {**f, "m": bytes(32)},
    "M not canonical": lambda f: {**f, "m": b"\xff" * 32},
    "wrong body hash": lambda f: {**f, "body_hash": bytes(32)},
    "fewer tags": lambda f: {**f, "tags": 512},
    "more tags": lambda f: {**f, "tags": 2048},
    "no size class": lambda f: {**f, "tags": 1023},
    "absurd size": lambda f: {**f, "tags": 1 << 60},
    "ended": lambda f: {**f, "end": f["version"] + 1},
    "from the future": lambda f: {**f, "version": f["version"] + 86_400, "end": f["end"] + 86_400},
    "no calendar": lambda f: {**f, "end": 1 << 63},
    "holds for ever": lambda f: {**f, "end": int(datetime(9999, 1, 1, tzinfo=UTC).timestamp())},
    "holds a second too long": lambda f: {**f, "end": _after(timedelta(minutes=15) + FRESHNESS) + 1},
    "a size that may hold longer": lambda f: {**f, "tags": 1 << 18, "end": _after(timedelta(hours=6))},
    "manual": lambda f: {**f, "mode": signed_pb2.FILTER_MODE_MANUAL},
    "over-aged list": lambda f: {**f, "as_of": "2026-11-20"},
    "list of a day to come": lambda f: {**f, "as_of": "2026-12-03"},
    "no date": lambda f: {**f, "as_of": "2026-13-45"},
    "kinds not sorted": lambda f: {**f, "kinds": ["test", "bsn"]},
    "no kinds": lambda f: {**f, "kinds": []},
    "kinds of two classes": lambda f: {**f, "kinds": ["bsn", "naam-geboortedatum"]},
    "combinations alone": lambda f: {**f, "kinds": ["naam-geboortedatum"]},
    "the filter of combinations": lambda f: {**f, "kind_class": signed_pb2.KIND_CLASS_POSSIBLE},
    "other protocol version": lambda f: {**f, "protocol_version": 2},
}


@pytest.mark.parametrize("name", HEADERS)
async def test_a_false_filter_header_is_geen_antwoord(stage: Stage, name: str) -> None:
    stage.changes.header = by_police(HEADERS[name])
    await lied(stage)
    assert stage.sources[POLITIE].asked == []


@pytest.mark.parametrize(
    ("agreed", "by_hand", "longest"),
    [
        (None, False, timedelta(minutes=15)),
        ("PT1M", False, timedelta(minutes=1)),
        ("PT6H", False, timedelta(hours=6)),
        # By hand the header does not say how many there are.
        (None, True, timedelta(hours=6)),
        ("PT1M", True, timedelta(minutes=1)),
    ],
)
async def test_a_filter_holds_no_longer_than_the_covenant_has_it(
    tmp_path: Path, agreed: str | None, by_hand: bool, longest: timedelta
) -> None:
    def change(folder: Path) -> None:
        if agreed is not None:
            edit(folder / "afspraken.yaml", "quorum: 7", f"filter_interval: {agreed}\nquorum: 7")

    stage = Stage(tmp_path, change)
    source = stage.sources[VEILIG_THUIS if by_hand else HAARLEM]
    source.by_hand = by_hand
    purpose, moment = "kennemerland/zvh-weging-betrokkenheid", _after(longest + FRESHNESS)
    source.end = moment + 1
    assert await stage.asker.open_purpose(purpose, [source.oin]) == {source.oin: "stale"}
    source.end = moment
    assert await stage.asker.open_purpose(purpose, [source.oin]) == {source.oin: None}
    await stage.close()


async def test_a_filter_that_is_fetched_again_before_it_switched_is_held_until_its_new_end(stage: Stage) -> None:
    source = stage.sources[POLITIE]
    source.end = _after(timedelta(minutes=1))
    await stage.asker.open_purpose(ZSM, [POLITIE])
    # So soon after its end that it is held still, as the one before.
    stage.clock.advance(timedelta(seconds=65))
    source.end = _after(timedelta(minutes=10))
    for _ in range(3):
        assert await stage.asker.open_purpose(ZSM, [POLITIE]) == {POLITIE: None}
    assert len(stage.line.orders) == 2


async def test_a_source_that_enrolled_another_kind_is_not_asked(stage: Stage) -> None:
    """It says so itself, signed: by a number that it does not hold everybody would be missed."""
    stage.changes.header = by_police(lambda f: {**f, "kinds": ["test"]})
    found, _ = await stage.ask(zsm(BOTH))
    told = {one.oin: one for one in found if one.oin in BOTH}
    assert (told[POLITIE].outcome, told[POLITIE].reason) == ("niet_bevraagd", OTHER_NUMBER)
    assert told[RECLASSERING].outcome != "geen_antwoord"
    assert stage.sources[POLITIE].asked == []


BODIES: dict[str, Callable[[bytes], bytes]] = {
    "one tag changed": lambda body: body[:-1] + bytes([body[-1] ^ 1]),
    "not sorted": lambda body: body[8:16] + body[:8] + body[16:],
    "half": lambda body: body[: len(body) // 2],
    "twice": lambda body: body * 2,
    "not whole tags": lambda body: body[:-3],
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("name", BODIES)
async def test_a_false_filter_body_is_geen_antwoord(stage: Stage, name: str) -> None:
    stage.changes.body = by_police(BODIES[name])
    await lied(stage)
    assert stage.sources[POLITIE].asked == []


async def test_an_unsorted_body_under_its_own_hash_is_refused(stage: Stage) -> None:
    change = BODIES["not sorted"]
    stage.changes.body = by_police(change)
    stage.changes.header = by_police(
        lambda f: {**f, "body_hash": hashlib.blake2b(change(stage.sources[POLITIE].body(ZSM)), digest_size=32).digest()}
    )
    await lied(stage)


async def test_must_03_a_filter_header_needs_a_key_of_the_manifest(stage: Stage) -> None:
    stage.changes.header_key = by_police(lambda _: STRANGER)
    await lied(stage)


async def test_a_filter_never_goes_back_to_an_older_version(stage: Stage) -> None:
    source = stage.sources[POLITIE]
    await stage.asker.open_purpose(ZSM, BOTH)
    source.version -= 60
    await lied(stage)


async def test_two_filters_under_one_version_are_refused(stage: Stage) -> None:
    await stage.asker.open_purpose(ZSM, BOTH)
    source = stage.sources[POLITIE]
    source.m = group.random_scalar()
    await lied(stage)


async def test_two_bodies_under_one_version_and_one_m_are_refused(stage: Stage) -> None:
    """Whoever is told something else than was told before is not told by the same filter."""
    id_ = FilterId(ZSM, CERTAIN)
    held = await stage.asker.shelf.refresh(id_, POLITIE)
    source = stage.sources[POLITIE]
    source.known = ()
    with pytest.raises(MalformedError, match="two filters"):
        await stage.asker.shelf.refresh(id_, POLITIE)
    assert stage.asker.shelf.at_hand(id_, POLITIE) is held


async def test_a_w_is_never_compared_with_another_version(stage: Stage) -> None:
    """The source switches twice: the version that the answer names is gone when it is fetched."""
    source = stage.sources[POLITIE]
    await stage.asker.open_purpose(ZSM, BOTH)
    source.switch()

    def switch_again(one: broker_pb2.SealedAnswer) -> broker_pb2.SealedAnswer:
        source.switch()
        return one

    stage.changes.sealed = by_police(switch_again)
    await lied(stage)


@pytest.mark.parametrize("lie", ["other key", "other element", "bad proof", "fewer", "identity"])
async def test_a_false_begun_ends_the_lookup_before_a_question_leaves(stage: Stage, lie: str) -> None:
    scalar = group.random_scalar()

    def change(begun: broker_pb2.Begun) -> broker_pb2.Begun:
        honest = list(begun.evaluated)
        elements = list(stage.line.begins[-1].elements)
        evaluated = {
            "other key": [group.multiply(scalar, element) for element in elements],
            "other element": [group.random_element()],
            "bad proof": honest,
            "fewer": [],
            "identity": [bytes(32)],
        }[lie]
        proof = begun.proof
        if lie == "other key":
            proof = dleq.prove(scalar, group.multiply_base(scalar), elements, evaluated)
        return broker_pb2.Begun(evaluated=evaluated, proof=bytes(64) if lie == "bad proof" else proof)

    stage.changes.begun = change
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.outcome.value for one in found if one.oin in BOTH} == {"geen_antwoord"}
    assert stage.line.asks == []
    assert stage.store.own_records(KIND_LOOKUP) == []


async def test_swapped_persons_in_begun_are_noticed(stage: Stage) -> None:
    stage.changes.begun = lambda begun: broker_pb2.Begun(evaluated=list(begun.evaluated)[::-1], proof=begun.proof)
    found, _ = await stage.ask(weighing((HAARLEM,), (PERSON, OTHER)))
    assert {one.outcome.value for one in found if one.oin == HAARLEM} == {"geen_antwoord"}


async def test_a_month_without_a_key_in_the_brokers_manifest_ends_the_lookup(stage: Stage) -> None:
    stage.manifests[OPERATOR] = replace(stage.broker_manifest, record_keys={})
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.outcome.value for one in found if one.oin in BOTH} == {"geen_antwoord"}
    assert stage.line.begins == []


@pytest.mark.parametrize("code", [code for code in errors_pb2.ErrorCode.values() if code])
async def test_every_failure_of_a_question_is_geen_antwoord_with_a_reason(stage: Stage, code: Code) -> None:
    def fail(replies: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        first = replies[0].answer.question_id
        return [broker_pb2.LookupResponse(failure=broker_pb2.Failure(question_id=first, code=code)), *replies[1:]]

    stage.changes.replies = fail
    assert (await lied(stage)).endswith("Dit zegt niets over de persoon. Vraag het later opnieuw.")


async def test_a_failure_of_the_whole_lookup_is_geen_antwoord_for_who_had_none(stage: Stage) -> None:
    def fail(replies: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        failure = broker_pb2.Failure(code=errors_pb2.ERROR_CODE_STORAGE)
        return [replies[0], broker_pb2.LookupResponse(failure=failure)]

    stage.changes.replies = fail
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.oin: one.outcome.value for one in found if one.oin in BOTH} == {
        POLITIE: "bekend",
        RECLASSERING: "geen_antwoord",
    }


async def test_a_stream_that_ends_early_is_geen_antwoord(stage: Stage) -> None:
    stage.hang_up = True
    stage.changes.replies = lambda replies: replies[:1]
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.oin: one.outcome.value for one in found if one.oin in BOTH} == {
        POLITIE: "bekend",
        RECLASSERING: "geen_antwoord",
    }


async def test_silence_is_geen_antwoord_at_the_deadline(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(replies_module, "REPLY_SECONDS", 0.0)
    monkeypatch.setattr(replies_module, "MARGIN_SECONDS", 0.05)
    stage.changes.replies = lambda replies: replies[1:]
    reason = (await stage.outcome_of(zsm(BOTH), POLITIE)).reason
    assert "antwoordde niet op tijd" in reason


async def test_a_filter_that_does_not_come_in_time_is_geen_antwoord(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies_module, "REPLY_SECONDS", 0.0)
    monkeypatch.setattr(replies_module, "MARGIN_SECONDS", 0.05)
    await stage.asker.open_purpose(ZSM, BOTH)
    stage.changes.before_answer = lambda source: source.switch() if source.oin == POLITIE else None
    never = asyncio.Event()

    async def fetch(self: Line, request: object, seconds: float) -> AsyncIterator[broker_pb2.FilterPiece]:
        await never.wait()
        yield broker_pb2.FilterPiece()

    monkeypatch.setattr(Line, "fetch", fetch)
    await lied(stage)


async def test_a_filter_that_never_comes_keeps_nobody_waiting(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.asker.open_purpose(ZSM, (RECLASSERING,))
    monkeypatch.setattr(filters_held, "WAIT_SECONDS", 0.05)
    never = asyncio.Event()

    async def fetch(self: Line, request: object, seconds: float) -> AsyncIterator[broker_pb2.FilterPiece]:
        await never.wait()
        yield broker_pb2.FilterPiece()

    monkeypatch.setattr(Line, "fetch", fetch)
    assert "antwoordde niet op tijd" in await lied(stage)
    assert stage.sources[POLITIE].asked == []


async def test_a_partner_of_another_protocol_version_is_geen_antwoord_and_not_asked(stage: Stage) -> None:
    stage.manifests[POLITIE] = replace(stage.manifests[POLITIE], protocol_versions=(2,))
    assert "andere versie van het protocol" in await lied(stage)
    assert stage.sources[POLITIE].asked == []


async def test_must_12_no_fault_quotes_a_person(stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    stage.changes.answer = by_police(ANSWERS["bad proof"])
    await lied(stage)
    text = capsys.readouterr().err
    assert '"event": "no-answer"' in text
    assert PERSON.value not in text


async def test_no_log_and_no_record_no_question(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """The disk is full when the record is written: the Begin is out, no Question ever is."""
    honest = stage.store.admit_asking

    async def full(**facts: Any) -> None:
        if facts.get("records"):
            raise StorageError("the disk is full")
        await honest(**facts)

    monkeypatch.setattr(stage.store, "admit_asking", full)
    with pytest.raises(StorageError):
        await stage.ask(zsm(BOTH))
    assert len(stage.line.begins) == 1
    assert stage.line.asks == []


async def test_without_an_own_privacy_officer_nothing_leaves(stage: Stage) -> None:
    stage.manifests[OM] = replace(stage.manifests[OM], privacy_officer=None)
    with pytest.raises(KeysError):
        await stage.ask(zsm(BOTH))
    assert stage.line.begins == []


async def test_a_source_without_privacy_officer_is_not_asked(stage: Stage) -> None:
    stage.manifests[POLITIE] = replace(stage.manifests[POLITIE], privacy_officer=None)
    await lied(stage)
    assert stage.sources[POLITIE].asked == []


@pytest.mark.parametrize("switched", [False, True])
async def test_an_unforeseen_fault_over_one_answer_costs_the_other_partners_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, switched: bool
) -> None:
    """A fault is `geen antwoord`, whichever: no partner is left without an outcome, and nothing is quoted."""
    honest = answers.unblind

    def broken(pending: Any, answer: Any, held: Any) -> list[bytes]:
        if pending.source.oin == POLITIE:
            raise ValueError(PERSON.value)
        return honest(pending, answer, held)

    monkeypatch.setattr(answers, "unblind", broken)
    if switched:
        version = filters_held.FilterShelf.version
        monkeypatch.setattr(
            filters_held.FilterShelf,
            "version",
            lambda shelf, purpose, source, number: (
                None if source == POLITIE else version(shelf, purpose, source, number)
            ),
        )
    assert await lied(stage) == reason_for(errors_pb2.ERROR_CODE_INTERNAL)
    logged = capsys.readouterr().err
    assert "ValueError" in logged
    assert PERSON.value not in logged
