"""The kill switch at the broker: signed notes, in force at once and after a restart, lifted by withdrawal (FG-43)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from bekend_broker.app import Broker
from bekend_broker.suspending import hand_over, put_into_inbox
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_policy.suspension import Suspension
from bekend_proto.errors import BekendError, RefusedError, SignatureError, StaleError, SuspendedError
from bekend_proto.group import random_element
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import PublishSuspensionRequest

from tests.support.federation import Federation, Party, metric, no_answer, told, until
from tests.support.suspensions import signed, suspension


async def publish(party: Party, note: bytes) -> int:
    request = PublishSuspensionRequest(note=note)
    return int((await told(party.stub.PublishSuspension(request, timeout=10))).number)


async def refused_at_begin(om: Party, purpose: str = ZSM_CONTEXT) -> bool:
    try:
        await om.lookup(purpose).begin()
    except SuspendedError:
        return True
    return False


@pytest.mark.parametrize("what", ["federatie", "doel", "knooppunt"])
async def test_fg_43_the_operator_stops_everything_a_purpose_or_a_node(
    federation: Federation, om: Party, what: str
) -> None:
    about = {"federatie": "", "doel": ZSM_CONTEXT, "knooppunt": om.oin}[what]
    async with federation.broker():
        assert not await refused_at_begin(om)
        assert await publish(om, signed(federation, suspension(federation, what, about))) == 1
        assert await refused_at_begin(om)
        lifted = suspension(federation, what, about, number=2, lifted=True)
        assert await publish(om, signed(federation, lifted)) == 2
        assert not await refused_at_begin(om)


async def test_fg_43_a_source_suspends_its_own_role_and_the_others_go_on(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker(), politie.attached(), reclassering.attached():
        own = suspension(federation, "doel", ZSM_CONTEXT, by=politie.oin)
        await publish(politie, signed(federation, own))
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.ask(lookup.question(politie.oin), lookup.question(reclassering.oin))
        replies = await lookup.replies()
    assert replies[politie.oin] == "suspended"
    assert not isinstance(replies[reclassering.oin], str)


async def test_fg_43_a_lookup_under_way_is_stopped_too(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker(), politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await publish(om, signed(federation, suspension(federation, "federatie")))
        await lookup.ask(lookup.question(politie.oin))
        assert (await lookup.replies())[politie.oin] == "suspended"


@dataclass
class SlowDisk:
    """A broker whose disk is slow: what is logged takes so long that a note is in force when it is there at last."""

    publisher: Party
    honest: Callable[..., Any]
    note: bytes = b""

    @classmethod
    def under(cls, broker: Broker, publisher: Party, monkeypatch: pytest.MonkeyPatch) -> "SlowDisk":
        made = cls(publisher, broker.store.write)
        monkeypatch.setattr(broker.store, "write", made.write)
        return made

    async def write(self, work: Callable[[Connection], Any]) -> Any:
        found = await self.honest(work)
        if self.note:
            note, self.note = self.note, b""
            await publish(self.publisher, note)
        return found


async def test_fg_43_nothing_is_evaluated_of_what_is_stopped_while_it_is_logged(
    federation: Federation, om: Party, politie: Party, reclassering: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with federation.broker() as broker, politie.attached() as source, reclassering.attached():
        disk = SlowDisk.under(broker, politie, monkeypatch)
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        disk.note = signed(federation, suspension(federation, "knooppunt", politie.oin))
        await lookup.ask(lookup.question(politie.oin), lookup.question(reclassering.oin))
        replies = await lookup.replies()
        assert replies[politie.oin] == "suspended"
        assert not isinstance(replies[reclassering.oin], str)
        assert source.questions.empty()
        assert metric(broker, "bekend_broker_questions_total", purpose=ZSM_CONTEXT, decision="suspended") == 1
        disk.note = signed(federation, suspension(federation, "federatie"))
        assert await refused_at_begin(om)
        assert not disk.note


async def test_fg_43_no_chunk_is_evaluated_of_who_is_stopped_while_it_is_counted(
    federation: Federation, politie: Party, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with federation.broker() as broker:
        call, _ = await politie.open_import(politie.enrolment(ZSM_CONTEXT, "politiegegevens-8-13", 2))
        disk = SlowDisk.under(broker, politie, monkeypatch)
        disk.note = signed(federation, suspension(federation, "knooppunt", politie.oin))
        with pytest.raises(SuspendedError):
            await politie.send_chunk(call, 0, [random_element()])
        assert metric(broker, "bekend_broker_enrolled_elements_total") == 0


async def test_fg_43_a_suspended_node_fetches_and_enrols_nothing(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker(), politie.attached(no_answer):
        await publish(politie, signed(federation, suspension(federation, "knooppunt", politie.oin)))
        with pytest.raises(SuspendedError):
            await politie.open_import(politie.enrolment(ZSM_CONTEXT, "politiegegevens-8-13", 1))
        with pytest.raises(SuspendedError):
            await om.fetch(politie.oin, ZSM_CONTEXT)


async def test_fg_43_an_import_under_way_is_stopped_too(federation: Federation, politie: Party) -> None:
    """Of a large register it lasts for hours: so long a stolen node could have elements evaluated."""
    async with federation.broker() as broker:
        call, _ = await politie.open_import(politie.enrolment(ZSM_CONTEXT, "politiegegevens-8-13", 2))
        await politie.send_chunk(call, 0, [random_element()])
        await publish(politie, signed(federation, suspension(federation, "knooppunt", politie.oin)))
        with pytest.raises(SuspendedError):
            await politie.send_chunk(call, 1, [random_element()])
        assert metric(broker, "bekend_broker_enrolled_elements_total") == 1


async def test_every_attached_node_hears_of_it_and_finds_it_in_the_directory(
    federation: Federation, om: Party, politie: Party
) -> None:
    note = signed(federation, suspension(federation, "doel", ZSM_CONTEXT))
    async with federation.broker(), politie.attached() as source:
        await publish(om, note)
        await source.notices.get()
        assert list((await politie.directory()).suspensions) == [note]
        # The same again is no news.
        assert await publish(om, note) == 1
        assert source.notices.empty()


async def test_fg_43_it_is_remembered_over_a_restart(federation: Federation, om: Party) -> None:
    async with federation.broker():
        await publish(om, signed(federation, suspension(federation, "federatie")))
    async with federation.broker():
        assert await refused_at_begin(om)
        assert await refused_at_begin(om, ZVH_WEIGHING)


async def test_an_older_number_lifts_nothing(federation: Federation, om: Party) -> None:
    early = signed(federation, suspension(federation, "federatie", number=1, lifted=True))
    async with federation.broker():
        await publish(om, early)
        await publish(om, signed(federation, suspension(federation, "federatie", number=2)))
        with pytest.raises(StaleError):
            await publish(om, early)
        with pytest.raises(StaleError):
            await publish(om, signed(federation, suspension(federation, "federatie", number=2, lifted=True)))
        assert await refused_at_begin(om)


async def test_it_ends_by_itself_where_it_says_so(federation: Federation, om: Party) -> None:
    end = federation.clock.now() + timedelta(minutes=5)
    async with federation.broker():
        await publish(om, signed(federation, suspension(federation, "federatie", until=end)))
        assert await refused_at_begin(om)
        federation.clock.advance(timedelta(minutes=6))
        assert not await refused_at_begin(om)


STRANGERS: list[tuple[type[BekendError], dict[str, str], str | None]] = [
    (RefusedError, {"what": "federatie", "by": OM.oin}, None),
    (RefusedError, {"what": "knooppunt", "about": POLITIE.oin, "by": OM.oin}, None),
    (RefusedError, {"what": "doel", "about": ZSM_CONTEXT, "by": OM.oin}, None),
    (SignatureError, {"what": "federatie"}, OM.oin),
    (SignatureError, {"what": "knooppunt", "about": POLITIE.oin, "by": POLITIE.oin}, OM.oin),
    (SignatureError, {"what": "doel", "about": ZSM_CONTEXT, "by": RECLASSERING.oin}, POLITIE.oin),
]


@pytest.mark.parametrize(("refusal", "facts", "signer"), STRANGERS)
async def test_fg_43_a_note_of_who_may_not_stops_nothing(
    federation: Federation, om: Party, refusal: type[BekendError], facts: dict[str, str], signer: str | None
) -> None:
    found: Suspension = suspension(federation, **facts)  # type: ignore[arg-type]
    async with federation.broker():
        with pytest.raises(refusal):
            await publish(om, signed(federation, found, signer))
        assert not (await om.directory()).suspensions
        assert not await refused_at_begin(om)


@pytest.mark.parametrize("note", [b"", b"no note", bytes(20_000), b"soort: bekend/1 stilzetting\n\n"])
async def test_what_is_no_note_is_refused(federation: Federation, om: Party, note: bytes) -> None:
    async with federation.broker():
        with pytest.raises(BekendError):
            await publish(om, note)
        assert not await refused_at_begin(om)


async def test_fg_43_the_operator_puts_a_note_down_beside_the_broker(federation: Federation, om: Party) -> None:
    data = federation.config().data
    async with federation.broker():
        path = put_into_inbox(data, signed(federation, suspension(federation, "federatie")))
        await until(lambda: not path.exists())
        assert await refused_at_begin(om)
        stray = put_into_inbox(data, signed(federation, suspension(federation, "federatie", number=2), OM.oin))
        await until(stray.with_suffix(".refused").exists)
        assert await refused_at_begin(om)
        # Nobody stops less by stopping anew, from a moment that is still to come.
        ahead = federation.clock.now() + timedelta(hours=9)
        gap = put_into_inbox(data, signed(federation, suspension(federation, "federatie", number=2, since=ahead)))
        await until(gap.with_suffix(".refused").exists)
        assert await refused_at_begin(om)
    # While the broker is down nobody takes it; it holds before the first question is served.
    lifted = signed(federation, suspension(federation, "federatie", number=3, lifted=True))
    assert not hand_over(data, lifted, seconds=0.1)
    async with federation.broker():
        assert not await refused_at_begin(om)
