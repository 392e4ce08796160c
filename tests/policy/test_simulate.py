"""`bekend policy simulate`: last month's questions under a new version."""

import json
from datetime import date
from pathlib import Path

import pytest
from bekend_policy.faults import CovenantFaults
from bekend_policy.load import load_covenant
from bekend_policy.simulate import read_questions, simulate, simulation_lines
from bekend_policy.tools_cli import app
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE, EXAMPLE, OM, POLITIE, RECLASSERING, ZSM, edit, example

DAY = date(2026, 12, 1)


def line(source: str, persons: int = 1, **more: object) -> str:
    return json.dumps(
        {"requester": OM, "source": source, "purpose": ZSM, "persons": persons, "on_behalf_of": None, **more}
    )


def test_questions_that_a_new_version_refuses_or_slows_down_are_counted(tmp_path: Path) -> None:
    new = example(tmp_path / "n")
    edit(new / "doelen/zsm-context.yaml", r"modus: standaardbesluit[^\n]*", "modus: handmatig\n    reactietermijn: P1D")
    asked = read_questions([line(RECLASSERING)] * 3 + [line(POLITIE)] * 2 + [line(POLITIE, 2)], "vragen")
    found = simulate(load_covenant(new), asked, DAY, old=load_covenant(EXAMPLE))
    assert found.questions == 6
    assert [(it.route.source, it.questions) for it in found.changed] == [(RECLASSERING, 3)]
    refused = [it for it in found.effects if not it.after.allowed]
    assert [(it.after.rule, it.questions, it.persons) for it in refused] == [("personen", 1, 2)]
    assert "  3x OM Noord-Holland (ZSM) aan Reclassering Noord-Holland onder 'ZSM-contextcheck': handmatig " \
        "(eerst: standaardbesluit)" in list(simulation_lines(load_covenant(new), found))  # fmt: skip


def test_a_question_by_name_is_decided_as_one() -> None:
    vt, rvdk, triage = "00000099000000006000", "00000099000000008000", "kennemerland/vt-triage"
    by_name = line(rvdk, requester=vt, purpose=triage, kind_class="possible")
    asked = read_questions([line(rvdk, requester=vt, purpose=triage), by_name], "vragen")
    shipped = load_covenant(CATALOGUE)
    found = simulate(shipped, asked, DAY)
    assert sorted(it.after.mode for it in found.effects if it.after.mode) == ["handmatig", "standaardbesluit"]
    assert any("met een naam: handmatig" in it for it in simulation_lines(shipped, found))


def test_days_show_where_a_limit_would_have_been_reached() -> None:
    asked = read_questions([line(POLITIE, day="2026-11-03")] * 201 + [line(POLITIE, day="2026-11-04")] * 200, "vragen")
    [over] = simulate(load_covenant(EXAMPLE), asked, DAY).overruns
    assert (over.day, over.persons, over.limit, over.purpose) == (date(2026, 11, 3), 201, 200, ZSM)


@pytest.mark.parametrize(
    "bad",
    [
        "geen json",
        "[]",
        line(POLITIE, 0),
        line(POLITIE, case="15/234567-26"),
        line("12345"),
        line(POLITIE, day="gisteren"),
        line(POLITIE, kind_class="misschien"),
        '{"requester": "x"}',
    ],
)
def test_a_line_that_is_no_question_is_refused_by_number_and_not_repeated(bad: str) -> None:
    with pytest.raises(CovenantFaults) as caught:
        read_questions([line(POLITIE), bad], "vragen")
    [fault] = caught.value.faults
    assert (fault.file, fault.line) == ("vragen", 2)
    assert "gisteren" not in str(fault)


def test_the_command(tmp_path: Path) -> None:
    file = tmp_path / "vragen.jsonl"
    file.write_text(line(POLITIE) + "\n\n" + line(RECLASSERING) + "\n")
    result = CliRunner().invoke(app, ["simulate", str(EXAMPLE), str(file), "--was", str(EXAMPLE), "--json"])
    facts = json.loads(result.stdout)
    assert (facts["questions"], facts["changed"], facts["overruns"]) == (2, 0, [])
