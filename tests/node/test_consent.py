"""Consent: who may give it, what it opens, and what its withdrawal ends."""

from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from bekend_node.ask.ages import age_on
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.consent import Given, Giver, giver_of_age
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.own_record import KIND_LATE
from bekend_node.ask.pending import Told, open_pending
from bekend_node.ask.rules import Inquiry
from bekend_proto import collecting
from bekend_proto.errors import BekendError, DeadlineError, RefusedError, StorageError, UnreachableError
from bekend_proto.v1 import signed_pb2
from hypothesis import given
from hypothesis import strategies as st

from tests.support.asking import DIRECTOR, OFFICER, OTHER, PERSON, ZVH_CASE, Stage, weighing
from tests.support.colleagues import Exchange, failing
from tests.support.covenants import NOW, POLITIE, VEILIG_THUIS, ZVH_WEIGHING, with_consent

ADULT = date(1990, 5, 17)
QUARTER = timedelta(minutes=15)
PURPOSES = {ZVH_WEIGHING}
TERM = 2 * 96
"""Quarters of an hour in the term of both partners."""


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path, with_consent)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON,)
    made.sources[POLITIE].by_hand = True
    yield made
    await made.close()


def consented(**changes: object) -> Given:
    facts: dict[str, object] = {
        "case": ZVH_CASE,
        "purpose": ZVH_WEIGHING,
        "partners": (VEILIG_THUIS,),
        "giver": Giver.SELF,
        "day": date(2026, 11, 20),
        "scope": "Veilig Thuis vragen of zij mij kennen",
        "born": ADULT,
    }
    return Given(**(facts | changes))  # type: ignore[arg-type]


def asked(*sources: str, **changes: object) -> Inquiry:
    return weighing(sources or (VEILIG_THUIS,), (PERSON,), **changes)


async def told(stage: Stage) -> OutcomeKind:
    return (await stage.outcome_of(asked(VEILIG_THUIS, POLITIE), VEILIG_THUIS)).outcome


async def tick(stage: Stage, step: timedelta = timedelta(0)) -> None:
    stage.clock.advance(step)
    await stage.asker.collector.tick()
    await stage.asker.collector.settle()


def kept(stage: Stage) -> list[Told]:
    return [one for row in stage.store.pending.all() for one, _ in open_pending(stage.state, row).told]


def tag(stage: Stage) -> str:
    return case_tag(stage.case_key, ZVH_CASE)


# --- who may consent


@pytest.mark.parametrize(
    ("birthday", "day", "giver"),
    [
        (date(2014, 11, 21), date(2026, 11, 20), Giver.REPRESENTATIVE),
        (date(2014, 11, 20), date(2026, 11, 20), Giver.BOTH),
        (date(2010, 11, 21), date(2026, 11, 20), Giver.BOTH),
        (date(2010, 11, 20), date(2026, 11, 20), Giver.SELF),
        (date(2012, 2, 29), date(2024, 2, 28), Giver.REPRESENTATIVE),
        (date(2012, 2, 29), date(2024, 2, 29), Giver.BOTH),
        (date(2010, 2, 28), date(2026, 2, 28), Giver.SELF),
        # Born on a leap day: in another year the birthday is 1 March.
        (date(2012, 2, 29), date(2025, 2, 28), Giver.BOTH),
        (date(2008, 2, 29), date(2023, 3, 1), Giver.BOTH),
        (date(2026, 11, 20), date(2026, 11, 20), Giver.REPRESENTATIVE),
    ],
)
async def test_fg_38_who_consents_changes_on_the_birthday(
    stage: Stage, birthday: date, day: date, giver: Giver
) -> None:
    assert giver_of_age(age_on(birthday, day)) is giver
    for one in Giver:
        wanted = consented(born=birthday, day=day, giver=one)
        if one is giver:
            assert len(await stage.asker.cases.record_consent(wanted, DIRECTOR)) == 1
        else:
            with pytest.raises(RefusedError, match="toestemming") as refused:
                await stage.asker.cases.record_consent(wanted, DIRECTOR)
            assert refused.value.rule == "leeftijd"


@given(st.dates(date(1920, 1, 1), date(2026, 1, 1)), st.integers(0, 100))
def test_fg_38_an_age_begins_on_the_birthday_and_not_a_day_before(born: date, years: int) -> None:
    leap = (born.month, born.day) == (2, 29)
    year = born.year + years
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    birthday = date(year, 3, 1) if leap and not is_leap else born.replace(year=year)
    assert age_on(born, birthday) == years
    if birthday > born:
        assert age_on(born, birthday - timedelta(days=1)) == years - 1


