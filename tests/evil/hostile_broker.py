"""A broker that may do anything with what passes through its hands.

It is the real broker with the real keys; a `Hands` object sees every message on its way and may change, drop, keep,
repeat or invent it. Nothing of the shipped code knows of it: the service is wrapped here.
"""

from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

from bekend_broker import app
from bekend_broker.app import Broker
from bekend_broker.begins import Opened
from bekend_broker.lookup import Lookups, _UnderWay
from bekend_broker.questions import Checked
from bekend_broker.service import BrokerService
from bekend_broker.transfer import Transfers
from bekend_proto.clock import day_of
from bekend_proto.group import multiply
from bekend_proto.interceptors import current_call, current_caller
from bekend_proto.v1.broker_pb2 import (
    Ask,
    AttachRequest,
    AttachResponse,
    Begun,
    CollectRequest,
    CollectResponse,
    EnrolRequest,
    EnrolResponse,
    EvaluatedChunk,
    FetchRequest,
    FetchResponse,
    FilterPiece,
    GetDirectoryRequest,
    GetDirectoryResponse,
    LookupRequest,
    LookupResponse,
    ReleaseRequest,
    ReleaseResponse,
)
from bekend_proto.v1.signed_pb2 import Begin, FetchOrder, Question, Signed

from tests.evil.world import World, broker_of


