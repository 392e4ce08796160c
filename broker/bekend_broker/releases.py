"""When a colleague at the source decides: messages of protocol section 9 on their way, passed on unread.

    requester                       broker                                          source
      | Release{question, box} ----> (R2) whose question, length, once -----------> RoutedRelease
      |<------------- 512 octets --- unread <------------------------------------- RoutedCollected
      | Collect{question, n, box} -> (R7) the same, and n higher than the last ----> RoutedCollect
      |<------------- 512 octets --- unread <------------------------------------- RoutedCollected

Every message has one length per kind and number of persons, so what is passed on says nothing but that it was sent.
What goes out is durable first: no number of a channel reaches a source with two messages, whatever crashes, and
whichever replica is called.
"""

import asyncio
import secrets
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.collecting import COLLECT_BOX, FIRST_COLLECT, release_box
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    DeadlineError,
    MalformedError,
    StaleError,
    StorageError,
    UnreachableError,
)
from bekend_proto.octets import blake
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import (
    CollectRequest,
    CollectResponse,
    ReleaseRequest,
    ReleaseResponse,
    RoutedCollect,
    RoutedRelease,
)

from bekend_broker.admission import check_in_force
from bekend_broker.config import Limits
from bekend_broker.directory import Directory
from bekend_broker.metrics import COLLECT, RELEASE, Metrics
from bekend_broker.register import Attachment, Register
from bekend_broker.store import Store
from bekend_broker.store_questions import OpenQuestion, forget_open_questions, use_collect, use_release

RELEASES: Final = 64
"""How often the releases of one question may go to its source, repeated ones included."""

FORGET_SECONDS: Final = 30.0
"""How often questions whose time is over are removed, and the open ones counted."""

_BOX_HASH: Final = 16


@dataclass(frozen=True, slots=True)
class _Message:
    """A release or collect that came in."""

    kind: str
    question_id: bytes
    fits: Callable[[OpenQuestion], bool]
    use: Callable[[Connection], bool]
    """Takes its number, in the transaction that makes that durable; False when it may not go out."""
    routed: Callable[[bytes], RoutedRelease | RoutedCollect]


