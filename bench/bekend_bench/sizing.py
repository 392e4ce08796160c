"""The sizing page: how cost grows, and what three federations need, from what the bench measured.

    python -m bekend_bench.sizing [--results bench/results] [--root .]

Reads every report of the folder and writes `docs/sizing.md` with `docs/sizing/*.svg`, `docs/performance.md`, and the
tables in `README.md` and `docs/peers.md`. Every number is a figure of a report, an assumption with a name, or
arithmetic that is shown.
"""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer
from bekend_node.enrol.collect import IN_MEMORY
from bekend_node.enrol.plan import WINDOW
from bekend_node.schedule import interval_of
from bekend_proto.filter import size_class

from bekend_bench import performance, results
from bekend_bench.federations import (
    ASSUMPTIONS,
    BROKER,
    FEDERATIONS,
    PURPOSES,
    REQUESTER,
    SOURCE,
    at_most,
    broker_cores,
    broker_rate,
    busiest,
    machines,
    marginal,
    steps,
)
from bekend_bench.figures import number
from bekend_bench.plots import Series, draw
from bekend_bench.provenance import parts_table
from bekend_bench.report import table
from bekend_bench.unit_costs import BROKER as BROKER_PART
from bekend_bench.unit_costs import PARTS, Line, UnitCosts, unit_costs

IDENTIFIERS = (10**4, 10**5, 10**6, 10**7)
PARTNERS = (1, 6, 35, 100, 342)
RATES = (0.01, 0.1, 1.0, 10.0, 100.0)
PLOTS = "sizing"


def page(found: results.Results) -> str:
    """The whole page. Raises NotMeasuredError when a figure is missing that it cannot do without."""
    costs = unit_costs(found)
    return "\n".join(
        (
            "# Sizing: what a federation takes",
            "",
            "Made by `python -m bekend_bench.sizing` from the reports in [bench/results](../bench/results); what is "
            "measured, and how, stands in [bench/README.md](../bench/README.md), the figures themselves in "
            "[performance.md](performance.md). Every number below is a measured unit cost, an assumption with a name, "
            "or arithmetic that is shown.",
            "",
            *parts_table(found, PARTS),
            "",
            *_unit_costs(costs),
            *_growth(costs, found),
            *_assumed(),
            *_federations(costs),
        )
    )


def plots(found: results.Results, folder: Path) -> list[Path]:
    """Draw everything that the page shows; gives the files."""
    costs = unit_costs(found)
    folder.mkdir(parents=True, exist_ok=True)
    per_purpose = "one purpose, two cores"
    enrol = [(float(n), n / costs.enrol_rate.value / 60) for n in IDENTIFIERS]
    build = [(float(n), n / costs.tag_rate.value / 60) for n in IDENTIFIERS]
    draw(
        folder / "identifiers.svg",
        [
            Series("a whole import", enrol),
            Series("a new filter", build),
            Series("imports measured", [(n, n / rate / 60) for n, rate in costs.enrolled], measured=True),
            Series("filters measured", [(n, n / rate / 60) for n, rate in costs.built], measured=True),
        ],
        title=f"Identifiers per node: minutes for {per_purpose}",
        x="identifiers",
        y="minutes",
        log=(True, True),
    )
    draw(
        folder / "partners.svg",
        [
            Series("p50, measured", costs.latency.points, measured=True),
            Series("p50, straight line", _along(costs.latency.at)),
            Series("processor time of all", _along(lambda p: marginal(p, costs))),
        ],
        title="Partners per question: milliseconds",
        x="partners",
        y="milliseconds",
        log=(True, True),
    )
    draw(
        folder / "rate.svg",
        [
            Series("requester", [(r, r * costs.question[REQUESTER].at(6) / 1e3) for r in RATES]),
            Series("broker", [(r, r * costs.question[BROKER].at(6) / 1e3) for r in RATES]),
            Series("each source", [(r, r * costs.question[SOURCE].at(6) / 1e3) for r in RATES]),
        ],
        title="Questions per second to 6 partners: cores kept busy",
        x="questions per second",
        y="cores",
        log=(True, True),
    )
    drawn = ["identifiers", "partners", "rate"]
    if costs.replicas:
        draw(
            folder / "replicas.svg",
            [Series("measured", costs.replicas, measured=True), Series("between them", costs.replicas)],
            title="Replicas of the broker: questions per second",
            x="replicas",
            y="questions per second",
            log=(False, False),
        )
        drawn.append("replicas")
    return [folder / f"{name}.svg" for name in drawn]


