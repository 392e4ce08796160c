"""Another signing key in the place of the present one, while officers ask: of a node, and of the broker."""

import asyncio
import gc
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from bekend_broker.app import Broker
from bekend_broker.rotation import rotate_signing as rotate_broker
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node import backups
from bekend_node.app import Node
from bekend_node.rotation import rotate_signing as rotate_node
from bekend_policy.manifest import parse_manifest
from bekend_proto import log_table
from bekend_proto.errors import SignatureError
from bekend_proto.findings import Finding
from bekend_proto.note import parse_note, sign_note
from bekend_proto.secret_files import create_secret, read_secret
from bekend_proto.signing_files import (
    BEFORE,
    KNOWN_AFTER,
    NEXT,
    PRESENT,
    announced,
    destroy_gone,
    go_over,
    next_public,
)
from nacl.signing import SigningKey

from tests.evil.world import World, broker_of, real_node, told

SECONDS = 60.0


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    yield World.build(tmp_path / "world")
    gc.collect()


def waits(findings: list[Finding]) -> dict[str, str]:
    return {one.what: one.detail for one in findings if not one.good}


def signing_keys(manifest: Path) -> tuple[bytes, ...]:
    return parse_manifest(parse_note(manifest.read_bytes()).text).signing_keys


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(SECONDS):
        while not condition():
            await asyncio.sleep(0.02)


async def known(om: Node, world: World) -> None:
    await om.asker.open_purpose(ZSM_CONTEXT, [POLITIE.oin])
    for person, outcome in ((world.somebody, "bekend"), (world.nobody, "geen_uitsluitsel")):
        assert await told(om, world, ZSM_CONTEXT, person, POLITIE.oin) == [outcome]


async def witnessed(broker: Broker, *nodes: Node) -> None:
    """Every log is proved to everybody, and nobody is alarmed."""
    await broker._checkpoints.make()
    for node in nodes:
        await node.witness.round()
        assert node.store.read(log_table.alarms) == []
    assert broker.store.read(log_table.alarms) == []


async def switch(world: World, node: Node) -> None:
    world.clock.advance(KNOWN_AFTER + timedelta(seconds=1))
    await node.filters.tick()
    await node.filters.settle()


async def test_fg_21_a_node_signs_with_its_next_key_without_a_pause(world: World, tmp_path: Path) -> None:
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        real_node(world, OM.oin, tmp_path / "om", broker.port) as om,
        real_node(world, POLITIE.oin, tmp_path / "politie", broker.port, [ZSM_CONTEXT]) as politie,
    ):
        before = backups.make_backup(politie.config, tmp_path / "backups", world.clock.now())
        config, folder = politie.config, politie.config.keys
        old = bytes(politie.keys.signing.verify_key)

        def rotate(*, emergency: bool = False) -> dict[str, str]:
            return waits(rotate_node(config, world.clock, emergency=emergency))

        async def sign() -> None:
            draft = max(config.manifest.parent.glob("manifest-?"))
            signer = world.built.nodes[POLITIE.oin].off_line.signer
            config.manifest.write_bytes(sign_note(draft.read_text(), signer.name, signer.seed))
            assert await politie.reload()
            await politie.attachments[0].attached.wait()
            await om.directory.refresh()
            assert om.directory.get(POLITIE.oin).number == politie.rules.now.manifest.number

        assert rotate().keys() == rotate().keys() == {"own manifest"}
        assert await politie.reload()
        await known(om, world)
        await sign()
        fresh = signing_keys(config.manifest)[1]
        assert signing_keys(config.manifest) == (old, fresh)
        await politie.reload()
        # Others may not know it yet: it signs nothing.
        assert rotate().keys() == {"signing key"}
        assert bytes(politie.keys.signing.verify_key) == old
        await known(om, world)

        await switch(world, politie)
        await until(lambda: bytes(politie.keys.signing.verify_key) == fresh)
        assert not (folder / NEXT).exists()
        assert {path.name for path in folder.iterdir() if "signing" in path.name} == {PRESENT, BEFORE}
        await known(om, world)
        await witnessed(broker, om, politie)
        # What the key before signed is still verified: its public half stays in the manifest.
        assert rotate() == {}
        assert set(signing_keys(config.manifest)) == {old, fresh}
        assert backups.newest(config, tmp_path / "backups", world.clock.now()) == before

        # Had it been stolen: nothing of it counts any more.
        assert rotate(emergency=True).keys() == {"own manifest"}
        await sign()
        assert signing_keys(config.manifest) == (fresh,)
        assert rotate() == rotate(emergency=True) == {}
        await known(om, world)
        await witnessed(broker, om, politie)
        with pytest.raises(SignatureError):
            backups.newest(config, tmp_path / "backups", world.clock.now())


