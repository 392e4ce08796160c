"""Other keys in the place of these, step by step: what is done, what waits for whom, and that it may be run again."""

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_broker.app import Broker
from bekend_broker.rotation import rotate as rotate_broker
from bekend_broker.rotation import waiting_for
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.app import Node
from bekend_node.rotation import rotate as rotate_node
from bekend_proto.clock import epoch_of, epoch_start, next_epoch
from bekend_proto.epochs import enrolled_epochs, is_served, renewed, replaced, served_epochs
from bekend_proto.findings import Finding
from bekend_proto.note import note_name, sign_note

from tests.support.federation import PEOPLE, Federation, quarter_middle
from tests.support.nodes import Fetched, NodeHome, ask, fetch
from tests.support.pki import Authority

CLIENT = PEOPLE[0]


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
def home(federation: Federation) -> NodeHome:
    return NodeHome.create(federation, POLITIE.oin)


def waits(findings: list[Finding]) -> dict[str, str]:
    return {one.what: one.detail for one in findings if not one.good}


class Turn:
    """One node and the broker, with their commands and off-line keys."""

    def __init__(self, home: NodeHome, broker: Broker, node: Node) -> None:
        self.home, self.broker, self.node = home, broker, node
        self.clock = home.federation.clock

    def of_node(self, *, emergency: bool = False) -> dict[str, str]:
        return waits(rotate_node(self.home.config(self.broker.port), self.clock, emergency=emergency))

    def of_broker(self, *, emergency: bool = False) -> dict[str, str]:
        return waits(rotate_broker(self.broker.config, self.clock, emergency=emergency))

    async def sign_broker(self) -> None:
        draft = max(self.home.federation.folder.glob("manifest-?"))
        operator = self.home.federation.operator
        note = sign_note(draft.read_text(), note_name(self.broker.config.oin, "beheerder"), bytes(operator))
        self.broker.config.manifest.write_bytes(note)
        assert await self.broker.reload()
        self.home.federation.broker_manifest = self.broker._directory.present.manifest
        self.home.federation.manifest_number = self.home.federation.broker_manifest.number
        await self.node.directory.changed()

    async def sign_node(self) -> None:
        draft = max(self.home.folder.glob("manifest-?"))
        note = sign_note(draft.read_text(), note_name(self.home.oin, "ondertekenaar"), bytes(self.home.party.signer))
        (self.home.folder / "manifest.note").write_bytes(note)
        assert await self.node.reload()
        self.home.party.number = self.node.rules.now.manifest.number
        for attachment in self.node.attachments:
            await attachment.attached.wait()

    async def go_over(self) -> Fetched:
        """Switch by switch until the epoch is another; the last filter of the one before."""
        present = self.epoch()
        while self.epoch() == present:
            held = await fetch(self.home.federation.parties[OM.oin], POLITIE.oin, ZSM_CONTEXT)
            moment = self.node.filters.next_switch(ZSM_CONTEXT)
            assert moment is not None
            self.clock.advance(timedelta(seconds=max(0, moment - int(self.clock.now().timestamp()))))
            await self.node.filters.tick()
            await self.node.filters.settle()
        return held

    def epoch(self) -> str:
        return self.node.filters.serving(ZSM_CONTEXT).header.epoch

    async def known(self, *, is_client: bool = True) -> None:
        """As a requester asks, under the epoch of the filter that it holds."""
        person, om = CLIENT if is_client else PEOPLE[1], self.home.federation.parties[OM.oin]
        held = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
        lookup, reply = await ask(om, POLITIE.oin, ZSM_CONTEXT, person, epoch=held.header.epoch)
        assert held.knows(lookup, reply) == [is_client]


@pytest.fixture
async def turn(home: NodeHome) -> AsyncIterator[Turn]:
    async with home.federation.broker() as broker:
        await home.enrol_all(broker.port, [CLIENT, *PEOPLE[3:]])
        async with home.node(broker.port) as node:
            yield Turn(home, broker, node)


