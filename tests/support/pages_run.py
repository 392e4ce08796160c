"""Runs the blocks of a page as a reader would: copied into a shell, on a terminal where somebody types the answers."""

import os
import pty
import re
import select
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PROMPT = re.compile(r"[^\n]*(?:[Ww]achtwoord|Nog een keer)[^\n]*: $")


@dataclass(frozen=True)
class Block:
    """A fenced block: what stands behind the fence, and what is in it."""

    kind: str
    text: str


def blocks(page: Path) -> list[Block]:
    """The fenced blocks of a page, in their order."""
    return [Block(*found) for found in re.findall(r"^```(\w[\w ]*)\n(.*?)^```$", page.read_text(), re.M | re.S)]


@dataclass
class Shell:
    """Somebody at a terminal. `answer` gives what is typed at a prompt."""

    folder: Path
    environment: Mapping[str, str]
    answer: Callable[[str], str]
    seconds: float = 0.0
    commands: int = 0
    prompts: int = 0
    said: list[str] = field(default_factory=list)

    def run(self, text: str, codes: tuple[int, ...] = (0,), limit: float = 180) -> str:
        """Run a block with bash, stopping at the first command that fails; returns what the terminal showed."""
        begun = time.monotonic()
        child, terminal = pty.fork()
        if child == 0:
            os.chdir(self.folder)
            os.execvpe("bash", ["bash", "-euo", "pipefail", "-c", text], dict(self.environment))
        shown = self._talk(terminal, begun + limit)
        if time.monotonic() > begun + limit:
            os.killpg(child, signal.SIGKILL)
        # Closed before the end, the terminal would hang up on it.
        _, status = os.waitpid(child, 0)
        os.close(terminal)
        self.seconds += time.monotonic() - begun
        self.commands += sum(1 for line in text.splitlines() if line and not line.startswith((" ", "END")))
        self.said.append(shown)
        code = os.waitstatus_to_exitcode(status)
        assert code in codes, f"exit code {code}\n{text}\n{shown}"
        return shown

    def _talk(self, terminal: int, until: float) -> str:
        shown, answered = "", 0
        while time.monotonic() < until:
            ready, _, _ = select.select([terminal], [], [], 1)
            if not ready:
                continue
            try:
                octets = os.read(terminal, 65_536)
            except OSError:
                break
            if not octets:
                break
            shown += octets.decode("utf-8", "replace").replace("\r\n", "\n")
            if found := PROMPT.search(shown, answered):
                answered = len(shown)
                self.prompts += 1
                os.write(terminal, f"{self.answer(found[0])}\n".encode())
        return shown
