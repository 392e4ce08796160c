"""One process that serves a party: started once, read again on SIGHUP, drained and ended on SIGTERM or SIGINT.

Beside the work, systemd is told how it stands (`supervisor.py`), and its databases are looked at (`integrity.py`).
"""

import asyncio
import gc
import signal
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol, TypeVar

from bekend_proto import logs
from bekend_proto.clock import Clock, SystemClock
from bekend_proto.integrity import Check, Integrity
from bekend_proto.supervisor import Supervisor


class Party(Protocol):
    """A node or a broker in service."""

    @property
    def checks(self) -> Sequence[Check]:
        """Reads each of its databases whole."""

    async def work(self) -> None:
        """Go through everything that an answer needs of this process."""

    def standing(self) -> str:
        """How it stands, in a line."""

    async def reload(self) -> bool:
        """Read again what may change while it serves; a fault is logged, and what was in force stays."""

    async def stop(self) -> None:
        """Drain, and close everything."""


Started = TypeVar("Started", bound=Party)


async def serve(start: Callable[[Clock], Awaitable[Started]], clock: Clock | None = None) -> Started:
    """Serve until a signal ends it; gives what served, stopped. `clock`: the machine's, unless a drill has its own.

    Raises as `start` does, and DamagedError when that was why it ended.
    """
    chosen = clock or SystemClock()
    logs.use_clock(chosen)
    logs.capture_libraries()
    loop = asyncio.get_running_loop()
    ended, changed = asyncio.Event(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    loop.add_signal_handler(signal.SIGHUP, changed.set)
    party = await start(chosen)
    # Modules, covenant and keys live as long as the process: no collection has to walk them again.
    gc.freeze()
    supervisor = Supervisor()
    supervisor.ready()
    integrity = Integrity(party.checks)
    beside = [
        asyncio.create_task(integrity.watch()),
        asyncio.create_task(_reload_on(changed, party, supervisor)),
        asyncio.create_task(supervisor.watch(party.work, party.standing)),
    ]
    try:
        await ended.wait()
    finally:
        supervisor.stopping()
        for task in beside:
            task.cancel()
        await party.stop()
    integrity.raise_if_damaged()
    return party


async def _reload_on(changed: asyncio.Event, party: Party, supervisor: Supervisor) -> None:
    while True:
        await changed.wait()
        changed.clear()
        supervisor.reloading()
        await party.reload()
        supervisor.ready()
