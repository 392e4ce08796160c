"""What is wrong with a file: every fault at once, each with its place and what to do about it."""

from collections.abc import Iterable
from dataclasses import dataclass

from bekend_proto.errors import CovenantError


@dataclass(frozen=True, order=True)
class Fault:
    """One fault. `line` counts from 1; 0 means the file or folder as a whole."""

    file: str
    line: int
    what: str
    remedy: str

    def __str__(self) -> str:
        place = f"{self.file}:{self.line}" if self.line else self.file
        return f"{place}: {self.what}. {self.remedy}"


class YamlFaults(ValueError):  # noqa: N818 - it is a list of them
    """A strict YAML file cannot be used. `faults` holds every reason."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))


class CovenantFaults(CovenantError):  # noqa: N818 - it is a list of them
    """A covenant cannot be used: `faults` holds every reason, in Dutch."""

    def __init__(self, faults: Iterable[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(map(str, self.faults)))
