"""Results that were measured before: reports as JSON, read back from `bench/results/`."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from bekend_bench.figures import Bar, Figure
from bekend_bench.report import Report

FOLDER = Path("bench/results")
BEFORE = "before.json"


class NotMeasuredError(LookupError):
    """A figure that is asked for is in no report."""


@dataclass(frozen=True, eq=False)
class Run:
    """When figures were measured, how long that took, on what, and beside what else: as in a Report.

    Times of the floor in microseconds.
    """

    began: datetime
    seconds: float
    machine: Mapping[str, str | int | float]
    others: Mapping[str, float]
    floor_us: Mapping[str, float]


@dataclass(frozen=True)
class Results:
    """The figures of one or more runs by part and name, the run that measured each, and the newest run."""

    newest: Run
    figures: Mapping[tuple[str, str], Figure]
    runs: Mapping[tuple[str, str], Run]

    def figure(self, part: str, what: str) -> Figure:
        """One figure. Raises NotMeasuredError."""
        try:
            return self.figures[part, what]
        except KeyError:
            raise NotMeasuredError(f"no report has {part}: {what}") from None

    def value(self, part: str, what: str) -> float:
        """Its value, in its own unit. Raises NotMeasuredError."""
        return self.figure(part, what).value

    def of(self, part: str) -> list[Figure]:
        """All figures of a part, in the order in which they were measured."""
        return [figure for (name, _), figure in self.figures.items() if name == part]


def load(path: Path) -> Results:
    """One report. Raises ValueError when it is none."""
    tree = json.loads(path.read_text(encoding="utf-8"))
    try:
        return _results(tree)
    except (KeyError, TypeError) as fault:
        raise ValueError(f"{path} is no report of `bekend bench --json`: {fault}") from fault


def newest(folder: Path = FOLDER) -> Results:
    """All reports of a folder as one: of a figure that was measured twice the newest counts.

    `before.json` counts only where there is no other. Raises ValueError for none.
    """
    paths = sorted(folder.glob("*.json"))
    return joined(load(path) for path in [path for path in paths if path.name != BEFORE] or paths)


def joined(reports: Iterable[Results]) -> Results:
    """Several reports as one. Raises ValueError for none."""
    by_age = sorted(reports, key=lambda report: report.newest.began)
    if not by_age:
        raise ValueError("there is no report: run `bekend bench --json > bench/results/bench.json`")
    return Results(
        by_age[-1].newest,
        {name: figure for report in by_age for name, figure in report.figures.items()},
        {name: run for report in by_age for name, run in report.runs.items()},
    )


def of_report(report: Report) -> Results:
    """A run that has just ended, as it would be read back."""
    return _results(json.loads(json.dumps(report.to_json())))


def _results(tree: dict[str, Any]) -> Results:
    began = datetime.fromisoformat(tree["began"])
    run = Run(began, tree["seconds"], tree["machine"], tree["others"], tree["floor_us"])
    figures = {(one.part, one.what): one for one in map(_figure, tree["figures"])}
    return Results(run, figures, dict.fromkeys(figures, run))


def _figure(tree: dict[str, Any]) -> Figure:
    bar = Bar(**tree["bar"]) if tree["bar"] else None
    return Figure(tree["part"], tree["what"], tree["value"], tree["unit"], tree["ratio"], bar)
