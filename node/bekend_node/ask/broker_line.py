"""The requester's line to one replica of the broker: the calls that asking needs, and their faults as ours.

Only this file knows gRPC on the asking side; the flow talks to the two protocols below.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Iterable
from typing import Any, Protocol, TypeVar

import grpc
import grpc.aio
from bekend_proto import trace
from bekend_proto.errors import UnreachableError, from_rpc_error
from bekend_proto.v1 import broker_pb2

from bekend_node.broker_link import BrokerLink

_Response = TypeVar("_Response")

READY_WITHIN = 1.0
"""Seconds that a replica gets to stand ready before the next one is tried."""
FAILOVER_SECONDS = 1.0
"""How long a replica may say nothing while another stands."""
AVOIDED_SECONDS = 30.0
"""How long a replica that let a Begin wait comes after the others."""

Rank = tuple[bool, bool, float, int]


class LookupCall(Protocol):
    """One `Lookup` stream. Every fault of the transport comes out as a BekendError."""

    async def write(self, request: broker_pb2.LookupRequest) -> None:
        """Send one message."""
        ...

    async def read(self) -> broker_pb2.LookupResponse | None:
        """The next message; None when the broker has ended the stream."""
        ...

    async def close(self) -> None:
        """End the stream, whatever its state."""
        ...


class BrokerLine(Protocol):
    """One replica of the broker."""

    def standing(self) -> bool:
        """Whether the line stands at this moment."""
        ...

    async def ready(self) -> bool:
        """Whether the replica can be spoken to now; waits a moment for a line that is being made."""
        ...

    def rank(self, sources: Collection[str]) -> Rank:
        """Where it comes among the replicas when these sources are asked: the lowest first."""
        ...

    def avoid(self) -> None:
        """It let somebody wait: for a while it comes after the others."""
        ...

    def lookup(self, seconds: float, begin_id: bytes) -> LookupCall:
        """Open a lookup that ends by itself after this many seconds; its trace has the id of its Begin."""
        ...

    def fetch(self, request: broker_pb2.FetchRequest, seconds: float) -> AsyncIterator[broker_pb2.FilterPiece]:
        """The pieces of a source's filter. Raises BekendError while iterating."""
        ...

    async def release(self, request: broker_pb2.ReleaseRequest, seconds: float) -> broker_pb2.ReleaseResponse:
        """Name persons to a source where a colleague decides, or take back what was named. Raises BekendError."""
        ...

    async def collect(self, request: broker_pb2.CollectRequest, seconds: float) -> broker_pb2.CollectResponse:
        """Ask such a source what was decided. Raises BekendError."""
        ...


def patience_beside(others: Iterable[BrokerLine], seconds: float) -> float:
    """How long a replica may say nothing: so many seconds, or FAILOVER_SECONDS while another stands."""
    return FAILOVER_SECONDS if any(other.standing() for other in others) else seconds


class GrpcLookupCall:
    """A LookupCall over grpc.aio."""

    def __init__(self, call: "grpc.aio.StreamStreamCall[broker_pb2.LookupRequest, broker_pb2.LookupResponse]") -> None:
        self._call = call

    async def write(self, request: broker_pb2.LookupRequest) -> None:
        """Send one message."""
        try:
            await self._call.write(request)
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        except asyncio.InvalidStateError:
            # The stream ended before this message: its status says why.
            raise await self._ending() from None

    async def read(self) -> broker_pb2.LookupResponse | None:
        """The next message; None when the broker has ended the stream."""
        try:
            message = await self._call.read()
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        return message if isinstance(message, broker_pb2.LookupResponse) else None

    async def close(self) -> None:
        """End the stream, whatever its state."""
        self._call.cancel()

    async def _ending(self) -> Exception:
        try:
            await self._call.read()
        except grpc.RpcError as error:
            return from_rpc_error(error)
        return UnreachableError("the broker ended the lookup")


class GrpcLine:
    """A BrokerLine over a node's link to one replica; channel and stub are taken anew per call, as the link asks."""

    def __init__(
        self,
        link: BrokerLink,
        settled: Callable[[], float] = lambda: 1.0,
        attached: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        """`settled`: how far (0 to 1) sources can have attached to it; `attached`: those that have, as last heard."""
        self._link = link
        self._settled = settled
        self._attached = attached
        self._avoided_until = 0.0

    def standing(self) -> bool:
        """Whether the channel stands; if not, it is dialled from now on."""
        return self._link.standing()

    async def ready(self) -> bool:
        """Whether the channel stands, waiting for it READY_WITHIN seconds at the most."""
        if self.standing():
            return True
        try:
            await asyncio.wait_for(self._link.ready(), READY_WITHIN)
        except TimeoutError:
            return False
        return True

    def rank(self, sources: Collection[str]) -> Rank:
        """Whether it is down; whether it was slow; how far others can have come back to it; how many sources it lacks.

        A replica that comes back is attached to by node after node, within half a minute: until then another knows
        more of them.
        """
        avoided = asyncio.get_running_loop().time() < self._avoided_until
        missing = len(set(sources) - set(self._attached()))
        return not self.standing(), avoided, -self._settled(), missing

    def avoid(self) -> None:
        """It let somebody wait: for AVOIDED_SECONDS it comes after the others."""
        self._avoided_until = asyncio.get_running_loop().time() + AVOIDED_SECONDS

    def lookup(self, seconds: float, begin_id: bytes) -> LookupCall:
        """Open a lookup that ends by itself after this many seconds; its trace has the id of its Begin."""
        context = trace.traceparent(begin_id, trace.span_of(begin_id, trace.REQUESTER))
        return GrpcLookupCall(self._link.stub.Lookup(timeout=seconds, metadata=((trace.HEADER, context),)))

    async def fetch(self, request: broker_pb2.FetchRequest, seconds: float) -> AsyncIterator[broker_pb2.FilterPiece]:
        """The pieces of a source's filter. Raises BekendError while iterating."""
        call = self._link.stub.Fetch(request, timeout=seconds)
        try:
            async for response in call:
                yield response.piece
        except grpc.RpcError as error:
            raise from_rpc_error(error) from None
        finally:
            call.cancel()

    async def release(self, request: broker_pb2.ReleaseRequest, seconds: float) -> broker_pb2.ReleaseResponse:
        """Name persons to a source where a colleague decides, or take back what was named. Raises BekendError."""
        return await _reply(self._link.stub.Release(request, timeout=seconds))

    async def collect(self, request: broker_pb2.CollectRequest, seconds: float) -> broker_pb2.CollectResponse:
        """Ask such a source what was decided. Raises BekendError."""
        return await _reply(self._link.stub.Collect(request, timeout=seconds))


async def _reply(call: "grpc.aio.UnaryUnaryCall[Any, _Response]") -> _Response:
    try:
        return await call
    except grpc.RpcError as error:
        raise from_rpc_error(error) from None