async def test_fg_21_after_a_theft_keys_are_renewed_within_the_quarter_and_the_stolen_ones_go(turn: Turn) -> None:
    stolen = epoch_of(turn.clock.now())
    fresh = renewed(stolen)
    assert turn.of_node() == {}
    # The node makes its half, and waits for the ondertekenaar and for the operator of the broker.
    assert turn.of_node(emergency=True).keys() == {"own manifest", "key of the broker"}
    assert turn.of_node(emergency=True).keys() == turn.of_node().keys()
    assert turn.node.keys.epochs() == (stolen, fresh)
    assert turn.of_broker(emergency=True).keys() == {"manifest"}
    await turn.sign_broker()
    await turn.sign_node()
    # Both keys stand beside each other: the old ones answer until every list is there.
    await turn.known()
    assert turn.epoch() == stolen
    lists = turn.of_node()
    assert all(name.startswith("list ") for name in lists)
    assert POLITIE.oin in waiting_for(turn.broker.config, fresh, turn.clock.now())
    await turn.home.enrol_all(turn.broker.port, [CLIENT, *PEOPLE[3:]])
    assert POLITIE.oin not in waiting_for(turn.broker.config, fresh, turn.clock.now())
    om = turn.home.federation.parties[OM.oin]
    before = await turn.go_over()
    assert turn.epoch() == fresh
    # What was asked under the keys before is answered under them for ten seconds more, and never under a mix.
    lookup, reply = await ask(om, POLITIE.oin, ZSM_CONTEXT, CLIENT, epoch=before.header.epoch)
    assert before.knows(lookup, reply) == [True]
    await turn.known()
    await turn.known(is_client=False)
    turn.clock.advance(timedelta(seconds=11))
    _, reply = await ask(om, POLITIE.oin, ZSM_CONTEXT, CLIENT, epoch=before.header.epoch)
    assert reply == "keys"


async def test_fg_21_what_is_left_out_of_the_signed_manifest_is_destroyed_and_does_not_come_back(turn: Turn) -> None:
    stolen = epoch_of(turn.clock.now())
    fresh = renewed(stolen)
    turn.of_node(emergency=True)
    turn.of_broker(emergency=True)
    await turn.sign_broker()
    await turn.sign_node()
    await turn.home.enrol_all(turn.broker.port, [CLIENT, *PEOPLE[3:]])
    await turn.go_over()
    # `rotate` asks the running node over its socket: which this test's own loop serves.
    assert (await asyncio.to_thread(turn.of_node)).keys() == {"the keys before"}
    await turn.sign_node()
    assert turn.node.keys.epochs() == (fresh,)
    assert {one.epoch for one in turn.node.registers.generations()} == {fresh}
    assert await asyncio.to_thread(turn.of_node) == {}
    # Neither a new manifest nor a restart brings the stolen key back.
    await turn.known()
    with pytest.raises(ValueError, match="nine times"):
        renewed(f"{stolen[:4]}Z{stolen[5]}")


def test_fg_21_renewed_keys_are_of_their_quarter_and_newer_than_those_before() -> None:
    now = quarter_middle().now()
    first = epoch_of(now)
    second, third = renewed(first), renewed(renewed(first))
    assert served_epochs(now) == (first,)
    assert served_epochs(now, [third, second]) == (third, second, first)
    assert enrolled_epochs(now, [second])[:2] == (first, second)
    assert is_served(third, now)
    assert not any(is_served(text, now) for text in ("", "2026A4", "2026q4", "2026Q5", "20264Q"))
    begins = epoch_start(next_epoch(first))
    assert served_epochs(begins + timedelta(days=1), [second]) == (epoch_of(begins), second, first)
    assert not is_served(second, begins + timedelta(days=8))
    assert replaced([first, second], [second, epoch_of(begins)]) == (first,)
    assert replaced([first], [first, second]) == ()
