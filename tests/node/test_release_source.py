"""The source side of section 9 over a real broker: named, compared, decided, collected, and nothing else to be seen."""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.partners import HAARLEM, POLITIE, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_node import filters
from bekend_node.answer import collects
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.desk import comparing
from bekend_node.desk.belonging import belongs
from bekend_node.desk.compare import Compared
from bekend_node.desk.compare import Named as ComparedPerson
from bekend_node.desk.compare import Order as CompareOrder
from bekend_node.filter_build import Built, Order
from bekend_node.schedule import RELEASE_SECONDS
from bekend_policy.manifest import KeyManifest
from bekend_proto.collecting import FIRST_COLLECT
from bekend_proto.errors import LogError, NotReadyError, RefusedError, StaleError, SuspendedError
from bekend_proto.filter import tag
from bekend_proto.group import random_element

from tests.support.federation import PEOPLE
from tests.support.nodes import bit, fetch
from tests.support.pki import Authority
from tests.support.releasing import (
    CLIENT,
    CLOSED,
    KNOWN,
    OTHER,
    STRANGER,
    USER,
    WAITING,
    Asked,
    Scene,
    items,
    let_go,
    refuse,
    scene_of,
)
from tests.support.suspensions import signed, suspension


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    async with scene_of(tmp_path, authority) as made:
        yield made


# --- filters


async def test_by_hand_the_header_goes_out_alone(scene: Scene) -> None:
    async with scene.node() as node:
        serving = node.filters.serving(ZVH_WEIGHING)
        assert serving.by_hand
        pieces = await scene.haarlem.fetch(POLITIE.oin, ZVH_WEIGHING)
    assert len(pieces) == 1
    assert (serving.header.tags, serving.header.end - serving.header.version <= 900) == (0, True)


async def test_must_20_a_w_from_a_manual_answer_matches_in_no_filter(scene: Scene) -> None:
    """Not in the automatic one of that moment or of any other, under either purpose's name."""
    async with scene.node() as node:
        before = await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)
        asked = await scene.ask()
        w = asked.w()
        moment = node.filters.next_switch(ZSM_CONTEXT)
        assert moment is not None
        scene.advance(seconds=moment - scene.federation.clock.now().timestamp())
        for _ in range(2):
            await node.filters.tick()
            await node.filters.settle()
        after = await fetch(scene.om, POLITIE.oin, ZSM_CONTEXT)
        assert after.header.version > before.header.version
        assert await bit(scene.om, POLITIE.oin, ZSM_CONTEXT, CLIENT, after) is True
        for held in (before, after):
            for purpose in (ZSM_CONTEXT, ZVH_WEIGHING):
                for version in (held.header.version, asked.answer.filter_version):
                    assert not held.body.contains(tag(w, POLITIE.oin, purpose, version))


async def test_must_14_clients_that_were_touched_are_not_served(scene: Scene) -> None:
    async with scene.node() as node:
        serving = node.filters.serving(ZVH_WEIGHING)
    body = bytearray(serving.tags.read_bytes())
    body[-1] ^= 1
    serving.tags.write_bytes(body)
    async with scene.node() as node:
        with pytest.raises(NotReadyError, match="waits for its moment"):
            node.filters.serving(ZVH_WEIGHING)
        scene.advance(seconds=2)
        await node.filters.tick()
        # Built anew, under another m.
        assert node.filters.serving(ZVH_WEIGHING).m != serving.m


