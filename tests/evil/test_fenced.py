"""Two machines hold one node's keys: one of them speaks to the broker, and the other stops (fencing)."""

import asyncio
import gc
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node import backups
from bekend_node.app import Node, start_node
from bekend_node.config import NodeConfig, load_config
from bekend_node.setup import make_draft
from bekend_proto import incarnation
from bekend_proto.errors import BekendError, FencedError, from_rpc_error
from bekend_proto.incarnation import METADATA, Incarnation
from bekend_proto.note import note_name, sign_note
from bekend_proto.v1 import broker_pb2

from tests.evil.test_restored import ask, switched
from tests.evil.world import World, broker_of, enrol, real_node

LATER = timedelta(minutes=3)


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World.build(tmp_path / "world")
    # What a broker left that was stopped under its nodes ends here, and in no other test.
    gc.collect()


@pytest.fixture
def ended(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """What would have ended a process of its own."""
    raised: list[int] = []
    monkeypatch.setattr(signal, "raise_signal", raised.append)
    return raised


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.01)


def name_both_logs(world: World, config: NodeConfig) -> None:
    """The ondertekenaar signs, beforehand, that the standby's log may be shown too."""
    signer = world.built.nodes[config.oin].off_line.signer
    draft = make_draft(config, world.clock.now())
    assert draft.logs == ("node", "node-standby")
    config.manifest.write_bytes(sign_note(draft.text(), signer.name, signer.seed))


async def test_a_standby_takes_over_and_the_machine_that_served_stops(
    world: World, tmp_path: Path, ended: list[int]
) -> None:
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        real_node(world, OM.oin, tmp_path / "om", broker.port) as om,
    ):
        serving = world.node_config(POLITIE.oin, tmp_path / "one", broker.port)
        serving = serving.model_copy(update={"logs": ("node-standby",)})
        name_both_logs(world, serving)
        enrol(world, POLITIE.oin, serving.data, [ZSM_CONTEXT])
        first = await start_node(serving, world.clock)
        standby = world.node_config(POLITIE.oin, tmp_path / "two", broker.port)
        standby = standby.model_copy(update={"log": "node-standby"})
        try:
            await first.attachments[0].attached.wait()
            await first.directory.wait()
            await first.filters.tick()
            await switched(first)
            await om.directory.refresh()
            assert await ask(om, world) == "bekend"
            arrived = tmp_path / "arrived"
            assert [what for what, fault in backups.check_standby(standby, arrived, world.clock) if fault] == ["backup"]
            backups.make_backup(serving, arrived, world.clock.now())
            assert not [fault for _, fault in backups.check_standby(standby, arrived, world.clock) if fault]

            # The first one goes on serving; nobody signs anything; one command, and a start.
            world.clock.advance(LATER)
            await backups.restore(
                standby, backups.newest(standby, arrived, world.clock.now()).folder, world.clock.now()
            )
            second = await start_node(standby, world.clock)
            try:
                await second.attachments[0].attached.wait()
                await until(lambda: first.fenced is not None)
                assert ended == [signal.SIGTERM]
                assert "another machine" in str(first.fenced)
                # Whatever it still tries in the node's name, its keys and certificate in order, it gets nothing.
                for call in (_begin, _checkpoint):
                    with pytest.raises(FencedError):
                        await call(first)
                assert second.attachments[0].attached.is_set()
                assert await ask(om, world) == "geen_antwoord"
                enrol(world, POLITIE.oin, standby.data, [ZSM_CONTEXT])
                enrol(world, POLITIE.oin, standby.data, [ZSM_CONTEXT], registers=(), shielded=[world.nobody])
                world.clock.advance(LATER)
                await switched(second)
                await switched(om)
                assert await ask(om, world) == "bekend"
            finally:
                await second.stop(0)
        finally:
            await first.stop(0)
        # Also when it comes back alone, and after a restart of the broker.
        port = broker.port
        await broker.stop(0)
    async with broker_of(world, tmp_path / "broker") as again:
        assert again.port != port
        config = serving.model_copy(
            update={"brokers": world.node_config(POLITIE.oin, serving.data, again.port).brokers}
        )
        first = await start_node(config, world.clock)
        try:
            await until(lambda: first.fenced is not None)
        finally:
            await first.stop(0)


async def _checkpoint(node: Node) -> None:
    await _call(node.links[0].stub.GetCheckpoint, broker_pb2.GetCheckpointRequest())


async def _begin(node: Node) -> None:
    call: Any = node.links[0].stub.Lookup()
    try:
        await call.write(broker_pb2.LookupRequest())
        await call.read()
        raise AssertionError("it was let in")
    except Exception as fault:
        raise from_rpc_error(fault) from None  # type: ignore[arg-type]


async def _call(method: Any, request: Any) -> None:
    try:
        await method(request, timeout=5)
    except Exception as fault:
        raise from_rpc_error(fault) from None  # type: ignore[arg-type]


