"""Questions go out and replies come in, until each Question has one or the deadline passes; step (10) for each Answer.

An Answer from a filter that is at hand is looked up at once. What takes more than that goes on by itself, while others
come: a filter that switched meanwhile is fetched, a colleague at the source is told who is meant.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Sequence
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import from_milliseconds
from bekend_proto.errors import BekendError, DeadlineError, InternalError, MalformedError, UnreachableError, error_of
from bekend_proto.v1 import broker_pb2, signed_pb2
from google.protobuf.message import DecodeError

from bekend_node.ask import answers
from bekend_node.ask.asks import Ask
from bekend_node.ask.broker_line import BrokerLine, LookupCall
from bekend_node.ask.filters_held import FilterShelf, HeldFilter
from bekend_node.ask.messages import Pending
from bekend_node.ask.outcomes import BROKER, OWN, PARTNER
from bekend_node.ask.release import Naming, name_persons
from bekend_node.ask.telling import Telling
from bekend_node.classes import FilterId

REPLY_SECONDS: Final = 5.0
"""The reply deadline (protocol, parameters)."""
MARGIN_SECONDS: Final = 1.0
"""The broker's own notice of a missed deadline may still arrive within this."""


class Replies:
    """What comes of one Begin. `line`: the replica that it went over; `lines`: all of them."""

    def __init__(
        self, naming: Naming, shelf: FilterShelf, telling: Telling, line: BrokerLine, lines: Sequence[BrokerLine]
    ) -> None:
        self.begin_id = naming.begin_id
        self.hashes: dict[str, bytes] = {}
        """Of the Questions that left, by source."""
        self.answered: set[str] = set()
        """Sources whose Answer was theirs."""
        self.promises: list[signed_pb2.Signed] = []
        self._naming = naming
        self._asking = naming.asking
        self._on_behalf_of = naming.inquiry.on_behalf_of
        self._filter = FilterId(naming.plan.purpose.id, naming.plan.kind_class)
        self._shelf = shelf
        self._telling = telling
        self._line = line
        self._lines = lines
        self._pending: dict[bytes, Pending] = {}
        self._following: set[asyncio.Task[None]] = set()
        self._more = False
        self._asks = 0
        self._own_fault: BekendError | None = None

    async def collect(
        self,
        call: LookupCall,
        first: Ask,
        rest: AsyncIterator[Ask],
        sources: Collection[str],
        asked: Callable[[], None],
    ) -> None:
        """Give every one of `sources`, all to be asked, its outcome. `asked` is called when the first Ask left."""
        sending: asyncio.Task[None] | None = None
        try:
            async with asyncio.timeout(REPLY_SECONDS + MARGIN_SECONDS) as patience:
                try:
                    await self._send(call, first)
                    asked()
                    if self._more:
                        sending = asyncio.create_task(self._send_rest(call, rest, patience))
                    await self._take_all(call)
                except BekendError as error:
                    if sending is not None:
                        sending.cancel()
                    self._give_up(error, sources)
                if self._following:
                    await asyncio.wait(self._following)
        except TimeoutError:
            late = DeadlineError("no reply within the deadline")
            self._give_up(self._own_fault or late, sources, OWN if self._own_fault else PARTNER)
        finally:
            for task in (*self._following, *([sending] if sending else [])):
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def promised(self) -> set[bytes]:
        """Hashes of the Questions that the broker's promises name. Whether they are promises, the witness finds out."""
        found: set[bytes] = set()
        for promise in self.promises:
            with contextlib.suppress(DecodeError):
                found |= {one.question_hash for one in signed_pb2.InclusionPromise.FromString(promise.payload).promised}
        return found

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
        self._asks += 1
        self._telling.question_ids |= {one.source.oin: one.question_id for one in pending}
        self.hashes |= {one.source.oin: one.question_hash for one in pending}
        self._pending |= {one.question_id: one for one in pending}
        questions = [one.routed for one in pending]
        await call.write(broker_pb2.LookupRequest(ask=broker_pb2.Ask(questions=questions, more=self._more)))

    async def _take_all(self, call: LookupCall) -> None:
        while self._pending or self._more:
            reply = await call.read()
            if reply is None:
                raise UnreachableError("the broker ended the lookup")
            self._take(reply)

    def _take(self, reply: broker_pb2.LookupResponse) -> None:
        # One per Ask is owed: what else comes would be kept on the disk.
        if reply.HasField("promise") and len(self.promises) < self._asks:
            self.promises.append(reply.promise)
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
                self._telling.fault(pending.source.oin, error)
        else:
            raise MalformedError("the broker sent something that is no reply")

    def _answer(self, pending: Pending, message: broker_pb2.SealedAnswer) -> None:
        """Verify, unblind and look up; what takes more than that goes on by itself."""
        oin = pending.source.oin
        try:
            # (10): signature and fields; then proof, and what the version is that it names.
            answer = answers.open_answer(pending, self._asking.oin, message)
            self.answered.add(oin)
            self._asking.heads.hear(answer.checkpoint, oin)
            held = self._shelf.version(self._filter, oin, answer.filter_version)
            if held is not None and not held.by_hand:
                self._look_up(pending, answers.unblind(pending, answer, held), held)
                return
        except Exception as error:
            self._telling.fault(oin, _foreseen(error))
            return
        task = asyncio.create_task(self._follow(pending, answer, held))
        self._following.add(task)
        task.add_done_callback(self._following.discard)

    async def _follow(self, pending: Pending, answer: answers.OpenAnswer, held: HeldFilter | None) -> None:
        """The same W: against the version that the answer names, if that is still there; or names for a colleague."""
        oin = pending.source.oin
        try:
            if held is None:
                held = await self._shelf.refresh(self._filter, oin, self._on_behalf_of)
            unblinded = answers.unblind(pending, answer, held)
            if held.by_hand:
                await self._name_persons(pending, answer, unblinded)
            else:
                self._look_up(pending, unblinded, held)
        except Exception as error:
            self._telling.fault(oin, _foreseen(error))
        except asyncio.CancelledError:
            late = DeadlineError("the filter of the answer, or its source's reply, did not come in time")
            self._telling.fault(oin, late)
            raise

    def _look_up(self, pending: Pending, unblinded: Sequence[bytes], held: HeldFilter) -> None:
        hits = answers.look_up(unblinded, held)
        self._telling.found(pending.source.oin, hits, held.as_of.isoformat(), pending.source.contact)

    async def _name_persons(self, pending: Pending, answer: answers.OpenAnswer, unblinded: Sequence[bytes]) -> None:
        """Let a colleague at the source decide; the same outcome for every person, whoever that is."""
        others = [line for line in self._lines if line is not self._line and line.standing()]
        one = await name_persons(self._naming, (self._line, *others), pending, answer, unblinded)
        self._telling.pending(pending.source.oin, from_milliseconds(one.until))

    def _give_up(self, error: BekendError, sources: Iterable[str], who: str = BROKER) -> None:
        """`geen antwoord` where no reply came, and where no Question left; not where one is being looked up."""
        waiting = {pending.source.oin for pending in self._pending.values()}
        self._pending.clear()
        self._telling.give_up(error, [oin for oin in sources if oin in waiting or oin not in self.hashes], who)


def _foreseen(error: Exception) -> BekendError:
    """The fault of one source, which costs the others nothing. Of an unforeseen one the log keeps class and place."""
    if isinstance(error, BekendError):
        return error
    logs.log(logs.ANSWER_FAILED, exception=type(error).__name__, place=logs.place_of(error.__traceback__))
    return InternalError("an answer could not be handled")