async def test_fg_21_the_broker_signs_with_its_next_key_without_a_pause(world: World, tmp_path: Path) -> None:
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        real_node(world, OM.oin, tmp_path / "om", broker.port) as om,
        real_node(world, POLITIE.oin, tmp_path / "politie", broker.port, [ZSM_CONTEXT]) as politie,
    ):
        config = broker.config
        old = bytes(broker._directory.present.keys.signing.verify_key)

        def signs() -> bytes:
            return bytes(broker._directory.present.keys.signing.verify_key)

        assert waits(rotate_broker(config, world.clock)).keys() == {"manifest"}
        await known(om, world)
        draft = max(config.manifest.parent.glob("manifest-?"))
        operator = world.built.operator
        config.manifest.write_bytes(sign_note(draft.read_text(), operator.name, operator.seed))
        assert await broker.reload()
        fresh = signing_keys(config.manifest)[1]
        await until(lambda: broker._renewal._known is not None)
        assert waits(rotate_broker(config, world.clock)).keys() == {"signing key"}
        assert signs() == old
        await known(om, world)

        await switch(world, politie)
        for node in (om, politie):
            await node.directory.refresh()
        await until(lambda: signs() == fresh)
        await known(om, world)
        # Promises that either key signed are proved.
        await witnessed(broker, om, politie)
        assert waits(rotate_broker(config, world.clock)) == {}
        assert set(signing_keys(config.manifest)) == {old, fresh}


@pytest.mark.parametrize("step", ["link", "replace", "destroyed"])
def test_fg_21_a_power_cut_while_the_key_goes_over_leaves_one_that_the_manifest_names(
    tmp_path: Path, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    today, end = date(2026, 11, 26), date(2027, 11, 27)
    for name in (PRESENT, NEXT):
        create_secret(tmp_path / name)
    named = set(announced(tmp_path, today))
    old, fresh = (bytes(SigningKey(read_secret(tmp_path / name)).verify_key) for name in (PRESENT, NEXT))
    seed = read_secret(tmp_path / PRESENT)

    def cut(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as broken:
        if step == "link":
            broken.setattr("os.link", cut)
        elif step == "replace":
            honest = Path.replace
            broken.setattr(Path, "replace", lambda path, to: cut() if path.name == NEXT else honest(path, to))
        else:
            broken.setattr("bekend_proto.signing_files.destroy_gone", cut)
        with pytest.raises(KeyboardInterrupt):
            go_over(tmp_path, today, end)
    assert bytes(SigningKey(read_secret(tmp_path / PRESENT)).verify_key) in named
    if next_public(tmp_path) is not None:
        go_over(tmp_path, today, end)
    destroy_gone(tmp_path)
    assert announced(tmp_path, today) == (fresh, old)
    assert announced(tmp_path, end) == (fresh,)
    assert {path.name for path in tmp_path.iterdir()} == {PRESENT, BEFORE}
    assert not any(seed.hex() in path.read_text("ascii") for path in tmp_path.iterdir())
