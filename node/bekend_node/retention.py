"""Retention at a node: what is past its term is destroyed, by the clock, and what must wait for an audit says so.

    answered questions, their sealed records   at the end of the term between requester, source and purpose
    own records of lookups, sealed             the same
    decisions                                  the same
    records of the desk, sealed                five years, and not before an audit
    raised limits, consents, deferrals         five years, and not before an audit: on them rested what was told;
                                               of a deferral from its review date or its end, whichever is later
    readings of the log, imports, lapsed cases five years
    consequences, halts, corrections, audits   the same
    the log, its tree, checkpoints             never: hashes, which stay verifiable

What came of a lookup is held in the clear nowhere. What waits for late answers has its own end (`ask/pending.py`), and
goes at once when its case is not taken in (`ask/lapsing.py`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from bekend_policy.model import Covenant
from bekend_policy.retention import (
    MOST,
    NEVER,
    Kept,
    bounded,
    kept_in,
    needs_audit,
    over_before,
    parties_of,
    shortest_term,
    term_years,
    years_before,
)
from bekend_proto import logs
from bekend_proto.clock import Clock, milliseconds

from bekend_node.store_registers import Registers
from bekend_node.store_retention import RetentionStore


@dataclass(frozen=True, slots=True)
class Waiting:
    """Rows past their term that stay: no audit covers them yet, or a claim stands before them."""

    requester: str
    purpose: str
    count: int


class Retention:
    """Destroys what is past its term. `covenant` gives the covenant in force."""

    def __init__(
        self, rows: RetentionStore, registers: Registers, covenant: Callable[[], Covenant], own: str, clock: Clock
    ) -> None:
        self._rows = rows
        self._registers = registers
        self._covenant = covenant
        self._own = own
        self._clock = clock
        self._copies = False
        self.waiting: tuple[Waiting, ...] = ()
        """What was past its term and had to stay when it was looked at last."""

    @property
    def waiting_rows(self) -> int:
        """How many rows are past their term and had to stay."""
        return sum(one.count for one in self.waiting)

    async def tidy(self) -> int:
        """Destroy what is past its term now; how many rows there were. Raises StorageError: then the next time does."""
        now = self._clock.now()
        covenant, kept = self._covenant(), kept_in(self._rows.newest_note())
        gone = 0
        waiting: list[Waiting] = []
        # Only what is older than the shortest term is looked at.
        for one in self._rows.older_than(milliseconds(years_before(now, shortest_term(covenant)))):
            parties = self._parties(covenant, one.requester, one.purpose)
            before = over_before(covenant, one.purpose, parties, kept, now)
            if before > NEVER:
                gone += await self._rows.destroy(one.requester, one.purpose, milliseconds(before))
            past = milliseconds(years_before(now, term_years(covenant, one.purpose, parties)))
            waiting += [
                Waiting(left.requester, left.purpose, left.count)
                for left in self._rows.older_than(past)
                if (left.requester, left.purpose) == (one.requester, one.purpose)
            ]
        gone += await self._destroy_rest(covenant, kept, now)
        self._note(gone, waiting)
        # Also when the last time left copies: a reader was in the way.
        if gone or self._copies:
            self._copies = not await self._rows.leave_no_copy()
        return gone

    async def _destroy_rest(self, covenant: Covenant, kept: Kept | None, now: datetime) -> int:
        """What belongs to no purpose: after the longest term."""
        end = years_before(now, MOST)
        self._registers.forget_imported(milliseconds(end))
        gone = await self._rows.forget_acts(milliseconds(end))
        before = bounded(end, kept, now, audit=self._audited(covenant))
        return gone if before == NEVER else gone + await self._rows.destroy_rest(milliseconds(before))

    def _audited(self, covenant: Covenant) -> bool:
        return any(
            needs_audit(covenant, purpose, self._parties(covenant, self._own, purpose)) for purpose in covenant.purposes
        )

    def _parties(self, covenant: Covenant, requester: str, purpose: str) -> set[str]:
        """Who may stand behind a requester's rows: this node as source; of own lookups any source of the purpose."""
        others = covenant.sources(purpose) if requester == self._own else ()
        return parties_of(covenant, purpose, requester, self._own, *others)

    def _note(self, gone: int, waiting: Sequence[Waiting]) -> None:
        if gone:
            logs.log(logs.RETENTION_DESTROYED, rows=gone)
        if tuple(waiting) != self.waiting:
            for one in waiting:
                logs.log(logs.RETENTION_WAITS, requester=one.requester, purpose=one.purpose, rows=one.count)
        self.waiting = tuple(waiting)
