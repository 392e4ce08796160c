"""Pages that are made of results: that they are up to date, and that what they say follows from what was measured."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from bekend_bench import compare, peers, performance, results, sizing
from bekend_bench.federations import (
    ASSUMPTIONS,
    BROKER,
    FEDERATIONS,
    broker_cores,
    machines,
    marginal,
    question_octets,
    steps,
)
from bekend_bench.figures import Figure, at_most
from bekend_bench.plots import Axis, Series, draw
from bekend_bench.results import NotMeasuredError, Results
from bekend_bench.unit_costs import PARTS, Cost, Line, unit_costs

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "bench" / "results"
SVG = "{http://www.w3.org/2000/svg}"
PEER = "openmined-psi: a question"


@pytest.fixture(scope="module")
def found() -> Results:
    return results.newest(FOLDER)


def put(found: Results, *figures: Figure) -> Results:
    """These figures in the place of what was measured, or beside it."""
    return replace(found, figures={**found.figures, **{(one.part, one.what): one for one in figures}})


def write(folder: Path, name: str, began: str, *figures: dict[str, Any], **facts: object) -> None:
    empty = {"seconds": 1.0, "machine": {"cores": 2}, "others": {}, "floor_us": {"seal": 1.0}}
    (folder / name).write_text(json.dumps({**empty, **facts, "began": began, "figures": figures}), encoding="utf-8")


def figure(value: float, part: str = "p", what: str = "w") -> dict[str, Any]:
    return {"part": part, "what": what, "value": value, "unit": "s", "ratio": None, "bar": None}


def rows(text: str, part: str) -> list[list[str]]:
    """The rows of the first table of a page that are about a part, without what aligns them."""
    table = re.search(r"^\|.*?\n(?!\|)", text, re.MULTILINE | re.DOTALL)
    assert table
    found = [[cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()]
    return [row for row in found if row[0] == part]


def two_runs(folder: Path, machine: dict[str, str | int]) -> Results:
    """A run of two parts, and a later one on this machine that measured some of one of them again."""
    lookups = ("1 partner, p50", "1 partner, p99", "6 partners, p50", "6 partners, p99")
    first = [figure(1, "rebuild", "a"), *(figure(1, "lookups", what) for what in lookups)]
    facts = {"cores": 2, "python": "3.11.7", "load": 2.5}
    others = {"floor": 0.004, "rebuild": 0.029, "lookups, few partners": 0.0}
    write(folder, "a.json", "2026-11-26T10:00:00+00:00", *first, seconds=1200.4, machine=facts, others=others)
    again = figure(2, "lookups", "6 partners, p99")
    write(folder, "b.json", "2026-11-27T09:30:00+00:00", again, seconds=60.0, machine={**machine, "load": 7.0})
    return results.newest(folder)


def earlier(folder: Path) -> Results:
    """What was measured before, without what the others say of their machine."""
    write(folder, results.BEFORE, "2026-11-20T08:00:00+00:00", figure(3, "rebuild", "a"), seconds=181)
    return results.load(folder / results.BEFORE)


def test_every_page_is_what_the_committed_reports_make_of_it() -> None:
    for name, text in sizing.pages(FOLDER, ROOT).items():
        assert (ROOT / name).read_text(encoding="utf-8") == text, f"{name}: run python -m bekend_bench.sizing"


def test_every_plot_is_what_the_committed_reports_make_of_it(found: Results, tmp_path: Path) -> None:
    drawn = sizing.plots(found, tmp_path)
    committed = ROOT / "docs" / sizing.PLOTS
    assert sorted(path.name for path in drawn) == sorted(path.name for path in committed.glob("*.svg"))
    page = (ROOT / "docs" / "sizing.md").read_text(encoding="utf-8")
    for path in drawn:
        assert f"({sizing.PLOTS}/{path.name})" in page
        assert path.read_text() == (committed / path.name).read_text(), "run python -m bekend_bench.sizing"


def test_a_plot_is_well_formed_and_holds_every_point_inside_its_axes(tmp_path: Path) -> None:
    points = [(0.02, 3.0), (7.0, 450.0), (342.0, 12.0)]
    for log in ((True, True), (False, False)):
        series = [Series("measured & marked", points, measured=True), Series("a line", points)]
        draw(tmp_path / "x.svg", series, title="A <title>", x="x", y="y", log=log)
        root = ElementTree.parse(tmp_path / "x.svg").getroot()
        circles = [(float(one.attrib["cx"]), float(one.attrib["cy"])) for one in root.iter(f"{SVG}circle")]
        assert len(circles) == len(points) + 1
        assert all(84 <= left <= 596 and 40 <= top <= 310 for left, top in circles)
        # Higher numbers stand higher, and further to the right.
        (left, low), (middle, high), (right, _), *_ = circles
        assert left < middle < right
        assert high < low
        assert "A <title>" in [one.text for one in root.iter(f"{SVG}text")]


def test_an_axis_ends_at_a_round_number() -> None:
    assert Axis.over([0.03, 42], log=True, start=0, end=10).ticks == (0.01, 0.1, 1.0, 10.0, 100.0)
    assert Axis.over([3, 47], log=False, start=0, end=10).ticks == (0, 10, 20, 30, 40, 50)
    assert Axis.over([5], log=True, start=0, end=10).place(10.0) == 10


def test_a_page_follows_its_figures(found: Results) -> None:
    costs = unit_costs(found)
    line = costs.question[BROKER]
    dearer = replace(costs, question={**costs.question, BROKER: Line(2 * line.fixed, 2 * line.each, line.points)})
    for one in FEDERATIONS:
        assert broker_cores(one, dearer) == pytest.approx(2 * broker_cores(one, costs))
        before, after = ({step.what: step.comes_to for step in steps(one, it)} for it in (costs, dearer))
        assert {what for what in before if before[what] != after[what]} == {
            "cores that the broker keeps busy then",
            "one question more costs at most, processors alone, eurocent",
        }


def test_every_assumption_stands_in_the_page_with_its_reason(found: Results) -> None:
    page = sizing.page(found)
    for one in ASSUMPTIONS:
        assert one.name in page
        assert one.why in page


def test_what_was_not_measured_is_left_out_or_said(found: Results) -> None:
    bare = replace(found, figures={name: one for name, one in found.figures.items() if one.unit != "octets/tag"})
    assert "not measured" in sizing.page(bare)
    with pytest.raises(NotMeasuredError, match="enrolment"):
        sizing.page(replace(found, figures={n: one for n, one in found.figures.items() if one.part != "enrolment"}))


def test_what_other_parts_measure_of_broker_and_wire_is_taken_in(found: Results) -> None:
    others = {"broker", "attached", "many", "large"}
    more = put(
        replace(found, figures={name: one for name, one in found.figures.items() if one.part not in others}),
        Figure("broker", "1 broker, SQLite, questions", 90, "questions/s"),
        Figure("broker", "1 replica, PostgreSQL, questions", 40, "questions/s"),
        Figure("broker", "2 replicas, PostgreSQL, questions", 60, "questions/s"),
        Figure("broker", "2 replicas, PostgreSQL, a broker with a core of its own", 70, "questions/s"),
        Figure("attached", "memory of the broker, nobody attached", 80, "MB"),
        Figure("attached", "memory of the broker for each of 100", 70, "KB/node"),
        Figure("attached", "memory of the broker for each of 400", 60, "KB/node"),
        Figure("storage", "filter of 1,048,576 tags on the wire", 8.5, "octets/tag"),
        Figure("many", "342 partners, p50", 900, "ms"),
        Figure("large", "10,000,000 persons, peak memory of the command", 180, "MB"),
        *(Figure("many", f"{n} partners, sent by the requester", 100 * n, "octets/question") for n in (35, 342)),
        *(Figure("many", f"{n} partners, received by the requester", 50 * n, "octets/question") for n in (35, 342)),
        Figure("many", "342 partners, sent by each source", 300, "octets/question"),
        Figure("many", "342 partners, received by each source", 100, "octets/question"),
    )
    costs = unit_costs(more)
    assert costs.replicas == ((1, 40), (2, 60))
    assert costs.latency.points[-1] == (342, 900)
    assert question_octets(FEDERATIONS[-1].asking[0], costs) == pytest.approx(13 * (150 + 400))
    page = sizing.page(more)
    assert re.search(r"\| 1, with SQLite +\| 90\.0", page)
    assert "80.0 MB + 381 x 60.0 KB/node" in page
    assert "questions per second against replicas" in page
    assert "the line of each source" in page
    assert re.search(r"\| the command +\| 10,000,000 +\| 180 MB", page)
    assert "Mbit/s" in page
    assert "| 342      | 900 ms " in page


def test_the_line_goes_through_points_that_lie_on_one() -> None:
    line = Line.through([(1, 5.0), (6, 15.0), (35, 73.0)])
    assert line.fixed == pytest.approx(3)
    assert line.each == pytest.approx(2)
    assert line.at(342) == pytest.approx(687)
    with pytest.raises(NotMeasuredError):
        Line.through([(1, 5.0)])


def test_a_question_to_more_partners_costs_more_and_the_country_needs_the_most_machines(found: Results) -> None:
    costs = unit_costs(found)
    assert marginal(1, costs) < marginal(6, costs) < marginal(35, costs) < marginal(342, costs)
    counts = [machines(one, costs) for one in FEDERATIONS]
    assert counts == sorted(counts)
    assert FEDERATIONS[-1].nodes == 342 + 26 + 10 + 3


def test_a_cost_says_which_figure_it_is() -> None:
    assert Cost.of(Figure("p", "w", 3, "ms")) == Cost(3, "ms", "p: w")


def test_of_a_figure_that_was_measured_twice_the_newest_counts(tmp_path: Path) -> None:
    write(tmp_path, "a.json", "2026-11-27T00:00:00+00:00", figure(2))
    write(tmp_path, "b.json", "2026-11-26T00:00:00+00:00", figure(1), {**figure(7), "what": "x"})
    write(tmp_path, results.BEFORE, "2026-11-28T00:00:00+00:00", figure(9))
    found = results.newest(tmp_path)
    assert (found.value("p", "w"), found.value("p", "x")) == (2, 7)
    assert found.newest.began.day == 27
    with pytest.raises(NotMeasuredError, match="p: z"):
        found.value("p", "z")


def test_what_was_measured_before_counts_only_alone(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="bekend bench --json"):
        results.newest(tmp_path)
    write(tmp_path, results.BEFORE, "2026-11-26T00:00:00+00:00", figure(9))
    assert results.newest(tmp_path).value("p", "w") == 9


def test_of_each_part_stands_when_and_beside_what_else_it_was_measured(tmp_path: Path) -> None:
    page = performance.page(earlier(tmp_path), two_runs(tmp_path, {"cores": 2, "python": "3.11.7"}))
    then = ["2026-11-26 10:00", "1,200 s", "2.5"]
    assert rows(page, "rebuild") == [["rebuild", "all", *then, "floor 0.4%; rebuild 2.9%"]]
    assert rows(page, "lookups") == [
        ["lookups", "1 partner; 6 partners, p50", *then, "floor 0.4%; lookups, few partners 0%"],
        ["lookups", "6 partners, p99", "2026-11-27 09:30", "60 s", "7.0", "not measured"],
    ]
    now, _, then_before = page.partition("## Before")
    assert now.count("Machine: cores 2, python 3.11.7.") == 1
    assert "The floor, as the run of 2026-11-27 09:30 UTC measured it" in now
    assert rows(then_before, "rebuild") == [["rebuild", "all", "2026-11-20 08:00", "181 s", "", "not measured"]]
    assert "The floor, as the run of 2026-11-20 08:00 UTC measured it" in then_before


def test_a_page_names_the_machine_of_each_run_when_they_differ(tmp_path: Path) -> None:
    found = two_runs(tmp_path, {"cores": 8, "python": "3.11.7"})
    page = performance.page(earlier(tmp_path), found)
    now = page.partition("## Before")[0]
    assert [row[-1] for row in rows(page, "lookups")] == ["1", "2"]
    assert now.count("Machine 1: cores 2, python 3.11.7.") == now.count("Machine 2: cores 8, python 3.11.7.") == 1
    assert "Machine:" not in now


def test_a_page_about_some_parts_says_only_of_those_when_they_were_measured(found: Results) -> None:
    for page, parts in ((sizing.page(found), PARTS), (performance.peers_table(found), (peers.PART,))):
        assert {part for part, _ in found.figures if rows(page, part)} == set(parts)


def test_the_sizing_is_made_of_the_parts_that_its_page_names(found: Results) -> None:
    those = {name: one for name, one in found.figures.items() if one.part in PARTS}
    assert sizing.page(replace(found, figures=those)) == sizing.page(found)


def test_the_first_page_names_every_day_on_which_its_figures_were_measured(tmp_path: Path) -> None:
    write(tmp_path, "a.json", "2026-11-26T10:00:00+00:00", figure(1, "lookups", "6 partners, p50"))
    write(tmp_path, "b.json", "2026-11-27T10:00:00+00:00", figure(1, "many", "342 partners, p50"))
    write(tmp_path, "c.json", "2026-11-28T10:00:00+00:00", figure(1, "peers", "not shown"))
    first = performance.first_page(results.newest(tmp_path))
    assert first.startswith("2 cores of a virtual machine, 2026-11-26 and 2026-11-27, everything on it")


def test_no_share_of_the_cores_that_a_report_has_is_left_out(found: Results) -> None:
    stages = {stage for run in found.runs.values() for stage in run.others}
    assert stages
    page = performance.page(found, found)
    assert not [stage for stage in stages if not re.search(rf"\b{re.escape(stage)} [\d.]+%", page)]


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"began": "2026-11-26"}', encoding="utf-8")
    with pytest.raises(ValueError, match=r"x\.json is no report"):
        results.load(tmp_path / "x.json")


def test_the_table_has_before_after_the_floor_and_the_best_peer(found: Results) -> None:
    now = put(
        found,
        Figure("lookups", "6 partners, p50", 20, "ms", 0.6, at_most(25)),
        Figure("lookups", "6 partners, at once", 80, "lookups/s", 0.55),
        Figure("peers", "bekend: a question", 20, "ms"),
        Figure("peers", PEER, 5, "ms"),
        Figure("peers", "HMAC and SQLite: a question", 4, "ms"),
    )
    before = {
        ("lookups", "6 partners, p50"): Figure("lookups", "6 partners, p50", 40, "ms", 0.3),
        ("lookups", "6 partners, at once"): Figure("lookups", "6 partners, at once", 40, "lookups/s", 0.2),
    }
    rows = {row[1]: row for row in compare.rows(before, now)}
    assert rows["6 partners, p50"][2:] == (
        *("40.0 ms", "20.0 ms", "2.00 times", "30%", "60%", "at most 25.0 ms", "met"),
        "5.00 times the time of HMAC and SQLite",
    )
    assert rows["6 partners, at once"][4] == "2.00 times"
    assert not any(row[0] == "peers" for row in rows.values())


def test_the_peers_have_a_row_each_and_every_job_a_column(found: Results) -> None:
    now = put(found, Figure("peers", "bekend: a question", 20, "ms"), Figure("peers", PEER, 5, "ms"))
    table = performance.peers_table(now)
    assert re.search(r"^\| bekend .*20\.0 ms", table, re.MULTILINE)
    assert re.search(r"^\| openmined-psi .*5\.00 ms", table, re.MULTILINE)


def test_a_page_without_marks_is_not_written() -> None:
    with pytest.raises(NotMeasuredError, match="marks"):
        performance.replaced("# A page\n", "text")
