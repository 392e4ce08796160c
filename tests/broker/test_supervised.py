"""The broker under a service manager, and for tools that look at it: systemd's socket, health, reflection."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import yaml
from bekend_broker.app import SERVICE, start_broker
from bekend_deploy.partners import OM
from bekend_proto.clock import SystemClock
from bekend_proto.identity import channel_to
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.support.clocks import SteeredClock
from tests.support.federation import Federation
from tests.support.pki import Authority


@contextmanager
def supervised(tmp_path: Path, authority: Authority) -> Iterator[tuple[Federation, Path, socket.socket]]:
    """A broker's configuration, and the socket at which systemd hears it."""
    federation = Federation.create(tmp_path, authority, SteeredClock(SystemClock().now()))
    config = tmp_path / "broker.yaml"
    tree = federation.config().model_dump(mode="json", exclude={"limits"}, exclude_none=True)
    config.write_text(yaml.safe_dump(tree))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as systemd:
        systemd.bind(str(tmp_path / "notify"))
        systemd.settimeout(60)
        yield federation, config, systemd


async def test_systemd_is_told_of_start_reload_life_and_end(tmp_path: Path, authority: Authority) -> None:
    with supervised(tmp_path, authority) as (_, config, systemd):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "bekend_deploy.cli", "broker", "serve", "--config", str(config)),
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify"), "WATCHDOG_USEC": "900000"},
            stderr=asyncio.subprocess.DEVNULL,
        )
        try:
            await until(systemd, "READY=1")
            status = await until(systemd, "WATCHDOG=1")
            assert status[1] == "STATUS=0 partners attached, 0 lookups running"
            await until(systemd, "WATCHDOG=1")
            process.send_signal(signal.SIGHUP)
            await until(systemd, "RELOADING=1")
            await until(systemd, "READY=1")
            process.terminate()
            await until(systemd, "STOPPING=1")
            assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()


async def test_a_second_broker_does_not_serve_from_the_file_of_the_first(tmp_path: Path, authority: Authority) -> None:
    """Also on another port. Once the first is gone, even by force, its place is free."""
    with supervised(tmp_path, authority) as (federation, config, systemd):

        async def serve() -> asyncio.subprocess.Process:
            return await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "bekend_deploy.cli", "broker", "serve", "--config", str(config)),
                env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
                stderr=asyncio.subprocess.PIPE,
            )

        started = [await serve()]
        try:
            await until(systemd, "READY=1")
            started.append(await serve())
            _, errors = await asyncio.wait_for(started[1].communicate(), 60)
            assert started[1].returncode == 1
            assert f"another process works in {federation.config().data}" in errors.decode()
            assert started[0].returncode is None
            started[0].kill()
            await started[0].wait()
            started.append(await serve())
            await until(systemd, "READY=1")
        finally:
            for process in started:
                if process.returncode is None:
                    process.kill()
                    await process.wait()


async def until(line: socket.socket, wanted: str) -> list[str]:
    """Read on to the message that begins with this."""
    while True:
        told = (await asyncio.to_thread(line.recv, 4096)).decode().split("\n")
        if told[0] == wanted:
            return told


async def test_health_tells_of_the_whole_and_of_the_service_to_whoever_has_a_certificate(
    federation: Federation, authority: Authority
) -> None:
    monitor = authority.issue("00000099000000007777", name="monitor")
    async with federation.broker() as broker, channel_to(f"localhost:{broker.port}", monitor) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        for name in ("", SERVICE):
            reply = await stub.Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING


async def services(federation: Federation, *, reflection: bool) -> set[str]:
    config = federation.config().model_copy(update={"reflection": reflection})
    broker = await start_broker(config, federation.clock)
    try:
        async with channel_to(f"localhost:{broker.port}", federation.parties[OM.oin].tls) as channel:
            call: Any = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
                iter([reflection_pb2.ServerReflectionRequest(list_services="")])
            )
            return {one.name async for reply in call for one in reply.list_services_response.service}
    finally:
        await broker.stop(1)


async def test_reflection_is_off_unless_it_is_configured(federation: Federation) -> None:
    with pytest.raises(grpc.RpcError) as refused:
        await services(federation, reflection=False)
    assert refused.value.code() == grpc.StatusCode.UNIMPLEMENTED
    assert SERVICE in await services(federation, reflection=True)
