"""A requester and a broker that do with releases and collects what they like; a source that stops at each step."""

import asyncio
import base64
import sqlite3
from collections.abc import AsyncIterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_deploy.partners import ZVH_WEIGHING
from bekend_node.answer.collects import Collects
from bekend_node.answer.exchange import Exchanges
from bekend_node.app import Node
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.desk import comparing
from bekend_node.desk.comparing import Comparing
from bekend_node.desk.matter import SEALED_LENGTH
from bekend_node.desk.record import RECORD_LENGTH
from bekend_node.schedule import RELEASE_SECONDS, collect_moment
from bekend_node.store_desk import DeskStore
from bekend_proto import collecting, group, release
from bekend_proto.collecting import FIRST_COLLECT
from bekend_proto.errors import BekendError, MalformedError, StorageError
from bekend_proto.v1 import broker_pb2, signed_pb2
from bekend_proto.v1.signed_pb2 import Named
from nacl.signing import SigningKey

from tests.support.federation import PEOPLE
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


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    async with scene_of(tmp_path, authority) as made:
        yield made


def intake(node: Node) -> Any:
    """The source's own door, as if the broker let everything through."""
    return node.attachments[0].intake


async def at_the_door(node: Node, asked: Asked, box: bytes) -> str:
    """What the source itself makes of a release: `replied`, or the name of the fault."""
    routed = broker_pb2.RoutedRelease(exchange_id=bytes(16), question_id=asked.question.question_id, box=box)
    return _said(await intake(node).release(routed))


async def collected(node: Node, asked: Asked, number: int, box: bytes | None = None) -> str:
    """The same of a collect."""
    routed = broker_pb2.RoutedCollect(
        exchange_id=bytes(16),
        question_id=asked.question.question_id,
        number=number,
        box=asked.collect_request(number).box if box is None else box,
    )
    return _said(await node.attachments[0].collects.collect(routed))


def _said(reply: broker_pb2.RoutedCollected | broker_pb2.Failure) -> str:
    if isinstance(reply, broker_pb2.RoutedCollected):
        assert len(reply.box) == collecting.COLLECTED_BOX
        return "replied"
    return signed_pb2_name(reply)


def signed_pb2_name(failure: broker_pb2.Failure) -> str:
    return (
        broker_pb2.DESCRIPTOR.pool.FindEnumTypeByName("bekend_proto.v1.ErrorCode")
        .values_by_number[failure.code]
        .name.removeprefix("ERROR_CODE_")
    )


