"""Four eyes (FG-37): who looks along, when nothing may leave, what stands on record, and who tries to get round it."""

import json
import sqlite3
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.four_eyes import OF_ONE, WAITS, AtScreen, Prepared, State
from bekend_node.ask.own_record import KIND_LOOKUP, committed_officers
from bekend_node.ask.rules import OfficerRef
from bekend_node.ask.stream import Outcomes
from bekend_node.store_decisions import Decisions
from bekend_policy.decided import Decided
from bekend_proto.channel import case_commitment
from bekend_proto.clock import milliseconds
from bekend_proto.errors import KeysError, RefusedError, StorageError
from bekend_proto.v1 import signed_pb2
from nacl.public import SealedBox

from tests.support.asking import DIRECTOR, OTHER, PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, ZVH_WEIGHING, edit, signed
from tests.support.eyes import (
    FIRST,
    NOT,
    ROLE,
    SECOND,
    WHY,
    EyesStage,
    emergency_alone,
    four_eyes,
    question,
    staged,
)
from tests.support.search import Needles, forms


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[EyesStage]:
    made = staged(tmp_path)
    yield made
    await made.close()


def prepared(stage: EyesStage, viewer: AtScreen = FIRST) -> Prepared:
    found = stage.asker.submit(question(), viewer)
    assert isinstance(found, Prepared)
    return found


def agreed(stage: EyesStage) -> Prepared:
    found = prepared(stage)
    stage.asker.four_eyes.look(found.id, SECOND)
    return stage.asker.four_eyes.agree(found.id, SECOND)


def decisions(stage: EyesStage) -> list[Decided]:
    """What stands on record of own lookups, oldest first."""
    return [one for one, _ in Decisions(stage.store.database).own(0, stage.now + 1)]


def numbers_in(folder: Path) -> dict[str, set[str]]:
    """Per file, how a person's number stands in it."""
    found = {form: name for one in (PERSON, OTHER) for form, name in forms(one.value.encode(), "person")}
    return Needles(found).in_files(path for path in folder.rglob("*") if path.is_file())


async def ended(outcomes: Outcomes) -> Outcomes:
    async for _ in outcomes:
        pass
    assert outcomes.receipt is not None
    return outcomes


def refused(stage: EyesStage, found: Prepared, viewer: AtScreen) -> str:
    """What everything that this viewer tries as a second officer is refused with."""
    eyes = stage.asker.four_eyes
    reasons = set()
    for attempt in (
        lambda: eyes.look(found.id, viewer),
        lambda: eyes.agree(found.id, viewer),
        lambda: eyes.refuse(found.id, viewer, NOT),
    ):
        with pytest.raises(RefusedError) as fault:
            attempt()
        reasons.add(fault.value.reason)
    assert found.id not in [one.id for one in eyes.others(viewer)]
    (reason,) = reasons
    return reason


async def test_fg_37_nothing_leaves_before_a_second_officer_agreed(stage: EyesStage) -> None:
    found = prepared(stage)
    before = stage.asker.budget(DIRECTOR.user, ZVH_WEIGHING).used
    assert (found.state, found.persons, stage.asked, before) == (State.WAITING, 1, 0, 0)
    with pytest.raises(RefusedError, match="Er is nog niets gevraagd"):
        stage.asker.ask_agreed(found.id, FIRST)
    (shown,) = stage.asker.four_eyes.others(SECOND)
    assert stage.asker.four_eyes.look(shown.id, SECOND).inquiry.persons == (PERSON,)
    stage.asker.four_eyes.agree(found.id, SECOND)
    assert stage.asked == 0
    await ended(stage.asker.ask_agreed(found.id, FIRST))
    assert (stage.asked, stage.asker.budget(DIRECTOR.user, ZVH_WEIGHING).used) == (1, 1)


@pytest.mark.parametrize("dressed", [{}, {"second": OfficerRef("smit", "B. Smit", ROLE)}, {"emergency": WHY}])
async def test_fg_37_the_straight_way_is_closed_whatever_a_question_says_of_itself(
    stage: EyesStage, dressed: dict[str, Any]
) -> None:
    inquiry = replace(question(), **dressed)
    with pytest.raises(RefusedError) as fault:
        stage.asker.ask(inquiry)
    assert fault.value.rule == "vier-ogen"
    assert isinstance(stage.asker.submit(inquiry, FIRST), Prepared)
    assert stage.asked == 0
    await stage.asker.close()
    (decided,) = decisions(stage)
    assert [(one.allowed, one.rule) for one in decided.judged] == [(False, "vier-ogen")]


