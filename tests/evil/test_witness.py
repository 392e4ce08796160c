"""A node as witness of a broker that may show it any log, and of what its peers say (FG-29; protocol section 10)."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any
from unittest.mock import AsyncMock

import pytest
from bekend_broker.app import Broker
from bekend_deploy.partners import BROKER_OIN, HAARLEM, OM, POLITIE, ZSM_CONTEXT
from bekend_node.app import Node
from bekend_node.heads import WAITING, Heads
from bekend_node.log_health import log_health, own_log
from bekend_node.store import ASKED, TOLD
from bekend_policy.manifest import KeyManifest
from bekend_proto import channel, log_table, merkle
from bekend_proto.checkpoint import NO_CHECKPOINT, Checkpoint, cosigned_at, log_id, log_origin
from bekend_proto.clock import milliseconds
from bekend_proto.errors import LogError, RefusedError, UnreachableError
from bekend_proto.note import parse_note
from bekend_proto.v1 import broker_pb2
from bekend_proto.v1.signed_pb2 import InclusionPromise, PromisedEntry, Question
from nacl.signing import SigningKey

from tests.evil.world import World, broker_of, real_node, told

ORIGIN = log_origin(BROKER_OIN, "main")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.build(tmp_path_factory.mktemp("witness") / "world")


@dataclass
class Stage:
    """A real broker and two real nodes; what the broker shows is put in its mouth."""

    world: World
    broker: Broker
    om: Node
    politie: Node

    @property
    def key(self) -> SigningKey:
        return self.broker._directory.present.keys.signing

    async def lookup(self) -> list[str]:
        await self.om.asker.open_purpose(ZSM_CONTEXT, [POLITIE.oin])
        return await told(self.om, self.world, ZSM_CONTEXT, self.world.somebody, POLITIE.oin)

    async def look(self) -> Checkpoint:
        """The broker signs its log, and both nodes look at it."""
        await self.broker._checkpoints.make()
        for node in (self.om, self.politie):
            await node.witness.round()
        return await self.head()

    async def head(self) -> Checkpoint:
        return Checkpoint.parse(parse_note(await self.broker._checkpoints.newest()).text)

    def show(self, monkeypatch: pytest.MonkeyPatch, size: int, root: bytes, origin: str = ORIGIN) -> None:
        """Show everybody this checkpoint, signed by the broker's own key."""
        note = Checkpoint(origin, size, root).sign(self.key)
        monkeypatch.setattr(self.broker._checkpoints, "newest", AsyncMock(return_value=note))

    def alarms(self, node: Node | None = None) -> list[tuple[str, bool]]:
        return [(one.kind, one.stops) for one in (node or self.om).witness.alarms()]


@asynccontextmanager
async def stage_of(world: World, folder: Path) -> AsyncIterator[Stage]:
    async with (
        broker_of(world, folder / "broker") as broker,
        real_node(world, POLITIE.oin, folder / "politie", broker.port, [ZSM_CONTEXT]) as politie,
        real_node(world, OM.oin, folder / "om", broker.port) as om,
    ):
        yield Stage(world, broker, om, politie)


@pytest.fixture
async def stage(world: World, tmp_path: Path) -> AsyncIterator[Stage]:
    async with stage_of(world, tmp_path) as made:
        yield made


async def test_lookups_go_on_while_thousands_of_promises_are_looked_at(stage: Stage) -> None:
    """A busy minute leaves thousands: each is opened in a turn of the event loop of its own."""
    head = await stage.look()
    beyond = [PromisedEntry(question_hash=bytes(32), index=head.size + 9, source=POLITIE.oin)]
    signed = channel.sign_message(
        stage.key,
        channel.LABEL_PROMISE,
        InclusionPromise(
            requester=OM.oin, log_id=log_id(ORIGIN), promised=beyond, time=milliseconds(stage.om.clock.now())
        ),
    )
    await stage.om.store.admit_asking(promises=[signed] * 40, at=stage.om.clock.now())
    witness, turn, opened = stage.om.witness, 0, list[int]()
    broker = witness.broker

    def at_turn() -> KeyManifest:
        opened.append(turn)
        return broker()

    witness.broker = at_turn
    looking = asyncio.create_task(witness.round())
    while not looking.done():
        await asyncio.sleep(0)
        turn += 1
    assert len(opened) >= 40
    assert max(Counter(opened).values()) <= 3
    assert stage.alarms() == []


