"""One import's stream to the broker: chunks out, evaluated chunks back, at most four on their way.

node                                broker
  | Signed{Enrolment} --------------> certificate, signature, covenant, budget
  | <-------------- EnrolStarted
  | BlindedChunk 0 .. 3 ------------> evaluate, prove
  | <------------ EvaluatedChunk 0
  | BlindedChunk 4 ----------------->
"""

import asyncio
import contextlib
from types import TracebackType
from typing import Self

import grpc
import grpc.aio
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    CovenantError,
    KeysError,
    MalformedError,
    RefusedError,
    StaleError,
    UnreachableError,
    from_rpc_error,
)
from bekend_proto.v1 import broker_pb2, broker_pb2_grpc, signed_pb2

IN_FLIGHT = 4
"""Chunks on their way; the broker's budget has room for as many to be sent again after a crash."""
STREAM_SECONDS = 7 * 24 * 3600.0
"""An import of millions takes hours: the deadline only keeps a forgotten stream from staying for ever."""
START_SECONDS = 30.0


class EnrolLine:
    """One `Enrol` stream. Use as an async context manager; faults of the transport come out as BekendErrors."""

    def __init__(self, stub: "broker_pb2_grpc.BrokerServiceAsyncStub", enrolment: signed_pb2.Signed) -> None:
        self._stub = stub
        self._enrolment = enrolment
        self._waiting: dict[int, asyncio.Future[broker_pb2.EvaluatedChunk]] = {}
        self._slots = asyncio.Semaphore(IN_FLIGHT)
        self._writing = asyncio.Lock()
        self._fault: BekendError | None = None

    async def __aenter__(self) -> Self:
        self._call = self._stub.Enrol(timeout=STREAM_SECONDS)
        try:
            await self._write(broker_pb2.EnrolRequest(enrolment=self._enrolment))
            first = await asyncio.wait_for(self._read(), START_SECONDS)
            if first is None or not first.HasField("started"):
                raise UnreachableError("the broker did not start the import: try again")
        except TimeoutError as fault:
            self._call.cancel()
            raise UnreachableError("the broker did not start the import in time: try again") from fault
        except BekendError:
            self._call.cancel()
            raise
        self.elements_left = first.started.elements_left
        self._reader = asyncio.ensure_future(self._receive())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self._fault is None:
            await self._call.done_writing()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._reader, START_SECONDS)
        self._call.cancel()
        self._reader.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._reader

    async def evaluate(self, index: int, elements: bytes) -> broker_pb2.EvaluatedChunk:
        """Send one chunk (elements of 32 bytes, joined) and wait for its evaluation. Raises BekendError."""
        async with self._slots:
            if self._fault is not None:
                raise self._fault
            reply: asyncio.Future[broker_pb2.EvaluatedChunk] = asyncio.get_running_loop().create_future()
            self._waiting[index] = reply
            try:
                await self._write(
                    broker_pb2.EnrolRequest(chunk=broker_pb2.BlindedChunk(index=index, elements=elements))
                )
                return await reply
            finally:
                self._waiting.pop(index, None)

    async def _receive(self) -> None:
        fault: BekendError
        try:
            while (message := await self._read()) is not None:
                reply = self._waiting.get(message.chunk.index) if message.HasField("chunk") else None
                if reply is None or reply.done():
                    raise MalformedError("the broker sent a chunk that was not asked for")
                reply.set_result(message.chunk)
            fault = UnreachableError("the broker ended the import: run it again, it goes on where it stopped")
        except BekendError as error:
            fault = error
        self._fault = fault
        for reply in self._waiting.values():
            if not reply.done():
                reply.set_exception(fault)

    async def _write(self, request: broker_pb2.EnrolRequest) -> None:
        async with self._writing:
            try:
                await self._call.write(request)
            except (grpc.RpcError, asyncio.InvalidStateError):
                # The stream has ended: its status, which the reader meets, says why.
                if self._fault is not None:
                    raise self._fault from None

    async def _read(self) -> broker_pb2.EnrolResponse | None:
        try:
            message: object = await self._call.read()
        except grpc.RpcError as fault:
            raise _explained(from_rpc_error(fault)) from fault
        return message if isinstance(message, broker_pb2.EnrolResponse) else None


_REMEDIES: dict[type[BekendError], str] = {
    BudgetError: "the budget is used up: two full imports of a register a month, each at most a quarter above the size "
    "that the signed manifest states; changes a day at most 64 or 5 %, padding included. Bring what changed with "
    "--changes, wait for the next month, or have a manifest signed that states the register's present size",
    CovenantError: "it goes by another version of the covenant: load the same one",
    KeysError: "it has no key for this epoch, or does not know this node's newest manifest: ask the operator",
    RefusedError: "the covenant does not name this register for this purpose",
    StaleError: "the clocks differ by more than a minute",
}


def _explained(fault: BekendError) -> BekendError:
    """What a code of the broker means for an import, and what to do: its own words stay in its own log."""
    remedy = _REMEDIES.get(type(fault))
    if remedy is None:
        return fault
    detail = f"the broker refuses the import: {remedy}"
    return RefusedError("broker", detail) if isinstance(fault, RefusedError) else type(fault)(detail)
