"""A lookup that a page shows: outcomes as they come, kept in the memory of one session until it or the result ends.

The persons are kept as long as somebody gave no answer about them, so that the question can be asked anew in one press:
in memory, and in no page.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from bekend_proto.errors import BekendError, BudgetError

from bekend_node.ask.outcomes import RELEASED, Outcome, OutcomeKind, corrected
from bekend_node.ask.rules import Inquiry
from bekend_node.ask.stream import Outcomes
from bekend_node.receipt import ReceiptFile
from bekend_node.store_corrections import Correction
from bekend_node.web.sessions import Session
from bekend_node.web.shelf import Kept

ALIVE_SECONDS: Final = 15.0
"""Between two signs of life on a stream, so that nothing in between closes it."""

_AGAIN: Final = "uitkomst.mislukt"
"""The failure after which the whole question can be asked anew."""


@dataclass(frozen=True, slots=True)
class Anew:
    """What a lookup asks anew: the id of the page where the others' answers stand, and how persons are numbered there.

    `numbers` is empty where they are numbered as they were filled in, and where there is one.
    """

    before: str = ""
    numbers: tuple[int, ...] = ()


@dataclass(slots=True)
class Running:
    """One lookup of one officer."""

    purpose: str
    case: str
    persons: int
    chosen: tuple[str, ...]
    asked_at: datetime
    expires: datetime
    inquiry: Inquiry | None = field(default=None, repr=False)
    """What was asked, while it may have to be asked anew; else the persons are in no memory of the pages."""
    anew: Anew = Anew()
    octets: int = 0
    """The room that it takes at the most."""
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

    def take_back(self, corrections: Sequence[Correction]) -> None:
        """Destroy what was reported to be wrong: whatever a partner released that a correction is about."""
        for place, one in enumerate(self.outcomes):
            number = self.number_of(one.person)
            if one.outcome in RELEASED and any(it.is_about(one.oin, number) for it in corrections):
                self.outcomes[place] = corrected(one.person, one.oin, one.name)

    def number_of(self, person: int) -> int:
        """How a page numbers a person."""
        return self.anew.numbers[person] if self.anew.numbers else person + 1

    def unanswered(self) -> tuple[Inquiry, tuple[int, ...]] | None:
        """What is to be asked anew: these persons, to the partners that gave no answer; None when nothing is."""
        if self.inquiry is None or not self.done:
            return None
        if self.failure:
            return (self.inquiry, self._numbers(range(self.persons))) if self.failure == _AGAIN else None
        silent = [one for one in self.outcomes if one.outcome is OutcomeKind.NO_ANSWER and one.oin in self.chosen]
        if not silent:
            return None
        persons = sorted({one.person for one in silent})
        return (
            self.inquiry.about(persons, tuple(oin for oin in self.chosen if any(one.oin == oin for one in silent))),
            self._numbers(persons),
        )

    def _numbers(self, persons: Iterable[int]) -> tuple[int, ...]:
        """How these persons are numbered when they are asked about anew: one alone has no number."""
        return tuple(map(self.number_of, persons)) if self.persons > 1 else self.anew.numbers

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
            self._fail(_AGAIN)
        finally:
            self.done = True
            if self.unanswered() is None:
                self.inquiry = None
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


def asked_before(lookups: Mapping[str, Running], running: Running) -> dict[str, Running]:
    """The pages from which this one was asked anew, by id, the latest first."""
    found: dict[str, Running] = {}
    while (one := lookups.get(running.anew.before)) is not None:
        found[running.anew.before] = running = one
    return found


def asked_anew(lookups: Mapping[str, Running], id_: str) -> str | None:
    """The id of the page on which those that gave no answer here were asked anew."""
    return next((other for other, one in lookups.items() if one.anew.before == id_), None)


def forget_case(session: Session, case: str) -> None:
    """Drop every lookup of this case that the session shows, and every question that stands ready in it."""
    for id_, one in list(session.shelf.items()):
        if isinstance(one, Kept) and case and one.case == case:
            del session.shelf[id_]