async def test_fg_37_both_names_are_on_the_record_and_cannot_be_changed_afterwards(stage: EyesStage) -> None:
    await ended(stage.asker.ask_agreed(agreed(stage).id, FIRST))
    (sealed,) = stage.store.database.read(
        lambda conn: conn.execute("SELECT sealed FROM own_record WHERE kind = ?", (KIND_LOOKUP,)).fetchone()
    )
    record = json.loads(SealedBox(stage.own.officer).decrypt(sealed))
    assert [record[name] for name in ("officer_name", "second", "second_name", "emergency")] == [
        DIRECTOR.name,
        "smit",
        "B. Smit",
        None,
    ]
    (routed,) = stage.sources[HAARLEM].asked
    asked = signed_pb2.Question.FromString(routed.question.payload)
    salt = bytes.fromhex(record["questions"][0]["case_salt"])
    assert asked.case_commitment == case_commitment(salt, ZVH_CASE, committed_officers(DIRECTOR.user, "smit"))
    assert asked.case_commitment != case_commitment(salt, ZVH_CASE, DIRECTOR.user)
    assert len(asked.case_commitment) == 32
    (decided,) = decisions(stage)
    stated = decided.stated
    assert stated is not None
    assert (stated.user, stated.second) == (DIRECTOR.user, "smit")


async def test_fg_37_the_same_person_twice_is_one_person(stage: EyesStage) -> None:
    found = prepared(stage)
    assert "zelf klaargezet" in refused(stage, found, FIRST)
    assert "zelf klaargezet" in refused(stage, found, replace(FIRST, session="another"))
    for name in ("A. de Vries", "a. DE vries", " A.  de\u00a0Vries ", "A. de Vrıes".replace("ı", "i")):
        twin = AtScreen("devries2", (name,), (ROLE,), "another")
        assert "dezelfde naam" in refused(stage, found, twin)
    hidden = AtScreen("devries3", ("B. Bakker", "A. de Vries"), (ROLE,), "another")
    assert "dezelfde naam" in refused(stage, found, hidden)


async def test_fg_37_the_same_session_with_another_role_is_no_second_pair_of_eyes(stage: EyesStage) -> None:
    both = replace(FIRST, roles=(ROLE, "officier"))
    found = prepared(stage, both)
    assert "zelf klaargezet" in refused(stage, found, replace(both, roles=("officier", ROLE)))
    other = AtScreen("smit", ("B. Smit",), (ROLE,), both.session)
    assert "dezelfde sessie" in refused(stage, found, other)


@pytest.mark.parametrize("roles", [(), ("officier",), ("privacy-officer", "loket", "beheer")])
async def test_fg_37_who_may_not_ask_may_not_look_either(stage: EyesStage, roles: tuple[str, ...]) -> None:
    found = prepared(stage)
    assert "rol" in refused(stage, found, replace(SECOND, roles=roles))
    with pytest.raises(RefusedError):
        stage.asker.four_eyes.find(found.id, replace(SECOND, roles=roles))


async def test_fg_37_nobody_agrees_to_what_he_did_not_look_at_from_there(stage: EyesStage) -> None:
    found = prepared(stage)
    eyes = stage.asker.four_eyes
    for attempt in (lambda: eyes.agree(found.id, SECOND), lambda: eyes.refuse(found.id, SECOND, NOT)):
        with pytest.raises(RefusedError, match="Bekijk de vraag eerst"):
            attempt()
    eyes.look(found.id, replace(SECOND, session="elsewhere"))
    with pytest.raises(RefusedError, match="Bekijk de vraag eerst"):
        eyes.agree(found.id, SECOND)


