"""The source side over a real broker: what a requester gets, and everything that must be refused."""

from pathlib import Path

import pytest
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT

from tests.support.federation import PEOPLE, Federation
from tests.support.nodes import NodeHome, bit, fetch
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
