"""What each port of ours agrees to, by connecting to it: versions and suites of NCSC's guidelines for TLS (2025)."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bekend_node.web.tls import PageTls
from bekend_proto.clock import SystemClock
from bekend_proto.identity import TlsFiles
from bekend_proto.serve import start_server
from bekend_proto.telemetry import make_registry, start_metrics

from tests.support.pki import Authority

PARTY = "00000099000000000001"

GOOD_13 = {"TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256", "TLS_AES_128_GCM_SHA256"}
GOOD_12 = (
    *("ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    *("ECDHE-RSA-AES256-GCM-SHA384", "ECDHE-RSA-CHACHA20-POLY1305", "ECDHE-RSA-AES128-GCM-SHA256"),
)
NOT_GOOD = {
    "CBC with SHA-1": "ECDHE-ECDSA-AES128-SHA",
    "CBC": "ECDHE-ECDSA-AES128-SHA256",
    "no authentication": "AECDH-AES128-SHA",
    "no encryption": "ECDHE-ECDSA-NULL-SHA",
}
"""Each can be agreed upon with a certificate such as ours: `test_this_client_can_ask_for_what_must_be_refused`."""
REFUSED = (ssl.SSLError, ConnectionError)
OLD = {"1.0": ssl.TLSVersion.TLSv1, "1.1": ssl.TLSVersion.TLSv1_1}


@asynccontextmanager
async def calls(files: TlsFiles) -> AsyncIterator[int]:
    server = await start_server([], "localhost:0", files)
    yield server.port
    await server.stop(0)


@asynccontextmanager
async def metrics(files: TlsFiles) -> AsyncIterator[int]:
    # Not on loopback, or it would be plain HTTP.
    server = start_metrics("0.0.0.0:0", make_registry(), files)
    yield server.port
    await asyncio.to_thread(server.stop)


@asynccontextmanager
async def pages(files: TlsFiles) -> AsyncIterator[int]:
    context = PageTls(files.certificate, files.key, SystemClock()).context()
    server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


PORTS = {"calls": calls, "metrics": metrics, "pages": pages}


def client(files: TlsFiles, version: ssl.TLSVersion, suites: str | None = None) -> ssl.SSLContext:
    """A client that speaks this version alone, however old."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.load_verify_locations(files.authorities)
    made.load_cert_chain(files.certificate, files.key)
    made.set_alpn_protocols(["h2", "http/1.1"])
    made.set_ciphers(f"{suites or 'ALL'}:@SECLEVEL=0")
    made.minimum_version = made.maximum_version = version
    return made


async def agreed(port: int, context: ssl.SSLContext) -> tuple[str, str]:
    """Version and suite. Raises OSError (SSLError) when there is no agreement."""
    _, writer = await asyncio.open_connection("localhost", port, ssl=context)
    line = writer.get_extra_info("ssl_object")
    found = (str(line.version()), str(line.cipher()[0]))
    writer.close()
    return found


@asynccontextmanager
async def anything(files: TlsFiles) -> AsyncIterator[int]:
    """A server that agrees to whatever is asked: so that a refusal above is the port's, and not this client's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    server = await asyncio.start_server(lambda _, writer: writer.close(), "localhost", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_this_client_can_ask_for_what_must_be_refused(files: TlsFiles) -> None:
    async with anything(files) as number:
        for name, version in OLD.items():
            assert (await agreed(number, client(files, version)))[0] == f"TLSv{name}".removesuffix(".0")
        for suite in NOT_GOOD.values():
            assert (await agreed(number, client(files, ssl.TLSVersion.TLSv1_2, suite)))[1] == suite


@pytest.fixture
def files(authority: Authority) -> TlsFiles:
    return authority.issue(PARTY)


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
async def test_versions_that_ncsc_calls_insufficient_are_refused(files: TlsFiles, port: str) -> None:
    async with PORTS[port](files) as number:
        for version in OLD.values():
            with pytest.raises(REFUSED):
                await agreed(number, client(files, version))


@pytest.mark.parametrize("port", PORTS)
async def test_tls_13_comes_with_suites_that_ncsc_calls_good(files: TlsFiles, port: str) -> None:
    async with PORTS[port](files) as number:
        version, suite = await agreed(number, client(files, ssl.TLSVersion.TLSv1_3))
    assert version == "TLSv1.3"
    assert suite in GOOD_13


@pytest.mark.parametrize("port", PORTS)
async def test_suites_that_are_not_good_are_refused(files: TlsFiles, port: str) -> None:
    async with PORTS[port](files) as number:
        for suites in NOT_GOOD.values():
            with pytest.raises(REFUSED):
                await agreed(number, client(files, ssl.TLSVersion.TLSv1_2, suites))


async def test_machines_speak_13_alone_and_browsers_12_with_good_suites(files: TlsFiles) -> None:
    """At the calls' port the handshake of 1.2 is not refused by gRPC: the call is, in `tests/proto/test_serve.py`."""
    offer = client(files, ssl.TLSVersion.TLSv1_2, ":".join(GOOD_12))
    async with metrics(files) as number:
        with pytest.raises(REFUSED):
            await agreed(number, offer)
    async with pages(files) as number:
        version, suite = await agreed(number, offer)
    assert version == "TLSv1.2"
    assert suite in GOOD_12


async def test_the_pages_agree_to_good_suites_and_to_no_other(files: TlsFiles) -> None:
    """Every suite that this machine knows, one by one."""
    known = [one["name"] for one in client(files, ssl.TLSVersion.TLSv1_2).get_ciphers()]
    taken = set()
    async with pages(files) as number:
        for name in known:
            try:
                _, suite = await agreed(number, client(files, ssl.TLSVersion.TLSv1_2, name))
            except REFUSED:
                continue
            taken.add(suite)
    assert taken == {suite for suite in GOOD_12 if "ECDSA" in suite}


def test_no_renegotiation_and_no_compression(authority: Authority, tmp_path: Path) -> None:
    own = authority.issue(PARTY)
    context = PageTls(own.certificate, own.key, SystemClock()).context()
    assert context.options & ssl.OP_NO_COMPRESSION
    assert context.options & ssl.OP_NO_RENEGOTIATION
