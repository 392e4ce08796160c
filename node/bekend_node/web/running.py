"""A lookup that a page shows: outcomes as they come, kept in the memory of one session until it or the result ends."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bekend_proto.errors import BekendError, BudgetError

from bekend_node.ask.asker import Outcomes
from bekend_node.ask.outcomes import Outcome
from bekend_node.receipt import ReceiptFile
from bekend_node.web.sessions import Session

ALIVE_SECONDS: Final = 15.0
"""Between two signs of life on a stream, so that nothing in between closes it."""


@dataclass(slots=True)
class Running:
    """One lookup of one officer. It holds no identifier: persons are numbered as they were filled in."""

    purpose: str
    case: str
    persons: int
    chosen: tuple[str, ...]
    asked_at: datetime
    expires: datetime
    outcomes: list[Outcome] = field(default_factory=list, repr=False)
    receipt: ReceiptFile | None = field(default=None, repr=False)
    done: bool = False
    """Whether no more will come now."""
    failure: str = ""
    """Text of why the lookup ended before it was recorded: nothing may be taken from it."""
    _changed: asyncio.Condition = field(default_factory=asyncio.Condition, repr=False)
    _version: int = 0
    _task: "asyncio.Task[None] | None" = None

    def follow(self, outcomes: Outcomes) -> None:
        """Take outcomes as they come. The lookup goes on when nobody looks."""
        self._task = asyncio.create_task(self._take(outcomes))

    async def wait(self) -> None:
        """Return when no more will come."""
        if self._task is not None:
            await asyncio.wait([self._task])

    async def changes(self) -> AsyncIterator[None]:
        """Once at first, once per change after that, to the end; and a sign of life where nothing changes."""
        seen, ended = -1, False
        while not (ended and seen == self._version):
            async with self._changed:
                if seen == self._version:
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(ALIVE_SECONDS):
                            await self._changed.wait()
                seen, ended = self._version, self.done
            yield

    async def _take(self, outcomes: Outcomes) -> None:
        try:
            while found := await outcomes.batch():
                self.outcomes += found
                await self._tell()
            self.receipt = outcomes.receipt
        except BudgetError:
            self._fail("uitkomst.op")
        except BekendError:
            # What came before the fault is not on record: it must not be used. The node's log says what it was.
            self._fail("uitkomst.mislukt")
        finally:
            self.done = True
            await self._tell()

    def _fail(self, text: str) -> None:
        self.failure = text
        self.outcomes.clear()

    async def _tell(self) -> None:
        async with self._changed:
            self._version += 1
            self._changed.notify_all()


def lookups_of(session: Session, now: datetime) -> dict[str, Running]:
    """The lookups that a session still shows, by the id of each page."""
    return {id_: one for id_, one in session.shelf.items() if isinstance(one, Running) and one.expires > now}


def forget_case(session: Session, case: str) -> None:
    """Drop every lookup of this case that the session shows."""
    for id_, one in list(session.shelf.items()):
        if isinstance(one, Running) and case and one.case == case:
            del session.shelf[id_]
