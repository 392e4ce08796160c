"""A party that was put back from a backup is behind what others saw of it: it says so, and nobody is misled."""

import gc
import shutil
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_broker import backups as broker_backups
from bekend_broker.app import start_broker
from bekend_broker.config import BrokerConfig
from bekend_broker.keys import draft_manifest
from bekend_broker.store import Store as BrokerStore
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, ZSM_CONTEXT
from bekend_node import backups
from bekend_node.app import Node, start_node
from bekend_node.attach import Attachment
from bekend_node.config import NodeConfig
from bekend_node.retention import Retention
from bekend_node.setup import make_draft
from bekend_policy.manifest import KeyManifest, closed_logs
from bekend_proto import backup, log_table
from bekend_proto.checkpoint import log_origin
from bekend_proto.errors import KeysError, LogError, NotReadyError, RefusedError
from bekend_proto.note import sign_note

from tests.evil.world import World, broker_of, enrol, real_node, told

LATER = timedelta(minutes=3)
MAIN, MAIN_2 = (log_origin(BROKER_OIN, name) for name in ("main", "main-2"))


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World.build(tmp_path / "world")
    # What a broker left that was stopped under its nodes ends here, and in no other test.
    gc.collect()


def sign_for(world: World, config: NodeConfig) -> KeyManifest:
    """What the ondertekenaar does after a restore."""
    draft = make_draft(config, world.clock.now())
    signer = world.built.nodes[config.oin].off_line.signer
    config.manifest.write_bytes(sign_note(draft.text(), signer.name, signer.seed))
    return draft


async def ask(om: Node, world: World) -> str:
    await om.asker.open_purpose(ZSM_CONTEXT, [POLITIE.oin])
    return (await told(om, world, ZSM_CONTEXT, world.somebody, POLITIE.oin))[0]


async def switched(node: Node) -> None:
    """A moment at which filters switch may have come when the clock went on."""
    await node.filters.tick()
    await node.filters.settle()


@pytest.fixture
def folders(tmp_path: Path) -> tuple[Path, Path, Path, Path]:
    return tmp_path / "broker", tmp_path / "om", tmp_path / "politie", tmp_path / "backups"


async def test_must_05_and_23_a_restored_node_answers_nothing_before_its_registers_are_imported_anew(
    world: World, folders: tuple[Path, Path, Path, Path]
) -> None:
    at_broker, at_om, data, into = folders
    async with broker_of(world, at_broker) as broker, real_node(world, OM.oin, at_om, broker.port) as om:
        async with real_node(world, POLITIE.oin, data, broker.port, [ZSM_CONTEXT]) as politie:
            assert await ask(om, world) == "bekend"
            # While it runs.
            made = backups.make_backup(politie.config, into, world.clock.now())
            version = politie.filters.serving(ZSM_CONTEXT).version
            assert await ask(om, world) == "bekend"
            await politie.witness.round()
            config = politie.config
        shutil.rmtree(data)
        world.clock.advance(LATER)

        with pytest.raises(LogError, match="never used"):
            await backups.restore(config, made.folder, world.clock.now())
        assert not data.exists()
        config = config.model_copy(update={"log": "node-2"})
        done = await backups.restore(config, made.folder, world.clock.now())
        assert (done.closed.origin, done.closed.size) == (log_origin(POLITIE.oin, "node"), 1)
        with pytest.raises(KeysError, match="bekend node manifest"):
            await start_node(config, world.clock)
        signed = sign_for(world, config)
        assert signed.logs == ("node-2",)
        assert [(one.log, one.size, one.next) for one in signed.closed_logs] == [("node", 1, "node-2")]

        politie = await start_node(config, world.clock)
        try:
            await politie.attachments[0].attached.wait()
            await politie.directory.wait()
            await politie.filters.tick()
            await om.directory.refresh()
            with pytest.raises(NotReadyError, match="before"):
                politie.filters.serving(ZSM_CONTEXT)
            assert await ask(om, world) == "geen_antwoord"
            world.clock.advance(LATER)
            with pytest.raises(NotReadyError, match="came back from a backup"):
                politie.filters.serving(ZSM_CONTEXT)
            assert await ask(om, world) == "geen_antwoord"
            status = politie.status()["purposes"][ZSM_CONTEXT]
            assert status["ready"] is False
            assert "import it anew" in status["reason"]

            enrol(world, POLITIE.oin, data, [ZSM_CONTEXT])
            # Who was shielded since the backup stands in no list here: that of `afgeschermd` is asked for as well.
            with pytest.raises(NotReadyError, match="afgeschermd"):
                politie.filters.serving(ZSM_CONTEXT)
            enrol(world, POLITIE.oin, data, [ZSM_CONTEXT], registers=(), shielded=[world.nobody])
            await switched(politie)
            assert await ask(om, world) == "bekend"
            assert politie.filters.serving(ZSM_CONTEXT).version > version
            # Others see the log go on under the name that was signed; what they saw of the other one stays.
            await politie.witness.round()
            seen = broker.store.read(log_table.seen)
            assert {log_origin(POLITIE.oin, name) for name in ("node", "node-2")} <= seen.keys()
            assert seen[log_origin(POLITIE.oin, "node")][0].size == 2
            assert broker.store.read(log_table.alarms) == []
            kinds = [one.kind for one in politie.store.read(lambda c: log_table.entries(c, 0, 9))]
            assert kinds[:2] == ["answered", "restored"]
        finally:
            await politie.stop(0)


