"""Serves pages, or the facade, inside the node's own event loop, with TLS of their own, until the node stops."""

import asyncio
import contextlib
import ipaddress
import socket
import ssl
from typing import Any, Final

import uvicorn
from bekend_proto.errors import StorageError
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from bekend_node.web.tls import PageTls

HEAD_SECONDS: Final = 10.0
"""How long a new connection may take before its first request is there."""

CONNECTIONS: Final = 1_000
"""At once; more are told to come back."""

_HEAD_BYTES: Final = 16 * 1024


class _Protocol(H11Protocol):
    """HTTP/1.1 as h11 reads it: strict about lengths and line ends. A connection that asks nothing is closed."""

    def connection_made(self, transport: Any) -> None:
        """Wait for the head of a request, not for ever. What the other end showed of itself goes with each request."""
        super().connection_made(transport)
        secured = transport.get_extra_info("ssl_object")
        certificate = secured.getpeercert(binary_form=True) if secured is not None else None
        if certificate:
            self.app = _with_certificate(self.app, ssl.DER_cert_to_PEM_cert(certificate))
        self.loop.call_later(HEAD_SECONDS, self._close_when_silent)

    def _close_when_silent(self) -> None:
        if self.cycle is None and not self.transport.is_closing():
            self.transport.close()


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
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        # By its protocol's name: else asyncio does not know it for TCP, and a reply's last part waits 40 ms for an ACK.
        listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
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
