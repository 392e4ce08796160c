"""Canaries: a node finds its own, by machine and by hand, or says that it does not; it hears of who asks about them."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bekend_deploy.partners import POLITIE, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_node import filters
from bekend_node.app import Node
from bekend_node.config import NodeConfig
from bekend_node.filter_build import Built, Order
from bekend_proto.identifiers import Identifier

from tests.support.federation import PEOPLE, Federation
from tests.support.nodes import NodeHome, bit
from tests.support.pki import Authority
from tests.support.releasing import CLIENT, CLOSED, OTHER, STRANGER, WAITING, Scene, items, moments


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    home.settings["canaries"] = ["bsn:999991772", "bsn:999992740"]
    async with federation.broker() as broker:
        home.fill(broker.port, [CLIENT, OTHER, *PEOPLE[3:]])
        yield Scene(federation, home, broker)


def metric_of(node: Node, name: str, **labels: str) -> float:
    return float(node._registry.get_sample_value(name, labels) or 0)


def canaries(scene: Scene) -> tuple[Identifier, ...]:
    config: NodeConfig = scene.home.config(scene.broker.port)
    return config.canary_identifiers


async def asked(scene: Scene, node: Node) -> None:
    """The clock to where every purpose's canary is due, and one look."""
    await node.canaries.tick()
    scene.advance(minutes=21)
    for _ in range(2):
        await node.filters.tick()
        await node.filters.settle()
    await node.canaries.tick()


async def test_fg_22_a_node_has_several_canaries_and_every_filter_holds_them_all(scene: Scene) -> None:
    own = canaries(scene)
    assert len(own) > 1
    async with scene.node() as node:
        epoch = node.filters.serving(ZSM_CONTEXT).header.epoch
        assert len(node.registers.canaries(ZSM_CONTEXT, epoch)) == len(own)
        for canary in own:
            assert await bit(scene.om, scene.home.party.oin, ZSM_CONTEXT, canary) is True


async def test_fg_22_by_machine_and_by_hand_a_node_finds_its_own_canary_by_itself(scene: Scene) -> None:
    async with scene.node() as node:
        await asked(scene, node)
        found = node.status()["canaries"]
        assert found[ZSM_CONTEXT]["found"]
        assert (found[ZVH_WEIGHING]["found"], found[ZVH_WEIGHING]["missed"]) == (None, None)
        # No colleague sees it: the own desk answers.
        await node.comparing.compare_all()
        assert items(node) == []
        await moments(scene, node, 1)
        await node.canaries.tick()
        assert node.status()["canaries"][ZVH_WEIGHING]["found"]
        # And nothing is left of it, nor counted.
        assert node.store.pending.all() == []
        assert metric_of(node, "bekend_node_answers_total", purpose=ZSM_CONTEXT) == 0
        assert metric_of(node, "bekend_node_canary_found_timestamp_seconds", purpose=ZVH_WEIGHING)


async def test_fg_22_a_canary_that_is_missed_alarms(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene.node() as node:
        # Somebody took the wrong person out: the filter in service holds another canary than the one asked about.
        node.asker._canaries = (STRANGER,)
        await asked(scene, node)
        assert "misses people" in node.status()["canaries"][ZSM_CONTEXT]["missed"]
        assert metric_of(node, "bekend_node_canary_missed_total", purpose=ZSM_CONTEXT) == 1
        assert '"canary-missed"' in capsys.readouterr().err
        # By hand the own desk has nothing to release.
        await node.comparing.compare_all()
        await moments(scene, node, 4)
        await node.canaries.tick()
        assert "did not release" in node.status()["canaries"][ZVH_WEIGHING]["missed"]


async def test_fg_22_who_asks_about_a_canary_by_hand_is_told_of_at_once_and_learns_nothing(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    async with scene.node() as node:
        asking = await scene.ask(canaries(scene)[-1])
        assert set(await asking.release()) == {WAITING}
        await node.comparing.compare_all()
        written = capsys.readouterr().err
        assert '"canary-asked"' in written
        assert scene.haarlem.oin in written
        assert metric_of(node, "bekend_node_canary_asked_total") == 1
        assert items(node) == []
        (record,) = scene.records(node)
        assert (record["what"], record["requester"]) == ("canary", scene.haarlem.oin)
        # As about anybody who is not known here.
        assert await asking.collect_last() == [CLOSED]


async def test_must_14_a_filter_that_misses_one_of_the_canaries_is_never_published(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filters.run_builder

    async def without(order: Order) -> Built:
        return await real(Order(**{**order.__dict__, "canary": order.canary[:64]}))

    monkeypatch.setattr(filters, "run_builder", without)
    async with scene.node() as node:
        await asked(scene, node)
        assert not node.status()["purposes"][ZSM_CONTEXT]["ready"]
        assert node.status()["canaries"][ZSM_CONTEXT]["found"] is None
