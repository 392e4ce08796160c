"""Calls over real mutual TLS: who may call, how faults travel, what is counted."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest
from bekend_proto import serve
from bekend_proto.errors import BudgetError, DeadlineError, RefusedError, UnknownPartnerError, from_rpc_error
from bekend_proto.identity import (
    CHANNEL_OPTIONS,
    KEEPALIVE_SECONDS,
    MAX_DIRECTORY,
    MAX_MESSAGE,
    TlsFiles,
    caller_oin,
    channel_to,
)
from bekend_proto.interceptors import Caller, current_caller
from bekend_proto.serve import AddressError, RunningServer, start_server
from bekend_proto.v1 import broker_pb2, broker_pb2_grpc, errors_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from prometheus_client import CollectorRegistry

from tests.support.between import Relay
from tests.support.federation import until
from tests.support.pki import DAY, Authority

BROKER = "00000099000000000001"
NODE = "00000099000000000002"


class Servicer(broker_pb2_grpc.BrokerServiceServicer):
    """One method of each kind, and in each style."""

    def __init__(self) -> None:
        self.fault: Exception | None = None
        self.weighs = 0
        """Octets that a reply has more."""
        self.waits = asyncio.Event()
        self.waits.set()
        self.began = asyncio.Event()
        self.cancelled = asyncio.Event()

    async def GetDirectory(self, request: Any, context: Any) -> Any:
        self.began.set()
        try:
            await self.waits.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        if self.fault is not None:
            raise self.fault
        assert caller_oin(context) == current_caller()
        entry = broker_pb2.DirectoryEntry(oin=caller_oin(context), manifest=bytes(self.weighs))
        return broker_pb2.GetDirectoryResponse(entries=[entry])

    async def Fetch(self, request: Any, context: Any) -> AsyncIterator[Any]:
        for n in range(3):
            yield broker_pb2.FetchResponse(piece=broker_pb2.FilterPiece(box=bytes([n])))
        if self.fault is not None:
            raise self.fault

    async def Push(self, request_iterator: Any, context: Any) -> Any:
        async for _ in request_iterator:
            pass
        if self.fault is not None:
            raise self.fault
        return broker_pb2.PushResponse()

    async def Attach(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        while (message := await context.read()) is not grpc.aio.EOF:
            welcome = broker_pb2.Welcome(protocol_version=message.hello.manifest)
            await context.write(broker_pb2.AttachResponse(welcome=welcome))
        if self.fault is not None:
            raise self.fault

    async def PublishManifest(self, request: Any, context: Any) -> Any:
        return broker_pb2.PublishManifestResponse()

    async def PublishSuspension(self, request: Any, context: Any) -> Any:
        return broker_pb2.PublishSuspensionResponse()

    async def Release(self, request: Any, context: Any) -> Any:
        return broker_pb2.ReleaseResponse()

    async def Collect(self, request: Any, context: Any) -> Any:
        return broker_pb2.CollectResponse()

    async def GetCovenant(self, request: Any, context: Any) -> AsyncIterator[Any]:
        yield broker_pb2.GetCovenantResponse()

    async def GetCheckpoint(self, request: Any, context: Any) -> Any:
        return broker_pb2.GetCheckpointResponse(checkpoint=bytes(self.weighs))

    async def GetConsistencyProof(self, request: Any, context: Any) -> Any:
        return broker_pb2.GetConsistencyProofResponse()

    async def GetInclusionProof(self, request: Any, context: Any) -> Any:
        return broker_pb2.GetInclusionProofResponse()

    async def PutCosignature(self, request: Any, context: Any) -> Any:
        return broker_pb2.PutCosignatureResponse()

    async def PutCheckpoint(self, request: Any, context: Any) -> Any:
        return broker_pb2.PutCheckpointResponse()

    async def Access(self, request: Any, context: Any) -> Any:
        return broker_pb2.AccessResponse()

    async def Enrol(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        async for message in request_iterator:
            yield broker_pb2.EnrolResponse(chunk=broker_pb2.EvaluatedChunk(index=message.chunk.index))

    async def Lookup(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        async for message in request_iterator:
            yield broker_pb2.LookupResponse(begun=broker_pb2.Begun(proof=message.begin.payload))
        if self.fault is not None:
            raise self.fault


Stub = Any


class Setting:
    """A server on a free port, and what a test needs around it."""

    def __init__(
        self, servicer: Servicer, server: RunningServer, registry: CollectorRegistry, authority: Authority
    ) -> None:
        self.servicer = servicer
        self.server = server
        self.registry = registry
        self.authority = authority
        self.address = f"localhost:{server.port}"

    @asynccontextmanager
    async def stub(self, files: TlsFiles | None = None) -> AsyncIterator[Stub]:
        async with channel_to(self.address, files or self.authority.issue(NODE)) as channel:
            yield broker_pb2_grpc.BrokerServiceStub(channel)

    def counted(self, method: str, code: str) -> float:
        value = self.registry.get_sample_value("bekend_grpc_requests_total", {"method": method, "code": code})
        return value or 0.0


def admit(caller: Caller) -> None:
    if caller.oin == "00000099000000000009":
        raise UnknownPartnerError("not in the covenant")


@pytest.fixture
async def setting(authority: Authority) -> AsyncIterator[Setting]:
    servicer, registry = Servicer(), CollectorRegistry()
    server = await start_server(
        [lambda server: broker_pb2_grpc.add_BrokerServiceServicer_to_server(servicer, server)],
        "localhost:0",
        authority.issue(BROKER),
        registry=registry,
        admit=admit,
        unary_seconds=5,
    )
    yield Setting(servicer, server, registry, authority)
    await server.stop(0)


def directory() -> Any:
    return broker_pb2.GetDirectoryRequest()


async def code_behind(call: Any) -> str:
    with pytest.raises(grpc.RpcError) as caught:
        await call
    return errors_pb2.ErrorCode.Name(from_rpc_error(caught.value).code)


async def test_a_handler_knows_its_caller_by_the_certificate(setting: Setting) -> None:
    async with setting.stub() as stub:
        assert (await stub.GetDirectory(directory())).entries[0].oin == NODE
    async with setting.stub(setting.authority.issue("00000099000000000003")) as stub:
        assert (await stub.GetDirectory(directory())).entries[0].oin == "00000099000000000003"


async def test_all_kinds_of_handler_work_in_all_styles(setting: Setting) -> None:
    async with setting.stub() as stub:
        boxes = [response.piece.box async for response in stub.Fetch(broker_pb2.FetchRequest())]
        assert boxes == [b"\0", b"\1", b"\2"]
        assert await stub.Push(iter([broker_pb2.PushRequest()] * 3)) == broker_pb2.PushResponse()
        attach = stub.Attach()
        for n in (5, 6):
            await attach.write(broker_pb2.AttachRequest(hello=broker_pb2.Hello(manifest=n)))
            assert (await attach.read()).welcome.protocol_version == n
        await attach.done_writing()
        assert await attach.read() is grpc.aio.EOF
        lookup = stub.Lookup()
        for payload in (b"one", b"two"):
            request = broker_pb2.LookupRequest()
            request.begin.payload = payload
            await lookup.write(request)
            assert (await lookup.read()).begun.proof == payload
        await lookup.done_writing()
        assert await lookup.read() is grpc.aio.EOF
    for method in ("Fetch", "Push", "Attach", "Lookup"):
        await until(lambda method=method: setting.counted(f"BrokerService/{method}", "OK") == 1)  # type: ignore[misc]


async def test_a_directory_of_hundreds_may_weigh_what_no_other_message_may(setting: Setting) -> None:
    """Of 400 partners and ten purposes it weighs some megabytes; nobody else sends a node that much, or the broker."""
    setting.servicer.weighs = MAX_MESSAGE + 1
    async with setting.stub() as stub:
        assert len((await stub.GetDirectory(directory())).entries[0].manifest) > MAX_MESSAGE
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetCheckpoint(broker_pb2.GetCheckpointRequest())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        with pytest.raises(grpc.RpcError) as caught:
            await stub.PublishManifest(broker_pb2.PublishManifestRequest(manifest=bytes(MAX_MESSAGE + 1)))
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        setting.servicer.weighs = MAX_DIRECTORY
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetDirectory(directory())
        assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


CALLS: dict[str, Callable[[Stub], Any]] = {
    "GetDirectory": lambda stub: stub.GetDirectory(directory()),
    "Push": lambda stub: stub.Push(iter([])),
    "Fetch": lambda stub: drain(stub.Fetch(broker_pb2.FetchRequest())),
    "Attach": lambda stub: drain(stub.Attach(iter([]))),
    "Lookup": lambda stub: drain(stub.Lookup(iter([]))),
}


async def drain(call: Any) -> None:
    async for _ in call:
        pass


@pytest.mark.parametrize("method", CALLS)
async def test_a_refusal_travels_as_its_code_and_nothing_else(
    setting: Setting, method: str, capsys: pytest.CaptureFixture[str]
) -> None:
    setting.servicer.fault = BudgetError("the budget of today for zsm/context is used up")
    async with setting.stub() as stub:
        with pytest.raises(grpc.RpcError) as caught:
            await CALLS[method](stub)
    assert isinstance(from_rpc_error(caught.value), BudgetError)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "zsm" not in repr(caught.value)
    line = next(
        line for line in map(json.loads, capsys.readouterr().err.splitlines()) if line["event"] != "server-started"
    )
    assert line.pop("time")
    assert line == {
        "level": "warning",
        "event": "call-refused",
        "method": f"BrokerService/{method}",
        "caller": NODE,
        "code": "budget",
        "detail": "the budget of today for zsm/context is used up",
    }
    # The reply is there before the call has ended.
    await until(lambda: setting.counted(f"BrokerService/{method}", "RESOURCE_EXHAUSTED") == 1)


@pytest.mark.parametrize("method", CALLS)
async def test_an_unforeseen_fault_is_bland_outside_and_without_values_inside(
    setting: Setting, method: str, capfd: pytest.CaptureFixture[str]
) -> None:
    setting.servicer.fault = ValueError("999990019")
    async with setting.stub() as stub:
        with pytest.raises(grpc.RpcError) as caught:
            await CALLS[method](stub)
    assert from_rpc_error(caught.value).code == errors_pb2.ERROR_CODE_INTERNAL
    assert "999990019" not in repr(caught.value)
    written = capfd.readouterr().err
    assert '"event": "call-failed"' in written
    assert '"exception": "ValueError"' in written
    assert '"place": "test_serve.py:' in written
    assert "999990019" not in written
    await until(lambda: setting.counted(f"BrokerService/{method}", "INTERNAL") == 1)


async def test_the_rule_and_reason_of_a_refusal_stay_here(setting: Setting) -> None:
    setting.servicer.fault = RefusedError("D3", "Deze vraag mag niet.")
    async with setting.stub() as stub:
        with pytest.raises(grpc.RpcError) as caught:
            await stub.GetDirectory(directory())
    assert "D3" not in repr(caught.value)
    assert isinstance(from_rpc_error(caught.value), RefusedError)


async def test_a_partner_that_is_not_admitted_gets_nothing(setting: Setting) -> None:
    async with setting.stub(setting.authority.issue("00000099000000000009")) as stub:
        for call in CALLS.values():
            assert await code_behind(call(stub)) == "ERROR_CODE_UNKNOWN_PARTNER"
    assert not setting.servicer.began.is_set()


@pytest.mark.parametrize("numbers", [[], [NODE, NODE], ["2"]])
def test_channel_files_without_oin_are_refused_at_home(authority: Authority, numbers: list[str]) -> None:
    with pytest.raises(UnknownPartnerError):
        channel_to("localhost:1", authority.issue(numbers, name="odd"))


def raw_channel(address: str, files: TlsFiles | None, authority: Authority) -> grpc.aio.Channel:
    """A channel made by somebody who checks nothing."""
    key, chain = (files.key.read_bytes(), files.certificate.read_bytes()) if files else (None, None)
    credentials = grpc.ssl_channel_credentials(authority.path.read_bytes(), key, chain)
    return grpc.aio.secure_channel(address, credentials)


@pytest.mark.parametrize("numbers", [[], [NODE, NODE], ["2"]])
async def test_a_certificate_without_one_oin_gets_nothing(setting: Setting, numbers: list[str]) -> None:
    async with raw_channel(setting.address, setting.authority.issue(numbers, name="odd"), setting.authority) as channel:
        stub = broker_pb2_grpc.BrokerServiceStub(channel)
        assert await code_behind(stub.GetDirectory(directory())) == "ERROR_CODE_UNKNOWN_PARTNER"


async def test_no_certificate_an_expired_one_or_a_strangers_gets_no_connection(
    setting: Setting, tmp_path: Path
) -> None:
    stranger = Authority(tmp_path / "other", "Other CA").issue(NODE)
    expired = setting.authority.issue(NODE, starts=-9 * DAY, ends=-DAY)
    for files in (None, stranger, expired):
        async with raw_channel(setting.address, files, setting.authority) as channel:
            stub = broker_pb2_grpc.BrokerServiceStub(channel)
            assert await code_behind(stub.GetDirectory(directory())) == "ERROR_CODE_UNREACHABLE"


async def test_a_server_of_another_authority_is_not_spoken_to(setting: Setting, tmp_path: Path) -> None:
    stranger = Authority(tmp_path / "other", "Other CA").issue(NODE)
    async with setting.stub(stranger) as stub:
        assert await code_behind(stub.GetDirectory(directory())) == "ERROR_CODE_UNREACHABLE"


async def test_tls_below_1_3_is_refused(setting: Setting) -> None:
    """gRPC itself offers no such switch: an old client connects, and its call is refused."""
    files = setting.authority.issue(NODE)
    old = ssl.create_default_context(cafile=str(files.authorities))
    old.load_cert_chain(files.certificate, files.key)
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    old.set_alpn_protocols(["h2"])
    reader, writer = await asyncio.open_connection("localhost", setting.server.port, ssl=old)
    try:
        assert writer.get_extra_info("ssl_object").version() == "TLSv1.2"
        writer.write(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4, 0, 0, b"") + request_frames())
        answer = b""
        while b"ERROR_CODE_" not in answer and (data := await reader.read(4096)):
            answer += data
        assert b"ERROR_CODE_UNKNOWN_PARTNER" in answer
        assert not setting.servicer.began.is_set()
    finally:
        writer.close()


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    """An HTTP/2 frame (RFC 9113 section 4.1)."""
    return len(payload).to_bytes(3) + bytes([kind, flags]) + stream.to_bytes(4) + payload


def request_frames() -> bytes:
    """HEADERS and DATA of a GetDirectory, with literal header fields (RFC 7541 section 6.2.2)."""
    fields = {
        ":method": "POST",
        ":scheme": "https",
        ":path": "/bekend_proto.v1.BrokerService/GetDirectory",
        ":authority": "localhost",
        "te": "trailers",
        "content-type": "application/grpc",
    }
    block = b"".join(
        b"\0" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
        for name, value in fields.items()
    )
    return frame(1, 4, 1, block) + frame(0, 1, 1, bytes(5))


async def test_a_unary_call_has_a_deadline_of_the_servers_own(authority: Authority) -> None:
    servicer = Servicer()
    servicer.waits.clear()
    server = await start_server(
        [lambda server: broker_pb2_grpc.add_BrokerServiceServicer_to_server(servicer, server)],
        "localhost:0",
        authority.issue(BROKER),
        unary_seconds=0.05,
    )
    async with channel_to(f"localhost:{server.port}", authority.issue(NODE)) as channel:
        with pytest.raises(grpc.RpcError) as caught:
            await broker_pb2_grpc.BrokerServiceStub(channel).GetDirectory(directory())
    assert isinstance(from_rpc_error(caught.value), DeadlineError)
    await server.stop(0)


async def test_a_caller_that_goes_away_ends_the_handler(setting: Setting) -> None:
    setting.servicer.waits.clear()
    async with setting.stub() as stub:
        call = stub.GetDirectory(directory())
        waiting = asyncio.ensure_future(call)
        await setting.servicer.began.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await setting.servicer.cancelled.wait()
        setting.servicer.waits.set()
        await stub.GetDirectory(directory())
    assert setting.counted("BrokerService/GetDirectory", "CANCELLED") == 1
    assert setting.counted("BrokerService/GetDirectory", "OK") == 1


async def test_metrics_carry_method_and_code_alone(setting: Setting) -> None:
    async with setting.stub() as stub:
        await stub.GetDirectory(directory())
    labels = {
        name
        for family in setting.registry.collect()
        for sample in family.samples
        for name in sample.labels
        if name != "le"
    }
    assert labels == {"method", "code"}
    assert setting.counted("BrokerService/GetDirectory", "OK") == 1


async def test_an_unknown_method_is_not_implemented_and_not_counted(setting: Setting) -> None:
    async with channel_to(setting.address, setting.authority.issue(NODE)) as channel:
        for path in ("/bekend_proto.v1.BrokerService/Nothing", "/grpc.reflection.v1.ServerReflection/Info"):
            call: Any = channel.unary_unary(path)
            with pytest.raises(grpc.RpcError) as caught:
                await call(b"")
            assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    assert not any(family.samples for family in setting.registry.collect())


async def test_health_is_told_to_who_has_a_certificate_of_the_authority(setting: Setting) -> None:
    monitor = setting.authority.issue([], name="monitor")
    async with raw_channel(setting.address, monitor, setting.authority) as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_stopping_lets_a_running_call_finish(setting: Setting) -> None:
    setting.servicer.waits.clear()
    async with setting.stub() as stub:
        call = asyncio.ensure_future(stub.GetDirectory(directory()))
        await setting.servicer.began.wait()
        stopping = asyncio.create_task(setting.server.stop(30))
        await asyncio.sleep(0)
        setting.servicer.waits.set()
        assert (await call).entries[0].oin == NODE
        await stopping
        await setting.server.wait_closed()


async def test_a_taken_port_is_a_clear_error(setting: Setting) -> None:
    with pytest.raises(AddressError, match=r"the port is in use.*configure another"):
        await start_server([], setting.address, setting.authority.issue(BROKER))


async def test_a_renewed_certificate_serves_from_the_next_connection(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    async def served() -> bytes:
        files = setting.authority.issue(NODE)
        client = ssl.create_default_context(cafile=str(files.authorities))
        client.load_cert_chain(files.certificate, files.key)
        client.set_alpn_protocols(["h2"])
        _, writer = await asyncio.open_connection("localhost", setting.server.port, ssl=client)
        certificate: bytes = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        writer.close()
        return certificate

    first = await served()
    assert await served() == first
    setting.authority.issue(BROKER)
    second = await served()
    assert second != first

    # A broken renewal keeps the last good one, and says so.
    files = setting.authority.issue("00000099000000000004")
    files.key.rename(setting.authority.folder / f"{BROKER}.key")
    assert await served() == second
    assert "is not the key of" in capsys.readouterr().err
    setting.authority.issue(BROKER)
    assert await served() not in (first, second)


class Idle:
    """A server and a client with a box between them that forgets a line after a second of silence."""

    def __init__(self, relay: Relay, stub: Stub) -> None:
        self.relay = relay
        self.stub = stub


@asynccontextmanager
async def behind_a_forgetful_box(authority: Authority, keepalive: float) -> AsyncIterator[Idle]:
    servicer = Servicer()
    server = await start_server(
        [lambda server: broker_pb2_grpc.add_BrokerServiceServicer_to_server(servicer, server)],
        "localhost:0",
        authority.issue(BROKER),
        keepalive_seconds=keepalive,
    )
    options = [("grpc.keepalive_time_ms", round(keepalive * 1000))]
    try:
        async with (
            Relay(server.port, idle_seconds=1.0) as relay,
            channel_to(f"localhost:{relay.port}", authority.issue(NODE), options=options) as channel,
        ):
            yield Idle(relay, broker_pb2_grpc.BrokerServiceStub(channel))
    finally:
        await server.stop(0)


async def hello(call: Any) -> int:
    await call.write(broker_pb2.AttachRequest(hello=broker_pb2.Hello(manifest=7)))
    return int((await call.read()).welcome.protocol_version)


async def test_a_silent_line_outlives_a_box_that_forgets_silent_lines(authority: Authority) -> None:
    """Pings as far apart, in proportion, as the shipped ones are for a box that waits 60 s."""
    async with behind_a_forgetful_box(authority, KEEPALIVE_SECONDS / 60) as idle:
        call = idle.stub.Attach()
        assert await hello(call) == 7
        begun = idle.relay.passed
        # A ping and its reply, each way: so many that the box looked away and back several times.
        await until(lambda: idle.relay.passed >= begun + 20)
        assert await hello(call) == 7
        assert idle.relay.forgotten == 0


async def test_without_pings_the_box_forgets_it(authority: Authority) -> None:
    async with behind_a_forgetful_box(authority, 60) as idle:
        call = idle.stub.Attach()
        assert await hello(call) == 7
        await until(lambda: idle.relay.forgotten == 1)


async def test_the_shipped_interval_leaves_room_for_a_lost_ping() -> None:
    assert 2 * KEEPALIVE_SECONDS < 60
    assert ("grpc.keepalive_time_ms", KEEPALIVE_SECONDS * 1000) in CHANNEL_OPTIONS


async def test_a_line_that_shows_no_certificate_is_let_go(
    authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each is an open file, and who shows none needs no certificate to hold thousands."""
    monkeypatch.setattr(serve, "HANDSHAKE_SECONDS", 0.5)
    server = await start_server([], "127.0.0.1:0", authority.issue("00000099000000000001"))
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        # The beginning of a handshake, and no more.
        writer.write(b"\x16\x03\x01\x02\x00\x01")
        assert await asyncio.wait_for(reader.read(), 20) == b""
        writer.close()
    finally:
        await server.stop()
