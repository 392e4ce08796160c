"""Collecting what colleagues decided: at fixed moments, for every pending question alike (section 9).

    moment n      moment n + 1                    first moment at or after the end of the term
      | collect     | collect                       | collect: known or closed for every person -> over
      |             |                               | else up to four moments more, within an hour -> geen antwoord

    (R6)  each question at its own place within the moment, with the number of that moment: durable before it leaves
    (R9)  a reply that the source signed for this number counts; any other counts as none

A release of a question by a combination is `mogelijk bekend`: by the class that stands in the signed Question.
It goes on after `bekend`, after a withdrawal and over restarts: to the broker, and to whoever watches the line, one
question looks like any other. Only `closed` from a source that said that it has the names makes `geen uitsluitsel`.
"""

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final, TypeVar

from bekend_proto import logs
from bekend_proto.clock import milliseconds
from bekend_proto.collecting import WITHDRAWS, open_collected, seal_collect, seal_release_box
from bekend_proto.errors import (
    BekendError,
    DeadlineError,
    InternalError,
    NotReadyError,
    StaleError,
    StorageError,
    UnreachableError,
    code_name,
)
from bekend_proto.release import RELEASE_LENGTH
from bekend_proto.v1 import broker_pb2, signed_pb2

from bekend_node.ask.asking import Asking
from bekend_node.ask.broker_line import BrokerLine
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.own_record import late_record, officer_box
from bekend_node.ask.pending import PendingQuestion, Told, open_pending, open_sealed, seal_pending
from bekend_node.store_pending import TOLD, WITHDRAWN, Change, PendingRow
from bekend_node.store_team import Waits

TICK_SECONDS: Final = 1.0
RETRY_SECONDS: Final = 15.0
REPLY_SECONDS: Final = 6.0
"""The broker's own notice of a missed deadline (5 s) may still arrive within this."""
AT_ONCE: Final = 16
"""Collects on their way at once; more wait."""
TAKEN: Final = 256
"""Questions taken up in one tick."""
AGAIN_SECONDS: Final = 20.0
"""How soon a withdrawal that did not get through is sent again."""

LONGEST_PAUSE: Final = 10_800.0
"""Between two of them, once the source was there and did not reply: the broker passes each message on some 60 times."""

_TRY_NEXT: Final = (UnreachableError, DeadlineError, InternalError, StorageError, NotReadyError, StaleError)
_KNOWN: Final = signed_pb2.RELEASE_STATE_KNOWN
_CLOSED: Final = signed_pb2.RELEASE_STATE_CLOSED

States = tuple["signed_pb2.ReleaseState.ValueType", ...]
_Reply = TypeVar("_Reply")


@dataclass(frozen=True, slots=True)
class _Attempt:
    """When a withdrawal may be sent again, and how long the pause before that was, in seconds."""

    not_before: datetime
    pause: float


