"""Budgets: one person in one Begin, exact under concurrency, kept over restarts (protocol section 7; FG-19)."""

import asyncio
from datetime import datetime, time, timedelta
from pathlib import Path

import pytest
from bekend_broker.config import DatabaseServer
from bekend_deploy import covenant as demo
from bekend_deploy.partners import HAARLEM, OM, POLITIE, ZSM_CONTEXT, ZSM_LOCAL, ZVH, ZVH_WEIGHING
from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import BudgetError

from tests.support.federation import PEOPLE, Federation, Party
from tests.support.pki import Authority

DAILY = demo.Settings(per_officer=5, per_organisation=10)


@pytest.fixture
def tight(tmp_path: Path, authority: Authority, database: DatabaseServer | None) -> Federation:
    """Ten persons a day for each organisation: per purpose, and in all."""
    return Federation.create(tmp_path, authority, settings=DAILY, database=database)


async def begins(party: Party, purpose: str, count: int, persons: int = 1, on_behalf_of: str = "") -> int:
    """How many of so many Begins at once are admitted; the rest must run into a budget."""
    tries = await asyncio.gather(
        *(party.lookup(purpose, PEOPLE[:persons], on_behalf_of).begin() for _ in range(count)), return_exceptions=True
    )
    refused = [one for one in tries if isinstance(one, BaseException)]
    assert all(isinstance(one, BudgetError) for one in refused), refused
    return count - len(refused)


async def test_a_budget_is_exact_when_everybody_asks_at_once(tight: Federation) -> None:
    async with tight.broker() as broker:
        assert await begins(tight.parties[OM.oin], ZSM_CONTEXT, 25) == 10
        assert broker.log_entries() == 10


async def test_must_18_one_total_over_all_purposes(tight: Federation) -> None:
    om = tight.parties[OM.oin]
    async with tight.broker():
        assert await begins(om, ZSM_CONTEXT, 6) == 6
        assert await begins(om, ZSM_LOCAL, 6) == 4
        assert await begins(om, ZSM_CONTEXT, 1) == 0


async def test_every_person_counts(tight: Federation) -> None:
    async with tight.broker():
        assert await begins(tight.parties[HAARLEM.oin], ZVH_WEIGHING, 4, persons=4) == 2
        # Two persons are left: a Begin of two fits, one of three does not.
        assert await begins(tight.parties[HAARLEM.oin], ZVH_WEIGHING, 1, persons=3) == 0
        assert await begins(tight.parties[HAARLEM.oin], ZVH_WEIGHING, 1, persons=2) == 1


async def test_a_budget_survives_a_restart(tight: Federation) -> None:
    async with tight.broker():
        assert await begins(tight.parties[OM.oin], ZSM_CONTEXT, 7) == 7
    async with tight.broker():
        assert await begins(tight.parties[OM.oin], ZSM_CONTEXT, 7) == 3


async def test_a_day_ends_at_midnight_in_amsterdam(tight: Federation) -> None:
    om = tight.parties[OM.oin]
    today = tight.clock.now().astimezone(AMSTERDAM).date()
    midnight = datetime.combine(today + timedelta(days=1), time(0), AMSTERDAM)
    async with tight.broker():
        tight.clock.set(midnight - timedelta(seconds=1))
        assert await begins(om, ZSM_CONTEXT, 11) == 10
        tight.clock.set(midnight)
        assert await begins(om, ZSM_CONTEXT, 11) == 10


async def test_one_requester_leaves_anothers_budget_alone(tight: Federation) -> None:
    async with tight.broker():
        assert await begins(tight.parties[OM.oin], ZSM_CONTEXT, 11) == 10
        assert await begins(tight.parties[ZVH.oin], ZVH_WEIGHING, 11, on_behalf_of=HAARLEM.oin) == 10


async def test_a_refused_begin_costs_nothing_of_either_budget(tight: Federation) -> None:
    """The total refuses after the purpose was counted: that count is undone."""
    om = tight.parties[OM.oin]
    async with tight.broker():
        assert await begins(om, ZSM_LOCAL, 10) == 10
        assert await begins(om, ZSM_CONTEXT, 5) == 0
        tight.clock.advance(timedelta(days=1))
        assert await begins(om, ZSM_CONTEXT, 11) == 10


async def test_the_canary_has_24_a_day_per_purpose_and_nothing_else(tight: Federation) -> None:
    politie = tight.parties[POLITIE.oin]
    async with tight.broker(), politie.attached():
        assert await begins(politie, ZSM_CONTEXT, 30) == 24


async def test_a_canary_of_a_requester_is_no_charge_on_its_budget(tight: Federation) -> None:
    haarlem = tight.parties[HAARLEM.oin]
    async with tight.broker(), haarlem.attached():
        for _ in range(12):
            lookup = await haarlem.lookup(ZVH_WEIGHING).begin()
            assert await lookup.outcomes(haarlem.oin) == {haarlem.oin: [False]}
        assert await begins(haarlem, ZVH_WEIGHING, 10) == 10
        # Its budget is used up: it may ask nobody but itself.
        lookup = await haarlem.lookup(ZVH_WEIGHING).begin()
        assert await lookup.outcomes(haarlem.oin, OM.oin) == {haarlem.oin: [False], OM.oin: "budget"}
        assert await begins(haarlem, ZVH_WEIGHING, 20) == 11


async def test_a_canary_beside_other_questions_is_charged_on_both(tight: Federation) -> None:
    haarlem, om = tight.parties[HAARLEM.oin], tight.parties[OM.oin]
    async with tight.broker(), haarlem.attached(), om.attached():
        lookup = await haarlem.lookup(ZVH_WEIGHING).begin()
        assert await lookup.outcomes(haarlem.oin, om.oin) == {haarlem.oin: [False], om.oin: [False]}
        assert await begins(haarlem, ZVH_WEIGHING, 33) == 9 + 23


async def test_a_canary_to_which_another_ask_is_announced_is_charged_on_both(tight: Federation) -> None:
    haarlem, om = tight.parties[HAARLEM.oin], tight.parties[OM.oin]
    async with tight.broker(), haarlem.attached(), om.attached():
        lookup = await haarlem.lookup(ZVH_WEIGHING).begin()
        await lookup.ask(lookup.question(haarlem.oin), more=True)
        await lookup.ask(lookup.question(om.oin))
        assert set(await lookup.replies()) == {haarlem.oin, om.oin}
        assert await begins(haarlem, ZVH_WEIGHING, 33) == 9 + 23


async def test_fg_19_an_enumeration_stops_at_the_budget_and_shows(
    tight: Federation, capsys: pytest.CaptureFixture[str]
) -> None:
    """A requester that goes through a list of persons gets as far as its budget; the rest is refused and logged."""
    om, politie = tight.parties[OM.oin], tight.parties[POLITIE.oin]
    async with tight.broker() as broker, politie.attached() as source:
        answered = 0
        for _ in range(30):
            try:
                lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
            except BudgetError:
                continue
            answered += (await lookup.outcomes(politie.oin))[politie.oin] == [False]
        assert answered == source.questions.qsize() == 10
        refused = broker.registry.get_sample_value(
            "bekend_broker_begins_total", {"purpose": ZSM_CONTEXT, "decision": "budget"}
        )
        assert refused == 20
    assert capsys.readouterr().err.count('"code": "budget"') == 20
