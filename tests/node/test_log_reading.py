"""Reading the logs: three parties' records of one lookup fit each other, and no reading goes unrecorded."""

import asyncio
import contextlib
import json
import os
import pwd
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.store import Store as BrokerStore
from bekend_deploy.cli import app
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_deploy.questions import CASES, CONDITIONS, ROLES
from bekend_node.app import Node
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.control_client import ControlClient
from bekend_node.records.export import LOG_KIND
from bekend_policy.decision_log import LOOKUP, Verdict, replay
from bekend_policy.load import load_covenant
from bekend_policy.log_use import LAWFUL, uses
from bekend_policy.sign import verify_covenant
from bekend_proto import trace
from bekend_proto.clock import milliseconds
from bekend_proto.durable import append_log
from typer.testing import CliRunner

from tests.support.covenants import CATALOGUE
from tests.support.federation import PEOPLE, Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority
from tests.support.standards import check_adl, check_ldv

USER = pwd.getpwuid(os.geteuid()).pw_name
AUDIT = LAWFUL[0]


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


class Both:
    """The OM's node and that of the police, after one lookup of a known person."""

    def __init__(self, federation: Federation, nodes: dict[str, Node]) -> None:
        self.federation = federation
        self.nodes = nodes
        self.today = federation.clock.now().date().isoformat()

    async def read(self, oin: str, form: str, **changes: Any) -> list[dict[str, Any]]:
        """What the control socket says, all of it."""
        request = {"op": "log", "form": form, "first": self.today, "last": self.today, "used_for": AUDIT, **changes}

        def call() -> list[dict[str, Any]]:
            with ControlClient(self.nodes[oin].config.socket) as client:
                return list(client.stream(request))

        return await asyncio.to_thread(call)

    async def records(self, oin: str, form: str, **changes: Any) -> list[dict[str, Any]]:
        replies = await self.read(oin, form, **changes)
        assert replies[-1]["type"] == "result", replies
        found = [record for reply in replies[:-1] for record in reply["records"]]
        assert replies[-1]["records"] == len(found)
        return found


@pytest.fixture
async def both(federation: Federation) -> AsyncIterator[Both]:
    homes = [NodeHome.create(federation, oin) for oin in (OM.oin, POLITIE.oin)]
    async with contextlib.AsyncExitStack() as stack:
        broker = await stack.enter_async_context(federation.broker())
        nodes = {}
        for home in homes:
            home.settings = {"log_readers": [{"user": USER, "name": "A. de Vries"}]}
            await home.enrol_all(broker.port, PEOPLE[:1])
            nodes[home.oin] = await stack.enter_async_context(home.node(broker.port))
        inquiry = Inquiry(
            purpose=ZSM_CONTEXT,
            persons=(PEOPLE[0],),
            sources=(POLITIE.oin,),
            officer=OfficerRef("jansen", "J. Jansen", ROLES["om"]),
            case_reference=CASES[ZSM_CONTEXT],
            attested=frozenset(CONDITIONS[ZSM_CONTEXT]),
            justification="aangehouden",
        )
        outcomes = [one async for one in nodes[OM.oin].asker.ask(inquiry)]
        assert [one.outcome.value for one in outcomes if one.oin == POLITIE.oin] == ["bekend"]
        yield Both(federation, nodes)


async def test_fg_28_three_logs_of_one_lookup_fit_each_other(both: Both) -> None:
    asked = await both.records(OM.oin, "adl")
    answered = await both.records(POLITIE.oin, "adl")
    passed_on = _at_broker(both.federation, "adl")
    own = next(it for it in asked if it["body"]["adl.core.request"]["action"]["name"] == "bevragen")
    theirs = next(it for it in answered if it["trace_id"] == own["trace_id"])
    between = next(it for it in passed_on if it["trace_id"] == own["trace_id"])
    assert between["parent_span_id"] == own["span_id"]
    assert theirs["parent_span_id"] == between["span_id"]
    # Which lookup it was part of, the source does not learn.
    assert own["attributes"][LOOKUP] == between["attributes"][LOOKUP]
    assert LOOKUP not in theirs["attributes"]
    assert own["attributes"][LOOKUP] not in json.dumps(answered)
    covenant = verify_covenant(both.federation.covenant, both.federation.operator_vkey, both.federation.clock.now())
    for record in (*asked, *answered, *passed_on):
        check_adl(record)
        assert replay(record, {covenant.hash.hex(): covenant}).verdict is Verdict.EQUAL
    # The filter was ordered, and that is a decision too.
    assert "filter-ophalen" in {it["body"]["adl.core.request"]["action"]["name"] for it in answered}


async def test_fg_28_each_party_has_its_processing_and_only_the_requester_a_person(both: Both) -> None:
    asked = await both.records(OM.oin, "ldv")
    answered = await both.records(POLITIE.oin, "ldv")
    for record in (*asked, *answered, *_at_broker(both.federation, "ldv")):
        check_ldv(record)
    (lookup,) = [it for it in asked if "data_subject_id" in str(it)]
    assert lookup["status"] == "Ok"
    assert not [it for it in answered if "data_subject_id" in str(it)]
    (answer,) = [it for it in answered if "beantwoord" in it["name"]]
    assert answer["parent_span_id"] == trace.span_of(bytes.fromhex(answer["trace_id"]), trace.BROKER, POLITIE.oin).hex()
    assert [it for it in answered if "ingelezen" in it["name"]]
    # An export of sealed records, as for an access request, is a processing about nobody that the node knows.
    store = both.nodes[POLITIE.oin].store
    now = milliseconds(both.federation.clock.now())
    await store.database.write(lambda conn: append_log(conn, LOG_KIND, bytes(range(32)), now))
    (access,) = [it for it in await both.records(POLITIE.oin, "ldv") if "inzageverzoek" in it["name"]]
    check_ldv(access)
    # One trace, and no more than that.
    (one,) = await both.records(POLITIE.oin, "ldv", trace_id=answer["trace_id"])
    assert one == answer


