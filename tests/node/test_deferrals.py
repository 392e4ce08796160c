"""Deferrals at the node (FG-34): append-only and in the log, by two persons over the control socket, seen when due."""

import asyncio
import json
import os
import pwd
import sqlite3
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node import store_deferrals
from bekend_node.ask.rules import OfficerRef
from bekend_node.config import Officer
from bekend_node.control import ControlServer
from bekend_node.metrics import NodeMetrics
from bekend_node.records.desk import RecordsDesk
from bekend_node.records.relay import Relay
from bekend_node.store_deferrals import Deferrals
from bekend_policy.deferring import Deferral, State
from bekend_policy.load import load_covenant
from bekend_policy.sign import verify_covenant
from bekend_proto.clock import day_of
from bekend_proto.errors import RefusedError
from prometheus_client import CollectorRegistry, generate_latest

from tests.support.asking import Stage
from tests.support.covenants import OM, ZSM, example, key_of, sign_all

USER = pwd.getpwuid(os.geteuid()).pw_name
AUTHOR = OfficerRef(USER, "J. Jansen", "officier")
SECOND = OfficerRef("devries", "A. de Vries", "officier")
FACTS: dict[str, Any] = {"about": "zaak", "reference": "15/234567-26", "purpose": ZSM, "ground": "onderzoek loopt nog"}


class Desk:
    """The OM's node with two officers, its deferrals and its control socket."""

    def __init__(self, folder: Path) -> None:
        self.stage = Stage(folder)
        made = example(folder / "uitstel")
        covenant = verify_covenant(load_covenant(sign_all(made)), key_of(OM).vkey, self.stage.clock.now())
        self.stage.covenant = covenant
        self.deferrals = Deferrals(self.stage.store.database)
        relay = Relay(self.stage.own.manifest, (), self.stage.store, self.stage.clock)
        self.records = RecordsDesk(OM, relay, self.deferrals, lambda: covenant, self.stage.clock)
        self.path = folder / "control" / "node.sock"
        officers = (Officer(user=AUTHOR.user, name=AUTHOR.name, role=AUTHOR.role),)
        self.server = ControlServer(self.stage.asker, officers, lambda: covenant, OM, dict, records=self.records)
        self.database = folder / "data" / "node.db"

    @property
    def review(self) -> str:
        return (day_of(self.stage.clock.now()) + timedelta(days=30)).isoformat()

    async def call(self, **request: Any) -> dict[str, Any]:
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 20)
        writer.write(json.dumps(request).encode() + b"\n")
        reply: dict[str, Any] = json.loads(await reader.readline())
        writer.close()
        return reply

    async def as_second(self, **request: Any) -> dict[str, Any]:
        """As another person: the operating system says who that is, so past the socket."""
        from bekend_node.control_messages import parse_request  # noqa: PLC0415

        return await self.records.handle(parse_request(json.dumps(request).encode()), [SECOND])  # type: ignore[arg-type]

    async def command(self, *words: str) -> tuple[int, str]:
        config = self.path.parent / "node.yaml"
        config.write_text(
            "oin: '00000099000000001000'\ncovenant: c\nanchor: a\nmanifest: m\ncanary: bsn:999990019\n"
            "brokers: [{address: 'localhost:1'}]\ntls: {certificate: c, key: k, authorities: a}\nsocket: node.sock\n"
        )
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bekend_deploy.cli", "inzage", "uitstel", *words, "--config", str(config),
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        output, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, output.decode()


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(tmp_path)
    await made.server.start(made.path)
    yield made
    await made.server.stop()
    await made.stage.close()


async def test_fg_34_two_persons_a_ground_and_a_date(desk: Desk) -> None:
    reply = await desk.call(op="defer", review_on=desk.review, **FACTS)
    assert reply["type"] == "result"
    assert reply["deferral"]["author"] == USER
    assert reply["deferral"]["state"] == "pending"
    assert (await desk.call(op="defer-approve", number=1))["rule"] == "uitstel"
    approved = await desk.as_second(op="defer-approve", number=1)
    assert approved["deferral"]["state"] == "in_force"
    assert approved["deferral"]["approved_by"] == SECOND.user
    ended = await desk.call(op="defer-end", number=1, reason="onderzoek is klaar")
    assert ended["deferral"]["state"] == "ended"


