"""`bekend bench --help` says what is measured, and loads nothing heavy for it."""

import subprocess
import sys

from bekend_bench.cli import Part
from bekend_bench.run import PARTS


def bekend(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bekend_deploy.cli", "bench", *words],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_help_has_options_examples_and_exit_codes() -> None:
    shown = bekend("--help")
    assert shown.returncode == 0, shown.stderr
    assert all(word in shown.stdout for word in ("--json", "--full", "--only", "Exit codes", "bekend bench"))


def test_every_part_can_be_chosen() -> None:
    assert [part.value for part in Part] == list(PARTS)


def test_an_unknown_part_is_wrong_use() -> None:
    refused = bekend("--only", "luck")
    assert refused.returncode == 2
    assert "luck" in refused.stderr
