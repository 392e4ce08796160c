"""The asking side, honest parties: what an officer learns, what leaves, what is kept."""

import dataclasses
import json
import logging
from base64 import b64decode
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask import asks, blinds, broker_line, replies
from bekend_node.ask.messages import Draft, draft
from bekend_node.ask.outcomes import PROVES_NOTHING, Outcome, OutcomeKind, reason_for
from bekend_node.ask.own_record import KIND_LOOKUP, KIND_OUTCOMES
from bekend_node.ask.rules import Inquiry
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.store_decisions import Decisions
from bekend_proto import records
from bekend_proto.errors import BudgetError, RefusedError, StorageError, UnreachableError
from bekend_proto.identifiers import parse_identifier
from bekend_proto.v1 import broker_pb2, signed_pb2
from hypothesis import given
from hypothesis import strategies as st
from nacl.public import SealedBox

from tests.support.asking import CANARY, OTHER, PERSON, THIRD, Line, Stage, unreachable, weighing, zsm
from tests.support.covenants import (
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VELSEN,
    ZSM,
    ZVH,
    ZVH_WEIGHING,
    edit,
    signed,
)

BOTH = (POLITIE, RECLASSERING)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON, THIRD)
    made.sources[HAARLEM].known = (OTHER,)
    yield made
    await made.close()


async def test_each_partner_gives_one_bit(stage: Stage) -> None:
    found, _ = await stage.ask(zsm(BOTH))
    told = {one.oin: one for one in found if one.oin in BOTH}
    assert told[POLITIE].outcome is OutcomeKind.KNOWN
    assert told[RECLASSERING].outcome is OutcomeKind.INCONCLUSIVE
    assert told[POLITIE].as_of == "2026-12-01"


async def test_several_persons_each_have_their_own_outcome(stage: Stage) -> None:
    found, _ = await stage.ask(weighing((HAARLEM, VELSEN), (PERSON, OTHER, THIRD)))
    told = {(one.oin, one.person): one.outcome.value for one in found if one.oin in {HAARLEM, VELSEN}}
    assert told == {
        (HAARLEM, 0): "geen_uitsluitsel", (HAARLEM, 1): "bekend", (HAARLEM, 2): "geen_uitsluitsel",
        (VELSEN, 0): "geen_uitsluitsel", (VELSEN, 1): "geen_uitsluitsel", (VELSEN, 2): "geen_uitsluitsel",
    }  # fmt: skip


def test_fg_11_an_outcome_has_no_room_for_anything_else() -> None:
    fields = {field.name for field in dataclasses.fields(Outcome)}
    assert fields == {"person", "oin", "name", "outcome", "as_of", "reason", "desk", "until"}
    with pytest.raises(AttributeError):
        object.__setattr__(Outcome(0, OM, "OM", OutcomeKind.KNOWN, None, ""), "role", "verdachte")


async def test_fg_11_the_desk_stands_only_with_bekend(stage: Stage) -> None:
    found, _ = await stage.ask(zsm(BOTH))
    assert {one.oin for one in found if one.desk is not None} == {POLITIE}
    reasons = {one.reason for one in found if one.outcome is OutcomeKind.KNOWN}
    assert reasons == {"Neem contact op met het contactpunt van deze partner."}
    assert {one.desk for one in found} == {None, stage.manifests[POLITIE].contact}


async def test_fg_27_no_hit_says_that_it_proves_nothing(stage: Stage) -> None:
    outcome = await stage.outcome_of(zsm(BOTH), RECLASSERING)
    assert outcome.reason == PROVES_NOTHING
    assert "bewijst niets" in json.dumps(outcome.to_json())


async def test_fg_09_nobody_is_asked_without_being_chosen(stage: Stage) -> None:
    with pytest.raises(RefusedError, match=POLITIE) as refused:
        stage.asker.ask(zsm(()))
    assert refused.value.rule == "FG-09"
    outcome = await stage.outcome_of(zsm((POLITIE,)), RECLASSERING)
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert "Niet gekozen" in outcome.reason
    assert [question.oin for question in stage.sources.values() if question.asked] == [POLITIE]


