"""Noodgreep: where a purpose allows it, a question is asked at once and a second officer looks within 24 hours (FG-37).

It changes who looks when, and nothing else: mode, direction rules, budget and record are those of any question. It is
on the record before the question leaves, and stays open until a second officer has said what he thinks of it.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from bekend_policy.model import Covenant
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import RefusedError

from bekend_node.ask.four_eyes import EMERGENCY_RULE, AtScreen, check_other_person, checked_reason, role_under
from bekend_node.ask.rules import Inquiry
from bekend_node.store_emergencies import Emergency, EmergencyStore, Review

WITHIN: Final = timedelta(hours=24)
"""How long the second officer's approval may be postponed."""
KEPT: Final = timedelta(days=365)
"""How long a reviewed one is kept: as long as the signal about it."""


class Emergencies:
    """The noodgrepen of one node and their reviews. `late` is told of each that was not reviewed in time, once."""

    def __init__(
        self,
        rows: EmergencyStore,
        covenant: Callable[[], Covenant],
        oin: str,
        clock: Clock,
        late: Callable[[Emergency], None] = lambda _: None,
    ) -> None:
        self._rows = rows
        self._covenant = covenant
        self._oin = oin
        self._clock = clock
        self._late = late

    async def record(self, inquiry: Inquiry) -> Emergency:
        """Put it on the record, before it is asked. Raises StorageError: then it is not asked."""
        officer = inquiry.officer
        made = Emergency(
            number=0,
            at=self._clock.now(),
            purpose=inquiry.purpose,
            officer=officer.user,
            officer_name=officer.name,
            role=officer.role,
            case=inquiry.case_reference or "",
            reason=inquiry.emergency,
            justification=inquiry.texts,
            sources=inquiry.sources,
            persons=len(inquiry.persons),
        )
        await self._rows.add(made)
        logs.log(logs.FOUR_EYES, act="emergency", user=officer.user, purpose=inquiry.purpose)
        return made

    def waiting(self, viewer: AtScreen) -> list[Emergency]:
        """Those that this officer may review, oldest first."""
        return [one for one in self._rows.open() if self._may_review(one, viewer)]

    def own(self, viewer: AtScreen) -> list[Emergency]:
        """Those of this officer of the last 24 hours, or that still wait."""
        return self._rows.own(viewer.user, self._clock.now() - WITHIN)

    def find(self, number: int, viewer: AtScreen) -> Emergency:
        """One that this officer may review. Raises RefusedError."""
        found = self._rows.one(number)
        if found is None:
            raise RefusedError(EMERGENCY_RULE, "Deze noodgreep is er niet, of zij is al beoordeeld.")
        self._check(found, viewer)
        return found

    async def review(self, number: int, viewer: AtScreen, *, agreed: bool, text: str) -> None:
        """A second officer says afterwards what he thinks of it; who does not agree says why.

        Raises RefusedError, StorageError.
        """
        found = self.find(number, viewer)
        said = checked_reason(text, EMERGENCY_RULE) if text.strip() or not agreed else ""
        await self._rows.review(number, Review(self._clock.now(), agreed, viewer.user, viewer.name, said))
        logs.log(logs.FOUR_EYES, act="reviewed", user=viewer.user, purpose=found.purpose)

    def listed(self, first: datetime, until: datetime) -> list[int]:
        """Those of a span of time, and all that wait, the newest first: what the privacy officer may open."""
        return self._rows.numbers(first, until)

    def opened(self, numbers: Sequence[int]) -> list[Emergency]:
        """These of them."""
        return self._rows.opened(numbers)

    def tally(self) -> dict[str, int]:
        """How many wait for their review, and how many of these too long. Opens none."""
        waiting, overdue = self._rows.count(self._clock.now() - WITHIN)
        return {"open": waiting, "overdue": overdue}

    async def tidy(self) -> None:
        """Tell of those that wait too long, and forget old ones. Raises StorageError."""
        for one in self._rows.unwarned(self._clock.now() - WITHIN):
            if await self._rows.warned(one.number):
                self._late(one)
        await self._rows.forget(self._clock.now() - KEPT)

    def _check(self, found: Emergency, viewer: AtScreen) -> None:
        check_other_person(viewer, found.officer, (found.officer_name,))
        # A purpose that the covenant no longer has is judged by who had the role of then.
        if found.role not in viewer.roles or found.purpose in self._covenant().purposes:
            role_under(self._covenant(), self._oin, found.purpose, viewer)

    def _may_review(self, found: Emergency, viewer: AtScreen) -> bool:
        try:
            self._check(found, viewer)
        except RefusedError:
            return False
        return True
