"""What systemd is told of a service (sd_notify(3)): ready, reloading, stopping, how it stands, and that it works on.

Without `NOTIFY_SOCKET` in the environment nothing is told and nothing is different. `WATCHDOG=1` is sent by the loop
that does the work, each time after a piece of work that went all the way: a loop that hangs, or a writer that does, is
silent, and systemd starts the service again.
"""

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

from bekend_proto.errors import BekendError

STATUS_SECONDS: Final = 15.0
"""How often the status line is told where no watchdog asks for more."""
_OFTEN: Final = 3
"""Signs of life per term of the watchdog: one that is late is no death."""


class Supervisor:
    """The service manager of this process, if there is one."""

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A name that begins with @ is in the abstract namespace (unix(7)).
        self._address = f"\0{path[1:]}" if path.startswith("@") else path
        self._seconds = _term(environment)

    def ready(self) -> None:
        """The service is started, or what it read again is in force."""
        self._tell("READY=1")

    def reloading(self) -> None:
        """The configuration is being read again; `ready` ends it."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self) -> None:
        """The service drains and ends."""
        self._tell("STOPPING=1")

    async def watch(self, work: Callable[[], Awaitable[object]], status: Callable[[], str]) -> None:
        """Tell until cancelled how the service stands and, where a watchdog asks, that it lives.

        `work` goes through everything that an answer needs of this process. It may fail: a full disk is no reason to
        start again. It may not hang.
        """
        if not self._address:
            return
        while True:
            with suppress(BekendError):
                await work()
            self._tell(*(["WATCHDOG=1"] if self._seconds else []), f"STATUS={status()}")
            await asyncio.sleep(self._seconds / _OFTEN if self._seconds else STATUS_SECONDS)

    def _tell(self, *lines: str) -> None:
        if not self._address:
            return
        # Nobody who listens, or who listens slowly, may stop the service.
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.sendto("\n".join(lines).encode(), self._address)


def _term(environment: Mapping[str, str]) -> float | None:
    """Seconds of the watchdog, when it watches this process."""
    if environment.get("WATCHDOG_PID", str(os.getpid())) != str(os.getpid()):
        return None
    with suppress(KeyError, ValueError):
        return int(environment["WATCHDOG_USEC"]) / 1e6
    return None
