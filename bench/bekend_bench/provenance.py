"""Where the figures of a page come from: of each part when it was measured, on which machine, and beside what else."""

from collections.abc import Collection

from bekend_bench.report import floor_table, table
from bekend_bench.results import Results, Run
from bekend_bench.run import STAGES

HEAD = ("part", "figures", "measured, UTC", "its whole run took", "load", "share of the cores that others had")


def parts_table(found: Results, parts: Collection[str] | None = None) -> list[str]:
    """A row per part (all, unless said), or per run where several measured it; each machine once, before the table."""
    measured: dict[str, dict[Run, list[str]]] = {}
    for (part, what), run in found.runs.items():
        if parts is None or part in parts:
            measured.setdefault(part, {}).setdefault(run, []).append(what)
    machines = list(dict.fromkeys(_machine(run) for runs in measured.values() for run in runs))
    every = ((part, run, runs) for part, runs in measured.items() for run in sorted(runs, key=lambda run: run.began))
    rows = [(_row(part, run, runs), _machine(run)) for part, run, runs in every]
    if len(machines) == 1:
        return [f"Machine: {machines[0]}.", "", *table(HEAD, [row for row, _ in rows])]
    numbers = {machine: str(number) for number, machine in enumerate(machines, start=1)}
    named = [line for machine, number in numbers.items() for line in (f"Machine {number}: {machine}.", "")]
    return [*named, *table((*HEAD, "machine"), [(*row, numbers[machine]) for row, machine in rows])]


def floor(run: Run) -> list[str]:
    """The floor that a run measured, and which run that was."""
    return [f"The floor, as the run of {run.began:%Y-%m-%d %H:%M} UTC measured it:", "", *floor_table(run.floor_us)]


def _row(part: str, run: Run, runs: dict[Run, list[str]]) -> tuple[str, ...]:
    return (
        part,
        _figures(run, runs),
        f"{run.began:%Y-%m-%d %H:%M}",
        f"{run.seconds:,.0f} s",
        str(run.machine.get("load", "")),
        _others(part, run),
    )


def _figures(run: Run, runs: dict[Run, list[str]]) -> str:
    """Which figures are of this run: by what they are about, where the other runs have nothing about that."""
    if len(runs) == 1:
        return "all"
    elsewhere = {_about(what) for other in runs if other is not run for what in runs[other]}
    return "; ".join(dict.fromkeys(what if _about(what) in elsewhere else _about(what) for what in runs[run]))


def _about(what: str) -> str:
    return what.partition(", ")[0]


def _others(part: str, run: Run) -> str:
    """During the floor of the run, and during each stage that measures the part."""
    stages = ["floor", *(stage for stage, parts, _ in STAGES if part in parts)]
    shares = [f"{stage} {100 * run.others[stage]:.3g}%" for stage in stages if stage in run.others]
    return "; ".join(shares) or "not measured"


def _machine(run: Run) -> str:
    return ", ".join(f"{name} {value}" for name, value in run.machine.items() if name != "load")
