"""What systemd is told, on a real socket."""

import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from bekend_proto.errors import StorageError
from bekend_proto.supervisor import Supervisor


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Stands for the service manager: a datagram socket that keeps what it is told."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(20)
        yield line


def supervisor(line: socket.socket, **more: str) -> Supervisor:
    return Supervisor({"NOTIFY_SOCKET": line.getsockname(), **more})


async def told(line: socket.socket) -> list[str]:
    return (await asyncio.to_thread(line.recv, 4096)).decode().split("\n")


async def nothing() -> None:
    pass


async def test_ready_reloading_and_stopping(systemd: socket.socket) -> None:
    one = supervisor(systemd)
    one.ready()
    one.reloading()
    one.stopping()
    assert await told(systemd) == ["READY=1"]
    reloading, since = await told(systemd)
    assert reloading == "RELOADING=1"
    # systemd 253 wants the moment, and compares it with its own clock.
    assert since.startswith("MONOTONIC_USEC=")
    assert await told(systemd) == ["STOPPING=1"]


async def test_a_sign_of_life_follows_work_that_went_all_the_way_and_no_other(systemd: socket.socket) -> None:
    gate, begun = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        begun.set()
        await gate.wait()

    one = supervisor(systemd, WATCHDOG_USEC="300000")
    watching = asyncio.create_task(one.watch(work, lambda: "3 of 4"))
    await begun.wait()
    systemd.setblocking(False)
    with pytest.raises(BlockingIOError):
        systemd.recv(4096)
    systemd.settimeout(20)
    gate.set()
    for _ in range(3):
        assert await told(systemd) == ["WATCHDOG=1", "STATUS=3 of 4"]
    watching.cancel()


async def test_a_disk_that_is_full_is_no_reason_to_start_again(systemd: socket.socket) -> None:
    async def work() -> None:
        raise StorageError("full")

    watching = asyncio.create_task(supervisor(systemd, WATCHDOG_USEC="300000").watch(work, str))
    assert (await told(systemd))[0] == "WATCHDOG=1"
    watching.cancel()


async def test_without_a_watchdog_the_status_alone_is_told(systemd: socket.socket) -> None:
    watching = asyncio.create_task(supervisor(systemd).watch(nothing, lambda: "well"))
    assert await told(systemd) == ["STATUS=well"]
    watching.cancel()


async def test_a_watchdog_of_another_process_is_not_answered(systemd: socket.socket) -> None:
    other = str(os.getppid())
    one = supervisor(systemd, WATCHDOG_USEC="300000", WATCHDOG_PID=other)
    watching = asyncio.create_task(one.watch(nothing, lambda: "well"))
    assert await told(systemd) == ["STATUS=well"]
    watching.cancel()


async def test_without_systemd_nothing_is_told_and_nothing_waits() -> None:
    one = Supervisor({})
    one.ready()
    await one.watch(nothing, str)


async def test_a_manager_that_went_away_stops_nothing(systemd: socket.socket) -> None:
    one = supervisor(systemd)
    Path(systemd.getsockname()).unlink()
    one.ready()


async def test_a_socket_in_the_abstract_namespace() -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(f"\0bekend-test-{os.getpid()}")
        line.settimeout(20)
        Supervisor({"NOTIFY_SOCKET": f"@bekend-test-{os.getpid()}"}).ready()
        assert await told(line) == ["READY=1"]