def _along(cost: Callable[[int], float]) -> list[tuple[float, float]]:
    return [(float(partners), cost(partners)) for partners in PARTNERS]


def _unit_costs(costs: UnitCosts) -> Iterator[str]:
    yield from ("## Unit costs", "")
    singles = (
        ("one person enrolled for one purpose, processor time of node and broker", costs.enrol),
        ("of which at the broker", costs.enrol_broker),
        ("persons enrolled on this machine, both parties", costs.enrol_rate),
        ("one pseudonym in a new filter, processor time", costs.tag),
        ("pseudonyms in a new filter on this machine", costs.tag_rate),
        ("disk, filter included", costs.disk),
        ("memory of a node", costs.node_memory),
        ("memory of the broker, nobody attached", costs.broker_memory),
        ("memory of the broker, per attached node", costs.attached_memory),
        ("a tag of a filter on the wire", costs.wire_tag),
    )
    rows = [(what, f"{number(one.value)} {one.unit}", f"`{one.measured}`") for what, one in singles if one is not None]
    yield from table(("what", "measured", "figure"), rows)
    yield from (
        "",
        "A question costs a fixed part and a part per partner: the straight line with the least squares.",
        "",
    )
    lines = [(who, costs.question[who]) for who in (REQUESTER, BROKER, SOURCE)]
    yield from table(
        ("milliseconds", "fixed", "per partner", "measured at"),
        [_line("time that passes, p50", costs.latency), *(_line(f"processor time of {w}", one) for w, one in lines)],
    )
    octets = [("the line of the requester", costs.requester_octets), ("the line of each source", costs.source_octets)]
    if any(line is not None for _, line in octets):
        yield from ("", "What it puts on the wire, both directions together, TLS and HTTP/2 included:", "")
        crossed = [_line(what, line) for what, line in octets if line is not None]
        yield from table(("octets", "fixed", "per partner", "measured at"), crossed)
    yield ""


def _line(what: str, line: Line) -> tuple[str, str, str, str]:
    points = ", ".join(f"{partners}: {number(value)}" for partners, value in line.points)
    return what, number(line.fixed), number(line.each), points


def _growth(costs: UnitCosts, found: results.Results) -> Iterator[str]:
    yield from ("## How cost grows", "", "### With identifiers per node", "")
    yield from (f"![minutes against identifiers]({PLOTS}/identifiers.svg)", "")
    yield from table(
        ("identifiers", "whole import", "new filter", "time between switches", "filters of 6 purposes", "disk"),
        [_identifiers(count, costs) for count in IDENTIFIERS],
    )
    yield from (
        "",
        "Import and filter for one purpose, both cores; *filters of 6 purposes* is the share of the time between two "
        "switches that building them takes, *disk* is for one purpose. Memory does not grow along: an import holds two "
        f"windows of {WINDOW:,} persons and sorts {IN_MEMORY:,} records at once, and a serving node maps its files.",
        "",
        *_import_memory(costs),
        "### With partners per question",
        "",
        f"![milliseconds against partners]({PLOTS}/partners.svg)",
        "",
    )
    yield from table(("partners", "p50", "processor time of all"), [_partners(count, costs) for count in PARTNERS])
    yield from (
        "",
        "Measured points are those of the table above; the others lie on its line. All partners of the bench share "
        "two cores: with a machine each, the time that passes is shorter, and the processor time the same.",
        "",
        "### With questions per second",
        "",
        f"![cores against questions per second]({PLOTS}/rate.svg)",
        "",
    )
    if costs.replicas:
        yield from ("### With replicas of the broker", "")
        yield from (f"![questions per second against replicas]({PLOTS}/replicas.svg)", "")
        alone = found.figures.get((BROKER_PART, "1 broker, SQLite, questions"))
        rows = [("1, with SQLite", number(alone.value))] if alone is not None else []
        rows += [(f"{count}, on PostgreSQL", number(rate)) for count, rate in costs.replicas]
        yield from (*table(("replicas", "questions per second"), rows), "")
        yield from (
            "A question here is about one person to one source: a lookup at 6 partners counts six times. All on one "
            "machine, replicas, PostgreSQL and nodes, so they share its cores.",
            "",
        )


