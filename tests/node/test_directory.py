"""Whose keys are believed: what the owner's ondertekenaar signed, never an older number, never the broker's word."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any, cast

import pytest
from bekend_broker.editions import Content, Editions
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE
from bekend_node import directory as directory_module
from bekend_node.broker_link import BrokerLink
from bekend_node.directory import Directory
from bekend_node.store import Store
from bekend_policy.manifest import NOTE_LIMIT
from bekend_proto import group
from bekend_proto.errors import KeysError, MalformedError, UnreachableError
from bekend_proto.identity import MAX_DIRECTORY
from bekend_proto.note import add_signature, note_name, parse_note, sign_note
from bekend_proto.v1 import broker_pb2
from nacl.signing import SigningKey

from tests.support.federation import Federation
from tests.support.pki import Authority


@dataclass
class Replica:
    """A broker's directory that holds what the test wants, and counts what it is asked and sends."""

    notes: dict[str, bytes]
    asked: int = 0
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    address: str = "replica"
    editions: Editions = field(default_factory=Editions)
    attached: frozenset[str] = frozenset()
    suspensions: tuple[bytes, ...] = ()
    seconds: float = 0.0
    """How long the last call might take."""
    sent: list[set[str]] = field(default_factory=list)
    """Per reply, whose notes were in it."""
    hostile: Callable[[broker_pb2.GetDirectoryResponse], None] = lambda _: None
    """Changes a reply before it leaves."""

    @property
    def stub(self) -> "Replica":
        return self

    async def GetDirectory(
        self, request: broker_pb2.GetDirectoryRequest, timeout: float
    ) -> broker_pb2.GetDirectoryResponse:
        self.asked, self.seconds = self.asked + 1, timeout
        await self.gate.wait()
        content = Content(BROKER_OIN, dict(self.notes), (), self.suspensions)
        reply = self.editions.reply(content, self.attached, request)
        self.hostile(reply)
        self.sent.append({one.oin for one in reply.entries} | ({BROKER_OIN} if reply.broker_manifest else set()))
        return reply


@dataclass
class Scene:
    federation: Federation
    replica: Replica
    open: Callable[..., Directory]


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    federation = Federation.create(tmp_path, authority)
    notes = {oin: party.note for oin, party in federation.parties.items()}
    notes[BROKER_OIN] = (federation.folder / "manifest.note").read_bytes()
    replica = Replica(notes)
    replica.gate.set()
    async with _store(tmp_path / "data") as store:

        def opened(*others: Replica, **more: Any) -> Directory:
            links = [cast(BrokerLink, one) for one in (replica, *others)]
            return Directory(lambda: federation.covenant, store, links, federation.clock, **more)

        yield Scene(federation, replica, opened)


@asynccontextmanager
async def _store(folder: Path) -> AsyncIterator[Store]:
    store = Store.open(folder)
    yield store
    store.close()


async def test_manifests_of_all_parties_are_there_after_a_refresh(scene: Scene) -> None:
    directory = scene.open()
    with pytest.raises(KeysError, match="no key manifest"):
        directory.get(OM.oin)
    await directory.refresh()
    assert directory.get(OM.oin).oin == OM.oin
    assert directory.broker().number == scene.federation.manifest_number


async def test_the_brokers_manifest_may_name_the_keys_of_a_whole_country(scene: Scene) -> None:
    """381 sources under six purposes, over three quarters; refused, it would stop all of them."""
    sources = [f"00000099{number:08d}0000" for number in range(1, 382)]
    purposes = [f"demo/doel-{number}" for number in range(6)]
    pairs = product(sources, purposes, ("2026Q3", "2026Q4", "2027Q1"))
    keys = {pair: group.random_element() for pair in pairs}
    made = scene.federation.write_manifest(lambda it: replace(it, evaluation_keys={**it.evaluation_keys, **keys}))
    scene.replica.notes[BROKER_OIN] = (scene.federation.folder / "manifest.note").read_bytes()
    directory = scene.open()
    await directory.refresh()
    assert directory.broker() == made


