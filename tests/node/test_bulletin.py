"""Counting a quarter at a node, and telling once what became of a case (FG-44, FG-50)."""

import asyncio
import os
import pwd
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bekend_node import bulletin_cli, zaak_cli
from bekend_node.config import LogReader, Officer
from bekend_node.control import ControlServer
from bekend_node.log_reading import BULLETIN, LogReading
from bekend_node.store_decisions import Decisions
from bekend_node.store_registers import Registers
from bekend_node.store_retention import RetentionStore
from bekend_policy.bulletin import Quarter, read_bulletin
from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError
from typer.testing import CliRunner

from tests.support.asking import OTHER, PERSON, ZSM_CASE, Stage, zsm
from tests.support.covenants import OM, POLITIE, RECLASSERING

K4 = Quarter(2026, 4)
READER = LogReader(user="devries", name="A. de Vries")
APPS = {"zaak": zaak_cli.app, "bulletin": bulletin_cli.app}
ZSM, ZVH = "kennemerland/zsm-context", "kennemerland/zvh-weging"


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    yield made
    await made.close()


def reading(stage: Stage, *readers: LogReader) -> LogReading:
    return LogReading(
        Decisions(stage.store.database),
        Registers.open(stage.folder / "registers"),
        lambda: stage.covenant,
        OM,
        readers=readers or (READER,),
        clock=stage.clock,
    )


def quarter_over(stage: Stage) -> None:
    stage.clock.advance(datetime(2027, 1, 2, 12, tzinfo=UTC) - stage.clock.now())


async def test_fg_44_a_quarter_is_counted_at_the_node_and_only_protected_counts_come_out(stage: Stage) -> None:
    del stage.manifests[RECLASSERING]
    stage.hang_up = True
    for number in range(13):
        if number == 1:
            stage.changes.replies = lambda _: []
        await stage.ask(zsm((POLITIE, RECLASSERING), (PERSON if number % 2 else OTHER,)))
    quarter_over(stage)
    found = await reading(stage).bulletin("devries", K4)
    assert found.tables["bevragingen"][ZSM] == 15
    assert {count for one, count in found.tables["bevragingen"].items() if one != ZSM} == {None}
    # One in thirteen was answered.
    assert found.tables["zonder_antwoord"][POLITIE] == 10
    assert found.tables["niet_te_bevragen"][RECLASSERING] == 15
    assert found.tables["niet_te_bevragen"][POLITIE] is None
    assert OM not in found.tables["zonder_antwoord"]
    # Whom it was about, by whom and in which case stands nowhere.
    assert not [word for word in (PERSON.value, OTHER.value, ZSM_CASE, "jansen") if word in found.to_text()]


async def test_fg_44_a_rule_that_refused_often_is_named_and_one_that_did_not_is_absent(stage: Stage) -> None:
    for _ in range(11):
        with pytest.raises(RefusedError):
            await stage.ask(zsm((POLITIE,), (PERSON,), case_reference="fout"))
    with pytest.raises(RefusedError):
        await stage.ask(zsm((POLITIE,), (PERSON,), attested=frozenset()))
    quarter_over(stage)
    await stage.asker.close()
    found = await reading(stage).bulletin("devries", K4)
    assert found.tables["weigeringen"] == {"zaaknummer": 10}


async def test_fg_44_a_bulletin_made_again_is_the_same_whatever_came_since(stage: Stage) -> None:
    for _ in range(12):
        await stage.ask(zsm((POLITIE,), (PERSON,)))
    quarter_over(stage)
    first = await reading(stage).bulletin("devries", K4)
    await stage.asker.cases.consequence(ZSM_CASE, {ZSM}, changed=True)
    assert await reading(stage).bulletin("devries", K4) == first


async def test_fg_44_and_fg_30_a_count_is_on_the_record_and_only_who_reads_the_log_makes_it(stage: Stage) -> None:
    with pytest.raises(RefusedError, match="kwartaal"):
        await reading(stage).bulletin("devries", K4)
    quarter_over(stage)
    with pytest.raises(RefusedError, match="FG-30"):
        await reading(stage).bulletin("jansen", K4)
    assert Decisions(stage.store.database).reads(0, 1 << 62) == []
    await reading(stage).bulletin("devries", K4)
    (read,) = Decisions(stage.store.database).reads(0, 1 << 62)
    assert (read.user, read.log, read.used_for) == ("devries", "bulletin", BULLETIN)


