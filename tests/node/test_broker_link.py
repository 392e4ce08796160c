"""A replica is spoken to only while its certificate is the broker's; a renewed one takes over without a pause."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import grpc
import pytest
from bekend_deploy.processes import free_ports
from bekend_node import broker_link
from bekend_node.broker_link import BrokerLink, PinnedKeyError
from bekend_node.config import BrokerAddress
from bekend_node.reach import Shown
from bekend_proto.clock import SystemClock
from bekend_proto.errors import BekendError, UnknownPartnerError, UnreachableError
from bekend_proto.identity import TlsFiles, public_key_hash
from bekend_proto.serve import RunningServer, start_server
from bekend_proto.v1 import broker_pb2, broker_pb2_grpc

from tests.support.pki import DAY, Authority

BROKER, NODE = "00000099000000900000", "00000099000000000001"
SECONDS = 20.0


class Servicer(broker_pb2_grpc.BrokerServiceServicer):
    async def GetDirectory(self, request: Any, context: Any) -> Any:
        return broker_pb2.GetDirectoryResponse()

    async def Attach(self, request_iterator: Any, context: Any) -> Any:
        async for _ in request_iterator:
            yield broker_pb2.AttachResponse()


async def serving(files: TlsFiles, port: int = 0) -> RunningServer:
    return await start_server(
        [lambda server: broker_pb2_grpc.add_BrokerServiceServicer_to_server(Servicer(), server)],  # type: ignore[abstract]
        f"localhost:{port}",
        files,
        clock=SystemClock(),
    )


class Line:
    """A link that is kept up, to a server of this test."""

    def __init__(self, port: int, files: TlsFiles) -> None:
        self.link = BrokerLink(BrokerAddress(address=f"localhost:{port}"), files, SystemClock())
        self.renewed = 0

    async def call(self) -> None:
        await self.link.stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=5)

    def again(self) -> None:
        self.renewed += 1


@asynccontextmanager
async def line(port: int, files: TlsFiles) -> AsyncIterator[Line]:
    made = Line(port, files)
    task = asyncio.create_task(made.link.run(made.again))
    try:
        yield made
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await made.link.close()


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


def put(files: TlsFiles, place: TlsFiles) -> None:
    """Renew in place, as whatever fetches certificates does."""
    shutil.copy2(files.key, place.key)
    shutil.copy2(files.certificate, place.certificate)


async def test_a_renewed_own_certificate_is_used_from_then_on_and_calls_under_way_end_in_peace(
    authority: Authority,
) -> None:
    own = authority.issue(NODE)
    server = await serving(authority.issue(BROKER))
    try:
        async with line(server.port, own) as held:
            await until(lambda: held.renewed == 1)
            before = held.link.stub.Attach()
            await before.write(broker_pb2.AttachRequest())
            assert await before.read()
            put(authority.issue(NODE, name="renewed"), own)
            await until(lambda: held.renewed == 2)
            await before.write(broker_pb2.AttachRequest())
            assert await before.read()
            await held.call()
    finally:
        await server.stop(0)


async def test_a_broker_with_a_renewed_certificate_is_found_again(authority: Authority) -> None:
    broker = authority.issue(BROKER)
    # It comes back at this port: nobody who dials out meanwhile may be given it.
    server = await serving(broker, *free_ports(1))
    async with line(server.port, authority.issue(NODE)) as held:
        await until(lambda: held.renewed == 1)
        await held.call()
        await server.stop(0)
        put(authority.issue(BROKER, name="renewed"), broker)
        again = await serving(broker, server.port)
        try:
            with suppress(grpc.RpcError):
                await held.call()
            await until(lambda: held.renewed == 2)
            await held.call()
        finally:
            await again.stop(0)


async def test_a_broker_whose_certificate_was_revoked_is_not_spoken_to_any_more(authority: Authority) -> None:
    broker = authority.issue(BROKER)
    server = await serving(broker)
    try:
        async with line(server.port, replace(authority.issue(NODE), crl=authority.revoke())) as held:
            await until(lambda: held.renewed == 1)
            await held.call()
            authority.revoke(broker)
            await until(lambda: _fault(held.link) is not None)
            assert "was revoked" in str(_fault(held.link))
            # A list that does not name it brings it back; one that is too old does not.
            authority.revoke()
            await until(lambda: held.renewed == 2)
            await held.call()
            authority.revoke(since=2 * DAY, lasts=DAY)
            await until(lambda: "have it refreshed" in str(_fault(held.link)))
    finally:
        await server.stop(0)


async def test_a_key_that_the_manifest_does_not_name_is_refused_and_one_that_a_newer_manifest_names_is_not(
    authority: Authority,
) -> None:
    broker = authority.issue(BROKER)
    pinned = {public_key_hash(broker.certificate.read_bytes())}

    def check(shown: Shown) -> None:
        if shown.key not in pinned:
            raise PinnedKeyError("another key")

    thief = authority.issue(BROKER, name="thief")
    server = await serving(thief)
    link = BrokerLink(BrokerAddress(address=f"localhost:{server.port}"), authority.issue(NODE), SystemClock())
    link.check = check
    asked = []

    async def learn(stub: Any) -> None:
        asked.append(await stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=5))

    try:
        with pytest.raises(PinnedKeyError):
            await link.open()
        link.learn = learn
        with pytest.raises(PinnedKeyError):
            await link.open()
        assert len(asked) == 1
        with pytest.raises(UnknownPartnerError):
            _ = link.stub

        async def renewed(stub: Any) -> None:
            await learn(stub)
            pinned.add(public_key_hash(thief.certificate.read_bytes()))

        link.learn = renewed
        assert await link.open()
        await link.stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=5)
    finally:
        await link.close()
        await server.stop(0)


async def test_whoever_opens_a_link_does_not_wait_for_a_slow_manifest_and_it_counts_when_it_comes(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_link, "LEARN_SECONDS", 0.05)
    server = await serving(authority.issue(BROKER))
    link = BrokerLink(BrokerAddress(address=f"localhost:{server.port}"), authority.issue(NODE), SystemClock())
    come, learned = asyncio.Event(), 0

    def check(_: Shown) -> None:
        if not learned:
            raise PinnedKeyError("another key")

    async def learn(_: Any) -> None:
        nonlocal learned
        await come.wait()
        learned += 1

    link.check, link.learn = check, learn
    try:
        for _ in range(2):
            with pytest.raises(PinnedKeyError):
                await link.open()
        come.set()
        assert await link.open()
        assert learned == 1
    finally:
        await link.close()
        await server.stop(0)


async def test_whoever_takes_the_place_after_the_look_is_not_spoken_to(authority: Authority) -> None:
    server = await serving(authority.issue(BROKER), *free_ports(1))
    link = BrokerLink(BrokerAddress(address=f"localhost:{server.port}"), authority.issue(NODE), SystemClock())
    try:
        assert await link.open()
        await server.stop(0)
        # The same authority, the same organisation, another certificate.
        server = await serving(authority.issue(BROKER, name="other"), server.port)
        with pytest.raises(grpc.RpcError):
            await link.stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=5, wait_for_ready=False)
    finally:
        await link.close()
        await server.stop(0)


@pytest.mark.parametrize("fault", ["nobody", "stranger"])
async def test_what_cannot_be_believed_is_named(authority: Authority, fault: str) -> None:
    shown = {
        "nobody": authority.issue(BROKER),
        "stranger": Authority(authority.folder / "other", "Other CA").issue(BROKER),
    }[fault]
    server = await serving(shown, *free_ports(1))
    port = server.port
    if fault == "nobody":
        await server.stop(0)
    link = BrokerLink(BrokerAddress(address=f"localhost:{port}"), authority.issue(NODE), SystemClock())
    try:
        with pytest.raises(UnreachableError, match="no connection" if fault == "nobody" else "TLS inspection"):
            await link.open()
        with pytest.raises(UnreachableError):
            _ = link.stub
    finally:
        await link.close()
        await server.stop(0)


def _fault(link: BrokerLink) -> BekendError | None:
    try:
        _ = link.stub
    except BekendError as fault:
        return fault
    return None