async def test_a_partners_manifest_of_the_brokers_size_is_none(scene: Scene) -> None:
    party = scene.federation.parties[OM.oin]
    sizes = {f"register-{number}": 1 for number in range(4000)}
    party.renew_manifest(register_sizes=sizes)
    assert len(party.note) > NOTE_LIMIT
    scene.replica.notes[OM.oin] = party.note
    directory = scene.open()
    await directory.refresh()
    with pytest.raises(KeysError, match="no key manifest"):
        directory.get(OM.oin)


async def test_of_what_a_replica_sent_before_only_what_changed_is_sent_again(scene: Scene) -> None:
    directory, link = scene.open(), cast(BrokerLink, scene.replica)
    await directory.refresh()
    assert directory.attached_to(link) == frozenset()
    scene.replica.attached = frozenset({POLITIE.oin})
    await directory.refresh()
    assert directory.get(OM.oin).oin == OM.oin
    assert directory.attached_to(link) == {POLITIE.oin}
    own = scene.federation.parties[OM.oin]
    own.renew_manifest()
    scene.replica.notes[OM.oin] = own.note
    await directory.refresh()
    assert directory.get(OM.oin).number == own.number
    assert directory.get(POLITIE.oin).oin == POLITIE.oin
    assert directory.attached_to(link) == {POLITIE.oin}
    number = scene.federation.write_manifest().number
    scene.replica.notes[BROKER_OIN] = (scene.federation.folder / "manifest.note").read_bytes()
    await directory.refresh()
    assert directory.broker().number == number
    await directory.refresh()
    assert scene.replica.sent == [{*scene.replica.notes}, set(), {OM.oin}, {BROKER_OIN}, set()]


async def test_who_is_gone_from_the_directory_keeps_its_number_and_brings_no_other(scene: Scene) -> None:
    directory = scene.open()
    await directory.refresh()
    note = scene.replica.notes.pop(OM.oin)
    await directory.refresh()
    assert directory.get(OM.oin).number == 1
    scene.replica.notes[OM.oin] = note
    await directory.refresh()
    assert scene.replica.sent[1:] == [set(), {OM.oin}]


async def test_suspensions_are_exchanged_as_they_were_when_nothing_changed(scene: Scene) -> None:
    heard: list[list[bytes]] = []

    async def exchange(_: BrokerLink, notes: Sequence[bytes]) -> None:
        heard.append(list(notes))

    directory = scene.open(exchange=exchange)
    scene.replica.suspensions = (b"one", b"two")
    await directory.refresh()
    await directory.refresh()
    scene.replica.suspensions = (b"one",)
    await directory.refresh()
    assert scene.replica.sent[1:] == [set(), set()]
    assert heard == [[b"one", b"two"], [b"one", b"two"], [b"one"]]


async def test_a_note_that_does_not_hold_yet_is_looked_at_again_and_not_sent_again(scene: Scene) -> None:
    """One such partner would else have every node fetch everything every minute."""
    directory = scene.open()
    own = scene.federation.parties[OM.oin]
    own.signer = SigningKey.generate()
    scene.replica.notes[OM.oin] = own.make_manifest()
    await directory.refresh()
    with pytest.raises(KeysError):
        directory.get(OM.oin)
    # The covenant that names the new key comes into force.
    scene.federation.write_covenant()
    directory.recheck()
    await directory.refresh()
    assert directory.get(OM.oin).oin == OM.oin
    assert scene.replica.sent[1:] == [set()]