class Collector:
    """The pending questions of a node. `run` keeps collecting; `tick` and `settle` are the parts of it."""

    def __init__(
        self,
        asking: Callable[[], Asking],
        lines: Callable[[], Sequence[BrokerLine]],
        something_came: Callable[[], None] = lambda: None,
    ) -> None:
        self._asking = asking
        self._lines = lines
        self._something_came = something_came
        self._slots = asyncio.Semaphore(AT_ONCE)
        self._busy: dict[bytes, asyncio.Task[None]] = {}
        self._sending: dict[bytes, asyncio.Task[None]] = {}
        self._attempts: dict[bytes, _Attempt] = {}

    async def run(self) -> None:
        """Tick every second until cancelled; after a fault (of the disk, say) it is tried again."""
        try:
            while True:
                pause = TICK_SECONDS
                try:
                    await self.tick()
                except BekendError as fault:
                    logs.log(logs.COLLECTING_FAILED, code=code_name(fault.code), detail=fault.detail)
                    pause = RETRY_SECONDS
                await asyncio.sleep(pause)
        finally:
            for task in (*self._busy.values(), *self._sending.values()):
                task.cancel()
            await asyncio.gather(*self._busy.values(), *self._sending.values(), return_exceptions=True)

    async def tick(self) -> None:
        """Withdraw what is to be withdrawn, and begin the collects that are due. Raises StorageError."""
        asking = self._asking()
        if not asking.store.pending.any():
            return
        await self.withdraw()
        now = asking.clock.now()
        due = asking.store.pending.due(int(now.timestamp()), TAKEN)
        found = [(row, open_pending(asking.state, row)) for row in due if row.question_id not in self._busy]
        await self._collect_all(asking, [(row, one) for row, one in found if _collects(one, now)], now)
        # Side by side: their writes share a commit.
        await asyncio.gather(*(self._end(asking, one, now) for _, one in found if not _collects(one, now)))

    async def settle(self) -> None:
        """Wait until nothing is on its way."""
        while self._busy or self._sending:
            await asyncio.gather(*self._busy.values(), *self._sending.values(), return_exceptions=True)

    async def withdraw(self) -> None:
        """End the questions whose consent was withdrawn: here at once, at their sources as soon as it gets through.

        Raises StorageError.
        """
        asking = self._asking()
        for row in asking.store.pending.ended_consents():
            await self._end_consent(asking, row.question_id)
        now = asking.clock.now()
        for row, message in asking.store.pending.withdrawals():
            attempt = self._attempts.get(row.question_id)
            if row.question_id not in self._sending and (attempt is None or now >= attempt.not_before):
                one = open_pending(asking.state, row)
                self._start(self._sending, row.question_id, self._send_withdrawal(asking, one, message))

    # --- collecting

    async def _collect_all(self, asking: Asking, due: list[tuple[PendingRow, PendingQuestion]], now: datetime) -> None:
        """Each question once in a moment, whatever is known of it."""
        if not due:
            return
        # (R6): the number of the moment, durable before the collect leaves: no restart sends one twice.
        numbers = [(one, max(row.number, one.number_at(now)), row.number) for row, one in due]
        await asking.store.pending.number((one.question_id, number, one.due_after(now)) for one, number, _ in numbers)
        if asking.heads.stopped:
            # The moment passes: a stopped node asks nothing, and later moments tell it all the same.
            return
        for one, number, before in numbers:
            if number > before:
                self._start(self._busy, one.question_id, self._collect(asking, one, number))

    async def _collect(self, asking: Asking, one: PendingQuestion, number: int) -> None:
        async with self._slots:
            try:
                states = await self._ask(asking, one, number)
            except BekendError as error:
                _missed(logs.COLLECT_MISSED, one, error)
                states = ()
        try:
            await self._took(asking, one.question_id, number, states)
        except BekendError as error:
            # Nothing was written: the next moment says the same again.
            _missed(logs.COLLECT_MISSED, one, error)

    async def _ask(self, asking: Asking, one: PendingQuestion, number: int) -> States:
        """What the source says under this number. Raises BekendError."""
        channel = one.channel(number)
        request = broker_pb2.CollectRequest(
            question_id=one.question_id, number=number, box=seal_collect(channel, number, one.question_hash)
        )
        keys = (await asking.manifest_of(one.source)).signing_keys
        reply = await self._over(lambda line: line.collect(request, REPLY_SECONDS))
        # (R9): signed by the source, for this question, number and term; what does not hold counts as no reply.
        return open_collected(channel, keys, number + 1, one.parties, until=one.until, box=reply.box)

    async def _took(self, asking: Asking, question_id: bytes, number: int, states: States) -> None:
        """Write down what came, whatever it is; end what is over."""
        now = asking.clock.now()
        came = gone = own = False

        def work(sealed: bytes) -> Change:
            nonlocal came, gone, own
            before = open_sealed(asking.state, question_id, sealed)
            own = _is_own(asking, before)
            after = _with_states(before, number, states, milliseconds(now))
            over = number >= after.last_number and bool(states) and set(states) <= {_KNOWN, _CLOSED}
            if over or number >= after.end_number:
                came = gone = True
                return replace(_ended(asking, after, now), waits=_waits(asking, after))
            left = after.without_expired(milliseconds(now))
            came, gone = after.told != before.told, left.told != after.told
            return Change(seal_pending(asking.state, left), waits=_waits(asking, after) if came else None)

        await asking.store.pending.change(question_id, work, now)
        if gone:
            await asking.store.pending.empty_wal()
        if came and not own:
            self._something_came()

    async def _end(self, asking: Asking, one: PendingQuestion, now: datetime) -> None:
        """What was not collected to its end in time (the node was down), or has had its lifetime."""

        gone = one.open

        def work(sealed: bytes) -> Change:
            nonlocal gone
            present = open_sealed(asking.state, one.question_id, sealed)
            if not present.open:
                gone = present.told != present.without_expired(milliseconds(now)).told
                return _left(asking, present, now)
            return replace(_ended(asking, present, now), waits=_waits(asking, present))

        await asking.store.pending.change(one.question_id, work, now)
        if gone:
            await asking.store.pending.empty_wal()
        if one.open and not _is_own(asking, one):
            self._something_came()

    # --- withdrawing

    async def _end_consent(self, asking: Asking, question_id: bytes) -> None:
        """What came is destroyed; the message to the source is made once, so that its number seals one thing only."""
        now = asking.clock.now()

        def work(sealed: bytes) -> Change:
            one = open_sealed(asking.state, question_id, sealed).withdrawn(milliseconds(now))
            if not one.open:
                return replace(_left(asking, one, now), withdrawn=TOLD)
            random = [secrets.token_bytes(RELEASE_LENGTH) for _ in one.told]
            message = seal_release_box(one.channel(WITHDRAWS), asking.key, WITHDRAWS, one.parties, random)
            return Change(seal_pending(asking.state, one), withdrawal=message, withdrawn=WITHDRAWN)

        await asking.store.pending.change(question_id, work, now)
        await asking.store.pending.empty_wal()

    async def _send_withdrawal(self, asking: Asking, one: PendingQuestion, message: bytes) -> None:
        request = broker_pb2.ReleaseRequest(question_id=one.question_id, box=message)
        try:
            keys = (await asking.manifest_of(one.source)).signing_keys
            reply = await self._over(lambda line: line.release(request, REPLY_SECONDS))
            channel = one.channel(WITHDRAWS + 1)
            open_collected(channel, keys, WITHDRAWS + 1, one.parties, until=one.until, box=reply.box)
            await asking.store.pending.told(one.question_id)
        except BekendError as error:
            _missed(logs.WITHDRAWAL_MISSED, one, error)
            before = self._attempts.get(one.question_id)
            # Only what reached the broker's limit counts: a source that is away is tried as often as at first.
            longer = before is not None and not isinstance(error, UnreachableError)
            pause = min(2 * before.pause, LONGEST_PAUSE) if before is not None and longer else AGAIN_SECONDS
            self._attempts[one.question_id] = _Attempt(asking.clock.now() + timedelta(seconds=pause), pause)
        else:
            self._attempts.pop(one.question_id, None)

    # --- both

    async def _over(self, send: Callable[[BrokerLine], Awaitable[_Reply]]) -> _Reply:
        """Over the first replica that works. Raises BekendError."""
        last: BekendError = UnreachableError("no replica of the broker can be reached")
        for line in self._lines():
            if not await line.ready():
                continue
            try:
                return await send(line)
            except _TRY_NEXT as error:
                last = error
        raise last

    def _start(self, tasks: dict[bytes, asyncio.Task[None]], name: bytes, work: Coroutine[Any, Any, None]) -> None:
        task = tasks[name] = asyncio.ensure_future(work)
        task.add_done_callback(lambda _: tasks.pop(name, None))


