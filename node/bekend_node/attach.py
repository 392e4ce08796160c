"""The node's standing line to each replica of the broker: questions come in over it, answers go back.

    node                                  broker
      | PublishManifest -------------------->|
      | Attach: Hello{versions, covenant} -->|
      |<------------------------- Welcome ---|
      |<--------------- EvaluatedQuestion ---| each answered by itself
      | SealedAnswer or Failure ------------>|
      |<---- RoutedRelease, RoutedCollect ---| where a colleague decides
      | RoutedCollected or Failure --------->|
      |<----------------------- PushOrder ---| the filter goes over a stream of its own
      |<---------------- DirectoryChanged ---| something was suspended, or a new version came: fetch it now

The node dials, so no partner opens a port. A broken line is dialled again after a random pause that grows, so that a
broker that comes back is not met by everybody at once.
"""

import asyncio
import contextlib
import random
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

import grpc
import grpc.aio
from bekend_proto import logs
from bekend_proto.errors import BekendError, FencedError, UnreachableError, VersionError, code_name, from_rpc_error
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2

from bekend_node.answer.answerer import Answerer
from bekend_node.answer.collects import Collects
from bekend_node.answer.intake import Intake
from bekend_node.answer.push import Pusher
from bekend_node.broker_link import BrokerLink
from bekend_node.metrics import NodeMetrics
from bekend_node.rules import RulesInForce

VERSIONS = (1,)
AT_ONCE = 256
"""Questions under way at once; more wait in the stream."""
HELLO_SECONDS = 10.0
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 30.0
LOOK_PAUSE = 1.0
"""From this pause on it is found out what stands between: a broker that restarts has enough to do."""

_Call = grpc.aio.StreamStreamCall[broker_pb2.AttachRequest, broker_pb2.AttachResponse]


