"""Filters in service: switched at fixed moments, never published when something does not fit, kept over a restart."""

import asyncio
import contextlib
import copy
import os
import re
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_broker.app import Broker
from bekend_broker.keys import create_missing
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, ZSM_CONTEXT, ZVH, ZVH_WEIGHING
from bekend_node import filters
from bekend_node.app import Node, start_node
from bekend_node.enrol.command import shield_persons
from bekend_node.enrol.survey import GuardError
from bekend_node.pseudonym_file import RECORD
from bekend_node.schedule import interval_of, next_switch
from bekend_proto.clock import epoch_of, epoch_start, next_epoch
from bekend_proto.errors import CovenantError, KeysError, NotReadyError, RefusedError, StorageError, UnknownPartnerError
from bekend_proto.filter import ClosedFilter
from bekend_proto.group import random_element
from bekend_proto.identifiers import parse_identifier

from tests.support.clocks import SteeredClock
from tests.support.federation import PEOPLE, Federation, Party
from tests.support.nodes import CANARY, NodeHome, ask, bit, fetch
from tests.support.pki import Authority

REGISTER = POLITIE.registers[0]
QUARTER = 900
KNOWN, UNKNOWN = PEOPLE[:2]


@dataclass
class Scene:
    """A source with one purpose, its broker and a requester."""

    federation: Federation
    home: NodeHome
    broker: Broker
    om: Party

    @property
    def port(self) -> int:
        return self.broker.port

    def advance(self, **step: float) -> None:
        self.federation.clock.advance(timedelta(**step))

    def to_switch(self, node: Node, before: int = 0) -> None:
        """The clock to the next switch moment, or so many seconds before it."""
        moment = node.filters.next_switch(ZSM_CONTEXT)
        assert moment is not None
        self.advance(seconds=moment - before - self.federation.clock.now().timestamp())

    async def switch(self, node: Node) -> None:
        """Let the next switch happen: built beforehand, swapped at its moment."""
        self.to_switch(node, before=5)
        await node.filters.tick()
        await node.filters.settle()
        self.to_switch(node)
        await node.filters.tick()

    async def bit(self, person: Any = KNOWN) -> "bool | str":
        return await bit(self.om, POLITIE.oin, ZSM_CONTEXT, person)


def not_ready(node: Node, purpose: str = ZSM_CONTEXT) -> str:
    with pytest.raises(NotReadyError) as fault:
        node.filters.serving(purpose)
    return fault.value.detail


def mid_quarter(federation: Federation) -> Federation:
    """Somewhere in the middle of a quarter of an hour, whatever the offset of the police's OIN."""
    now = int(federation.clock.now().timestamp())
    federation.clock.advance(timedelta(seconds=next_switch(POLITIE.oin, timedelta(minutes=15), now) - now + 300))
    return federation


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    federation = mid_quarter(Federation.create(tmp_path, authority))
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        yield Scene(federation, home, broker, federation.parties[OM.oin])


async def test_the_first_filter_is_published_at_once_and_switches_come_at_fixed_moments(scene: Scene) -> None:
    async with scene.home.node(scene.port) as node:
        assert "was not imported" in not_ready(node)
        await scene.home.enrol_all(scene.port, [KNOWN])
        await node.filters.tick()
        await node.filters.settle()
        first = node.filters.serving(ZSM_CONTEXT)
        assert first.version == int(scene.federation.clock.now().timestamp())
        assert (first.end - 300 + 0) % QUARTER == (first.end + 600) % QUARTER
        await scene.switch(node)
        second = node.filters.serving(ZSM_CONTEXT)
        await scene.switch(node)
        third = node.filters.serving(ZSM_CONTEXT)
    assert (second.version, third.version) == (first.end, first.end + QUARTER)
    assert len({first.m, second.m, third.m}) == 3