async def test_fg_37_an_agreement_is_used_once_and_by_who_prepared_it(stage: EyesStage) -> None:
    found = agreed(stage)
    third = AtScreen("bakker", ("C. Bakker",), (ROLE,), "third")
    for viewer in (SECOND, third):
        with pytest.raises(RefusedError, match="staat hier niet"):
            stage.asker.ask_agreed(found.id, viewer)
    with pytest.raises(RefusedError, match="al beslist"):
        stage.asker.four_eyes.look(found.id, third)
    with pytest.raises(RefusedError, match="al beslist"):
        stage.asker.four_eyes.agree(found.id, SECOND)
    with pytest.raises(RefusedError, match="rol niet meer"):
        stage.asker.ask_agreed(found.id, replace(FIRST, roles=("officier",)))
    outcomes = stage.asker.ask_agreed(found.id, replace(FIRST, session="signed in again"))
    with pytest.raises(RefusedError, match="staat hier niet"):
        stage.asker.ask_agreed(found.id, FIRST)
    await ended(outcomes)
    assert stage.asked == 1


async def test_fg_37_two_who_judge_at_the_same_moment_judge_once(stage: EyesStage) -> None:
    found = prepared(stage)
    third = AtScreen("bakker", ("C. Bakker",), (ROLE,), "third")
    eyes = stage.asker.four_eyes
    for viewer in (SECOND, third):
        eyes.look(found.id, viewer)
    stage.asker.refuse_prepared(found.id, third, NOT)
    with pytest.raises(RefusedError, match="al beslist"):
        eyes.agree(found.id, SECOND)
    with pytest.raises(RefusedError, match="niet akkoord"):
        stage.asker.ask_agreed(found.id, FIRST)
    with pytest.raises(RefusedError, match="niet akkoord"):
        await stage.asker.ask_in_emergency(found.id, FIRST, WHY)
    assert stage.asked == 0


async def test_fg_37_what_is_refused_says_why_forgets_the_person_and_is_on_the_record(stage: EyesStage) -> None:
    found = prepared(stage)
    stage.asker.four_eyes.look(found.id, SECOND)
    for bad in ("", "te kort", "x" * 601, f"het gaat om {PERSON.value}"):
        with pytest.raises(RefusedError) as fault:
            stage.asker.refuse_prepared(found.id, SECOND, bad)
        assert PERSON.value not in fault.value.reason
    stage.asker.refuse_prepared(found.id, SECOND, f" {NOT} ")
    (own,) = stage.asker.four_eyes.own(FIRST)
    assert (own.state, own.reason, own.persons, own.inquiry.persons) == (State.REFUSED, NOT, 1, ())
    assert own.second == OfficerRef("smit", "B. Smit", ROLE)
    await stage.asker.close()
    (decided,) = decisions(stage)
    stated = decided.stated
    assert stated is not None
    assert (stated.second, [one.allowed for one in decided.judged]) == ("smit", [False])


async def test_fg_37_it_ends_and_then_forgets_the_person(stage: EyesStage) -> None:
    waiting, allowed = prepared(stage), agreed(stage)
    stage.asker.four_eyes.look(waiting.id, SECOND)
    stage.clock.advance(WAITS - timedelta(seconds=1))
    assert len(stage.asker.four_eyes.own(FIRST)) == 2
    stage.clock.advance(timedelta(seconds=1))
    stage.asker.four_eyes.tidy()
    assert waiting.inquiry.persons == allowed.inquiry.persons == ()
    assert waiting.inquiry.justification is None
    with pytest.raises(RefusedError, match="verlopen"):
        stage.asker.four_eyes.agree(waiting.id, SECOND)
    for one in (waiting, allowed):
        with pytest.raises(RefusedError, match="verlopen"):
            stage.asker.ask_agreed(one.id, FIRST)
        with pytest.raises(RefusedError, match="verlopen"):
            await stage.asker.ask_in_emergency(one.id, FIRST, WHY)
    stage.clock.advance(WAITS)
    assert stage.asker.four_eyes.own(FIRST) == []
    assert stage.asked == 0


async def test_fg_37_a_restart_forgets_what_waited_and_no_disk_held_it(stage: EyesStage, tmp_path: Path) -> None:
    found = agreed(stage)
    await stage.restart()
    assert numbers_in(tmp_path / "data") == {}
    with pytest.raises(RefusedError, match="opnieuw gestart"):
        stage.asker.ask_agreed(found.id, FIRST)
    assert stage.asker.four_eyes.own(FIRST) == []


