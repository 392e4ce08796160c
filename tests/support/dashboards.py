"""The dashboards drawn from a real Prometheus without Grafana: what each query gives, and how it looks.

Grafana itself is not run by any test: it is packaged neither for Debian nor for PyPI. What is shown here are its own
queries, answered by Prometheus, in a layout of ours.
"""

import json
import math
import time
import urllib.parse
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
BOARDS = {name: ROOT / "deploy" / "grafana" / f"{name}.json" for name in ("broker", "node")}
COLOURS = ("#1f77b4", "#d1730b", "#2a7e2a", "#b22222", "#7a52a8", "#7b4a3e", "#b0498f", "#5a5a5a", "#7d7d12", "#117f8c")
_UNITS = {"percentunit": (100, "%"), "reqps": (1, "/s"), "short": (1, "")}


@dataclass(frozen=True)
class Panel:
    """One panel of a dashboard: its queries with the variables filled in."""

    title: str
    kind: str
    unit: str
    queries: tuple[tuple[str, str], ...]
    """Expression, and the text of the legend."""
    width: int
    starts_row: str


@dataclass(frozen=True)
class Series:
    """What came of a query: a name as the legend has it, and points (moment, value)."""

    name: str
    points: tuple[tuple[float, float], ...]


def panels(board: str, interval: str, instance: str = ".*") -> list[Panel]:
    """The panels of a dashboard, in their order, with `$__rate_interval` and `$instance` filled in."""
    found, row = [], ""
    for one in json.loads(BOARDS[board].read_text("utf-8"))["panels"]:
        if one["type"] == "row":
            row = one["title"]
            continue
        queries = tuple(
            (
                target["expr"].replace("$__rate_interval", interval).replace("$instance", instance),
                target["legendFormat"],
            )
            for target in one["targets"]
        )
        unit = one["fieldConfig"]["defaults"]["unit"]
        found.append(Panel(one["title"], one["type"], unit, queries, one["gridPos"]["w"], row))
        row = ""
    return found


class Prometheus:
    """The HTTP API of a running Prometheus."""

    def __init__(self, port: int) -> None:
        self._base = f"http://127.0.0.1:{port}/api/v1"

    def get(self, path: str, **parameters: str | float) -> Any:
        """The data of a reply. Raises HTTPError, with the fault, for a query that does not parse."""
        words = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self._base}/{path}?{words}", timeout=20) as reply:
            return json.load(reply)["data"]

    def series(self, panel: Panel, seconds: float, step: float) -> list[Series]:
        """What a panel shows over the last `seconds`."""
        end = time.time()
        found = []
        for expression, legend in panel.queries:
            data = self.get("query_range", query=expression, start=end - seconds, end=end, step=step)
            for one in data["result"]:
                points = tuple((float(at), float(value)) for at, value in one["values"] if math.isfinite(float(value)))
                if points:
                    found.append(Series(_name(legend, one["metric"]), points))
        return found


def _name(legend: str, labels: dict[str, str]) -> str:
    for label, value in labels.items():
        legend = legend.replace(f"{{{{{label}}}}}", value)
    return legend


def page(title: str, drawn: Sequence[tuple[Panel, Sequence[Series]]]) -> str:
    """All panels as one page of HTML, in the widths of the dashboard."""
    parts = []
    for panel, series in drawn:
        if panel.starts_row:
            parts.append(f"<h2>{escape(panel.starts_row)}</h2>")
        body = _body(panel, series) if series else '<p class="leeg">no data</p>'
        parts.append(f'<section style="grid-column: span {panel.width}"><h3>{escape(panel.title)}</h3>{body}</section>')
    return _PAGE.format(title=escape(title), body="\n".join(parts))


def _body(panel: Panel, series: Sequence[Series]) -> str:
    if panel.kind == "timeseries":
        return _chart(panel, series) + _legend(series)
    if panel.kind == "bargauge":
        return _bars(panel, series)
    shown = "".join(
        f"<p><b>{escape(_value(panel, one.points[-1][1]) if panel.title != 'Release' else one.name)}</b>"
        f" <span>{escape(one.name if panel.title != 'Release' else '')}</span></p>"
        for one in series
    )
    return f'<div class="getal">{shown}</div>'


