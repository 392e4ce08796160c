"""A drill counts what an officer saw, times the way back, and fails on a wrong outcome (bekend drill)."""

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bekend_bench.drill_cli import app, replaced
from bekend_bench.drills import DRILLS, FAULT, HIT, SOURCES, Drill, DrillFailedError, Field, Result, Table
from bekend_deploy.partners import POLITIE
from typer.testing import CliRunner

RIGHT = dict.fromkeys(SOURCES, HIT)
RESULT = Result("node-killed", "a node is killed", "a supervisor starts it", "nothing", 1.25, 10, 3)
TABLE = Table(datetime(2026, 11, 26, 5, tzinfo=UTC), {"cores": 2}, (RESULT,))


class Scripted(Field):
    """An officer who sees what the test says."""

    told: Mapping[str, str] | None = RIGHT

    def ask(self) -> Mapping[str, str] | None:
        if self.told and "geen_uitsluitsel" in self.told.values():
            self._wrong = "an officer was told geen_uitsluitsel about who is known"
        return self.told


def scripted() -> Scripted:
    federation: Any = None
    return Scripted(federation, Path("unused"))


def broken(told: Mapping[str, str] | None) -> Drill:
    def make(it: Field) -> None:
        assert isinstance(it, Scripted)
        it.told = told
        it.broken(0)
        it.mended()
        it.told = RIGHT

    return Drill("test", "a fault", "by hand", make)


@pytest.mark.parametrize(
    ("told", "sees"),
    [
        (RIGHT | {POLITIE.oin: FAULT}, "`geen antwoord` of that partner; the others answer"),
        (dict.fromkeys(SOURCES, FAULT), "`geen antwoord` of every partner"),
        (None, "the own node cannot ask"),
    ],
)
def test_a_drill_says_what_was_seen_and_times_the_way_back(told: Mapping[str, str] | None, sees: str) -> None:
    result = scripted().run(broken(told))
    assert result.sees == sees
    assert 0 < result.without < result.asked
    assert result.seconds >= 0


def test_a_fault_that_nobody_sees_costs_nothing() -> None:
    result = scripted().run(Drill("test", "nothing", "", lambda _: None))
    assert (result.without, result.sees) == (0, "nothing: every answer came")


def test_a_wrong_outcome_fails_the_drill() -> None:
    with pytest.raises(DrillFailedError, match="geen_uitsluitsel"):
        scripted().run(broken(RIGHT | {POLITIE.oin: "geen_uitsluitsel"}))


def test_the_table_stands_between_its_marks_with_machine_and_moment() -> None:
    page = replaced("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n", TABLE.markdown())
    assert page.startswith("before\n<!-- measured: begin -->\nMeasured 2026-11-26 05:00 UTC: cores 2.\n")
    assert "| a node is killed | nothing | a supervisor starts it | 1.2 s | 3 of 10 |" in page
    assert "old" not in page
    assert page.endswith("<!-- measured: end -->\nafter\n")
    assert json.loads(json.dumps(TABLE.to_json()))["drills"][0]["without"] == 3


def test_each_drill_has_a_name_of_its_own_and_others_are_refused() -> None:
    assert len({one.name for one in DRILLS}) == len(DRILLS)
    done = CliRunner().invoke(app, ["--only", "no-such"])
    assert done.exit_code == 2
    assert "node-killed" in done.output
