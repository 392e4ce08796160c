"""One large register: what is kept between two runs of the command, and what it says at the end. Nothing is started."""

from dataclasses import fields
from pathlib import Path

import pytest
from bekend_bench.floor import Floor
from bekend_bench.large import State, figures, octets_of, report


def floor() -> Floor:
    return Floor(**{one.name: 5e-5 for one in fields(Floor)})


def test_a_folder_is_gone_on_with_and_not_built_anew(tmp_path: Path) -> None:
    folder = tmp_path / "large"
    state = State.at(folder, 12)
    state.runs, state.seconds, state.peaks = 1, 4.0, {"the command": 100}
    state.keep(folder)
    again = State.at(folder, 12)
    assert again == state
    assert len((folder / again.register).read_text(encoding="utf-8").splitlines()) == 1 + 12
    assert (folder / again.broker).is_file()
    assert (folder / again.node).is_file()
    assert octets_of(again.data(folder)) == 0
    with pytest.raises(ValueError, match="choose another folder"):
        State.at(folder, 13)


def test_the_figures_are_those_of_all_runs_together() -> None:
    state = State(
        1_000, "2026-11-26T09:00:00+00:00", "b", 1, "n", "r", runs=2, seconds=10.0, processor=0.5, disk=68_000
    )
    state.peaks = {"the command": 120_000_000}
    found = {one.what.partition(", ")[2]: one for one in figures(state, floor(), 2)}
    assert found["node and broker together"].value == 100
    assert "processor time of both" not in found
    assert (found["in so many runs"].value, found["most disk of the node"].value) == (2, 68)
    assert found["peak memory of the command"].value == 120
    state.runs = 1
    (each,) = (one.value for one in figures(state, floor(), 2) if one.unit == "us/person")
    assert each == pytest.approx(500)
    assert report(state, floor(), {"cores": 2}).to_json()["missed"] == 0
