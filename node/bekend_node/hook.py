"""Tells that something waits, at the desk or for an officer, and nothing else: a program of the operator's.

It gets no arguments and no input.

At most once in five minutes; what comes meanwhile is told together, at the end of them.
"""

import asyncio
import contextlib
import os
from pathlib import Path

from bekend_proto.logs import Event, log

PAUSE_SECONDS = 300.0
LONGEST = 30.0
"""Seconds that the program may run."""


class Hook:
    """`waiting` is called whenever something waits. `path` is the program, or None; `failed` logs its faults."""

    def __init__(self, path: Path | None, failed: Event, pause: float = PAUSE_SECONDS) -> None:
        self._path = path
        self._failed = failed
        self._pause = pause
        self._called = asyncio.Event()

    def waiting(self) -> None:
        """Something waits."""
        self._called.set()

    async def run(self) -> None:
        """Run the program when called, until cancelled."""
        while True:
            await self._called.wait()
            self._called.clear()
            if self._path is not None:
                await self._run_once(self._path)
            await asyncio.sleep(self._pause)

    async def _run_once(self, path: Path) -> None:
        try:
            process = await asyncio.create_subprocess_exec(
                path,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
                env={name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ},
            )
        except OSError as fault:
            log(self._failed, detail=f"it could not be started: {fault.strerror}")
            return
        try:
            async with asyncio.timeout(LONGEST):
                code = await process.wait()
            if code:
                log(self._failed, detail=f"it ended with exit code {code}")
        except TimeoutError:
            log(self._failed, detail=f"it ran longer than {LONGEST:.0f} s and was stopped")
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
