"""When a source may not answer, it does not: lists that miss or are old, missed canaries, other epochs."""

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_broker.app import Broker
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, ZSM_CONTEXT, ZSM_LOCAL, ZVH_WEIGHING
from bekend_node import filters, serving
from bekend_node.app import Node
from bekend_node.filter_build import Built, Order
from bekend_node.pseudonym_file import month_number
from bekend_proto.clock import add_months, day_of, epoch_of, epoch_start, next_epoch
from bekend_proto.filter import body_hash, pad_and_sort, size_class
from bekend_proto.group import hash_to_group, multiply, random_scalar
from bekend_proto.identifiers import Identifier
from bekend_proto.oprf import hash_identifier

from tests.evil.world import World, ask, broker_of, enrol, real_node, told

FAULT, MISS, HIT = ["geen_antwoord"], ["geen_uitsluitsel"], ["bekend"]


@pytest.fixture
async def broker(world: World, tmp_path: Path) -> AsyncIterator[Broker]:
    async with broker_of(world, tmp_path / "broker") as made:
        yield made


@asynccontextmanager
async def om(world: World, broker: Broker, folder: Path) -> AsyncIterator[Node]:
    async with real_node(world, OM.oin, folder / "om", broker.port) as node:
        yield node


# --- lists


async def test_must_23_a_purpose_without_one_of_its_registers_does_not_answer(
    world: World, broker: Broker, tmp_path: Path
) -> None:
    data = tmp_path / "haarlem"
    enrol(world, HAARLEM.oin, data, [ZSM_LOCAL], registers=["veiligheid", "nazorg"])
    async with (
        real_node(world, HAARLEM.oin, data, broker.port, [ZSM_LOCAL]) as haarlem,
        om(world, broker, tmp_path) as asker,
    ):
        # Whom the two lists hold is not told either: a smaller set is not the set.
        assert await told(asker, world, ZSM_LOCAL, world.somebody, HAARLEM.oin) == FAULT
        enrol(world, HAARLEM.oin, data, [ZSM_LOCAL], people=[], registers=["leerplicht"])
        await haarlem.filters.tick()
        await haarlem.filters.settle()
        assert await told(asker, world, ZSM_LOCAL, world.somebody, HAARLEM.oin) == HIT
        assert await told(asker, world, ZSM_LOCAL, world.nobody, HAARLEM.oin) == MISS


async def test_must_23_an_over_aged_list_does_not_answer(world: World, broker: Broker, tmp_path: Path) -> None:
    data = tmp_path / "politie"
    async with (
        real_node(world, POLITIE.oin, data, broker.port, [ZSM_CONTEXT]) as police,
        om(world, broker, tmp_path) as asker,
    ):
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == HIT
        world.clock.advance(timedelta(days=4))
        await police.filters.tick()
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == FAULT
        enrol(world, POLITIE.oin, data, [ZSM_CONTEXT])
        await police.filters.tick()
        await police.filters.settle()
        world.clock.advance(timedelta(minutes=16))
        await police.filters.tick()
        await police.filters.settle()
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == HIT


async def test_fg_25_an_ended_registration_does_not_hit_and_a_hit_says_as_of_when(
    world: World, broker: Broker, tmp_path: Path
) -> None:
    data = tmp_path / "politie"
    this_month = month_number(world.month)
    enrol(world, POLITIE.oin, data, [ZSM_CONTEXT], people=[world.somebody], end_month=this_month)
    async with real_node(world, POLITIE.oin, data, broker.port, [ZSM_CONTEXT]), om(world, broker, tmp_path) as asker:
        found = await ask(asker, world, ZSM_CONTEXT, [world.somebody], [POLITIE.oin])
        assert [str(one.outcome) for one in found] == HIT
        assert found[0].as_of == day_of(world.clock.now()).isoformat()
    ended = tmp_path / "ended"
    before = month_number(add_months(world.month, -1))
    enrol(world, POLITIE.oin, ended, [ZSM_CONTEXT], people=[world.somebody], end_month=before)
    async with real_node(world, POLITIE.oin, ended, broker.port, [ZSM_CONTEXT]), om(world, broker, tmp_path) as asker:
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == MISS


async def test_a_standing_decision_that_is_gone_ends_the_answers(world: World, broker: Broker, tmp_path: Path) -> None:
    """`standaardbesluit` without a valid decision is `geen antwoord`, not `geen uitsluitsel`."""
    data = tmp_path / "reclassering"
    enrol(world, RECLASSERING.oin, data, [ZSM_CONTEXT])
    config = world.node_config(RECLASSERING.oin, data, broker.port)
    async with real_node(world, RECLASSERING.oin, data, broker.port) as node, om(world, broker, tmp_path) as asker:
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, RECLASSERING.oin) == HIT
        node.rules.now = replace(node.rules.now, standing={})
        await node.filters.tick()
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, RECLASSERING.oin) == FAULT
    assert config.standing_decisions is not None


# --- canaries


async def test_fg_22_a_canary_is_found_by_asking_oneself_end_to_end(
    world: World, broker: Broker, tmp_path: Path
) -> None:
    async with real_node(world, POLITIE.oin, tmp_path / "politie", broker.port, [ZSM_CONTEXT]) as police:
        outcome = await police.asker.ask_canary(ZSM_CONTEXT)
        assert str(outcome.outcome) == "bekend"