class Releases:
    """Passes releases and collects on. One object per process."""

    def __init__(
        self,
        *,
        directory: Directory,
        register: Register,
        database: Store,
        clock: Clock,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self._directory = directory
        self._register = register
        self._store = database
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._running: Counter[str] = Counter()
        self._idle = asyncio.Event()
        self._idle.set()

    async def wait_idle(self) -> None:
        """Return when no exchange is under way."""
        await self._idle.wait()

    @property
    def running(self) -> int:
        """Exchanges under way."""
        return self._running.total()

    async def watch(self) -> None:
        """Forget questions whose time is over, until cancelled."""
        while True:
            await asyncio.sleep(FORGET_SECONDS)
            try:
                await self.forget_over()
            except StorageError as fault:
                # It is tried again; who asks meanwhile is refused by the time that stands in the row.
                self._metrics.storage_faults.inc()
                logs.log(logs.OPEN_QUESTIONS_KEPT, detail=fault.detail)

    async def forget_over(self) -> None:
        """Forget questions whose time is over, and show how many a colleague may still decide about.

        Raises StorageError.
        """
        now = self._clock.now()
        await self._store.write(lambda connection: forget_open_questions(connection, now))
        self._metrics.open_questions.set(await asyncio.to_thread(self._store.open_questions, now))

    async def release(self, caller: str, request: ReleaseRequest) -> ReleaseResponse:
        """Pass on the message that names persons, or the one that withdraws: from here they look alike.

        Raises StaleError when no such question of the caller is open or both went before in another form,
        MalformedError, SuspendedError, BudgetError, StorageError; UnreachableError and DeadlineError when the source is
        away or silent; or the source's own fault.
        """
        # (R2): whose question, its length, durable; then to the source, unread.
        box_hash = blake(_BOX_HASH, b"bekend1-passed", request.box)
        message = _Message(
            kind=RELEASE,
            question_id=request.question_id,
            fits=lambda question: len(request.box) == release_box(question.persons),
            use=lambda connection: use_release(connection, request.question_id, box_hash, RELEASES),
            routed=lambda name: RoutedRelease(exchange_id=name, question_id=request.question_id, box=request.box),
        )
        return ReleaseResponse(box=await self._pass_on(caller, message))

    async def collect(self, caller: str, request: CollectRequest) -> CollectResponse:
        """Pass on a collect. Raises as `release`; StaleError also for a number that is not higher than the last."""
        # (R7): the same, and each number higher than the last.
        message = _Message(
            kind=COLLECT,
            question_id=request.question_id,
            fits=lambda _: len(request.box) == COLLECT_BOX and request.number >= FIRST_COLLECT,
            use=lambda connection: use_collect(connection, request.question_id, request.number),
            routed=lambda name: RoutedCollect(
                exchange_id=name, question_id=request.question_id, number=request.number, box=request.box
            ),
        )
        return CollectResponse(box=await self._pass_on(caller, message))

    async def _pass_on(self, caller: str, message: _Message) -> bytes:
        end = "refused"
        try:
            with self._under_way(caller):
                source = await self._admit(caller, message)
                end = "failed"
                box = await self._exchange(source, message)
            end = "answered"
        except BekendError as fault:
            if isinstance(fault, StorageError):
                self._metrics.storage_faults.inc()
            end = {UnreachableError: "unreachable", DeadlineError: "deadline"}.get(type(fault), end)
            raise
        finally:
            self._metrics.exchanges.labels(message.kind, end).inc()
        return box

    async def _admit(self, caller: str, message: _Message) -> Attachment:
        """The source's stream, once the message may go out over it and its number is taken, durably."""
        now = self._clock.now()
        question = await asyncio.to_thread(self._store.open_question, message.question_id, now)
        if question is None or question.requester != caller:
            raise StaleError(
                "no question of this partner is open under this id: it was never asked, or its term is over"
            )
        if not message.fits(question):
            raise MalformedError(f"a {message.kind} has one length, and collects are numbered from {FIRST_COLLECT}")
        self._check_not_stopped(question)
        source = self._register.find(question.source)
        if not await self._store.write(message.use):
            raise StaleError(f"a {message.kind} that went before in another form, or one too many")
        # Anew: a note may have come while the number was written.
        self._check_not_stopped(question)
        return source

    def _check_not_stopped(self, question: OpenQuestion) -> None:
        """Raises CovenantError, SuspendedError when nothing about this question may be passed on now."""
        present, now = self._directory.present, self._clock.now()
        check_in_force(present.covenant, now)
        for covenant in present.covenants:
            present.suspensions.check(
                covenant,
                question.purpose,
                now,
                requester=question.requester,
                source=question.source,
                principal=question.principal,
            )

    async def _exchange(self, source: Attachment, message: _Message) -> bytes:
        """Send it and wait for the reply: on this stream, once, within the deadline."""
        name = secrets.token_bytes(16)
        reply = source.exchange(message.routed(name))
        try:
            async with asyncio.timeout(self._limits.reply_seconds):
                return await reply
        except TimeoutError:
            raise DeadlineError(f"{source.oin} gave no reply within {self._limits.reply_seconds:g} s") from None
        finally:
            source.forget(name)

    @contextmanager
    def _under_way(self, caller: str) -> Iterator[None]:
        if self._running[caller] >= self._limits.exchanges_per_requester:
            raise BudgetError(f"{caller} has {self._running[caller]} releases and collects under way: wait for some")
        self._running[caller] += 1
        self._idle.clear()
        try:
            yield
        finally:
            self._running[caller] -= 1
            if not self._running[caller]:
                del self._running[caller]
            if not self._running:
                self._idle.set()
