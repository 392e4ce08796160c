"""Registers enrolled with `bekend node enrol`, each in a process of its own."""

import time
from dataclasses import asdict, dataclass, field
from pathlib import Path

from bekend_deploy.building import NodeFiles
from bekend_deploy.processes import Process, ProcessFailed

_HOUR = 3600


@dataclass(frozen=True)
class Import:
    """One register that has to be enrolled."""

    node: NodeFiles = field(repr=False)
    register: str
    path: Path

    def run(self, *options: str) -> float:
        """Enrol it, with more options of the command if need be; gives the seconds that it took.

        Raises ProcessFailed with the end of its log when that fails.
        """
        begin = time.monotonic()
        words = ("node", "enrol", "--config", str(self.node.config), "--register", self.register)
        log = self.node.folder / f"enrol-{self.register}.log"
        process = Process(
            f"enrol {self.node.partner.slug} {self.register}", (*words, "--file", str(self.path), *options), log
        )
        if process.wait(_HOUR) != 0:
            raise ProcessFailed(f"{process.name} ended with {process.exit_code}\n{process.tail()}")
        return round(time.monotonic() - begin, 3)


@dataclass(frozen=True)
class Imported:
    """What came of it."""

    oin: str
    name: str
    register: str
    persons: int
    seconds: float

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        return asdict(self)
