"""The metrics port: Prometheus text over HTTP, on a port of its own.

On loopback it is plain HTTP. On any other address it is HTTPS that demands a certificate of the
same authorities as the calls do. No metric says what was answered about anybody.
"""

import contextlib
import shutil
import ssl
import threading
from importlib.metadata import version
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIServer

from prometheus_client import (
    CollectorRegistry,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    start_http_server,
)

from bekend_proto.clock import Clock, SystemClock
from bekend_proto.errors import InternalError
from bekend_proto.identity import TlsFiles, read_tls

_STEP = 16 << 20


class MetricsError(InternalError):
    """The metrics port cannot be opened. The detail says what to do."""


class MetricsServer:
    """A metrics port in service. Stop it with `stop()`."""

    def __init__(self, server: WSGIServer, thread: threading.Thread, tls: TlsFiles | None = None) -> None:
        self._server = server
        self._thread = thread
        self._tls = tls
        self.port: int = server.server_port
        self.renew()

    def renew(self) -> None:
        """Show the certificate that stands in the file now, and go by the newest list of revoked ones.

        Of two files that do not belong together the old ones stay in use.
        """
        line = self._server.socket
        if self._tls is None or not isinstance(line, ssl.SSLSocket):
            return
        with contextlib.suppress(OSError):
            line.context.load_cert_chain(self._tls.certificate, self._tls.key)
            line.context.load_verify_locations(self._tls.authorities)
            if self._tls.crl is not None:
                line.context.load_verify_locations(self._tls.crl)
                line.context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF

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
    options: dict[str, Any] = {}
    if not ip_address(host).is_loopback:
        if tls is None:
            raise MetricsError(
                f"metrics on {address} would be readable by the network: use a loopback address, or give TLS files"
            )
        read_tls(tls, clock or SystemClock())
        options = {
            "certfile": str(tls.certificate),
            "keyfile": str(tls.key),
            "client_cafile": str(tls.authorities),
            "client_auth_required": True,
            "tls_min_version": ssl.TLSVersion.TLSv1_3,
        }
    try:
        server, thread = start_http_server(port, host, registry, **options)
    except OSError as error:
        raise MetricsError(
            f"cannot serve metrics on {address} ({error.strerror}): does this service run already? "
            "If not, configure another address or port"
        ) from None
    return MetricsServer(server, thread, tls)


def _split(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    host = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        ip_address(host)
        number = int(port)
    except ValueError:
        raise MetricsError(f"{address} is no address for metrics: write 127.0.0.1:9102") from None
    return host, number