@dataclass
class Attachment:
    """The line to one replica. `run` keeps it up until cancelled; `again` dials anew, as after a reload."""

    link: BrokerLink
    rules: RulesInForce
    answerer: Answerer
    pusher: Pusher
    intake: Intake
    collects: Collects
    metrics: NodeMetrics
    changed: Callable[[], Coroutine[Any, Any, None]]
    """Fetches the directory, and takes what is suspended; never raises."""
    fenced: Callable[[str, FencedError], None] = lambda _broker, fault: None
    """Called when another machine took the place of this one: it attaches no more."""
    attached: asyncio.Event = field(default_factory=asyncio.Event)
    _since: float = 0.0
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _calls: "set[_Call]" = field(default_factory=set)
    _leaving: set[asyncio.Task[BekendError]] = field(default_factory=set)
    _again: asyncio.Event = field(default_factory=asyncio.Event)
    _draining: bool = False

    async def run(self) -> None:
        """Attach, serve, and attach again, for ever."""
        pause = FIRST_PAUSE
        try:
            while not self._draining:
                fault = await self._serve_until_again()
                if fault is None:
                    continue
                if self.attached.is_set():
                    pause = FIRST_PAUSE
                self.attached.clear()
                self.metrics.attached(self.link.address, now=False)
                if self._draining:
                    return
                if isinstance(fault, FencedError):
                    self.fenced(self.link.address, fault)
                    return
                detail = await self._why(fault, pause)
                log(logs.ATTACH_LOST, broker=self.link.address, code=code_name(fault.code), detail=detail)
                # Spread, not secret.
                await asyncio.sleep(random.uniform(pause / 2, pause))  # noqa: S311
                pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            for task in self._leaving:
                task.cancel()

    def settled(self) -> float:
        """How far the other nodes can have come back to this replica too, by the time that this line stands.

        From 0, not attached, to 1: it has stood for the longest pause between two tries.
        """
        stands = asyncio.get_running_loop().time() - self._since if self.attached.is_set() else 0.0
        return min(1.0, stands / LONGEST_PAUSE)

    def again(self) -> None:
        """Attach anew, with covenant and certificates as they are now.

        What came over the stream of before is answered over it: the broker ends it once it has all of that.
        """
        self.attached.clear()
        self._again.set()

    async def _serve_until_again(self) -> BekendError | None:
        """What ended the stream; None when it goes on beside the next one."""
        self._again.clear()
        serving, again = asyncio.ensure_future(self._ending()), asyncio.ensure_future(self._again.wait())
        try:
            await asyncio.wait((serving, again), return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            serving.cancel()
            raise
        finally:
            again.cancel()
        if serving.done():
            return serving.result()
        self._leaving.add(serving)
        serving.add_done_callback(self._leaving.discard)
        return None

    async def _ending(self) -> BekendError:
        try:
            await self._serve_once()
        except BekendError as error:
            return error
        return UnreachableError("the broker ended the stream")

    async def drain(self, seconds: float) -> None:
        """Answer what is under way, then end the stream."""
        self._draining = True
        if self._tasks:
            await asyncio.wait(tuple(self._tasks), timeout=seconds)
        for task in tuple(self._tasks):
            task.cancel()
        for call in tuple(self._calls):
            with contextlib.suppress(asyncio.InvalidStateError, grpc.RpcError, TimeoutError):
                await asyncio.wait_for(call.done_writing(), HELLO_SECONDS)
            call.cancel()

    async def _why(self, fault: BekendError, pause: float) -> str:
        """What stands between, once dialling failed a few times: a proxy, TLS inspection, an unfit certificate."""
        if isinstance(fault, UnreachableError) and pause >= LOOK_PAUSE and not (found := await self.link.look()).good:
            return found.detail
        return fault.detail

    async def _serve_once(self) -> None:
        call: _Call | None = None
        try:
            await self._publish()
            call = self.link.stub.Attach()
            self._calls.add(call)
            rules = self.rules.now
            hello = broker_pb2.Hello(
                protocol_versions=VERSIONS, covenant_hash=rules.covenant.hash, manifest=rules.manifest.number
            )
            await call.write(broker_pb2.AttachRequest(hello=hello))
            first = await asyncio.wait_for(_next(call), HELLO_SECONDS)
            if first is None or first.welcome.protocol_version not in VERSIONS:
                raise VersionError("the broker speaks no protocol version of this node")
            self._since = asyncio.get_running_loop().time()
            self.attached.set()
            self.metrics.attached(self.link.address, now=True)
            log(logs.ATTACHED, broker=self.link.address)
            await self._receive(call)
        except grpc.RpcError as fault:
            raise from_rpc_error(fault) from fault
        except (TimeoutError, asyncio.InvalidStateError) as fault:
            raise UnreachableError("the broker did not welcome this node in time") from fault
        except asyncio.CancelledError:
            # A channel that went takes its calls along; this task goes on.
            task = asyncio.current_task()
            if task is not None and task.cancelling():
                raise
        finally:
            if call is not None:
                call.cancel()
                self._calls.discard(call)

    async def _publish(self) -> None:
        try:
            await self.link.stub.PublishManifest(
                broker_pb2.PublishManifestRequest(manifest=self.rules.now.manifest_note), timeout=HELLO_SECONDS
            )
        except grpc.RpcError as fault:
            error = from_rpc_error(fault)
            if isinstance(error, UnreachableError):
                raise error from fault
            # The broker may have a newer one already; Hello says whether this one will do.
            log(
                logs.PUBLISH_REFUSED,
                broker=self.link.address,
                code=code_name(error.code),
                detail=error.detail,
            )

    async def _receive(self, call: "_Call") -> None:
        slots = asyncio.Semaphore(AT_ONCE)
        writing = asyncio.Lock()
        # What changed while the line was broken.
        await slots.acquire()
        self._start(self.changed(), slots)
        while not self._draining:
            await slots.acquire()
            message = await _next(call)
            if message is None:
                return
            if message.HasField("question"):
                self._start(self._question(message.question, call, writing), slots)
            elif (work := self._other(message, call, writing)) is not None:
                self._start(work, slots)
            else:
                slots.release()

    def _other(
        self, message: broker_pb2.AttachResponse, call: "_Call", writing: asyncio.Lock
    ) -> Coroutine[Any, Any, None] | None:
        if message.HasField("push"):
            return self.pusher.push(message.push, self.link)
        if message.HasField("release"):
            return self._exchange(self.intake.release(message.release), call, writing)
        if message.HasField("collect"):
            return self._exchange(self.collects.collect(message.collect), call, writing)
        return self.changed() if message.HasField("directory_changed") else None

    def _start(self, work: Coroutine[Any, Any, None], slots: asyncio.Semaphore) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)

        def done(ended: asyncio.Task[None]) -> None:
            self._tasks.discard(ended)
            slots.release()

        task.add_done_callback(done)

    async def _question(self, message: broker_pb2.EvaluatedQuestion, call: "_Call", writing: asyncio.Lock) -> None:
        reply = await self.answerer.answer(message)
        if isinstance(reply, broker_pb2.SealedAnswer):
            request = broker_pb2.AttachRequest(answer=reply)
        else:
            request = broker_pb2.AttachRequest(failure=reply)
        await _write(request, call, writing)

    async def _exchange(
        self,
        work: Awaitable[broker_pb2.RoutedCollected | broker_pb2.Failure],
        call: "_Call",
        writing: asyncio.Lock,
    ) -> None:
        reply = await work
        if isinstance(reply, broker_pb2.RoutedCollected):
            request = broker_pb2.AttachRequest(collected=reply)
        else:
            request = broker_pb2.AttachRequest(failure=reply)
        await _write(request, call, writing)


async def _write(request: broker_pb2.AttachRequest, call: "_Call", writing: asyncio.Lock) -> None:
    async with writing:
        # When the stream is gone, so is whoever waited: the question counts as answered, and is not answered again.
        with contextlib.suppress(grpc.RpcError, asyncio.InvalidStateError):
            await call.write(request)


async def _next(call: "_Call") -> broker_pb2.AttachResponse | None:
    message: object = await call.read()
    return message if isinstance(message, broker_pb2.AttachResponse) else None
