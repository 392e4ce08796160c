"""A second person raises an officer's limit: who may, how far, for how long, and what stays as it was.

The second person is the user who runs the tests, over the control socket; the officer whose limit it is asks through
the Asker.
"""

import asyncio
import json
import os
import pwd
import sqlite3
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import OM as DEMO_OM
from bekend_deploy.partners import POLITIE as DEMO_POLITIE
from bekend_deploy.partners import ZSM_CONTEXT
from bekend_deploy.questions import CASES, CONDITIONS
from bekend_node.ask.outcomes import Outcome
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.config import Officer
from bekend_node.control import ControlServer
from bekend_node.store import Store
from bekend_policy.load import load_covenant
from bekend_policy.sign import sign_covenant, verify_covenant
from bekend_proto.errors import BudgetError

from tests.evil.hostile_node import HostileNode, attached
from tests.evil.world import World, broker_of, real_node
from tests.support.asking import CANARY, DIRECTOR, OTHER, PERSON, THIRD, ZVH_CASE, Stage, weighing
from tests.support.covenants import HAARLEM, OM, ZSM, ZVH_WEIGHING, edit, example, key_of, sign_all

USER = pwd.getpwuid(os.geteuid()).pw_name
LEADER = Officer(user=USER, name="K. Bakker", role="teamleider")
ASKER = Officer(user=DIRECTOR.user, name=DIRECTOR.name, role=DIRECTOR.role)
FOUR = (PERSON, OTHER, THIRD, CANARY)
DAY = timedelta(hours=24)
REASON = "drukte na een incident"
COMMAND = (sys.executable, "-m", "bekend_deploy.cli")
RAISE = ("node", "raise", "--officer", ASKER.user)


class Desk:
    """The OM's node under a covenant with a raise from 10 to 16, and its control socket."""

    def __init__(self, folder: Path, officers: tuple[Officer, ...] = (LEADER, ASKER)) -> None:
        self.folder = folder
        self.stage = Stage(folder)
        made = example(folder / "met-verhoging")
        edit(
            made / "doelen" / "zvh-weging-betrokkenheid.yaml",
            r"(?<=per_organisatie: 25\})\n",
            "\nverhoging: {per_persoon: 16, rollen: [teamleider]}\n",
        )
        self.stage.covenant = verify_covenant(load_covenant(sign_all(made)), key_of(OM).vkey, self.stage.clock.now())
        self.path = folder / "control" / "node.sock"
        self.server = self.serve(officers)

    def serve(self, officers: tuple[Officer, ...]) -> ControlServer:
        return ControlServer(self.stage.asker, officers, lambda: self.stage.covenant, OM, dict)

    async def call(self, **request: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 20)
        writer.write(json.dumps(request).encode() + b"\n")
        reply: dict[str, Any] = {"type": "outcome"}
        while reply["type"] == "outcome":
            reply = json.loads(await reader.readline())
        writer.close()
        return reply

    async def grant(self, **changes: Any) -> dict[str, Any]:
        facts = {"officer": ASKER.user, "purpose": ZVH_WEIGHING, "extra": 6, "reason": REASON}
        return await self.call(op="raise", **(facts | changes))

    async def ask(self, persons: int) -> None:
        """The officer asks about this many persons. Raises BudgetError."""
        await self.stage.ask(weighing((HAARLEM,), FOUR[:persons]))

    async def use_up(self) -> None:
        for persons in (4, 4, 2):
            await self.ask(persons)

    def pass_time(self, step: timedelta) -> None:
        """Later, with filters of that moment."""
        self.stage.clock.advance(step)
        for source in self.stage.sources.values():
            source.version += int(step.total_seconds())
            source.end += int(step.total_seconds())
        self.stage.asker.shelf.sweep()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.server.start(made.path)
    yield made
    await made.server.stop()
    await made.stage.close()


async def test_a_raised_officer_asks_further_and_not_beyond(desk: Desk) -> None:
    await desk.use_up()
    with pytest.raises(BudgetError):
        await desk.ask(1)
    reply = await desk.grant()
    assert (reply["type"], reply["limit"]) == ("result", 16)
    assert datetime.fromisoformat(reply["until"]) == desk.stage.clock.now() + DAY
    await desk.ask(4)
    await desk.ask(2)
    with pytest.raises(BudgetError):
        await desk.ask(1)