async def test_must_21_an_import_waits_for_the_next_moment_and_a_switch_comes_without_one(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        before = node.filters.serving(ZSM_CONTEXT)
        await scene.home.enrol_all(scene.port, [KNOWN, UNKNOWN])
        await node.filters.tick()
        await node.filters.settle()
        assert node.filters.serving(ZSM_CONTEXT) is before
        assert await scene.bit(UNKNOWN) is False
        await scene.switch(node)
        assert await scene.bit(UNKNOWN) is True
        imported = node.filters.serving(ZSM_CONTEXT)
        await scene.switch(node)
        again = node.filters.serving(ZSM_CONTEXT)
    assert again.version == imported.end


def test_must_21_moments_depend_on_clock_oin_and_size_class_alone() -> None:
    assert [interval_of(tags, None) for tags in (1024, 1 << 17, 1 << 18, 1 << 20, 1 << 21)] == [
        timedelta(minutes=15),
        timedelta(minutes=15),
        timedelta(hours=1),
        timedelta(hours=1),
        timedelta(hours=6),
    ]
    assert interval_of(1 << 21, timedelta(minutes=1)) == timedelta(minutes=1)
    for oin in (POLITIE.oin, OM.oin):
        moments = {next_switch(oin, timedelta(minutes=15), 1_800_000_000 + step) for step in range(QUARTER)}
        assert len(moments) <= 2
        assert len({moment % QUARTER for moment in moments}) == 1
        assert all(1_800_000_000 < moment <= 1_800_000_000 + 2 * QUARTER for moment in moments)
    offsets = {next_switch(one.oin, timedelta(minutes=15), 0) % QUARTER for one in (POLITIE, OM, HAARLEM, ZVH)}
    assert len(offsets) == 4


async def test_must_06_a_question_in_flight_keeps_to_one_version(scene: Scene) -> None:
    """Asked under the old filter, answered after the switch or before: it names one version, and fits that one."""
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        held = await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)
        await scene.switch(node)
        newer = await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)
        lookup, reply = await ask(scene.om, POLITIE.oin, ZSM_CONTEXT, KNOWN)
    assert newer.header.version == held.header.end
    assert newer.knows(lookup, reply) == [True]
    # The same W stands nowhere in the older version.
    assert held.knows(lookup, reply) == [False]


async def test_a_restart_goes_on_with_the_same_filter_until_its_end(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        before = node.filters.serving(ZSM_CONTEXT)
        held = await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)
    assert list((scene.home.data / "filters").glob("*.tags")) == [before.tags]
    stored = b"".join(path.read_bytes() for path in scene.home.data.rglob("*") if path.is_file())
    assert before.m not in stored
    async with scene.home.node(scene.port) as node:
        assert node.filters.serving(ZSM_CONTEXT).version == before.version
        assert await bit(scene.om, POLITIE.oin, ZSM_CONTEXT, KNOWN, held) is True
        await scene.switch(node)
        assert node.filters.serving(ZSM_CONTEXT).version == before.end


