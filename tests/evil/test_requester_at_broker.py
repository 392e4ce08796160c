"""A hostile requester at the real broker: what it may not do ends at the broker, and its source never hears of it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, ZSM_CONTEXT, ZVH, ZVH_WEIGHING
from bekend_proto.v1.signed_pb2 import Begin, Question

from tests.evil.hostile_node import HostileNode, attached
from tests.evil.hostile_requester import Change, HostileRequester, Replies, hostile_requester
from tests.evil.world import World, broker_of

TOO_OLD = 61_000
IDENTITY = bytes(32)
NON_CANONICAL = b"\xff" * 32


@dataclass
class Scene:
    world: World
    requester: HostileRequester
    source: HostileNode
    folder: Path
    port: int

    async def ask(self, *, persons: int = 1, **changes: Change) -> Replies:
        """OM asks the police, changed so."""
        people = [self.world.somebody, self.world.nobody][:persons]
        return await self.requester.run(self.requester.lookup(ZSM_CONTEXT, *people), [POLITIE.oin], **changes)

    async def fault(self, **changes: Any) -> str | None:
        """The fault that it ends with; the source must not have been asked."""
        replies = await self.ask(**changes)
        assert not self.source.asked
        return replies.fault(POLITIE.oin) or replies.by_source.get("?") or replies.whole  # type: ignore[return-value]


@asynccontextmanager
async def scene_of(world: World, folder: Path) -> AsyncIterator[Scene]:
    source = HostileNode(world, POLITIE.oin, ZSM_CONTEXT, world.known(POLITIE.oin, ZSM_CONTEXT))
    async with (
        broker_of(world, folder / "broker") as broker,
        attached(source, broker.port),
        hostile_requester(world, OM.oin, broker.port) as requester,
    ):
        yield Scene(world, requester, source, folder, broker.port)


@pytest.fixture
async def scene(world: World, tmp_path: Path) -> AsyncIterator[Scene]:
    async with scene_of(world, tmp_path) as made:
        yield made


async def test_unchanged_it_is_answered(scene: Scene) -> None:
    lookup = scene.requester.lookup(ZSM_CONTEXT, scene.world.somebody)
    replies = await scene.requester.run(lookup, [POLITIE.oin])
    answer = replies.by_source[POLITIE.oin]
    assert not isinstance(answer, str)
    assert scene.requester.open(lookup, POLITIE.oin, answer).source == POLITIE.oin


async def test_must_04_a_stolen_certificate_is_worth_nothing_without_the_keys(world: World, tmp_path: Path) -> None:
    async with broker_of(world, tmp_path) as broker:
        # The certificate of OM in the hands of Haarlem: what it signs with its own key is not OM's.
        async with hostile_requester(world, HAARLEM.oin, broker.port, world.tls(OM.oin)) as thief:
            thief.oin = OM.oin
            replies = await thief.run(thief.lookup(ZSM_CONTEXT, world.somebody), [POLITIE.oin])
            assert replies.whole == "signature"
        # Its own certificate with OM's key: the name in the message is not that of the certificate.
        async with hostile_requester(world, OM.oin, broker.port, world.tls(HAARLEM.oin)) as thief:
            replies = await thief.run(thief.lookup(ZSM_CONTEXT, world.somebody), [POLITIE.oin])
            assert replies.whole == "signature"
        # And an honest caller's message in another's name.
        async with hostile_requester(world, HAARLEM.oin, broker.port) as thief:
            lookup = thief.lookup(ZSM_CONTEXT, world.somebody)
            lookup.requester = OM.oin
            assert (await thief.run(lookup, [POLITIE.oin])).whole == "unknown_partner"


async def test_must_19_one_begin_is_about_the_same_person_at_every_source(scene: Scene) -> None:
    """One person counted, two asked about: the second at another source, blinded as it should be."""
    evil, world = scene.requester, scene.world
    paid, smuggled = evil.lookup(ZSM_CONTEXT, world.somebody), evil.lookup(ZSM_CONTEXT, world.nobody)
    smuggled.seed = paid.seed
    other = HostileNode(world, RECLASSERING.oin, ZSM_CONTEXT, ())

    def smuggle(ask: Any) -> None:
        smuggled.begun = paid.begun
        ask.questions[1].CopyFrom(evil.make_question(smuggled, RECLASSERING.oin))
        paid.questions[RECLASSERING.oin] = smuggled.questions[RECLASSERING.oin]

    async with attached(other, scene.port):
        replies = await evil.run(paid, [POLITIE.oin, RECLASSERING.oin], ask=smuggle)
    assert replies.fault(POLITIE.oin) is None
    assert replies.fault(RECLASSERING.oin) == "ratio"
    assert not other.asked


async def test_must_18_budgets_per_purpose_and_in_all_over_a_restart(tmp_path: Path) -> None:
    settings = Settings(per_organisation=3, per_officer=3)
    world = World.build(tmp_path / "world", settings=settings)
    for round_ in range(2):
        async with scene_of(world, tmp_path) as scene:
            faults = [(await scene.ask()).fault(POLITIE.oin) for _ in range(2)]
            assert faults == ([None, None] if round_ == 0 else [None, "budget"])
            # The total over all purposes is used up with it: no other purpose is a way round.
            if round_:
                replies = await scene.requester.run(
                    scene.requester.lookup("demo/zsm-lokale-context", world.somebody), [HAARLEM.oin]
                )
                assert replies.whole == "budget"
    world.clock.advance(timedelta(days=1))
    async with scene_of(world, tmp_path) as scene:
        assert (await scene.ask()).fault(POLITIE.oin) is None


async def test_must_18_a_person_counts_whether_or_not_a_question_follows(tmp_path: Path) -> None:
    world = World.build(tmp_path / "world", settings=Settings(per_organisation=2, per_officer=2))
    async with broker_of(world, tmp_path / "b") as broker, hostile_requester(world, ZVH.oin, broker.port) as evil:
        pair = (world.somebody, world.nobody)
        first = evil.lookup(ZVH_WEIGHING, *pair, namens=HAARLEM.oin)
        assert (await evil.run(first, [])).whole is None
        second = evil.lookup(ZVH_WEIGHING, world.somebody, namens=HAARLEM.oin)
        assert (await evil.run(second, [RECLASSERING.oin])).whole == "budget"


async def test_fg_14_two_questions_about_one_person_share_nothing_at_the_broker(scene: Scene) -> None:
    """Neither the elements that pass, nor what the broker computes from them, nor what it keeps can be joined."""
    evil, seen = scene.requester, []
    for _ in range(2):
        lookup = evil.lookup(ZSM_CONTEXT, scene.world.somebody)
        replies = await evil.run(lookup, [POLITIE.oin])
        assert replies.begun is not None
        begin = Begin.FromString(evil.make_begin(lookup).payload)
        question = Question.FromString(lookup.questions[POLITIE.oin].question.payload)
        routed, answer = lookup.questions[POLITIE.oin], replies.by_source[POLITIE.oin]
        assert not isinstance(answer, str)
        # Not the ids, which are fresh and say nothing: they are kept against replays.
        seen.append(
            {
                *begin.elements,
                *replies.begun.evaluated,
                *question.elements,
                *question.seal_hashes,
                question.x25519,
                question.mlkem,
                question.case_commitment,
                *routed.sealed_records,
                *routed.ratios,
                answer.x25519,
                answer.mlkem,
                answer.box,
            }
        )
        seen[-1] |= {one for asked in scene.source.asked[-1:] for one in asked.evaluated}
    assert len(seen[0]) == len(seen[1]) > 10
    assert not seen[0] & seen[1]
    kept = b"".join(path.read_bytes() for path in (scene.folder / "broker").iterdir())
    assert not [one for both in seen for one in both if one in kept]
