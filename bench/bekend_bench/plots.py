"""The plots of pages: lines, points and bars as SVG, readable in black and white, the same for the same numbers.

Written here and not with a library of plots: those bring numpy, which sqlite-utils loads wherever it is installed, so
that every process of the bench would grow by what draws it.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Final

WIDTH, HEIGHT = 640, 360
_LEFT, _RIGHT, _TOP, _BOTTOM = 84, 596, 40, 310
_STYLES: Final = (("#154273", ""), ("#b45f06", "8 4"), ("#38761d", "8 3 2 3"), ("#741b47", "2 3"))
"""Colour and dashes of each line: they differ without colours too."""
_STEPS: Final = (1, 2, 5, 10)


@dataclass(frozen=True)
class Series:
    """One line: its name, its points, and whether they were measured (marked) or follow from a unit cost."""

    name: str
    points: Sequence[tuple[float, float]]
    measured: bool = False


@dataclass(frozen=True)
class Axis:
    """From numbers to places between two ends of the picture; with `log` by powers of ten."""

    ticks: tuple[float, ...]
    log: bool
    start: float
    end: float

    @classmethod
    def over(cls, numbers: Sequence[float], *, log: bool, start: float, end: float) -> "Axis":
        """With ticks around all these numbers: each power of ten, or about five steps from nought."""
        if log:
            low, high = math.floor(math.log10(min(numbers))), math.ceil(math.log10(max(numbers)))
            return cls(tuple(10.0**power for power in range(low, max(high, low + 1) + 1)), log, start, end)
        rough = 10.0 ** math.floor(math.log10(max(numbers) / 5))
        step = next(rough * step for step in _STEPS if rough * step >= max(numbers) / 5)
        return cls(tuple(step * count for count in range(math.ceil(max(numbers) / step) + 1)), log, start, end)

    def place(self, number: float) -> float:
        """Where a number stands."""
        low, high, value = self.ticks[0], self.ticks[-1], number
        if self.log:
            low, high, value = math.log10(low), math.log10(high), math.log10(number)
        return self.start + (value - low) / (high - low) * (self.end - self.start)


def draw(path: Path, series: Sequence[Series], *, title: str, x: str, y: str, log: tuple[bool, bool]) -> None:
    """Write one plot. `log`: whether the axes, x and y, count in powers of ten."""
    path.write_text("\n".join(_lines(series, title, x, y, log)) + "\n", encoding="utf-8")


def _lines(series: Sequence[Series], title: str, x: str, y: str, log: tuple[bool, bool]) -> Iterator[str]:
    points = [point for one in series for point in one.points]
    across = Axis.over([at for at, _ in points], log=log[0], start=_LEFT, end=_RIGHT)
    heights = [at for _, at in points]
    # The key stands above what is drawn; by powers of ten lines rise, and leave it its corner.
    above = [] if log[1] else [max(heights) * 1.2]
    up = Axis.over([*heights, *above], log=log[1], start=_BOTTOM, end=_TOP)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" font-size="12"'
    yield f' font-family="sans-serif" fill="#222222"><title>{escape(title)}</title>'
    yield f'<rect width="{WIDTH}" height="{HEIGHT}" fill="#ffffff"/>'
    yield from _text((_LEFT + _RIGHT) / 2, 24, title, "middle", ' font-size="14"')
    for number in across.ticks:
        yield _line(across.place(number), _BOTTOM, across.place(number), _TOP)
        yield from _text(across.place(number), _BOTTOM + 18, _shown(number), "middle")
    for number in up.ticks:
        yield _line(_LEFT, up.place(number), _RIGHT, up.place(number))
        yield from _text(_LEFT - 8, up.place(number) + 4, _shown(number), "end")
    yield from _text((_LEFT + _RIGHT) / 2, HEIGHT - 12, x, "middle")
    yield from _text(14, (_TOP + _BOTTOM) / 2, y, "middle", f' transform="rotate(-90 14 {(_TOP + _BOTTOM) / 2:.0f})"')
    for number, one in enumerate(series):
        places = [(across.place(at), up.place(value)) for at, value in one.points]
        yield from _drawn(one, places, *_STYLES[number % len(_STYLES)])
        ends = (29.0,) if one.measured else (14.0, 44.0)
        key = [(_LEFT + end, _TOP + 16.0 + 18 * number) for end in ends]
        yield from _drawn(one, key, *_STYLES[number % len(_STYLES)])
        yield from _text(_LEFT + 52, _TOP + 20 + 18 * number, one.name, "start")
    yield "</svg>"


def _drawn(one: Series, places: Sequence[tuple[float, float]], colour: str, dashes: str) -> Iterator[str]:
    if one.measured:
        yield from (f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" fill="{colour}"/>' for left, top in places)
        return
    path = " ".join(f"{left:.1f},{top:.1f}" for left, top in places)
    yield f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="2" stroke-dasharray="{dashes}"/>'


def _line(left: float, bottom: float, right: float, top: float) -> str:
    return f'<line x1="{left:.1f}" y1="{bottom:.1f}" x2="{right:.1f}" y2="{top:.1f}" stroke="#dddddd"/>'


def _text(left: float, top: float, words: str, anchor: str, more: str = "") -> Iterator[str]:
    yield f'<text x="{left:.1f}" y="{top:.1f}" text-anchor="{anchor}"{more}>{escape(words)}</text>'


def _shown(number: float) -> str:
    return f"{number:,.9f}".rstrip("0").rstrip(".")


def bars(path: Path, names: Sequence[str], groups: Mapping[str, Sequence[float]], *, title: str, x: str) -> None:
    """Write a plot of bars that lie: a value per name in each group."""
    path.write_text("\n".join(_bars(names, groups, title, x)) + "\n", encoding="utf-8")


def _bars(names: Sequence[str], groups: Mapping[str, Sequence[float]], title: str, x: str) -> Iterator[str]:
    left, row = 210, 18 * len(groups) + 10
    bottom = _TOP + row * len(names) + 18 * len(groups)
    across = Axis.over([value for values in groups.values() for value in values], log=False, start=left, end=_RIGHT)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 60}" role="img" font-size="12"'
    yield f' font-family="sans-serif" fill="#222222"><title>{escape(title)}</title>'
    yield f'<rect width="{WIDTH}" height="{bottom + 60}" fill="#ffffff"/>'
    yield from _text(WIDTH / 2, 24, title, "middle", ' font-size="14"')
    for number in across.ticks:
        yield _line(across.place(number), bottom, across.place(number), _TOP)
        yield from _text(across.place(number), bottom + 18, _shown(number), "middle")
    yield from _text((left + _RIGHT) / 2, bottom + 42, x, "middle")
    for number, (group, values) in enumerate(groups.items()):
        colour = _STYLES[number % len(_STYLES)][0]
        yield _bar(left, _TOP + 18 * number, 24, colour)
        yield from _text(left + 32, _TOP + 18 * number + 12, group, "start")
        for place, value in enumerate(values):
            top = _TOP + 18 * len(groups) + place * row + 18 * number
            yield _bar(left, top, across.place(value) - left, colour)
    for place, name in enumerate(names):
        yield from _text(left - 8, _TOP + 18 * len(groups) + place * row + 9 * len(groups) + 4, name, "end")
    yield "</svg>"


def _bar(left: float, top: float, width: float, colour: str) -> str:
    return f'<rect x="{left:.1f}" y="{top:.1f}" width="{width:.1f}" height="15" fill="{colour}"/>'
