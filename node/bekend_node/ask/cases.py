"""A case beside its lookups: consents, later answers, not taken in, wrongly `bekend`, whether it changed a decision."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from datetime import datetime

from bekend_proto.clock import Clock

from bekend_node.ask.asking import Asking
from bekend_node.ask.collector import Collector
from bekend_node.ask.consent import Consent, ConsentBook, Given
from bekend_node.ask.consequence import is_to_be_told, tell
from bekend_node.ask.correcting import Report, Reported, correct, corrections_of
from bekend_node.ask.lapsing import Lapsed, lapse
from bekend_node.ask.late import LateAnswers, late_answers
from bekend_node.ask.pending import PendingQuestion
from bekend_node.ask.rules import OfficerRef
from bekend_node.store_corrections import Correction, Corrections
from bekend_node.store_decisions import Decisions


class Cases:
    """Of one node. `used` hears each case that is used; `collector` tells the sources of a withdrawn consent; `ended`
    returns when no lookup of a case is under way.
    """

    def __init__(
        self,
        asking: Callable[[], Asking],
        clock: Clock,
        collector: Collector,
        used: Callable[[str], None],
        ended: Callable[[str], Awaitable[None]],
    ) -> None:
        self._asking = asking
        self._clock = clock
        self._collector = collector
        self._used = used
        self._ended = ended
        self._watchers: list[Callable[[str], None]] = []

    @property
    def consents(self) -> ConsentBook:
        """The consents that officers of this node recorded."""
        asking = self._asking()
        return ConsentBook(asking.store.consents, asking.case_key, asking.state)

    async def late_answers(self, wanted: Callable[[PendingQuestion], bool]) -> list[LateAnswers]:
        """What came of the wanted questions after their lookups had ended, and what is still to come."""
        return await late_answers(self._asking(), wanted)

    async def record_consent(self, given: Given, officer: OfficerRef) -> list[Consent]:
        """Put a consent on record. Raises RefusedError (rule, Dutch reason), StorageError; then nothing was written."""
        asking, now = self._asking(), self._clock.now()
        self._used(given.case)
        return await self.consents.record(asking.covenant, given, now, user=officer.user, role=officer.role)

    async def withdraw_consent(
        self, case: str, partners: Sequence[str], purposes: Collection[str], officer: OfficerRef
    ) -> list[Consent]:
        """Withdraw standing consents of a case, end what rests on them here, and begin to tell the sources.

        Raises RefusedError when there is none, StorageError.
        """
        now = self._clock.now()
        found = await self.consents.withdraw(case, partners, purposes, now, user=officer.user, role=officer.role)
        await self._collector.withdraw()
        return found

    def watch_lapses(self, watcher: Callable[[str], None]) -> None:
        """Be told the reference of each case that is not taken in, however that was said."""
        self._watchers.append(watcher)

    async def lapse(self, case: str, by: str, purposes: Collection[str]) -> Lapsed:
        """A case was not taken in: destroy what came of its questions (Bgs 1.16(1)(b)).

        `purposes`: those that this officer may use. Raises RefusedError when no lookup of the case under one of them is
        known, StorageError.
        """
        asking = self._asking()
        self._used(case)
        # What a lookup under way is still to put on record would come after this, and be told.
        await self._ended(case.strip())
        lapsed = await lapse(asking, Decisions(asking.store.database), case, by, purposes)
        for watcher in self._watchers:
            watcher(case.strip())
        return lapsed

    async def correct(self, report: Report, purposes: Collection[str] | None) -> Reported:
        """A partner was wrongly `bekend`: take it back here, and write the letter to its desk (FG-26).

        `purposes`: those that the reporter may use, None for the privacy officer. Raises RefusedError, StorageError.
        """
        self._used(report.case)
        return await correct(self._asking(), report, purposes)

    def all_corrections(self) -> list[Correction]:
        """Everything that was reported, oldest first: of which case cannot be read from it."""
        return Corrections(self._asking().store.database).all()

    def corrections(self, case: str, since: datetime) -> list[Correction]:
        """What was reported about a case since a moment."""
        return corrections_of(self._asking(), case, since)

    async def consequence(self, case: str, purposes: Collection[str], *, changed: bool) -> tuple[str, ...]:
        """Whether what came changed what was decided in a case, once; returns the purposes that it is kept for.

        `purposes`: those that this officer may use. Raises RefusedError when no lookup of the case under one of them is
        known or it was told before, StorageError.
        """
        asking = self._asking()
        return await tell(asking, Decisions(asking.store.database), case, purposes, changed=changed)

    async def awaits_consequence(self, case: str, purposes: Collection[str]) -> bool:
        """Whether this officer is still to tell of a case if what came changed what was decided."""
        asking = self._asking()
        return await asyncio.to_thread(is_to_be_told, asking, Decisions(asking.store.database), case, purposes)
