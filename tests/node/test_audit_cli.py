"""`bekend audit`, as auditor and privacy officer type it."""

import json
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bekend_node import retention_cli
from bekend_node.audit.cli import app
from bekend_policy import officer_key, passphrase
from bekend_policy.audited import audited_until, open_audited
from bekend_policy.officer_key import OFFICER, open_officer_key, write_officer_key
from bekend_policy.retention import parse_kept
from nacl.pwhash import argon2id
from typer.testing import CliRunner, Result

from tests.support.auditing import DAYS, Files, Trail
from tests.support.clocks import SteeredClock
from tests.support.covenants import NOW, OM, RECLASSERING, key_of

runner = CliRunner()
WORDS = "een lange wachtwoordzin"
MANY = 300
"""Questions of which one in twenty is drawn: that none is happens twice in ten million times."""
PERIOD = ("--van", DAYS.first.isoformat(), "--tot-en-met", DAYS.last.isoformat())


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The least work that libsodium calls safe, and the clock of the example covenant."""
    cheap = {"operations": argon2id.OPSLIMIT_INTERACTIVE, "memory": argon2id.MEMLIMIT_INTERACTIVE}
    for function in (officer_key.write_officer_key, passphrase.wrap):
        monkeypatch.setattr(function, "__kwdefaults__", {**(function.__kwdefaults__ or {}), **cheap})
    monkeypatch.setattr("bekend_node.audit.cli.SystemClock", lambda: SteeredClock(NOW))


def run(*arguments: str | Path, code: int = 0) -> dict[str, Any]:
    done: Result = runner.invoke(app, [*map(str, arguments), "--json"])
    assert done.exit_code == code, (done.output, done.exception)
    return dict(json.loads(done.stdout)) if done.stdout.startswith("{") else {"text": done.output}


class Table:
    """Keys and files of both sides, in one folder."""

    def __init__(self, folder: Path, *, named: bool = True) -> None:
        self.folder = folder
        self.words = folder / "ww"
        self.words.write_text(WORDS + "\n")
        self.words.chmod(0o600)
        self.key = folder / "auditor.key"
        made = run("sleutel", self.key, "--oin", "00000099000000008000", "--wachtwoordbestand", self.words)
        auditor = open_officer_key(self.key, WORDS)
        assert made["auditor_sleutel"] == auditor.opening_public.hex()
        self.trail = Trail(folder / "spoor", auditor_key=auditor if named else None)
        write_officer_key(folder / "po.key", self.trail.officer, OFFICER, WORDS)
        self.opening = folder / "opening.json"

    def shared(self, files: Files, logs: Path) -> list[str | Path]:
        return [
            *PERIOD, "--logboek", logs, "--controlepunt", files.folder / "punt.note", "--keys",
            files.folder / "keys.txt", "--convenant", self.trail.folder / "convenant", "--anker", key_of(OM).vkey,
        ]  # fmt: skip

    def show(self, files: Files, *more: str | Path, code: int = 0) -> dict[str, Any]:
        own = ("--export", files.folder / "export.db", "--sleutel", self.folder / "po.key")
        words = ("--wachtwoordbestand", self.words)
        logs = files.folder / "exports" / "makelaar.export"
        return run("steekproef", self.opening, *self.shared(files, logs), *own, *words, *more, code=code)

    def test(self, files: Files, *more: str | Path, code: int = 0) -> dict[str, Any]:
        return run("toets", self.opening, *self.shared(files, files.folder / "exports"), *more, code=code)


@pytest.fixture
def table(tmp_path: Path) -> Iterator[Table]:
    made = Table(tmp_path)
    yield made
    made.trail.store.close()


def test_fg_31_from_the_draw_to_a_result_that_lets_go(table: Table) -> None:
    table.trail.fill(MANY)
    files = table.trail.write()
    shown = table.show(files)
    assert shown["missing"] == []
    assert shown["auditor"] == "Onafhankelijk auditor"
    assert table.opening.stat().st_mode & 0o077 == 0
    own = ("--sleutel", table.key, "--wachtwoordbestand", table.words, "--uitslag", table.folder / "uitslag.note")
    said = table.test(files, *own)
    assert said["good"]
    assert said["tested"] == said["drawn"] == shown["drawn"] > 0
    assert {one["case"] for one in said["cases"]} == {"15/234567-26"}
    result = open_audited((table.folder / "uitslag.note").read_bytes(), table.trail.covenant)
    assert audited_until([result], OM, None) == date(2026, 11, 29)


def test_fg_31_a_bewaarbesluit_is_drafted_from_a_good_result_and_from_no_other(
    table: Table, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = SimpleNamespace(oin=OM, covenant=table.trail.folder / "convenant", data=table.folder / "node")
    monkeypatch.setattr("bekend_node.retention_cli.load_config", lambda _: settings)
    config = str(table.folder / "node.yaml")
    for count, recorded, code in ((MANY, True, 0), (MANY, False, 1)):
        table.trail.fill(count, recorded=recorded)
        files = table.trail.write()
        table.opening = table.folder / f"opening-{code}.json"
        result = table.folder / f"uitslag-{code}.note"
        own = ("--sleutel", table.key, "--wachtwoordbestand", table.words, "--uitslag", result)
        table.show(files, code=3 * code)
        table.test(files, *own, code=3 * code)
        words = ["draft", "--reason", "uitslagen 2026", "--result", str(result), "--config", config]
        done = runner.invoke(retention_cli.app, words)
        assert done.exit_code == code, done.output
    assert parse_kept((table.folder / "bewaarbesluit-1").read_text()).audited == date(2026, 11, 29)
    assert "inbreuken" in done.stderr


def test_a_breach_is_named_and_ends_with_3(table: Table) -> None:
    hidden = {one.hex() for one in table.trail.fill(MANY, recorded=False)}
    files = table.trail.write()
    shown = table.show(files, code=3)
    assert set(shown["missing"]) <= hidden
    own = ("--sleutel", table.key, "--wachtwoordbestand", table.words, "--uitslag", table.folder / "uitslag.note")
    said = table.test(files, *own, code=3)
    assert {one["question"] for one in said["breaches"]} == set(shown["missing"]) != set()
    assert {(one["requester"], one["what"]) for one in said["breaches"]} == {(OM, "not_shown")}
    assert open_audited((table.folder / "uitslag.note").read_bytes(), table.trail.covenant).breaches == shown["drawn"]


def test_without_a_key_in_the_covenant_a_passphrase_seals_and_no_result_counts(tmp_path: Path) -> None:
    table = Table(tmp_path, named=False)
    table.trail.fill(160)
    files = table.trail.write()
    assert "noemt er geen" in table.show(files, "--wachtwoord-auditor", table.words)["auditor"]
    assert table.test(files, "--wachtwoord-opening", table.words)["good"]
    own = ("--sleutel", table.key, "--wachtwoordbestand", table.words, "--uitslag", tmp_path / "uitslag.note")
    said = table.test(files, *own, code=1)
    assert "auditor_ondertekent" in said["faults"][0]["what"]
    assert not (tmp_path / "uitslag.note").exists()
    table.trail.store.close()


def test_another_checkpoint_than_the_auditors_is_refused(table: Table) -> None:
    table.trail.fill(160)
    files = table.trail.write()
    table.show(files)
    table.trail.fill(1)
    other = table.trail.write()
    own = ("--sleutel", table.key, "--wachtwoordbestand", table.words)
    assert "ander controlepunt" in table.test(other, *own, code=1)["faults"][0]["what"]
    again = table.show(files, code=1)
    assert "bestaat al" in again["faults"][0]["what"]


def test_the_auditor_takes_the_newest_checkpoint_that_all_cosigned(table: Table) -> None:
    table.trail.fill(30)
    files = table.trail.write()
    out = table.folder / "punt.note"
    broker = files.folder / "exports" / "makelaar.export"
    words = (broker, out, "--keys", files.folder / "keys.txt", *PERIOD[2:])
    # What stands in this export was signed by nobody else yet.
    assert "controlepunt" in run("trekking", *words, code=1)["faults"][0]["what"]
    table.trail.held = True
    files = table.trail.write()
    broker = files.folder / "exports" / "makelaar.export"
    run("trekking", broker, out, "--keys", files.folder / "keys.txt", *PERIOD[2:])
    assert out.read_bytes() == (files.folder / "punt.note").read_bytes()
    keys = files.folder / "keys.txt"
    lines = [one for one in keys.read_text().splitlines() if RECLASSERING not in one]
    keys.write_text("\n".join(lines) + "\n")
    run("trekking", broker, table.folder / "ander.note", "--keys", keys, *PERIOD[2:])


def test_people_read_it_in_dutch(table: Table) -> None:
    # One in twenty is drawn: of so many, some of each kind.
    table.trail.fill(160)
    table.trail.fill(160, recorded=False)
    files = table.trail.write()
    table.show(files, code=3)
    arguments = [*map(str, ["toets", table.opening, *table.shared(files, files.folder / "exports")])]
    done = runner.invoke(app, [*arguments, "--sleutel", str(table.key), "--wachtwoordbestand", str(table.words)])
    assert done.exit_code == 3
    assert "INBREUK vraag" in done.stdout
    assert "niet geopend" in done.stdout
    assert "Voor een mens" in done.stdout
