"""One lookup at the broker: the steps of protocol section 7 that are its own, numbered as there.

    requester                      broker                                  source i
      | Begin ----------------------> (3) check, count, log, evaluate u
      |<------------------------ Begun
      | Ask{Question_i, E_i, s_i} --> (6) check each, log all, evaluate b ----> EvaluatedQuestion
      |<--- SealedAnswer or Failure per question, as they come, unread <------- SealedAnswer, Failure
      | Ask{...} -------------------> (6) the same, while the sources of the first are at work

What is not in the log is not evaluated and not forwarded. Every question ends: with a sealed answer, or with a Failure
that says why there is none.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from time import perf_counter

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.decision_table import append_decision
from bekend_proto.errors import BekendError, Code, MalformedError, StorageError, UnreachableError, code_name
from bekend_proto.v1.broker_pb2 import Ask, Failure, LookupRequest, LookupResponse
from bekend_proto.v1.errors_pb2 import ERROR_CODE_DEADLINE, ERROR_CODE_UNREACHABLE
from bekend_proto.v1.signed_pb2 import Begin, Signed
from google.protobuf.message import DecodeError

from bekend_broker import decisions
from bekend_broker.admission import check_not_suspended
from bekend_broker.begins import Opened, admit_begin, check_begin, evaluate_begin
from bekend_broker.checkpoints import Checkpoints
from bekend_broker.config import Limits
from bekend_broker.directory import Directory
from bekend_broker.metrics import ANSWERED, UNREACHABLE, Metrics
from bekend_broker.questions import Bundle, Checked, Refused, Verdict, admit, check_ask, evaluate
from bekend_broker.register import Attachment, Register
from bekend_broker.store import Store
from bekend_broker.streams import first_message, next_message


@dataclass(slots=True)
class _UnderWay:
    """A lookup whose questions are at their sources."""

    bundle: Bundle
    replies: "asyncio.Queue[LookupResponse | None]" = field(default_factory=asyncio.Queue)
    """What is to be passed on; None when all Asks have been taken."""
    waiting: dict[bytes, Attachment] = field(default_factory=dict)
    """The questions without a reply, and the streams over which they went."""
    promises: deque[Signed] = field(default_factory=deque)
    """Those still owed: each goes with a reply, no message of its own for it."""
    began: float | None = None
    """`perf_counter` when the first Ask came of which a question was admitted."""

    def forget(self) -> None:
        """Replies that come later go nowhere."""
        for question_id, attachment in self.waiting.items():
            attachment.forget(question_id)


class Lookups:
    """Serves lookups. One object per process; each call of `run` is one lookup."""

    def __init__(
        self,
        *,
        directory: Directory,
        register: Register,
        database: Store,
        clock: Clock,
        metrics: Metrics,
        limits: Limits,
        checkpoints: Checkpoints,
    ) -> None:
        self._directory = directory
        self._register = register
        self._store = database
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._checkpoints = checkpoints
        self._running = 0
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Return when no lookup runs."""
        await self._idle.wait()

    @property
    def running(self) -> int:
        """Lookups in progress."""
        return self._running

    async def run(self, caller: str, requests: AsyncIterator[LookupRequest]) -> AsyncIterator[LookupResponse]:
        """Serve one lookup to its end.

        Raises the BekendError of a Begin or Ask that is refused as a whole.
        """
        self._count(1)
        try:
            first = await first_message(requests, self._limits.hello_seconds, "Begin")
            if first.WhichOneof("kind") != "begin":
                raise MalformedError("the first message of a lookup is Begin")
            opened, begun = await self._begin(caller, first.begin)
            lookup = _UnderWay(Bundle(opened, self._clock.now()))
            asking = asyncio.create_task(self._take_asks(caller, lookup, requests))
            try:
                yield begun
                async for reply in self._replies(lookup, asking):
                    yield reply
            finally:
                asking.cancel()
                with contextlib.suppress(asyncio.CancelledError, BekendError):
                    await asking
                lookup.forget()
                if lookup.began is None:
                    self._report_unasked(opened)
            if lookup.began is not None:
                self._metrics.lookup(opened.begin.purpose, perf_counter() - lookup.began)
        finally:
            self._count(-1)

    # (3): certificate (the caller), signature, covenant, budget, freshness; log, then evaluate.
    async def _begin(self, caller: str, signed: Signed) -> tuple[Opened, LookupResponse]:
        now = self._clock.now()
        try:
            opened = check_begin(self._directory, caller, signed, now)
            present = self._directory.present
            canary_only = await self._store.write(lambda c: admit_begin(c, present, opened, now))
            opened = replace(opened, canary_only=canary_only)
            check_not_suspended(self._directory.present, opened.begin, self._clock.now())
            begun = evaluate_begin(opened)
        except BekendError as fault:
            self._note_fault(fault)
            self._metrics.begin(_purpose_of(signed), fault)
            await self._keep_refusal(signed, fault, now)
            raise
        self._metrics.begin(opened.begin.purpose, None)
        return opened, LookupResponse(begun=begun, takes_several=True)

    async def _keep_refusal(self, signed: Signed, fault: BekendError, now: datetime) -> None:
        """Put a Begin that covenant or note refused on the record: its signature was verified before that."""
        if decisions.rule_of(fault) is None:
            return
        row = decisions.of_refused_begin(self._directory.present, Begin.FromString(signed.payload), fault, now).row()
        await self._store.write(lambda c: append_decision(c, row))

    async def _take_asks(self, caller: str, lookup: _UnderWay, requests: AsyncIterator[LookupRequest]) -> None:
        """Take one Ask after another, each to its sources before the next.

        Raises the BekendError that ends the lookup.
        """
        try:
            loop = asyncio.get_running_loop()
            until = loop.time() + self._limits.ask_seconds
            more = True
            while more:
                message = await next_message(requests, max(0.0, until - loop.time()), "Ask")
                if message is None and not lookup.bundle.names:
                    return
                if message is None or message.WhichOneof("kind") != "ask":
                    raise MalformedError("after Begin a lookup holds Asks, up to the one that says that no more follow")
                start, more = perf_counter(), message.ask.more
                if more and not message.ask.questions:
                    raise MalformedError("an Ask without questions, and more to follow")
                admitted = await self._admit(caller, lookup, message.ask)
                if admitted and lookup.began is None:
                    lookup.began = start
                await self._forward(lookup, admitted)
        finally:
            lookup.replies.put_nowait(None)

    # (6): ratio, covenant, records; log entry durable before anything is evaluated or forwarded.
    async def _admit(self, caller: str, lookup: _UnderWay, ask: Ask) -> list[Checked]:
        """The questions of an Ask that are in the log; of those that are refused a reply is under way."""
        now, bundle, opened = self._clock.now(), lookup.bundle, lookup.bundle.opened
        verdicts: list[Verdict] = []
        for verdict in check_ask(self._directory, caller, bundle, ask.questions, now):
            verdicts.append(self._reachable(verdict))
            await _let_others()
        if not verdicts:
            return []
        refused = [verdict for verdict in verdicts if isinstance(verdict, Refused)]
        covenant = self._directory.present.under(opened.begin.covenant_hash)
        asked = tuple(verdicts)
        try:
            done = await self._store.write(lambda c: admit(c, bundle, asked, more=ask.more, covenant=covenant, now=now))
        except StorageError as fault:
            # No log, no answer.
            self._note_fault(fault)
            verdicts = [Refused(one.question_id, one.source, fault) for one in asked if isinstance(one, Checked)]
        else:
            verdicts, bundle.judged = done.verdicts, done.judged
            if done.promised:
                lookup.promises.append(self._checkpoints.promise(opened.begin.requester, done.promised, now))
        for one in (*refused, *(verdict for verdict in verdicts if isinstance(verdict, Refused))):
            lookup.replies.put_nowait(self._refuse(opened, one))
        return [verdict for verdict in verdicts if isinstance(verdict, Checked)]

    async def _forward(self, lookup: _UnderWay, admitted: Sequence[Checked]) -> None:
        """(6): evaluate and send each question to its source; not what is stopped since it was admitted."""
        opened = lookup.bundle.opened
        for one in admitted:
            try:
                check_not_suspended(self._directory.present, opened.begin, self._clock.now(), one.source)
            except BekendError as fault:
                lookup.replies.put_nowait(self._refuse(opened, Refused(one.question_id, one.source, fault)))
            else:
                # Sent as soon as it is evaluated: its source works while the next one is evaluated here.
                self._send(one, lookup)
                self._metrics.question(opened.begin.purpose, None)
            await _let_others()

    def _send(self, one: Checked, lookup: _UnderWay) -> None:
        """Evaluate and forward one question; when its source is gone since, that is the reply."""
        try:
            attachment = self._register.find(one.source)
            attachment.ask(one.question_id, evaluate(one), lookup.replies.put_nowait)
        except UnreachableError:
            self._metrics.reply(one.source, UNREACHABLE)
            lookup.replies.put_nowait(_failure(one.question_id, ERROR_CODE_UNREACHABLE))
        else:
            lookup.waiting[one.question_id] = attachment

    async def _replies(self, lookup: _UnderWay, asking: "asyncio.Task[None]") -> AsyncIterator[LookupResponse]:
        """Pass on what comes back, until every question has its reply or the deadline after the last Ask passes.

        Raises the BekendError that ended the Asks.
        """
        replies = lookup.replies
        while (reply := await replies.get()) is not None:
            yield self._passed_on(reply, lookup)
        asking.result()
        deadline = asyncio.get_running_loop().time() + self._limits.reply_seconds
        while lookup.waiting or not replies.empty():
            if (reply := await _before(deadline, replies)) is None:
                break
            yield self._passed_on(reply, lookup)
        for question_id, attachment in lookup.waiting.items():
            self._metrics.reply(attachment.oin, "deadline")
            yield _failure(question_id, ERROR_CODE_DEADLINE)

    def _passed_on(self, reply: LookupResponse, lookup: _UnderWay) -> LookupResponse:
        """The reply, counted; with a promise where one is still owed."""
        question_id, end = _end_of(reply)
        attachment = lookup.waiting.pop(question_id, None)
        if attachment is not None:
            self._metrics.reply(attachment.oin, end)
        if lookup.promises:
            reply.promise.CopyFrom(lookup.promises.popleft())
        return reply

    def _reachable(self, verdict: Verdict) -> Verdict:
        """The verdict, or UNREACHABLE for a good question to a source that is not attached: it is not logged."""
        if isinstance(verdict, Checked) and not self._register.is_attached(verdict.source):
            return Refused(verdict.question_id, verdict.source, UnreachableError(f"{verdict.source} is not attached"))
        return verdict

    def _refuse(self, opened: Opened, refused: Refused) -> LookupResponse:
        begin = opened.begin
        self._metrics.question(begin.purpose, refused.fault)
        logs.log(
            logs.QUESTION_REFUSED,
            trace=refused.question_id.hex(),
            lookup=begin.begin_id.hex(),
            requester=begin.requester,
            source=refused.source,
            purpose=begin.purpose,
            code=code_name(refused.fault.code),
            detail=refused.fault.detail,
        )
        return _failure(refused.question_id, refused.fault.code)

    def _report_unasked(self, opened: Opened) -> None:
        begin = opened.begin
        self._metrics.unasked_begin(begin.purpose)
        logs.log(
            logs.BEGIN_WITHOUT_QUESTIONS,
            trace=begin.begin_id.hex(),
            requester=begin.requester,
            purpose=begin.purpose,
            persons=opened.persons,
        )

    def _note_fault(self, fault: BekendError) -> None:
        if isinstance(fault, StorageError):
            self._metrics.storage_faults.inc()

    def _count(self, change: int) -> None:
        self._running += change
        self._metrics.lookups.set(self._running)
        if self._running:
            self._idle.clear()
        else:
            self._idle.set()