async def test_a_raise_is_for_one_officer_and_one_purpose(desk: Desk) -> None:
    await desk.grant()
    left = {purpose: desk.stage.asker.budget(ASKER.user, purpose).limit for purpose in (ZVH_WEIGHING, ZSM, "")}
    assert left == {ZVH_WEIGHING: 16, ZSM: 40, "": 60}
    assert desk.stage.asker.budget(USER, ZVH_WEIGHING).limit == 10


async def test_a_raise_ends_after_24_hours(desk: Desk) -> None:
    await desk.grant()
    desk.pass_time(DAY - timedelta(seconds=1))
    assert desk.stage.asker.budget(ASKER.user, ZVH_WEIGHING).limit == 16
    await desk.use_up()
    await desk.ask(1)
    desk.pass_time(timedelta(seconds=1))
    budget = desk.stage.asker.budget(ASKER.user, ZVH_WEIGHING)
    assert (budget.limit, budget.to_json()["left"], budget.raised_until) == (10, 0, None)
    with pytest.raises(BudgetError):
        await desk.ask(1)


async def test_raises_add_up_to_what_the_covenant_says_and_no_further(desk: Desk) -> None:
    assert (await desk.grant(extra=4))["limit"] == 14
    reply = await desk.grant(extra=3)
    assert (reply["type"], reply["rule"]) == ("refused", "verhoging")
    assert "nog 2" in reply["reason"]
    assert (await desk.grant(extra=2))["limit"] == 16
    assert (await desk.grant(extra=1))["type"] == "refused"


@pytest.mark.parametrize(
    ("change", "rule", "says"),
    [
        ({"officer": "niemand"}, "onbekende-medewerker", "stelt onder dit doel geen vragen"),
        ({"purpose": ZSM}, "onbekende-medewerker", "stelt onder dit doel geen vragen"),
        ({"purpose": "kennemerland/bestaat-niet"}, "onbekend-doel", "geen vragen"),
        ({"extra": 7}, "verhoging", "1 tot en met 6"),
        ({"reason": "druk"}, "verhoging", "Schrijf waarom"),
        ({"reason": f"drukte om {PERSON.value}"}, "verhoging", "een BSN kan zijn"),
    ],
)
async def test_a_raise_that_may_not_be_is_refused_in_dutch(
    desk: Desk, change: dict[str, Any], rule: str, says: str
) -> None:
    reply = await desk.grant(**change)
    assert (reply["type"], reply["rule"]) == ("refused", rule)
    assert says in reply["reason"]
    assert PERSON.value not in json.dumps(reply)
    assert desk.stage.asker.budget(ASKER.user, ZVH_WEIGHING).limit == 10
    assert desk.stage.store.raises(ASKER.user, desk.stage.clock.now() - DAY) == []


@pytest.mark.parametrize("change", [{"extra": 0}, {"extra": -1}, {"extra": "6"}, {"officer": ""}, {"by": "directeur"}])
async def test_a_request_of_another_form_is_malformed(desk: Desk, change: dict[str, Any]) -> None:
    assert (await desk.grant(**change))["code"] == "malformed"


@pytest.mark.parametrize(
    ("officers", "officer", "says"),
    [
        # The own limit, also with a role that may raise those of others.
        ((LEADER, Officer(user=USER, name=LEADER.name, role=ASKER.role)), USER, "eigen grens"),
        # One person with two accounts.
        ((Officer(user=USER, name=ASKER.name, role="teamleider"), ASKER), ASKER.user, "dezelfde naam"),
        # A colleague whose role the covenant does not name.
        ((Officer(user=USER, name="B. Smit", role="procesregisseur"), ASKER), ASKER.user, "Alleen deze rollen"),
        ((Officer(user=USER, name="B. Smit", role="officier"), ASKER), ASKER.user, "Alleen deze rollen"),
        # Who is no officer at all, though the node is his.
        ((ASKER,), ASKER.user, "mag hier niet vragen"),
    ],
)
async def test_nobody_raises_alone_or_in_another_role(
    tmp_path: Path, officers: tuple[Officer, ...], officer: str, says: str
) -> None:
    desk = Desk(tmp_path, officers)
    await desk.server.start(desk.path)
    try:
        reply = await desk.grant(officer=officer)
        assert reply["type"] == "refused"
        assert says in reply["reason"]
        assert desk.stage.asker.budget(officer, ZVH_WEIGHING).limit == 10
    finally:
        await desk.server.stop()
        await desk.stage.close()