async def restored_broker(world: World, config: BrokerConfig, folder: Path) -> BrokerConfig:
    """The operator puts a backup back, and signs what became of the log."""
    shutil.rmtree(config.data)
    config = config.model_copy(update={"log": "main-2", "logs": ()})
    broker_backups.restore(config, folder, world.clock.now())
    with pytest.raises(KeysError, match="bekend broker manifest"):
        await start_broker(config, world.clock)
    operator = world.built.operator
    draft = draft_manifest(
        config.keys,
        world.covenant,
        BROKER_OIN,
        2,
        world.clock.now(),
        logs=config.log_names,
        closed=closed_logs(broker_backups.closed_here(config), config.log),
    )
    config.manifest.write_bytes(sign_note(draft.text(), operator.name, operator.seed))
    return config


async def test_fg_29_witnesses_follow_a_restored_broker_and_say_what_is_lost(
    world: World, folders: tuple[Path, Path, Path, Path]
) -> None:
    at_broker, at_om, at_politie, into = folders
    async with (
        broker_of(world, at_broker) as broker,
        real_node(world, POLITIE.oin, at_politie, broker.port, [ZSM_CONTEXT]) as politie,
        real_node(world, OM.oin, at_om, broker.port) as om,
    ):
        port, config = broker.port, broker.config
        assert await ask(om, world) == "bekend"
        await broker._checkpoints.make()
        await politie.witness.round()
        made = broker_backups.make_backup(config, into, world.clock.now())
        kept = broker.log_entries()
        assert await ask(om, world) == "bekend"
        await broker._checkpoints.make()
        await om.witness.round()
        lost = broker.log_entries() - kept
        assert lost > 0
        # One more promise, which nobody had proved.
        assert await ask(om, world) == "bekend"
        await broker.stop(0)
        world.clock.advance(LATER)
        config = (await restored_broker(world, config, made.folder)).model_copy(update={"listen": f"127.0.0.1:{port}"})
        again = await start_broker(config, world.clock)
        try:
            for node in (om, politie):
                node.attachments[0].again()
                await node.attachments[0].attached.wait()
                await node.directory.refresh()
            # Ids that were seen since the backup are forgotten: nothing is evaluated for two minutes.
            assert await ask(om, world) == "geen_antwoord"
            world.clock.advance(LATER)
            await switched(politie)
            assert await ask(om, world) == "bekend"
            await again._checkpoints.make()
            for node in (om, politie):
                await node.witness.round()
                assert node.witness.seen() == {MAIN_2: again.log_entries()}
                assert node.witness.heads.stopped == ""
                assert all(not one.stops and one.kind == "closed" for one in node.witness.alarms())
            assert f"{lost} of those that were seen are lost" in om.witness.alarms()[0].detail
            assert "1 promises are beyond" in om.witness.alarms()[1].detail
            assert "0 of those that were seen are lost" in politie.witness.alarms()[0].detail
            assert om.store.open_promises(10) == []
        finally:
            await again.stop(0)


