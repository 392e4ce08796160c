"""A broker, a requester and a source that do as they like with a question that a colleague decides on.

The node that asks is the real one, and so is the source, unless a test says otherwise.
"""

import asyncio
from collections.abc import AsyncIterator, Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.releases import Releases
from bekend_deploy.partners import HAARLEM, POLITIE, ZVH_WEIGHING
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.schedule import collect_number
from bekend_proto import release
from bekend_proto.collecting import FIRST_COLLECT
from bekend_proto.errors import DeadlineError, MalformedError
from bekend_proto.v1 import broker_pb2

from tests.support.nodes import NodeHome
from tests.support.pki import Authority
from tests.support.releasing import (
    CLIENT,
    KNOWN,
    OTHER,
    STRANGER,
    Asked,
    Scene,
    ask,
    items,
    late,
    let_go,
    moments,
    scene_of,
)

Broken = Callable[[Any, Any, Any], Any]


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    async with scene_of(tmp_path, authority) as made:
        yield made


@pytest.fixture
def haarlem_home(scene: Scene) -> NodeHome:
    return NodeHome.create(scene.federation, HAARLEM.oin)


class Between:
    """The broker's own hands: what it does with each collect is what the test says."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.does: Broken | None = None
        self.replies: list[bytes] = []
        honest = Releases._exchange

        async def exchange(releases: Releases, source: Any, message: Any) -> bytes:
            if message.kind == "release" or self.does is None:
                reply = await honest(releases, source, message)
            else:
                reply = await self.does(lambda it=message: honest(releases, source, it), source, message)
            self.replies.append(reply)
            return reply

        monkeypatch.setattr(Releases, "_exchange", exchange)


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Between:
    return Between(monkeypatch)


async def drop(*_: Any) -> bytes:
    raise DeadlineError("gone on the way")


async def swallow(pass_on: Any, *_: Any) -> bytes:
    """The source is asked and answers; the requester never hears it."""
    await pass_on()
    raise DeadlineError("gone on the way back")


async def flip(pass_on: Any, *_: Any) -> bytes:
    reply = bytearray(await pass_on())
    reply[100] ^= 1
    return bytes(reply)


@pytest.mark.parametrize("does", [drop, swallow, flip])
async def test_must_10_what_the_broker_drops_or_breaks_changes_nothing_until_it_gets_through(
    scene: Scene, haarlem_home: NodeHome, between: Between, does: Broken
) -> None:
    async with scene.node() as police, haarlem_home.node(scene.broker.port) as haarlem:
        await ask(haarlem, CLIENT)
        await police.comparing.compare_all()
        await let_go(police, *items(police))
        between.does = does
        await moments(scene, haarlem, 3)
        assert await late(haarlem) == [OutcomeKind.PENDING]
        between.does = None
        await moments(scene, haarlem, 1)
        assert await late(haarlem) == [OutcomeKind.KNOWN]


@pytest.mark.parametrize("does", [drop, swallow, flip])
async def test_a_broker_that_lets_no_end_through_makes_no_geen_uitsluitsel(
    scene: Scene, haarlem_home: NodeHome, between: Between, does: Broken
) -> None:
    async with scene.node() as police, haarlem_home.node(scene.broker.port) as haarlem:
        await ask(haarlem, STRANGER)
        await police.comparing.compare_all()
        between.does = does
        await over_the_term(scene, haarlem)
        assert await late(haarlem) == [OutcomeKind.NO_ANSWER]


async def test_a_broker_that_repeats_an_older_reply_takes_nothing_back_and_ends_nothing(
    scene: Scene, haarlem_home: NodeHome, between: Between
) -> None:
    async with scene.node() as police, haarlem_home.node(scene.broker.port) as haarlem:
        await ask(haarlem, CLIENT)
        await police.comparing.compare_all()
        await moments(scene, haarlem, 1)
        older = between.replies[-1]
        await let_go(police, *items(police))

        async def repeat(pass_on: Any, *_: Any) -> bytes:
            await pass_on()
            return older

        between.does = repeat
        await moments(scene, haarlem, 2)
        assert await late(haarlem) == [OutcomeKind.PENDING]
        await over_the_term(scene, haarlem)
        assert await late(haarlem) == [OutcomeKind.NO_ANSWER]


async def test_a_broker_that_swaps_the_replies_of_two_questions_is_believed_in_neither(
    scene: Scene, haarlem_home: NodeHome, between: Between
) -> None:
    async with scene.node() as police, haarlem_home.node(scene.broker.port) as haarlem:
        await ask(haarlem, CLIENT)
        await ask(haarlem, STRANGER)
        await police.comparing.compare_all()
        await let_go(police, *items(police))
        held: list[asyncio.Future[bytes]] = []

        async def swap(pass_on: Any, *_: Any) -> bytes:
            reply = await pass_on()
            mine: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            held.append(mine)
            if len(held) == 1:
                mine_first.set_result(reply)
                return await mine
            held[0].set_result(reply)
            return await mine_first

        mine_first: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        between.does = swap
        await moments(scene, haarlem, 1)
        assert await late(haarlem) == [OutcomeKind.PENDING, OutcomeKind.PENDING]
        between.does = None
        await moments(scene, haarlem, 1)
        assert sorted(await late(haarlem)) == [OutcomeKind.KNOWN, OutcomeKind.PENDING]


async def test_a_collect_that_the_broker_holds_back_and_sends_twice_is_answered_once_at_most(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        await let_go(node, *items(node))
        held = asked.collect_request(FIRST_COLLECT)
        assert await asked.collect_at(FIRST_COLLECT + 1) == [KNOWN]
        for number, request in ((FIRST_COLLECT, held), (FIRST_COLLECT + 1, asked.collect_request(FIRST_COLLECT + 1))):
            routed = broker_pb2.RoutedCollect(
                exchange_id=bytes(16), question_id=asked.question.question_id, number=number, box=request.box
            )
            reply = await node.attachments[0].collects.collect(routed)
            assert isinstance(reply, broker_pb2.Failure)


async def over_the_term(scene: Scene, haarlem: Any) -> None:
    term = scene.federation.covenant.sources(ZVH_WEIGHING)[POLITIE.oin].reply_term
    assert term is not None
    scene.advance(seconds=(term - timedelta(hours=1)).total_seconds())
    await moments(scene, haarlem, 11)


# --- a requester


async def test_who_stops_collecting_after_bekend_is_seen_by_source_and_broker(scene: Scene) -> None:
    """The honest node goes on. Who stops tells the broker what came, and stands out on its own account."""
    async with scene.node() as node:
        stops, goes_on = await scene.named(node, CLIENT), await scene.named(node, OTHER)
        await let_go(node, *[it for it in items(node) if it.startswith(f"v{stops.question.question_id.hex()[:8]}")])
        assert await stops.collect_at(FIRST_COLLECT) == [KNOWN]
        for number in range(FIRST_COLLECT, FIRST_COLLECT + 4):
            await goes_on.collect_at(number)
        assert behind(node, scene, goes_on) == 0
        assert behind(node, scene, stops) >= 3


def behind(node: Any, scene: Scene, asked: Asked) -> int:
    """How many moments passed at the source without a collect of this question."""
    exchange = node.desk_store.exchange(asked.question.question_id)
    now = int(scene.federation.clock.now().timestamp())
    due = collect_number(asked.party.oin, asked.interval, int(asked.question.time), now)
    return int(due - exchange.highest)


# --- a source


async def test_a_source_that_keeps_d_does_not_open_it_when_the_person_becomes_its_client(scene: Scene) -> None:
    """D is keyed by the filter of its moment: under a later one, which has another m, the same person's W differs."""
    async with scene.node() as node:
        asked = await scene.ask(STRANGER)
        kept = asked.d()
        await asked.release([kept])
        await node.comparing.compare_all()
        assert items(node) == []
        scene.home.fill(scene.broker.port, [CLIENT, OTHER, STRANGER])
        # The next version may have been built before.
        await scene.switch(node)
        await scene.switch(node)
        again = await scene.named(node, STRANGER)
        assert len(items(node)) == 1
        # All that it can make of the new client by itself: neither finds nor opens what it kept.
        assert release.locator(again.w(), asked.context()) != kept[:32]
        with pytest.raises(MalformedError):
            release.open_release(again.w(), asked.context(), kept)
        assert release.open_release(asked.w(), asked.context(), kept)
