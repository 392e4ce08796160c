"""Conditions with a value: their boundaries, and what a text of three parts must and may not hold."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from bekend_policy.conditions import Condition, plus_months, stated, why_not
from bekend_policy.justification import justification_fault, parts_of, warnings
from bekend_policy.load import load_covenant
from bekend_policy.raising import LASTS, Raise, check_raise, limit_of
from bekend_proto.errors import RefusedError
from pydantic import ValidationError

from tests.support.covenants import CATALOGUE

COVENANT = load_covenant(CATALOGUE)
TRIAGE = COVENANT.purposes["kennemerland/vt-triage"]
ZSM = COVENANT.purposes["kennemerland/zsm-context"]
TODAY = date(2026, 11, 30)


def condition(**more: str) -> Condition:
    return Condition.model_validate({"id": "iets", "tekst": "iets", "controle": "vrager", **more})


def fails(it: Condition, value: str | None, today: date = TODAY) -> bool:
    statements = {} if value is None else {"iets": [value]}
    return why_not(it, statements, today) is not None


RELEASE = condition(vorm="datum", maanden_terug="0", maanden_vooruit="6")
PAST = condition(vorm="toestemming", maanden_terug="6", maanden_vooruit="0")
YOUTH = condition(vorm="leeftijd", van="12", tot_en_met="17")
BY_BIRTH = condition(vorm="leeftijd", van="12", tot_en_met="17", peildag="vraag")


@pytest.mark.parametrize(
    ("it", "value", "bad"),
    [
        (RELEASE, "2026-11-30", False),
        (RELEASE, "2027-05-30", False),
        (RELEASE, "2027-05-31", True),
        (RELEASE, "2026-11-29", True),
        (RELEASE, "30-11-2026", True),
        (RELEASE, "2026-02-30", True),
        (RELEASE, "", True),
        (RELEASE, None, True),
        (PAST, "2026-11-30", False),
        (PAST, "2026-12-01", True),
        (PAST, "2026-05-30", False),
        (PAST, "2026-05-29", True),
        (YOUTH, "11", True),
        (YOUTH, "12", False),
        (YOUTH, "17", False),
        (YOUTH, "18", True),
        (YOUTH, "١٢", True),
        (YOUTH, "-12", True),
        # Typed by an officer, an id alone says nothing; worked out by a node, it says that it held (FG-38).
        (YOUTH, "", True),
        (BY_BIRTH, "", False),
        (BY_BIRTH, "11", True),
        (BY_BIRTH, "12", False),
        (BY_BIRTH, "17", False),
        (BY_BIRTH, "18", True),
        (BY_BIRTH, "-1", True),
        (BY_BIRTH, "2010-05-17", True),
        (BY_BIRTH, None, True),
    ],
)
def test_a_value_holds_up_to_its_boundary_and_no_further(it: Condition, value: str | None, bad: bool) -> None:
    assert fails(it, value) is bad


def test_a_choice_and_a_mere_confirmation() -> None:
    where = Condition.model_validate(
        {"id": "iets", "tekst": "x", "controle": "vrager", "vorm": "keuze", "waarden": ["haarlem", "velsen"]}
    )
    assert not fails(where, "velsen")
    assert fails(where, "zandvoort")
    assert not fails(condition(), "")
    assert fails(condition(), "ja")


def test_two_values_for_one_condition_must_both_hold() -> None:
    statements = stated(["iets=2026-12-01", "iets=2030-01-01"])
    assert why_not(RELEASE, statements, TODAY) is not None


def test_months_end_where_the_shorter_month_ends() -> None:
    assert plus_months(date(2026, 8, 31), 6) == date(2027, 2, 28)
    assert plus_months(date(2027, 8, 31), 6) == date(2028, 2, 29)
    assert plus_months(date(2026, 1, 31), -2) == date(2025, 11, 30)


@pytest.mark.parametrize(
    "broken",
    [
        {"vorm": "datum"},
        {"vorm": "datum", "maanden_terug": "1"},
        {"vorm": "leeftijd", "van": "12"},
        {"vorm": "leeftijd", "van": "18", "tot_en_met": "12"},
        {"peildag": "vraag"},
        {"vorm": "datum", "maanden_terug": "1", "maanden_vooruit": "0", "peildag": "vraag"},
        {"vorm": "leeftijd", "peildag": "vraag"},
        {"vorm": "keuze"},
        {"maanden_terug": "1", "maanden_vooruit": "1"},
        {"vorm": "toestemming", "maanden_terug": "1", "maanden_vooruit": "0", "controle": "vraag"},
    ],
)
def test_a_condition_that_lacks_what_its_form_needs_is_refused(broken: dict[str, str]) -> None:
    with pytest.raises(ValidationError):
        condition(**broken)


# --- FG-08 -----------------------------------------------------------------------------------------------------

GOOD = "nodig: wie is al betrokken bij dit gezin middel: bellen kost dagen minder: het gezin is niet bereikbaar"


def test_fg_08_three_separate_texts_where_the_purpose_asks_for_them() -> None:
    assert set(parts_of(GOOD)) == {"nodig", "middel", "minder"}
    assert justification_fault(TRIAGE, GOOD) is None
    for text in (None, "", "omdat het moet", GOOD.replace("minder: ", ""), "nodig: kort middel: kort minder: kort"):
        fault = justification_fault(TRIAGE, text)
        assert fault is not None
        assert fault[0] == "afweging"
    assert justification_fault(ZSM, "Proef") is None


def test_fg_08_the_bounds_of_each_text() -> None:
    def text(length: int) -> str:
        return f"nodig: {'a' * length} middel: {'b' * 10} minder: {'c' * 600}"

    assert justification_fault(TRIAGE, text(10)) is None
    assert justification_fault(TRIAGE, text(9)) is not None
    assert justification_fault(TRIAGE, text(600)) is None
    assert justification_fault(TRIAGE, text(601)) is not None


@pytest.mark.parametrize("number", ["999990019", "9999.90.019", "999 990 019"])
def test_fg_08_a_bsn_in_the_text_is_refused_and_never_repeated(number: str) -> None:
    fault = justification_fault(ZSM, f"dit gaat over {number}, zie dossier")
    assert fault is not None
    assert number not in "".join(fault)


def test_fg_08_a_case_number_is_no_bsn_and_names_and_dates_are_warned_about() -> None:
    assert justification_fault(ZSM, "zie 15/234567-26 en VT-2026-001234") is None
    assert warnings("melding over de buurman Jan de Vries van 3-4-1990") != []
    assert len(warnings("geboren 1990-04-03")) == 1
    assert warnings("de melding is van een school; bellen hielp niet") == []


# --- a raise ---------------------------------------------------------------------------------------------------

AT = datetime(2026, 11, 30, 12, tzinfo=UTC)
RAISE = Raise(TRIAGE.id, "els", "karim", "teamleider-triage", AT, "drukte na de feestdagen")


def test_a_raise_by_a_second_person_lasts_24_hours() -> None:
    moment = timedelta(microseconds=1)
    assert limit_of(TRIAGE, "els", [], AT) == 100
    assert limit_of(TRIAGE, "els", [RAISE], AT) == 150
    assert limit_of(TRIAGE, "els", [RAISE], AT + LASTS - moment) == 150
    assert limit_of(TRIAGE, "els", [RAISE], AT + LASTS) == 100
    assert limit_of(TRIAGE, "els", [RAISE], AT - moment) == 100
    assert limit_of(TRIAGE, "noor", [RAISE], AT) == 100


def test_raises_add_up_and_never_beyond_what_the_purpose_says() -> None:
    later = replace(RAISE, at=AT + timedelta(hours=1), extra=20)
    both = [replace(RAISE, extra=5), later]
    assert limit_of(TRIAGE, "els", both, later.at) == 125
    assert limit_of(TRIAGE, "els", both, AT + LASTS) == 120
    assert limit_of(TRIAGE, "els", [replace(it, extra=50) for it in both], later.at) == 150


@pytest.mark.parametrize(
    ("purpose", "change"),
    [
        (TRIAGE, {"by": "els"}),
        (TRIAGE, {"role": "triagist"}),
        (TRIAGE, {"reason": "druk"}),
        (TRIAGE, {"reason": "x" * 601}),
        (TRIAGE, {"reason": "drukte om 999990019"}),
        (TRIAGE, {"extra": 0}),
        (TRIAGE, {"extra": 51}),
        (ZSM, {}),
        (COVENANT.purposes["kennemerland/verward-gedrag"], {}),
    ],
)
def test_nobody_raises_an_own_limit_nor_beyond_what_the_purpose_says(purpose: object, change: dict[str, Any]) -> None:
    facts = {
        "purpose": TRIAGE.id,
        "officer": "els",
        "by": "karim",
        "role": "teamleider-triage",
        "reason": "drukte vandaag",
    }
    it = Raise(at=AT, **{**facts, **change})
    with pytest.raises(RefusedError):
        check_raise(purpose, it)  # type: ignore[arg-type]
    assert limit_of(purpose, "els", [it], AT) < 150  # type: ignore[arg-type]