async def test_fg_29_a_restored_log_that_was_changed_stops_the_nodes(
    world: World, folders: tuple[Path, Path, Path, Path]
) -> None:
    """What a node saw before the backup is in what goes on from it, or the node stops."""
    at_broker, at_om, at_politie, into = folders
    async with (
        broker_of(world, at_broker) as broker,
        real_node(world, POLITIE.oin, at_politie, broker.port, [ZSM_CONTEXT]),
        real_node(world, OM.oin, at_om, broker.port) as om,
    ):
        port, config = broker.port, broker.config
        assert await ask(om, world) == "bekend"
        await broker._checkpoints.make()
        await om.witness.round()
        made = broker_backups.make_backup(config, into, world.clock.now())
        await broker.stop(0)
        config = (await restored_broker(world, config, made.folder)).model_copy(update={"listen": f"127.0.0.1:{port}"})
        with closing(BrokerStore.open(config.data)) as store:
            # Another history of the same length, signed by the operator as the one that was put back.
            store.database.write_sync(lambda c: c.execute("DROP TRIGGER tree_keeps_values"))
            store.database.write_sync(lambda c: c.execute("UPDATE tree SET hash = zeroblob(32)"))
        again = await start_broker(config, world.clock)
        try:
            om.attachments[0].again()
            await om.attachments[0].attached.wait()
            await om.directory.refresh()
            await om.witness.round()
            assert [(one.kind, one.stops) for one in om.witness.alarms()] == [("fork", True)]
            assert om.witness.heads.stopped
        finally:
            await again.stop(0)


async def test_fg_29_a_log_that_vanishes_without_a_word_is_an_alarm(
    world: World, folders: tuple[Path, Path, Path, Path]
) -> None:
    """A broker that lost everything begins again under another name; nobody can say what became of its log."""
    at_broker, at_om, _, _ = folders
    async with (
        broker_of(world, at_broker) as broker,
        real_node(world, OM.oin, at_om, broker.port) as om,
    ):
        await broker._checkpoints.make()
        await om.witness.round()
        manifest = replace(om.directory.broker(), number=2, logs=("second",))
        om.witness.broker = lambda: manifest
        broker._checkpoints.origin = log_origin(BROKER_OIN, "second")
        broker._checkpoints._store.database.write_sync(lambda c: c.execute("DELETE FROM checkpoint"))
        await broker._checkpoints.make()
        await om.witness.round()
        assert [(one.origin, one.kind, one.stops) for one in om.witness.alarms()] == [(MAIN, "closed", False)]
        assert om.witness.seen() == {log_origin(BROKER_OIN, "second"): 0}


async def test_fg_31_a_restored_node_destroys_what_is_past_its_term_before_it_serves(
    world: World, folders: tuple[Path, Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a backup that is too old is not put back at all."""
    at_broker, _, data, into = folders
    order: list[str] = []
    for owner, name in ((Retention, "tidy"), (Attachment, "_serve_once")):
        monkeypatch.setattr(owner, name, _noted(order, name, getattr(owner, name)))
    async with broker_of(world, at_broker) as broker:
        async with real_node(world, POLITIE.oin, data, broker.port, [ZSM_CONTEXT]) as politie:
            made = backups.make_backup(politie.config, into, world.clock.now())
        shutil.rmtree(data)
        config = politie.config.model_copy(update={"log": "node-2"})
        with pytest.raises(RefusedError, match="destroyed, not used"):
            await backups.restore(config, made.folder, world.clock.now() + backup.LONGEST + LATER)
        await backups.restore(config, made.folder, world.clock.now())
        sign_for(world, config)
        order.clear()
        node = await start_node(config, world.clock)
        await node.attachments[0].attached.wait()
        await node.stop(0)
    assert order == ["tidy", "_serve_once"]


def _noted(order: list[str], name: str, honest: Callable[[Any], Awaitable[Any]]) -> Callable[[Any], Awaitable[Any]]:
    async def note(it: Any) -> Any:
        order.append(name)
        return await honest(it)

    return note
