"""The outcomes of a lookup under way, as they come; and what is counted of it."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from time import perf_counter
from typing import Protocol, Self

from bekend_proto.errors import StorageError

from bekend_node.ask.broker_line import BrokerLine
from bekend_node.ask.lookup import Lookup
from bekend_node.ask.outcomes import Outcome
from bekend_node.receipt import ReceiptFile


class Outcomes(AsyncIterator[Outcome]):
    """The outcomes of one lookup as they come; `receipt` is there when the iteration has ended.

    The lookup goes on to its end, and its record is written, also when nobody reads any more.
    Iterating raises BudgetError, StorageError or KeysError as `Lookup.run` does.
    """

    def __init__(self) -> None:
        self.receipt: ReceiptFile | None = None
        self._queue: asyncio.Queue[Outcome | None] = asyncio.Queue()
        self._task: asyncio.Task[None] | None = None

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Outcome:
        outcome = await self._queue.get()
        if outcome is None:
            self._queue.put_nowait(None)
            assert self._task is not None
            await asyncio.shield(self._task)
            raise StopAsyncIteration
        return outcome

    async def batch(self) -> list[Outcome]:
        """All outcomes that are there, at least one; empty at the end. Raises as iterating does."""
        try:
            found = [await anext(self)]
        except StopAsyncIteration:
            return []
        while not self._queue.empty():
            outcome = self._queue.get_nowait()
            if outcome is None:
                self._queue.put_nowait(None)
                break
            found.append(outcome)
        return found

    async def ended(self) -> None:
        """Return when the lookup, which has begun, is at its end, whatever that is."""
        assert self._task is not None
        await asyncio.wait([self._task])

    def start(
        self, lookup: Callable[[Callable[[Outcome], None]], Lookup], lines: Sequence[BrokerLine]
    ) -> "asyncio.Task[None]":
        """Begin; once."""

        async def run() -> None:
            try:
                self.receipt = await lookup(self._queue.put_nowait).run(lines)
            finally:
                self._queue.put_nowait(None)

        self._task = asyncio.create_task(run())
        return self._task


class Measures(Protocol):
    """Where lookups of officers are counted: the node's metrics. What was answered is not told apart there."""

    def asked(self, purpose: str, outcome: Outcome) -> None:
        """A partner was asked about a person, with this outcome."""

    def looked_up(self, purpose: str, seconds: float) -> None:
        """A lookup came to its receipt."""

    def storage_fault(self) -> None:
        """A lookup ended because its record could not be written."""


def counted(measures: Measures | None, purpose: str, emit: Callable[[Outcome], None]) -> Callable[[Outcome], None]:
    """As `emit`, and each outcome is counted."""
    if measures is None:
        return emit

    def counted(outcome: Outcome) -> None:
        measures.asked(purpose, outcome)
        emit(outcome)

    return counted


def timed(measures: Measures, purpose: str) -> Callable[["asyncio.Task[None]"], None]:
    """For the end of a lookup's task: how long it took from now, or that its record could not be written."""
    start = perf_counter()

    def ended(task: "asyncio.Task[None]") -> None:
        fault = None if task.cancelled() else task.exception()
        if isinstance(fault, StorageError):
            measures.storage_fault()
        elif fault is None and not task.cancelled():
            measures.looked_up(purpose, perf_counter() - start)

    return ended