async def test_fg_50_a_consequence_is_told_once_per_case_and_without_a_person(stage: Stage) -> None:
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    with pytest.raises(RefusedError) as unknown:
        await stage.asker.cases.consequence("99/999999-99", {ZSM}, changed=True)
    assert unknown.value.rule == "zaak-onbekend"
    assert await stage.asker.cases.consequence(f" {ZSM_CASE} ", {ZSM, ZVH}, changed=False) == (ZSM,)
    for again in (True, False):
        with pytest.raises(RefusedError) as twice:
            await stage.asker.cases.consequence(ZSM_CASE, {ZSM}, changed=again)
        assert twice.value.rule == "gevolg-bekend"
    now = milliseconds(stage.clock.now())
    assert Decisions(stage.store.database).consequences(now, now + 1) == [(ZSM, False)]
    columns = stage.store.database.read(lambda c: [row[1] for row in c.execute("PRAGMA table_info(consequence)")])
    assert columns == ["case_tag", "purpose", "at", "changed"]
    assert await RetentionStore(stage.store.database).forget_acts(now + 1) == 1


async def test_fg_50_the_share_that_changed_a_decision_is_in_the_bulletin(stage: Stage) -> None:
    decisions = Decisions(stage.store.database)
    now = milliseconds(stage.clock.now())
    for number in range(31):
        await decisions.keep_consequence(f"{number:032x}", [ZSM], now, changed=number % 3 == 0)
    quarter_over(stage)
    found = await reading(stage).bulletin("devries", K4)
    assert (found.tables["gevolg_ja"][ZSM], found.tables["gevolg_nee"][ZSM]) == (10, 20)


@pytest.mark.parametrize("case", [ZSM_CASE, "99/999999-99"])
async def test_fg_50_who_may_use_no_purpose_of_a_case_tells_nothing_of_it_and_does_not_hear_that_it_is_one(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    officer = Officer(user=user, name="A. de Vries", role="procesregisseur")
    server = ControlServer(stage.asker, (officer,), lambda: stage.covenant, OM, lambda: {"oin": OM})
    socket = tmp_path / "control" / "node.sock"
    await server.start(socket)
    monkeypatch.setattr("bekend_node.calling.load_config", lambda _: type("Config", (), {"socket": socket}))
    words = ["gevolg", "--zaak", case, "ja"]
    try:
        told = await asyncio.to_thread(CliRunner().invoke, zaak_cli.app, words)
    finally:
        await server.stop()
    assert (told.exit_code, "een doel dat u niet mag gebruiken" in told.output) == (4, True)
    assert Decisions(stage.store.database).consequences(0, 1 << 62) == []


async def test_the_commands_at_a_running_node(stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    user = pwd.getpwuid(os.geteuid()).pw_name
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    server = ControlServer(
        stage.asker,
        (Officer(user=user, name="J. Jansen", role="officier"),),
        lambda: stage.covenant,
        OM,
        lambda: {"oin": OM},
        log_reading=reading(stage, LogReader(user=user, name="A. de Vries")),
    )
    socket = tmp_path / "control" / "node.sock"
    await server.start(socket)
    monkeypatch.setattr("bekend_node.calling.load_config", lambda _: type("Config", (), {"socket": socket}))

    async def bekend(*words: str) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, APPS[words[0]], [*words[1:]])

    try:
        told = await bekend("zaak", "gevolg", "--zaak", ZSM_CASE, "ja")
        assert told.exit_code == 0, told.output
        assert "Dank u" in told.output
        assert (await bekend("zaak", "gevolg", "--zaak", ZSM_CASE, "nee")).exit_code == 4
        assert (await bekend("zaak", "gevolg", "--zaak", ZSM_CASE, "misschien")).exit_code == 2
        out = tmp_path / "om.json"
        early = await bekend("bulletin", "maken", str(out), "--kwartaal", "2026-K4")
        assert (early.exit_code, out.exists()) == (4, False)
        quarter_over(stage)
        made = await bekend("bulletin", "maken", str(out), "--kwartaal", "2026-K4")
        assert made.exit_code == 0, made.output
        assert f"Geschreven: {out}" in made.output
        assert read_bulletin(out.read_bytes(), "om.json").oin == OM
    finally:
        await server.stop()
