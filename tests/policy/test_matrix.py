"""`bekend policy matrix`: every pair, in a terminal, as a page and as a table."""

import csv
import io
import json
from datetime import date
from pathlib import Path

from bekend_policy.load import load_covenant
from bekend_policy.matrix import grids, matrix_csv, matrix_facts, matrix_lines
from bekend_policy.tools_cli import app
from typer.testing import CliRunner

from tests.support.building import covenant, participant, purpose
from tests.support.covenants import CATALOGUE, EXAMPLE, HAARLEM, OM, POLITIE, RECLASSERING, VEILIG_THUIS, ZSM

DAY = date(2026, 12, 1)
COVENANT = load_covenant(EXAMPLE)


def test_a_cell_says_how_the_source_answers_whom() -> None:
    [grid] = [it for it in grids(COVENANT, DAY) if it.purpose.id == ZSM]
    assert grid.columns == ((OM, ""),)
    letters = {source: grid.letter(source, (OM, "")) for source in grid.rows}
    assert letters[POLITIE] == "A"
    assert letters[RECLASSERING] == "S"
    assert letters[VEILIG_THUIS] == "H"
    assert letters[HAARLEM] == "×"


def test_a_cell_shows_who_may_be_asked_by_name_too() -> None:
    [grid] = [it for it in grids(load_covenant(CATALOGUE), DAY) if it.purpose.id == "kennemerland/vt-triage"]
    veilig_thuis, rvdk = "00000099000000006000", "00000099000000008000"
    assert grid.letter(rvdk, (veilig_thuis, "")) == "Sn"
    assert grid.letter(POLITIE, (veilig_thuis, "")) == "H"


def test_every_pair_of_participants_is_in_the_table_once() -> None:
    rows = list(csv.DictReader(io.StringIO(matrix_csv(COVENANT, DAY).lstrip("\ufeff")), delimiter=";"))
    keys = {(row["doel"], row["vrager_oin"], row["namens_oin"], row["bron_oin"]) for row in rows}
    members = len(COVENANT.participants)
    assert len(keys) == len(rows) == members * (members - 1) * 3 + (members - 1)  # one mandate, under one purpose
    assert {row["mag"] for row in rows} == {"ja", "nee"}
    assert all(row["regel"] and row["reden"] for row in rows)


def test_a_name_in_the_table_is_never_a_formula() -> None:
    evil = participant(1, "om", naam="=HYPERLINK(1)")
    one = purpose("doel", ["om"], {"rvdk": {}}, kader="strafvordering")
    assert "'=HYPERLINK(1)" in matrix_csv(covenant([evil, participant(2, "rvdk")], [one]), DAY)


def test_the_terminal_explains_its_letters_and_columns() -> None:
    shown = "\n".join(matrix_lines(COVENANT, DAY))
    assert "A automatisch" in shown
    assert "1 OM Noord-Holland (ZSM)" in shown
    assert "[grondslag te toetsen]" in shown


def test_files_and_json(tmp_path: Path) -> None:
    run = CliRunner().invoke
    html, table = tmp_path / "m.html", tmp_path / "m.csv"
    assert run(app, ["matrix", str(CATALOGUE), "--html", str(html), "--csv", str(table)]).exit_code == 0
    assert html.read_text("utf-8").count("<table") == 11
    assert table.read_bytes().startswith(b"\xef\xbb\xbfdoel;")
    facts = json.loads(run(app, ["matrix", str(CATALOGUE), "--json", "--op", "2026-12-01"]).stdout)
    assert facts["routes"] == json.loads(json.dumps(matrix_facts(load_covenant(CATALOGUE), DAY)))
