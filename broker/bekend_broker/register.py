"""Attached partners: one long-lived stream per source, over which it gets questions and answers them.

    source                              broker
      | Hello{versions, covenant} ------->| certificate, covenant, manifest number
      |<-------------- Welcome{version} --|
      |<------- EvaluatedQuestion, PushOrder, DirectoryChanged, ...
      | SealedAnswer, Failure ----------->| to the lookup that asked, once
      |<------- RoutedRelease, RoutedCollect
      | RoutedCollected, Failure -------->| to the release or collect that waits, once

A second Attach of an OIN replaces the first: a node that comes back after a broken line does not wait for the
broker to notice. The first gets nothing new and ends when what went out over it was answered, or is too late: a node
that dials anew with another certificate loses no question. A reply counts only on the stream over which its question,
release or collect went out, so no source can answer for another, nor twice (protocol section 12, items 4 and 6).
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final

from bekend_proto import logs
from bekend_proto.collecting import COLLECTED_BOX
from bekend_proto.errors import (
    BekendError,
    CovenantError,
    FencedError,
    KeysError,
    MalformedError,
    UnreachableError,
    VersionError,
    error_of,
)
from bekend_proto.interceptors import Caller
from bekend_proto.v1.broker_pb2 import (
    AttachRequest,
    AttachResponse,
    DirectoryChanged,
    EvaluatedQuestion,
    Failure,
    Hello,
    LookupResponse,
    PushOrder,
    RoutedCollect,
    RoutedRelease,
    SealedAnswer,
    Welcome,
)
from bekend_proto.v1.errors_pb2 import ERROR_CODE_MALFORMED, ERROR_CODE_UNREACHABLE, ErrorCode

from bekend_broker.directory import Directory
from bekend_broker.editions import PROTOCOL_VERSIONS
from bekend_broker.metrics import Metrics
from bekend_broker.streams import first_message

QUEUE: Final = 1024
"""Messages that may wait for a source. One that reads slower than this is as good as gone."""

REPLY_SECONDS: Final = 5.0
"""How long a stream that was replaced may still bring what it was asked (the reply deadline of the protocol)."""

MAX_BOX: Final = 8192
"""Octets of a sealed Answer at most: eight persons need a quarter of it."""

Reply = Callable[[LookupResponse], None]
"""Where the reply to one question goes."""


class Attachment:
    """One source's stream. All methods run on the event loop."""

    def __init__(self, oin: str, covenant_hash: bytes) -> None:
        self.oin = oin
        self.covenant_hash = covenant_hash
        self.ended: BekendError | None = None
        self._gone = False
        self._leaving: BekendError | None = None
        self._outgoing: asyncio.Queue[AttachResponse | None] = asyncio.Queue(QUEUE)
        self._waiting: dict[bytes, Reply] = {}
        self._exchanges: dict[bytes, asyncio.Future[bytes]] = {}

    def ask(self, question_id: bytes, question: EvaluatedQuestion, reply: Reply) -> None:
        """Send a question; `reply` is called once, unless it is forgotten first.

        Raises UnreachableError when the source went away or does not keep up.
        """
        self._send(AttachResponse(question=question))
        self._waiting[question_id] = reply

    def order(self, push: PushOrder) -> None:
        """Tell the source to push its filter. Raises UnreachableError when it went away or does not keep up."""
        self._send(AttachResponse(push=push))

    def notify(self) -> None:
        """Tell the node to fetch the directory. Raises UnreachableError when it went away or does not keep up."""
        self._send(AttachResponse(directory_changed=DirectoryChanged()))

    def exchange(self, message: RoutedRelease | RoutedCollect) -> "asyncio.Future[bytes]":
        """Send a release or collect; the box of the reply, or the BekendError that ended the exchange.

        Raises UnreachableError when the source went away or does not keep up.
        """
        if isinstance(message, RoutedRelease):
            self._send(AttachResponse(release=message))
        else:
            self._send(AttachResponse(collect=message))
        reply: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._exchanges[message.exchange_id] = reply
        return reply

    def forget(self, name: bytes) -> None:
        """Drop a question or exchange: a reply that comes later goes nowhere."""
        self._waiting.pop(name, None)
        self._exchanges.pop(name, None)
        self._settled()

    def take(self, message: AttachRequest) -> bool:
        """Hand a reply to who waits for it; False when nobody does. Raises MalformedError for other messages."""
        kind = message.WhichOneof("kind")
        if kind == "answer":
            return self._reply(message.answer.question_id, _checked(message.answer))
        if kind == "collected":
            box = message.collected.box
            fits = len(box) == COLLECTED_BOX
            return self._settle(
                message.collected.exchange_id, box if fits else MalformedError("a reply has one length")
            )
        if kind == "failure":
            name = message.failure.question_id
            code = message.failure.code if message.failure.code in ErrorCode.values() else ERROR_CODE_MALFORMED
            if self._settle(name, error_of(code, f"{self.oin} gives no reply")):
                return True
            return self._reply(name, LookupResponse(failure=Failure(question_id=name, code=code)))
        raise MalformedError("after Hello a source sends answers, replies and failures only")

    def end(self, reason: BekendError | None = None) -> None:
        """Stop sending; everything that waits gets no reply, at once."""
        if self._gone:
            return
        self._gone = True
        self.ended = reason
        waiting, self._waiting = self._waiting, {}
        for question_id, reply in waiting.items():
            reply(LookupResponse(failure=Failure(question_id=question_id, code=ERROR_CODE_UNREACHABLE)))
        for exchange_id in list(self._exchanges):
            self._settle(exchange_id, UnreachableError(f"{self.oin} went away"))
        if not self._outgoing.full():
            self._outgoing.put_nowait(None)

    def leave(self, reason: BekendError, seconds: float) -> None:
        """Send nothing more; end when nothing waits any more, after so many seconds at the most."""
        self._leaving = reason
        self._settled()
        if not self._gone:
            asyncio.get_running_loop().call_later(seconds, self.end, reason)

    def _settled(self) -> None:
        if self._leaving is not None and not self._waiting and not self._exchanges:
            self.end(self._leaving)

    async def outgoing(self) -> AsyncIterator[AttachResponse]:
        """What is sent to the source, until the end."""
        while not self._gone:
            message = await self._outgoing.get()
            if message is not None:
                yield message

    def _send(self, message: AttachResponse) -> None:
        if self._gone:
            raise UnreachableError(f"{self.oin} went away")
        try:
            self._outgoing.put_nowait(message)
        except asyncio.QueueFull:
            self.end(UnreachableError(f"{self.oin} does not read its stream"))
            raise UnreachableError(f"{self.oin} does not read its stream") from None

    def _reply(self, question_id: bytes, response: LookupResponse) -> bool:
        reply = self._waiting.pop(question_id, None)
        if reply is None:
            return False
        reply(response)
        self._settled()
        return True

    def _settle(self, exchange_id: bytes, outcome: bytes | BekendError) -> bool:
        reply = self._exchanges.pop(exchange_id, None)
        if reply is None or reply.done():
            return False
        if isinstance(outcome, BekendError):
            reply.set_exception(outcome)
        else:
            reply.set_result(outcome)
        self._settled()
        return True


