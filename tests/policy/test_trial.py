"""`bekend policy test`: tables of expected decisions, by who reviews the covenant."""

import json
from datetime import date
from pathlib import Path

import pytest
from bekend_policy.faults import CovenantFaults
from bekend_policy.load import load_covenant
from bekend_policy.tools_cli import app
from bekend_policy.trial import Trial, read_tables, run_tables
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE, edit, example

DAY = date(2026, 12, 1)
HEAD = "toets: x\ndoel: kennemerland/zsm-context\n"


def tried(folder: Path, table: str) -> Trial:
    example(folder)
    (folder / "toetsen").mkdir()
    (folder / "toetsen/eigen.yaml").write_text(HEAD + table)
    covenant = load_covenant(folder)
    return run_tables(covenant, read_tables(folder, covenant), DAY)


def faults(folder: Path, table: str) -> list[str]:
    with pytest.raises(CovenantFaults) as caught:
        tried(folder, table)
    return [str(fault) for fault in caught.value.faults]


def test_the_shipped_tables_hold_and_touch_every_rule() -> None:
    covenant = load_covenant(CATALOGUE)
    found = run_tables(covenant, read_tables(CATALOGUE, covenant), DAY)
    assert found.failures == ()
    assert found.missing == ()
    assert len(found.rules) > 200
    assert {table.purpose for _, table in read_tables(CATALOGUE, covenant)} == set(covenant.purposes)


def test_a_kind_stands_for_everybody_of_that_kind(tmp_path: Path) -> None:
    found = tried(tmp_path / "c", "gevallen:\n  - {wie: [om], aan: [college_bw], verwacht: geweigerd, regel: nooit}\n")
    assert len(found.results) == 2
    assert found.failures == ()


def test_what_comes_out_otherwise_is_named_with_its_line(tmp_path: Path) -> None:
    table = "gevallen:\n  - {wie: [om], aan: [politie], verwacht: automatisch}\n"
    table += "  - {wie: [om], aan: [reclassering], verwacht: handmatig}\n"
    [failure] = tried(tmp_path / "c", table).failures
    assert (failure.file, failure.line, failure.decision.mode) == ("toetsen/eigen.yaml", 5, "standaardbesluit")


def test_a_refusal_must_name_its_rule_and_the_right_one(tmp_path: Path) -> None:
    found = faults(tmp_path / "a", "gevallen:\n  - {wie: [om], aan: [college_bw], verwacht: geweigerd}\n")
    assert any("ontbreekt de regel" in fault for fault in found)
    wrong = "gevallen:\n  - {wie: [om], aan: [college_bw], verwacht: geweigerd, regel: D3}\n"
    assert len(tried(tmp_path / "b", wrong).failures) == 2


def test_a_table_that_tests_nobody_is_a_fault(tmp_path: Path) -> None:
    table = "gevallen:\n  - {wie: [om], aan: [dji], verwacht: geweigerd, regel: geen-bron}\n"
    assert "er is geen deelnemer van de soort 'dji'" in faults(tmp_path / "c", table)[0]


def test_rules_that_no_table_touches_are_listed(tmp_path: Path) -> None:
    found = tried(tmp_path / "c", "gevallen:\n  - {wie: [om], aan: [politie], verwacht: automatisch}\n")
    assert "kennemerland/zsm-context: bron politie automatisch" in found.covered
    assert "kennemerland/zsm-context: bron reclassering standaardbesluit" in found.missing
    assert "kennemerland/zsm-context: voorwaarde verdachte" in found.missing


def test_exit_codes(tmp_path: Path) -> None:
    def run(*arguments: str) -> int:
        return CliRunner().invoke(app, ["test", *arguments]).exit_code

    assert run(str(CATALOGUE), "--volledig") == 0
    folder = tmp_path / "c"
    tried(folder, "gevallen:\n  - {wie: [om], aan: [politie], verwacht: automatisch}\n")
    assert (run(str(folder)), run(str(folder), "--volledig")) == (0, 1)
    edit(folder / "doelen/zsm-context.yaml", r"organisaties: \[om\]", "organisaties: [reclassering]")
    edit(folder / "doelen/zsm-context.yaml", r"modus: automatisch[^\n]*", "modus: handmatig\n    reactietermijn: P1D")
    assert run(str(folder)) == 1
    facts = json.loads(CliRunner().invoke(app, ["test", str(folder), "--json"]).stdout)
    assert [it["rule"] for it in facts["failures"]] == ["geen-vrager"]
