"""What a requester's node keeps of its decisions, and the records of the standards that are made of it."""

import dataclasses
import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.ask.rules import Inquiry
from bekend_node.store_decisions import Decisions
from bekend_policy.decided import Decided
from bekend_policy.decision_log import LOOKUP, Verdict, decision_records, replay
from bekend_policy.processing_log import activity_id, lookup_records
from bekend_policy.suspension import Suspensions
from bekend_proto import trace
from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError, SuspendedError
from bekend_proto.names import PersonData
from bekend_proto.v1 import signed_pb2
from nacl.public import SealedBox

from tests.support.asking import CANARY, OFFICER, OTHER, PERSON, ZSM_CASE, Stage
from tests.support.covenants import HAARLEM, OM, POLITIE, RECLASSERING, ZSM
from tests.support.standards import check_adl, check_ldv

BOTH = (POLITIE, RECLASSERING)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON,)
    yield made
    await made.close()


def asked(**changes: Any) -> Inquiry:
    return Inquiry(
        **{
            "purpose": ZSM,
            "persons": (PERSON,),
            "sources": BOTH,
            "officer": OFFICER,
            "case_reference": ZSM_CASE,
            "attested": frozenset({"verdachte"}),
            "justification": "aangehouden op heterdaad",
            **changes,
        }
    )


def kept(stage: Stage) -> list[tuple[Decided, int | None]]:
    now = milliseconds(stage.clock.now())
    return Decisions(stage.store.database).own(now - 10**9, now + 1)


def adl(stage: Stage) -> list[dict[str, Any]]:
    return [record for one, _ in kept(stage) for record in decision_records(one, trace.REQUESTER, OM)]


async def test_fg_28_a_lookup_leaves_a_record_per_person_and_a_decision_per_source(stage: Stage) -> None:
    await stage.ask(asked())
    ((one, ended),) = kept(stage)
    (processing,) = lookup_records(one, OM, ended)
    check_ldv(processing)
    assert processing["status"] == "Ok"
    assert processing["attributes"]["dpl.core.processing_activity_id"] == activity_id(OM, ZSM)
    records = adl(stage)
    for record in records:
        check_adl(record)
    sent = {question.question_id.hex() for question in _questions(stage)}
    assert {record["trace_id"] for record in records} == sent
    assert {record["attributes"][LOOKUP] for record in records} == {processing["trace_id"]}
    assert {record["body"]["adl.core.request"]["subject"]["properties"]["gebruiker"] for record in records} == {
        OFFICER.user
    }
    # Which person it is about, only the own privacy officer can find out: the id is that of the sealed record.
    (own,) = stage.store.own_records(KIND_LOOKUP)
    assert processing["attributes"]["dpl.core.data_subject_id"] == f"{own.id.hex()}:0"
    opened = json.loads(SealedBox(stage.own.officer).decrypt(own.sealed))
    assert opened["identifiers"][0]["value"].strip() == PERSON.value


async def test_two_sources_get_traces_that_have_nothing_in_common(stage: Stage) -> None:
    await stage.ask(asked())
    one, other = adl(stage)
    assert one["trace_id"] != other["trace_id"]
    assert one["span_id"] != other["span_id"]
    for question in _questions(stage):
        # The lookup's own id, which joins them, is in no Question.
        assert bytes.fromhex(one["attributes"][LOOKUP]) not in question.SerializeToString()


async def test_nothing_that_an_officer_typed_is_kept_in_the_clear(stage: Stage, tmp_path: Path) -> None:
    await stage.ask(asked(justification="geheim gehouden reden"))
    with pytest.raises(RefusedError):
        stage.asker.ask(asked(purpose=PERSON.value, case_reference=PERSON.value, attested=frozenset({PERSON.value})))
    await stage.asker.close()
    files = b"".join(path.read_bytes() for path in tmp_path.rglob("node.db*"))
    for text in (PERSON.value, ZSM_CASE, "geheim gehouden", "aangehouden"):
        assert text.encode() not in files
    assert len(kept(stage)) == 2


@pytest.mark.parametrize(
    ("change", "rule", "verdict"),
    [
        ({"officer": dataclasses.replace(OFFICER, role="stagiair")}, "rol", Verdict.EQUAL),
        ({"persons": (PERSON, OTHER)}, "personen", Verdict.EQUAL),
        ({"on_behalf_of": HAARLEM}, "namens", Verdict.EQUAL),
        ({"purpose": "kennemerland/iets-anders"}, "onbekend-doel", Verdict.EQUAL),
        ({"case_reference": "geen nummer"}, "zaaknummer", Verdict.WITHHELD),
        ({"attested": frozenset()}, "voorwaarde", Verdict.WITHHELD),
        ({"sources": (OM,)}, "eigen-organisatie", Verdict.OUTSIDE),
        ({"sources": ()}, "FG-09", Verdict.OUTSIDE),
        ({"described": (PersonData(geslachtsnaam="Jansen"),)}, "persoonsgegevens", Verdict.OUTSIDE),
    ],
)
async def test_a_refusal_is_on_the_record_and_can_be_replayed(
    stage: Stage, change: dict[str, Any], rule: str, verdict: Verdict
) -> None:
    with pytest.raises(RefusedError):
        stage.asker.ask(asked(**change))
    await stage.asker.close()
    records = adl(stage)
    assert records
    for record in records:
        check_adl(record)
        assert record["body"]["adl.core.response"] == {"decision": False, "context": {"id": rule}}
        found = replay(record, {stage.covenant.hash.hex(): stage.covenant})
        assert found.verdict is verdict, found
    # Nothing was processed about anybody.
    assert [list(lookup_records(one, OM, ended)) for one, ended in kept(stage)] == [[]]


