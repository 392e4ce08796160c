"""A node whose clock is off, as where the time service of its machine went wrong; for drills alone.

    python -m bekend_bench.shifted FILE node serve --config node.yaml

FILE holds the seconds by which the clock is ahead, and is read at every look at the clock.
"""

import asyncio
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

from bekend_node.app import run
from bekend_node.config import load_config


class ShiftedClock:
    """The machine's clock, ahead by what stands in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        """The moment as that machine has it."""
        return datetime.now(UTC) + timedelta(seconds=float(self._file.read_text(encoding="ascii")))


def main() -> None:
    """Serve."""
    file, config = Path(sys.argv[1]), Path(sys.argv[-1])
    asyncio.run(run(load_config(config), ShiftedClock(file)))


if __name__ == "__main__":
    main()
