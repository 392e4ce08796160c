"""Around every call: who calls, how long it may take, how a fault travels, what is counted.

A handler raises BekendErrors and otherwise knows nothing of gRPC's statuses. To the peer goes the
code in a trailer, with a bland sentence; the detail goes to the own log. An exception that nobody
foresaw is INTERNAL to the peer, and in the log its class and place: its message might quote what
the handler was given.

Handlers keep their style: coroutine, async generator, or reading and writing on the context. Only
the call is wrapped, never a message.
"""

import asyncio
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import aclosing, asynccontextmanager, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from email.utils import format_datetime
from time import perf_counter
from typing import Any, Final, Never

import grpc
import grpc.aio
from prometheus_client import CollectorRegistry, Counter, Histogram

from bekend_proto.clock import Clock, SystemClock
from bekend_proto.errors import TRAILER, BekendError, DeadlineError, InternalError, code_name, status_of
from bekend_proto.identity import caller_chain, caller_key, caller_oin, require_tls13
from bekend_proto.incarnation import METADATA
from bekend_proto.logs import CALL_FAILED, CALL_REFUSED, log, place_of
from bekend_proto.revocation import RevocationLists
from bekend_proto.v1 import errors_pb2


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, by its certificate, and what: `key` is the hash of the certificate's public key.

    `incarnation`: which of the caller's machines it says to be (incarnation.py); nothing of that is verified.
    """

    oin: str
    key: bytes
    method: str
    incarnation: bytes = b""


Admission = Callable[[Caller], None]
"""Raises a BekendError unless this caller may make this call."""

HEALTH_PREFIX: Final = "/grpc.health.v1.Health/"

DATE: Final = "date"
"""Trailer of unary calls: the server's time, so that a caller can hold its own clock beside it. An `HTTP-date` (RFC
9110, section 5.6.7), in whole seconds; not signed. `doctor` tells by it, and a node whose clock is ahead of
every replica's switches no filter (ADR 0049).
"""

BLAND: Final = "refused; the reason stands in the log of the party that you called"

# Per call, for the handler and whatever it awaits.
_caller: ContextVar[Caller] = ContextVar("caller")


def current_caller() -> str:
    """The OIN of the organisation whose call is being handled. Raises LookupError outside a call."""
    return _caller.get().oin


def current_call() -> Caller:
    """Who calls. Raises LookupError outside a call."""
    return _caller.get()


def current_key() -> bytes:
    """The hash of the public key of its certificate. Raises LookupError outside a call."""
    return _caller.get().key


class CallMetrics:
    """Calls by method and code, and how long they took. Nothing about what was answered."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.requests = Counter("bekend_grpc_requests", "Calls that ended.", ("method", "code"), registry=registry)
        self.seconds = Histogram(
            "bekend_grpc_request_seconds",
            "Duration of unary calls and of streams.",
            ("method",),
            buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 60, 3600),
            registry=registry,
        )


class CallInterceptor(grpc.aio.ServerInterceptor):
    """The one interceptor: caller, deadline of unary calls, errors, metrics."""

    def __init__(
        self,
        metrics: CallMetrics,
        unary_seconds: float,
        admit: Admission | None = None,
        clock: Clock | None = None,
        revocation: RevocationLists | None = None,
    ) -> None:
        self._metrics = metrics
        self._unary_seconds = unary_seconds
        self._clock = clock or SystemClock()
        self._gate = Gate(admit, revocation)
        self._wrapped: dict[str, Any] = {}

    def recheck(self) -> None:
        """End the streams of callers who would not be admitted now: a certificate that was revoked meanwhile, say."""
        self._gate.recheck()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        """The handler with the call around it; None for a method that does not exist."""
        handler = await continuation(handler_call_details)
        if handler is None:
            return None
        path = handler_call_details.method
        if path not in self._wrapped:
            self._wrapped[path] = self._wrap(handler, path)
        return self._wrapped[path]

    def _wrap(self, handler: Any, path: str) -> Any:
        method = path.rpartition(".")[2]
        if path.startswith(HEALTH_PREFIX):
            # A monitor of the operator needs a certificate of a known authority, but is no partner.
            call = _Call(self._metrics, method, self._gate, is_partner=False)
        else:
            call = _Call(self._metrics, method, self._gate, is_partner=True)
        codec = {
            "request_deserializer": handler.request_deserializer,
            "response_serializer": handler.response_serializer,
        }
        if not handler.response_streaming:
            if handler.request_streaming:
                inner = _unary(handler.stream_unary, call, self._clock, None)
                return grpc.stream_unary_rpc_method_handler(inner, **codec)
            limited = _unary(handler.unary_unary, call, self._clock, self._unary_seconds)
            return grpc.unary_unary_rpc_method_handler(limited, **codec)
        if handler.request_streaming:
            return grpc.stream_stream_rpc_method_handler(_streaming(handler.stream_stream, call), **codec)
        return grpc.unary_stream_rpc_method_handler(_streaming(handler.unary_stream, call), **codec)


class _Running:
    """A stream that is being served: by whom, and the way to end it."""

    def __init__(self, caller: Caller | None, chain: tuple[bytes, ...], limit: asyncio.Timeout) -> None:
        self.caller = caller
        self.chain = chain
        self.fault: BekendError | None = None
        self._limit = limit

    def end(self, fault: BekendError) -> None:
        if self.fault is None:
            self.fault = fault
            self._limit.reschedule(0)


