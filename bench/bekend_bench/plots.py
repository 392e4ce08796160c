"""The plots of the sizing page: SVG, readable in black and white, the same for the same numbers."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl

mpl.use("svg")
import matplotlib.pyplot as plt

# Text stays text, identifiers follow from the content, no date: the same numbers give the same file.
mpl.rcParams.update(
    {"svg.fonttype": "none", "svg.hashsalt": "bekend", "font.family": "sans-serif", "font.size": 10, "axes.grid": True}
)
mpl.rcParams.update({"grid.color": "#dddddd", "axes.edgecolor": "#888888", "figure.figsize": (6.4, 3.6)})
_STYLES = (("#154273", "-", "o"), ("#b45f06", "--", "s"), ("#38761d", "-.", "^"), ("#741b47", ":", "D"))


@dataclass(frozen=True)
class Series:
    """One line: its name, its points, and whether they were measured (marked) or follow from a unit cost."""

    name: str
    points: Sequence[tuple[float, float]]
    measured: bool = False


def draw(path: Path, series: Sequence[Series], *, title: str, x: str, y: str, log: tuple[bool, bool]) -> None:
    """Write one plot. `log`: whether the axis counts in powers of ten."""
    figure, axes = plt.subplots(layout="constrained")
    for one, (colour, line, mark) in zip(series, _STYLES, strict=False):
        xs, ys = zip(*one.points, strict=True)
        axes.plot(
            xs,
            ys,
            color=colour,
            label=one.name,
            marker=mark if one.measured else "",
            linestyle="" if one.measured else line,
        )
    if log[0]:
        axes.set_xscale("log")
    if log[1]:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_title(title, fontsize=11)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.legend(frameon=False)
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
