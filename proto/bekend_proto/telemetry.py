"""The metrics port: Prometheus text over HTTP, on a port of its own.

On loopback it is plain HTTP. On any other address it is HTTPS that demands a certificate of the
same authorities as the calls do. No metric says what was answered about anybody.
"""

import contextlib
import shutil
import socket
import ssl
import threading
import time
from importlib.metadata import version
from ipaddress import IPv6Address, ip_address
from pathlib import Path
from socketserver import ThreadingMixIn
from typing import Any, Final
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    make_wsgi_app,
)

from bekend_proto.clock import Clock, SystemClock
from bekend_proto.errors import InternalError
from bekend_proto.identity import TlsFiles, read_tls

LINE_SECONDS: Final = 10.0
"""How long one connection may take, from its first octet of TLS to the last of the reply."""

LINES: Final = 32
"""Connections at once. One more takes the place of the oldest: Prometheus is done within a moment."""

_STEP = 16 << 20


class MetricsError(InternalError):
    """The metrics port cannot be opened. The detail says what to do."""


class _Handler(WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - its name in the class above
        """Log nothing: who scrapes, and how often, is no event."""


class _Server(ThreadingMixIn, WSGIServer):
    """Each connection in a thread of its own, TLS's handshake too: one that says nothing holds up nobody.

    The server of prometheus_client does the handshake where it accepts the next connection.
    """

    daemon_threads = True

    def __init__(self, host: str, port: int, context: ssl.SSLContext | None) -> None:
        self.address_family = socket.AF_INET6 if isinstance(ip_address(host), IPv6Address) else socket.AF_INET
        self._context = context
        self._since: dict[socket.socket, float] = {}
        super().__init__((host, port), _Handler)

    def get_request(self) -> tuple[socket.socket, Any]:
        line, peer = super().get_request()
        if self._context is not None:
            line = self._context.wrap_socket(line, server_side=True, do_handshake_on_connect=False)
        return line, peer

    def process_request(self, request: Any, client_address: Any) -> None:
        if len(self._since) >= LINES:
            self._cut(min(self._since.copy().items(), key=lambda line: line[1])[0])
        self._since[request] = time.monotonic()
        super().process_request(request, client_address)

    def finish_request(self, request: Any, client_address: Any) -> None:
        if isinstance(request, ssl.SSLSocket):
            request.do_handshake()
        super().finish_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._since.pop(request, None)
        super().shutdown_request(request)

    def service_actions(self) -> None:
        """Between two connections, and twice a second: cut off who takes too long."""
        for line, since in self._since.copy().items():
            if time.monotonic() - since > LINE_SECONDS:
                self._cut(line)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: it is the other end's line that broke, and whoever connects could fill the log with it."""

    def _cut(self, line: socket.socket) -> None:
        self._since.pop(line, None)
        with contextlib.suppress(OSError):
            # Not the method of SSLSocket: its thread is still using what that one forgets.
            socket.socket.shutdown(line, socket.SHUT_RDWR)


class MetricsServer:
    """A metrics port in service. Stop it with `stop()`."""

    def __init__(self, server: WSGIServer, tls: TlsFiles | None, context: ssl.SSLContext | None) -> None:
        self._server = server
        self._tls = tls
        self._context = context
        self.port: int = server.server_port
        self.renew()
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._thread.start()

    def renew(self) -> None:
        """Show the certificate that stands in the file now, and go by the newest list of revoked ones.

        Of two files that do not belong together the old ones stay in use.
        """
        if self._tls is None or self._context is None:
            return
        with contextlib.suppress(OSError):
            self._context.load_cert_chain(self._tls.certificate, self._tls.key)
            self._context.load_verify_locations(self._tls.authorities)
            if self._tls.crl is not None:
                self._context.load_verify_locations(self._tls.crl)
                self._context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF

    def stop(self) -> None:
        """Close the port."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def make_registry() -> CollectorRegistry:
    """A registry with what is told of every process: memory, processor time, open files, Python's version."""
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    PlatformCollector(registry=registry)
    GCCollector(registry=registry)
    build = Gauge("bekend_build_info", "The release that runs.", ["version"], registry=registry)
    build.labels(version("bekend")).set(1)
    return registry


def free_space(name: str, folder: Path, registry: CollectorRegistry) -> None:
    """A gauge of the space left on the disk of a folder, looked at whenever somebody looks.

    In steps: the bytes themselves would move with each question.
    """
    gauge = Gauge(name, "Bytes left on the disk of the data folder, in steps of 16 MiB.", registry=registry)
    gauge.set_function(lambda: free_bytes(folder)[1] // _STEP * _STEP)


def free_bytes(folder: Path) -> tuple[Path, int]:
    """The folder, or the nearest one above it that is there already, and the bytes left on its disk."""
    found = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    return found, shutil.disk_usage(found).free


def start_metrics(
    address: str, registry: CollectorRegistry, tls: TlsFiles | None = None, clock: Clock | None = None
) -> MetricsServer:
    """Serve the registry on `host:port`, the host an IP address or localhost; port 0 takes a free one.

    Raises MetricsError when the address cannot be listened on, or is not loopback and no TLS files
    are given; TlsFilesError when those cannot be used.
    """
    host, port = _split(address)
    context = None
    if not ip_address(host).is_loopback:
        if tls is None:
            raise MetricsError(
                f"metrics on {address} would be readable by the network: use a loopback address, or give TLS files"
            )
        read_tls(tls, clock or SystemClock())
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.verify_mode = ssl.CERT_REQUIRED
    try:
        server = _Server(host, port, context)
    except OSError as error:
        raise MetricsError(
            f"cannot serve metrics on {address} ({error.strerror}): does this service run already? "
            "If not, configure another address or port"
        ) from None
    server.set_app(make_wsgi_app(registry))
    return MetricsServer(server, tls, context)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        ip_address(host)
        number = int(port)
    except ValueError:
        raise MetricsError(f"{address} is no address for metrics: write 127.0.0.1:9102") from None
    return host, number
