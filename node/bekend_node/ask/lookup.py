"""One lookup, from Begin to receipt: the requester's column of protocol section 7, numbered as there.

    (1)  own rules, filters at hand                                rules.py, filters_held.py
    (2)  Begin{purpose, r0*x}, signed                              messages.py, blinds.py
    (4)  U = Finalize(x, u*x), the broker's proof verified         messages.py, blinds.py
    (5)  per source: own blind, sealed record E_i, Question        asks.py, messages.py, own_record.py
    (10) verify signature, proof, version; unblind, tag, look up   answers.py
         or, where a colleague at the source decides, name the     release.py, collector.py
         persons to it, and collect later
    (11) own record of what came, sealed; receipt                  own_record.py, receipt.py

Steps (3) and (6) are the broker's, (7) to (9) the source's. Whatever goes wrong on the way makes `geen antwoord`, never
a miss; a retry is a new lookup.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, TypeVar

from bekend_policy.manifest import KeyManifest
from bekend_proto import logs
from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.decision_table import DecisionRow
from bekend_proto.errors import (
    BekendError,
    DeadlineError,
    InternalError,
    KeysError,
    MalformedError,
    NotReadyError,
    StorageError,
    UnreachableError,
    VersionError,
    code_name,
    error_of,
)
from bekend_proto.log_table import Entry
from bekend_proto.v1 import broker_pb2, signed_pb2
from google.protobuf.message import DecodeError

from bekend_node import receipt
from bekend_node.ask import answers, blinds, decisions, messages, own_record
from bekend_node.ask.asking import Asking
from bekend_node.ask.asks import Ask, Drafts, Outgoing, Ready
from bekend_node.ask.broker_line import BrokerLine, LookupCall, patience_beside
from bekend_node.ask.filters_held import FilterShelf, HeldFilter
from bekend_node.ask.outcomes import (
    BROKER,
    OTHER_NUMBER,
    OWN,
    PARTNER,
    Outcome,
    inconclusive,
    known,
    no_answer,
    not_asked,
    pending_until,
    suspended,
)
from bekend_node.ask.release import Naming, name_persons
from bekend_node.ask.rules import Inquiry, Plan
from bekend_node.classes import FilterId
from bekend_node.store import TOLD, Spend

T = TypeVar("T")

BEGIN_SECONDS: Final = 5.0
REPLY_SECONDS: Final = 5.0
"""The reply deadline (protocol, parameters)."""
MARGIN_SECONDS: Final = 1.0
"""The broker's own notice of a missed deadline may still arrive within this."""