async def test_a_broker_that_goes_by_what_it_never_told_is_asked_for_everything(scene: Scene) -> None:
    directory = scene.open()

    def confuse(reply: broker_pb2.GetDirectoryResponse) -> None:
        reply.since = b"?" * 32

    scene.replica.hostile = confuse
    with pytest.raises(MalformedError):
        await directory.refresh()
    with pytest.raises(KeysError):
        directory.get(OM.oin)
    scene.replica.hostile = lambda _: None
    await directory.refresh()
    assert directory.get(OM.oin).oin == OM.oin
    assert scene.replica.sent[-1] == {*scene.replica.notes}


async def test_a_broker_cannot_fill_the_memory_of_a_node_change_by_change(scene: Scene) -> None:
    directory = scene.open()
    await directory.refresh()
    fill = broker_pb2.DirectoryEntry(manifest=bytes(1 << 20))

    def more(reply: broker_pb2.GetDirectoryResponse) -> None:
        if not reply.since:
            reply.since, reply.unchanged = reply.digest, False
        for _ in range(8):
            fill.oin = f"00000099{len(names):012d}"
            names.append(fill.oin)
            reply.entries.append(fill)

    names: list[str] = []
    scene.replica.hostile = more
    for _ in range(MAX_DIRECTORY // (8 << 20) - 1):
        await directory.refresh()
    with pytest.raises(MalformedError, match="at most"):
        await directory.refresh()
    assert directory.get(OM.oin).oin == OM.oin
    # Nothing of it is kept.
    scene.replica.hostile = lambda _: None
    await directory.refresh()
    assert scene.replica.sent[-1] == {*scene.replica.notes}


async def test_must_03_a_note_of_another_signer_or_party_is_not_believed(scene: Scene) -> None:
    directory = scene.open()
    own = scene.federation.parties[OM.oin]
    forged = own.make_manifest()
    own.signer, real = SigningKey.generate(), own.signer
    scene.replica.notes[OM.oin] = own.make_manifest()
    own.signer = real
    await directory.refresh()
    with pytest.raises(KeysError):
        directory.get(OM.oin)
    # Somebody else's manifest under this name, signed by its real owner.
    scene.replica.notes[OM.oin] = scene.federation.parties[POLITIE.oin].note
    await directory.refresh()
    with pytest.raises(KeysError):
        directory.get(OM.oin)
    # The right text, signed by a stranger under the right name.
    text = forged.decode().rpartition("\n\n")[0] + "\n"
    scene.replica.notes[OM.oin] = sign_note(text, note_name(OM.oin, "ondertekenaar"), bytes(SigningKey.generate()))
    await directory.refresh()
    with pytest.raises(KeysError):
        directory.get(OM.oin)
    scene.replica.notes[OM.oin] = forged
    await directory.refresh()
    assert directory.get(OM.oin).number == own.number


async def test_must_04_an_older_number_never_comes_back_also_after_a_restart(scene: Scene) -> None:
    own = scene.federation.parties[OM.oin]
    old = own.note
    own.renew_manifest()
    scene.replica.notes[OM.oin] = own.note
    directory = scene.open()
    await directory.refresh()
    scene.replica.notes[OM.oin] = old
    await directory.refresh()
    assert directory.get(OM.oin).number == own.number
    again = scene.open()
    again.restore()
    assert again.get(OM.oin).number == own.number
    await again.refresh()
    assert again.get(OM.oin).number == own.number


async def test_a_superseded_number_counts_for_messages_under_way_and_no_longer(scene: Scene) -> None:
    own = scene.federation.parties[OM.oin]
    directory = scene.open()
    await directory.refresh()
    own.renew_manifest()
    scene.replica.notes[OM.oin] = own.note
    await directory.refresh()
    assert directory.get(OM.oin, own.number - 1).number == own.number - 1
    scene.federation.clock.advance(timedelta(minutes=4))
    with pytest.raises(KeysError, match="not the one in force"):
        directory.get(OM.oin, own.number - 1)


async def test_must_03_a_key_that_a_new_covenant_took_out_is_not_believed_any_more(scene: Scene) -> None:
    directory = scene.open()
    await directory.refresh()
    directory.recheck()
    assert directory.get(POLITIE.oin).number == 1
    party = scene.federation.parties[POLITIE.oin]
    party.signer = SigningKey.generate()
    scene.federation.write_covenant()
    directory.recheck()
    with pytest.raises(KeysError):
        directory.get(POLITIE.oin)
    # What it signed does not come back either, and others are believed as before.
    await directory.refresh()
    with pytest.raises(KeysError):
        directory.get(POLITIE.oin)
    assert directory.get(OM.oin).number == 1


async def test_must_03_during_a_change_over_a_replaced_key_keeps_what_it_signed_and_brings_nothing_new(
    scene: Scene, tmp_path: Path
) -> None:
    """The old key was stolen; the newest version names another, the older one still counts."""
    party, older = scene.federation.parties[POLITIE.oin], scene.federation.covenant
    stolen = party.signer
    async with _store(tmp_path / "other") as store:
        replica = cast(BrokerLink, scene.replica)
        directory = Directory(
            lambda: scene.federation.covenant, store, [replica], scene.federation.clock, older=lambda: [older]
        )
        await directory.refresh()
        party.signer = SigningKey.generate()
        scene.federation.write_covenant()
        directory.recheck()
        assert directory.get(POLITIE.oin).number == 1

        party.number, renewed = 2, party.signer
        party.signer = stolen
        scene.replica.notes[POLITIE.oin] = party.make_manifest()
        await directory.refresh()
        assert directory.get(POLITIE.oin).number == 1
        # Signed with both, it counts at who goes by either version.
        name = note_name(POLITIE.oin, "ondertekenaar")
        scene.replica.notes[POLITIE.oin] = add_signature(party.make_manifest(), name, bytes(renewed))
        await directory.refresh()
        assert directory.get(POLITIE.oin).number == 2


async def test_must_03_a_replaced_key_brings_no_other_text_under_a_number_that_was_seen(
    scene: Scene, tmp_path: Path
) -> None:
    """The manifest ended, and the node was started anew: it holds nothing, and still remembers what had that number."""
    party, older = scene.federation.parties[POLITIE.oin], scene.federation.covenant
    stolen = party.signer
    async with _store(tmp_path / "other") as store:

        def opened() -> Directory:
            return Directory(
                lambda: scene.federation.covenant,
                store,
                [cast(BrokerLink, scene.replica)],
                scene.federation.clock,
                older=lambda: [older],
            )

        await opened().refresh()
        seen = opened()
        scene.federation.clock.advance(timedelta(days=300))
        party.signer = SigningKey.generate()
        scene.federation.write_covenant()
        seen.restore()
        party.signer = stolen
        scene.replica.notes[POLITIE.oin] = party.make_manifest()
        await seen.refresh()
        with pytest.raises(KeysError):
            seen.get(POLITIE.oin)


async def test_a_manifest_at_the_end_of_the_calendar_ends_no_node(scene: Scene) -> None:
    """The operator, or a partner and the broker together, sign what no clock ever reaches: nobody else is touched."""
    party = scene.federation.parties[POLITIE.oin]
    text = re.sub(r"issued: \S+", "issued: 9999-06-01T00:00:00Z", parse_note(party.note).text)
    text = re.sub(r"valid_until: \S+", "valid_until: 9999-07-01T00:00:00Z", text)
    name = note_name(POLITIE.oin, "ondertekenaar")
    scene.replica.notes[POLITIE.oin] = sign_note(text, name, bytes(party.signer))
    directory = scene.open()
    await directory.refresh()
    assert directory.get(OM.oin).number == 1
    with pytest.raises(KeysError):
        directory.get(POLITIE.oin)


async def test_a_manifest_that_ended_gives_no_keys(scene: Scene) -> None:
    directory = scene.open()
    await directory.refresh()
    scene.federation.clock.advance(timedelta(days=300))
    with pytest.raises(KeysError, match="has ended"):
        directory.get(OM.oin)


async def test_an_unknown_number_asks_the_broker_once_for_all_who_wait(scene: Scene) -> None:
    directory = scene.open()
    await directory.refresh()
    own = scene.federation.parties[OM.oin]
    own.renew_manifest()
    scene.replica.notes[OM.oin] = own.note
    scene.replica.gate.clear()
    before = scene.replica.asked
    waiting = [asyncio.ensure_future(directory.require(OM.oin, own.number)) for _ in range(20)]
    while scene.replica.asked == before:
        await asyncio.sleep(0)
    scene.replica.gate.set()
    found = await asyncio.gather(*waiting)
    assert {manifest.number for manifest in found} == {own.number}
    assert scene.replica.asked == before + 1
    # A number below the newest is refused without asking anybody.
    with pytest.raises(KeysError):
        await directory.require(OM.oin, own.number - 5)
    assert scene.replica.asked == before + 1


# --- a replica that hangs, or a line that is slow


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for a replica that hangs does so for a moment."""
    monkeypatch.setattr(directory_module, "CALL_SECONDS", 0.05)


async def test_the_largest_directory_has_the_time_that_it_takes_over_a_slow_line(scene: Scene) -> None:
    await scene.open().refresh()
    assert scene.replica.seconds >= MAX_DIRECTORY * 8 / 1_000_000


@pytest.mark.usefixtures("impatient")
async def test_what_a_slow_replica_sends_is_taken_in_when_it_comes(scene: Scene) -> None:
    directory = scene.open()
    scene.replica.gate.clear()
    with pytest.raises(UnreachableError, match="in time"):
        await directory.refresh()
    with pytest.raises(UnreachableError):
        await directory.require(OM.oin)
    # It is not asked again while it answers.
    assert scene.replica.asked == 1
    whole = asyncio.ensure_future(directory.fetch())
    waiting = asyncio.ensure_future(directory.wait())
    scene.replica.gate.set()
    await asyncio.gather(whole, waiting)
    assert directory.get(OM.oin).oin == OM.oin
    await directory.close()


async def test_a_replica_that_hangs_keeps_nobody_from_what_another_brings(scene: Scene) -> None:
    hanging = Replica(scene.replica.notes, address="hanging")
    directory = scene.open(hanging)
    # Neither of these waits for the one that hangs.
    assert (await directory.require(OM.oin)).oin == OM.oin
    await directory.fetch()
    await directory.wait()
    assert (hanging.asked, directory.attached_to(cast(BrokerLink, hanging))) == (1, frozenset())
    # It hangs over every next round, and the other is asked in each.
    own, asked = scene.federation.parties[OM.oin], scene.replica.asked
    own.renew_manifest()
    scene.replica.notes[OM.oin] = own.note
    assert (await directory.require(OM.oin, own.number)).number == own.number
    assert (hanging.asked, scene.replica.asked) == (1, asked + 1)
    await directory.close()


@pytest.mark.usefixtures("impatient")
async def test_what_changed_while_a_slow_replica_answers_is_asked_for_after_it(scene: Scene) -> None:
    own, hanging = scene.federation.parties[OM.oin], Replica(dict(scene.replica.notes), address="hanging")
    directory = scene.open(hanging)
    await directory.fetch()
    await directory.changed()
    own.renew_manifest()
    hanging.notes[OM.oin] = own.note
    hanging.gate.set()
    await until(lambda: hanging.asked == 2)
    await until(lambda: directory.get(OM.oin).number == own.number)
    await directory.close()


async def test_must_04_of_two_replicas_at_once_the_newer_number_stays(scene: Scene) -> None:
    own = scene.federation.parties[OM.oin]
    older = Replica(dict(scene.replica.notes), address="older")
    older.gate.set()
    own.renew_manifest()
    scene.replica.notes[OM.oin] = own.note
    directory = scene.open(older)
    await directory.refresh()
    assert directory.get(OM.oin).number == own.number
