"""A question that a colleague answers, whole: the real node that asks, the broker, the source and its desk."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_deploy.partners import HAARLEM, POLITIE, ZVH_WEIGHING
from bekend_deploy.questions import CASES
from bekend_node.app import Node
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.pending import open_pending
from bekend_node.mail import TEXT

from tests.support.mailbox import mailbox
from tests.support.nodes import NodeHome
from tests.support.pki import Authority
from tests.support.releasing import (
    CLIENT,
    OFFICER,
    OTHER,
    STRANGER,
    Scene,
    ask,
    items,
    late,
    let_go,
    moments,
    refuse,
    scene_of,
)


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    async with scene_of(tmp_path, authority) as made:
        yield made


@pytest.fixture
def haarlem_home(scene: Scene) -> NodeHome:
    """What the node that asks finds on its disk."""
    return NodeHome.create(scene.federation, HAARLEM.oin)


async def test_a_family_is_asked_about_and_each_answer_comes_when_it_is_there(
    scene: Scene, haarlem_home: NodeHome
) -> None:
    async with scene.node() as police, haarlem_home.node(scene.broker.port) as haarlem:
        told = await ask(haarlem, CLIENT, STRANGER, OTHER)
        assert [one.outcome for one in told] == [OutcomeKind.PENDING] * 3
        await police.comparing.compare_all()
        first, second = items(police)
        await let_go(police, first)
        await refuse(police, second)
        await moments(scene, haarlem, 1)
        assert sorted(await late(haarlem)) == ["bekend", "in_behandeling", "in_behandeling"]
        term = scene.federation.covenant.sources(ZVH_WEIGHING)[POLITIE.oin].reply_term
        assert term is not None
        await moments(scene, haarlem, 3)
        scene.advance(seconds=(term - timedelta(hours=1)).total_seconds())
        await moments(scene, haarlem, 3)
        assert sorted(await late(haarlem)) == ["bekend", "geen_uitsluitsel", "geen_uitsluitsel"]
        assert channels(haarlem) == [None]


async def test_it_goes_on_over_a_restart_of_the_node_that_asks(scene: Scene, haarlem_home: NodeHome) -> None:
    async with scene.node() as police:
        async with haarlem_home.node(scene.broker.port) as haarlem:
            await ask(haarlem, CLIENT)
            await moments(scene, haarlem, 1)
        await police.comparing.compare_all()
        (item,) = items(police)
        await let_go(police, item)
        async with haarlem_home.node(scene.broker.port) as haarlem:
            await moments(scene, haarlem, 1)
            assert await late(haarlem) == [OutcomeKind.KNOWN]


async def test_it_goes_on_over_a_restart_of_the_source(scene: Scene, haarlem_home: NodeHome) -> None:
    async with haarlem_home.node(scene.broker.port) as haarlem:
        async with scene.node() as police:
            await ask(haarlem, CLIENT)
            await police.comparing.compare_all()
            (item,) = items(police)
            await let_go(police, item)
        await moments(scene, haarlem, 1)
        assert await late(haarlem) == [OutcomeKind.PENDING]
        async with scene.node():
            await moments(scene, haarlem, 1)
        assert await late(haarlem) == [OutcomeKind.KNOWN]


async def test_a_later_answer_is_told_by_mail_that_says_nothing_of_it(
    scene: Scene, haarlem_home: NodeHome, tmp_path: Path
) -> None:
    with mailbox(tmp_path / "mail") as box:
        haarlem_home.settings["mail"] = box.settings
        haarlem_home.settings["officers"] = [
            {"user": OFFICER.user, "name": OFFICER.name, "role": OFFICER.role, "mail": "devries@haarlem.example"}
        ]
        async with scene.node() as police, haarlem_home.node(scene.broker.port) as haarlem:
            await ask(haarlem, CLIENT)
            await police.comparing.compare_all()
            (item,) = items(police)
            await let_go(police, item)
            assert box.taken == []
            await moments(scene, haarlem, 1)
            async with asyncio.timeout(20):
                while not box.taken:
                    await asyncio.sleep(0.01)
            assert await late(haarlem) == [OutcomeKind.KNOWN]
    ((address, message),) = box.taken
    assert address == "devries@haarlem.example"
    payload = message.get_payload(decode=True)
    assert isinstance(payload, bytes)
    assert payload.decode().replace("\r\n", "\n") == TEXT
    said = message.as_string().casefold()
    whole = (
        CASES[ZVH_WEIGHING],
        ZVH_WEIGHING,
        POLITIE.oin,
        POLITIE.name,
        OFFICER.name,
        CLIENT.value.strip(),
        "bekend:",
    )
    assert not any(word.casefold() in said for word in whole)


def channels(node: Node) -> list[bytes | None]:
    """What is kept of the channels of its pending questions."""
    return [open_pending(node.keys.state_box, row).kept for row in node.store.pending.all()]
