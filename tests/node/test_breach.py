"""The breach drill (FG-48): what the loss of each thing exposes, counted from a node's real logs."""

import asyncio
import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.breach import Lost as BrokerLost
from bekend_broker.breach import assess as assess_broker
from bekend_broker.store import Store as BrokerStore
from bekend_broker.store_decisions import Decisions as BrokerDecisions
from bekend_deploy.cli import app
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.breach import Lost, assess
from bekend_node.breach_cli import read_facts
from bekend_policy.breach import Exposure
from bekend_policy.log_use import Days
from typer.testing import CliRunner

from tests.support.federation import PEOPLE, Federation
from tests.support.nodes import NodeHome, ask
from tests.support.pki import Authority

FOUND = datetime(2026, 12, 24, 16, 0, tzinfo=UTC)


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


@pytest.fixture
async def home(federation: Federation) -> NodeHome:
    """The police's node after three questions of the OM, stopped as after a breach."""
    made = NodeHome.create(federation, POLITIE.oin)
    om = federation.parties[OM.oin]
    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(federation.broker())
        made.fill(broker.port, PEOPLE[:4])
        await stack.enter_async_context(made.node(broker.port))
        for person in PEOPLE[:3]:
            await ask(om, POLITIE.oin, ZSM_CONTEXT, person)
    return made


def exposed(home: NodeHome, *lost: Lost) -> Exposure:
    now = home.federation.clock.now()
    days = Days(now.date(), now.date())
    facts = read_facts(home.config(1), days, 1, now)
    found = Exposure(home.oin, tuple(lost), days, FOUND)
    return assess(found, home.federation.covenant, facts)


async def test_fg_48_a_stolen_database_tells_who_asked_and_never_about_whom(home: NodeHome) -> None:
    found = exposed(home, Lost.DATABASE)
    asked = next(one for one in found.exposed if one.what.startswith("wie onder welk doel"))
    assert (asked.partners, asked.questions, asked.persons) == ((OM.oin,), 3, 3)
    assert found.partners == (OM.oin,)
    known = next(one for one in found.safe if one.what == "wie hier bekend is")
    assert "uw sleutel" in known.why
    assert "makelaar" in known.why
    (near,) = found.nearer
    assert near.persons == sum(4 for id_ in home.purposes)
    assert any("AP" in step for step in found.steps)
    assert found.notify_by == FOUND + timedelta(hours=72)


async def test_fg_48_only_the_three_together_expose_who_is_known(home: NodeHome) -> None:
    three = (Lost.DATABASE, Lost.ROOT, Lost.BROKER_ROOT)
    for some in ((), *((it,) for it in three), *((a, b) for a in three for b in three if a < b)):
        assert not [one for one in exposed(home, *some).exposed if one.what.startswith("wie hier bekend")], some
    found = exposed(home, *three)
    (known,) = [one for one in found.exposed if one.what.startswith("wie hier bekend")]
    assert known.persons == 4 * len(home.purposes)
    assert not [one for one in found.safe if one.what == "wie hier bekend is"]
    # A backup is as good as the database.
    assert [one for one in exposed(home, Lost.BACKUP, *three[1:]).exposed if one.what.startswith("wie hier bekend")]


async def test_fg_48_asking_in_our_name_needs_certificate_and_key(home: NodeHome) -> None:
    for one in (Lost.SIGNING_KEY, Lost.TLS_KEY, Lost.COVENANT_KEY):
        found = exposed(home, one)
        assert found.exposed == []
        assert "in uw naam" in next(it.what for it in found.safe)
        assert len(found.steps) >= 3
    both = exposed(home, Lost.SIGNING_KEY, Lost.TLS_KEY)
    (asked,) = both.exposed
    assert asked.persons == home.federation.covenant.totals.per_organisation


async def test_fg_48_every_loss_alone_has_steps_and_exposes_no_person_known_here(home: NodeHome) -> None:
    for one in Lost:
        found = exposed(home, one)
        assert found.steps, one
        assert found.steps[-1].startswith("Beoordeel met de FG")
        assert not [it for it in found.exposed if it.what.startswith("wie hier bekend")]
        text = "\n".join(found.lines({}))
        assert "Dit ligt open:" in text
        for person in PEOPLE:
            assert person.value not in text


async def test_fg_48_drill_the_command_says_it_within_the_hour(home: NodeHome) -> None:
    home.config(1)
    today = home.federation.clock.now().date().isoformat()
    args = [
        "node", "breach", "--lost", "database", "--lost", "officer-key", "--from", today, "--to", today,
        "--ontdekt", "2026-12-24T16:00", "--config", str(home.folder / "node.yaml"),
    ]  # fmt: skip
    ran = await asyncio.to_thread(CliRunner().invoke, app, [*args, "--json"])
    assert ran.exit_code == 0, ran.output
    found = json.loads(ran.stdout)
    assert found["notify_by"] == "2026-12-27T16:00:00+00:00"
    assert found["partners"] == [OM.oin]
    ran = await asyncio.to_thread(CliRunner().invoke, app, args)
    assert ran.exit_code == 0, ran.output
    assert "27-12-2026 17:00" in ran.stdout
    assert federation_name(home, OM.oin) in ran.stdout
    ran = await asyncio.to_thread(CliRunner().invoke, app, [*args[:-2], "--config", str(home.folder / "geen.yaml")])
    assert ran.exit_code == 1


async def test_fg_48_the_broker_knows_who_asked_whom_and_nothing_else(home: NodeHome) -> None:
    federation = home.federation
    now = federation.clock.now()
    days = Days(now.date(), now.date())
    store = BrokerStore.open(federation.folder / "data")
    try:
        bundles = BrokerDecisions(store.database).between(*days.span)
    finally:
        store.close()

    def lost(*names: BrokerLost) -> Exposure:
        return assess_broker(
            Exposure(federation.covenant.broker_oin, tuple(names), days, FOUND), federation.covenant, bundles
        )

    (asked,) = lost(BrokerLost.DATABASE).exposed
    assert (asked.partners, asked.questions) == ((OM.oin, POLITIE.oin), 3)
    for one in BrokerLost:
        found = lost(one)
        assert found.steps
        assert "personen, pseudoniemen en antwoorden" in [it.what for it in found.safe]
    assert lost(BrokerLost.ROOT_B).exposed == []
    assert lost(BrokerLost.ROOT_U).exposed == []
    assert lost(BrokerLost.TLS_KEY).exposed == []
    assert lost(BrokerLost.TLS_KEY, BrokerLost.SIGNING_KEY).exposed


def federation_name(home: NodeHome, oin: str) -> Any:
    return home.federation.covenant.participants[oin].name