async def test_fg_29_an_honest_log_is_proved_cosigned_and_carried(stage: Stage) -> None:
    assert await stage.lookup() == ["bekend"]
    head = await stage.look()
    assert await stage.lookup() == ["bekend"]
    later = await stage.look()
    assert later.size > head.size > 0
    for node in (stage.om, stage.politie):
        assert node.witness.seen() == {ORIGIN: later.size}
        assert node.witness.heads.checkpoint == later.to_bytes()
        assert stage.alarms(node) == []
    shown = parse_note(await stage.broker._checkpoints.newest())
    for oin in (OM.oin, POLITIE.oin):
        assert cosigned_at(shown, oin, stage.world.manifest(oin).signing_keys) is not None
    # The second Question carried what was seen after the first.
    asked = [Question.FromString(one) for one in stage.politie.store.answered_between(0, 2**62)]
    assert head.to_bytes() in {one.checkpoint for one in asked}
    assert {one.checkpoint for one in asked} != {head.to_bytes()}
    # Promises are proved, and both sides' entries stand in the own log.
    assert stage.om.store.open_promises(10) == []
    kinds = [one.kind for one in stage.om.store.read(lambda c: log_table.entries(c, 0, 99))]
    assert kinds == [ASKED, TOLD, ASKED, TOLD]
    # The broker saw the nodes' own logs.
    seen = stage.broker.store.read(log_table.seen)
    assert {origin: head.size for origin, (head, _) in seen.items()} == {
        log_origin(OM.oin, "node"): 4,
        log_origin(POLITIE.oin, "node"): 2,
    }


async def test_fg_29_who_cosigned_the_last_checkpoint_is_told_and_who_did_not(stage: Stage) -> None:
    await stage.lookup()
    await stage.look()
    assert stage.om.witness.looked_at("another") is None
    await stage.om.witness.round()
    node = stage.om
    (log,) = log_health(node.witness, node.rules.covenant(), node.directory.get)
    assert (log.origin, log.size, log.looked) == (ORIGIN, (await stage.head()).size, stage.om.clock.now())
    signed = {one.name for one in log.cosigners if one.at is not None}
    assert signed == {OM.name, POLITIE.name}
    assert {one.name for one in log.cosigners} > signed
    size, under = own_log(node.witness)
    assert size == under > 0


