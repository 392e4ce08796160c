"""A gemeente as it is: an HTTP proxy, a firewall that opens TLS, IPv6 alone; what is said of a way that is closed."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_broker.app import start_broker
from bekend_deploy.partners import POLITIE
from bekend_node import attach
from bekend_node.app import start_node
from bekend_node.checks import check_all
from bekend_node.config import BrokerAddress, Proxy
from bekend_node.proxy import applies, proxy_options
from bekend_node.reach import Reach, reach
from bekend_proto.errors import BekendError
from bekend_proto.identity import TlsFiles

from tests.support.between import http_proxy, inspector
from tests.support.federation import Federation, until
from tests.support.nodes import NodeHome
from tests.support.pki import Authority, write_private

LOGIN = "gemeente:p@rd/50%:nietje"


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
def home(federation: Federation) -> NodeHome:
    return NodeHome.create(federation, POLITIE.oin)


def credentials(home: NodeHome, login: str) -> str:
    write_private(home.folder / "keys" / "proxy", f"{login}\n".encode())
    return "keys/proxy"


async def looked(address: str, tls: TlsFiles, proxy: Proxy | None = None, name: str | None = None) -> Reach:
    return await asyncio.to_thread(reach, BrokerAddress(address=address, server_name=name), tls, proxy)


@asynccontextmanager
async def web_server() -> AsyncIterator[int]:
    """Something that speaks no TLS."""

    async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


async def test_a_node_attaches_through_a_proxy_that_asks_who_it_is(home: NodeHome, tmp_path: Path) -> None:
    async with home.federation.broker() as broker, http_proxy(tmp_path, LOGIN) as proxy:
        home.settings["proxy"] = {"address": proxy.address, "credentials": credentials(home, LOGIN)}
        async with home.node(broker.port) as node:
            assert node.status()["brokers"] == {f"localhost:{broker.port}": True}
        # Written when the line ends.
        await until(lambda: f"localhost:{broker.port}" in proxy.connected())


async def test_a_proxy_that_refuses_is_named_with_what_to_do(home: NodeHome, tmp_path: Path) -> None:
    async with home.federation.broker() as broker, http_proxy(tmp_path, LOGIN) as proxy:
        home.settings["proxy"] = {"address": proxy.address, "credentials": credentials(home, "gemeente:ander")}
        config = home.config(broker.port)
        findings = await asyncio.to_thread(lambda: list(check_all(config, home.federation.clock, canary=False)))
        said = next(finding for finding in findings if finding.what.startswith("broker "))
        assert not said.good
        assert "407" in said.detail
        assert "`credentials`" in said.detail
        assert "ander" not in said.detail


async def test_a_host_under_no_proxy_is_reached_without(home: NodeHome) -> None:
    home.settings["proxy"] = {"address": "127.0.0.1:9", "no_proxy": ["localhost"]}
    async with home.federation.broker() as broker, home.node(broker.port) as node:
        assert all(node.status()["brokers"].values())


@pytest.mark.parametrize(
    ("named", "address", "through"),
    [
        ("example.nl", "broker.example.nl:443", False),
        (".example.nl", "broker.example.nl:443", False),
        ("BROKER.example.nl", "broker.example.nl:443", False),
        ("ample.nl", "broker.example.nl:443", True),
        ("2001:db8::1", "[2001:db8::1]:443", False),
        ("other.nl", "broker.example.nl:443", True),
    ],
)
def test_what_goes_through_the_proxy(named: str, address: str, through: bool) -> None:
    proxy = Proxy(address="proxy.example.nl:8080", no_proxy=(named,))
    assert applies(proxy, address) is through
    said = proxy_options(address, proxy)
    assert said == ({"grpc.http_proxy": "http://proxy.example.nl:8080"} if through else {"grpc.enable_http_proxy": 0})


def test_without_a_configured_proxy_that_of_the_environment_counts() -> None:
    assert proxy_options("broker.example.nl:443", None) == {}


@pytest.mark.parametrize("content", [b"", b"no colon", b":password", b"user:pass\nmore"])
def test_credentials_are_one_line(tmp_path: Path, content: bytes) -> None:
    write_private(tmp_path / "proxy", content)
    with pytest.raises(BekendError, match="user:password") as caught:
        proxy_options("broker.example.nl:443", Proxy(address="proxy:1", credentials=tmp_path / "proxy"))
    assert b"pass" not in content or "user:pass\n" not in str(caught.value)


def test_credentials_that_others_may_read_are_refused(tmp_path: Path) -> None:
    (tmp_path / "proxy").write_text("user:password\n")
    (tmp_path / "proxy").chmod(0o644)
    with pytest.raises(BekendError, match="chmod 600"):
        proxy_options("broker.example.nl:443", Proxy(address="proxy:1", credentials=tmp_path / "proxy"))


async def test_tls_inspection_is_named_as_the_cause_in_the_check_and_in_the_log(
    home: NodeHome, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attach, "LOOK_PAUSE", 0.0)
    firewall = Authority(tmp_path / "firewall", "Gemeente Firewall CA")
    async with inspector(firewall.issue(POLITIE.oin, name="shown")) as port:
        config = home.config(port)
        findings = await asyncio.to_thread(lambda: list(check_all(config, home.federation.clock, canary=False)))
        said = next(finding for finding in findings if finding.what.startswith("broker "))
        assert said.detail.startswith("TLS inspection")
        assert "CN=Gemeente Firewall CA" in said.detail
        node = await start_node(config, home.federation.clock)
        written = ""

        def told() -> bool:
            nonlocal written
            written += capsys.readouterr().err
            return "TLS inspection" in written

        await until(told)
        await node.stop(1)
        found = await looked(f"localhost:{port}", config.tls_files)
        assert found.issuer == "CN=Gemeente Firewall CA"


async def test_inspection_behind_a_proxy_is_seen_too(home: NodeHome, tmp_path: Path) -> None:
    firewall = Authority(tmp_path / "firewall", "Gemeente Firewall CA")
    async with inspector(firewall.issue(POLITIE.oin, name="shown")) as port, http_proxy(tmp_path) as proxy:
        found = await looked(f"localhost:{port}", home.party.tls, Proxy(address=proxy.address))
        assert found.issuer == "CN=Gemeente Firewall CA"


async def test_each_step_of_the_way_has_words_of_its_own(home: NodeHome, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "stranger", "Vreemde CA").issue(POLITIE.oin)
    unknown = TlsFiles(stranger.certificate, stranger.key, home.party.tls.authorities)
    authority = home.federation.authority
    async with home.federation.broker() as broker, http_proxy(tmp_path) as proxy:
        address = f"localhost:{broker.port}"
        assert (await looked(address, home.party.tls)).good
        assert (await looked(address, home.party.tls, Proxy(address=proxy.address))).good
        assert "refuses the certificate of this node" in (await looked(address, unknown)).detail
        assert "`server_name`" in (await looked(address, home.party.tls, name="broker.example.nl")).detail
        assert "no connection to the broker" in (await looked("127.0.0.1:9", home.party.tls)).detail
        assert (
            "no connection to the proxy" in (await looked(address, home.party.tls, Proxy(address="127.0.0.1:9"))).detail
        )
        blocked = await looked("127.0.0.1:9", home.party.tls, Proxy(address=proxy.address))
        assert "to CONNECT 127.0.0.1:9" in blocked.detail
    async with web_server() as port:
        assert "no TLS with" in (await looked(f"127.0.0.1:{port}", home.party.tls)).detail
    over = authority.issue(POLITIE.oin, name="over", starts=-timedelta(days=9), ends=-timedelta(days=1))
    async with inspector(over) as port:
        assert "not valid at this moment" in (await looked(f"localhost:{port}", home.party.tls)).detail


async def test_broker_and_node_on_IPv6_alone(home: NodeHome) -> None:
    federation = home.federation
    changes = {"listen": "[::1]:0", "metrics": "[::1]:0"}
    broker = await start_broker(federation.config().model_copy(update=changes), federation.clock)
    try:
        tree = home.tree(broker.port)
        home.settings["brokers"] = [{"address": f"[::1]:{broker.port}"}]
        home.settings["metrics"] = "[::1]:0"
        assert tree["brokers"] != home.settings["brokers"]
        async with home.node(broker.port) as node:
            assert node.status()["brokers"] == {f"[::1]:{broker.port}": True}
        found = await looked(f"[::1]:{broker.port}", home.party.tls)
        assert found.good
    finally:
        await broker.stop(1)
