"""(5): the Questions of a lookup leave in one Ask or several: partners work on the first while others are made.

    drafts       channel keys, blinds, seals: what needs nothing of the broker. Those of the first Ask are made before
                 its reply to Begin comes; more would keep that reply waiting
    an Ask       Questions signed; the own record, the log entries and what was decided durable; only then sent

Each Ask writes the own record of the lookup, and the row of what was decided, anew: they hold the Questions that left,
and those that are about to.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from bekend_policy.manifest import KeyManifest
from bekend_proto.clock import milliseconds
from bekend_proto.decision_table import DecisionRow
from bekend_proto.log_table import Entry
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.ask import own_record
from bekend_node.ask.asking import Asking
from bekend_node.ask.blinds import Blinds
from bekend_node.ask.consent import Consent
from bekend_node.ask.filters_held import HeldFilter
from bekend_node.ask.messages import Draft, Facts, Pending, draft, make_question
from bekend_node.ask.rules import Inquiry
from bekend_node.store import ASKED

SEVERAL: Final = 8
"""Fewer Questions than this leave in one Ask."""
FIRST: Final = 2
MOST: Final = 128
"""Questions in the first of several Asks, and in one that is not the last."""

Ready = tuple[KeyManifest, HeldFilter]
"""A source that can be asked: its manifest and the filter at hand."""
Ask = tuple[list[Pending], bool]
"""The Questions of one Ask, and whether more follow."""


class Drafts:
    """All of the Questions that does not depend on the broker, made one a step.

    `early`: those that are made while budget and Begin are under way, of the first Ask.
    """

    def __init__(self, ready: Sequence[Ready], secret: Blinds) -> None:
        self._made: list[Draft] = []
        self._steps = self._make(ready, secret)
        self.early = islice(self._steps, sizes(len(ready), several=True)[0])

    def _make(self, ready: Iterable[Ready], secret: Blinds) -> Iterator[None]:
        for manifest, held in ready:
            self._made.append(draft(manifest, held, secret))
            yield

    async def take(self, first: int, number: int) -> list[Draft]:
        """So many from this one on; what is not there yet is made now, and others go on between two of them."""
        while len(self._made) < first + number:
            next(self._steps)
            await asyncio.sleep(0)
        return self._made[first : first + number]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A lookup whose Begin was answered: what its Questions are made from."""

    asking: Asking
    inquiry: Inquiry
    facts: Facts
    begin_id: bytes
    secret: Blinds = field(repr=False)
    exchanged: tuple[signed_pb2.Signed, broker_pb2.Begun]
    record_keys: tuple[bytes, ...] = field(repr=False)
    box: own_record.OfficerBox
    consents: Mapping[str, Consent]
    decided: Callable[[bytes, Mapping[str, bytes]], DecisionRow]
    """The row of what was decided, from the id of Begin and those of the Questions by source."""

    async def asks(self, drafts: Drafts, number: int, *, several: bool) -> AsyncGenerator[Ask, None]:
        """The Questions of each Ask, which may leave now, and whether more follow. `number`: of Questions in all.

        Raises StorageError, LogError: then those of this Ask may not leave.
        """
        out: list[Pending] = []
        for size in sizes(number, several=several):
            made = []
            for one in await drafts.take(len(out), size):
                made.append(make_question(self.asking.key, self.facts, self.record_keys, one))
                await asyncio.sleep(0)
            # An alarm of the log that came meanwhile: a stopped node asks nothing.
            self.asking.heads.check()
            # (5): the own record and the log entries are durable before any of these leaves.
            earlier, out = bool(out), out + made
            await self._keep(made, out, again=earlier)
            yield made, len(out) < number

    async def _keep(self, made: list[Pending], out: list[Pending], *, again: bool) -> None:
        facts = self.facts
        record = own_record.lookup_record(
            self.box,
            self.begin_id,
            facts,
            inquiry=self.inquiry,
            secret=self.secret,
            exchanged=self.exchanged,
            pending=out,
            consents=self.consents,
        )
        at = milliseconds(facts.time)
        entries = [Entry(ASKED, one.question_hash, at, self.asking.oin, one.source.oin) for one in made]
        decided = self.decided(self.begin_id, {one.source.oin: one.question_id for one in out})
        await self.asking.store.admit_asking(
            log=entries, records=[record], decisions=[decided], again=again, at=facts.time
        )


def sizes(number: int, *, several: bool) -> list[int]:
    """How many Questions each Ask holds: all in one; or FIRST, then eight times as many as the one before, up to MOST.

    A last one of less than FIRST goes with the one before.
    """
    found: list[int] = []
    size = FIRST
    while several and number >= SEVERAL and number - sum(found) >= size + FIRST:
        found.append(size)
        size = min(8 * size, MOST)
    return [*found, number - sum(found)]