async def test_how_many_stand_how_is_told_without_reading_one(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    assert desk.deferrals.tally(day_of(desk.stage.clock.now())) == {"pending": 0, "in_force": 0, "due": 0}
    for number in range(1, 8):
        await desk.call(op="defer", review_on=desk.review, **FACTS)
        if number > 2:
            await desk.as_second(op="defer-approve", number=number)
        if number in {2, 3, 4, 5}:
            await desk.call(op="defer-end", number=number, reason="onderzoek is klaar")
    states = (State.PENDING, State.IN_FORCE, State.DUE)
    read: list[int] = []
    real = store_deferrals._deferral

    def counted(row: Any) -> Deferral:
        read.append(row[0])
        return real(row)

    monkeypatch.setattr(store_deferrals, "_deferral", counted)
    for days in (0, 29, 30, 31):
        today = day_of(desk.stage.clock.now() + timedelta(days=days))
        found = [one.state(today) for one in desk.deferrals.all()]
        read.clear()
        assert desk.deferrals.tally(today) == {one.name.lower(): found.count(one) for one in states}
        assert read == []
    # Whoever looks for one reads that one.
    assert desk.deferrals.get(3).number == 3
    assert read == [3]


async def test_fg_34_on_the_review_date_it_raises_a_task(desk: Desk) -> None:
    await desk.call(op="defer", review_on=desk.review, **FACTS)
    code, said = await desk.command("list")
    assert code == 3
    assert "wacht op een tweede persoon" in said
    await desk.as_second(op="defer-approve", number=1)
    assert (await desk.command("list"))[0] == 0
    desk.stage.clock.advance(timedelta(days=30))
    today = day_of(desk.stage.clock.now())
    assert desk.deferrals.tally(today) == {"pending": 0, "in_force": 0, "due": 1}
    code, said = await desk.command("list")
    assert code == 3
    assert "moet opnieuw worden bekeken" in said
    code, _ = await desk.command("end", "1", "--reden", "herbeoordeeld")
    assert code == 0
    assert (await desk.command("list"))[0] == 0


def test_fg_34_the_metric_counts_and_names_nothing() -> None:
    registry = CollectorRegistry()
    NodeMetrics(registry).deferrals({"pending": 1, "in_force": 2, "due": 3})
    text = generate_latest(registry).decode()
    assert 'bekend_node_deferrals{state="due"} 3.0' in text
    lines = [line for line in text.splitlines() if line.startswith("bekend_node_deferrals{")]
    assert len(lines) == len([State.PENDING, State.IN_FORCE, State.DUE])


@pytest.mark.parametrize(
    "change",
    [
        {"purpose": "kennemerland/onbekend"},
        {"ground": "kort"},
        {"reference": "999990019"},
        {"review_on": "morgen"},
        {"review_on": "2020-01-01"},
        {"about": "vraag", "reference": "00" * 31},
    ],
)
async def test_what_breaks_a_rule_is_not_recorded(desk: Desk, change: dict[str, Any]) -> None:
    reply = await desk.call(op="defer", **({"review_on": desk.review} | FACTS | change))
    assert reply["type"] == "refused"
    assert desk.deferrals.all() == []


@pytest.mark.parametrize("change", [{"about": "persoon"}, {"extra": 1}, {"number": 0}])
async def test_a_request_of_another_form_is_no_request(desk: Desk, change: dict[str, Any]) -> None:
    reply = await desk.call(op="defer", **({"review_on": desk.review} | FACTS | change))
    assert reply["type"] == "error"


async def test_who_is_no_officer_records_nothing(desk: Desk) -> None:
    from bekend_node.control_messages import parse_request  # noqa: PLC0415

    request = parse_request(json.dumps({"op": "defer", "review_on": desk.review, **FACTS}).encode())
    with pytest.raises(RefusedError):
        await desk.records.handle(request, [])  # type: ignore[arg-type]


async def test_rows_are_added_and_never_changed_and_the_log_has_their_hash(desk: Desk) -> None:
    await desk.call(op="defer", review_on=desk.review, **FACTS)
    await desk.as_second(op="defer-approve", number=1)
    with sqlite3.connect(desk.database) as connection:
        kinds = [row[0] for row in connection.execute("SELECT kind FROM log WHERE kind = 'deferral'")]
        assert len(kinds) == 2
        for statement in (
            "UPDATE deferral SET review_on = '2099-01-01'",
            "DELETE FROM deferral",
            "INSERT OR REPLACE INTO deferral SELECT 1, at, about, 'x', purpose, ground, author, author_name, review_on"
            " FROM deferral",
            "UPDATE deferral_step SET by = 'x'",
            "DELETE FROM deferral_step",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="append-only"):
                connection.execute(statement)
    with pytest.raises(RefusedError):
        await desk.deferrals.step(1, "approved", "x", "", desk.stage.clock.now())
