"""The kill switch at a node: what it asks and what it answers, by itself, over restarts, whatever the broker does."""

import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_broker.directory import Directory as BrokerDirectory
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.ask.outcomes import OutcomeKind
from bekend_policy.suspension import Suspension, What
from bekend_proto.errors import BekendError, RefusedError, SignatureError, StaleError, SuspendedError
from bekend_proto.v1.broker_pb2 import PublishSuspensionRequest

from tests.node.test_node_cli import Shell
from tests.support.asking import PERSON, Stage, zsm
from tests.support.clocks import SteeredClock
from tests.support.covenants import NOW, OPERATOR, ZSM
from tests.support.covenants import POLITIE as POLICE
from tests.support.covenants import RECLASSERING as PROBATION
from tests.support.federation import PEOPLE, Federation, Party, told, until
from tests.support.nodes import NodeHome, bit, fetch
from tests.support.pki import Authority
from tests.support.suspensions import REASON, signed, suspension

# --- asking --------------------------------------------------------------------------------------


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLICE].known = (PERSON,)
    yield made
    await made.close()


def held(stage: Stage, what: What, about: str = "", by: str = OPERATOR, **more: object) -> None:
    facts = {"number": 1, "reason": REASON, "since": NOW - timedelta(hours=1)}
    found = Suspension(covenant_id="kennemerland", what=what, about=about, by=by, **(facts | more))  # type: ignore[arg-type]
    stage.suspensions.put(found, b"")


@pytest.mark.parametrize(("what", "about"), [(What.FEDERATION, ""), (What.PURPOSE, ZSM), (What.NODE, OM.oin)])
async def test_fg_43_nothing_leaves_this_node_and_the_officer_reads_why(stage: Stage, what: What, about: str) -> None:
    held(stage, what, about)
    with pytest.raises(RefusedError, match=REASON) as refused:
        stage.asker.ask(zsm([POLICE]))
    assert refused.value.rule == "stilgezet"
    with pytest.raises(RefusedError):
        stage.asker.openable(ZSM, [POLICE], None, "officier")
    assert (stage.line.begins, stage.line.asks, stage.line.orders) == ([], [], [])
    held(stage, what, about, number=2, lifted=True)
    assert (await stage.outcome_of(zsm([POLICE]), POLICE)).outcome is OutcomeKind.KNOWN


@pytest.mark.parametrize(("what", "about"), [(What.PURPOSE, ZSM), (What.NODE, POLICE)])
async def test_fg_43_a_suspended_source_is_geen_antwoord_and_the_others_answer(
    stage: Stage, what: What, about: str
) -> None:
    held(stage, what, about, by=POLICE)
    found, receipt = await stage.ask(zsm([POLICE, PROBATION]))
    outcomes = {one.oin: one for one in found}
    assert outcomes[POLICE].outcome is OutcomeKind.NO_ANSWER
    assert REASON in outcomes[POLICE].reason
    assert outcomes[PROBATION].outcome is OutcomeKind.INCONCLUSIVE
    assert not stage.sources[POLICE].asked
    assert stage.asker.openable(ZSM, [POLICE, PROBATION], None, "officier") == (PROBATION,)
    assert receipt is not None


# --- answering -----------------------------------------------------------------------------------


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
def home(federation: Federation) -> NodeHome:
    return NodeHome.create(federation, POLITIE.oin)


def own_note(federation: Federation, number: int = 1, *, lifted: bool = False, since: datetime | None = None) -> bytes:
    own = suspension(federation, "doel", ZSM_CONTEXT, by=POLITIE.oin, number=number, lifted=lifted, since=since)
    return signed(federation, own)


async def test_fg_43_a_source_enforces_its_own_note_also_when_the_broker_does_not(
    federation: Federation, home: NodeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def forgetful(_self: object, _note: bytes) -> tuple[int, bool]:
        return 1, True

    monkeypatch.setattr(BrokerDirectory, "suspend", forgetful)
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        home.fill(broker.port, PEOPLE[:1])
        async with home.node(broker.port) as node:
            before = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
            assert await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], before) is True
            await node.suspending.install(own_note(federation))
            assert await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], before) == "suspended"
            with pytest.raises(SuspendedError):
                await fetch(om, POLITIE.oin, ZSM_CONTEXT)
        async with home.node(broker.port) as node:
            assert [one["about"] for one in node.status()["suspensions"]] == [ZSM_CONTEXT]
            assert await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], before) == "suspended"
            await node.suspending.install(own_note(federation, 2, lifted=True))
            assert await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], before) is True


async def test_fg_43_a_node_hears_of_it_at_once_and_remembers(federation: Federation, home: NodeHome) -> None:
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        async with home.node(broker.port) as node:
            await _publish(om, signed(federation, suspension(federation, "federatie")))
            await until(lambda: bool(node.status()["suspensions"]))
        await _publish(om, signed(federation, suspension(federation, "federatie", number=2, lifted=True)))
        # It was away: it learns of it when it attaches.
        async with home.node(broker.port) as node:
            await until(lambda: not node.status()["suspensions"])