async def test_must_14_clients_that_miss_the_canary_are_never_put_into_service(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = filters.run_builder

    async def without(order: Order) -> Built:
        return await real(replace(order, canary=random_element().hex()))

    monkeypatch.setattr(filters, "run_builder", without)
    async with scene.node() as node:
        await node.filters.settle()
        with pytest.raises(NotReadyError):
            node.filters.serving(ZVH_WEIGHING)
        assert not list((scene.home.data / "filters").iterdir())


async def test_without_a_desk_key_nothing_is_answered_by_hand(scene: Scene) -> None:
    (scene.home.folder / "keys" / "desk.key").unlink()
    async with scene.node() as node:
        with pytest.raises(NotReadyError, match="desk init"):
            node.filters.serving(ZVH_WEIGHING)
        assert await bit(scene.om, POLITIE.oin, ZSM_CONTEXT, CLIENT) is True


# --- from naming to collecting


async def test_fg_41_a_released_person_is_known_and_stays_so(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT, STRANGER)
        (name,) = items(node)
        seen = await node.desk.show(USER, name, absent=False)
        assert seen["person"] == {"kind": "bsn", "value": CLIENT.value}
        assert seen["requester"] == HAARLEM.name
        assert seen["grounds"]
        assert seen["requester_grounds"]
        assert (seen["desk"], "weging" in seen["justification"]) == ("loket@zvh.example.nl", True)
        await let_go(node, name)
        assert await asked.collect_at(FIRST_COLLECT) == [KNOWN, WAITING]
        assert items(node) == []
        assert await asked.collect_last() == [KNOWN, CLOSED]
        assert [one["what"] for one in scene.records(node)] == ["shown", "released"]
        assert scene.records(node)[1]["value"] == CLIENT.value
    assert set(asked.boxes) == {512}


async def test_fg_12_refused_unknown_and_undecided_end_alike(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT, STRANGER, PEOPLE[3])
        refused, _ = items(node)
        await refuse(node, refused)
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING] * 3
        assert await asked.collect_last() == [CLOSED] * 3


async def test_a_decision_is_undone_until_it_was_collected(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        (name,) = items(node)
        await let_go(node, name)
        await node.desk.undo(USER, name, absent=False)
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING]
        await let_go(node, name)
        with pytest.raises(RefusedError, match="al-beslist"):
            await refuse(node, name)
        assert await asked.collect_at(FIRST_COLLECT + 1) == [KNOWN]
        with pytest.raises(RefusedError, match="onbekend-verzoek"):
            await node.desk.undo(USER, name, absent=False)
        assert [one["what"] for one in scene.records(node)] == ["released", "undone", "released"]


async def test_fg_36_who_is_shielded_or_left_since_is_not_told(scene: Scene) -> None:
    """Released, and then shielded: it holds at once, before the next switch."""
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT, OTHER)
        for name in items(node):
            await let_go(node, name)
        port = scene.broker.port
        await scene.home.enrol(port, "afgeschermd", scene.home.csv("afgeschermd", [CLIENT]), confirm_shrink=True)
        # The other one is not in the newest list any more.
        await scene.home.enrol_all(port, [CLIENT, *PEOPLE[3:]])
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING, WAITING]
        # Lifted again: it stays as if it was refused.
        await scene.home.enrol(port, "afgeschermd", scene.home.csv("afgeschermd", []), confirm_shrink=True)
        assert await asked.collect_last() == [CLOSED, CLOSED]


async def test_fg_36_a_shielded_person_makes_no_item_and_cannot_be_released(scene: Scene) -> None:
    async with scene.node() as node:
        first = await scene.named(node, CLIENT)
        (name,) = items(node)
        await scene.home.enrol(
            scene.broker.port, "afgeschermd", scene.home.csv("afgeschermd", [CLIENT]), confirm_shrink=True
        )
        with pytest.raises(RefusedError, match="niet-in-lijst"):
            await let_go(node, name)
        await refuse(node, name)
        # Its W still stands in the filter of now.
        await scene.named(node, CLIENT)
        assert [one for one in items(node) if one != name] == []
        assert await first.collect_last() == [CLOSED]


async def test_what_was_told_stays_told_also_when_the_person_leaves(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        await let_go(node, *items(node))
        assert await asked.collect_at(FIRST_COLLECT) == [KNOWN]
        await scene.home.enrol_all(scene.broker.port, PEOPLE[3:])
        assert await asked.collect_last() == [KNOWN]


async def test_fg_10_a_withdrawal_ends_what_is_open_and_what_was_released(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT, OTHER)
        one, _ = items(node)
        await let_go(node, one)
        assert await asked.withdraw() == [WAITING, WAITING]
        # Its reply got lost, say: the same comes again.
        assert await asked.withdraw() == [WAITING, WAITING]
        assert items(node) == []
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING, WAITING]
        assert await asked.collect_last() == [CLOSED, CLOSED]