async def test_a_moment_that_passed_while_the_node_was_down_is_made_up_for(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        old = node.filters.serving(ZSM_CONTEXT)
    scene.advance(hours=1)
    async with scene.home.node(scene.port) as node:
        fresh = node.filters.serving(ZSM_CONTEXT)
    assert fresh.version == int(scene.federation.clock.now().timestamp())
    assert not old.tags.exists()


async def test_must_14_a_kept_filter_that_was_touched_is_not_served(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        before = node.filters.serving(ZSM_CONTEXT)
    body = bytearray(before.tags.read_bytes())
    body[9] ^= 1
    before.tags.write_bytes(body)
    async with scene.home.node(scene.port) as node:
        # Built anew at once, under another m and version: the touched one never serves.
        not_ready(node)
        scene.advance(seconds=1)
        await node.filters.tick()
        assert node.filters.serving(ZSM_CONTEXT).m != before.m
        assert await scene.bit() is True


async def test_must_14_a_filter_that_misses_the_canary_is_never_published(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The builder hands over a well-formed file that lacks the canary: a silent miss if it were published."""
    await scene.home.enrol_all(scene.port, [KNOWN])
    real = filters.run_builder

    async def without_canary(order: Any) -> Any:
        return await real(replace(order, canary=random_element().hex()))

    monkeypatch.setattr(filters, "run_builder", without_canary)
    async with scene.home.node(scene.port) as node:
        assert "being built" in not_ready(node)
        assert await scene.bit() == "not_ready"
        assert list((scene.home.data / "filters").glob("*.tags")) == []


def lose_a_person(file: Path) -> None:
    os.truncate(file, 2 * RECORD)


def flip_a_bit(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[-3] ^= 1
    file.write_bytes(content)


@pytest.mark.parametrize("damage", [lose_a_person, flip_a_bit])
async def test_a_pseudonym_file_that_is_damaged_makes_no_filter(scene: Scene, damage: Callable[[Path], None]) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN, UNKNOWN])
    for file in (scene.home.data / "pseudonyms").iterdir():
        damage(file)
    async with scene.home.node(scene.port) as node:
        await node.filters.settle()
        assert "is being built" in not_ready(node)
        assert await scene.bit() == "not_ready"
        assert await scene.bit(UNKNOWN) == "not_ready"


async def test_a_builder_that_hangs_is_ended_and_tried_again(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    real = filters.run_builder

    async def hanging(order: Any) -> Any:
        await asyncio.Event().wait()

    await scene.home.enrol_all(scene.port, [KNOWN])
    monkeypatch.setattr(filters, "LONGEST_START", 0.0)
    monkeypatch.setattr(filters, "run_builder", hanging)
    async with scene.home.node(scene.port) as node:
        await node.filters.settle()
        assert "is being built" in not_ready(node)
        monkeypatch.setattr(filters, "LONGEST_START", 60.0)
        monkeypatch.setattr(filters, "run_builder", real)
        scene.advance(seconds=filters.RETRY_SECONDS)
        await node.filters.tick()
        await node.filters.settle()
        assert await scene.bit() is True


async def test_must_14_an_m_that_does_not_belong_to_the_announced_k_is_never_published(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """k on disk changed under a running node: M is no multiple of the manifest's K."""
    async with scene.home.node(scene.port) as node:
        await scene.home.enrol_all(scene.port, [KNOWN])
        epoch = epoch_of(scene.federation.clock.now())
        other = node.keys.evaluation_key("demo/ander", epoch)
        monkeypatch.setattr(type(node.keys), "evaluation_key", lambda *_: other)
        await node.filters.tick()
        await node.filters.settle()
        not_ready(node)
        assert list((scene.home.data / "filters").glob("*.tags")) == []


# --- a clock that is off


@contextlib.asynccontextmanager
async def clock_of_its_own(scene: Scene, ahead: timedelta = timedelta(0)) -> AsyncIterator[tuple[Node, SteeredClock]]:
    """The node, and the clock that it goes by: everybody else's stands still meanwhile."""
    own = copy.copy(scene.federation.clock)
    own.advance(ahead)
    node = await start_node(scene.home.config(scene.port), own)
    try:
        await node.attachments[0].attached.wait()
        await node.directory.wait()
        await ticked(node)
        yield node, own
    finally:
        await node.stop(2)


async def ticked(node: Node) -> None:
    """What there is to build is built, and what is due is switched."""
    await node.filters.tick()
    await node.filters.settle()


def filter_files(scene: Scene) -> list[Path]:
    """Those for answering by machine: the first purpose's."""
    return list((scene.home.data / "filters").glob("*.tags"))


@pytest.mark.parametrize("ahead", [timedelta(minutes=20), timedelta(hours=5), timedelta(days=3)])
async def test_a_clock_that_ran_ahead_switches_nothing_and_answers_nothing_past_the_moment(
    scene: Scene, ahead: timedelta
) -> None:
    """By the own clock: so a broker that says an early time keeps no list in force either."""
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with clock_of_its_own(scene) as (node, own):
        before, moment = node.filters.serving(ZSM_CONTEXT), node.filters.next_switch(ZSM_CONTEXT)
        own.advance(ahead)
        for _ in range(3):
            await ticked(node)
        assert "ahead of the broker's" in not_ready(node)
        assert before.tags in filter_files(scene)
        own.set(scene.federation.clock.now())
        await ticked(node)
        assert node.filters.serving(ZSM_CONTEXT) is before
        # What was built for a moment that is still to come is gone.
        assert filter_files(scene) == [before.tags]
        assert node.filters.next_switch(ZSM_CONTEXT) == moment
        assert await scene.bit() is True


async def test_a_node_that_starts_with_a_clock_ahead_switches_to_nothing_until_it_is_right(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with clock_of_its_own(scene, timedelta(hours=5)) as (node, own):
        assert "ahead of the broker's" in not_ready(node)
        own.set(scene.federation.clock.now())
        await ticked(node)
        serving = node.filters.serving(ZSM_CONTEXT)
        assert serving.version == int(own.now().timestamp())
        assert filter_files(scene) == [serving.tags]
        assert await scene.bit() is True


async def test_a_restart_with_a_clock_ahead_goes_on_once_it_is_right(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        before = node.filters.serving(ZSM_CONTEXT)
    scene.advance(seconds=5)
    async with clock_of_its_own(scene, timedelta(hours=5)) as (node, own):
        assert "ahead of the broker's" in not_ready(node)
        own.set(scene.federation.clock.now())
        await ticked(node)
        assert node.filters.serving(ZSM_CONTEXT).version == before.version + 5
        assert await scene.bit() is True


async def test_a_build_that_failed_while_the_clock_was_ahead_is_tried_again_once_it_is_right(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filters.run_builder

    async def failing(order: Any) -> Any:
        raise StorageError("no room")

    await scene.home.enrol_all(scene.port, [KNOWN])
    monkeypatch.setattr(filters, "run_builder", failing)
    async with clock_of_its_own(scene, timedelta(hours=5)) as (node, own):
        monkeypatch.setattr(filters, "run_builder", real)
        own.set(scene.federation.clock.now())
        await ticked(node)
        assert await scene.bit() is True


async def test_without_a_broker_what_serves_goes_on_and_what_is_missing_is_built_but_not_switched_to(
    tmp_path: Path, authority: Authority
) -> None:
    """Whose clock is off is known once a replica was heard; what could be built by then is ready."""
    federation = mid_quarter(Federation.create(tmp_path, authority))
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        await home.enrol_all(broker.port, [KNOWN])
    node = await start_node(home.config(broker.port), federation.clock)
    try:
        await ticked(node)
        assert "no replica of the broker was heard" in not_ready(node)
        began = int(federation.clock.now().timestamp())
        federation.clock.advance(timedelta(seconds=30))
        async with federation.broker(port=broker.port):
            await node.attachments[0].attached.wait()
            await node.directory.wait()
            await node.filters.tick()
            assert node.filters.serving(ZSM_CONTEXT).version == began
            assert await bit(federation.parties[OM.oin], POLITIE.oin, ZSM_CONTEXT, KNOWN) is True
    finally:
        await node.stop(2)
    node = await start_node(home.config(broker.port), federation.clock)
    try:
        await ticked(node)
        assert node.filters.serving(ZSM_CONTEXT).version == began
    finally:
        await node.stop(2)


async def test_a_clock_that_leaps_during_a_build_and_is_set_right_before_the_switch_leaves_nobody_out(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who leaves with the month is known at its end: earlier, a filter that is believed would miss them in silence."""
    register = scene.home.csv(REGISTER, [KNOWN], end=f"{scene.home.today:%Y-%m}-25")
    for name in scene.home.registers:
        await scene.home.enrol(scene.port, name, register)
    real = filters.run_builder
    async with clock_of_its_own(scene) as (node, own):
        assert await scene.bit() is True
        scene.to_switch(node, before=5)
        right = scene.federation.clock.now()

        async def set_right_first(order: Any) -> Any:
            own.set(right)
            return await real(order)

        monkeypatch.setattr(filters, "run_builder", set_right_first)
        own.set(right)
        await node.filters.tick()
        own.advance(timedelta(days=20))
        await node.filters.settle()
        scene.to_switch(node)
        own.set(scene.federation.clock.now())
        await node.filters.tick()
        assert node.filters.serving(ZSM_CONTEXT).version == int(own.now().timestamp())
        assert await scene.bit() is True


@pytest.mark.parametrize("behind", [timedelta(minutes=20), timedelta(days=3)])
async def test_a_clock_that_was_behind_moves_no_switch(scene: Scene, behind: timedelta) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with clock_of_its_own(scene) as (node, own):
        before = node.filters.serving(ZSM_CONTEXT)
        own.advance(-behind)
        await ticked(node)
        own.set(scene.federation.clock.now())
        await ticked(node)
        assert node.filters.serving(ZSM_CONTEXT) is before
        assert node.filters.next_switch(ZSM_CONTEXT) == before.end


# --- lists


async def test_must_23_a_purpose_with_a_missing_register_is_not_answered(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, HAARLEM.oin)
    async with federation.broker() as broker, home.node(broker.port) as node:
        for register in ("veiligheid", "nazorg"):
            await home.enrol(broker.port, register, home.csv(register, [KNOWN]))
        await node.filters.tick()
        await node.filters.settle()
        assert "the register wmo was not imported" in not_ready(node, ZVH_WEIGHING)
        await home.enrol(broker.port, "wmo", home.csv("wmo", []), confirm_shrink=True)
        await node.filters.tick()
        await node.filters.settle()
        assert node.filters.serving(ZVH_WEIGHING).header.kinds == ["bsn"]


async def test_must_23_a_list_that_grew_too_old_is_not_answered(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN], as_of=scene.home.today - timedelta(days=2))
    async with scene.home.node(scene.port) as node:
        assert await scene.bit() is True
        held = await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)
        # FG-25: the requester sees of which day the list is.
        assert held.header.as_of == (scene.home.today - timedelta(days=2)).isoformat()
        scene.advance(days=2)
        assert "older than the covenant allows" in not_ready(node)
        assert await scene.bit() == "not_ready"
        await node.filters.tick()
        assert list((scene.home.data / "filters").glob("*.tags")) == []
        # A newer list waits for its moment, like every import.
        await scene.home.enrol_all(scene.port, [KNOWN])
        await node.filters.tick()
        await node.filters.settle()
        not_ready(node)
        await scene.switch(node)
        assert await scene.bit() is True


async def test_fg_25_a_registration_that_ended_is_not_found_any_more(scene: Scene) -> None:
    end = (scene.home.today.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)
    await scene.home.enrol(scene.port, REGISTER, scene.home.csv(REGISTER, [KNOWN], end=end.isoformat()))
    async with scene.home.node(scene.port) as node:
        assert await scene.bit() is True
        # Past the month, with a list of today in which the export still has the person.
        scene.federation.clock.set(scene.federation.clock.now().replace(day=1) + timedelta(days=33))
        await scene.home.enrol(
            scene.port, REGISTER, scene.home.csv(REGISTER, [KNOWN], end=end.isoformat()), confirm_shrink=True
        )
        # The node may have noticed the leap in time before the new list came: then that waits for the next moment.
        if (node.filters.next_switch(ZSM_CONTEXT) or 0) > scene.federation.clock.now().timestamp():
            scene.to_switch(node)
        await node.filters.tick()
        await node.filters.settle()
        assert await scene.bit() is False


# --- shielding


async def shield(scene: Scene, *persons: Any, lift: bool = False, whole: bool = False) -> tuple[str, ...]:
    config, clock = scene.home.config(scene.port), scene.federation.clock
    with ThreadPoolExecutor(1) as executor:
        return await shield_persons(config, persons, clock, executor, lift=lift, whole=whole)


async def test_who_is_shielded_is_not_found_from_the_next_moment_and_survives_imports(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN, PEOPLE[2]])
    async with scene.home.node(scene.port) as node:
        await shield(scene, KNOWN)
        await node.filters.tick()
        assert await scene.bit() is True
        await scene.switch(node)
        assert await scene.bit() is False
        assert await scene.bit(PEOPLE[2]) is True
        await scene.home.enrol_all(scene.port, [KNOWN, PEOPLE[2]])
        await scene.switch(node)
        assert await scene.bit() is False
        await shield(scene, KNOWN, lift=True)
        await scene.switch(node)
        assert await scene.bit() is True


async def test_who_was_shielded_is_not_known_in_a_new_epoch_because_a_list_was_forgotten(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    await shield(scene, KNOWN)
    async with scene.home.node(scene.port) as node:
        await _into_next_epoch(scene, node)
        await scene.home.enrol_all(scene.port, [KNOWN])
        # After the overlap, when nothing of the old epoch is left to remember it by.
        scene.advance(days=1)
        await node.filters.tick()
        assert "the register afgeschermd was not imported" in not_ready(node)
        # Somebody else alone would begin a list on which KNOWN is missing.
        with pytest.raises(GuardError, match="others are shielded already"):
            await shield(scene, UNKNOWN)
        assert "the register afgeschermd was not imported" in not_ready(node)
        await shield(scene, KNOWN, UNKNOWN, whole=True)
        await node.filters.tick()
        await node.filters.settle()
        assert await scene.bit() is False


# --- epochs


async def _into_next_epoch(scene: Scene, node: Node, days: float = 7.5) -> None:
    """New keys, signed manifests of node and broker, and the clock past the start (and by default the overlap)."""
    clock = scene.federation.clock
    start = epoch_start(next_epoch(epoch_of(clock.now())))
    clock.set(start - timedelta(days=10))
    create_missing(scene.federation.folder / "keys", clock.now())
    scene.federation.write_manifest()
    scene.home.write_manifest()
    clock.set(start + timedelta(days=days))
    await scene.broker.reload()
    await node.reload()
    # It says hello with the new manifest: until then its partners ask in vain.
    await node.attachments[0].attached.wait()
    await node.directory.refresh()
    for party in scene.federation.parties.values():
        if party.oin != scene.home.oin:
            party.renew_manifest()
        await party.publish()
    await node.directory.refresh()
    await node.housekeeping.keep()


async def test_fg_21_a_new_epoch_starts_empty_and_the_old_one_is_destroyed(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    old_epoch = epoch_of(scene.federation.clock.now())
    async with scene.home.node(scene.port) as node:
        old = next(it for it in node.registers.generations() if it.purpose == ZSM_CONTEXT)
        file = node.registers.file(old.id)
        pseudonyms = file.read_bytes()
        await _into_next_epoch(scene, node)
        await node.filters.tick()
        assert f"was not imported in {epoch_of(scene.federation.clock.now())}" in not_ready(node)
        assert node.registers.generations() == ()
        assert not file.exists()
        with pytest.raises(KeysError):
            node.keys.evaluation_key(ZSM_CONTEXT, old_epoch)
        await scene.home.enrol_all(scene.port, [KNOWN])
        # The first filter of an epoch does not wait.
        await node.filters.tick()
        await node.filters.settle()
        assert await scene.bit() is True
        new = next(it for it in node.registers.generations() if it.purpose == ZSM_CONTEXT)
        assert node.registers.file(new.id).read_bytes()[34:66] not in pseudonyms


async def test_in_the_overlap_the_old_epoch_serves_until_the_new_one_is_there(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    old_epoch = epoch_of(scene.federation.clock.now())
    async with scene.home.node(scene.port) as node:
        await scene.home.enrol_all(scene.port, [KNOWN])
        await _into_next_epoch(scene, node, days=0.5)
        # An old list is too old by now; yesterday's list of the old epoch cannot be enrolled any more.
        not_ready(node)
        await scene.home.enrol_all(scene.port, [KNOWN])
        await node.filters.tick()
        await node.filters.settle()
        serving = node.filters.serving(ZSM_CONTEXT)
        assert serving.header.epoch != old_epoch
        assert old_epoch in node.keys.epochs()
        assert await scene.bit() is True


# --- decisions and covenants


async def test_when_a_standing_decision_ends_a_colleague_decides_from_the_next_switch(
    tmp_path: Path, authority: Authority
) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, RECLASSERING.oin)
    om = federation.parties[OM.oin]
    async with federation.broker() as broker, home.node(broker.port) as node:
        await home.enrol_all(broker.port, [KNOWN])
        await node.filters.tick()
        await node.filters.settle()
        assert await bit(om, RECLASSERING.oin, ZSM_CONTEXT, KNOWN) is True
        home.write_decisions(first=-30, last=-1)
        assert await node.reload()
        await node.attachments[0].attached.wait()
        # Until then there is no answer.
        not_ready(node)
        assert await bit(om, RECLASSERING.oin, ZSM_CONTEXT, KNOWN) == "not_ready"
        await node.filters.tick()
        assert "waits for its moment" in not_ready(node)
        await _past_two_moments(federation, node)
        assert node.filters.serving(ZSM_CONTEXT).by_hand
        home.write_decisions()
        assert await node.reload()
        await node.attachments[0].attached.wait()
        await node.filters.tick()
        # A decision begins at the next moment too, not when it was signed.
        assert node.filters.serving(ZSM_CONTEXT).by_hand
        await _past_two_moments(federation, node)
        assert await bit(om, RECLASSERING.oin, ZSM_CONTEXT, KNOWN) is True


async def _past_two_moments(federation: Federation, node: Node) -> None:
    for _ in range(2):
        moment = node.filters.next_switch(ZSM_CONTEXT)
        assert moment is not None
        federation.clock.advance(timedelta(seconds=moment - federation.clock.now().timestamp()))
        await node.filters.tick()
        await node.filters.settle()


async def test_a_decision_of_somebody_else_or_changed_counts_for_nothing(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, RECLASSERING.oin)
    for path in (home.folder / "besluiten").iterdir():
        path.write_bytes(path.read_bytes().replace(b"Proefbesluit", b"ProefbesluiT"))
    async with federation.broker() as broker, home.node(broker.port) as node:
        await home.enrol_all(broker.port, [KNOWN])
        await node.filters.tick()
        await node.filters.settle()
        assert node.filters.serving(ZSM_CONTEXT).by_hand


async def test_another_covenant_withdraws_what_was_built_under_the_old(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        scene.federation.write_covenant(_next_version)
        await scene.broker.reload()
        assert await node.reload()
        # The node's own tick withdraws it, at the latest within a second.
        assert re.search("another covenant|waits for its moment", not_ready(node))
        await node.attachments[0].attached.wait()
        await scene.switch(node)
        await scene.switch(node)
        assert node.filters.serving(ZSM_CONTEXT).header.covenant_hash == scene.federation.covenant.hash
        # An older version is never taken back, and what was in force stays.
        scene.federation.write_covenant()
        assert not await node.reload()
        assert node.rules.covenant().version == 2
    with pytest.raises(CovenantError, match="ouder dan versie 2"):
        await start_node(scene.home.config(scene.port), scene.federation.clock)


def _next_version(folder: Path) -> None:
    path = folder / "afspraken.yaml"
    tree = yaml.load(path.read_text(), yaml.BaseLoader)
    path.write_text(yaml.safe_dump(tree | {"versie": "2"}, allow_unicode=True))


async def test_a_covenant_without_the_own_oin_is_refused_by_name(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    home.settings = {"oin": "00000099000000099000"}
    with pytest.raises(UnknownPartnerError, match="names 00000099000000002000, the configuration says"):
        await start_node(home.config(1), federation.clock)


async def test_the_canary_is_found_over_the_broker(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        outcome = await node.asker.ask_canary(ZSM_CONTEXT)
        assert outcome.to_json()["outcome"] == "bekend"
        assert parse_identifier("bsn", CANARY).value == CANARY


async def test_a_push_goes_to_admitted_requesters_only(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    haarlem = scene.federation.parties[HAARLEM.oin]
    async with scene.home.node(scene.port):
        assert isinstance((await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)).body, ClosedFilter)
        with pytest.raises(RefusedError):
            await fetch(haarlem, POLITIE.oin, ZSM_CONTEXT)


# --- stopping a purpose until the next switch, to shield somebody at once


REASON = "ex-partner werkt bij de vrager"


async def test_fg_36_who_must_be_shielded_at_once_is_told_to_nobody_and_the_next_switch_answers_again(
    scene: Scene,
) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN, UNKNOWN])
    async with scene.home.node(scene.port) as node:
        await scene.bit()  # fetches the filter: what a requester holds already does not help it
        until = await node.halting.halt(ZSM_CONTEXT, REASON, "beheer")
        assert await scene.bit() == "not_ready"
        assert "halted" in not_ready(node)
        assert node.status()["purposes"][ZSM_CONTEXT]["halted"]
        await shield(scene, KNOWN)
        assert await node.halting.halt(ZSM_CONTEXT, REASON, "beheer") == until
        assert await scene.bit(UNKNOWN) == "not_ready"
        await scene.switch(node)
        assert until is not None
        assert scene.federation.clock.now() >= until
        assert (await scene.bit(), await scene.bit(UNKNOWN)) == (False, True)
        assert node.halting.halted() == {}


async def test_fg_36_a_halt_holds_over_a_restart_and_ends_at_the_same_switch(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN, UNKNOWN])
    async with scene.home.node(scene.port) as node:
        until = await node.halting.halt(ZSM_CONTEXT, REASON, "beheer")
    await shield(scene, KNOWN)
    async with scene.home.node(scene.port) as node:
        assert node.halting.halted() == {ZSM_CONTEXT: until}
        assert await scene.bit(UNKNOWN) == "not_ready"
        await scene.switch(node)
        assert (await scene.bit(), await scene.bit(UNKNOWN)) == (False, True)
    async with scene.home.node(scene.port) as node:
        assert node.halting.halted() == {}
        assert await scene.bit(UNKNOWN) is True


async def test_fg_36_what_was_built_before_the_shielding_never_serves(scene: Scene) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN, UNKNOWN])
    async with scene.home.node(scene.port) as node:
        scene.to_switch(node, before=5)
        await node.filters.tick()
        await node.filters.settle()
        # The next filter is ready, with the person in it.
        await node.halting.halt(ZSM_CONTEXT, REASON, "beheer")
        await shield(scene, KNOWN)
        await node.halting.halt(ZSM_CONTEXT, REASON, "beheer")
        await node.filters.tick()
        await node.filters.settle()
        scene.to_switch(node)
        await node.filters.tick()
        assert (await scene.bit(), await scene.bit(UNKNOWN)) == (False, True)


@pytest.mark.parametrize(
    ("purpose", "reason", "words"),
    [
        ("demo/onbekend", REASON, "antwoordt uw organisatie niet"),
        (ZSM_CONTEXT, "te kort", "Schrijf waarom"),
        (ZSM_CONTEXT, "het gaat om 999990019", "BSN"),
    ],
)
async def test_a_halt_names_a_purpose_and_a_reason_without_a_person(
    scene: Scene, purpose: str, reason: str, words: str
) -> None:
    await scene.home.enrol_all(scene.port, [KNOWN])
    async with scene.home.node(scene.port) as node:
        with pytest.raises(RefusedError, match=words):
            await node.halting.halt(purpose, reason, "beheer")
        assert await scene.bit() is True
