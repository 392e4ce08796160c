"""FG-38: an age that the covenant asks, worked out from the verified date of birth, which goes nowhere."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.ages import verified_birth
from bekend_node.ask.asker import Asker
from bekend_node.ask.four_eyes import Prepared
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.own_record import KIND_LOOKUP
from bekend_node.ask.rules import Inquiry, plan
from bekend_node.ask.stream import Outcomes
from bekend_node.store_decisions import Decisions
from bekend_policy.decided import Decided
from bekend_policy.decision_log import Verdict, decision_records, replay
from bekend_proto import trace
from bekend_proto.errors import RefusedError
from bekend_proto.identifiers import NAME_BIRTH, Identifier, InvalidIdentifier
from bekend_proto.names import PersonData, combine
from nacl.public import SealedBox

from tests.support.asking import OTHER, PERSON, Stage, weighing
from tests.support.covenants import (
    HAARLEM,
    NOW,
    OM,
    RECLASSERING,
    all_of,
    with_ages,
    with_ages_everywhere,
    with_ages_on_a_date,
    with_combinations,
)
from tests.support.eyes import FIRST, SECOND, EyesStage, four_eyes

YOUNG = date(2010, 5, 17)
WRITTEN = ("2010-05-17", "17-05-2010", "20100517")
BOTH = (RECLASSERING, HAARLEM)


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, with_ages)
    yield made
    await made.close()


def asked(*born: date | None, persons: tuple[Identifier, ...] = (PERSON,), **changes: Any) -> Inquiry:
    return weighing(changes.pop("sources", BOTH), persons, born=born, **changes)


async def told(stage: Stage, inquiry: Inquiry) -> Outcome:
    return await stage.outcome_of(inquiry, RECLASSERING)


def opened(stage: Stage) -> dict[str, dict[str, Any]]:
    box = SealedBox(stage.own.officer)
    return {one.id.hex(): json.loads(box.decrypt(one.sealed)) for one in stage.store.own_records(KIND_LOOKUP)}


def decided(stage: Stage) -> list[Decided]:
    return [one for one, _ in Decisions(stage.store.database).own(0, 1 << 60)]


# --- birthdays


@pytest.mark.parametrize(
    ("born", "day", "fits"),
    [
        (date(2014, 12, 2), date(2026, 12, 1), False),
        (date(2014, 12, 1), date(2026, 12, 1), True),
        (date(2008, 12, 2), date(2026, 12, 1), True),
        (date(2008, 12, 1), date(2026, 12, 1), False),
        # Born on a leap day: in another year the birthday is 1 March.
        (date(2012, 2, 29), date(2027, 2, 28), True),
        (date(2016, 2, 29), date(2027, 2, 28), False),
        (date(2015, 2, 28), date(2027, 2, 28), True),
        (date(2015, 3, 1), date(2027, 2, 28), False),
        (date(2009, 3, 1), date(2027, 2, 28), True),
        (date(2009, 2, 28), date(2027, 2, 28), False),
        (date(2026, 12, 1), date(2026, 12, 1), False),
    ],
)
def test_fg_38_a_source_is_asked_from_one_birthday_to_another(stage: Stage, born: date, day: date, fits: bool) -> None:
    now = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    found = plan(stage.covenant, OM, asked(born), now, {})
    assert (RECLASSERING in found.ask) is fits
    assert HAARLEM in found.ask
    if not fits:
        assert "niet tussen 12 en 17 jaar" in found.not_asked[RECLASSERING]
        assert "regel voorwaarde" in found.not_asked[RECLASSERING]


def test_fg_38_the_birthday_begins_at_midnight_in_the_netherlands(stage: Stage) -> None:
    for hour, fits in [(22, False), (23, True)]:
        now = datetime(2026, 12, 1, hour, 30, tzinfo=UTC)
        assert (RECLASSERING in plan(stage.covenant, OM, asked(date(2014, 12, 2)), now, {}).ask) is fits


@pytest.mark.parametrize(
    ("stated", "fits", "why"),
    [
        ({"dag-feit=2026-05-16"}, True, ""),
        ({"dag-feit=2026-05-17"}, False, "niet tussen 12 en 17 jaar"),
        ({"dag-feit=2022-05-16"}, True, ""),
        (set(), False, "niet bevestigd"),
        ({"dag-feit=gisteren"}, False, "geef een datum"),
        ({"dag-feit=2026-05-16", "dag-feit=2022-05-16"}, False, "niet te bepalen"),
        ({"dag-feit=2026-12-02"}, False, "toekomst"),
    ],
)
def test_fg_38_an_age_may_count_on_a_day_that_is_stated(tmp_path: Path, stated: set[str], fits: bool, why: str) -> None:
    stage = Stage(tmp_path, with_ages_on_a_date)
    attested = frozenset({"positieve-toets", "bgs-2-20", *stated})
    found = plan(stage.covenant, OM, asked(date(2008, 5, 17), attested=attested), NOW, {})
    assert (RECLASSERING in found.ask) is fits
    assert why in found.not_asked.get(RECLASSERING, "")


@pytest.mark.parametrize("text", ["31-02-2010", "2010-13-01", "00-05-2010", "gisteren", "", "02-12-2026"])
def test_fg_38_what_is_no_day_of_birth_is_said_without_what_it_was(text: str) -> None:
    with pytest.raises(InvalidIdentifier) as fault:
        verified_birth(text, NOW.date())
    assert not text or text not in str(fault.value)


@pytest.mark.parametrize("text", WRITTEN)
def test_a_date_of_birth_is_taken_as_people_write_it(text: str) -> None:
    assert verified_birth(text, NOW.date()) == YOUNG


# --- what is asked, and what is not


async def test_fg_38_who_is_of_that_age_is_asked_about(stage: Stage) -> None:
    stage.sources[RECLASSERING].known = (PERSON,)
    assert (await told(stage, asked(YOUNG))).outcome is OutcomeKind.KNOWN


@pytest.mark.parametrize(
    ("born", "why"),
    [((), "er is geen geboortedatum"), ((None,), "er is geen geboortedatum"), ((date(1990, 5, 17),), "niet tussen")],
)
async def test_fg_38_without_that_age_nothing_goes_to_that_source(
    stage: Stage, born: tuple[date | None, ...], why: str
) -> None:
    found, _ = await stage.ask(asked(*born))
    outcome = next(one for one in found if one.oin == RECLASSERING)
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert why in outcome.reason
    assert stage.sources[RECLASSERING].asked == []
    assert len(stage.sources[HAARLEM].asked) == 1


async def test_fg_38_where_it_is_all_that_was_asked_nothing_leaves_at_all(tmp_path: Path) -> None:
    stage = Stage(tmp_path, with_ages_everywhere)
    with pytest.raises(RefusedError, match="er is geen geboortedatum") as refused:
        stage.asker.ask(asked())
    assert refused.value.rule == "voorwaarde"
    assert "Geef van elke persoon de gecontroleerde geboortedatum" in refused.value.reason
    await stage.close()
    assert stage.line.begins == []


@pytest.mark.parametrize("typed", ["jeugd", "jeugd=15"])
async def test_fg_38_what_an_officer_types_is_no_age(stage: Stage, typed: str) -> None:
    attested = frozenset({"positieve-toets", "bgs-2-20", typed})
    assert (await told(stage, asked(attested=attested))).outcome is OutcomeKind.NOT_ASKED
    (record,) = opened(stage).values()
    assert record["attested"] == ["bgs-2-20", "positieve-toets"]


@pytest.mark.parametrize(
    ("born", "fits"),
    [
        ((YOUNG, YOUNG), True),
        ((YOUNG, date(2013, 1, 1)), True),
        ((YOUNG, date(1990, 5, 17)), False),
        ((YOUNG, None), False),
    ],
)
async def test_fg_38_of_several_persons_it_holds_for_all_or_the_source_is_not_asked(
    stage: Stage, born: tuple[date | None, ...], fits: bool
) -> None:
    outcome = await told(stage, asked(*born, persons=(PERSON, OTHER)))
    assert (outcome.outcome is not OutcomeKind.NOT_ASKED) is fits


@pytest.mark.parametrize(
    ("born", "words"),
    [((date(2026, 12, 2),), "toekomst"), ((YOUNG, YOUNG), "van elke persoon")],
)
async def test_a_date_that_is_none_or_one_too_many_is_refused(stage: Stage, born: tuple[date, ...], words: str) -> None:
    with pytest.raises(RefusedError, match=words) as refused:
        stage.asker.ask(asked(*born))
    assert refused.value.rule == "persoonsgegevens"


async def test_where_no_age_is_asked_no_date_of_birth_is_taken(tmp_path: Path) -> None:
    stage = Stage(tmp_path)
    with pytest.raises(RefusedError, match="Laat de geboortedatum weg"):
        stage.asker.ask(asked(YOUNG))
    await stage.close()


async def test_fg_38_who_is_named_with_a_date_of_birth_need_not_give_it_twice(tmp_path: Path) -> None:
    stage = Stage(tmp_path, all_of(with_ages, with_combinations))
    stage.sources[RECLASSERING].hold_names((), NAME_BIRTH)
    for born, fits in [("17-05-2010", True), ("17-05-1990", False)]:
        data = PersonData("Jansen", "", "Fatima", born)
        inquiry = asked(persons=(combine(NAME_BIRTH, data),), described=(data,), sources=(RECLASSERING,))
        found = plan(stage.covenant, OM, inquiry, NOW, {})
        assert (RECLASSERING in found.ask) is fits
    await stage.close()


# --- where the date of birth goes: nowhere


async def test_fg_38_the_date_of_birth_is_in_no_record_log_receipt_or_message(
    stage: Stage, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, receipt = await stage.ask(asked(YOUNG))
    await stage.ask(asked(date(1990, 5, 17)))
    with pytest.raises(RefusedError):
        stage.asker.ask(asked(YOUNG, case_reference="x"))
    await stage.asker.close()
    sent = [*stage.line.begins, *stage.line.asks, *(one for it in stage.sources.values() for one in it.asked)]
    on_disk = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    logged = "".join(capsys.readouterr())
    assert "lookup-asked" in logged
    texts = [json.dumps(opened(stage)), json.dumps(receipt.to_json()), repr([found, asked(YOUNG)]), logged]
    everywhere = b"".join([on_disk, *(one.SerializeToString() for one in sent), *(text.encode() for text in texts)])
    for written in (*WRITTEN, "1990-05-17", "datetime.date"):
        assert written.encode() not in everywhere


async def test_fg_38_an_age_that_held_is_on_the_record_by_its_id_and_replays(stage: Stage) -> None:
    await stage.ask(asked(YOUNG))
    await stage.ask(asked(date(1990, 5, 17)))
    first, second = decided(stage)
    assert first.stated is not None
    assert second.stated is not None
    assert "jeugd" in first.stated.attested
    assert "jeugd" not in second.stated.attested
    own = opened(stage)
    assert sorted(one["attested"] for one in own.values()) == [
        ["bgs-2-20", "jeugd", "positieve-toets"],
        ["bgs-2-20", "positieve-toets"],
    ]
    covenants = {stage.covenant.hash.hex(): stage.covenant}
    verdicts = {
        replay(record, covenants, own).verdict
        for one in (first, second)
        for record in decision_records(one, trace.REQUESTER, OM)
    }
    # A source that was not asked has no sealed record of its own to judge by.
    assert verdicts == {Verdict.EQUAL, Verdict.WITHHELD}
    assert all(
        replay(it, covenants, own).verdict is Verdict.EQUAL for it in decision_records(first, trace.REQUESTER, OM)
    )


async def test_fg_38_a_refusal_is_on_the_record_without_an_age(tmp_path: Path) -> None:
    stage = Stage(tmp_path, with_ages_everywhere)
    with pytest.raises(RefusedError):
        stage.asker.ask(asked(date(1990, 5, 17)))
    await stage.asker.close()
    (one,) = decided(stage)
    assert one.stated is not None
    assert "jeugd" not in one.stated.attested
    assert {(it.allowed, it.rule) for it in one.judged} == {(False, "voorwaarde")}
    stage.store.close()


# --- a second pair of eyes


@pytest.fixture
async def eyes(tmp_path: Path) -> AsyncIterator[EyesStage]:
    made = EyesStage(tmp_path, all_of(with_ages, four_eyes))
    yield made
    await made.close()


def prepared(asker: Asker, *born: date) -> Prepared:
    found = asker.submit(asked(*born), FIRST)
    assert isinstance(found, Prepared)
    return found


async def test_fg_38_what_waits_is_judged_by_the_day_on_which_it_is_asked(eyes: EyesStage) -> None:
    eyes.clock.advance(timedelta(hours=10, minutes=30))
    found = prepared(eyes.asker, date(2008, 12, 2))
    eyes.asker.four_eyes.look(found.id, SECOND)
    eyes.asker.four_eyes.agree(found.id, SECOND)
    eyes.clock.advance(timedelta(hours=1))
    outcomes = eyes.asker.ask_agreed(found.id, FIRST)
    assert isinstance(outcomes, Outcomes)
    told = [one async for one in outcomes]
    assert next(one for one in told if one.oin == RECLASSERING).outcome is OutcomeKind.NOT_ASKED
    assert eyes.sources[RECLASSERING].asked == []


async def test_fg_38_a_question_that_nobody_agreed_to_forgets_the_date_of_birth(eyes: EyesStage) -> None:
    found = prepared(eyes.asker, YOUNG)
    assert "2010" not in repr(found)
    eyes.asker.four_eyes.look(found.id, SECOND)
    eyes.asker.refuse_prepared(found.id, SECOND, "Dit hoort niet onder dit doel")
    assert found.inquiry.births == ()
