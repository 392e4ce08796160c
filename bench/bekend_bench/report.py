"""One run's report: JSON for machines, a Markdown table for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from bekend_bench.figures import Figure, number
from bekend_bench.floor import Floor


@dataclass
class Report:
    """What was measured, where and when. `seconds` is how long that took.

    `others` is, per stage, the share of all cores that other processes had meanwhile: they were measured along.
    """

    began: datetime
    machine: Mapping[str, str | int | float]
    full: bool
    floor: Floor
    figures: list[Figure] = field(default_factory=list)
    seconds: float = 0.0
    others: dict[str, float] = field(default_factory=dict)

    @property
    def missed(self) -> Sequence[Figure]:
        """Figures below their bar."""
        return [one for one in self.figures if one.met is False]

    def to_json(self) -> dict[str, object]:
        """Everything, times of the floor in microseconds."""
        return {
            "began": self.began.isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "full": self.full,
            "seconds": round(self.seconds, 1),
            "others": {stage: round(share, 3) for stage, share in self.others.items()},
            "floor_us": self.floor.as_dict(),
            "figures": [one.to_json() for one in self.figures],
            "missed": len(self.missed),
        }

    def markdown(self) -> str:
        """Two tables: the figures with their bars, and the floor."""
        figures = [
            (
                one.part,
                one.what,
                f"{number(one.value)} {one.unit}",
                f"{one.ratio:.0%}" if one.ratio is not None else "",
                one.bar.words(one.unit) if one.bar else "",
                {True: "met", False: "MISSED", None: ""}[one.met],
            )
            for one in self.figures
        ]
        return "\n".join(
            (
                *self._circumstances(),
                "",
                *table(("part", "what", "measured", "of floor", "bar", ""), figures),
                "",
                *floor_table(self.floor.as_dict()),
                "",
            )
        )

    def _circumstances(self) -> list[str]:
        """When, on what, and beside what else, as lines."""
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        shares = ", ".join(f"{stage} {share:.0%}" for stage, share in self.others.items())
        return [
            f"Measured {self.began:%Y-%m-%d %H:%M} UTC in {self.seconds:.0f} s: {facts}.",
            f"Share of the cores that other processes had meanwhile: {shares}.",
        ]


def floor_table(costs: Mapping[str, float]) -> list[str]:
    """The floor as a Markdown table, from microseconds."""
    rows = [(name.replace("_", " "), f"{number(cost)} us") for name, cost in costs.items()]
    return table(("floor: one operation at the raw speed of its library", "time"), rows)


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """A Markdown table, its columns aligned, as lines."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |"
        for row in (head, *rows)
    ]
    return [lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]]
