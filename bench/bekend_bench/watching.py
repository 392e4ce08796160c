"""The most memory that processes held, by what they are: looked at while they run, since it is gone with them."""

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from bekend_bench import machine

EVERY = 0.5
"""Seconds between two looks: a look at all processes takes a few milliseconds of one core."""

Role = Callable[[list[str], list[str]], str | None]
"""What a process is, from its words and those of its parent; None for one that is not watched."""


def import_role(words: list[str], parent: list[str]) -> str | None:
    """The processes of an import: the command, its workers, and the broker."""
    if words[-1:] and "enrol" in words:
        return "each worker" if words == parent else "the command"
    return "the broker" if "broker" in words and "serve" in words else None


class Watch:
    """Peaks of the processes below this one while the `with` block runs, in octets, by role."""

    def __init__(self, role: Role) -> None:
        self._role = role
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self.peaks: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._over.set()
        self._thread.join()
        self.look()

    def look(self) -> None:
        """Take down what each process has held at most until now."""
        for pid, parent in descendants(os.getpid()):
            with contextlib.suppress(OSError):
                role = self._role(_words(pid), _words(parent))
                if role is not None:
                    self.peaks[role] = max(self.peaks.get(role, 0), machine.peak(pid))

    def _look_on(self) -> None:
        while not self._over.wait(EVERY):
            self.look()


def descendants(root: int) -> Iterator[tuple[int, int]]:
    """Every process below `root`, with its parent."""
    children: dict[int, list[int]] = {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            with contextlib.suppress(OSError):
                fields = (folder / "stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
                children.setdefault(int(fields[1]), []).append(int(folder.name))
    below = [(child, root) for child in children.get(root, ())]
    while below:
        pid, parent = below.pop()
        yield pid, parent
        below += [(child, pid) for child in children.get(pid, ())]


def _words(pid: int) -> list[str]:
    return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", errors="replace").split("\0")[:-1]
