"""One lookup, from Begin to receipt: the requester's column of protocol section 7, numbered as there.

    (1)  own rules, filters at hand                                rules.py, filters_held.py
    (2)  Begin{purpose, r0*x}, signed                              begin.py, messages.py, blinds.py
    (4)  U = Finalize(x, u*x), the broker's proof verified         begin.py, messages.py, blinds.py
    (5)  per source: own blind, sealed record E_i, Question        asks.py, messages.py, own_record.py
    (10) verify signature, proof, version; unblind, tag, look up   replies.py, answers.py
         or, where a colleague at the source decides, name the     release.py, collector.py
         persons to it, and collect later
    (11) own record of what came, sealed; receipt                  own_record.py, receipt.py

Steps (3) and (6) are the broker's, (7) to (9) the source's. Whatever goes wrong on the way makes `geen antwoord`, never
a miss; a retry is a new lookup.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final

from bekend_policy.manifest import KeyManifest
from bekend_proto import logs
from bekend_proto.clock import milliseconds
from bekend_proto.decision_table import DecisionRow
from bekend_proto.errors import (
    BekendError,
    DeadlineError,
    InternalError,
    KeysError,
    LogError,
    NotReadyError,
    StorageError,
    UnreachableError,
)
from bekend_proto.log_table import Entry

from bekend_node import receipt
from bekend_node.ask import blinds, decisions, messages, own_record
from bekend_node.ask.asking import Asking
from bekend_node.ask.asks import Ask, Drafts, Outgoing, Ready
from bekend_node.ask.begin import BEGIN_SECONDS, BeginFailedError, begin, facts_of, finalize, meanwhile, speaking
from bekend_node.ask.broker_line import BrokerLine, patience_beside
from bekend_node.ask.filters_held import FilterShelf, HeldFilter
from bekend_node.ask.outcomes import OTHER_NUMBER
from bekend_node.ask.release import Naming
from bekend_node.ask.replies import MARGIN_SECONDS, REPLY_SECONDS, Replies
from bekend_node.ask.rules import Inquiry, Plan
from bekend_node.ask.telling import Emit, Telling
from bekend_node.classes import FilterId
from bekend_node.store import TOLD, Spend


class Lookup:
    """One lookup under way. `run` gives every outcome to `emit` as it comes, and the receipt at the end."""

    def __init__(
        self,
        asking: Asking,
        shelf: FilterShelf,
        inquiry: Inquiry,
        *,
        plan: Plan,
        spends: Sequence[Spend],
        emit: Emit,
    ) -> None:
        self._asking = asking
        self._shelf = shelf
        self._inquiry = inquiry
        self._plan = plan
        self._spends = spends
        self._filter = FilterId(plan.purpose.id, plan.kind_class)
        self._telling = Telling(asking.covenant, plan.purpose.id, len(inquiry.persons), emit)
        self._replies: Replies | None = None
        self._unasked_told = False
        self._decided_at = asking.clock.now()

    async def run(self, lines: Sequence[BrokerLine]) -> receipt.ReceiptFile:
        """Ask over the first replica that works.

        Raises BudgetError, StorageError or KeysError (no privacy officer of the own) before a Question left; after that
        every fault is an outcome, but for a StorageError when the record of what came cannot be kept.
        """
        started = self._asking.clock.now()
        box = own_record.officer_box(self._asking.manifest)
        # (1): the filters at hand; what has ended since the purpose was opened is fetched again.
        found = {oin: self._at_hand(oin) for oin in self._plan.ask}
        missing = [oin for oin, one in found.items() if one is None]
        found |= zip(missing, await asyncio.gather(*map(self._fetched, missing)), strict=True)
        ready = [one for oin, one in found.items() if one is not None and self._may_be_asked(oin, *one)]
        if ready:
            await self._ask(lines, ready, box)
        self._tell_unasked()
        return await self._finish(started, box)

    def _tell_unasked(self) -> None:
        """Why the others are not asked, once: not before the first Questions left, since they may be hundreds."""
        if self._unasked_told:
            return
        self._unasked_told = True
        for oin, reason in self._plan.not_asked.items():
            self._telling.not_asked(oin, reason)
        for oin, reason in self._plan.suspended.items():
            self._telling.suspended(oin, reason)

    def _at_hand(self, oin: str) -> Ready | None:
        """Manifest and filter of a source, where nothing has to be fetched: so it is for hundreds, most of the time."""
        held = self._shelf.at_hand(self._filter, oin)
        manifest = self._asking.manifest_at_hand(oin)
        return None if held is None or manifest is None else (manifest, held)

    async def _fetched(self, oin: str) -> Ready | None:
        try:
            manifest = _askable(await self._asking.manifest_of(oin))
            return manifest, await self._shelf.current(self._filter, oin, self._inquiry.on_behalf_of)
        except BekendError as error:
            self._telling.fault(oin, error)
            return None

    def _may_be_asked(self, oin: str, manifest: KeyManifest, held: HeldFilter) -> bool:
        try:
            _askable(manifest)
        except BekendError as error:
            self._telling.fault(oin, error)
            return False
        # The source signed which kinds it enrolled: by another one everybody would be missed. The own canary has none.
        if self._inquiry.persons[0].kind not in held.kinds and oin != self._asking.oin:
            self._telling.not_asked(oin, OTHER_NUMBER)
            return False
        return True

    async def _ask(self, lines: Sequence[BrokerLine], ready: list[Ready], box: own_record.OfficerBox) -> None:
        """Try the replicas in turn until Questions went out, or the broker said no."""
        last: BekendError = UnreachableError("no replica of the broker can be reached")
        for number, line in enumerate(lines, start=1):
            # A replica that does not stand costs the officer nothing: nothing left yet.
            if not await line.ready():
                continue
            try:
                await self._ask_over(line, lines, ready, box, patience_beside(lines[number:], BEGIN_SECONDS))
            except BeginFailedError as error:
                last = error.cause
                if isinstance(last, DeadlineError):
                    line.avoid()
                if isinstance(last, _TRY_NEXT):
                    continue
            break
        # Every source gets an outcome, whatever happened.
        self._telling.give_up(last, [manifest.oin for manifest, _ in ready])

    async def _ask_over(
        self,
        line: BrokerLine,
        lines: Sequence[BrokerLine],
        ready: list[Ready],
        box: own_record.OfficerBox,
        patience: float,
    ) -> None:
        """One attempt, with a seed, ids and a budget of its own: a retry is a new lookup."""
        asking = self._asking
        facts = await facts_of(asking, self._inquiry)
        begin_id = secrets.token_bytes(16)
        try:
            # Opened first: the broker makes ready for it while the budget reaches the disk.
            call = line.lookup(BEGIN_SECONDS + REPLY_SECONDS + 2 * MARGIN_SECONDS, begin_id)
        except BekendError as error:
            # The line went between `ready` and now.
            raise BeginFailedError(error) from None
        try:
            # (2): what needs no reply is computed while budget and Begin are under way; no Begin leaves before the
            # budget is on the disk.
            spent = asyncio.create_task(asking.store.admit_asking(spends=self._spends, at=facts.time))
            await asyncio.sleep(0)  # lets the write begin
            secret = blinds.draw(self._inquiry.persons, [manifest.oin for manifest, _ in ready])
            message = messages.make_begin(asking.key, facts, begin_id, secret)
            drafts = Drafts(ready, secret)
            await meanwhile(drafts.early, spent)
            reply = await begin(call, message, patience, drafts.early)
            # (4): the proof first: a U under another key would make records that nobody can open.
            outgoing = Outgoing(
                asking,
                self._inquiry,
                facts,
                begin_id,
                secret,
                exchanged=(message, reply.begun),
                record_keys=finalize(facts, secret, reply.begun),
                box=box,
                consents=self._plan.consents,
                decided=self._decided,
            )
            # (5): every Question signed, on the record and in the log, and only then sent.
            async with contextlib.aclosing(outgoing.asks(drafts, len(ready), several=reply.takes_several)) as asks:
                first = await _first(asks)
                logs.log(
                    logs.LOOKUP_ASKED,
                    trace=begin_id.hex(),
                    purpose=facts.purpose,
                    sources=len(ready),
                    persons=len(self._inquiry.persons),
                )
                self._telling.begin_id = begin_id
                naming = Naming(asking, self._inquiry, self._plan, begin_id)
                self._replies = Replies(naming, self._shelf, self._telling, line, lines)
                sources = [manifest.oin for manifest, _ in ready]
                await self._replies.collect(call, first, asks, sources, self._tell_unasked)
        finally:
            await call.close()

    async def _finish(self, started: datetime, box: own_record.OfficerBox) -> receipt.ReceiptFile:
        """What came, sealed to the own privacy officer; and the receipt."""
        # (11): own record, then the receipt.
        asking = self._asking
        expires = milliseconds(started + self._plan.lifetime)
        outcomes, replies = self._telling.outcomes, self._replies
        if replies is not None:
            record = own_record.outcomes_record(box, replies.begin_id, expires, outcomes)
            now = asking.clock.now()
            told = {oin: hash_ for oin, hash_ in replies.hashes.items() if oin in replies.answered}
            if not replies.promised().issuperset(told.values()):
                asking.heads.unpromised += 1
            entries = [Entry(TOLD, hash_, milliseconds(now), asking.oin, oin) for oin, hash_ in told.items()]
            kept = asyncio.create_task(
                asking.store.admit_asking(records=[record], log=entries, promises=replies.promises, at=now)
            )
        else:
            decided = self._decided(secrets.token_bytes(16), {})
            kept = asyncio.create_task(asking.store.admit_asking(decisions=[decided], at=asking.clock.now()))
        await asyncio.sleep(0)  # lets the write begin
        facts = receipt.Facts(
            requester=asking.oin,
            on_behalf_of=self._inquiry.on_behalf_of,
            purpose=self._plan.purpose.id,
            covenant_hash=asking.covenant.hash,
            manifest_number=asking.manifest.number,
            time=milliseconds(started),
            expires=expires,
            persons=len(self._inquiry.persons),
        )
        signed = receipt.issue(asking.key, asking.manifest_note, facts, replies.hashes if replies else {}, outcomes)
        await kept
        return signed

    def _decided(self, trace: bytes, questions: Mapping[str, bytes]) -> DecisionRow:
        """What was decided before anything left, with the ids of the Questions that go out."""
        asking = self._asking
        judged = [replace(one, question_id=questions.get(one.source, b"")) for one in self._plan.judged]
        return decisions.row(
            asking.covenant, asking.oin, self._inquiry, trace, judged, at=self._decided_at, key=asking.case_key
        )


_TRY_NEXT: Final = (UnreachableError, DeadlineError, InternalError, StorageError, NotReadyError)
"""Faults of one replica; whatever else a broker says, another replica would say too."""


async def _first(asks: AsyncIterator[Ask]) -> Ask:
    """The first Ask. Raises StorageError; BeginFailedError when an alarm of the log came since Begin left."""
    try:
        return await anext(asks)
    except LogError as error:
        raise BeginFailedError(error) from None


def _askable(manifest: KeyManifest) -> KeyManifest:
    """A source that speaks this version, and for which something can be recorded. Raises VersionError, KeysError."""
    if speaking(manifest).privacy_officer is None:
        raise KeysError("the source's manifest names no privacy officer: nothing could be recorded for it")
    return manifest