async def test_a_withdrawal_that_comes_before_the_comparison_ends_it(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.ask(CLIENT)
        await asked.release()
        await asked.withdraw()
        await node.comparing.compare_all()
        assert items(node) == []


async def test_one_that_cannot_be_judged_is_tried_again_and_ends_as_a_fault_of_its_own(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = comparing.run_compare

    async def one_of_them(order: CompareOrder) -> list[Compared]:
        """An element that is none: whatever makes one of them fail in the process that compares."""
        return await real(replace(order, named=[_broken(one, asked[1]) for one in order.named]))

    async with scene.node() as node:
        asked = [await scene.ask(who) for who in (CLIENT, OTHER, STRANGER)]
        monkeypatch.setattr(comparing, "run_compare", one_of_them)
        for one in asked:
            await one.release()
        tries = 0
        while not await node.comparing.compare_all():
            # The others wait for nothing.
            assert len(items(node)) == 1
            tries += 1
        assert 0 < tries < comparing.ATTEMPTS
        monkeypatch.setattr(comparing, "run_compare", real)
        assert await node.comparing.compare_all()
        await let_go(node, *items(node))
        # Its requester gets no answer, and never the authenticated end of a term.
        assert [await one.collect_last() for one in asked] == [[KNOWN], [WAITING], [CLOSED]]


def _broken(one: ComparedPerson, asked: Asked) -> ComparedPerson:
    return replace(one, element="none") if one.context == asked.context().hex() else one


async def test_what_belongs_to_no_question_here_ends_at_once_and_the_others_go_on(scene: Scene) -> None:
    async with scene.node() as node:
        asked = [await scene.ask(who) for who in (CLIENT, OTHER)]
        for one in asked:
            await one.release()
        lost = asked[0].question.question_id
        await node.store.database.write(
            lambda conn: conn.execute("DELETE FROM awaiting WHERE question_id = ?", (lost,))
        )
        assert await node.comparing.compare_all()
        (name,) = items(node)
        assert name.startswith(f"v{asked[1].question.question_id.hex()[:8]}")
        assert not node.desk_store.exchanges(waiting=True)


async def test_the_filter_before_is_compared_with_for_ten_minutes_over_a_restart(scene: Scene) -> None:
    async with scene.node() as node:
        moment = node.filters.next_switch(ZVH_WEIGHING)
        assert moment is not None
        scene.advance(seconds=moment - 60 - scene.federation.clock.now().timestamp())
        asked, late = await scene.ask(CLIENT), await scene.ask(OTHER)
        old = node.filters.serving(ZVH_WEIGHING)
        await scene.switch(node)
        assert node.filters.serving(ZVH_WEIGHING).version == moment
    async with scene.node() as node:
        assert await asked.release() == [WAITING]
        await node.comparing.compare_all()
        assert len(items(node)) == 1
        scene.advance(seconds=RELEASE_SECONDS + 1)
        await node.filters.tick()
        with pytest.raises(NotReadyError, match="gone"):
            node.filters.by_hand(FilterId(ZVH_WEIGHING, CERTAIN), old.version)
        assert not old.tags.exists()
        assert node.store.filters.before() == []
        with pytest.raises(StaleError):
            await late.release()
        # What was compared in time is decided on.
        await let_go(node, *items(node))
        assert await asked.collect_last() == [KNOWN]


async def test_a_node_that_a_log_alarm_stopped_takes_no_release_and_tells_no_decision(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT)
        (name,) = items(node)
        await let_go(node, name)
        unnamed = await scene.ask(CLIENT)
        node.witness.heads.stopped = "the broker's log: fork"
        with pytest.raises(LogError):
            await asked.collect_at(FIRST_COLLECT)
        with pytest.raises(LogError):
            await unnamed.release()
        node.witness.heads.stopped = ""
        # Nothing was told, or used up, by what was refused.
        assert await asked.collect_at(FIRST_COLLECT + 1) == [KNOWN]


async def test_fg_36_a_halted_purpose_takes_no_names_and_tells_no_release_until_the_next_switch(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT)
        (name,) = items(node)
        await let_go(node, name)
        unnamed = await scene.ask(CLIENT)
        await node.halting.halt(ZVH_WEIGHING, "ex-partner werkt bij de vrager", "beheer")
        with pytest.raises(NotReadyError):
            await unnamed.release()
        with pytest.raises(NotReadyError):
            await asked.collect_at(FIRST_COLLECT)
        await scene.switch(node)
        assert await asked.collect_at(FIRST_COLLECT + 1) == [KNOWN]


@pytest.mark.parametrize("stop", ["alarm", "suspension", "halt"])
async def test_what_stops_a_node_while_its_registers_are_read_stops_what_is_told_of_them(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    """Of a large register that takes a while, and nothing is told from that moment."""
    async with scene.node() as node:
        asked = await scene.named(node, CLIENT)
        await let_go(node, *items(node))
        loop = asyncio.get_running_loop()
        note = suspension(scene.federation, "doel", ZVH_WEIGHING)

        async def stopped() -> None:
            if stop == "alarm":
                node.witness.heads.stopped = "the broker's log: fork"
            elif stop == "suspension":
                node.suspending.held.put(note, signed(scene.federation, note))
            else:
                await node.halting.halt(ZVH_WEIGHING, "ex-partner werkt bij de vrager", "beheer")

        def reading(*args: Any, **more: Any) -> bool:
            asyncio.run_coroutine_threadsafe(stopped(), loop).result(10)
            return belongs(*args, **more)

        monkeypatch.setattr(collects, "belongs", reading)
        with pytest.raises({"alarm": LogError, "suspension": SuspendedError, "halt": NotReadyError}[stop]):
            await asked.collect_at(FIRST_COLLECT)
        monkeypatch.undo()
        # Nothing was told, so it can still be undone.
        await node.desk.undo(USER, *[one["item"] for one in node.desk.waiting(USER)["items"]], absent=False)


@pytest.mark.parametrize("stop", ["alarm", "suspension"])
async def test_nobody_is_named_to_a_node_that_is_stopped_while_it_looks_for_the_requesters_keys(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, stop: str
) -> None:
    async with scene.node() as node:
        asked = await scene.ask(CLIENT)
        note, require = suspension(scene.federation, "doel", ZVH_WEIGHING), node.directory.require

        async def stopped(*what: Any) -> KeyManifest:
            if stop == "alarm":
                node.witness.heads.stopped = "the broker's log: fork"
            else:
                node.suspending.held.put(note, signed(scene.federation, note))
            return await require(*what)

        monkeypatch.setattr(node.directory, "require", stopped)
        with pytest.raises({"alarm": LogError, "suspension": SuspendedError}[stop]):
            await asked.release()
        assert node.desk_store.exchanges() == []


async def test_a_requester_cannot_have_two_persons_stand_under_one_name(scene: Scene) -> None:
    """It chooses the ids of its questions. Who looked at one person would decide about the other, were the first
    withdrawn meanwhile.
    """
    async with scene.node() as node:
        first, second, third = [
            await scene.ask(one, question_id=bytes.fromhex("aaaaaaaa") + secrets.token_bytes(12))
            for one in (CLIENT, OTHER, OTHER)
        ]
        await first.release()
        await node.comparing.compare_all()
        (seen,) = items(node)
        with pytest.raises(StaleError):
            await second.release()
        await first.withdraw()
        with pytest.raises(StaleError):
            await third.release()
        await node.comparing.compare_all()
        with pytest.raises(RefusedError, match="onbekend-verzoek"):
            await let_go(node, seen)