async def test_fg_37_an_agreement_does_not_outlive_the_covenant_that_it_was_under(
    stage: EyesStage, tmp_path: Path
) -> None:
    waiting, allowed = prepared(stage), agreed(stage)
    stage.asker.four_eyes.look(waiting.id, SECOND)
    stage.covenant = signed(
        tmp_path / "changed", lambda folder: edit(folder / "afspraken.yaml", r"versie: 1\n", "versie: 2\n")
    )
    with pytest.raises(RefusedError, match="convenant is veranderd"):
        stage.asker.four_eyes.agree(waiting.id, SECOND)
    with pytest.raises(RefusedError, match="convenant is veranderd"):
        stage.asker.ask_agreed(allowed.id, FIRST)
    assert stage.asked == 0


async def test_fg_37_the_rules_are_looked_at_again_when_it_is_asked(stage: EyesStage) -> None:
    found = agreed(stage)
    stage.clock.set(stage.covenant.valid_until - timedelta(hours=1))
    found.until = stage.clock.now() + WAITS
    stage.clock.advance(timedelta(hours=2))
    with pytest.raises(RefusedError) as fault:
        stage.asker.ask_agreed(found.id, FIRST)
    assert fault.value.rule != "vier-ogen"
    assert stage.asked == 0


async def test_fg_37_the_first_takes_it_back_and_nobody_else_does(stage: EyesStage) -> None:
    found = prepared(stage)
    with pytest.raises(RefusedError, match="staat hier niet"):
        stage.asker.four_eyes.withdraw(found.id, SECOND)
    stage.asker.four_eyes.withdraw(found.id, FIRST)
    assert stage.asker.four_eyes.others(SECOND) == []


async def test_fg_37_nothing_waits_for_a_case_that_is_not_taken_in(stage: EyesStage) -> None:
    await ended(stage.asker.ask_agreed(agreed(stage).id, FIRST))
    waiting, allowed = prepared(stage), agreed(stage)
    await stage.asker.cases.lapse(ZVH_CASE, DIRECTOR.user, {ZVH_WEIGHING})
    for one in (waiting, allowed):
        with pytest.raises(RefusedError, match="staat hier niet"):
            stage.asker.ask_agreed(one.id, FIRST)


async def test_only_so_many_of_one_officer_wait(stage: EyesStage) -> None:
    for _ in range(OF_ONE):
        prepared(stage)
    with pytest.raises(RefusedError, match=str(OF_ONE)):
        prepared(stage)
    found = prepared(stage, replace(SECOND, session="third"))
    assert found.state is State.WAITING


async def test_nothing_that_waits_shows_a_person_by_accident(
    stage: EyesStage, capsys: pytest.CaptureFixture[str]
) -> None:
    found = agreed(stage)
    assert PERSON.value not in repr(found)
    assert PERSON.value not in capsys.readouterr().err


# --- the own list --------------------------------------------------------------------------------------------------


async def test_fg_37_who_is_on_the_own_list_needs_four_eyes_under_any_purpose(tmp_path: Path) -> None:
    stage = staged(tmp_path, lambda _: None)
    await ended(stage.asker.ask(question()))
    assert stage.colleagues.add([PERSON, OTHER]) == 2
    with pytest.raises(RefusedError) as fault:
        stage.asker.ask(question())
    assert fault.value.rule == "vier-ogen"
    found = prepared(stage)
    stage.asker.four_eyes.look(found.id, SECOND)
    stage.asker.four_eyes.agree(found.id, SECOND)
    await ended(stage.asker.ask_agreed(found.id, FIRST))
    (noticed,) = await stage.noticed()
    # The attempt and the prepared question; what was agreed to was told already.
    assert (noticed.kind, noticed.officer, noticed.case, noticed.times) == ("own-staff", DIRECTOR.user, ZVH_CASE, 2)
    assert PERSON.value not in repr(noticed)
    assert stage.colleagues.remove([PERSON]) == 1
    await ended(stage.asker.ask(question()))
    assert stage.asked == 3
    await stage.close()


async def test_fg_37_the_first_officer_is_not_told_that_somebody_is_on_a_list(tmp_path: Path) -> None:
    by_purpose, by_list = staged(tmp_path / "a", four_eyes), staged(tmp_path / "b", lambda _: None)
    by_list.colleagues.add([PERSON])
    told = []
    for stage in (by_purpose, by_list):
        with pytest.raises(RefusedError) as fault:
            stage.asker.ask(question())
        told.append((fault.value.rule, fault.value.reason))
        prepared(stage)
        await stage.close()
    assert told[0] == told[1]