async def test_fg_38_the_date_of_birth_is_kept_nowhere(stage: Stage, tmp_path: Path) -> None:
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    opened = [stage.state.decrypt(row.sealed) for row in stage.store.consents.of_case(tag(stage))]
    disk = b"".join(path.read_bytes() for path in (tmp_path / "data").iterdir())
    for data in (*opened, disk):
        assert ADULT.isoformat().encode() not in data
    assert ZVH_CASE.encode() not in disk
    assert "1990" not in repr(consented())


@pytest.mark.parametrize(
    "change",
    [
        {"partners": (POLITIE,)},
        {"partners": ()},
        {"partners": (VEILIG_THUIS, VEILIG_THUIS)},
        {"purpose": "kennemerland/iets"},
        {"scope": "  "},
        {"scope": "x" * 301},
        {"day": date(2026, 12, 2)},
        {"born": date(2026, 11, 21)},
    ],
)
async def test_a_consent_that_does_not_hold_is_refused_and_not_recorded(
    stage: Stage, change: dict[str, object]
) -> None:
    with pytest.raises(RefusedError):
        await stage.asker.cases.record_consent(consented(**change), DIRECTOR)
    assert stage.asker.cases.consents.of_case(ZVH_CASE) == []


# --- what it opens


async def test_fg_10_without_a_record_such_a_partner_is_not_asked(stage: Stage) -> None:
    outcome = await stage.outcome_of(asked(VEILIG_THUIS, POLITIE), VEILIG_THUIS)
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert "bekend toestemming vastleggen" in outcome.reason
    assert "regel toestemming" in outcome.reason
    assert stage.sources[VEILIG_THUIS].asked == []


async def test_fg_10_what_an_officer_types_is_no_record(stage: Stage) -> None:
    typed = frozenset({"positieve-toets", "bgs-2-20", "toestemming-ggz=2026-11-20"})
    outcome = await stage.outcome_of(asked(VEILIG_THUIS, POLITIE, attested=typed), VEILIG_THUIS)
    assert outcome.outcome is OutcomeKind.NOT_ASKED


async def test_fg_10_with_a_record_a_colleague_is_asked_and_told_of_it(stage: Stage) -> None:
    (consent,) = await stage.asker.cases.record_consent(consented(), DIRECTOR)
    assert await told(stage) is OutcomeKind.PENDING
    stated = resting(stage).named[0].consent
    facts = (stated.reference, stated.date, stated.giver)
    assert facts == (consent.reference, "2026-11-20", signed_pb2.CONSENT_GIVER_SELF)
    assert stated.scope == "Veilig Thuis vragen of zij mij kennen"


async def test_fg_10_a_record_of_another_case_opens_nothing(stage: Stage) -> None:
    await stage.asker.cases.record_consent(consented(case="ZVH-2026-9999"), DIRECTOR)
    assert await told(stage) is OutcomeKind.NOT_ASKED


async def test_fg_10_a_consent_that_grew_too_old_opens_nothing(stage: Stage) -> None:
    await stage.asker.cases.record_consent(consented(day=date(2026, 5, 31)), DIRECTOR)
    outcome = await stage.outcome_of(asked(VEILIG_THUIS, POLITIE), VEILIG_THUIS)
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert "meer dan 6 maanden geleden" in outcome.reason


async def test_fg_10_a_withdrawn_consent_opens_nothing(stage: Stage) -> None:
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    await stage.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)
    assert await told(stage) is OutcomeKind.NOT_ASKED
    (one,) = stage.asker.cases.consents.of_case(ZVH_CASE)
    assert (one.withdrawn_by, one.withdrawn_at) == (DIRECTOR.user, NOW)
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    assert await told(stage) is OutcomeKind.PENDING


async def test_fg_10_a_consent_is_one_persons(stage: Stage) -> None:
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    outcome = await stage.outcome_of(weighing((VEILIG_THUIS, POLITIE), (PERSON, OTHER)), VEILIG_THUIS)
    assert outcome.outcome is OutcomeKind.NOT_ASKED
    assert "vraag per persoon" in outcome.reason


async def test_the_record_is_append_only_and_in_the_log(stage: Stage) -> None:
    before = stage.store.counts()["log"]
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    await stage.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)
    assert stage.store.counts()["log"] == before + 2
    for sql in ("DELETE FROM consent", "UPDATE consent SET at = 0"):
        with pytest.raises(Exception, match="append-only"):
            stage.store._database.write_sync(lambda conn, sql=sql: conn.execute(sql))  # type: ignore[misc]
    with pytest.raises(RefusedError):
        await stage.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)


async def test_a_role_withdraws_under_its_own_purposes_only(stage: Stage) -> None:
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    with pytest.raises(RefusedError):
        await stage.asker.cases.withdraw_consent(ZVH_CASE, (), (), OFFICER)
    with pytest.raises(RefusedError):
        await stage.asker.cases.withdraw_consent(ZVH_CASE, (POLITIE,), PURPOSES, DIRECTOR)