def _collects(one: PendingQuestion, now: datetime) -> bool:
    return one.open and one.number_at(now) <= one.end_number


def _with_states(one: PendingQuestion, number: int, states: States, at: int) -> PendingQuestion:
    """`known` at any moment; `closed` from the last one on, and only when it is said for all who are left."""
    came = [one.released if state == _KNOWN else None for state in states]
    final = number >= one.last_number and one.deferred
    if states and final and set(states) <= {_KNOWN, _CLOSED}:
        came = [one.released if state == _KNOWN else Told.CLOSED for state in states]
    return one.with_came(came, at)


def _ended(asking: Asking, one: PendingQuestion, now: datetime) -> Change:
    """Nothing more is collected: the channel is destroyed, what came is on the record of the own privacy officer."""
    at = milliseconds(now)
    over = one.closed(at)
    record = late_record(officer_box(asking.manifest), over)
    return replace(_left(asking, over, now), records=(record,), over=True)


def _left(asking: Asking, one: PendingQuestion, now: datetime) -> Change:
    """What is left of a question that is over, without what has had its lifetime.

    Its row stays as long, and is looked at and written anew as often, whatever came: neither tells when that was, which
    would tell what it was (must-list 9).
    """
    left = one.without_expired(milliseconds(now))
    if milliseconds(now) >= one.gone_from and left.is_destroyed:
        return Change(None)
    return Change(seal_pending(asking.state, left), due=one.due_after(now))


def _is_own(asking: Asking, one: PendingQuestion) -> bool:
    """A node that asks itself about its canary: nobody waits for what comes of it."""
    return one.source == asking.oin


def _waits(asking: Asking, one: PendingQuestion) -> Waits | None:
    if _is_own(asking, one):
        return None
    return Waits(case_tag(asking.case_key, one.case), one.officer, one.purpose)


def _missed(event: logs.Event, one: PendingQuestion, error: BekendError) -> None:
    logs.log(
        event,
        trace=one.question_id.hex(),
        source=one.source,
        purpose=one.purpose,
        code=code_name(error.code),
        detail=error.detail,
    )
