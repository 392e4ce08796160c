"""A certificate counts only while its authority's list is at hand, fresh, and does not name it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest
from bekend_proto.clock import SystemClock
from bekend_proto.errors import UnknownPartnerError, from_rpc_error
from bekend_proto.identity import TlsFiles, channel_to
from bekend_proto.revocation import RevocationError, RevocationLists, chain_of
from bekend_proto.serve import RunningServer, start_server
from bekend_proto.v1 import broker_pb2, broker_pb2_grpc
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding

from tests.support.clocks import SteeredClock
from tests.support.pki import DAY, Authority

ONE, OTHER = "00000099000000000001", "00000099000000000002"
HOUR = timedelta(hours=1)


def lists(authority: Authority, path: Path, clock: SteeredClock, **terms: Any) -> RevocationLists:
    return RevocationLists(path, authority.path, clock, **terms)


@pytest.fixture
def now() -> SteeredClock:
    return SteeredClock(datetime.now(UTC))


def chain(files: TlsFiles) -> tuple[bytes, ...]:
    return chain_of(files.certificate.read_bytes())


def test_who_is_on_the_list_is_refused_and_the_others_are_not(authority: Authority, now: SteeredClock) -> None:
    one, other = authority.issue(ONE), authority.issue(OTHER)
    held = lists(authority, authority.revoke(one), now)
    with pytest.raises(RevocationError, match="was revoked"):
        held.check(chain(one))
    held.check(chain(other))


def test_a_refreshed_list_counts_at_once(authority: Authority, now: SteeredClock) -> None:
    one = authority.issue(ONE)
    held = lists(authority, authority.revoke(), now)
    held.check(chain(one))
    authority.revoke(one)
    with pytest.raises(RevocationError, match="was revoked"):
        held.check(chain(one))


def test_a_list_past_its_time_lets_nobody_in(authority: Authority, now: SteeredClock) -> None:
    one = authority.issue(ONE)
    held = lists(authority, authority.revoke(lasts=6 * HOUR), now)
    held.check(chain(one))
    now.advance(7 * HOUR)
    with pytest.raises(RevocationError, match="have it refreshed"):
        held.check(chain(one))
    # Whatever it says of its successor.
    held = lists(authority, authority.revoke(since=2 * DAY, lasts=30 * DAY), now, max_age=DAY)
    with pytest.raises(RevocationError, match="have it refreshed"):
        held.check(chain(one))


@pytest.mark.parametrize("content", [None, b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n"])
def test_a_list_that_cannot_be_read_lets_nobody_in(
    authority: Authority, now: SteeredClock, content: bytes | None
) -> None:
    path = authority.folder / "list.pem"
    if content is not None:
        path.write_bytes(content)
    held = lists(authority, path, now)
    with pytest.raises(RevocationError):
        held.check(chain(authority.issue(ONE)))
    assert held.next_update() is None


def test_a_list_under_the_authority_s_name_by_somebody_else_is_none(authority: Authority, now: SteeredClock) -> None:
    held = lists(authority, authority.revoke(key=ec.generate_private_key(ec.SECP256R1())), now)
    with pytest.raises(RevocationError, match="holds no list of"):
        held.check(chain(authority.issue(ONE)))


def test_an_intermediate_is_looked_at_too(tmp_path: Path, now: SteeredClock) -> None:
    root = Authority(tmp_path / "root", "Root")
    middle = root.subordinate("Middle")
    one = middle.issue(ONE)
    both = root.folder / "both.pem"
    both.write_bytes(root.revoke().read_bytes() + middle.revoke().read_bytes())
    sent = (*chain(one), middle.certificate.public_bytes(Encoding.PEM))
    lists(root, both, now).check(sent)
    with pytest.raises(RevocationError, match="holds no list of"):
        lists(root, middle.revoke(), now).check(sent)
    with pytest.raises(RevocationError, match="authority is not known"):
        lists(root, both, now).check(sent[:1])
    bad = replace(one, certificate=middle.path)
    both.write_bytes(root.revoke(bad).read_bytes() + middle.revoke().read_bytes())
    with pytest.raises(RevocationError, match="was revoked"):
        lists(root, both, now).check(sent)


def test_the_first_list_that_ends_is_what_the_metric_shows(authority: Authority, now: SteeredClock) -> None:
    found = lists(authority, authority.revoke(lasts=DAY), now, max_age=6 * HOUR).next_update()
    assert found is not None
    assert timedelta(hours=5) < found - now.now() <= 6 * HOUR


class Servicer(broker_pb2_grpc.BrokerServiceServicer):
    async def GetDirectory(self, request: Any, context: Any) -> Any:
        return broker_pb2.GetDirectoryResponse()

    async def Attach(self, request_iterator: Any, context: Any) -> Any:
        async for _ in request_iterator:
            yield broker_pb2.AttachResponse()


async def serving(files: TlsFiles) -> RunningServer:
    return await start_server(
        [lambda server: broker_pb2_grpc.add_BrokerServiceServicer_to_server(Servicer(), server)],  # type: ignore[abstract]
        "localhost:0",
        files,
        clock=SystemClock(),
    )


async def test_a_server_ends_the_streams_of_who_is_revoked_and_refuses_its_calls(authority: Authority) -> None:
    broker, one, other = authority.issue("00000099000000900000"), authority.issue(ONE), authority.issue(OTHER)
    server = await serving(replace(broker, crl=authority.revoke()))
    try:
        async with (
            channel_to(f"localhost:{server.port}", one) as bad,
            channel_to(f"localhost:{server.port}", other) as good,
        ):
            streams = [broker_pb2_grpc.BrokerServiceStub(channel).Attach() for channel in (bad, good)]
            for stream in streams:
                await stream.write(broker_pb2.AttachRequest())
                assert await stream.read()
            authority.revoke(one)
            server.recheck()
            with pytest.raises(grpc.RpcError) as ended:
                await streams[0].read()
            assert isinstance(from_rpc_error(ended.value), UnknownPartnerError)
            with pytest.raises(grpc.RpcError):
                await broker_pb2_grpc.BrokerServiceStub(bad).GetDirectory(broker_pb2.GetDirectoryRequest())
            await broker_pb2_grpc.BrokerServiceStub(good).GetDirectory(broker_pb2.GetDirectoryRequest())
            await streams[1].write(broker_pb2.AttachRequest())
            assert await streams[1].read()
            # And nobody is let in on a list that is too old.
            authority.revoke(since=2 * DAY, lasts=DAY)
            server.recheck()
            with pytest.raises(grpc.RpcError):
                await streams[1].read()
    finally:
        await server.stop(0)
