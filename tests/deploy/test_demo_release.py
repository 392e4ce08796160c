"""`bekend demo --with-release`: colleagues who decide, checked against what they were told to do."""

import json
import subprocess
import sys
from datetime import date
from typing import Any

import pytest
from bekend_deploy.partners import SEVEN, agreements
from bekend_deploy.population import generate
from bekend_deploy.questions import Truth
from bekend_deploy.release_script import script

PURPOSES = {
    "demo/zsm-context",
    "demo/sociaal-domein-betrokkenheid",
    "demo/vt-triage",
    "demo/verward-gedrag",
    "demo/radicalisering-casusoverleg",
    "demo/zsm-lokale-context-toestemming",
}


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    words = ["demo", "--json", "--with-release", "--persons", "24", "--seed", "3"]
    done = subprocess.run(
        [sys.executable, "-m", "bekend_deploy.cli", *words], capture_output=True, text=True, timeout=400, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_every_outcome_was_the_true_one_first_and_later(report: dict[str, Any]) -> None:
    assert all(one["correct"] for one in (*report["questions"], *report["release"]))
    assert {one["purpose"] for one in report["release"]} == PURPOSES


def test_in_behandeling_comes_first_and_then_every_outcome(report: dict[str, Any]) -> None:
    first = [it for one in report["release"] for it in one["outcomes"] if it["outcome"] == "in_behandeling"]
    later = [it for one in report["release"] for it in one["later"]]
    assert len(first) == len(later)
    assert all(it["until"] for it in first)
    assert {it["outcome"] for it in later} == {"bekend", "geen_uitsluitsel", "geen_antwoord"}


def test_a_withdrawn_consent_says_so_and_nobody_without_consent_was_asked(report: dict[str, Any]) -> None:
    (withdrawn,) = [one for one in report["release"] if one["withdrawn"]]
    assert all("ingetrokken" in it["reason"] for it in withdrawn["later"])
    asked = {it["oin"] for it in withdrawn["later"]}
    assert {it["outcome"] for it in withdrawn["outcomes"] if it["oin"] not in asked} == {"niet_bevraagd"}


def test_nobody_holds_a_number_afterwards(report: dict[str, Any]) -> None:
    assert all(one["numbers_found"] == 0 for one in report["holdings"])


def test_without_release_the_demo_is_as_small_as_it_was() -> None:
    assert len(agreements(SEVEN)) <= 12
    assert agreements(SEVEN) == agreements(SEVEN, with_release=True)[:12]


def test_the_script_shows_several_persons_several_sources_and_every_act() -> None:
    people = generate([one.clients for one in SEVEN], 24, 3, date(2026, 11, 26))
    played = script(Truth(SEVEN, agreements(SEVEN, with_release=True), people))
    assert any(len(one.question.persons) > 1 for one in played)
    assert any(len(one.acts) > 1 for one in played)
    assert {act.name for one in played for act in one.acts.values()} == {
        "RELEASE",
        "REFUSE",
        "RECONSIDER",
        "HAND_OVER",
        "LEAVE",
    }
