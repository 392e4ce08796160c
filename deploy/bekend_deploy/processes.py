"""Processes of a federation on one machine: each in a group of its own, its output in a file, none left behind."""

import atexit
import contextlib
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from pathlib import Path

BEKEND = (sys.executable, "-m", "bekend_deploy.cli")
"""The command `bekend` of this very installation."""

LOWEST_PORT = 20_000
"""Of those that this machine may give away; below it are those of well-known servers."""

_running: set["Process"] = set()


class ProcessFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """A process ended, or did not become ready; the message holds the end of its log."""


class Process:
    """One running `bekend` command and everything that it starts."""

    def __init__(
        self,
        name: str,
        words: Sequence[str],
        log: Path,
        environment: Mapping[str, str] | None = None,
        command: Sequence[str] | None = None,
    ):
        """`command`: what takes these words in the place of `bekend`."""
        self.name = name
        self.log = log
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - our own command, words of our own
                [*(command or BEKEND), *words],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environment or {})},
                start_new_session=True,
            )
        _running.add(self)

    @property
    def pid(self) -> int:
        """Number of the process, and of its group."""
        return self._process.pid

    @property
    def alive(self) -> bool:
        """Whether the command still runs."""
        return self._process.poll() is None

    @property
    def exit_code(self) -> int | None:
        """What it ended with; negative is the signal."""
        return self._process.poll()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the whole group, if it is still there."""
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError:
            _running.discard(self)

    def wait(self, seconds: float) -> int:
        """Wait for the end; returns the exit code. Raises ProcessFailed when it takes longer."""
        try:
            code = self._process.wait(seconds)
        except subprocess.TimeoutExpired as slow:
            raise ProcessFailed(f"{self.name} still runs after {seconds:.0f} s\n{self.tail()}") from slow
        _running.discard(self)
        return code

    def stop(self, grace: float = 10) -> int:
        """SIGTERM, so that it drains; SIGKILL to the group after `grace` seconds. Returns the exit code."""
        if self.alive:
            self.signal(signal.SIGCONT)
            self._process.terminate()
        try:
            return self._process.wait(grace)
        except subprocess.TimeoutExpired:
            return self.kill()
        finally:
            self.signal(signal.SIGKILL)
            _running.discard(self)

    def kill(self) -> int:
        """SIGKILL to the whole group: what a power cut looks like."""
        self.signal(signal.SIGKILL)
        _running.discard(self)
        return self._process.wait()

    def ready(self, condition: Callable[[], bool], seconds: float = 60) -> None:
        """Wait until the condition holds. Raises ProcessFailed when the process ends first, or with the time."""
        deadline = time.monotonic() + seconds
        while not condition():
            if not self.alive:
                raise ProcessFailed(f"{self.name} ended with {self.exit_code}\n{self.tail()}")
            if time.monotonic() > deadline:
                raise ProcessFailed(f"{self.name} is not ready after {seconds:.0f} s\n{self.tail()}")
            time.sleep(0.02)

    def tail(self, lines: int = 20) -> str:
        """The end of the log."""
        return "\n".join(self.log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:])


def free_ports(count: int) -> list[int]:
    """TCP ports on loopback that nobody listens on now, all different.

    None that the system gives to who dials out: such a one may be taken before whom it is for listens there. Raises
    ProcessFailed when there are not so many.
    """
    low, high = _dialled_from()
    ports = [*range(LOWEST_PORT, low), *range(high + 1, 1 << 16)] or list(range(low, high + 1))
    secrets.SystemRandom().shuffle(ports)
    found = list(islice(filter(_is_free, ports), count))
    if len(found) < count:
        raise ProcessFailed(f"{len(found)} ports on loopback are free and {count} are needed: end what listens there")
    return found


def _dialled_from() -> tuple[int, int]:
    """The ports of connections that go out: those of the system, or (RFC 6335, section 6) those set apart for it."""
    try:
        low, high = Path("/proc/sys/net/ipv4/ip_local_port_range").read_text("ascii").split()
    except (OSError, ValueError):
        return 49152, 65535
    return int(low), int(high)


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As a server does: what closed a while ago is no obstacle.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return True
    return False


def _end_all() -> None:
    for process in list(_running):
        process.kill()


atexit.register(_end_all)
