"""Filters switch while questions are under way: an answer under one version, or none; and only at fixed moments."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node import filters
from bekend_node.answer import push
from bekend_node.answer.answerer import Answerer
from bekend_node.app import Node
from bekend_node.broker_link import BrokerLink
from bekend_node.filter_build import Built, Order
from bekend_node.schedule import next_switch
from bekend_policy.suspension import Suspension, What
from bekend_proto.group import multiply
from bekend_proto.v1.broker_pb2 import EvaluatedQuestion, Failure, PushRequest, SealedAnswer

from tests.evil.world import World, broker_of, enrol, real_node, told

MINUTE = timedelta(minutes=1)


@dataclass
class Pair:
    world: World
    om: Node
    police: Node
    data: Path

    async def told(self, *, known: bool = True) -> list[str]:
        person = self.world.somebody if known else self.world.nobody
        return await told(self.om, self.world, ZSM_CONTEXT, person, POLITIE.oin)

    @property
    def version(self) -> int:
        return self.police.filters.serving(ZSM_CONTEXT).version

    async def switch(self) -> None:
        """The next moment comes."""
        end = datetime.fromtimestamp(self.police.filters.serving(ZSM_CONTEXT).end, UTC)
        self.world.clock.set(end)
        await self.police.filters.tick()
        await self.police.filters.settle()


@pytest.fixture
async def pair(tmp_path: Path) -> AsyncIterator[Pair]:
    async with pair_of(tmp_path) as made:
        yield made


@asynccontextmanager
async def pair_of(folder: Path, interval: str = "PT1M") -> AsyncIterator[Pair]:
    world = World.build(folder / "world", settings=Settings(filter_interval=interval))
    async with (
        broker_of(world, folder / "broker") as broker,
        real_node(world, POLITIE.oin, folder / "politie", broker.port, [ZSM_CONTEXT]) as police,
        real_node(world, OM.oin, folder / "om", broker.port) as om,
    ):
        made = Pair(world, om, police, folder / "politie")
        # A whole interval lies ahead: nothing is being built yet, whatever time of day the world was made at.
        await made.switch()
        yield made


class SwitchingFirst:
    """The source's answerer, before which the filter switches."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.honest = pair.police.attachments[0].answerer

    async def answer(self, message: EvaluatedQuestion) -> SealedAnswer | Failure:
        await self.pair.switch()
        return await self.honest.answer(message)


@pytest.mark.parametrize("known", [True, False])
async def test_must_06_a_switch_before_the_question_arrives(pair: Pair, *, known: bool) -> None:
    before = pair.version
    pair.police.attachments[0].answerer = SwitchingFirst(pair)  # type: ignore[assignment]
    assert await pair.told(known=known) == ["bekend" if known else "geen_uitsluitsel"]
    assert pair.version > before


@pytest.mark.parametrize("known", [True, False])
async def test_must_06_a_switch_between_writing_and_evaluating(pair: Pair, *, known: bool) -> None:
    before, honest = pair.version, pair.police.store.admit_answer

    async def switching(*args: Any) -> None:
        await honest(*args)
        await pair.switch()

    pair.police.store.admit_answer = switching  # type: ignore[assignment, method-assign]
    assert await pair.told(known=known) == ["bekend" if known else "geen_uitsluitsel"]
    assert pair.version > before


async def test_fg_36_a_halt_between_writing_and_evaluating_is_no_answer(pair: Pair) -> None:
    """Whoever said that a purpose answers nothing more may rely on it at once: also of what was under way."""
    honest = pair.police.store.admit_answer

    async def halting(*args: Any) -> None:
        await honest(*args)
        await pair.police.halting.halt(ZSM_CONTEXT, "ex-partner werkt bij de vrager", "beheer")

    pair.police.store.admit_answer = halting  # type: ignore[assignment, method-assign]
    assert await pair.told() == ["geen_antwoord"]
    # On the record as answered: nobody gets an answer under this id any more.
    assert pair.police.store.counts()["answered"] == 1


async def test_a_suspension_between_writing_and_evaluating_is_no_answer(pair: Pair) -> None:
    honest, covenant, now = pair.police.store.admit_answer, pair.world.covenant, pair.world.clock.now()
    note = Suspension(covenant.id, 1, covenant.broker_oin, What.PURPOSE, ZSM_CONTEXT, "Oefening", now - MINUTE)

    async def suspending(*args: Any) -> None:
        await honest(*args)
        answerer = pair.police.attachments[0].answerer
        assert isinstance(answerer, Answerer)
        answerer.suspensions.put(note, b"as if it was verified")

    pair.police.store.admit_answer = suspending  # type: ignore[assignment, method-assign]
    assert await pair.told() == ["geen_antwoord"]