async def test_fg_43_a_broker_that_lost_its_memory_gets_it_back_from_the_nodes(
    federation: Federation, home: NodeHome
) -> None:
    om = federation.parties[OM.oin]
    async with federation.broker() as broker, home.node(broker.port) as node:
        await node.suspending.install(own_note(federation))
    for path in federation.config().data.glob("broker.db*"):
        path.unlink()
    async with federation.broker() as broker:
        assert not (await om.directory()).suspensions
        async with home.node(broker.port) as node:
            await node.directory.changed()
            assert list((await om.directory()).suspensions) == [own_note(federation)]


async def test_a_broker_cannot_suspend_lift_or_bring_back(
    federation: Federation, home: NodeHome, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a hostile broker may put into its directory: forged, old, broken. It says nothing."""
    om = suspension(federation, "doel", ZSM_CONTEXT, by=POLITIE.oin, number=9, lifted=True)
    bad = [
        signed(federation, om, OM.oin),
        own_note(federation, 1, lifted=True),
        b"no note",
        signed(federation, suspension(federation, "federatie", by=OM.oin)),
    ]
    honest = BrokerDirectory.response

    def lying(self: BrokerDirectory, is_attached: object, have: bytes = b"") -> object:
        reply = honest(self, is_attached, have)  # type: ignore[arg-type]
        del reply.suspensions[:]
        reply.suspensions.extend(bad)
        return reply

    async with federation.broker() as broker, home.node(broker.port) as node:
        await node.suspending.install(own_note(federation, 2))
        monkeypatch.setattr(BrokerDirectory, "response", lying)
        await node.directory.changed()
        found = node.status()["suspensions"]
        assert [(one["about"], one["number"]) for one in found] == [(ZSM_CONTEXT, 2)]


async def test_a_node_refuses_what_is_forged_or_older(federation: Federation, home: NodeHome) -> None:
    async with federation.broker() as broker, home.node(broker.port) as node:
        await node.suspending.install(own_note(federation, 3))
        ahead = federation.clock.now() + timedelta(hours=9)
        wrong: list[tuple[type[BekendError], bytes]] = [
            # It would stop nothing until then.
            (RefusedError, own_note(federation, 4, since=ahead)),
            (StaleError, own_note(federation, 2, lifted=True)),
            (StaleError, own_note(federation, 3, lifted=True)),
            (SignatureError, signed(federation, suspension(federation, "federatie"), POLITIE.oin)),
            (RefusedError, signed(federation, suspension(federation, "federatie", by=POLITIE.oin))),
        ]
        for refusal, note in wrong:
            with pytest.raises(refusal):
                await node.suspending.install(note)
        assert len(node.status()["suspensions"]) == 1


# --- the commands --------------------------------------------------------------------------------


async def test_suspend_and_resume_as_an_operator_types_them(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority, clock=SteeredClock(datetime.now(UTC)))
    home = NodeHome.create(federation, POLITIE.oin)
    stop, lift = tmp_path / "stil.note", tmp_path / "door.note"
    stop.write_bytes(own_note(federation))
    lift.write_bytes(own_note(federation, 2, lifted=True))
    async with federation.broker() as broker, home.node(broker.port):
        shell = Shell(home, broker)
        assert (await shell.run("resume", str(stop)))[0] == 1
        code, output, _ = await shell.run("suspend", str(stop))
        assert (code, "Suspended here" in output) == (0, True)
        code, output, _ = await shell.run("status")
        assert "SUSPENDED" in output
        assert REASON in output
        later = tmp_path / "straks.note"
        moment = federation.clock.now() + timedelta(hours=9)
        later.write_bytes(own_note(federation, 2, lifted=True, since=moment))
        code, output, _ = await shell.run("resume", str(later))
        assert (code, f"from {moment:%Y-%m-%dT%H:%M:%SZ} on" in output) == (0, True)
        assert f"SUSPENDED until {moment:%Y-%m-%dT%H:%M:%SZ}" in (await shell.run("status"))[1]
        lift.write_bytes(own_note(federation, 3, lifted=True))
        code, output, _ = await shell.run("resume", str(lift), "--json")
        assert (code, json.loads(output)["lifted"]) == (0, True)
        assert "SUSPENDED" not in (await shell.run("status"))[1]
        # An older one does not bring it back.
        code, _, errors = await shell.run("suspend", str(stop))
        assert (code, "hoger nummer" in errors) == (1, True)


async def _publish(party: Party, note: bytes) -> None:
    await told(party.stub.PublishSuspension(PublishSuspensionRequest(note=note), timeout=10))