async def test_a_raise_is_logged_with_who_and_how_far_and_without_its_reason(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    await desk.grant()
    lines = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    (line,) = [it for it in lines if it["event"] == "limit-raised"]
    facts = {"purpose": ZVH_WEIGHING, "officer": ASKER.user, "by": USER, "role": "teamleider", "extra": 6}
    assert facts.items() <= line.items()
    assert REASON not in json.dumps(lines)


async def test_a_raise_stays_on_the_record_and_in_force_over_a_restart(desk: Desk) -> None:
    await desk.grant()
    desk.stage.store.close()
    store = desk.stage.store = Store.open(desk.folder / "data")
    await desk.use_up()
    await desk.ask(4)
    (kept,) = store.raises(ASKER.user, desk.stage.clock.now() - DAY)
    assert (kept.by, kept.role, kept.extra, kept.reason) == (USER, "teamleider", 6, REASON)


async def test_the_record_of_raises_only_grows(desk: Desk) -> None:
    await desk.grant()
    with sqlite3.connect(desk.folder / "data" / "node.db") as other:
        assert other.execute("SELECT count(*) FROM log WHERE kind = 'raised'").fetchone() == (1,)
        for change in (
            "DELETE FROM raised",
            "UPDATE raised SET extra = 0",
            "INSERT OR REPLACE INTO raised SELECT * FROM raised",
        ):
            with pytest.raises(sqlite3.IntegrityError):
                other.execute(change)


async def test_a_raise_ends_with_the_covenant_that_admits_it(desk: Desk) -> None:
    await desk.grant()
    purposes = dict(desk.stage.covenant.purposes)
    purposes[ZVH_WEIGHING] = purposes[ZVH_WEIGHING].model_copy(update={"raised": None})
    desk.stage.covenant = replace(desk.stage.covenant, purposes=purposes)
    assert desk.stage.asker.budget(ASKER.user, ZVH_WEIGHING).limit == 10


# --- what is left ---------------------------------------------------------------------------------


async def test_what_is_left_is_told_before_and_after_asking(tmp_path: Path) -> None:
    desk = Desk(tmp_path, (Officer(user=USER, name="A. de Vries", role="procesregisseur"),))
    await desk.server.start(desk.path)
    facts = {"purpose": ZVH_WEIGHING, "sources": [HAARLEM]}
    try:
        opened = await desk.call(op="open", **facts)
        assert opened["budget"]["purpose"] == {"limit": 10, "used": 0, "left": 10, "raised_until": None}
        assert opened["budget"]["all"]["left"] == 60
        asked = await desk.call(
            op="ask",
            **facts,
            identifiers=[PERSON.value, OTHER.value],
            case=ZVH_CASE,
            attested=["positieve-toets", "bgs-2-20"],
            justification="de weging begint",
        )
        assert {name: one["left"] for name, one in asked["budget"].items()} == {"purpose": 8, "all": 58}
        reply = await desk.call(op="purposes")
        purpose = next(one for one in reply["purposes"] if one["id"] == ZVH_WEIGHING)
        assert (purpose["budget"]["left"], purpose["per_day"], reply["budget"]["left"]) == (8, 10, 58)
        assert purpose["raise"] == {"per_day": 16, "roles": ["teamleider"]}
    finally:
        await desk.server.stop()
        await desk.stage.close()


async def test_the_end_of_a_raise_is_told(desk: Desk) -> None:
    reply = await desk.grant()
    told = desk.stage.asker.budget(ASKER.user, ZVH_WEIGHING).to_json()
    assert told == {"limit": 16, "used": 0, "left": 16, "raised_until": reply["until"]}


# --- the command ----------------------------------------------------------------------------------


async def run(desk: Desk, *words: str, stdin: str = "") -> tuple[int, str, str]:
    config = desk.folder / "node.yaml"
    config.write_text(
        f'oin: "{OM}"\ncovenant: convenant\nanchor: "{key_of(OM).vkey}"\nmanifest: manifest.note\n'
        'brokers:\n  - address: "localhost:1"\ntls: {certificate: a.pem, key: a.key, authorities: ca.pem}\n'
        'canary: "bsn:999990056"\nsocket: control/node.sock\n'
    )
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *(*words, "--config", str(config), "--doel", ZVH_WEIGHING),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate(stdin.encode())
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_the_command_says_until_when_and_that_the_organisation_has_its_own(desk: Desk) -> None:
    code, out, err = await run(desk, *RAISE, "--extra", "6", "--reden", REASON)
    assert code == 0, err
    assert "tot 02-12-2026 13:00 naar 16 personen per dag" in out
    assert "De grens van uw organisatie blijft gelijk." in out


async def test_the_command_ends_on_a_refusal_with_the_rule(desk: Desk) -> None:
    code, out, err = await run(desk, *RAISE, "--extra", "7", "--reden", REASON)
    assert (code, out) == (4, "")
    assert err.startswith("Geweigerd (regel verhoging):")
    code, out, _ = await run(desk, *RAISE, "--extra", "7", "--reden", REASON, "--json")
    assert (code, json.loads(out)["refused"]["rule"]) == (4, "verhoging")


async def test_an_officer_without_budget_is_told_who_can_raise_it(tmp_path: Path) -> None:
    desk = Desk(tmp_path, (Officer(user=USER, name="A. de Vries", role="procesregisseur"),))
    await desk.server.start(desk.path)
    lookup = ("lookup", "--zaak", ZVH_CASE, "--partner", HAARLEM, "--motivering", "de weging begint")
    try:
        for persons in (4, 4, 2):
            await desk.stage.ask(weighing((HAARLEM,), FOUR[:persons], officer=replace(DIRECTOR, user=USER)))
        confirmed = ("--bevestig", "positieve-toets", "--bevestig", "bgs-2-20")
        code, _, err = await run(desk, *lookup, *confirmed, stdin=f"{PERSON.value}\n")
        assert code == 4
        assert "U kunt vandaag nog naar 0 van 10 personen vragen voor dit doel, en naar 50 van 60" in err
        assert "Een collega met de rol teamleider kan uw grens voor 24 uur verhogen: bekend node raise." in err
    finally:
        await desk.server.stop()
        await desk.stage.close()


# --- the organisation -----------------------------------------------------------------------------


def world_with_raise(folder: Path) -> World:
    """One person a day per officer, three with a raise, three for the whole organisation."""
    world = World.build(folder / "world", settings=Settings(per_officer=1, per_organisation=3))
    covenant, operator = world.built.covenant, world.built.operator
    raised = "verhoging:\n  per_persoon: '3'\n  rollen: [teamleider]\nmax_per_dag:\n"
    edit(covenant / "doelen" / "zsm-context.yaml", "max_per_dag:\n", raised)
    edit(covenant / "afspraken.yaml", "per_persoon: '1'", "per_persoon: '3'")
    for key in (*(node.off_line.signer for node in world.built.nodes.values()), operator):
        sign_covenant(covenant, key)
    return replace(world, covenant=verify_covenant(load_covenant(covenant), operator.vkey, world.clock.now()))


async def test_the_broker_holds_the_organisation_to_its_own_limit(tmp_path: Path) -> None:
    world = world_with_raise(tmp_path)
    source = HostileNode(world, DEMO_POLITIE.oin, ZSM_CONTEXT, world.known(DEMO_POLITIE.oin, ZSM_CONTEXT))
    async with (
        broker_of(world, tmp_path / "broker") as broker,
        attached(source, broker.port),
        real_node(world, DEMO_OM.oin, tmp_path / "node", broker.port) as node,
    ):
        leader = OfficerRef(user="bakker", name="K. Bakker", role="teamleider")
        for officer in ("els", "karim"):
            await node.asker.raise_limit(officer, ZSM_CONTEXT, 2, by=leader, reason=REASON)

        async def ask(officer: str) -> Outcome:
            inquiry = Inquiry(
                purpose=ZSM_CONTEXT,
                persons=(world.somebody,),
                sources=(DEMO_POLITIE.oin,),
                officer=OfficerRef(user=officer, name=officer, role="zsm-medewerker"),
                case_reference=CASES[ZSM_CONTEXT],
                attested=frozenset(CONDITIONS[ZSM_CONTEXT]),
            )
            return next(it for it in [one async for one in node.asker.ask(inquiry)] if it.oin == DEMO_POLITIE.oin)

        for officer in ("els", "els", "karim"):
            assert (await ask(officer)).outcome == "bekend"
        refused = await ask("karim")
        assert refused.outcome == "geen_antwoord"
        assert "vandaag toelaat, is op" in refused.reason
        # It is not this officer's own limit that stopped it.
        assert node.asker.budget("karim", ZSM_CONTEXT).limit == 3
        assert len(source.asked) == 3