async def test_a_decision_replays_to_itself_also_with_the_opened_record(stage: Stage) -> None:
    await stage.ask(asked())
    (own,) = stage.store.own_records(KIND_LOOKUP)
    opened = {own.id.hex(): json.loads(SealedBox(stage.own.officer).decrypt(own.sealed))}
    covenants = {stage.covenant.hash.hex(): stage.covenant}
    for record in adl(stage):
        assert replay(record, covenants).verdict is Verdict.EQUAL
        assert replay(record, covenants, opened).verdict is Verdict.EQUAL
        assert replay(record, {}).verdict is Verdict.UNKNOWN
        # A record that was made up shows: it allows what the covenant refuses.
        record["body"]["adl.core.request"]["subject"]["properties"]["rol"] = "stagiair"
        assert replay(record, covenants).verdict is Verdict.DIFFERENT
        opened[own.id.hex()]["case"] = "geen nummer"
        record["body"]["adl.core.request"]["subject"]["properties"]["rol"] = OFFICER.role
        assert replay(record, covenants).verdict is Verdict.EQUAL
        assert replay(record, covenants, opened).verdict is Verdict.DIFFERENT
        opened[own.id.hex()]["case"] = ZSM_CASE


async def test_a_lookup_that_reaches_no_broker_is_a_decision_but_no_processing(stage: Stage) -> None:
    stage.line.stands = False
    await stage.ask(asked())
    ((one, ended),) = kept(stage)
    assert [judged.allowed for judged in one.judged] == [True, True]
    assert not list(lookup_records(one, OM, ended))
    assert {record["trace_id"] for record in adl(stage)} == {one.trace.hex()}
    assert len({record["span_id"] for record in adl(stage)}) == 2


async def test_each_person_of_a_lookup_has_a_record_of_its_own(stage: Stage) -> None:
    made = dataclasses.replace(kept_of(await _one(stage)), persons=3)
    records = list(lookup_records(made, OM, made.at + 5))
    assert len({record["span_id"] for record in records}) == 3
    assert len({record["attributes"]["dpl.core.data_subject_id"] for record in records}) == 3
    for record in records:
        check_ldv(record)


async def test_the_canary_is_decided_about_and_is_nobody(stage: Stage) -> None:
    stage.sources[OM].known = (CANARY,)
    purpose = next(id_ for id_ in stage.covenant.purposes if OM in stage.covenant.sources(id_))
    await stage.asker.ask_canary(purpose)
    ((one, ended),) = kept(stage)
    assert [judged.rule for judged in one.judged] == ["eigen-proef"]
    assert not list(lookup_records(one, OM, ended))


async def test_a_suspended_source_is_recorded_as_refused_by_the_note(stage: Stage) -> None:
    class Stopped(Suspensions):
        def check(self, *args: Any, source: str | None = None, **more: Any) -> None:
            if source == POLITIE:
                raise SuspendedError("stilgezet")

    stage.suspensions = Stopped()
    await stage.ask(asked())
    rules = {
        record["body"]["adl.core.request"]["resource"]["properties"]["bron"]: record["body"]["adl.core.response"]
        for record in adl(stage)
    }
    assert rules[POLITIE] == {"decision": False, "context": {"id": "stilgezet"}}
    assert rules[RECLASSERING]["decision"]
    stopped = next(it for it in adl(stage) if not it["body"]["adl.core.response"]["decision"])
    assert replay(stopped, {stage.covenant.hash.hex(): stage.covenant}).verdict is Verdict.OUTSIDE


async def test_a_refused_lookup_costs_no_more_than_its_row(stage: Stage) -> None:
    for _ in range(3):
        with pytest.raises(RefusedError):
            stage.asker.ask(asked(case_reference=""))
        stage.clock.advance(timedelta(seconds=1))
    await stage.asker.close()
    assert len(kept(stage)) == 3


async def _one(stage: Stage) -> Stage:
    await stage.ask(asked())
    return stage


def kept_of(stage: Stage) -> Decided:
    ((one, _),) = kept(stage)
    return one


def _questions(stage: Stage) -> list[signed_pb2.Question]:
    return [
        signed_pb2.Question.FromString(routed.question.payload) for ask in stage.line.asks for routed in ask.questions
    ]