async def test_fg_22_a_canary_under_another_key_is_missed_and_shows(
    world: World, broker: Broker, tmp_path: Path
) -> None:
    """A list made under another key of the broker would miss everybody in silence: the canary misses with it."""
    data = tmp_path / "politie"
    wrong = _OtherKeys(world)
    enrol(wrong, POLITIE.oin, data, [ZSM_CONTEXT])
    async with real_node(world, POLITIE.oin, data, broker.port, [ZSM_CONTEXT]) as police:
        outcome = await police.asker.ask_canary(ZSM_CONTEXT)
        assert str(outcome.outcome) == "geen_uitsluitsel"


class _OtherKeys(World):
    """The same world, whose pseudonyms are made under a key that nobody announced."""

    def __init__(self, world: World) -> None:
        self.__dict__.update(world.__dict__)
        object.__setattr__(self, "other", random_scalar())

    def pseudonym(self, source: str, purpose: str, person: Identifier) -> bytes:
        return multiply(self.__dict__["other"], hash_identifier(person))


async def _without_canary(order: Order) -> Built:
    count = size_class(1)
    body = pad_and_sort([], count)
    Path(order.out).write_bytes(body)
    return Built(count, body_hash(body).hex())


async def test_must_14_a_filter_that_misses_its_canary_is_not_published(
    world: World, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(filters, "run_builder", _without_canary)
    async with (
        real_node(world, POLITIE.oin, tmp_path / "politie", broker.port, [ZSM_CONTEXT]),
        om(world, broker, tmp_path) as asker,
    ):
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == FAULT


async def test_must_14_a_wrong_m_is_not_published(
    world: World, broker: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = serving.FreshKey.draw
    monkeypatch.setattr(
        serving.FreshKey, "draw", classmethod(lambda cls, secret: replace(honest(secret), scalar=random_scalar()))
    )
    async with (
        real_node(world, POLITIE.oin, tmp_path / "politie", broker.port, [ZSM_CONTEXT]),
        om(world, broker, tmp_path) as asker,
    ):
        assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == FAULT


# --- epochs


def _sorted_by_pseudonym(world: World, epoch: str, people: Iterable[Identifier]) -> list[tuple[bytes, Identifier]]:
    made = []
    for person in people:
        once = multiply(world.b(HAARLEM.oin, ZVH_WEIGHING, epoch).secret, hash_identifier(person))
        made.append((multiply(world.k(HAARLEM.oin, ZVH_WEIGHING, epoch).secret, once), person))
    return sorted(made)


def test_must_11_and_fg_21_two_epochs_cannot_be_joined(world: World) -> None:
    """No pseudonym comes back, and the order of one list says nothing about that of the other."""
    coming = next_epoch(world.epoch)
    world.keys_of(HAARLEM.oin).ensure_epoch(coming)
    people = [world.person(number) for number in world.population.people[:60]]
    now, then = (_sorted_by_pseudonym(world, epoch, people) for epoch in (world.epoch, coming))
    assert not {p for p, _ in now} & {p for p, _ in then}
    order = [person for _, person in now]
    ranks = [order.index(person) for _, person in then]
    # As many pairs in the other order as in the same one: within five standard deviations of chance.
    pairs = [(a, b) for at, a in enumerate(ranks) for b in ranks[at + 1 :]]
    inverted = sum(a > b for a, b in pairs)
    spread = (60 * 59 * 125 / 72) ** 0.5
    assert abs(inverted - len(pairs) / 2) < 5 * spread


def test_must_11_two_purposes_and_two_partners_cannot_be_joined(world: World) -> None:
    made = [
        world.pseudonym(source, purpose, world.somebody)
        for source, purpose in (
            (HAARLEM.oin, ZSM_LOCAL),
            (HAARLEM.oin, ZVH_WEIGHING),
            (RECLASSERING.oin, ZVH_WEIGHING),
            (RECLASSERING.oin, ZSM_CONTEXT),
        )
    ]
    assert len(set(made)) == 4
    assert hash_to_group(world.somebody.canonical) not in made


async def test_must_11_and_fg_21_when_an_epoch_is_over_its_pseudonyms_and_key_are_gone(
    world: World, broker: Broker, tmp_path: Path
) -> None:
    data = tmp_path / "politie"
    over = world.epoch
    kept = [world.pseudonym(POLITIE.oin, ZSM_CONTEXT, one) for one in world.known(POLITIE.oin, ZSM_CONTEXT)]
    keys = world.built.nodes[POLITIE.oin].folder / "keys"
    root = (keys / f"root-{over}.key").read_bytes()
    async with (
        real_node(world, POLITIE.oin, data, broker.port, [ZSM_CONTEXT]) as police,
        om(world, broker, tmp_path) as asker,
    ):
        assert _found(data, kept) == len(kept)
        world.clock.set(epoch_start(next_epoch(over)) + timedelta(days=8))
        assert epoch_of(world.clock.now()) != over
        try:
            await police.filters.tick()
            await police.housekeeping.keep()
            assert await told(asker, world, ZSM_CONTEXT, world.somebody, POLITIE.oin) == FAULT
            assert _found(data, kept) == 0
            assert not (keys / f"root-{over}.key").exists()
        finally:
            # The next test finds the key where it was.
            (keys / f"root-{over}.key").write_bytes(root)
            (keys / f"root-{over}.key").chmod(0o600)


def _found(folder: Path, needles: Iterable[bytes]) -> int:
    files = [path.read_bytes() for path in folder.rglob("*") if path.is_file()]
    return sum(any(needle in content for content in files) for needle in needles)
