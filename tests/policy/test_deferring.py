"""Deferring to inform a person (FG-34): what the covenant lets be recorded, by whom, how it stands from day to day."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pytest
from bekend_policy.deferring import REVIEW, About, Deferral, State, check_approval, check_deferral, check_end
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_proto.errors import RefusedError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.covenants import HAARLEM, OM, POLITIE, ZSM, ZVH_WEIGHING, edit, example

TODAY = date(2026, 12, 1)
IT = Deferral(
    number=1,
    about=About.CASE,
    reference="15/234567-26",
    purpose=ZSM,
    ground="UAVG 41(1)(d): onderzoek loopt nog",
    author="jansen",
    author_name="J. Jansen",
    at=datetime(2026, 12, 1, 9, tzinfo=UTC),
    review_on=TODAY + timedelta(days=30),
)


@pytest.fixture(scope="module")
def covenant(tmp_path_factory: pytest.TempPathFactory) -> Covenant:
    folder = example(tmp_path_factory.mktemp("uitstel") / "convenant")
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", "herbeoordeling: P90D", "herbeoordeling: P28D")
    return load_covenant(folder)


def refused(covenant: Covenant, it: Deferral, oin: str = OM) -> str:
    with pytest.raises(RefusedError) as fault:
        check_deferral(covenant, oin, it, TODAY)
    return fault.value.reason


def test_what_the_covenant_allows_is_recorded(covenant: Covenant) -> None:
    check_deferral(covenant, OM, IT, TODAY)
    question = replace(IT, about=About.QUESTION, reference="ab" * 32, review_on=TODAY + timedelta(days=1))
    check_deferral(covenant, POLITIE, question, TODAY)


def test_a_purpose_without_deferral_lets_nothing_wait(covenant: Covenant) -> None:
    it = replace(IT, purpose="kennemerland/zsm-lokale-context")
    assert "mag informeren niet worden uitgesteld" in refused(covenant, it)


def test_the_review_comes_within_the_covenants_term(covenant: Covenant) -> None:
    assert "na vandaag" in refused(covenant, replace(IT, review_on=TODAY))
    check_deferral(covenant, OM, replace(IT, review_on=TODAY + REVIEW), TODAY)
    assert "90 dagen" in refused(covenant, replace(IT, review_on=TODAY + REVIEW + timedelta(days=1)))
    weighing = replace(IT, purpose=ZVH_WEIGHING, reference="ZVH-2026-0123", review_on=TODAY + timedelta(days=28))
    check_deferral(covenant, HAARLEM, weighing, TODAY)
    assert "28 dagen" in refused(covenant, replace(weighing, review_on=TODAY + timedelta(days=29)), HAARLEM)


@pytest.mark.parametrize("ground", ["", "kort", " " * 40, "x" * 601])
def test_a_ground_is_written_out(covenant: Covenant, ground: str) -> None:
    assert "Noem de grond" in refused(covenant, replace(IT, ground=ground))


def test_no_person_is_named(covenant: Covenant) -> None:
    assert "BSN" in refused(covenant, replace(IT, ground="het gaat om 999990019, onderzoek loopt"))
    assert "BSN" in refused(covenant, replace(IT, reference="999990019"))
    assert "zaaknummer" in refused(covenant, replace(IT, reference="Jan de Vries"))
    assert "64 tekens" in refused(covenant, replace(IT, about=About.QUESTION, reference="ab"), POLITIE)


def test_only_who_asks_or_answers_under_a_purpose_defers_there(covenant: Covenant) -> None:
    assert "vraagt of antwoordt" in refused(covenant, IT, POLITIE)
    assert "vraagt of antwoordt" in refused(covenant, replace(IT, purpose="kennemerland/iets"), OM)


def test_nobody_approves_the_own_deferral() -> None:
    for user, names in (("jansen", {"J. Jansen"}), ("jansen2", {"J. Jansen", "Beheer"})):
        with pytest.raises(RefusedError, match="tweede persoon"):
            check_approval(IT, user, frozenset(names), TODAY)
    check_approval(IT, "devries", frozenset({"A. de Vries"}), TODAY)


def test_a_deferral_is_approved_once_in_time_and_ended_once() -> None:
    names = frozenset({"A. de Vries"})
    for it, day in (
        (replace(IT, approved_by="devries"), TODAY),
        (replace(IT, ended_by="jansen"), TODAY),
        (IT, IT.review_on),
    ):
        with pytest.raises(RefusedError):
            check_approval(it, "devries", names, day)
    check_end(IT, TODAY)
    with pytest.raises(RefusedError):
        check_end(replace(IT, ended_by="jansen"), TODAY)


@given(st.dates(date(2026, 1, 1), date(2028, 1, 1)))
def test_how_it_stands_follows_from_the_day(today: date) -> None:
    assert IT.state(today) is State.PENDING
    approved = replace(IT, approved_by="devries")
    assert approved.state(today) is (State.IN_FORCE if today < IT.review_on else State.DUE)
    assert replace(approved, ended_by="jansen").state(today) is State.ENDED