def _end_of(reply: LookupResponse) -> tuple[bytes, str]:
    """Which question ended, and how."""
    if reply.WhichOneof("kind") == "answer":
        return reply.answer.question_id, ANSWERED
    gone = reply.failure.code == ERROR_CODE_UNREACHABLE
    return reply.failure.question_id, UNREACHABLE if gone else "failed"


async def _let_others() -> None:
    """Let other lookups and the streams go on between two questions.

    A question costs half a millisecond. Handing it to a thread costs as much again: libsodium's calls are short, and
    the GIL changes hands around each.
    """
    await asyncio.sleep(0)


async def _before(deadline: float, replies: "asyncio.Queue[LookupResponse | None]") -> LookupResponse | None:
    """The next reply, or None when the deadline comes first."""
    if not replies.empty():
        return replies.get_nowait()
    try:
        async with asyncio.timeout_at(deadline):
            return await replies.get()
    except TimeoutError:
        return None


def _failure(question_id: bytes, code: Code) -> LookupResponse:
    return LookupResponse(failure=Failure(question_id=question_id, code=code))


def _purpose_of(signed: Signed) -> str:
    """The purpose that a refused Begin names: a label among those of the covenant, else `other`."""
    try:
        return Begin.FromString(signed.payload).purpose
    except DecodeError:
        return ""
