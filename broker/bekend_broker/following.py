"""What the replicas of one database tell each other through it: manifests and suspensions that one of them took.

Each looks twice a second, so that a suspension is in force at all of them within a second, whichever was told. One that
finds that another serves a newer manifest of the broker reads its own files again: they are mounted alike.
"""

import asyncio
from collections.abc import Awaitable, Callable

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import StorageError

from bekend_broker.directory import Directory
from bekend_broker.metrics import Metrics
from bekend_broker.register import Register
from bekend_broker.suspending import LOOK_SECONDS


class Following:
    """Keeps the directory of this replica at what the database holds."""

    def __init__(
        self,
        directory: Directory,
        register: Register,
        reload: Callable[[], Awaitable[bool]],
        metrics: Metrics,
        clock: Clock,
    ) -> None:
        self._directory = directory
        self._register = register
        self._reload = reload
        self._metrics = metrics
        self._clock = clock
        self._reloaded_for = 0

    async def watch(self) -> None:
        """Look until cancelled. A database that does not answer is asked again."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            try:
                await self.look()
            except StorageError:
                # Who asks meanwhile is refused; since when, the metric says.
                continue
            except Exception as fault:
                # What nobody foresaw in one note must not end the looking for the next suspension.
                detail = f"{type(fault).__name__} at {logs.place_of(fault.__traceback__)}"
                logs.log(logs.SUSPENSION_SKIPPED, detail=detail)

    async def look(self) -> None:
        """Take what is new, and let every node know. Raises StorageError."""
        if await self._directory.catch_up():
            self._register.directory_changed()
        self._metrics.database_at.set(self._clock.now().timestamp())
        newest = self._directory.own_number_elsewhere
        if newest > max(self._directory.present.manifest.number, self._reloaded_for):
            self._reloaded_for = newest
            await self._reload()