class Hands:
    """Honest ones: everything is passed on as it is. Subclasses replace what they spoil."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.broker: Any = None

    def begin(self, signed: Signed) -> Signed:
        """A Begin on its way in."""
        return signed

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        """The reply to a Begin."""
        return begun

    def ask(self, ask: Ask) -> Ask:
        """The questions of a lookup, on their way in."""
        return ask

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        """What a source is sent."""
        return [message]

    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        """What a source says."""
        return [message]

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        """What a requester is sent after its Begun."""
        return [message]

    def release(self, request: ReleaseRequest) -> ReleaseRequest:
        """A release on its way in."""
        return request

    def collect(self, request: CollectRequest) -> CollectRequest:
        """A collect on its way in."""
        return request

    def collected(self, box: bytes) -> bytes:
        """The reply to a release or collect on its way to the requester."""
        return box

    def directory(self, response: GetDirectoryResponse) -> GetDirectoryResponse:
        """The directory that everybody is given."""
        return response

    def pieces(self, pieces: Sequence[FilterPiece]) -> Iterable[FilterPiece]:
        """A whole filter on its way to a requester."""
        return pieces

    def chunk(self, source: str, chunk: EvaluatedChunk) -> EvaluatedChunk:
        """Evaluated elements of an import."""
        return chunk


class Stage:
    """Whose hands the broker is in now; a test may change them while it runs."""

    def __init__(self, world: World, hands: Hands | None = None) -> None:
        self.world = world
        self.broker: Any = None
        self.faults: list[BaseException] = []
        self.take(hands or Hands(world))

    def take(self, hands: Hands) -> None:
        """Put it in these hands."""
        self.hands = hands
        hands.broker = self.broker

    def do(self, name: str, *args: Any) -> Any:
        """What the hands make of it. A hand that stumbles is a fault of the test, and told at the end."""
        try:
            made = getattr(self.hands, name)(*args)
            return list(made) if name in _SEVERAL else made
        except Exception as fault:
            self.faults.append(fault)
            raise


_SEVERAL = {"to_source", "from_source", "to_requester", "pieces"}


class _Wrapped(BrokerService):
    def __init__(self, stage: Stage, **parts: Any) -> None:
        super().__init__(**parts)
        self._stage = stage

    async def GetDirectory(self, request: GetDirectoryRequest, context: Any) -> GetDirectoryResponse:
        changed: GetDirectoryResponse = self._stage.do("directory", await super().GetDirectory(request, context))
        return changed

    async def Attach(
        self, request_iterator: AsyncIterator[AttachRequest], context: Any
    ) -> AsyncIterator[AttachResponse]:
        source = current_caller()

        async def said() -> AsyncIterator[AttachRequest]:
            async for request in request_iterator:
                if request.HasField("hello"):
                    yield request
                    continue
                for passed in self._stage.do("from_source", source, request):
                    yield passed

        async for response in self._register.attach(current_call(), said()):
            if response.HasField("welcome"):
                yield response
                continue
            for passed in self._stage.do("to_source", source, response):
                yield passed

    async def Lookup(
        self, request_iterator: AsyncIterator[LookupRequest], context: Any
    ) -> AsyncIterator[LookupResponse]:
        begins: list[Signed] = []

        async def said() -> AsyncIterator[LookupRequest]:
            async for request in request_iterator:
                if request.HasField("begin"):
                    begins.append(request.begin)
                    yield LookupRequest(begin=self._stage.do("begin", request.begin))
                else:
                    yield LookupRequest(ask=self._stage.do("ask", request.ask))

        async for response in self._lookups.run(current_caller(), said()):
            if response.HasField("begun"):
                begin = Begin.FromString(begins[0].payload)
                begun = self._stage.do("begun", begin, response.begun)
                yield LookupResponse(begun=begun, takes_several=response.takes_several)
                continue
            for passed in self._stage.do("to_requester", response):
                yield passed

    async def Fetch(self, request: FetchRequest, context: Any) -> AsyncIterator[FetchResponse]:
        pieces = [response.piece async for response in self._transfers.fetch(current_caller(), request)]
        for piece in self._stage.do("pieces", pieces):
            yield FetchResponse(piece=piece)

    async def Enrol(self, request_iterator: AsyncIterator[EnrolRequest], context: Any) -> AsyncIterator[EnrolResponse]:
        source = current_caller()
        async for response in self._enrolments.run(current_call(), request_iterator):
            if response.HasField("chunk"):
                yield EnrolResponse(chunk=self._stage.do("chunk", source, response.chunk))
            else:
                yield response

    async def Release(self, request: ReleaseRequest, context: Any) -> ReleaseResponse:
        response = await self._releases.release(current_caller(), self._stage.do("release", request))
        return ReleaseResponse(box=self._stage.do("collected", response.box))

    async def Collect(self, request: CollectRequest, context: Any) -> CollectResponse:
        response = await self._releases.collect(current_caller(), self._stage.do("collect", request))
        return CollectResponse(box=self._stage.do("collected", response.box))


class BlindLookups(Lookups):
    """Checks nothing, logs nothing, evaluates whatever comes: the source stands alone."""

    async def _begin(self, caller: str, signed: Signed) -> tuple[Opened, LookupResponse]:
        begin = Begin.FromString(signed.payload)
        pair = next(iter(self._directory.present.keys.record.values()))
        opened = Opened(begin, signed, pair, day_of(self._clock.now()), canary_only=False)
        evaluated = [multiply(pair.secret, element) for element in begin.elements]
        return opened, LookupResponse(begun=Begun(evaluated=evaluated, proof=bytes(64)))

    async def _admit(self, caller: str, lookup: _UnderWay, ask: Ask) -> list[Checked]:
        return [self._unchecked(routed) for routed in ask.questions]

    def _unchecked(self, routed: Any) -> Checked:
        question = Question.FromString(routed.question.payload)
        keys = self._directory.present.keys.evaluation
        pair = keys.get((question.source, question.purpose, question.epoch)) or next(iter(keys.values()))
        # Whoever it is for: who is attached gets it.
        attached = self._register._attached
        source = question.source if question.source in attached else next(iter(attached))
        return Checked(question.question_id, source, question, routed, pair, "")


class BlindTransfers(Transfers):
    """Orders whatever filter anybody asks for."""

    async def _admit(self, caller: str, signed: Signed) -> FetchOrder:
        order = FetchOrder.FromString(signed.payload)
        if not self._register.is_attached(order.source):
            order.source = next(iter(self._register._attached))
        return order


def _class_of(stage: Stage, *, blind: bool) -> type[Broker]:
    class HostileBroker(Broker):
        async def open(self) -> None:
            stage.broker = stage.hands.broker = self
            if blind:
                self._lookups.__class__ = BlindLookups
                self._transfers.__class__ = BlindTransfers
            await super().open()

    return HostileBroker


@asynccontextmanager
async def hostile_broker(stage: Stage, data: Path, *, blind: bool = False, **limits: float) -> AsyncIterator[Broker]:
    """A running broker in the hands of the stage; a blind one also checks nothing of a lookup."""
    async with AsyncExitStack() as stack:
        with patch.object(app, "BrokerService", partial(_Wrapped, stage)):
            broker = await stack.enter_async_context(
                broker_of(stage.world, data, _class_of(stage, blind=blind), **limits)
            )
        yield broker
    assert not stage.faults, stage.faults
