"""The one command: help without loading everything, one group at a time."""

import subprocess
import sys
from importlib.metadata import version

import pytest
from bekend_deploy.cli import PARTS


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)


def bekend(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bekend_deploy.cli", *words], capture_output=True, text=True, timeout=60, check=False
    )


def test_help_names_every_part_with_examples_and_exit_codes() -> None:
    shown = bekend("--help")
    assert shown.returncode == 0
    assert all(name in shown.stdout for name in PARTS)
    assert "Exit codes" in shown.stdout
    assert "bekend demo" in shown.stdout


def test_the_version_is_that_of_the_installation() -> None:
    shown = bekend("--version")
    assert (shown.returncode, shown.stdout) == (0, f"bekend {version('bekend')}\n")


def test_help_loads_no_room_that_it_does_not_need() -> None:
    seen = run(
        "import sys; sys.argv = ['bekend', '--help']\n"
        "from bekend_deploy.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "heavy = {'grpc', 'nacl', 'sqlite_utils', 'pydantic', 'cryptography', 'google.protobuf'}\n"
        "print('loaded:', sorted(heavy & set(sys.modules)))"
    )
    assert seen.stdout.rstrip().endswith("loaded: []")


@pytest.mark.parametrize("name", sorted(PARTS))
def test_every_part_has_help(name: str) -> None:
    shown = bekend(name, "--help")
    assert shown.returncode == 0, shown.stderr
    assert f"bekend {name}" in shown.stdout


@pytest.mark.parametrize("name", sorted(PARTS))
def test_completion_is_installed_for_the_whole_command_alone(name: str) -> None:
    assert "completion" in bekend("--help").stdout
    assert "completion" not in bekend(name, "--help").stdout


def test_must_12_an_unforeseen_fault_quotes_nothing() -> None:
    seen = run(
        "import sys; sys.argv = ['bekend', 'demo']\n"
        "from bekend_deploy import cli, demo_cli\n"
        "def broken(**_): raise ValueError('999990019 is no number')\n"
        "demo_cli.app.registered_commands[0].callback = lambda: broken()\n"
        "cli.main()"
    )
    assert seen.returncode == 1
    assert seen.stderr.startswith("bekend: ")
    assert "ValueError at" in seen.stderr
    assert "999990019" not in seen.stdout + seen.stderr
    assert "Traceback" not in seen.stderr


def test_a_mistyped_part_is_wrong_use() -> None:
    refused = bekend("nood")
    assert refused.returncode == 2
    assert "node" in refused.stderr


def test_first_word_completes() -> None:
    shown = subprocess.run(
        [sys.executable, "-c", "from bekend_deploy.cli import main; main()"],
        env={"_BEKEND_COMPLETE": "complete_bash", "COMP_WORDS": "bekend lo", "COMP_CWORD": "1"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert shown.stdout.split() == ["lookup", "log"]


def test_must_12_a_crash_leaves_no_core() -> None:
    """Nor is it given to a program of the machine: 0 would keep it from being a file alone."""
    seen = run(
        "import resource, sys; sys.argv = ['bekend', '--help']\n"
        "from bekend_deploy.cli import main\n"
        "try: main()\n"
        "except SystemExit: pass\n"
        "print('core:', resource.getrlimit(resource.RLIMIT_CORE))"
    )
    assert seen.stdout.rstrip().endswith("core: (1, 1)")