class Gate:
    """Who may call: revocation first, then the admission; and for streams again whenever something changed."""

    def __init__(self, admit: Admission | None, revocation: RevocationLists | None) -> None:
        self._admit = admit
        self._revocation = revocation
        self._running: set[_Running] = set()

    def chain_of(self, context: Any) -> tuple[bytes, ...]:
        """What of the caller's certificates has to be looked at: nothing without a list."""
        return () if self._revocation is None else caller_chain(context)

    def check(self, caller: Caller | None, chain: tuple[bytes, ...]) -> None:
        """Raises a BekendError unless this caller, a partner or (None) a monitor, is admitted now."""
        if self._revocation is not None:
            self._revocation.check(chain)
        if self._admit is not None and caller is not None:
            self._admit(caller)

    @asynccontextmanager
    async def running(self, caller: Caller | None, chain: tuple[bytes, ...]) -> AsyncIterator[None]:
        """Around a stream. Raises inside it the fault for which it was ended."""
        limit = asyncio.timeout(None)
        one = _Running(caller, chain, limit)
        self._running.add(one)
        try:
            async with limit:
                yield
        except TimeoutError:
            if one.fault is None:
                raise
            raise one.fault from None
        finally:
            self._running.discard(one)

    def recheck(self) -> None:
        """End the streams whose caller would not be admitted now."""
        for one in tuple(self._running):
            try:
                self.check(one.caller, one.chain)
            except BekendError as fault:
                one.end(fault)


def _incarnation(context: Any) -> bytes:
    """What the caller's metadata says of its machine; nothing when it says nothing."""
    found = [value for name, value in context.invocation_metadata() or () if name == METADATA]
    return found[0] if found and isinstance(found[0], bytes) else b""


class _Call:
    """What surrounds each call of one method."""

    def __init__(self, metrics: CallMetrics, method: str, gate: Gate, *, is_partner: bool) -> None:
        self.method = method
        self._metrics = metrics
        self._gate = gate
        self._is_partner = is_partner

    async def run(self, work: Callable[[], Awaitable[Any]], context: Any, *, streams: bool = False) -> Any:
        """Run a handler; turn what it raises into a status."""
        with self._measured() as code:
            oin = ""
            try:
                require_tls13(context)
                caller = None
                if self._is_partner:
                    oin = caller_oin(context)
                    caller = Caller(oin, caller_key(context), self.method, _incarnation(context))
                    _caller.set(caller)
                chain = self._gate.chain_of(context)
                self._gate.check(caller, chain)
                if streams:
                    async with self._gate.running(caller, chain):
                        result = await work()
                else:
                    result = await work()
            except BekendError as error:
                code[0] = status_of(error).name
                log(CALL_REFUSED, method=self.method, caller=oin, code=code_name(error.code), detail=error.detail)
                await refuse(context, error)
            except grpc.aio.AbortError:
                code[0] = context.code().name
                raise
            except Exception as error:
                code[0] = grpc.StatusCode.INTERNAL.name
                log(
                    CALL_FAILED,
                    method=self.method,
                    caller=oin,
                    exception=type(error).__name__,
                    place=place_of(error.__traceback__),
                )
                await refuse(context, InternalError("unforeseen"))
            code[0] = "OK"
            return result

    @contextmanager
    def _measured(self) -> Iterator[list[str]]:
        start = perf_counter()
        # What stays when the caller goes away.
        code = [grpc.StatusCode.CANCELLED.name]
        try:
            yield code
        finally:
            self._metrics.requests.labels(self.method, code[0]).inc()
            self._metrics.seconds.labels(self.method).observe(perf_counter() - start)


async def refuse(context: Any, error: BekendError) -> Never:
    """End the call with the status of an error, its code in the trailer, and nothing of its detail."""
    await context.abort(status_of(error), BLAND, ((TRAILER, errors_pb2.ErrorCode.Name(error.code)),))
    raise AssertionError("abort raises")


def _unary(inner: Any, call: _Call, clock: Clock, seconds: float | None) -> Any:
    async def handle(request: Any, context: Any) -> Any:
        async def work() -> Any:
            try:
                async with asyncio.timeout(seconds) as limit:
                    result = await inner(request, context)
                    context.set_trailing_metadata(((DATE, format_datetime(clock.now(), usegmt=True)),))
                    return result
            except TimeoutError:
                if not limit.expired():
                    raise
                raise DeadlineError(f"the call took longer than {seconds} s") from None

        return await call.run(work, context)

    return handle


def _streaming(inner: Any, call: _Call) -> Any:
    """Both styles as a coroutine: a generator is drained here, in gRPC's stead, so that no layer is added."""
    drains = not inspect.iscoroutinefunction(inner)

    async def handle(request: Any, context: Any) -> None:
        async def drain() -> None:
            # Closed whenever the call ends: what a handler holds is let go at once, not when memory is collected.
            async with aclosing(inner(request, context)) as responses:
                async for response in responses:
                    await context.write(response)

        async def write() -> None:
            await inner(request, context)

        await call.run(drain if drains else write, context, streams=True)

    return handle
