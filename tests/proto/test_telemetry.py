"""The metrics port is for this machine, or for who has a certificate."""

import socket
import ssl
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.error import URLError

import pytest
from bekend_proto import telemetry
from bekend_proto.telemetry import MetricsError, MetricsServer, free_space, make_registry, start_metrics
from prometheus_client import Counter

from tests.support.pki import Authority

OIN = "00000099000000000001"
SECONDS = 20.0


@pytest.fixture
def served() -> Iterator[MetricsServer]:
    registry = make_registry()
    Counter("bekend_test", "A count.", registry=registry).inc(3)
    server = start_metrics("127.0.0.1:0", registry)
    yield server
    server.stop()


def get(url: str, context: ssl.SSLContext | None = None) -> str:
    with urllib.request.urlopen(url, context=context, timeout=SECONDS) as answer:
        return str(answer.read().decode())


def test_metrics_are_served_on_loopback(served: MetricsServer) -> None:
    text = get(f"http://127.0.0.1:{served.port}/metrics")
    assert "bekend_test_total 3.0" in text
    assert "process_resident_memory_bytes" in text


def test_the_space_left_is_told_before_the_folder_is_there(tmp_path: Path) -> None:
    registry = make_registry()
    free_space("bekend_test_free_bytes", tmp_path / "not" / "yet", registry)
    told = registry.get_sample_value("bekend_test_free_bytes")
    assert told is not None
    assert told > 0
    assert told % (16 << 20) == 0


def test_a_stopped_port_is_free_again(served: MetricsServer) -> None:
    server = start_metrics("localhost:0", make_registry())
    server.stop()
    start_metrics(f"127.0.0.1:{server.port}", make_registry()).stop()


def test_a_taken_port_is_a_clear_error(served: MetricsServer) -> None:
    with pytest.raises(MetricsError, match="configure another"):
        start_metrics(f"127.0.0.1:{served.port}", make_registry())


@pytest.mark.parametrize("address", ["0.0.0.0:0", "[::]:0", "192.0.2.1:0"])
def test_the_network_gets_no_plain_metrics(address: str) -> None:
    with pytest.raises(MetricsError, match="use a loopback address, or give TLS files"):
        start_metrics(address, make_registry())


@pytest.mark.parametrize("address", ["", "9102", "example.org:9102", "127.0.0.1", "127.0.0.1:http"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(MetricsError, match="is no address"):
        start_metrics(address, make_registry())


def test_the_network_needs_a_certificate(authority: Authority) -> None:
    files = authority.issue(OIN)
    server = start_metrics("0.0.0.0:0", make_registry(), files)
    try:
        url = f"https://localhost:{server.port}/metrics"
        client = ssl.create_default_context(cafile=str(files.authorities))
        with pytest.raises((URLError, OSError)):
            get(url, client)
        client = ssl.create_default_context(cafile=str(files.authorities))
        client.load_cert_chain(files.certificate, files.key)
        assert "process_cpu_seconds_total" in get(url, client)
    finally:
        server.stop()


def test_a_line_that_says_nothing_holds_up_neither_prometheus_nor_the_end(authority: Authority) -> None:
    """Nor does one that dropped half a message of TLS: no certificate is needed to open either."""
    files = authority.issue(OIN)
    server = start_metrics("0.0.0.0:0", make_registry(), files)
    with (
        socket.create_connection(("127.0.0.1", server.port)),
        socket.create_connection(("127.0.0.1", server.port)) as half,
    ):
        half.sendall(b"\x16\x03\x01\x02\x00\x01")
        client = ssl.create_default_context(cafile=str(files.authorities))
        client.load_cert_chain(files.certificate, files.key)
        assert "process_cpu_seconds_total" in get(f"https://localhost:{server.port}/metrics", client)
        before = time.monotonic()
        server.stop()
        assert time.monotonic() - before < SECONDS / 2


def test_a_line_that_goes_on_for_ever_is_cut_off(served: MetricsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "LINE_SECONDS", 0.3)
    with socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS) as slow:
        slow.sendall(b"GET /metrics HTTP/1.1\r\n")
        slow.settimeout(0.1)
        end = time.monotonic() + SECONDS
        while True:
            assert time.monotonic() < end, "it may go on"
            try:
                slow.sendall(b"X: a\r\n")
                if not slow.recv(1):
                    break
            except TimeoutError:
                continue
            except OSError:
                break


def test_more_lines_than_there_is_room_for_push_out_the_oldest(
    served: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "LINES", 3)
    lines = [socket.create_connection(("127.0.0.1", served.port), timeout=SECONDS) for _ in range(4)]
    try:
        assert lines[0].recv(1) == b""
        assert "process_cpu_seconds_total" in get(f"http://127.0.0.1:{served.port}/metrics")
    finally:
        for line in lines:
            line.close()
