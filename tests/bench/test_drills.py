"""A drill counts what an officer saw, times the way back, and fails on a wrong outcome (bekend drill)."""

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bekend_bench.drill_cli import app, replaced
from bekend_bench.drill_table import Result, Table
from bekend_bench.drills import (
    FAULT,
    HIT,
    MISS,
    SOURCES,
    TRUTH,
    Drill,
    DrillFailedError,
    Field,
    run,
)
from bekend_bench.drills_machines import MACHINES
from bekend_bench.drills_processes import DRILLS, RESTORES
from bekend_deploy.answered import Answered
from bekend_deploy.partners import POLITIE
from bekend_proto.clock import Clock, SystemClock
from bekend_proto.errors import UnreachableError
from typer.testing import CliRunner

RESULT = Result("node-killed", "a node is killed", "a supervisor starts it", "nothing", 1.25, 10, 3)
TABLE = Table(datetime(2026, 11, 26, 5, tzinfo=UTC), {"cores": 2}, (RESULT,))


Told = Mapping[tuple[str, int], str]
TOLD: Told = {(oin, person): truth for oin in SOURCES for person, truth in enumerate(TRUTH)}


class Scripted:
    """A federation whose officer is told what the test says; None: the own node cannot ask."""

    population = SimpleNamespace(fixed=SimpleNamespace(everywhere="999990019", nowhere="999990342"))

    def __init__(self) -> None:
        self.told: Told | None = TOLD

    def lookup(self, requester: object, purpose: str, persons: Sequence[str], *, sources: Sequence[str]) -> Answered:
        if self.told is None:
            raise UnreachableError("stopped")
        asked = 0 if persons == [self.population.fixed.everywhere] else 1
        outcomes = [{"oin": oin, "person": 0, "outcome": told} for (oin, at), told in self.told.items() if at == asked]
        return Answered(tuple(outcomes), None, None, 0.0)


def scripted() -> Field:
    federation: Any = Scripted()
    return Field(federation, Path("unused"))


def broken(told: Told | None) -> Drill:
    def make(it: Field) -> None:
        federation: Any = it.federation
        federation.told = told
        it.broken(0)
        it.mended()
        federation.told = TOLD

    return Drill("test", "a fault", "by hand", make)


@pytest.mark.parametrize(
    ("told", "sees"),
    [
        ({**TOLD, (POLITIE.oin, 1): FAULT}, "`geen antwoord` of that partner; the others answer"),
        (dict.fromkeys(TOLD, FAULT), "`geen antwoord` of every partner"),
        (None, "the own node cannot ask"),
    ],
)
def test_a_drill_says_what_was_seen_and_times_the_way_back(told: Told | None, sees: str) -> None:
    result = scripted().run(broken(told))
    assert result.sees == sees
    assert 0 < result.without < result.asked
    assert result.seconds >= 0


def _nothing(_: Field) -> None:
    """No fault."""


def test_a_fault_that_nobody_sees_costs_nothing() -> None:
    result = scripted().run(Drill("test", "nothing", "", _nothing))
    assert (result.without, result.sees) == (0, "nothing: every answer came")


@pytest.mark.parametrize(("person", "told"), [(0, MISS), (1, HIT), (0, "niet_bevraagd")])
def test_a_wrong_outcome_about_either_person_fails_the_drill(person: int, told: str) -> None:
    with pytest.raises(DrillFailedError, match=f"told {told} where the truth is {TRUTH[person]}"):
        scripted().run(broken({**TOLD, (POLITIE.oin, person): told}))


def test_what_prepares_a_fault_is_not_counted() -> None:
    def make(it: Field) -> None:
        federation: Any = it.federation
        federation.told = None
        it.broken(0)
        federation.told = TOLD
        it.begins()

    result = scripted().run(Drill("test", "nothing", "", make))
    assert (result.without, result.sees) == (0, "nothing: every answer came")


def test_a_drill_that_fails_ends_its_stage_and_stands_in_the_table() -> None:
    @contextmanager
    def made(_: Clock) -> Iterator[Field]:
        yield scripted()

    def wrong(it: Field) -> None:
        broken({**TOLD, (POLITIE.oin, 1): HIT}).make(it)

    drills = [
        Drill(name, f"fault {name}", "", make) for name, make in (("one", _nothing), ("two", wrong), ("3", wrong))
    ]
    table = run({"one", "two", "3"}, SystemClock(), lambda _: None, [(drills, made), (drills[:1], made)])
    assert [one.name for one in table.results] == ["one", "one"]
    assert table.failed == ("fault two: an officer was told bekend where the truth is geen_uitsluitsel",)
    assert "**Failed:** fault two: an officer was told bekend" in table.markdown()


def test_the_table_stands_between_its_marks_with_machine_and_moment() -> None:
    page = replaced("before\n<!-- measured: begin -->\nold\n<!-- measured: end -->\nafter\n", TABLE.markdown())
    assert page.startswith("before\n<!-- measured: begin -->\nMeasured 2026-11-26 05:00 UTC: cores 2.\n")
    assert "| a node is killed | nothing | a supervisor starts it | 1.2 s | 3 of 10 |" in page
    assert "old" not in page
    assert page.endswith("<!-- measured: end -->\nafter\n")
    assert json.loads(json.dumps(TABLE.to_json()))["drills"][0]["without"] == 3


def test_each_drill_has_a_name_of_its_own_and_others_are_refused() -> None:
    every = [one.name for one in (*DRILLS, *RESTORES, *MACHINES)]
    assert len(set(every)) == len(every)
    done = CliRunner().invoke(app, ["--only", "no-such"])
    assert done.exit_code == 2
    assert "node-killed" in done.output