async def test_fg_37_the_list_at_rest_says_how_many_and_nothing_else(tmp_path: Path) -> None:
    stage = staged(tmp_path)
    assert stage.colleagues.add([OTHER, PERSON, PERSON]) == 2
    assert stage.colleagues.add([PERSON]) == 0
    assert stage.colleagues.count() == 2
    await stage.close()
    assert numbers_in(tmp_path / "data") == {}
    with sqlite3.connect(tmp_path / "data" / "node.db") as conn:
        tags = [row[0] for row in conn.execute("SELECT tag FROM colleague")]
    assert tags == sorted(tags)
    assert {len(tag) for tag in tags} == {32}


@pytest.mark.parametrize("key", [None, b"d" * 32])
async def test_fg_37_a_list_that_cannot_be_read_stops_asking(tmp_path: Path, key: bytes | None) -> None:
    stage = staged(tmp_path, lambda _: None)
    stage.colleagues.add([OTHER])
    stage.key = key
    with pytest.raises(RefusedError) as fault:
        stage.asker.ask(question())
    assert fault.value.rule == "eigen-lijst"
    assert stage.asked == 0
    with pytest.raises(KeysError, match=r"colleagues.key"):
        stage.colleagues.add([PERSON])
    stage.colleagues.clear()
    await ended(stage.asker.ask(question()))
    await stage.close()


# --- noodgreep -----------------------------------------------------------------------------------------------------


async def test_fg_37_in_an_emergency_the_question_is_asked_and_the_review_stays_open(stage: EyesStage) -> None:
    found = prepared(stage)
    outcomes = await stage.asker.ask_in_emergency(found.id, FIRST, WHY)
    await ended(outcomes)
    assert stage.asked == 1
    assert stage.asker.budget(DIRECTOR.user, ZVH_WEIGHING).used == 1
    emergencies = stage.asker.emergencies
    (waiting,) = emergencies.waiting(SECOND)
    assert (waiting.reason, waiting.case, waiting.officer, waiting.persons) == (WHY, ZVH_CASE, DIRECTOR.user, 1)
    assert emergencies.tally() == {"open": 1, "overdue": 0}
    assert [one.kind for one in await stage.noticed()] == ["emergency"]
    await emergencies.review(waiting.number, SECOND, agreed=True, text="")
    assert emergencies.waiting(SECOND) == []
    assert emergencies.tally() == {"open": 0, "overdue": 0}
    (own,) = emergencies.own(FIRST)
    assert own.review is not None
    assert (own.review.agreed, own.review.by_name) == (True, "B. Smit")
    with pytest.raises(RefusedError, match="staat hier niet"):
        await stage.asker.ask_in_emergency(found.id, FIRST, WHY)


async def test_fg_37_a_review_outlives_a_restart_and_is_late_after_24_hours(stage: EyesStage, tmp_path: Path) -> None:
    await ended(await stage.asker.ask_in_emergency(prepared(stage).id, FIRST, WHY))
    await stage.noticed()
    await stage.restart()
    assert numbers_in(tmp_path / "data") == {}
    assert WHY.encode() not in (tmp_path / "data" / "node.db").read_bytes()
    stage.clock.advance(timedelta(hours=24) - timedelta(seconds=1))
    await stage.asker.emergencies.tidy()
    assert [one.kind for one in await stage.noticed()] == ["emergency"]
    stage.clock.advance(timedelta(seconds=1))
    for _ in range(2):
        await stage.asker.emergencies.tidy()
    assert [(one.kind, one.times) for one in await stage.noticed()] == [("emergency", 1), ("not-reviewed", 1)]
    assert stage.asker.emergencies.tally() == {"open": 1, "overdue": 1}
    (late,) = stage.asker.emergencies.waiting(SECOND)
    await stage.asker.emergencies.review(late.number, SECOND, agreed=False, text=NOT)
    stage.clock.advance(timedelta(days=366))
    await stage.asker.emergencies.tidy()
    assert stage.asker.emergencies.listed(stage.clock.now() - timedelta(days=4000), stage.clock.now()) == []


