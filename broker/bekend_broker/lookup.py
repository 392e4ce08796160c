"""One lookup at the broker: the steps of protocol section 7 that are its own, numbered as there.

    requester                      broker                                  source i
      | Begin ----------------------> (3) check, count, log, evaluate u
      |<------------------------ Begun
      | Ask{Question_i, E_i, s_i} --> (6) check each, log all, evaluate b ----> EvaluatedQuestion
      |<--- SealedAnswer or Failure per question, as they come, unread <------- SealedAnswer, Failure

What is not in the log is not evaluated and not forwarded. Every question ends: with a sealed answer, or with a Failure
that says why there is none.
"""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from dataclasses import replace
from datetime import datetime
from time import perf_counter

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, Code, MalformedError, StorageError, UnreachableError, code_name
from bekend_proto.v1.broker_pb2 import Ask, Failure, LookupRequest, LookupResponse
from bekend_proto.v1.errors_pb2 import ERROR_CODE_DEADLINE, ERROR_CODE_UNREACHABLE
from bekend_proto.v1.signed_pb2 import Begin, PromisedEntry, Signed
from google.protobuf.message import DecodeError

from bekend_broker import decisions
from bekend_broker.begins import Opened, admit_begin, check_begin, evaluate_begin
from bekend_broker.checkpoints import Checkpoints
from bekend_broker.config import Limits
from bekend_broker.directory import Directory
from bekend_broker.metrics import ANSWERED, Metrics
from bekend_broker.questions import Checked, Refused, Verdict, admit, check_ask, evaluate
from bekend_broker.register import Attachment, Register, Reply
from bekend_broker.store import Store, keep_decision
from bekend_broker.streams import first_message, next_message


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
            admitted: list[Checked] = []
            try:
                yield begun
                ask = await self._ask(requests)
                start = perf_counter()
                admitted, refused, promise = await self._admit(caller, opened, ask)
            finally:
                if not admitted:
                    self._report_unasked(opened)
            for one in refused:
                yield _owing(self._refuse(opened, one), promise)
                promise = None
            if admitted:
                async with aclosing(self._forward(opened, admitted)) as replies:
                    async for reply in replies:
                        yield _owing(reply, promise)
                        promise = None
                self._metrics.lookup(opened.begin.purpose, perf_counter() - start)
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
            begun = evaluate_begin(opened)
        except BekendError as fault:
            self._note_fault(fault)
            self._metrics.begin(_purpose_of(signed), fault)
            await self._keep_refusal(signed, fault, now)
            raise
        self._metrics.begin(opened.begin.purpose, None)
        return opened, LookupResponse(begun=begun)

    async def _keep_refusal(self, signed: Signed, fault: BekendError, now: datetime) -> None:
        """Put a Begin that covenant or note refused on the record: its signature was verified before that."""
        if decisions.rule_of(fault) is None:
            return
        row = decisions.of_refused_begin(self._directory.present, Begin.FromString(signed.payload), fault, now).row()
        await self._store.write(lambda c: keep_decision(c, row))

    async def _ask(self, requests: AsyncIterator[LookupRequest]) -> Ask:
        message = await next_message(requests, self._limits.ask_seconds, "Ask")
        if message is None:
            return Ask()
        if message.WhichOneof("kind") != "ask":
            raise MalformedError("the second message of a lookup is Ask")
        return message.ask

    # (6): ratio, covenant, records; log entry durable before anything is evaluated or forwarded.
    async def _admit(self, caller: str, opened: Opened, ask: Ask) -> tuple[list[Checked], list[Refused], Signed | None]:
        now = self._clock.now()
        verdicts: list[Verdict] = []
        for verdict in check_ask(self._directory, caller, opened, ask.questions, now):
            verdicts.append(self._reachable(verdict))
            await _let_others()
        refused = [verdict for verdict in verdicts if isinstance(verdict, Refused)]
        checked = [verdict for verdict in verdicts if isinstance(verdict, Checked)]
        if not verdicts:
            return [], [], None
        covenant = self._directory.present.under(opened.begin.covenant_hash)
        asked = tuple(verdicts)
        promised: list[PromisedEntry] = []
        try:
            verdicts, promised = await self._store.write(lambda c: admit(c, opened, asked, covenant=covenant, now=now))
        except StorageError as fault:
            # No log, no answer.
            self._note_fault(fault)
            verdicts = [Refused(one.question_id, one.source, fault) for one in checked]
        refused += [verdict for verdict in verdicts if isinstance(verdict, Refused)]
        admitted = [verdict for verdict in verdicts if isinstance(verdict, Checked)]
        promise = self._checkpoints.promise(opened.begin.requester, promised, now) if promised else None
        return admitted, refused, promise

    async def _forward(self, opened: Opened, admitted: Sequence[Checked]) -> AsyncGenerator[LookupResponse, None]:
        """(6): evaluate and send each question to its source, and pass on what comes back until the deadline."""
        replies: asyncio.Queue[LookupResponse] = asyncio.Queue()
        waiting: dict[bytes, Attachment] = {}
        sources = {one.question_id: one.source for one in admitted}
        try:
            for one in admitted:
                # Sent as soon as it is evaluated: its source works while the next one is evaluated here.
                self._send(one, waiting, replies.put_nowait)
                self._metrics.question(opened.begin.purpose, None)
                await _let_others()
            deadline = asyncio.get_running_loop().time() + self._limits.reply_seconds
            ended = 0
            while ended < len(admitted) and (reply := await _before(deadline, replies)) is not None:
                ended += 1
                question_id, end = _end_of(reply)
                waiting.pop(question_id, None)
                self._metrics.reply(sources[question_id], end)
                yield reply
            for question_id in waiting:
                self._metrics.reply(sources[question_id], "deadline")
                yield _failure(question_id, ERROR_CODE_DEADLINE)
        finally:
            for question_id, attachment in waiting.items():
                attachment.forget(question_id)

    def _send(self, one: Checked, waiting: dict[bytes, Attachment], reply: Reply) -> None:
        """Evaluate and forward one question; when its source is gone since, that is the reply."""
        try:
            attachment = self._register.find(one.source)
            attachment.ask(one.question_id, evaluate(one), reply)
        except UnreachableError:
            reply(_failure(one.question_id, ERROR_CODE_UNREACHABLE))
        else:
            waiting[one.question_id] = attachment

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
    return reply.failure.question_id, "unreachable" if gone else "failed"


async def _let_others() -> None:
    """Let other lookups and the streams go on between two questions.

    A question costs half a millisecond. Handing it to a thread costs as much again: libsodium's calls are short, and
    the GIL changes hands around each.
    """
    await asyncio.sleep(0)


async def _before(deadline: float, replies: asyncio.Queue[LookupResponse]) -> LookupResponse | None:
    """The next reply, or None when the deadline comes first."""
    if not replies.empty():
        return replies.get_nowait()
    try:
        async with asyncio.timeout_at(deadline):
            return await replies.get()
    except TimeoutError:
        return None


def _owing(reply: LookupResponse, promise: Signed | None) -> LookupResponse:
    """The reply, with the promise where one is still owed: no message of its own for it."""
    if promise is not None:
        reply.promise.CopyFrom(promise)
    return reply


def _failure(question_id: bytes, code: Code) -> LookupResponse:
    return LookupResponse(failure=Failure(question_id=question_id, code=code))


def _purpose_of(signed: Signed) -> str:
    """The purpose that a refused Begin names: a label among those of the covenant, else `other`."""
    try:
        return Begin.FromString(signed.payload).purpose
    except DecodeError:
        return ""