async def test_fg_30_who_is_not_named_or_has_another_purpose_reads_nothing(both: Both) -> None:
    for change, rule in (
        ({"used_for": "statistiek"}, "FG-30"),
        ({"used_for": ""}, "FG-30"),
        ({"first": "2026-02-30"}, "periode"),
        ({"first": "2030-01-01"}, "periode"),
        # Each day would be an object of its own: 740,000, while nothing else is answered.
        ({"first": "0001-01-01"}, "periode"),
    ):
        (reply,) = await both.read(OM.oin, "adl", **change)
        assert (reply["type"], reply["rule"]) == ("refused", rule)
    both.nodes[OM.oin].log_reading._readers = {"someone-else"}
    (reply,) = await both.read(OM.oin, "ldv")
    assert (reply["type"], reply["rule"]) == ("refused", "FG-30")


async def test_fg_30_each_reading_is_itself_on_the_record(both: Both) -> None:
    before = both.nodes[OM.oin].store.counts()["log"]
    await both.records(OM.oin, "adl")
    await both.records(OM.oin, "ldv", used_for=LAWFUL[2])
    read = await both.records(OM.oin, "reads")
    assert [(it["user"], it["log"], it["used_for"]) for it in read] == [
        (USER, "adl", AUDIT),
        (USER, "ldv", LAWFUL[2]),
        (USER, "reads", AUDIT),
    ]
    assert both.nodes[OM.oin].store.counts()["log"] == before + 3


async def test_the_commands_export_and_replay(both: Both, tmp_path: Path) -> None:
    home = both.federation.folder / f"node-{OM.oin[-6:]}"
    period = ["--from", both.today, "--to", both.today, "--gebruik", AUDIT, "--config", str(home / "node.yaml")]
    ran = await asyncio.to_thread(CliRunner().invoke, app, ["log", "adl", "export", *period, "--jsonl"])
    assert ran.exit_code == 0, ran.output
    file = tmp_path / "besluiten.jsonl"
    file.write_text(ran.stdout)
    again = [
        "log", "adl", "replay", str(file), "--anker", both.federation.operator_vkey,
        "--convenant", str(both.federation.covenant_folder), "--json",
    ]  # fmt: skip
    ran = await asyncio.to_thread(CliRunner().invoke, app, again)
    assert ran.exit_code == 0, ran.output
    assert json.loads(ran.stdout)["counts"] == {"gelijk": len(file.read_text().splitlines())}
    # A record that was altered is a difference, and says which.
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    lines[0]["body"]["adl.core.response"]["decision"] = not lines[0]["body"]["adl.core.response"]["decision"]
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ran = await asyncio.to_thread(CliRunner().invoke, app, again)
    assert ran.exit_code == 3
    assert json.loads(ran.stdout)["differing"][0]["trace_id"] == lines[0]["trace_id"]
    for args in (["ldv", "export", *period], ["lezers", *period]):
        ran = await asyncio.to_thread(CliRunner().invoke, app, ["log", *args])
        assert ran.exit_code == 0, ran.output
        assert USER in ran.output or "bevraagd" in ran.output
    wrong = ["statistiek" if it == AUDIT else it for it in period]
    ran = await asyncio.to_thread(CliRunner().invoke, app, ["log", "ldv", "export", *wrong])
    assert ran.exit_code == 4


def _at_broker(federation: Federation, form: str) -> list[dict[str, Any]]:
    """What the broker's command writes, and that it put this on the record."""
    config = federation.folder / "broker.yaml"
    settings = federation.config()
    lines = [
        f'oin: "{settings.oin}"',
        f"anchor: {settings.anchor}",
        "listen: 127.0.0.1:1",
        f"covenant: {settings.covenant}",
        f"data: {settings.data}",
        f"keys: {settings.keys}",
        f"manifest: {settings.manifest}",
        "tls:",
        f"  certificate: {settings.tls.certificate}",
        f"  key: {settings.tls.key}",
        f"  authorities: {settings.tls.authorities}",
    ]
    config.write_text("\n".join(lines) + "\n")
    today = federation.clock.now().date().isoformat()
    args = ["broker", "log", form, "--from", today, "--to", today, "--for", AUDIT, "--config", str(config), "--jsonl"]
    ran = CliRunner().invoke(app, args)
    assert ran.exit_code == 0, ran.output
    store = BrokerStore.open(settings.data)
    try:
        reads = store.database.read(lambda c: c.execute("SELECT user, log FROM log_read").fetchall())
    finally:
        store.close()
    assert (USER, form) in reads
    return [json.loads(line) for line in ran.stdout.splitlines()]


def test_fg_30_the_closed_list_is_that_of_the_law() -> None:

    assert uses(load_covenant(CATALOGUE)) == LAWFUL
