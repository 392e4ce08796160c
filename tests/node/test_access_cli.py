"""`bekend inzage`: keys made, handed over and replaced; a request and its letter, as a privacy officer types them."""

import json
import re
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.records.cli import app
from bekend_policy import officer_key, passphrase
from bekend_policy.officer_key import open_officer_key
from nacl.pwhash import argon2id
from typer.testing import CliRunner, Result

from tests.support.clocks import SteeredClock
from tests.support.covenants import NOW, POLITIE, RECLASSERING, key_of
from tests.support.sealed import ANN, BEN, Archive

OIN = POLITIE
runner = CliRunner()


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least work that libsodium calls safe, and the clock of the example covenant."""
    cheap = (argon2id.OPSLIMIT_INTERACTIVE, argon2id.MEMLIMIT_INTERACTIVE)
    for function in (officer_key.write_officer_key, officer_key.hand_over, passphrase.wrap):
        defaults = {**(function.__kwdefaults__ or {}), "operations": cheap[0], "memory": cheap[1]}
        monkeypatch.setattr(function, "__kwdefaults__", defaults)
    monkeypatch.setattr("bekend_node.records.cli.SystemClock", lambda: SteeredClock(NOW))


@pytest.fixture
def words(tmp_path: Path) -> dict[str, str]:
    found = {}
    for name in ("eerste", "tweede", "derde", "vierde"):
        (tmp_path / name).write_text(f"{name} lange wachtwoordzin\n")
        (tmp_path / name).chmod(0o600)
        found[name] = str(tmp_path / name)
    return found


def run(*arguments: str, stdin: str = "", code: int = 0) -> dict[str, Any]:
    done: Result = runner.invoke(app, [*arguments, "--json"], input=stdin)
    assert done.exit_code == code, (done.output, done.exception)
    return dict(json.loads(done.stdout)) if done.stdout.startswith("{") else {"text": done.output}


def make(folder: Path, words: dict[str, str]) -> dict[str, Any]:
    pair = ("--wachtwoord-functionaris", words["eerste"], "--wachtwoord-plaatsvervanger", words["tweede"])
    return run("sleutel", "maken", str(folder), "--oin", OIN, *pair)


def test_a_key_is_made_for_two_persons(tmp_path: Path, words: dict[str, str]) -> None:
    made = make(tmp_path / "s", words)
    first, second = (Path(name) for name in made["files"])
    one = open_officer_key(first, Path(words["eerste"]).read_text().strip())
    two = open_officer_key(second, Path(words["tweede"]).read_text().strip())
    assert one.opening_public == two.opening_public
    assert Path(made["public"]).read_text() == one.public_file
    again = run("sleutel", "maken", str(tmp_path / "s"), "--oin", OIN, code=1)
    assert "nooit overschreven" in again["faults"][0]["what"]


def test_two_persons_have_two_passphrases(tmp_path: Path, words: dict[str, str]) -> None:
    pair = ("--wachtwoord-functionaris", words["eerste"], "--wachtwoord-plaatsvervanger", words["eerste"])
    said = run("sleutel", "maken", str(tmp_path / "s"), "--oin", OIN, *pair, code=1)
    assert "gelijk" in said["faults"][0]["what"]
    assert not (tmp_path / "s").exists()


def test_nothing_is_left_of_a_key_that_could_not_be_written_whole(tmp_path: Path, words: dict[str, str]) -> None:
    with patch("bekend_node.records.keys_cli.write_atomic", side_effect=OSError(28, "No space left on device")):
        pair = ("--wachtwoord-functionaris", words["eerste"], "--wachtwoord-plaatsvervanger", words["tweede"])
        run("sleutel", "maken", str(tmp_path / "s"), "--oin", OIN, *pair, code=1)
    assert list((tmp_path / "s").iterdir()) == []


def test_succession_over_the_command(tmp_path: Path, words: dict[str, str]) -> None:
    old, deputy = (Path(name) for name in make(tmp_path / "s", words)["files"])
    before = open_officer_key(old, Path(words["eerste"]).read_text().strip())
    said = run(
        "sleutel", "overdragen", "--sleutel", str(deputy), "--vernietig", str(old), "--nieuw", str(tmp_path / "n.key"),
        "--wachtwoordbestand", words["tweede"], "--nieuw-wachtwoord", words["derde"],
    )  # fmt: skip
    assert said["holder"] == "privacyfunctionaris"
    assert not old.exists()
    after = open_officer_key(tmp_path / "n.key", Path(words["derde"]).read_text().strip())
    assert after.opening_public == before.opening_public


def test_a_compromise_makes_a_new_key_keeps_the_old_and_says_what_is_exposed(
    tmp_path: Path, words: dict[str, str]
) -> None:
    old, _ = (Path(name) for name in make(tmp_path / "s", words)["files"])
    archive = Archive(tmp_path / "a", officer=open_officer_key(old, Path(words["eerste"]).read_text().strip()))
    archive.own([ANN], {RECLASSERING: [OutcomeKind.KNOWN]})
    archive.question([ANN])
    said = run(
        "sleutel", "vervangen", str(tmp_path / "nieuw"), "--sleutel", str(old), "--export", str(archive.export()),
        "--wachtwoordbestand", words["eerste"],
        "--wachtwoord-functionaris", words["derde"], "--wachtwoord-plaatsvervanger", words["vierde"],
    )  # fmt: skip
    assert said["exposed"] == {
        "own_lookups": 1, "first_day": "2026-12-01", "last_day": "2026-12-01", "answered_questions": 1,
    }  # fmt: skip
    new = open_officer_key(Path(said["files"][0]), Path(words["derde"]).read_text().strip())
    assert new.oin == OIN
    assert new.opening_public.hex() != said["old"]
    assert new.signing_public != archive.officer.signing_public
    assert old.exists()


@pytest.fixture
def officer(tmp_path: Path, words: dict[str, str]) -> tuple[Archive, list[str]]:
    key, _ = (Path(name) for name in make(tmp_path / "s", words)["files"])
    archive = Archive(tmp_path / "a", officer=open_officer_key(key, Path(words["eerste"]).read_text().strip()))
    return archive, ["--sleutel", str(key), "--wachtwoordbestand", words["eerste"]]


def ask(tmp_path: Path, archive: Archive, own: list[str]) -> list[str]:
    """A request over the command, an honest reply beside it; gives the options of `answer`."""
    request, reply = tmp_path / "verzoek.json", tmp_path / "antwoord.json"
    run("request", str(request), *own, stdin=f"{ANN.value}\n")
    reply.write_bytes(archive.reply(request.read_bytes()))
    return [
        "--verzoek", str(request), "--antwoord", str(reply), "--export", str(archive.export()), *own,
        "--convenant", str(archive.covenant), "--anker", key_of(OIN).vkey, "--processen", "1",
    ]  # fmt: skip


def test_from_request_to_letter(tmp_path: Path, officer: tuple[Archive, list[str]]) -> None:
    archive, own = officer
    archive.question([ANN])
    options = ask(tmp_path, archive, own)
    said = run("answer", str(tmp_path / "brief"), *options, "--wis")
    assert (said["asked_of_us"], said["breaches"]) == (1, [])
    assert sorted(path.name for path in (tmp_path / "brief").iterdir()) == ["brief.html", "brief.json"]
    assert not (tmp_path / "verzoek.json.geheim").exists()
    assert not (tmp_path / "antwoord.json").exists()


def test_fg_22_the_privacy_officer_sees_who_asked_about_a_canary(
    tmp_path: Path, officer: tuple[Archive, list[str]]
) -> None:
    """ANN plays the canary: to the records a number is a number."""
    archive, own = officer
    archive.question([BEN])
    archive.question([ANN], requester=OIN)
    options = ask(tmp_path, archive, own)
    assert run("kanarie", *options) == {"asked": []}
    for path in tmp_path.glob("*.json*"):
        path.unlink()
    archive.question([ANN])
    options = ask(tmp_path, archive, own)
    (one,) = run("kanarie", *options, code=3)["asked"]
    assert one["requester"] != OIN
    assert not list(tmp_path.glob("**/brief*"))


def test_a_request_is_not_spent_where_its_reply_cannot_be_written(
    tmp_path: Path, officer: tuple[Archive, list[str]]
) -> None:
    """It can be sent once, and the organisation has ten a day."""
    _, own = officer
    request = tmp_path / "verzoek.json"
    run("request", str(request), *own, stdin=f"{ANN.value}\n")
    with patch("bekend_node.control_client.ControlClient") as client, patch("bekend_node.config.load_config"):
        said = run("relay", str(request), str(tmp_path / "nergens" / "antwoord.json"), code=2)
    # The frame around a fault breaks a long path wherever a line ends.
    assert "nergens" in re.sub(r"[│\s]", "", said["text"])
    client.assert_not_called()


def test_a_letter_is_never_overwritten(tmp_path: Path, officer: tuple[Archive, list[str]]) -> None:
    archive, own = officer
    options = ask(tmp_path, archive, own)
    run("answer", str(tmp_path / "brief"), *options)
    before = (tmp_path / "brief" / "brief.html").read_bytes()
    run("answer", str(tmp_path / "brief"), *options, code=1)
    assert (tmp_path / "brief" / "brief.html").read_bytes() == before


def test_a_breach_is_code_3_and_the_letter_is_there(tmp_path: Path, officer: tuple[Archive, list[str]]) -> None:
    archive, own = officer
    original = archive.question([ANN])
    archive.question([ANN], sealed={0: original.sealed[0]})
    said = run("answer", str(tmp_path / "brief"), *ask(tmp_path, archive, own), code=3)
    assert [one["what"] for one in said["breaches"]] == ["transplanted"]
    assert (tmp_path / "brief" / "brief.html").exists()


@pytest.mark.parametrize("typed", ["", "123456789\n", "999990019\n999990342\n", "Jansen\n"])
def test_a_number_that_is_none_is_refused_and_not_repeated(
    tmp_path: Path, officer: tuple[Archive, list[str]], typed: str
) -> None:
    _, own = officer
    said = run("request", str(tmp_path / "v.json"), *own, stdin=typed, code=2)
    assert not (tmp_path / "v.json").exists()
    assert not typed.strip() or typed.strip() not in said["text"]


def test_no_command_takes_a_number_on_the_command_line() -> None:
    shown = runner.invoke(app, ["request", "--help"]).output
    assert "BESTAND" in shown
    assert "--bsn" not in shown
    assert "--nummer" not in shown


def test_a_passphrase_file_that_others_can_read_is_refused(tmp_path: Path, officer: tuple[Archive, list[str]]) -> None:
    _, own = officer
    Path(own[-1]).chmod(0o644)
    said = run("request", str(tmp_path / "v.json"), *own, stdin=f"{ANN.value}\n", code=1)
    assert "chmod 600" in said["faults"][0]["what"]
