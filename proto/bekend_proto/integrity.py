"""Databases are whole, or nothing is served from them: looked at when a process starts, and in full once a day.

A damaged page that nobody reads does no harm yet; one that is found ends the process, with exit code 1 and the file's
name, so that a supervisor does not bring it back as if nothing were: `start` looks again.
"""

import asyncio
import signal
from collections.abc import Callable, Sequence
from typing import Final

from bekend_proto import logs
from bekend_proto.errors import BekendError, DamagedError

SECONDS: Final = 24 * 3600.0

Check = Callable[[], object]
"""Reads a whole database. Raises DamagedError when it is not."""


class Integrity:
    """Looks at databases on a schedule."""

    def __init__(self, checks: Sequence[Check]) -> None:
        self._checks = checks
        self._damaged = ""

    async def watch(self) -> None:
        """Look once a day until cancelled; a damaged database ends the process."""
        while not self._damaged:
            await asyncio.sleep(SECONDS)
            await self.look()

    async def look(self) -> None:
        """Look at all of them now. What cannot be looked at, as on a busy disk, is looked at the next day."""
        for check in self._checks:
            try:
                await asyncio.to_thread(check)
            except DamagedError as fault:
                self._damaged = fault.detail
                logs.log(logs.DATABASE_DAMAGED, detail=fault.detail)
                signal.raise_signal(signal.SIGTERM)
                return
            except BekendError as fault:
                logs.log(logs.DATABASE_NOT_LOOKED_AT, detail=fault.detail)

    def raise_if_damaged(self) -> None:
        """Raise DamagedError when a damaged database was why the process ends."""
        if self._damaged:
            raise DamagedError(self._damaged)