async def test_what_the_covenant_does_not_let_answer_is_not_asked(stage: Stage) -> None:
    chosen = (*BOTH, HAARLEM)
    found, _ = await stage.ask(zsm(chosen))
    told = {one.oin: one for one in found}
    assert told[VEILIG_THUIS].outcome is OutcomeKind.NOT_ASKED
    assert told[HAARLEM].outcome is OutcomeKind.NOT_ASKED
    assert "regel nooit" in told[HAARLEM].reason
    assert told[ZVH].outcome is OutcomeKind.NOT_ASKED


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        ({"officer": dataclasses.replace(zsm(BOTH).officer, role="stagiair")}, "rol"),
        ({"case_reference": "geen nummer"}, "zaaknummer"),
        ({"case_reference": None}, "zaaknummer"),
        ({"attested": frozenset()}, "voorwaarde"),
        ({"justification": " "}, "voorwaarde"),
        ({"purpose": "kennemerland/iets-anders"}, "onbekend-doel"),
        ({"on_behalf_of": HAARLEM}, "namens"),
        ({"persons": (PERSON, OTHER)}, "personen"),
        ({"persons": (PERSON, PERSON)}, "persoon-dubbel"),
        ({"persons": (PERSON, parse_identifier("test", "12"))}, "soort-gemengd"),
        ({"sources": (POLITIE, POLITIE)}, "partner-dubbel"),
        ({"sources": (OM,)}, "eigen-organisatie"),
        ({"sources": ("00000099000000008888",)}, "partner-onbekend"),
    ],
)
async def test_what_the_own_rules_refuse_never_leaves(stage: Stage, change: dict[str, object], rule: str) -> None:
    with pytest.raises(RefusedError) as refused:
        stage.asker.ask(dataclasses.replace(zsm(BOTH), **change))  # type: ignore[arg-type]
    assert refused.value.rule == rule
    assert stage.line.begins == []
    assert stage.line.orders == []
    assert PERSON.value not in str(refused.value)


async def test_filters_come_before_a_person_is_named(stage: Stage) -> None:
    assert await stage.asker.open_purpose(ZSM, BOTH) == {POLITIE: None, RECLASSERING: None}
    assert {order.source for order in stage.line.orders} == set(BOTH)
    stage.line.orders.clear()
    await stage.ask(zsm(BOTH))
    assert stage.line.orders == []


async def test_a_filter_that_ended_is_fetched_again(stage: Stage) -> None:
    await stage.ask(zsm((POLITIE,)))
    stage.sources[POLITIE].switch()
    stage.clock.advance(timedelta(minutes=11))
    outcome = await stage.outcome_of(zsm((POLITIE,)), POLITIE)
    assert outcome.outcome is OutcomeKind.KNOWN
    assert len(stage.line.orders) == 2


async def test_a_switch_in_mid_flight_is_a_clean_answer(stage: Stage) -> None:
    await stage.asker.open_purpose(ZSM, BOTH)
    stage.changes.before_answer = lambda source: source.switch()
    found, _ = await stage.ask(zsm(BOTH))
    told = {one.oin: one.outcome for one in found}
    assert told[POLITIE] is OutcomeKind.KNOWN
    assert told[RECLASSERING] is OutcomeKind.INCONCLUSIVE


async def test_an_answer_under_the_previous_version_still_counts_for_ten_seconds(stage: Stage) -> None:
    source = stage.sources[POLITIE]
    await stage.asker.open_purpose(ZSM, (POLITIE,))
    old = (source.m, source.version, source.end)
    source.switch()
    await stage.asker.shelf.refresh(FilterId(ZSM, CERTAIN), POLITIE)

    def back(one: object) -> None:
        source.m, source.version, source.end = old

    stage.changes.before_answer = back
    assert (await stage.outcome_of(zsm((POLITIE,)), POLITIE)).outcome is OutcomeKind.KNOWN
    stage.clock.advance(timedelta(seconds=11))
    assert (await stage.outcome_of(zsm((POLITIE,)), POLITIE)).outcome is OutcomeKind.NO_ANSWER