async def test_a_node_that_begins_empty_does_not_take_a_place_by_accident(
    world: World, tmp_path: Path, ended: list[int]
) -> None:
    """A second installation, a standby that was started before it was promoted: the first one goes on."""
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        real_node(world, POLITIE.oin, tmp_path / "one", broker.port, [ZSM_CONTEXT]) as first,
    ):
        empty = world.node_config(POLITIE.oin, tmp_path / "two", broker.port)
        second = await start_node(empty, world.clock)
        await until(lambda: second.fenced is not None)
        await second.stop(0)
        assert first.fenced is None
        assert first.attachments[0].attached.is_set()
        # Said on purpose it does.
        shutil.rmtree(empty.data)
        incarnation.take_over(empty.data, POLITIE.oin, world.clock.now())
        second = await start_node(empty, world.clock)
        await second.attachments[0].attached.wait()
        await until(lambda: first.fenced is not None)
        await second.stop(0)


async def test_nobody_takes_over_without_the_nodes_signature_or_from_the_future(world: World, tmp_path: Path) -> None:
    """Who has the certificate alone cannot shut a node out."""
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        real_node(world, POLITIE.oin, tmp_path / "one", broker.port, [ZSM_CONTEXT]) as honest,
    ):
        now = int(world.clock.now().timestamp() * 1000)
        thief, key = world.signing(OM.oin), world.signing(POLITIE.oin)
        later = Incarnation(now, "ab" * 16, POLITIE.oin)
        stated = {
            "another's key": later.statement(thief),
            "a year ahead": Incarnation(now + 10**10, "ab" * 16, POLITIE.oin).statement(key),
            "another node": Incarnation(now, "ab" * 16, OM.oin).statement(key),
            "no statement": b"x",
            "another text": sign_note("bekend/1 incarnation\n", note_name(POLITIE.oin, "incarnation"), bytes(key)),
            "nothing": b"",
        }
        for what, octets in stated.items():
            assert await _attach(world, broker.port, octets), what
        assert honest.fenced is None
        await honest.attachments[0].attached.wait()
        assert broker.store.read(lambda c: c.execute("SELECT number FROM incarnation").fetchall()) == [(0,)]


async def _attach(world: World, port: int, octets: bytes) -> BekendError | None:
    hello = broker_pb2.Hello(protocol_versions=[1], covenant_hash=world.covenant.hash, manifest=1)
    async with world.stub(port, world.tls(POLITIE.oin)) as stub:
        call: Any = stub.Attach(metadata=((METADATA, octets),) if octets else ())
        try:
            await call.write(broker_pb2.AttachRequest(hello=hello))
            await call.read()
        except Exception as fault:
            return from_rpc_error(fault)  # type: ignore[arg-type]
        return None


def test_what_stands_on_disk_is_made_once(tmp_path: Path, world: World) -> None:
    first = incarnation.own(tmp_path, OM.oin)
    assert first == incarnation.own(tmp_path, OM.oin)
    assert (tmp_path / incarnation.FILE).stat().st_mode & 0o077 == 0
    taken = incarnation.take_over(tmp_path, OM.oin, world.clock.now())
    assert incarnation.own(tmp_path, OM.oin) == taken
    assert first.is_fenced_by(taken)
    assert not taken.is_fenced_by(first)
    assert not taken.is_fenced_by(taken)


def another_machine(world: World, name: str, port: int, **changes: str) -> Path:
    """The folder of a partner's node once more, as on another machine; gives its configuration."""
    folder = world.built.nodes[POLITIE.oin].folder
    config = folder.with_name(name) / "node.yaml"
    shutil.copytree(folder, config.parent)
    text = config.read_text("utf-8").replace(f"127.0.0.1:{world.built.broker_port}", f"localhost:{port}")
    kept = [line for line in text.splitlines() if not line.startswith(("metrics:", *(f"{key}:" for key in changes)))]
    config.write_text("\n".join([*kept, *(f"{key}: {value}" for key, value in changes.items())]) + "\n", "utf-8")
    return config


async def bekend(*words: str) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bekend_deploy.cli", *words), stderr=asyncio.subprocess.PIPE
    )


async def test_of_two_processes_of_one_node_the_one_that_did_not_take_over_ends(world: World, tmp_path: Path) -> None:
    """The commands that an operator types. The exit code is one that a supervisor does not restart."""
    async with broker_of(world, tmp_path / "broker") as broker:
        one = another_machine(world, "one", broker.port, logs="[node-standby]")
        name_both_logs(world, load_config(one))
        two = another_machine(world, "two", broker.port, log="node-standby")
        shutil.copyfile(one.with_name("manifest.note"), two.with_name("manifest.note"))
        arrived = str(tmp_path / "arrived")
        first = await bekend("node", "serve", "--config", str(one))
        second = None
        try:
            await until(lambda: broker._register.is_attached(POLITIE.oin))
            for words in (
                ("node", "backup", arrived, "--config", str(one)),
                ("node", "standby", arrived, "--config", str(two)),
                ("node", "promote", arrived, "--config", str(two)),
            ):
                done = await bekend(*words)
                _, said = await done.communicate()
                assert done.returncode == 0, (words, said)
            assert first.returncode is None
            second = await bekend("node", "serve", "--config", str(two))
            _, said = await first.communicate()
            assert first.returncode == 8
            assert b"another machine took the place of this node" in said
            assert broker._register.is_attached(POLITIE.oin)
            # Started again, with everything in order but its turn, it ends again, and the other one goes on.
            first = await bekend("node", "serve", "--config", str(one))
            await first.communicate()
            assert first.returncode == 8
            assert second.returncode is None
        finally:
            for process in (first, second):
                if process is not None and process.returncode is None:
                    process.terminate()
                    await process.communicate()