async def test_persons_are_named_once(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.ask()
        assert await at_the_door(node, asked, asked.box()) == "replied"
        assert await at_the_door(node, asked, asked.box()) == "STALE"
        assert await at_the_door(node, asked, asked.box([asked.d(justification="nog eens, anders")])) == "STALE"
        await node.comparing.compare_all()
        assert len(items(node)) == 1


async def test_a_message_that_comes_late_is_no_message(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.ask()
        scene.advance(seconds=RELEASE_SECONDS + 1)
        assert await at_the_door(node, asked, asked.box()) == "STALE"
        assert node.desk_store.exchanges() == []


async def test_nothing_is_told_once_the_covenant_of_the_question_has_ended(
    tmp_path: Path, authority: Authority
) -> None:
    """Whatever broker and requester agree on: what a colleague released under it stays here."""

    def ends_today(folder: Path) -> None:
        path = folder / "afspraken.yaml"
        tree = yaml.load(path.read_text("utf-8"), yaml.BaseLoader)
        # Written yesterday, for two days.
        last = date.fromisoformat(tree["geldig_vanaf"]) + timedelta(days=1)
        path.write_text(yaml.safe_dump(tree | {"geldig_tot_en_met": last.isoformat()}, allow_unicode=True), "utf-8")

    async with scene_of(tmp_path, authority, ends_today) as scene, scene.node() as node:
        asked = await scene.named(node)
        await let_go(node, *items(node))
        scene.federation.clock.set(scene.federation.covenant.valid_until - timedelta(seconds=1))
        assert await collected(node, asked, FIRST_COLLECT) == "replied"
        scene.advance(seconds=1)
        assert await collected(node, asked, FIRST_COLLECT + 1) == "REFUSED"
        # A consent that is withdrawn ends what is open, whatever ended before.
        noise = [bytes(release.RELEASE_LENGTH)]
        assert await at_the_door(node, asked, asked.box(noise, collecting.WITHDRAWS)) == "replied"


async def test_fg_36_a_halt_while_a_collect_is_being_answered_tells_nothing_and_uses_nothing_up(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        await let_go(node, *items(node))
        asked.advance_to(
            1000 * collect_moment(asked.party.oin, asked.interval, int(asked.question.time), FIRST_COLLECT)
        )
        loop, honest = asyncio.get_running_loop(), Collects._belonging

        def halting(*args: Any) -> set[bytes]:
            found = honest(*args)
            halt = node.halting.halt(ZVH_WEIGHING, "ex-partner werkt bij de vrager", "beheer")
            asyncio.run_coroutine_threadsafe(halt, loop).result()
            return found

        monkeypatch.setattr(Collects, "_belonging", halting)
        assert await collected(node, asked, FIRST_COLLECT) == "NOT_READY"
        monkeypatch.setattr(Collects, "_belonging", honest)
        await scene.switch(node)
        assert await collected(node, asked, FIRST_COLLECT) == "replied"


async def test_a_message_under_a_version_that_is_gone_is_no_message(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.ask()
        by_hand = FilterId(ZVH_WEIGHING, CERTAIN)
        await node.store.filters.withdraw(by_hand)
        del node.filters._shelves[by_hand]
        assert await at_the_door(node, asked, asked.box()) == "NOT_READY"


@pytest.mark.parametrize("length", [0, 1, 4096, 5000])
async def test_another_length_is_refused(scene: Scene, length: int) -> None:
    async with scene.node() as node:
        asked = await scene.ask()
        assert await at_the_door(node, asked, bytes(length)) == "MALFORMED"
        with pytest.raises(MalformedError):
            await asked.send(bytes(length))


async def test_only_the_requester_of_the_question_names_and_collects(scene: Scene) -> None:
    async with scene.node() as node:
        asked, another = await scene.ask(), await scene.ask(OTHER)
        stranger = collecting.seal_release_box(
            asked.fresh(), SigningKey.generate(), collecting.NAMES, asked.parties, [asked.d()]
        )
        assert await at_the_door(node, asked, stranger) == "SIGNATURE"
        # The release of one question, in the place of another's.
        assert await at_the_door(node, asked, another.box()) == "MALFORMED"
        assert await at_the_door(node, asked, asked.box()) == "replied"
        scene.advance(hours=1)
        assert await collected(node, asked, FIRST_COLLECT, bytes(collecting.COLLECT_BOX)) == "MALFORMED"
        moved = asked.collect_request(FIRST_COLLECT).box
        assert await collected(node, asked, FIRST_COLLECT + 1, moved) == "MALFORMED"


async def test_a_collect_is_answered_once_in_order_and_not_before_its_moment(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        assert await collected(node, asked, FIRST_COLLECT + 1) == "STALE"
        moment = collect_moment(asked.party.oin, asked.interval, int(asked.question.time), FIRST_COLLECT + 1)
        asked.advance_to(1000 * (moment - 120))
        assert await collected(node, asked, FIRST_COLLECT + 1) == "STALE"
        asked.advance_to(1000 * moment)
        assert await collected(node, asked, FIRST_COLLECT + 1) == "replied"
        for replayed in (FIRST_COLLECT + 1, FIRST_COLLECT):
            assert await collected(node, asked, replayed) == "STALE"
    async with scene.node() as node:
        assert await collected(node, asked, FIRST_COLLECT + 1) == "STALE"


async def test_nothing_is_collected_of_a_question_that_named_nobody(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.ask()
        scene.advance(hours=1)
        assert await collected(node, asked, FIRST_COLLECT) == "STALE"
        assert await at_the_door(node, asked, asked.box(number=collecting.WITHDRAWS)) == "STALE"


# --- who is named


def _keyed_for(asked: Asked, named: signed_pb2.Named) -> bytes:
    return release.seal_release(asked.w(), asked.context(), release.pack_named(named))


async def test_a_message_that_names_somebody_else_goes_to_the_privacy_officer(scene: Scene) -> None:
    """Keyed for a client, and naming another client, under another blind, nobody: the desk never sees whom."""
    async with scene.node() as node:
        every = []
        for changes in ({"value": OTHER.value}, {"blind": group.random_scalar()}, {"value": "123456789"}):
            asked = await scene.ask()
            assert await asked.release([_keyed_for(asked, asked.named(**changes))]) == [WAITING]
            every.append(asked)
        await node.comparing.compare_all()
        waiting = node.desk.waiting(USER)
        assert (waiting["items"], waiting["total"], waiting["privacy_officer"]) == ([], 0, True)
        found = scene.records(node)
        assert [one["what"] for one in found] == ["misnamed"] * 3
        assert {one["question"] for one in found} == {asked.question.question_id.hex() for asked in every}
        assert OTHER.value in {Named.FromString(base64.b64decode(str(one["payload"]))).value for one in found}
        # To the requester and the broker they look like any other.
        assert [await asked.collect_at(FIRST_COLLECT) for asked in every] == [[WAITING]] * 3
        assert [await asked.collect_last() for asked in every] == [[CLOSED]] * 3


async def test_a_transplanted_message_matches_nobody(scene: Scene) -> None:
    """D of one question inside another, of one person in the place of another."""
    async with scene.node() as node:
        asked, another = await scene.ask(CLIENT, OTHER), await scene.ask(CLIENT, OTHER)
        assert await another.release([asked.d(0), asked.d(1)]) == [WAITING] * 2
        third = await scene.ask(CLIENT, OTHER)
        assert await third.release([third.d(1), third.d(0)]) == [WAITING] * 2
        await node.comparing.compare_all()
        assert items(node) == []


# --- must-list 9, 10: nothing to be seen


async def test_must_09_rows_and_records_have_one_size_whatever_came_of_a_person(scene: Scene) -> None:
    async with scene.node() as node:
        released, refused = await scene.named(node, CLIENT), await scene.named(node, OTHER)
        unknown, open_ = await scene.named(node, STRANGER), await scene.named(node, PEOPLE[3])
        misnamed = await scene.ask(CLIENT)
        await misnamed.release([_keyed_for(misnamed, misnamed.named(value=OTHER.value))])
        await node.comparing.compare_all()
        one, other, _ = items(node)
        await let_go(node, one)
        await refuse(node, other)
        every = [released, refused, unknown, open_, misnamed]
        states = [await asked.collect_at(FIRST_COLLECT) for asked in every]
        assert sorted(state for (state,) in states) == [KNOWN] + [WAITING] * 4
        rows = _sizes(scene, "desk.db", "SELECT question_id, * FROM exchange")
        assert len(set(rows)) == 1
        assert set(_sizes(scene, "desk.db", "SELECT sealed, sealed FROM matter")) == {(2 * SEALED_LENGTH,)}
        assert set(_sizes(scene, "node.db", "SELECT sealed, sealed FROM desk_record")) == {(2 * RECORD_LENGTH,)}
        assert len(set(_sizes(scene, "node.db", "SELECT question_id, sealed FROM awaiting"))) == 1
        assert {len(box) for asked in every for box in [asked.collect_request(9).box]} == {collecting.COLLECT_BOX}
        assert {length for asked in every for length in asked.boxes} == {collecting.COLLECTED_BOX}


def _sizes(scene: Scene, file: str, query: str) -> list[tuple[int, ...]]:
    """Octets per row: of blobs their length, of numbers none."""
    with sqlite3.connect(scene.home.data / file) as database:
        return [(sum(len(value) for value in row if isinstance(value, bytes)),) for row in database.execute(query)]


@pytest.mark.usefixtures("by_itself")
async def test_must_10_whatever_goes_wrong_at_the_desk_changes_no_reply_and_closes_no_term(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(order: Any) -> Any:
        raise StorageError("the process that compares was killed")

    monkeypatch.setattr(comparing, "run_compare", broken)
    async with scene.node() as node:
        asked = await scene.ask()
        assert await asked.release() == [WAITING]
        for _ in range(comparing.ATTEMPTS):
            await node.comparing.compare_all()
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING]
        # A fault is never the end of a term: the requester has no answer.
        assert await asked.collect_last() == [WAITING]
    assert set(asked.boxes) == {collecting.COLLECTED_BOX}


async def test_must_07_a_disk_fault_means_no_reply_and_nothing_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(self: DeskStore, *_: Any) -> Any:
        raise StorageError("the disk is full")

    async with scene.node() as node:
        asked, later = await scene.ask(), await scene.named(node, OTHER)
        with monkeypatch.context() as patched:
            patched.setattr(DeskStore, "begin", broken)
            patched.setattr(DeskStore, "change", broken)
            assert await at_the_door(node, asked, asked.box()) == "STORAGE"
            asked.advance_to(
                1000 * collect_moment(later.party.oin, later.interval, int(later.question.time), FIRST_COLLECT)
            )
            assert await collected(node, later, FIRST_COLLECT) == "STORAGE"
        assert await collected(node, later, FIRST_COLLECT) == "replied"


# --- crashes: the node stops in the middle, and starts again on the same files


class _StoppedError(BaseException):
    """The process is gone: nobody catches this."""


@pytest.fixture
def by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is compared but when the test says so."""

    async def idle(_: Comparing) -> None:
        await asyncio.Event().wait()

    monkeypatch.setattr(Comparing, "run", idle)


@pytest.mark.usefixtures("by_itself")
async def test_a_stop_between_keeping_and_replying(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene.node() as node:
        asked = await scene.ask()
        with monkeypatch.context() as patched:
            patched.setattr(Exchanges, "reply", _stops)
            with pytest.raises(_StoppedError):
                await at_the_door(node, asked, asked.box())
    async with scene.node() as node:
        # The requester had no reply: nobody names the same persons again under this number.
        assert await at_the_door(node, asked, asked.box()) == "STALE"
        await node.comparing.compare_all()
        assert len(items(node)) == 1


@pytest.mark.usefixtures("by_itself")
async def test_a_stop_between_comparing_and_the_item(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    async with scene.node() as node:
        asked, wrong = await scene.ask(), await scene.ask(OTHER)
        with monkeypatch.context() as patched:
            patched.setattr(Comparing, "_put", _stops)
            await asked.release()
            await wrong.release([_keyed_for(wrong, wrong.named(value=CLIENT.value))])
            with pytest.raises(_StoppedError):
                await node.comparing.compare_all()
        assert items(node) == []
    async with scene.node() as node:
        await node.comparing.compare_all()
        assert len(items(node)) == 1
        # What went to the privacy officer is there once.
        assert [one["what"] for one in scene.records(node)] == ["misnamed"]


async def test_a_stop_between_decision_and_collect_and_in_the_middle_of_a_collect(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        await let_go(node, *items(node))
    async with scene.node() as node:
        moment = collect_moment(asked.party.oin, asked.interval, int(asked.question.time), FIRST_COLLECT)
        asked.advance_to(1000 * moment)
        with monkeypatch.context() as patched:
            patched.setattr(Exchanges, "reply", _stops)
            with pytest.raises(_StoppedError):
                await collected(node, asked, FIRST_COLLECT)
    async with scene.node() as node:
        # That number is used up; the next one tells the same.
        assert await collected(node, asked, FIRST_COLLECT) == "STALE"
        assert await asked.collect_at(FIRST_COLLECT + 1) == [KNOWN]


async def test_a_decision_whose_record_cannot_be_written_does_not_count(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)

        async def broken(*_: Any, **__: Any) -> None:
            raise StorageError("the disk is full")

        monkeypatch.setattr(node.store, "keep_desk_record", broken)
        with pytest.raises(BekendError):
            await let_go(node, *items(node))
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING]
        assert await asked.collect_last() == [CLOSED]


async def test_a_desk_key_that_is_not_the_one_opens_nothing_and_closes_nothing(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        await let_go(node, *items(node))
    (scene.home.folder / "keys" / "desk.key").write_text("11" * 32)
    async with scene.node() as node:
        asked.advance_to(asked.until)
        assert await collected(node, asked, FIRST_COLLECT) == "KEYS"


def _stops(*_: Any, **__: Any) -> Any:
    raise _StoppedError