Emit = Callable[[Outcome], None]


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
        self._emit_to = emit
        self._outcomes: list[Outcome] = []
        self._pending: dict[bytes, messages.Pending] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._line: BrokerLine | None = None
        self._lines: Sequence[BrokerLine] = ()
        self._hashes: dict[str, bytes] = {}
        self._traces: dict[str, bytes] = {}
        self._answered: set[str] = set()
        self._promises: list[signed_pb2.Signed] = []
        self._more = False
        self._unasked_told = False
        self._own_fault: BekendError | None = None
        self._begin_id: bytes | None = None
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
            self._not_asked(oin, reason)
        for oin, reason in self._plan.suspended.items():
            self._suspended(oin, reason)

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
            self._fault(oin, error)
            return None

    def _may_be_asked(self, oin: str, manifest: KeyManifest, held: HeldFilter) -> bool:
        try:
            _askable(manifest)
        except BekendError as error:
            self._fault(oin, error)
            return False
        # The source signed which kinds it enrolled: by another one everybody would be missed. The own canary has none.
        if self._inquiry.persons[0].kind not in held.kinds and oin != self._asking.oin:
            self._not_asked(oin, OTHER_NUMBER)
            return False
        return True

    async def _ask(self, lines: Sequence[BrokerLine], ready: list[Ready], box: own_record.OfficerBox) -> None:
        """Try the replicas in turn until Questions went out, or the broker said no."""
        last: BekendError = UnreachableError("no replica of the broker can be reached")
        self._lines = lines
        for number, line in enumerate(lines, start=1):
            # A replica that does not stand costs the officer nothing: nothing left yet.
            if not await line.ready():
                continue
            try:
                await self._ask_over(line, ready, box, patience_beside(lines[number:], BEGIN_SECONDS))
            except _BeginFailedError as error:
                last = error.cause
                if isinstance(last, DeadlineError):
                    line.avoid()
                if isinstance(last, _TRY_NEXT):
                    continue
            break
        # Every source gets an outcome, whatever happened.
        self._give_up(last, [manifest.oin for manifest, _ in ready])

    async def _ask_over(
        self, line: BrokerLine, ready: list[Ready], box: own_record.OfficerBox, patience: float
    ) -> None:
        """One attempt, with a seed, ids and a budget of its own: a retry is a new lookup."""
        asking = self._asking
        facts = await self._facts()
        begin_id = secrets.token_bytes(16)
        try:
            # Opened first: the broker makes ready for it while the budget reaches the disk.
            call = line.lookup(BEGIN_SECONDS + REPLY_SECONDS + 2 * MARGIN_SECONDS, begin_id)
        except BekendError as error:
            # The line went between `ready` and now.
            raise _BeginFailedError(error) from None
        try:
            # (2): what needs no reply is computed while budget and Begin are under way; no Begin leaves before the
            # budget is on the disk.
            spent = asyncio.create_task(asking.store.admit_asking(spends=self._spends, at=facts.time))
            await asyncio.sleep(0)  # lets the write begin
            secret = blinds.draw(self._inquiry.persons, [manifest.oin for manifest, _ in ready])
            begin = messages.make_begin(asking.key, facts, begin_id, secret)
            drafts = Drafts(ready, secret)
            await _meanwhile(drafts.steps, spent)
            reply = await _begin(call, begin, patience, drafts.steps)
            # (4): the proof first: a U under another key would make records that nobody can open.
            outgoing = Outgoing(
                asking,
                self._inquiry,
                facts,
                begin_id,
                secret,
                exchanged=(begin, reply.begun),
                record_keys=_finalize(facts, secret, reply.begun),
                box=box,
                consents=self._plan.consents,
                decided=self._decided,
            )
            # (5): every Question signed, on the record and in the log, and only then sent.
            async with contextlib.aclosing(outgoing.asks(drafts, len(ready), several=reply.takes_several)) as asks:
                first = await anext(asks)
                logs.log(
                    logs.LOOKUP_ASKED,
                    trace=begin_id.hex(),
                    purpose=facts.purpose,
                    sources=len(ready),
                    persons=len(self._inquiry.persons),
                )
                self._begin_id = begin_id
                self._line = line
                await self._collect(call, first, asks, [manifest.oin for manifest, _ in ready])
        finally:
            await call.close()

    async def _collect(self, call: LookupCall, first: Ask, asks: AsyncIterator[Ask], sources: Collection[str]) -> None:
        """Send the Questions and take replies until each has one or the deadline passes. `sources`: all to be asked."""
        sending: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(REPLY_SECONDS + MARGIN_SECONDS) as patience:
                try:
                    await self._send(call, first)
                    self._tell_unasked()
                    if self._more:
                        sending = asyncio.create_task(self._send_rest(call, asks, patience))
                    await self._replies(call)
                except BekendError as error:
                    if sending is not None:
                        sending.cancel()
                    self._give_up(error, self._waiting(sources))
                if self._following:
                    await asyncio.wait(self._following)
        except TimeoutError:
            late = DeadlineError("no reply within the deadline")
            self._give_up(self._own_fault or late, self._waiting(sources), OWN if self._own_fault else PARTNER)
        finally:
            for task in (*self._following, *([sending] if sending else [])):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    async def _send_rest(self, call: LookupCall, asks: AsyncIterator[Ask], patience: asyncio.Timeout) -> None:
        """Ask after Ask, while replies to the first come in. The deadline counts from the last."""
        loop = asyncio.get_running_loop()
        try:
            async for ask in asks:
                try:
                    await self._send(call, ask)
                except BekendError:
                    return  # whoever reads the replies meets it too
                if not patience.expired():
                    patience.reschedule(loop.time() + REPLY_SECONDS + MARGIN_SECONDS)
        except Exception as error:
            # Nothing more leaves, and what did is waited for no longer.
            self._own_fault = _foreseen(error)
            if not patience.expired():
                patience.reschedule(loop.time())

    async def _send(self, call: LookupCall, ask: Ask) -> None:
        pending, self._more = ask
        self._traces |= {one.source.oin: one.question_id for one in pending}
        self._hashes |= {one.source.oin: one.question_hash for one in pending}
        self._pending |= {one.question_id: one for one in pending}
        questions = [one.routed for one in pending]
        await call.write(broker_pb2.LookupRequest(ask=broker_pb2.Ask(questions=questions, more=self._more)))

    async def _replies(self, call: LookupCall) -> None:
        while self._pending or self._more:
            reply = await call.read()
            if reply is None:
                raise UnreachableError("the broker ended the lookup")
            self._take(reply)

    def _take(self, reply: broker_pb2.LookupResponse) -> None:
        if reply.HasField("promise"):
            self._promises.append(reply.promise)
        kind = reply.WhichOneof("kind")
        if kind == "answer":
            pending = self._pending.pop(reply.answer.question_id, None)
            # A reply to no open question is dropped: an id is answered once.
            if pending is not None:
                self._answer(pending, reply.answer)
        elif kind == "failure":
            error = error_of(reply.failure.code, "the broker or the source reported a fault")
            if not reply.failure.question_id:
                raise error
            pending = self._pending.pop(reply.failure.question_id, None)
            if pending is not None:
                self._fault(pending.source.oin, error)
        else:
            raise MalformedError("the broker sent something that is no reply")

    def _answer(self, pending: messages.Pending, message: broker_pb2.SealedAnswer) -> None:
        """Verify, unblind and look up; what takes more than that goes on by itself."""
        try:
            # (10): signature and fields; then proof, and what the version is that it names.
            answer = answers.open_answer(pending, self._asking.oin, message)
            self._answered.add(pending.source.oin)
            self._asking.heads.hear(answer.checkpoint, pending.source.oin)
            held = self._shelf.version(self._filter, pending.source.oin, answer.filter_version)
            if held is not None and not held.by_hand:
                self._told(pending, answers.look_up(answers.unblind(pending, answer, held), held), held)
                return
        except Exception as error:
            self._fault(pending.source.oin, _foreseen(error))
            return
        task = asyncio.create_task(self._follow(pending, answer, held))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, pending: messages.Pending, answer: answers.OpenAnswer, held: HeldFilter | None) -> None:
        """The same W: against the version that the answer names, if that is still there; or names for a colleague."""
        oin = pending.source.oin
        try:
            if held is None:
                held = await self._shelf.refresh(self._filter, oin, self._inquiry.on_behalf_of)
            unblinded = answers.unblind(pending, answer, held)
            if held.by_hand:
                await self._name_persons(pending, answer, unblinded)
            else:
                self._told(pending, answers.look_up(unblinded, held), held)
        except Exception as error:
            self._fault(oin, _foreseen(error))
        except asyncio.CancelledError:
            self._fault(oin, DeadlineError("the filter of the answer, or its source's reply, did not come in time"))
            raise

    async def _name_persons(
        self, pending: messages.Pending, answer: answers.OpenAnswer, unblinded: Sequence[bytes]
    ) -> None:
        """Let a colleague at the source decide; the same outcome for every person, whoever that is."""
        oin = pending.source.oin
        assert self._line is not None
        assert self._begin_id is not None
        others = [line for line in self._lines if line is not self._line and line.standing()]
        naming = Naming(self._asking, self._inquiry, self._plan, self._begin_id)
        one = await name_persons(naming, (self._line, *others), pending, answer, unblinded)
        until = from_milliseconds(one.until)
        self._each(oin, lambda person: pending_until(person, oin, self._name(oin), until))

    async def _finish(self, started: datetime, box: own_record.OfficerBox) -> receipt.ReceiptFile:
        """What came, sealed to the own privacy officer; and the receipt."""
        # (11): own record, then the receipt.
        asking = self._asking
        expires = milliseconds(started + self._plan.lifetime)
        if self._begin_id is not None:
            record = own_record.outcomes_record(box, self._begin_id, expires, self._outcomes)
            now = asking.clock.now()
            if not _promised(self._promises).issuperset(self._hashes[oin] for oin in self._answered):
                asking.heads.unpromised += 1
            told = [
                Entry(TOLD, self._hashes[oin], milliseconds(now), asking.oin, oin)
                for oin in self._hashes
                if oin in self._answered
            ]
            kept = asyncio.create_task(
                asking.store.admit_asking(records=[record], log=told, promises=self._promises, at=now)
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
        signed = receipt.issue(asking.key, asking.manifest_note, facts, self._hashes, self._outcomes)
        await kept
        return signed

    def _decided(self, trace: bytes, questions: Mapping[str, bytes]) -> DecisionRow:
        """What was decided before anything left, with the ids of the Questions that go out."""
        asking = self._asking
        judged = [replace(one, question_id=questions.get(one.source, b"")) for one in self._plan.judged]
        return decisions.row(
            asking.covenant, asking.oin, self._inquiry, trace, judged, at=self._decided_at, key=asking.case_key
        )

    async def _facts(self) -> messages.Facts:
        asking, inquiry = self._asking, self._inquiry
        try:
            facts = messages.Facts(
                requester=asking.oin,
                on_behalf_of=inquiry.on_behalf_of,
                purpose=inquiry.purpose,
                covenant_hash=asking.covenant.hash,
                requester_manifest=asking.manifest.number,
                broker=_speaking(await asking.manifest_of(asking.covenant.broker_oin)),
                time=asking.clock.now(),
                checkpoint=asking.heads.checkpoint,
                case_reference=inquiry.case_reference or "",
                officer=own_record.committed_officers(
                    inquiry.officer.user, inquiry.second.user if inquiry.second else None
                ),
            )
            _ = facts.record_key
        except BekendError as error:
            raise _BeginFailedError(error) from None
        return facts

    def _told(self, pending: messages.Pending, found: list[bool], held: HeldFilter) -> None:
        oin, as_of = pending.source.oin, held.as_of.isoformat()
        desk = pending.source.contact
        for person, hit in enumerate(found):
            self._emit(
                known(person, oin, self._name(oin), as_of, desk)
                if hit
                else inconclusive(person, oin, self._name(oin), as_of)
            )

    def _fault(self, oin: str, error: BekendError, who: str = PARTNER) -> None:
        logs.log(
            logs.NO_ANSWER,
            trace=self._traces[oin].hex() if oin in self._traces else None,
            lookup=self._begin_id.hex() if self._begin_id is not None else None,
            source=oin,
            purpose=self._plan.purpose.id,
            code=code_name(error.code),
            detail=error.detail,
        )
        self._each(oin, lambda person: no_answer(person, oin, self._name(oin), error, who))

    def _give_up(self, error: BekendError, sources: Iterable[str], who: str = BROKER) -> None:
        """`geen antwoord` for those of these sources that have no outcome yet and are not being looked up."""
        self._pending.clear()
        done = {outcome.oin for outcome in self._outcomes}
        for oin in sources:
            if oin not in done:
                self._fault(oin, error, who)

    def _not_asked(self, oin: str, reason: str) -> None:
        self._each(oin, lambda person: not_asked(person, oin, self._name(oin), reason))

    def _suspended(self, oin: str, reason: str) -> None:
        self._each(oin, lambda person: suspended(person, oin, self._name(oin), reason))

    def _waiting(self, sources: Iterable[str]) -> list[str]:
        """Those of these without a reply, and those to which no Question left."""
        waiting = {pending.source.oin for pending in self._pending.values()}
        return [oin for oin in sources if oin in waiting or oin not in self._hashes]

    def _each(self, oin: str, make: Callable[[int], Outcome]) -> None:
        for person in range(len(self._inquiry.persons)):
            self._emit(make(person))

    def _emit(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._emit_to(outcome)

    @property
    def _filter(self) -> FilterId:
        return FilterId(self._plan.purpose.id, self._plan.kind_class)

    def _name(self, oin: str) -> str:
        return self._asking.covenant.participants[oin].name


_TRY_NEXT: Final = (UnreachableError, DeadlineError, InternalError, StorageError, NotReadyError)
"""Faults of one replica; whatever else a broker says, another replica would say too."""


class _BeginFailedError(Exception):
    """The lookup ended before a Question left."""

    def __init__(self, cause: BekendError) -> None:
        super().__init__()
        self.cause = cause


async def _meanwhile(work: Iterator[None], awaited: "asyncio.Task[T]") -> T:
    """What is awaited comes first: nothing of it waits for more than one step of the work."""
    try:
        await asyncio.sleep(0)
        if not awaited.done():
            for _ in work:
                await asyncio.sleep(0)
                if awaited.done():
                    break
        return await awaited
    finally:
        awaited.cancel()


async def _begin(
    call: LookupCall, begin: signed_pb2.Signed, patience: float, meanwhile: Iterator[None]
) -> broker_pb2.LookupResponse:
    """Send Begin, go on with other work, and wait for its reply, so many seconds in all. Raises _BeginFailedError."""
    try:
        async with asyncio.timeout(patience):
            await call.write(broker_pb2.LookupRequest(begin=begin))
            reply = await _meanwhile(meanwhile, asyncio.ensure_future(call.read()))
        if reply is None:
            raise UnreachableError("the broker ended the lookup before its reply to Begin")
        if reply.WhichOneof("kind") == "failure":
            raise error_of(reply.failure.code, "the broker refused Begin")
        if reply.WhichOneof("kind") != "begun":
            raise MalformedError("the broker's first reply is no reply to Begin")
    except TimeoutError:
        raise _BeginFailedError(DeadlineError("no reply to Begin")) from None
    except BekendError as error:
        raise _BeginFailedError(error) from None
    return reply


def _promised(promises: Iterable[signed_pb2.Signed]) -> set[bytes]:
    """The hashes of the Questions that these promises name. Whether they are promises, the witness finds out."""
    found: set[bytes] = set()
    for promise in promises:
        with contextlib.suppress(DecodeError):
            found |= {one.question_hash for one in signed_pb2.InclusionPromise.FromString(promise.payload).promised}
    return found


def _foreseen(error: Exception) -> BekendError:
    """The fault of one source, which costs the others nothing. Of an unforeseen one the log keeps class and place."""
    if isinstance(error, BekendError):
        return error
    logs.log(logs.ANSWER_FAILED, exception=type(error).__name__, place=logs.place_of(error.__traceback__))
    return InternalError("an answer could not be handled")


def _speaking(manifest: KeyManifest) -> KeyManifest:
    """The manifest of a party that speaks this version of the protocol. Raises VersionError: never a miss."""
    if messages.PROTOCOL_VERSION not in manifest.protocol_versions:
        raise VersionError(f"{manifest.oin} speaks versions {manifest.protocol_versions} of the protocol")
    return manifest


def _askable(manifest: KeyManifest) -> KeyManifest:
    """A source that speaks this version, and for which something can be recorded. Raises VersionError, KeysError."""
    if _speaking(manifest).privacy_officer is None:
        raise KeysError("the source's manifest names no privacy officer: nothing could be recorded for it")
    return manifest


def _finalize(facts: messages.Facts, secret: blinds.Blinds, begun: broker_pb2.Begun) -> tuple[bytes, ...]:
    """`U_j` under the month's key of the broker's manifest. Raises _BeginFailedError when the proof does not hold."""
    try:
        return secret.finalize(messages.check_begun(facts, secret, begun))
    except BekendError as error:
        raise _BeginFailedError(error) from None