async def test_must_08_fresh_blinds_ids_and_keys_each_time(stage: Stage) -> None:
    for _ in range(2):
        await stage.ask(zsm(BOTH))
    questions = [signed_pb2.Question.FromString(one.question.payload) for one in _routed(stage)]
    assert len(questions) == 4
    for name in ("question_id", "x25519", "mlkem", "case_commitment"):
        assert len({getattr(question, name) for question in questions}) == 4, name
    elements = [element for question in questions for element in question.elements]
    elements += [element for begin in stage.line.begins for element in begin.elements]
    assert len(set(elements)) == 6


async def test_fg_13_a_question_tells_the_source_nothing_about_the_person(stage: Stage) -> None:
    await stage.ask(zsm(BOTH))
    for routed in _routed(stage):
        for needle in (PERSON.value, PERSON.canonical.decode(), "15/234567-26", "jansen", "officier"):
            assert needle.encode() not in routed.SerializeToString()


async def test_fg_15_what_one_partner_receives_is_the_same_whatever_another_knows(stage: Stage) -> None:
    await stage.ask(zsm(BOTH))
    seen = [stage.sources[oin].asked[0] for oin in BOTH]
    assert len({len(one.SerializeToString()) for one in seen}) == 1
    assert seen[0].question.payload != seen[1].question.payload
    assert POLITIE.encode() not in seen[1].SerializeToString()


async def test_fg_16_asking_leaves_nothing_that_a_later_question_shows(stage: Stage) -> None:
    first = await stage.outcome_of(zsm(BOTH), POLITIE)
    second = await stage.outcome_of(zsm(BOTH), POLITIE)
    assert first == second


async def test_must_22_the_sealed_record_reproduces_every_byte(stage: Stage) -> None:
    await stage.ask(weighing((HAARLEM, VELSEN), (PERSON, OTHER)))
    record = _open_record(stage, KIND_LOOKUP)
    persons = [parse_identifier(one["kind"], one["value"]) for one in record["identifiers"]]
    begin = signed_pb2.Begin.FromString(signed_pb2.Signed.FromString(b64decode(record["begin"])).payload)
    sources = [one["source"] for one in record["questions"]]
    again = blinds.derive(bytes.fromhex(record["seed"]), persons, sources)
    assert list(again.begin_elements) == list(begin.elements) == list(stage.line.begins[0].elements)
    begun = broker_pb2.Begun.FromString(b64decode(record["begun"]))
    keys = again.finalize(list(begun.evaluated))
    for one, routed in zip(record["questions"], _routed(stage), strict=True):
        question = signed_pb2.Question.FromString(routed.question.payload)
        assert question.source == one["source"]
        assert question.question_id.hex() == one["question_id"]
        assert list(again.source(question.source).elements) == list(question.elements)
        source = stage.sources[question.source]
        sealed = again.sealed_records(
            keys,
            requester=OM,
            source=question.source,
            purpose=ZVH_WEIGHING,
            question_id=question.question_id,
            privacy_officer=bytes(source.officer.public_key),
        )
        assert sealed == list(routed.sealed_records)
        for person, record_ in enumerate(sealed):
            context = records.record_context(OM, question.source, ZVH_WEIGHING, question.question_id, person)
            assert SealedBox(source.officer).decrypt(record_) == records.record_value(keys[person], context)


async def test_the_own_record_and_log_are_durable_before_a_question_leaves(stage: Stage) -> None:
    seen: list[dict[str, int]] = []
    stage.changes.before_answer = lambda _: seen.append(stage.store.counts())
    await stage.ask(zsm(BOTH))
    assert [(one["log"], one["own_record"]) for one in seen] == [(2, 1), (2, 1)]
    assert stage.store.counts()["own_record"] == 2


