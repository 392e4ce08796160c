"""The node asks itself about its own canaries, all the way over the broker: how a silent miss is found (protocol, 7).

    by machine      every `canary_hours`: `bekend`, or it is missed
    by hand         once a day: the own desk releases it by itself, and a collect brings that

Each filter of a purpose has its own: where the covenant lists combinations, the canary is asked about under both.

An answer that is not `bekend` is tried again after a while, within the budget of 24 a day and purpose. A canary that
was missed is told in log, metrics and status; nothing of it counts in any statistics, and nobody waits for it.
"""

import asyncio
import secrets
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

from bekend_proto import logs
from bekend_proto.clock import Clock, from_milliseconds
from bekend_proto.errors import BekendError, BudgetError, NotReadyError
from bekend_proto.logs import log

from bekend_node.ask.asker import Asker
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.pending import PendingQuestion, open_pending
from bekend_node.classes import FilterId, name_of
from bekend_node.filters import Filters
from bekend_node.metrics import NodeMetrics
from bekend_node.rules import RulesInForce

TICK_SECONDS: Final = 5.0
FIRST: Final = timedelta(minutes=10)
"""After the start, and up to as much again: whoever restarts over and over uses up no budget."""
AGAIN: Final = timedelta(minutes=30)
"""After an answer that is not `bekend`."""
BY_HAND: Final = timedelta(days=1)
"""Between two questions where a colleague decides: each is collected for hours."""
COLLECTS: Final = 3
"""Collects that may pass before a canary that the own desk released counts as missed."""


@dataclass
class _State:
    """One filter: when its canary was found last, why it was not, when it is asked about next."""

    due: datetime
    found: datetime | None = None
    missed: str | None = None


class Canaries:
    """Asks per purpose that this node answers. `run` keeps asking; `tick` is one look at what is due."""

    def __init__(
        self,
        asker: Asker,
        rules: RulesInForce,
        filters: Filters,
        metrics: NodeMetrics,
        clock: Clock,
        *,
        every: timedelta,
    ) -> None:
        self._asker = asker
        self._rules = rules
        self._filters = filters
        self._metrics = metrics
        self._clock = clock
        self._every = every
        self._states: dict[FilterId, _State] = {}

    def told(self) -> dict[str, Any]:
        """Per filter when a canary was found last, and why it was missed since."""
        return {
            str(id_): {
                "found": state.found.isoformat(timespec="seconds") if state.found else None,
                "missed": state.missed,
            }
            for id_, state in sorted(self._states.items())
        }

    async def run(self) -> None:
        """Look every few seconds, until cancelled."""
        while True:
            await self.tick()
            await asyncio.sleep(TICK_SECONDS)

    async def tick(self) -> None:
        """Ask what is due; see what became of what was asked by hand."""
        answered = self._rules.now.filters
        for id_ in self._states.keys() - answered.keys():
            del self._states[id_]
        for id_ in answered:
            if id_ not in self._states:
                wait = FIRST * (1 + secrets.randbelow(1000) / 1000)
                self._states[id_] = _State(due=self._clock.now() + wait)
                self._metrics.canary_watched(str(id_))
            state, now = self._states[id_], self._clock.now()
            if now >= state.due:
                await self._ask(id_, state, now)
        await self._collected()

    async def _ask(self, id_: FilterId, state: _State, now: datetime) -> None:
        try:
            serving = self._filters.serving(id_.purpose, kind_class=id_.kind_class)
        except NotReadyError:
            # That is told elsewhere; the first question goes as soon as there is an answer.
            return
        if not serving.header.kinds:
            # Nobody is asked about by a combination either.
            return
        every = BY_HAND if serving.by_hand else self._every
        # Not to the second: nobody can prepare for it.
        state.due = now + every - timedelta(seconds=secrets.randbelow(int(every.total_seconds()) // 4))
        try:
            outcome = await self._asker.ask_canary(id_.purpose, id_.kind_class)
        except BudgetError:
            return
        except BekendError as fault:
            self._missed(id_, state, fault.detail)
            return
        if outcome.outcome is OutcomeKind.KNOWN:
            self._found(id_, state)
        elif outcome.outcome is not OutcomeKind.PENDING:
            self._missed(id_, state, _why(outcome))

    async def _collected(self) -> None:
        """What the own desk released, and did not."""
        asking, now = self._asker.asking(), self._clock.now()
        if not any(source.term_of(id_.kind_class) for id_, source in self._rules.now.filters.items()):
            return
        for row in asking.store.pending.all():
            one = open_pending(asking.state, row)
            id_ = FilterId(one.purpose, one.kind_class)
            state = self._states.get(id_)
            if one.source != asking.oin or state is None:
                continue
            if any(told is one.released for told, _ in one.told):
                self._found(id_, state)
            elif now < _late(one):
                continue
            else:
                self._missed(id_, state, "the own desk did not release it")
            await asking.store.pending.drop(one.question_id)

    def _found(self, id_: FilterId, state: _State) -> None:
        now = self._clock.now()
        state.found, state.missed = now, None
        self._metrics.canary_found(str(id_), now.timestamp())
        log(logs.CANARY_FOUND, purpose=id_.purpose, kinds=name_of(id_.kind_class))

    def _missed(self, id_: FilterId, state: _State, why: str) -> None:
        state.missed = why
        state.due = min(state.due, self._clock.now() + AGAIN)
        self._metrics.canary_missed(str(id_))
        log(logs.CANARY_MISSED, purpose=id_.purpose, kinds=name_of(id_.kind_class), detail=why)


def _late(one: PendingQuestion) -> datetime:
    return from_milliseconds(one.asked) + COLLECTS * timedelta(seconds=one.interval)


def _why(outcome: Outcome) -> str:
    if outcome.outcome is OutcomeKind.INCONCLUSIVE:
        return "not found: this node misses people"
    return outcome.reason or "no answer"
