"""Serves pages, or the facade, inside the node's own event loop, with TLS of their own, until the node stops."""

import asyncio
import contextlib
import ipaddress
import resource
import socket
import ssl
from typing import Any, Final
from weakref import WeakSet

import uvicorn
from bekend_proto.errors import StorageError
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from bekend_node.web.tls import PageTls

HEAD_SECONDS: Final = 10.0
"""How long a connection may take before its first request is there, and after each reply before the next is."""

TAKE_SECONDS: Final = 60.0
"""How long a connection may leave what is sent to it where it is."""

CONNECTIONS: Final = 1_000
"""At once; more are told to come back."""

LINES: Final = 1_500
"""The same, whatever they say, and before they say anything: more are closed, so that the node keeps files to open.

No more than a quarter of what this process may open either.
"""

_HEAD_BYTES: Final = 16 * 1024


class _Protocol(H11Protocol):
    """HTTP/1.1 as h11 reads it: strict about lengths and line ends. Who asks or takes nothing is let go."""

    _silent: asyncio.TimerHandle | None = None
    _stuck: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Wait for the head of a request, not for ever. What the other end showed of itself goes with each request."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        certificate = secured.getpeercert(binary_form=True) if secured is not None else None
        if certificate:
            self.app = _with_certificate(self.app, ssl.DER_cert_to_PEM_cert(certificate))
        self._wait_for_head()

    def on_response_complete(self) -> None:
        """Wait for the next head: uvicorn's own timer ends with the first octet of it, or of a body left unread."""
        self._wait_for_head()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """What is sent is not taken: not for ever."""
        super().pause_writing()
        self._stuck = self.loop.call_later(TAKE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """It was taken."""
        super().resume_writing()
        self._give_up(self._stuck)

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        super().connection_lost(exc)
        self._give_up(self._silent)
        self._give_up(self._stuck)

    def _wait_for_head(self) -> None:
        self._give_up(self._silent)
        self._silent = self.loop.call_later(HEAD_SECONDS, self._close_when_silent)

    def _close_when_silent(self) -> None:
        if self.cycle is None or self.cycle.response_complete:
            self.transport.close()

    @staticmethod
    def _give_up(timer: asyncio.TimerHandle | None) -> None:
        if timer is not None:
            timer.cancel()


class _Listening(socket.socket):
    """Accepts so many connections at once, also before their handshake ends: uvicorn knows none of those."""

    def __init__(self, family: socket.AddressFamily) -> None:
        # By its protocol's name: else asyncio does not know it for TCP, and a reply's last part waits 40 ms for an ACK.
        super().__init__(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        self._lines: WeakSet[socket.socket] = WeakSet()
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._room = LINES if files == resource.RLIM_INFINITY else min(LINES, files // 4)

    def accept(self) -> tuple[socket.socket, Any]:
        line, peer = super().accept()
        if len(self._lines) >= self._room:
            self._lines = WeakSet(one for one in self._lines if one.fileno() >= 0)
        if len(self._lines) >= self._room:
            line.close()
            raise ConnectionAbortedError
        self._lines.add(line)
        return line, peer


def _with_certificate(app: Any, certificate: str) -> ASGIApp:
    """The same, told the certificate of the connection as the TLS extension of ASGI does (version 0.2)."""

    async def told(scope: Scope, receive: Receive, send: Send) -> None:
        await app(
            {**scope, "extensions": {**scope.get("extensions", {}), "tls": {"client_cert_chain": (certificate,)}}},
            receive,
            send,
        )

    return told


class _Server(uvicorn.Server):
    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Signals are the node's."""
        return contextlib.nullcontext()


class WebServer:
    """One listening address. `start` returns when it is served; `stop` lets requests under way end.

    `place` is where node.yaml names it.
    """

    def __init__(self, app: ASGIApp, host: str, port: int, tls: PageTls | None, place: str = "web") -> None:
        self._address = (host, port)
        self._place = place
        self._tls = tls
        # No access log: addresses say who looked at what.
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                http=_Protocol,
                ws="none",
                h11_max_incomplete_event_size=_HEAD_BYTES,
                limit_concurrency=CONNECTIONS,
                ssl_context_factory=tls.context if tls else None,
                access_log=False,
                log_config=None,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen: who connects from now on is served. Raises StorageError (with the remedy) when that cannot be."""
        listening = _Listening(socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(self._address)
            listening.listen()
        except OSError as fault:
            listening.close()
            raise StorageError(
                f"nothing can be served at {self._address[0]}:{self._address[1]} ({fault.strerror}): "
                f"choose another address under `{self._place}` in node.yaml"
            ) from fault
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))

    def renew(self) -> None:
        """Show the certificate that stands in the file now. Raises TlsFilesError; then the old one is shown."""
        if self._tls is not None:
            self._tls.renew()

    async def stop(self) -> None:
        """Take no more requests, end those under way within a few seconds."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
