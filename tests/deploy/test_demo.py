"""`bekend demo`, as a newcomer starts it."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.partners import SEVEN, agreements, partners

OUTCOMES = {"bekend", "geen_uitsluitsel", "geen_antwoord", "niet_bevraagd"}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str, Path]:
    """One small demo, kept: its JSON, its stderr, its folder."""
    folder = tmp_path_factory.mktemp("demo") / "kept"
    command = ["demo", "--json", "--persons", "60", "--seed", "3", "--keep", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "bekend_deploy.cli", *command], capture_output=True, text=True, timeout=170, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout), done.stderr, folder


def test_the_demo_covenant_has_at_most_twelve_purpose_source_pairs() -> None:
    assert len(agreements(SEVEN)) <= 12
    assert [one.name for one in partners(9)][7:] == ["Demogemeente 8 (demo)", "Demogemeente 9 (demo)"]


def test_every_partner_is_marked_as_demo_and_has_a_test_oin() -> None:
    assert all("demo" in one.name and one.oin.startswith("00000099") for one in partners(12))


def test_json_is_one_object_with_every_question_right(demo: tuple[dict[str, Any], str, Path]) -> None:
    report, _, _ = demo
    assert {"questions", "enrolment", "timings"} <= report.keys()
    assert all(question["correct"] for question in report["questions"])
    for question in report["questions"]:
        assert {"purpose", "requester", "persons", "outcomes", "correct"} <= question.keys()
        for outcome in question["outcomes"]:
            assert set(outcome) == {"person", "oin", "name", "outcome", "as_of", "reason"}


def test_every_outcome_and_every_purpose_is_shown(demo: tuple[dict[str, Any], str, Path]) -> None:
    report, _, _ = demo
    assert {one["outcome"] for question in report["questions"] for one in question["outcomes"]} == OUTCOMES
    purposes = {question["purpose"] for question in report["questions"]}
    assert purposes == {"demo/zsm-context", "demo/zsm-lokale-context", "demo/zvh-weging-betrokkenheid"}


def test_a_refusal_and_several_persons_and_a_mandate_are_shown(demo: tuple[dict[str, Any], str, Path]) -> None:
    questions = demo[0]["questions"]
    assert any(question["refused"] for question in questions)
    assert any(question["persons"] > 1 for question in questions)
    assert any(question["on_behalf_of"] for question in questions)


def test_holdings_are_read_back_and_nobody_holds_a_number(demo: tuple[dict[str, Any], str, Path]) -> None:
    holdings = {one["process"]: one for one in demo[0]["holdings"]}
    assert len(holdings) == 8
    assert all(one["numbers_found"] == 0 for one in holdings.values())
    assert all(one["disk_bytes"] > 0 and one["keys"] for one in holdings.values())
    assert sum(holdings["broker"]["rows"].values()) > 0


def test_progress_goes_to_stderr(demo: tuple[dict[str, Any], str, Path]) -> None:
    assert "Enrol" in demo[1]


def test_no_process_stays_behind(demo: tuple[dict[str, Any], str, Path]) -> None:
    _, _, folder = demo
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(folder).encode() in command:
            left.append(entry.name)
    assert not left
    assert not list(folder.rglob("*.sock"))


def test_a_folder_that_exists_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    done = subprocess.run(
        [sys.executable, "-m", "bekend_deploy.cli", "demo", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