# --- what its withdrawal ends


@pytest.fixture
async def pending(stage: Stage) -> Stage:
    """A question that rests on consent, and one that does not."""
    await stage.asker.cases.record_consent(consented(), DIRECTOR)
    await stage.ask(asked(VEILIG_THUIS, POLITIE))
    return stage


def resting(stage: Stage) -> Exchange:
    """The question that rests on consent."""
    return next(it for it in stage.exchanges.values() if it.question.source == VEILIG_THUIS)


def place(stage: Stage) -> int:
    """Its place among the rows."""
    return [row.consent is not None for row in stage.store.pending.all()].index(True)


@pytest.mark.parametrize("released", [True, False])
async def test_withdrawing_destroys_what_came_and_tells_the_source_at_once(pending: Stage, released: bool) -> None:
    one = resting(pending)
    if released:
        one.release()
    for _ in range(2):
        await tick(pending, QUARTER)
    assert kept(pending)[place(pending)] is (Told.KNOWN if released else Told.NOTHING_YET)
    await pending.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)
    await pending.asker.collector.settle()
    assert kept(pending)[place(pending)] is Told.WITHDRAWN
    assert kept(pending)[1 - place(pending)] is Told.NOTHING_YET
    assert one.withdrawn
    assert [len(box) for box in one.boxes] == [collecting.release_box(1)] * 2
    (found,) = await pending.asker.cases.late_answers(lambda it: it.source == VEILIG_THUIS)
    assert "ingetrokken" in found.outcomes[0].reason
    assert found.outcomes[0].outcome is OutcomeKind.INCONCLUSIVE


async def test_collects_go_on_alike_after_a_withdrawal(pending: Stage) -> None:
    await pending.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)
    for _ in range(TERM + 2):
        await tick(pending, QUARTER)
    first, second = pending.exchanges.values()
    assert first.numbers == second.numbers
    assert sorted(kept(pending)) == [Told.CLOSED, Told.WITHDRAWN]
    assert len({len(one.sealed) for one in pending.store.own_records(KIND_LATE)}) == 1


@pytest.mark.parametrize("fault", [UnreachableError("gone"), DeadlineError("late"), StorageError("full")])
async def test_a_withdrawal_is_sent_again_until_it_got_through_always_the_same_octets(
    pending: Stage, fault: BekendError
) -> None:
    pending.lies.after = failing(fault, "release")
    await pending.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)
    await pending.asker.collector.settle()
    await tick(pending, timedelta(seconds=10))
    one = resting(pending)
    assert len(one.boxes) == 2
    await tick(pending, timedelta(seconds=15))
    assert len(one.boxes) == 3
    await pending.restart()
    pending.lies.after = lambda _kind, _number: None
    await tick(pending)
    assert len(one.boxes) == 4
    assert len(set(one.boxes[1:])) == 1
    await tick(pending, timedelta(minutes=1))
    assert len(one.boxes) == 4


async def test_a_crash_right_after_the_command_still_ends_the_question(pending: Stage) -> None:
    await pending.asker.cases.consents.withdraw(ZVH_CASE, (), PURPOSES, NOW, user="x", role="y")
    await pending.restart()
    await tick(pending)
    assert kept(pending)[place(pending)] is Told.WITHDRAWN
    assert resting(pending).withdrawn


async def test_a_withdrawal_while_the_question_is_under_way_lets_no_name_out(stage: Stage) -> None:
    (consent,) = await stage.asker.cases.record_consent(consented(), DIRECTOR)

    def withdraw(_: object) -> None:
        row = (tag(stage), consent.id, bytes(stage.state.encrypt(b"{}")))
        sql = "INSERT INTO consent (at, case_tag, withdraws, sealed) VALUES (0, ?, ?, ?)"
        stage.store._database.write_sync(lambda conn: conn.execute(sql, row))

    stage.changes.before_answer = withdraw
    outcome = await stage.outcome_of(asked(VEILIG_THUIS), VEILIG_THUIS)
    assert outcome.outcome is OutcomeKind.NO_ANSWER
    assert stage.line.releases == []


async def test_a_withdrawal_after_the_term_destroys_what_came(pending: Stage) -> None:
    one = resting(pending)
    one.release()
    for _ in range(TERM + 2):
        await tick(pending, QUARTER)
    assert sorted(kept(pending)) == [Told.KNOWN, Told.CLOSED]
    await pending.asker.cases.withdraw_consent(ZVH_CASE, (), PURPOSES, DIRECTOR)
    assert sorted(kept(pending)) == [Told.CLOSED, Told.WITHDRAWN]
    assert len(one.boxes) == 1