async def test_fg_29_two_roots_over_the_same_entries_stop_the_node_also_after_a_restart(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with stage_of(world, tmp_path) as stage:
        await stage.lookup()
        head = await stage.look()
        with monkeypatch.context() as patched:
            stage.show(patched, head.size, bytes(32))
            await stage.om.witness.round()
            await stage.politie.witness.round()
        assert stage.alarms() == stage.alarms(stage.politie) == [("fork", True)]
        with pytest.raises(RefusedError, match="logboek"):
            await stage.lookup()
        with pytest.raises(LogError):
            stage.politie.witness.heads.check()
        evidence = stage.om.witness.alarms()[0].evidence
        assert Checkpoint(ORIGIN, head.size, bytes(32)).sign(stage.key) in evidence
        assert stage.om.status()["log"]["stopped"]
    async with stage_of(world, tmp_path) as stage:
        with pytest.raises(RefusedError, match="logboek"):
            await stage.lookup()
        # The broker is honest again: only the operator's word takes the alarm away.
        await stage.look()
        assert stage.alarms() == [("fork", True)]
        with pytest.raises(RefusedError):
            await stage.om.witness.clear(99, "root", "there is no such alarm")
        await stage.om.witness.clear(1, "root", "looked into it with the broker")
        assert await stage.lookup() == ["geen_antwoord"]
        await stage.politie.witness.clear(1, "root", "looked into it with the broker")
        assert await stage.lookup() == ["bekend"]
        logged = stage.om.store.read(lambda c: log_table.entries(c, 0, 99))
        assert {"alarm", "alarm-cleared"} <= {one.kind for one in logged}
        assert stage.om.status()["log"]["alarms"] == []


async def test_fg_29_a_log_that_shrank_stops_the_node(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.lookup()
    head = await stage.look()
    # Honestly smaller, as after a backup was put back: the old root is right, and no proof reaches further.
    older = stage.broker.store.read(lambda c: merkle.root(1, log_table.reader(c)))
    stage.show(monkeypatch, 1, older)
    await stage.om.witness.round()
    assert stage.alarms() == []
    monkeypatch.setattr(log_table, "newest_checkpoint", lambda _: (1, b""))
    await stage.om.witness.round()
    assert stage.alarms() == [("shrunk", True)]
    assert stage.om.witness.seen() == {ORIGIN: head.size}


async def test_fg_29_a_longer_log_that_does_not_go_on_stops_the_node(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.lookup()
    head = await stage.look()
    stage.show(monkeypatch, head.size + 3, bytes(32))
    monkeypatch.setattr(stage.broker._checkpoints, "consistency", AsyncMock(return_value=[bytes(32)] * 4))
    await stage.om.witness.round()
    assert stage.alarms() == [("fork", True)]


async def test_a_proof_that_never_comes_is_an_alarm_at_last(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.lookup()
    head = await stage.look()
    stage.show(monkeypatch, head.size + 3, bytes(32))

    def silent(_: object) -> list[bytes]:
        raise UnreachableError("come back later")

    monkeypatch.setattr(stage.broker._checkpoints, "consistency", silent)
    for _ in range(4):
        await stage.om.witness.round()
        assert stage.alarms() == []
    await stage.om.witness.round()
    assert stage.alarms() == [("unproved", True)]


@pytest.mark.parametrize("case", ["another log", "another key", "no note"])
async def test_a_checkpoint_that_the_manifest_does_not_vouch_for_counts_for_nothing(
    stage: Stage, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    await stage.lookup()
    head = await stage.look()
    if case == "another log":
        stage.show(monkeypatch, 99, bytes(32), log_origin(BROKER_OIN, "for-om-alone"))
    else:
        other = Checkpoint(ORIGIN, 99, bytes(32)).sign(SigningKey(bytes(32)))
        shown = other if case == "another key" else b"no note"
        monkeypatch.setattr(stage.broker._checkpoints, "newest", AsyncMock(return_value=shown))
    await stage.om.witness.round()
    assert stage.om.witness.seen() == {ORIGIN: head.size}
    assert stage.alarms() == []


async def test_a_broker_that_cannot_be_reached_is_no_alarm(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.look()

    def gone() -> bytes:
        raise UnreachableError("gone")

    monkeypatch.setattr(stage.broker._checkpoints, "newest", gone)
    for _ in range(6):
        await stage.om.witness.round()
    assert stage.alarms() == []


async def owe(stage: Stage, index: int, *, at: int | None = None, key: SigningKey | None = None) -> None:
    """The node holds a promise that a question of it stands at this place."""
    moment = stage.world.clock.now()
    promise = InclusionPromise(
        protocol_version=1, log_id=log_id(ORIGIN), requester=OM.oin, time=at or milliseconds(moment),
        promised=[PromisedEntry(question_hash=b"h" * 32, source=POLITIE.oin, index=index)],
    )  # fmt: skip
    signed = channel.sign_message(key or stage.key, channel.LABEL_PROMISE, promise)
    await stage.om.store.admit_asking(promises=[signed], at=moment)


async def test_fg_29_a_promise_that_is_not_kept_is_an_alarm_that_stops_nothing(stage: Stage) -> None:
    await stage.lookup()
    await owe(stage, 0)
    await stage.look()
    assert stage.alarms() == [("promise", False)]
    assert stage.om.store.open_promises(10) == []
    assert await stage.lookup() == ["bekend"]


async def test_fg_29_a_broker_that_promises_nothing_is_found(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    await stage.lookup()
    await stage.look()
    assert stage.alarms() == []
    pass_on = stage.broker._lookups._passed_on

    def without_promise(*what: Any) -> broker_pb2.LookupResponse:
        reply = pass_on(*what)
        reply.ClearField("promise")
        return reply

    monkeypatch.setattr(stage.broker._lookups, "_passed_on", without_promise)
    assert await stage.lookup() == ["bekend"]
    await stage.look()
    assert stage.alarms() == [("promise", False)]


async def test_fg_29_a_promise_of_an_entry_that_never_comes_is_an_alarm_after_minutes(stage: Stage) -> None:
    await stage.lookup()
    await owe(stage, 5000)
    await stage.look()
    assert stage.alarms() == []
    stage.world.clock.advance(timedelta(minutes=6))
    await stage.look()
    assert stage.alarms() == [("promise", False)]


async def test_a_promise_that_the_broker_did_not_sign_is_an_alarm(stage: Stage) -> None:
    await stage.lookup()
    await owe(stage, 0, key=SigningKey(bytes(32)))
    await stage.look()
    assert stage.alarms() == [("promise", False)]


async def test_fg_29_what_a_peer_saw_is_compared(stage: Stage) -> None:
    await stage.lookup()
    older = await stage.look()
    await stage.lookup()
    newer = await stage.look()
    heads = stage.om.witness.heads
    heads.hear(older.to_bytes(), POLITIE.oin)
    heads.hear(NO_CHECKPOINT, POLITIE.oin)
    heads.hear(bytes(31) + b"x" + bytes(40), POLITIE.oin)
    await stage.om.witness.round()
    assert stage.alarms() == []
    # Another root, smaller; and one at this size: alarms that name the peer and stop nothing.
    for size in (older.size, newer.size):
        heads.hear(Checkpoint(ORIGIN, size, b"r" * 32).to_bytes(), POLITIE.oin)
    await stage.om.witness.round()
    assert stage.alarms() == [("gossip", False), ("gossip", False)]
    assert all(POLITIE.oin in one.detail for one in stage.om.witness.alarms())
    assert await stage.lookup() == ["bekend"]


def test_fg_29_what_one_peer_makes_up_keeps_out_nothing_that_another_saw() -> None:
    heads = Heads()
    for number in range(2 * WAITING):
        heads.hear(bytes(32) + number.to_bytes(8) + bytes(32), HAARLEM.oin)
    seen = Checkpoint(ORIGIN, 7, b"r" * 32).to_bytes()
    heads.hear(seen, POLITIE.oin)
    assert heads.heard[seen] == POLITIE.oin
    for number in range(2 * WAITING):
        heads.hear(bytes(31) + b"x" + number.to_bytes(8) + bytes(32), f"{number:020}")
    assert len(heads.heard) == WAITING


async def test_fg_29_a_log_that_only_a_peer_was_shown_is_an_alarm(stage: Stage) -> None:
    await stage.lookup()
    head = await stage.look()
    stage.om.witness.heads.hear(Checkpoint(ORIGIN, head.size + 50, b"r" * 32).to_bytes(), POLITIE.oin)
    for _ in range(4):
        await stage.om.witness.round()
        assert stage.alarms() == []
    await stage.om.witness.round()
    assert stage.alarms() == [("gossip", False)]
    assert stage.om.witness.heads.heard == {}


async def test_what_one_peer_makes_up_fills_no_list_of_alarms(stage: Stage) -> None:
    """Else a broken promise would stand among thousands, each on the record for ever."""
    await stage.lookup()
    head = await stage.look()
    for size in range(head.size + 50, head.size + 62):
        stage.om.witness.heads.hear(Checkpoint(ORIGIN, size, b"r" * 32).to_bytes(), POLITIE.oin)
    for _ in range(5):
        await stage.om.witness.round()
    assert stage.om.witness.heads.heard == {}
    assert stage.alarms() == [("gossip", False)]


async def test_fg_29_a_node_whose_own_log_went_back_hears_of_it(stage: Stage) -> None:
    await stage.lookup()
    await stage.look()
    # The broker saw more of this node's log than there is now.
    origin = log_origin(OM.oin, "node")
    ahead = Checkpoint(origin, 900, bytes(32))
    await stage.broker.store.write(lambda c: log_table.keep_seen(c, ahead, b"note", 1))
    await stage.lookup()
    await stage.look()
    assert stage.alarms() == [("own-log", False)]
    assert await stage.lookup() == ["bekend"]


async def test_the_broker_names_its_log_and_nobody_elses(stage: Stage) -> None:
    request = broker_pb2.GetConsistencyProofRequest(log_id=log_id(log_origin(OM.oin, "node")), older=1, newer=1)
    with pytest.raises(Exception, match="another log"):
        await stage.broker._checkpoints.consistency(request)
