"""A line to a replica that lets few octets through at a time: its directory comes in the end, and holds up nothing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from bekend_deploy.partners import OM, POLITIE
from bekend_node import directory as directory_module
from bekend_node.broker_link import BrokerLink, make_links, open_all
from bekend_node.config import BrokerAddress
from bekend_node.directory import Directory
from bekend_node.store import Store
from bekend_proto.errors import UnreachableError

from tests.support.federation import Federation
from tests.support.pki import Authority

SECONDS = 20.0
DROP = 64
"""Octets that come at a time."""


class Trickle:
    """Stands between a node and a broker. Once it is slow, what the broker sends waits until the test lets it drop."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._waiting = bytearray()
        self._writers: list[asyncio.StreamWriter] = []
        self.is_slow = False
        self.port = 0

    @property
    def waiting(self) -> int:
        """Octets that the broker sent and the node does not have."""
        return len(self._waiting)

    def drop(self) -> None:
        self._writers[-1].write(self._waiting[:DROP])
        del self._waiting[:DROP]

    def open(self) -> None:
        self.is_slow = False
        self._writers[-1].write(bytes(self._waiting))
        self._waiting.clear()

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[None]:
        async with await asyncio.start_server(self._pass_on, "127.0.0.1", 0) as server:
            self.port = int(server.sockets[0].getsockname()[1])
            yield
            for one in self._writers:
                one.close()

    async def _pass_on(self, from_node: asyncio.StreamReader, to_node: asyncio.StreamWriter) -> None:
        from_broker, to_broker = await asyncio.open_connection("127.0.0.1", self._port)
        self._writers += [to_broker, to_node]
        sending = asyncio.ensure_future(_copy(from_node, to_broker.write))
        await _copy(from_broker, lambda octets: self._send(to_node, octets))
        sending.cancel()
        to_node.close()

    def _send(self, to_node: asyncio.StreamWriter, octets: bytes) -> None:
        if self.is_slow:
            self._waiting += octets
        else:
            to_node.write(octets)


async def _copy(reader: asyncio.StreamReader, send: Callable[[bytes], object]) -> None:
    while octets := await reader.read(1 << 16):
        send(octets)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


@asynccontextmanager
async def directory_over(
    federation: Federation, *ports: int
) -> AsyncIterator[tuple[Directory, tuple[BrokerLink, ...]]]:
    """The directory of the police, over a line to each of these ports."""
    brokers = [BrokerAddress(address=f"localhost:{port}") for port in ports]
    links = make_links(brokers, federation.parties[POLITIE.oin].tls, federation.clock)
    store = Store.open(federation.folder / "slow")
    directory = Directory(lambda: federation.covenant, store, links, federation.clock)
    try:
        assert await open_all(links) == [None] * len(links)
        yield directory, links
    finally:
        await directory.close()
        for link in links:
            await link.close()
        store.close()


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


async def test_a_directory_that_comes_in_drops_is_taken_in_when_it_is_whole(
    federation: Federation, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever waits for a key gives up soon: what is tested comes later than that.
    monkeypatch.setattr(directory_module, "CALL_SECONDS", 0.05)
    async with federation.broker() as broker:
        line = Trickle(broker.port)
        async with line.serving(), directory_over(federation, line.port) as (directory, _):
            line.is_slow = True
            with pytest.raises(UnreachableError, match="in time"):
                await directory.refresh()
            await until(lambda: line.waiting > DROP)
            whole = asyncio.ensure_future(directory.fetch())
            for _ in range(5):
                line.drop()
                # Each round joins the call that is under way: cut off and begun anew, it would never be whole.
                with pytest.raises(UnreachableError):
                    await directory.refresh()
                assert directory.at_hand(OM.oin) is None
            line.open()
            async with asyncio.timeout(SECONDS):
                await whole
            assert directory.get(OM.oin).oin == OM.oin


async def test_a_replica_that_trickles_keeps_no_key_back_that_another_has(federation: Federation) -> None:
    own = federation.parties[OM.oin]
    async with federation.broker() as broker:
        line = Trickle(broker.port)
        async with line.serving(), directory_over(federation, line.port, broker.port) as (directory, links):
            line.is_slow = True
            async with asyncio.timeout(SECONDS):
                await directory.fetch()
                await until(lambda: line.waiting > 0)
                for _ in range(3):
                    own.renew_manifest()
                    await own.publish()
                    line.drop()
                    assert (await directory.require(OM.oin, own.number)).number == own.number
            assert directory.attached_to(links[0]) == frozenset()
            line.open()
            await directory.changed()
            assert directory.get(OM.oin).number == own.number
