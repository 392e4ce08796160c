"""What drills showed: the table of docs/drills.md."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class Result:
    """What a drill showed. `seconds` from when it was mended, or from the fault where it mends itself."""

    name: str
    fault: str
    mend: str
    sees: str
    seconds: float
    asked: int
    without: int
    """Lookups in which at least one source gave no answer."""


@dataclass(frozen=True)
class Table:
    """The results of one run, with machine and moment."""

    began: datetime
    machine: Mapping[str, str | int | float]
    results: tuple[Result, ...]
    failed: tuple[str, ...] = ()
    """Drills that ended with a wrong outcome or no recovery, each with the reason; what came after it was not tried."""

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "began": self.began.isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "drills": [asdict(one) for one in self.results],
            "failed": list(self.failed),
        }

    def markdown(self) -> str:
        """The table, and where it was measured."""
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        rows = [
            f"| {one.fault} | {one.sees} | {one.mend} | {one.seconds:.1f} s | {one.without} of {one.asked} |"
            for one in self.results
        ]
        head = "| fault | an officer sees meanwhile | mended by | right again after | lookups without all answers |"
        failed = [f"\n**Failed:** {one}" for one in self.failed]
        began = f"Measured {self.began:%Y-%m-%d %H:%M} UTC: {facts}."
        return "\n".join((began, "", head, "|---|---|---|---|---|", *rows, *failed, ""))