async def test_fg_37_one_emergency_is_reviewed_once_and_by_another_person(stage: EyesStage) -> None:
    await ended(await stage.asker.ask_in_emergency(prepared(stage).id, FIRST, WHY))
    emergencies = stage.asker.emergencies
    (one,) = emergencies.waiting(SECOND)
    for viewer in (
        FIRST,
        replace(SECOND, names=("a. de vries",)),
        replace(SECOND, roles=("officier",)),
        replace(SECOND, roles=()),
    ):
        assert emergencies.waiting(viewer) == []
        with pytest.raises(RefusedError):
            await emergencies.review(one.number, viewer, agreed=True, text="")
    for bad in ("", "kort", f"om {PERSON.value} ging het"):
        with pytest.raises(RefusedError):
            await emergencies.review(one.number, SECOND, agreed=False, text=bad)
    await emergencies.review(one.number, SECOND, agreed=False, text=NOT)
    third = AtScreen("bakker", ("C. Bakker",), (ROLE,), "third")
    with pytest.raises(RefusedError):
        await emergencies.review(one.number, third, agreed=True, text="")


async def test_fg_37_no_emergency_where_the_covenant_does_not_allow_one(tmp_path: Path) -> None:
    stage = staged(tmp_path, four_eyes)
    found = prepared(stage)
    with pytest.raises(RefusedError) as fault:
        await stage.asker.ask_in_emergency(found.id, FIRST, WHY)
    assert fault.value.rule == "noodgreep"
    assert stage.asker.four_eyes.find(found.id, FIRST).state is State.WAITING
    assert stage.asked == 0
    await stage.close()


@pytest.mark.parametrize("reason", ["", "spoed", "x" * 601, f"het is {PERSON.value}, nu meteen"])
async def test_fg_37_an_emergency_has_a_written_reason(stage: EyesStage, reason: str) -> None:
    found = prepared(stage)
    with pytest.raises(RefusedError) as fault:
        await stage.asker.ask_in_emergency(found.id, FIRST, reason)
    assert fault.value.rule == "noodgreep"
    assert PERSON.value not in fault.value.reason
    assert (stage.asked, stage.asker.emergencies.tally()["open"]) == (0, 0)


async def test_fg_37_an_emergency_that_cannot_be_recorded_is_not_asked(
    stage: EyesStage, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = prepared(stage)
    database = stage.store.database

    async def fails(_: object) -> None:
        raise StorageError("the disk is full")

    monkeypatch.setattr(database, "write", fails)
    with pytest.raises(StorageError):
        await stage.asker.ask_in_emergency(found.id, FIRST, WHY)
    monkeypatch.undo()
    assert stage.asked == 0


async def test_fg_37_an_emergency_changes_no_rule(stage: EyesStage) -> None:
    """Mode, budget and decision of each source are those of the same question with a second officer."""
    await ended(stage.asker.ask_agreed(agreed(stage).id, FIRST))
    await ended(await stage.asker.ask_in_emergency(prepared(stage).id, FIRST, WHY))
    first, second = decisions(stage)
    assert [(one.source, one.allowed, one.rule) for one in first.judged] == [
        (one.source, one.allowed, one.rule) for one in second.judged
    ]
    assert (first.persons, first.covenant_hash) == (second.persons, second.covenant_hash)
    assert stage.asker.budget(DIRECTOR.user, ZVH_WEIGHING).used == 2


async def test_fg_37_the_own_list_and_an_emergency_together(tmp_path: Path) -> None:
    stage = staged(tmp_path, emergency_alone)
    stage.colleagues.add([PERSON])
    await ended(await stage.asker.ask_in_emergency(prepared(stage).id, FIRST, WHY))
    assert sorted(one.kind for one in await stage.noticed()) == ["emergency", "own-staff"]
    await stage.close()


async def test_the_log_holds_a_hash_of_each_emergency_and_review(stage: EyesStage) -> None:
    await ended(await stage.asker.ask_in_emergency(prepared(stage).id, FIRST, WHY))
    (one,) = stage.asker.emergencies.waiting(SECOND)
    await stage.asker.emergencies.review(one.number, SECOND, agreed=True, text="")
    kinds = stage.store.database.read(
        lambda conn: [row[0] for row in conn.execute("SELECT kind FROM log ORDER BY seq")]
    )
    assert kinds.count("emergency") == 2
    assert kinds.index("emergency") < kinds.index("asked")
    assert milliseconds(one.at) <= stage.now