def _value(panel: Panel, value: float) -> str:
    if panel.unit == "s":
        return _duration(value)
    if panel.unit == "bytes":
        return f"{value / (1 << 20):,.0f} MiB"
    factor, sign = _UNITS[panel.unit]
    return f"{value * factor:,.3g}{sign}" if value < 1000 else f"{value * factor:,.0f}{sign}"


def _duration(seconds: float) -> str:
    for size, sign in ((86_400, "d"), (3600, "h"), (60, "min")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:,.0f} {sign}"
    return f"{seconds:.1f} s" if abs(seconds) >= 1 else f"{seconds * 1000:.0f} ms"


def _chart(panel: Panel, series: Sequence[Series]) -> str:
    begin = min(one.points[0][0] for one in series)
    end = max(one.points[-1][0] for one in series)
    low = min(0.0, *(value for one in series for _, value in one.points))
    high = max(value for one in series for _, value in one.points) or 1.0
    lines = []
    for number, one in enumerate(series):
        path = " ".join(
            f"{60 + 330 * (at - begin) / max(1, end - begin):.1f},{130 - 115 * (value - low) / (high - low):.1f}"
            for at, value in one.points
        )
        lines.append(f'<polyline points="{path}" fill="none" stroke="{_colour(number)}" stroke-width="1.5"/>')
    marks = "".join(
        f'<line x1="60" x2="390" y1="{y}" y2="{y}" stroke="#ddd"/>'
        f'<text x="55" y="{y + 4}" text-anchor="end">{escape(_value(panel, value))}</text>'
        for y, value in ((15, high), (72.5, (high + low) / 2), (130, low))
    )
    return f'<svg viewBox="0 0 400 140" role="img" aria-label="{escape(panel.title)}">{marks}{"".join(lines)}</svg>'


def _legend(series: Sequence[Series]) -> str:
    shown = "".join(
        f'<li><i style="background: {_colour(number)}"></i>{escape(one.name)}</li>'
        for number, one in enumerate(series[:12])
    )
    more = f"<li>and {len(series) - 12} more</li>" if len(series) > 12 else ""
    return f"<ul>{shown}{more}</ul>"


def _bars(panel: Panel, series: Sequence[Series]) -> str:
    high = max(1.0 if panel.unit == "percentunit" else 0.0, *(one.points[-1][1] for one in series)) or 1.0
    return (
        "<table>"
        + "".join(
            f"<tr><th>{escape(one.name)}</th>"
            f"<td><i style='width: {100 * max(0, one.points[-1][1]) / high:.0f}%'></i></td>"
            f"<td>{escape(_value(panel, one.points[-1][1]))}</td></tr>"
            for one in series
        )
        + "</table>"
    )


def _colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title><style>
body {{ font: 14px/1.4 "DejaVu Sans", sans-serif; margin: 1rem; background: #f4f5f7; color: #222; }}
main {{ display: grid; grid-template-columns: repeat(24, 1fr); gap: .6rem; }}
h1 {{ font-size: 1.2rem; margin: 0 0 .6rem; }}
h2 {{ grid-column: 1 / -1; font-size: 1rem; margin: .6rem 0 0; }}
h3 {{ font-size: .85rem; margin: 0 0 .3rem; }}
section {{ background: #fff; border: 1px solid #ddd; padding: .5rem; min-width: 0; }}
svg {{ width: 100%; font-size: 10px; }}
ul {{ list-style: none; display: flex; flex-wrap: wrap; gap: .1rem .7rem; margin: .2rem 0 0; padding: 0; }}
ul, table, .getal span {{ font-size: 11px; }}
li i {{ display: inline-block; width: .8em; height: .8em; margin-right: .3em; }}
.getal p {{ margin: 0; }}
.getal b {{ font-size: 1.2rem; }}
table {{ width: 100%; border-spacing: 0 2px; }}
th {{ text-align: left; font-weight: normal; width: 45%; }}
td i {{ display: block; height: .9em; background: #1f77b4; min-width: 1px; }}
td:last-child {{ text-align: right; width: 18%; }}
.leeg {{ color: #b22222; }}
</style></head><body><h1>{title}</h1><main>
{body}
</main></body></html>
"""
