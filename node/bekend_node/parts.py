"""The parts of a node that work beside each other for as long as it serves."""

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

from bekend_proto import logs


class Parts:
    """Each a task. One that ends by a fault of its own ends the node, which would only seem to serve without it."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []

    def run(self, work: Coroutine[Any, Any, None]) -> None:
        """Begin one."""
        task = asyncio.ensure_future(work)
        self._tasks.append(task)
        task.add_done_callback(_stop_when_broken)

    async def stop(self) -> None:
        """Cancel all, and wait until they are gone."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


def _stop_when_broken(task: "asyncio.Task[None]") -> None:
    if task.cancelled() or task.exception() is None:
        return
    fault = task.exception()
    assert fault is not None
    logs.log(logs.NODE_BROKEN, exception=type(fault).__name__, place=logs.place_of(fault.__traceback__))
    signal.raise_signal(signal.SIGTERM)