async def test_the_outcomes_are_kept_sealed_and_of_one_length(stage: Stage) -> None:
    await stage.ask(zsm(BOTH, (PERSON,)))
    await stage.ask(zsm(BOTH, (OTHER,)))
    kept = stage.store.own_records(KIND_OUTCOMES)
    assert len({len(one.sealed) for one in kept}) == 1
    opened = [SealedBox(stage.own.officer).decrypt(one.sealed) for one in kept]
    # Also before it is filled up: no outcome takes more room than another.
    assert len({len(one.rstrip()) for one in opened}) == 1
    told = [{one["source"]: one["outcome"].strip() for one in json.loads(record)["outcomes"]} for record in opened]
    assert sorted(one[POLITIE] for one in told) == ["bekend", "geen_uitsluitsel"]
    assert {one[RECLASSERING] for one in told} == {"geen_uitsluitsel"}


async def test_no_identifier_stands_in_files_or_logs(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    await stage.ask(zsm(BOTH))
    text = capsys.readouterr()
    assert PERSON.value not in text.out + text.err + caplog.text
    for path in tmp_path.rglob("*"):
        if path.is_file():
            assert PERSON.value.encode() not in path.read_bytes()
    assert PERSON.value not in repr(zsm(BOTH))


async def test_must_18_one_budget_per_officer_over_all_purposes(stage: Stage) -> None:
    for _ in range(10):
        await stage.ask(weighing((HAARLEM,), (PERSON,)))
    with pytest.raises(BudgetError):
        await stage.ask(weighing((HAARLEM,), (PERSON,)))
    # The stream that stood ready for it holds no Begin, and is closed.
    assert len(stage.line.calls) == 11
    assert len(stage.line.begins) == 10
    assert all(call.closed for call in stage.line.calls)
    day = stage.clock.now().date()
    assert stage.store.used("officer", "devries", "", day) == 10
    # Another officer, and the next day, have budgets of their own.
    await stage.ask(zsm((POLITIE,)))
    stage.clock.advance(timedelta(hours=12))
    await _renew(stage)
    await stage.ask(weighing((HAARLEM,), (PERSON,)))


async def test_a_budget_counts_persons(stage: Stage) -> None:
    for _ in range(2):
        await stage.ask(weighing((HAARLEM,), (PERSON, OTHER, THIRD, CANARY)))
    with pytest.raises(BudgetError):
        await stage.ask(weighing((HAARLEM,), (PERSON, OTHER, THIRD)))


async def test_the_next_replica_is_asked_when_one_does_not_stand(stage: Stage) -> None:
    dead, broken = Line(stage), Line(stage)
    dead.stands = False
    broken.fails_at = {"begin": unreachable(), "fetch": unreachable()}
    stage.lines[:0] = [dead, broken]
    stage.asker = stage.make_asker()
    assert (await stage.outcome_of(zsm((POLITIE,)), POLITIE)).outcome is OutcomeKind.KNOWN
    assert dead.begins == []
    # A replica that may have seen a Begin cost the officer one question.
    assert stage.store.used("officer", "jansen", "", stage.clock.now().date()) == 2


async def test_a_replica_that_lets_a_begin_wait_is_left_for_another_and_comes_last_from_then_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.asker.open_purpose(ZSM, BOTH)
    hangs = _hanging(stage, monkeypatch)
    assert (await stage.outcome_of(zsm((POLITIE,)), POLITIE)).outcome is OutcomeKind.KNOWN
    assert len(hangs.begins) == 1
    assert (await stage.outcome_of(zsm((POLITIE,)), POLITIE)).outcome is OutcomeKind.KNOWN
    assert len(hangs.begins) == 1


async def test_a_filter_that_a_hanging_replica_does_not_bring_comes_over_another(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hanging(stage, monkeypatch)
    assert (await stage.outcome_of(zsm((POLITIE,)), POLITIE)).outcome is OutcomeKind.KNOWN


def _hanging(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> Line:
    """A replica in front of the other, that takes everything and says nothing."""
    monkeypatch.setattr(broker_line, "FAILOVER_SECONDS", 0.05)
    hangs = Line(stage)
    hangs.hangs = True
    stage.lines.insert(0, hangs)
    stage.asker._lines = tuple(stage.lines)
    return hangs


async def test_no_replica_at_all_is_geen_antwoord_and_costs_nothing(stage: Stage) -> None:
    await stage.asker.open_purpose(ZSM, BOTH)
    stage.line.stands = False
    outcome = await stage.outcome_of(zsm(BOTH), POLITIE)
    assert outcome.outcome is OutcomeKind.NO_ANSWER
    assert "De centrale is niet bereikbaar" in outcome.reason
    assert stage.store.used("officer", "jansen", "", stage.clock.now().date()) == 0


async def test_questions_are_never_sent_twice(stage: Stage) -> None:
    await stage.asker.open_purpose(ZSM, BOTH)
    stage.line.fails_at["ask"] = UnreachableError("gone")
    stage.lines.append(Line(stage))
    stage.asker._lines = tuple(stage.lines)
    outcome = await stage.outcome_of(zsm(BOTH), POLITIE)
    assert outcome.outcome is OutcomeKind.NO_ANSWER
    assert stage.lines[1].asks == []


async def test_a_node_asks_itself_only_about_its_canary(stage: Stage) -> None:
    stage.own.known = (CANARY,)
    outcome = await stage.asker.ask_canary(ZVH_WEIGHING)
    assert outcome.outcome is OutcomeKind.KNOWN
    begin = stage.line.begins[0]
    assert (begin.requester, begin.purpose, len(begin.elements)) == (OM, ZVH_WEIGHING, 1)


async def test_a_missed_canary_shows(stage: Stage) -> None:
    assert (await stage.asker.ask_canary(ZVH_WEIGHING)).outcome is OutcomeKind.INCONCLUSIVE


async def test_a_node_asks_itself_24_times_a_day_and_purpose(stage: Stage) -> None:
    for _ in range(24):
        await stage.asker.ask_canary(ZVH_WEIGHING)
    with pytest.raises(BudgetError):
        await stage.asker.ask_canary(ZVH_WEIGHING)
    with pytest.raises(RefusedError):
        await stage.asker.ask_canary(ZSM)


async def test_a_lookup_goes_on_when_nobody_reads_any_more(stage: Stage) -> None:
    outcomes = stage.asker.ask(zsm(BOTH))
    await anext(outcomes)
    await stage.asker.close()
    assert len(stage.store.own_records(KIND_OUTCOMES)) == 1


async def _renew(stage: Stage) -> None:
    """Every source switches until its filter holds now."""
    for source in stage.sources.values():
        while source.end <= stage.clock.now().timestamp():
            source.switch()


def _routed(stage: Stage) -> list[broker_pb2.RoutedQuestion]:
    return [routed for ask in stage.line.asks for routed in ask.questions]


def _open_record(stage: Stage, kind: str) -> dict[str, Any]:
    (kept,) = stage.store.own_records(kind)
    found: dict[str, Any] = json.loads(SealedBox(stage.own.officer).decrypt(kept.sealed))
    return found


async def test_fg_05_filters_that_came_under_another_covenant_are_not_used(stage: Stage, tmp_path: Path) -> None:
    """They may be of other registers: whoever goes by another version fetches anew before it asks."""
    await stage.asker.open_purpose(ZSM, [POLITIE])
    stage.covenant = signed(tmp_path / "next", lambda folder: edit(folder / "afspraken.yaml", "versie: 1", "versie: 2"))
    await stage.ask(zsm((POLITIE,)))
    hashes = [order.covenant_hash for order in stage.line.orders]
    assert len(set(hashes)) == 2
    assert hashes[-1] == stage.covenant.hash
    question = signed_pb2.Question.FromString(stage.line.asks[-1].questions[0].question.payload)
    assert question.covenant_hash == stage.covenant.hash


async def test_a_partner_that_the_covenant_lets_be_asked_by_another_number_is_not_asked(tmp_path: Path) -> None:
    def other_number(folder: Path) -> None:
        edit(
            folder / "doelen" / "zsm-context.yaml",
            r"registers: \[clienten\]",
            "registers: [clienten]\n    identificatie: [test]",
        )

    stage = Stage(tmp_path, other_number)
    outcome = await stage.outcome_of(zsm(BOTH), RECLASSERING)
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert "wordt onder dit doel niet gevraagd met 'bsn' (regel identificatie)" in outcome.reason
    assert outcome.reason.endswith("Ander nummer nodig: gebruik test.")
    assert stage.sources[RECLASSERING].asked == []
    assert len(stage.sources[POLITIE].asked) == 1
    await stage.close()


async def _in_several(stage: Stage, monkeypatch: pytest.MonkeyPatch, inquiry: Inquiry) -> list[Outcome]:
    stage.takes_several = True
    monkeypatch.setattr(asks, "SEVERAL", 2)
    monkeypatch.setattr(asks, "FIRST", 1)
    return (await stage.ask(inquiry))[0]


async def test_questions_in_several_asks_come_to_the_same(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen = (HAARLEM, VELSEN, RECLASSERING)
    before = {one.oin: one.outcome for one in (await stage.ask(weighing(chosen, (PERSON,))))[0]}
    assert [len(ask.questions) for ask in stage.line.asks] == [3]
    found = await _in_several(stage, monkeypatch, weighing(chosen, (PERSON,)))
    assert {one.oin: one.outcome for one in found} == before
    assert [(len(ask.questions), ask.more) for ask in stage.line.asks[1:]] == [(1, True), (2, False)]
    assert stage.heads.unpromised == 0


async def test_only_the_first_ask_is_made_while_the_broker_works_on_begin(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Hundreds would keep its reply, and with it the first outcome, waiting."""
    begin, made = stage.begun, list[str]()
    at_begun: list[int] = []

    def counted(*what: Any) -> Draft:
        made.append("one")
        return draft(*what)

    def begun(signed: signed_pb2.Begin) -> broker_pb2.Begun:
        at_begun.append(len(made))
        return begin(signed)

    monkeypatch.setattr(asks, "draft", counted)
    monkeypatch.setattr(stage, "begun", begun)
    await _in_several(stage, monkeypatch, weighing((HAARLEM, VELSEN, RECLASSERING), (PERSON,)))
    assert at_begun == [1]
    assert len(made) == 3


async def test_the_own_record_holds_the_questions_of_every_ask(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await _in_several(stage, monkeypatch, weighing((HAARLEM, VELSEN, RECLASSERING), (PERSON,)))
    sent = [signed_pb2.Question.FromString(one.question.payload) for ask in stage.line.asks for one in ask.questions]
    record = _open_record(stage, KIND_LOOKUP)
    assert [one["question_id"] for one in record["questions"]] == [one.question_id.hex() for one in sent]
    (decided,) = Decisions(stage.store.database).own(0, 1 << 60)
    judged = {one.source: one.question_id for one in decided[0].judged if one.question_id}
    assert judged == {one.source: one.question_id for one in sent}


async def test_must_07_what_the_own_disk_does_not_take_does_not_leave(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = stage.store.admit_asking

    async def full(**what: Any) -> None:
        if what.get("again"):
            raise StorageError("the disk is full")
        await keep(**what)

    monkeypatch.setattr(stage.store, "admit_asking", full)
    chosen = (HAARLEM, VELSEN, RECLASSERING)
    found = await _in_several(stage, monkeypatch, weighing(chosen, (PERSON,)))
    told = {one.oin: one for one in found if one.oin in chosen}
    assert [len(ask.questions) for ask in stage.line.asks] == [1]
    assert {told[oin].outcome for oin in chosen[1:]} == {OutcomeKind.NO_ANSWER}
    assert {told[oin].reason for oin in chosen[1:]} == {reason_for(StorageError.code, "Deze node")}


@pytest.mark.parametrize("asked", [0, 1])
async def test_fg_29_a_node_that_an_alarm_stops_while_it_asks_asks_nobody_more(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    begin = stage.begun

    def stops(signed: signed_pb2.Begin) -> broker_pb2.Begun:
        stage.heads.stopped = "the broker's log: fork" if asked == 0 else ""
        return begin(signed)

    def stops_later(found: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        stage.heads.stopped = "the broker's log: fork"
        return found

    monkeypatch.setattr(stage, "begun", stops)
    stage.changes.replies = stops_later
    chosen = (HAARLEM, VELSEN, RECLASSERING)
    found = await _in_several(stage, monkeypatch, weighing(chosen, (PERSON,)))
    told = {one.oin: one.outcome for one in found}
    assert [len(ask.questions) for ask in stage.line.asks] == [1] * asked
    assert {told[oin] for oin in chosen[asked:]} == {OutcomeKind.NO_ANSWER}


async def test_the_other_asks_do_not_wait_for_a_first_one_that_stays_away(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Long for two answers, short for one that never comes.
    monkeypatch.setattr(replies, "REPLY_SECONDS", 1.0)
    monkeypatch.setattr(replies, "MARGIN_SECONDS", 0.0)
    stage.changes.replies = lambda found: found if len(found) > 1 else []
    chosen = (HAARLEM, VELSEN, RECLASSERING)
    found = await _in_several(stage, monkeypatch, weighing(chosen, (PERSON,)))
    told = {one.oin: one.outcome for one in found if one.oin in chosen}
    assert [len(ask.questions) for ask in stage.line.asks] == [1, 2]
    assert sorted(told.values()) == [OutcomeKind.NO_ANSWER, OutcomeKind.INCONCLUSIVE, OutcomeKind.INCONCLUSIVE]


async def test_nothing_more_is_put_on_the_record_once_the_line_takes_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "REPLY_SECONDS", 0.1)
    monkeypatch.setattr(replies, "MARGIN_SECONDS", 0.1)
    monkeypatch.setattr(asks, "MOST", 1)

    def break_off(found: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        stage.line.fails_at["ask"] = UnreachableError("the line broke")
        return found

    stage.changes.replies = break_off
    chosen = (HAARLEM, VELSEN, RECLASSERING)
    found = await _in_several(stage, monkeypatch, weighing(chosen, (PERSON,)))
    told = [one.outcome for one in found if one.oin in chosen]
    assert sorted(told) == [OutcomeKind.NO_ANSWER, OutcomeKind.NO_ANSWER, OutcomeKind.INCONCLUSIVE]
    # The first, and the one whose Ask met the broken line.
    assert len(_open_record(stage, KIND_LOOKUP)["questions"]) == 2


async def test_an_answer_without_its_promise_is_noticed_whatever_was_promised(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.unpromised = {VELSEN}
    await _in_several(stage, monkeypatch, weighing((HAARLEM, VELSEN, RECLASSERING), (PERSON,)))
    assert stage.heads.unpromised == 1


@given(st.integers(1, 400), st.booleans())
def test_no_question_is_left_out_of_its_asks(number: int, several: bool) -> None:
    found = asks.sizes(number, several=several)
    assert sum(found) == number
    assert min(found) >= 1
    assert (len(found) > 1) is (several and number >= asks.SEVERAL)
    assert len(found) == 1 or (found[0] == asks.FIRST and found[-1] >= asks.FIRST)
    assert max(found) < asks.MOST + asks.FIRST or not several
