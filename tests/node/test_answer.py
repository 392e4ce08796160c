"""The source side over a real broker: what a requester gets, and everything that must be refused."""

from datetime import timedelta
from pathlib import Path

import pytest
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.app import start_node
from bekend_proto.errors import StorageError

from tests.support.federation import PEOPLE, Federation, until
from tests.support.nodes import NodeHome, ask, bit, fetch
from tests.support.pki import Authority


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
def home(federation: Federation) -> NodeHome:
    return NodeHome.create(federation, POLITIE.oin)


async def test_a_known_person_is_found_and_an_unknown_one_is_not(federation: Federation, home: NodeHome) -> None:
    known, unknown = PEOPLE[0], PEOPLE[1]
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        await home.enrol_all(broker.port, [known])
        async with home.node(broker.port):
            held = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
            outcomes = [await bit(om, POLITIE.oin, ZSM_CONTEXT, person, held) for person in (known, unknown)]
    assert outcomes == [True, False]


async def test_a_second_node_on_the_same_data_does_not_start_and_harms_nothing(
    federation: Federation, home: NodeHome
) -> None:
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        await home.enrol_all(broker.port, PEOPLE[:1])
        async with home.node(broker.port):
            with pytest.raises(StorageError, match="another process"):
                await start_node(home.config(broker.port), federation.clock)
            assert await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0]) is True


async def test_a_node_attaches_again_when_the_broker_comes_back(federation: Federation, home: NodeHome) -> None:
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        port = broker.port
        await home.enrol_all(port, PEOPLE[:1])
        node = await start_node(home.config(port), federation.clock)
        await node.attachments[0].attached.wait()
    try:
        await until(lambda: not node.attachments[0].attached.is_set())
        async with federation.broker(port=port):
            await node.attachments[0].attached.wait()
            await node.directory.wait()
            await node.filters.tick()
            await node.filters.settle()
            assert await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0]) is True
    finally:
        await node.stop(1)


async def test_a_new_manifest_of_the_source_does_not_cost_the_questions_under_way(
    federation: Federation, home: NodeHome
) -> None:
    """Peers notice a new manifest within a minute; what they ask meanwhile goes by the one before."""
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        await home.enrol_all(broker.port, PEOPLE[:1])
        async with home.node(broker.port) as node:
            held = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
            before = home.party.number
            home.write_manifest()
            assert await node.reload()
            await node.attachments[0].attached.wait()
            lookup, reply = await ask(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], source_manifest=before)
            assert held.knows(lookup, reply) == [True]
            federation.clock.advance(timedelta(minutes=4))
            _, reply = await ask(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], source_manifest=before)
            assert reply == "keys"