class Register:
    """The sources that are attached to this replica now."""

    def __init__(self, directory: Directory, metrics: Metrics, hello_seconds: float) -> None:
        self._directory = directory
        self._metrics = metrics
        self._hello_seconds = hello_seconds
        self._attached: dict[str, Attachment] = {}

    def find(self, oin: str) -> Attachment:
        """The source's stream. Raises UnreachableError when it is not attached."""
        attachment = self._attached.get(oin)
        if attachment is None:
            raise UnreachableError(f"{oin} is not attached")
        return attachment

    @property
    def attached(self) -> frozenset[str]:
        """The sources that are attached now."""
        return frozenset(self._attached)

    def is_attached(self, oin: str) -> bool:
        """Whether the source is attached now."""
        return oin in self._attached

    async def attach(self, call: Caller, requests: AsyncIterator[AttachRequest]) -> AsyncIterator[AttachResponse]:
        """Serve one Attach to its end.

        Raises VersionError, CovenantError, KeysError and MalformedError on a Hello that does not fit, UnreachableError
        when a newer Attach takes its place or the broker stops, and FencedError when another machine took its place.
        """
        caller = call.oin
        first = await first_message(requests, self._hello_seconds, "Hello")
        if first.WhichOneof("kind") != "hello":
            raise MalformedError("the first message of an Attach is Hello")
        version = self._check(caller, first.hello)
        took_over = await self._directory.take_incarnation(call)
        attachment = Attachment(caller, first.hello.covenant_hash)
        self._put(attachment, took_over=took_over)
        reader = asyncio.create_task(self._read(attachment, requests))
        try:
            yield AttachResponse(welcome=Welcome(protocol_version=version))
            async for message in attachment.outgoing():
                yield message
            if attachment.ended is not None:
                raise attachment.ended
            if reader.done() and not reader.cancelled():
                reader.result()
        finally:
            reader.cancel()
            self._remove(attachment)

    def directory_changed(self) -> None:
        """Tell every node to fetch the directory. One that does not keep up fetches it when it attaches again."""
        for attachment in list(self._attached.values()):
            with contextlib.suppress(UnreachableError):
                attachment.notify()

    def end_other_covenants(self, in_service: Collection[bytes]) -> None:
        """Send away the sources whose version of the covenant is in service no more."""
        for attachment in list(self._attached.values()):
            if attachment.covenant_hash not in in_service:
                attachment.end(CovenantError("another covenant came into service: load it and attach again"))

    def end_all(self) -> None:
        """Send every source away: the broker stops."""
        for attachment in list(self._attached.values()):
            attachment.end(UnreachableError("the broker stops: attach again"))

    def _check(self, caller: str, hello: Hello) -> int:
        common = PROTOCOL_VERSIONS & frozenset(hello.protocol_versions)
        if not common:
            raise VersionError(f"{caller} speaks none of the protocol versions {sorted(PROTOCOL_VERSIONS)}")
        self._directory.present.under(hello.covenant_hash)
        number = self._directory.manifest_of(caller).number
        if hello.manifest != number:
            raise KeysError(f"{caller} goes by its manifest {hello.manifest}, the directory has {number}")
        return max(common)

    def _put(self, attachment: Attachment, *, took_over: bool) -> None:
        earlier = self._attached.get(attachment.oin)
        self._attached[attachment.oin] = attachment
        if earlier is not None and took_over:
            earlier.end(FencedError("another machine took the place of this one"))
        elif earlier is not None:
            earlier.leave(UnreachableError("a newer Attach of this OIN took the place of this one"), REPLY_SECONDS)
        self._metrics.attachments(frozenset(self._attached))
        logs.log(logs.SOURCE_ATTACHED, oin=attachment.oin, replaced=earlier is not None)

    def _remove(self, attachment: Attachment) -> None:
        attachment.end()
        if self._attached.get(attachment.oin) is attachment:
            del self._attached[attachment.oin]
            logs.log(logs.SOURCE_DETACHED, oin=attachment.oin)
        self._metrics.attachments(frozenset(self._attached))

    async def _read(self, attachment: Attachment, requests: AsyncIterator[AttachRequest]) -> None:
        try:
            async for message in requests:
                if not attachment.take(message):
                    # After the deadline this is ordinary; it is also what an answer to another's question looks like.
                    self._metrics.unclaimed.inc()
        finally:
            attachment.end()


def _checked(answer: SealedAnswer) -> LookupResponse:
    """The answer as it goes on, unread; one of impossible lengths is a fault of its source."""
    if len(answer.x25519) == 32 and len(answer.mlkem) == 1088 and len(answer.box) <= MAX_BOX:
        return LookupResponse(answer=answer)
    return LookupResponse(failure=Failure(question_id=answer.question_id, code=ERROR_CODE_MALFORMED))