def _import_memory(costs: UnitCosts) -> Iterator[str]:
    if costs.import_memory:
        rows = [(who, f"{persons:,}", f"{number(most)} MB") for who, persons, most in costs.import_memory]
        yield from (*table(("process of an import", "persons", "most memory"), rows), "")


def _identifiers(count: int, costs: UnitCosts) -> tuple[str, ...]:
    interval = interval_of(size_class(count + 1), None).total_seconds()
    build = count / costs.tag_rate.value
    return (
        f"{count:,}",
        _span(count / costs.enrol_rate.value),
        _span(build),
        _span(interval),
        f"{PURPOSES.value * build / interval:.1%}",
        f"{number(count * costs.disk.value / 1e6)} MB",
    )


def _partners(count: int, costs: UnitCosts) -> tuple[str, ...]:
    known = dict(costs.latency.points)
    latency = known.get(count, costs.latency.at(count))
    mark = "" if count in known else " (on the line)"
    return f"{count}", f"{number(latency)} ms{mark}", f"{number(marginal(count, costs))} ms"


def _span(seconds: float) -> str:
    if seconds < 60:
        return f"{number(seconds)} s"
    return f"{number(seconds / 60)} min" if seconds < 3600 else f"{number(seconds / 3600)} h"


def _assumed() -> Iterator[str]:
    yield from ("## Assumptions", "", "Not measured: put your own in `bench/bekend_bench/federations.py`.", "")
    rows = [(one.name, f"{one.value:,.10g}", one.why) for one in ASSUMPTIONS]
    yield from (*table(("what", "value", "why"), rows), "")


def _federations(costs: UnitCosts) -> Iterator[str]:
    yield from ("## Three federations", "")
    head = ("federation", "nodes", "questions a year", "in the busiest second", "cores busy at the broker then")
    overview = [
        (
            one.name,
            f"{one.nodes}",
            f"{one.questions:,.0f}",
            number(busiest(one.questions)),
            number(broker_cores(one, costs)),
            f"{number(broker_rate(one, costs) * 8 / 1e6)} Mbit/s" if costs.wire_tag else "not measured",
            f"{machines(one, costs)}",
            f"{number(at_most(one, costs))} euro",
        )
        for one in FEDERATIONS
    ]
    yield from table((*head, "filters at the broker", "machines of 2 cores", "a question costs at most"), overview)
    yield from (
        "",
        "What takes hardware is that each partner keeps a machine of its own, and that the broker stands there twice: "
        "the questions of the whole country keep a small part of one core busy.",
        "",
    )
    for one in FEDERATIONS:
        yield from (f"### {one.name}", "", f"{one.nodes} nodes: {one.gemeenten} gemeenten and {one.others} others.", "")
        rows = [(step.what, step.how, step.comes_to) for step in steps(one, costs)]
        yield from (*table(("what", "arithmetic", "comes to"), rows), "")


def pages(folder: Path, root: Path) -> dict[Path, str]:
    """Every page that is made of reports, with its path below `root`."""
    found, before = results.newest(folder), results.load(folder / results.BEFORE)
    made = {Path("docs/sizing.md"): page(found), Path("docs/performance.md"): performance.page(before, found)}
    for name, part in (("README.md", performance.first_page(found)), ("docs/peers.md", performance.peers_table(found))):
        made[Path(name)] = performance.replaced((root / name).read_text(encoding="utf-8"), part)
    return made


def main(
    folder: Annotated[Path, typer.Option("--results", help="Folder of reports.")] = results.FOLDER,
    root: Annotated[Path, typer.Option(help="Where README.md and docs are.")] = Path(),
) -> None:
    """Write every page that is made of the bench's reports, and the plots."""
    try:
        made = pages(folder, root)
        drawn = plots(results.newest(folder), root / "docs" / PLOTS)
    except (OSError, ValueError, results.NotMeasuredError) as fault:
        sys.stderr.write(f"sizing: {fault}\n")
        raise typer.Exit(1) from None
    for name, text in made.items():
        (root / name).write_text(text, encoding="utf-8")
    for path in (*(root / name for name in made), *drawn):
        sys.stdout.write(f"{path}\n")


if __name__ == "__main__":
    typer.run(main)
