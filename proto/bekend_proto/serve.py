"""A gRPC server the one allowed way: mutual TLS 1.3, named callers, deadlines, errors, metrics, health."""

from collections.abc import Callable, Iterable, Sequence
from typing import Final

import grpc
import grpc.aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_health.v1._async import HealthServicer
from prometheus_client import CollectorRegistry

from bekend_proto.clock import Clock, SystemClock
from bekend_proto.errors import InternalError
from bekend_proto.identity import KEEPALIVE_SECONDS, MAX_DIRECTORY, MAX_MESSAGE, TlsFiles, server_credentials
from bekend_proto.interceptors import Admission, CallInterceptor, CallMetrics
from bekend_proto.logs import SERVER_STARTED, SERVER_STOPPED, log

ServiceAdder = Callable[[grpc.aio.Server], None]
"""Adds a servicer: `lambda server: add_BrokerServiceServicer_to_server(servicer, server)`."""

UNARY_SECONDS: Final = 10.0

HANDSHAKE_SECONDS: Final = 20.0
"""How long a line may take to show its certificate; gRPC would wait for two minutes, with an open file for each."""

SERVER_OPTIONS: Final[tuple[tuple[str, int], ...]] = (
    # Two processes on one port would share its calls in silence.
    ("grpc.so_reuseport", 0),
    ("grpc.max_send_message_length", MAX_DIRECTORY),
    ("grpc.max_receive_message_length", MAX_MESSAGE),
    ("grpc.max_concurrent_streams", 1024),
    ("grpc.keepalive_timeout_ms", 20_000),
    ("grpc.keepalive_permit_without_calls", 1),
    # A connection keeps the certificates that it began with: no longer than this.
    ("grpc.max_connection_age_ms", 12 * 3600 * 1000),
    ("grpc.max_connection_age_grace_ms", 30_000),
)


class AddressError(InternalError):
    """An address cannot be listened on. The detail says what to do."""


class RunningServer:
    """A server that accepts calls. Stop it with `await stop(grace)`."""

    def __init__(
        self, server: grpc.aio.Server, health: HealthServicer, interceptor: CallInterceptor, address: str, port: int
    ) -> None:
        self._server = server
        self._interceptor = interceptor
        self._health = health
        self.address = address
        self.port = port

    async def stop(self, grace: float = 5.0) -> None:
        """Say NOT_SERVING, take no new calls, give running ones `grace` seconds, then end them."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace)
        log(SERVER_STOPPED, address=self.address)

    def recheck(self) -> None:
        """End the streams of callers who would not be admitted now."""
        self._interceptor.recheck()

    async def wait_closed(self) -> None:
        """Return when the server has stopped."""
        await self._server.wait_for_termination()


async def start_server(
    services: Iterable[ServiceAdder],
    address: str,
    tls: TlsFiles,
    *,
    clock: Clock | None = None,
    registry: CollectorRegistry | None = None,
    admit: Admission | None = None,
    unary_seconds: float = UNARY_SECONDS,
    keepalive_seconds: float = KEEPALIVE_SECONDS,
    names: Sequence[str] = (),
    reflection: bool = False,
) -> RunningServer:
    """Serve on `host:port`; port 0 takes a free one. Health is told of the whole and of the services in `names`.

    `admit` is called with each caller and raises what the caller is to get. Both ends ping a line that was silent
    for `keepalive_seconds`; a client that pings more than twice as often is sent away. Raises TlsFilesError
    when the files cannot be used, AddressError when the address cannot be listened on.
    """
    credentials = server_credentials(tls, clock)
    revocation = tls.revocation(clock or SystemClock())
    measured = CallMetrics(registry or CollectorRegistry())
    interceptor = CallInterceptor(measured, unary_seconds, admit, clock, revocation)
    keepalive = round(keepalive_seconds * 1000)
    options = (
        *SERVER_OPTIONS,
        ("grpc.keepalive_time_ms", keepalive),
        ("grpc.server_handshake_timeout_ms", round(HANDSHAKE_SECONDS * 1000)),
        # Without this the server takes the clients' pings for abuse.
        ("grpc.http2.min_ping_interval_without_data_ms", keepalive // 2),
    )
    server = grpc.aio.server(interceptors=(interceptor,), options=options)
    health = HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health, server)
    for add in services:
        add(server)
    for name in names:
        await health.set(name, health_pb2.HealthCheckResponse.SERVING)
    if reflection:
        _reflect(server, names)
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError:
        port = 0
    if port == 0:
        raise AddressError(
            f"cannot listen on {address}: the port is in use, or the address is not of this machine; "
            "stop the other process or configure another"
        )
    await server.start()
    log(SERVER_STARTED, address=address, port=port)
    return RunningServer(server, health, interceptor, address, port)


def _reflect(server: grpc.aio.Server, names: Sequence[str]) -> None:
    """Let tools such as grpcurl ask which services and messages there are: for trials, never by default."""
    from grpc_reflection.v1alpha import reflection  # noqa: PLC0415 - a server in service does not need it

    reflection.enable_server_reflection((*names, reflection.SERVICE_NAME), server)
