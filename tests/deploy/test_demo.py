"""`bekend demo`, as a newcomer starts it."""

import json
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.partners import SEVEN, agreements, partners

OUTCOMES = {"bekend", "geen_uitsluitsel", "geen_antwoord", "niet_bevraagd"}
BEKEND = (sys.executable, "-m", "bekend_deploy.cli")


@dataclass
class Run:
    """One small demo that stayed up, was asked by hand as it said, and was ended with Ctrl-C."""

    folder: Path
    shown: str
    report: dict[str, Any]
    by_hand: subprocess.CompletedProcess[str]
    exit_code: int


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("demo") / "kept"
    words = ["demo", "--json", "--serve", "--persons", "60", "--seed", "3", "--keep", str(folder)]
    with subprocess.Popen([*BEKEND, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stderr is not None
            shown = _until(process.stderr, "Ctrl-C stops everything")
            report = json.loads(process.stdout.readline())
            by_hand = subprocess.run(
                _command(shown), input=_number(shown) + "\n", capture_output=True, text=True, timeout=60, check=False
            )
        except BaseException:
            process.terminate()
            raise
        process.send_signal(signal.SIGINT)
        yield Run(folder, shown, report, by_hand, process.wait(60))


def _until(lines: Iterator[str], last: str) -> str:
    shown = ""
    for line in lines:
        shown += line
        if last in line:
            return shown
    raise AssertionError(f"the demo ended:\n{shown}")


def _command(shown: str) -> list[str]:
    """The first command that the demo says to type."""
    line = next(line for line in shown.splitlines() if " lookup --config " in line)
    return [*BEKEND, *shlex.split(line[line.index("lookup") :])]


def _number(shown: str) -> str:
    """The person of whom the demo says that this command finds her `bekend`."""
    return next(line.split()[0] for line in shown.splitlines() if line.endswith("bekend") and "Haarlem" in line)


def test_the_demo_covenant_has_at_most_twelve_purpose_source_pairs() -> None:
    assert len(agreements(SEVEN)) <= 12
    assert [one.name for one in partners(9)][7:] == ["Demogemeente 8 (demo)", "Demogemeente 9 (demo)"]


def test_every_partner_is_marked_as_demo_and_has_a_test_oin() -> None:
    assert all("demo" in one.name and one.oin.startswith("00000099") for one in partners(12))


def test_json_is_one_object_with_every_question_right(run: Run) -> None:
    report = run.report
    assert {"questions", "enrolment", "timings"} <= report.keys()
    assert all(question["correct"] for question in report["questions"])
    for question in report["questions"]:
        assert {"purpose", "requester", "persons", "outcomes", "correct"} <= question.keys()
        for outcome in question["outcomes"]:
            assert set(outcome) == {"person", "oin", "name", "outcome", "as_of", "reason"}


def test_every_outcome_and_every_purpose_is_shown(run: Run) -> None:
    report = run.report
    assert {one["outcome"] for question in report["questions"] for one in question["outcomes"]} == OUTCOMES
    purposes = {question["purpose"] for question in report["questions"]}
    assert purposes == {"demo/zsm-context", "demo/zsm-lokale-context", "demo/zvh-weging-betrokkenheid"}


def test_a_refusal_and_several_persons_and_a_mandate_are_shown(run: Run) -> None:
    questions = run.report["questions"]
    assert any(question["refused"] for question in questions)
    assert any(question["persons"] > 1 for question in questions)
    assert any(question["on_behalf_of"] for question in questions)


def test_holdings_are_read_back_and_nobody_holds_a_number(run: Run) -> None:
    holdings = {one["process"]: one for one in run.report["holdings"]}
    assert len(holdings) == 8
    assert all(one["numbers_found"] == 0 for one in holdings.values())
    assert all(one["disk_bytes"] > 0 and one["keys"] for one in holdings.values())
    assert sum(holdings["broker"]["rows"].values()) > 0


def test_progress_goes_to_stderr(run: Run) -> None:
    assert "Enrol" in run.shown


def test_it_stays_up_and_says_how_to_ask(run: Run) -> None:
    assert "Gemeente Haarlem (demo) (00000099000000004000): ● bekend" in run.by_hand.stdout
    assert "Gemeente Velsen (demo) (00000099000000005000): ✕ geen antwoord" in run.by_hand.stdout
    assert run.by_hand.returncode == 3


def test_ctrl_c_after_a_good_run_is_a_good_end(run: Run) -> None:
    assert run.exit_code == 0


def test_no_process_stays_behind(run: Run) -> None:
    left = []
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            command = (entry / "cmdline").read_bytes()
        except OSError:
            continue
        if str(run.folder).encode() in command:
            left.append(entry.name)
    assert not left


def test_a_folder_that_exists_is_never_written_into(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("keep")
    done = subprocess.run(
        [*BEKEND, "demo", "--keep", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]