async def test_must_06_a_switch_while_a_filter_is_sent(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first piece is on its way when the old file is destroyed: the filter arrives whole all the same."""
    switched: list[int] = []

    async def sending(link: BrokerLink, pieces: Iterator[PushRequest]) -> None:
        first = next(pieces)
        if not switched:
            switched.append(pair.version)
            await pair.switch()
        await _send(link, chain([first], pieces))

    _send = push._send
    monkeypatch.setattr(push, "_send", sending)
    assert await pair.told() == ["bekend"]
    assert pair.version > switched[0]


async def test_must_06_an_import_in_mid_flight_waits_for_the_switch(pair: Pair) -> None:
    """Half-way an import and a switch the old set answers; after the switch the new one, never a mix."""
    enrol(pair.world, POLITIE.oin, pair.data, [ZSM_CONTEXT], people=[pair.world.nobody])
    assert await pair.told() == ["bekend"]
    assert await pair.told(known=False) == ["geen_uitsluitsel"]
    await pair.switch()
    assert await pair.told() == ["geen_uitsluitsel"]
    assert await pair.told(known=False) == ["bekend"]


async def test_must_06_and_21_an_import_that_ends_while_a_filter_is_built(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It destroys the files that are being read: the filter is made again at once, whole, and is not late."""
    honest, builds = filters.run_builder, []

    async def interrupted(order: Order) -> Built:
        builds.append(order)
        if len(builds) == 1:
            built = await honest(order)
            # The import is done before the filter is: what was built is of nobody's list any more.
            enrol(pair.world, POLITIE.oin, pair.data, [ZSM_CONTEXT], people=[pair.world.nobody])
            return built
        return await honest(order)

    await pair.switch()
    end = pair.police.filters.serving(ZSM_CONTEXT).end
    monkeypatch.setattr(filters, "run_builder", interrupted)
    await pair.switch()
    assert len(builds) == 2
    assert pair.version == end
    assert await pair.told() == ["geen_uitsluitsel"]
    assert await pair.told(known=False) == ["bekend"]


async def test_must_21_switches_come_at_fixed_moments_whatever_changed(pair: Pair) -> None:
    offset = next_switch(POLITIE.oin, MINUTE, 0)
    m, moments = set(), []
    for round_ in range(3):
        if round_ == 1:
            enrol(pair.world, POLITIE.oin, pair.data, [ZSM_CONTEXT], people=[pair.world.nobody])
        await pair.switch()
        serving = pair.police.filters.serving(ZSM_CONTEXT)
        moments.append(serving.version)
        m.add(serving.m)
    assert [(moment - offset) % 60 for moment in moments] == [0, 0, 0]
    # Changed or not: each moment brings a new m.
    assert len(m) == 3
    assert [later - earlier for earlier, later in pairwise(moments)] == [60, 60]


async def test_must_21_nothing_switches_between_two_moments(pair: Pair) -> None:
    await pair.switch()
    version = pair.version
    enrol(pair.world, POLITIE.oin, pair.data, [ZSM_CONTEXT], people=[])
    for _ in range(4):
        pair.world.clock.advance(timedelta(seconds=14))
        await pair.police.filters.tick()
        await pair.police.filters.settle()
        assert pair.version == version


async def test_fg_21_after_a_switch_an_old_filter_fits_nothing(pair: Pair) -> None:
    """Whoever kept the old file and is answered under the new m can compare nothing."""
    old = pair.police.filters.serving(ZSM_CONTEXT)
    with old.body() as body:
        kept = body[:]
    await pair.switch()
    new = pair.police.filters.serving(ZSM_CONTEXT)
    pseudonym = pair.world.pseudonym(POLITIE.oin, ZSM_CONTEXT, pair.world.somebody)
    assert multiply(old.m, pseudonym) != multiply(new.m, pseudonym)
    with new.body() as body:
        now = body[:]
    tags = [{whole[at : at + 8] for at in range(0, len(whole), 8)} for whole in (kept, now)]
    assert not tags[0] & tags[1]
    # And the old m is gone from the disk with its file.
    assert not old.tags.exists()
