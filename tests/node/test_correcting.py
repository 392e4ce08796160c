"""A partner that was wrongly `bekend`: FG-26, from the report to the letter, and what is left here."""

import asyncio
import json
import os
import pwd
import re
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_node.ask.correcting import Report
from bekend_node.ask.late import late_receipt
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.own_record import KIND_LATE
from bekend_node.ask.pending import Told, open_pending
from bekend_node.config import Officer
from bekend_node.control import ControlServer
from bekend_node.store_corrections import Corrections
from bekend_node.zaak_cli import app
from bekend_proto.errors import RefusedError
from nacl.public import SealedBox
from typer.testing import CliRunner, Result

from tests.support.asking import OFFICER, OTHER, PERSON, ZSM_CASE, ZVH_CASE, Stage, weighing, zsm
from tests.support.covenants import OM, POLITIE, VEILIG_THUIS, ZSM

QUARTER = timedelta(minutes=15)
TERM = 24 * 4
REASON = "De persoon is daar nooit geweest, blijkt uit het gesprek."


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON, OTHER)
    made.sources[POLITIE].known = (PERSON,)
    yield made
    await made.close()


async def quarters(stage: Stage, count: int) -> None:
    for _ in range(count):
        stage.clock.advance(QUARTER)
        await stage.asker.collector.tick()
        await stage.asker.collector.settle()


def told(stage: Stage) -> list[Told]:
    return [one for row in stage.store.pending.all() for one, _ in open_pending(stage.state, row).told]


def report(**changes: object) -> Report:
    facts: dict[str, object] = {"case": ZSM_CASE, "source": VEILIG_THUIS, "reason": REASON, "by": OFFICER.user}
    return Report(**(facts | changes))  # type: ignore[arg-type]


async def shown(stage: Stage) -> list[tuple[OutcomeKind, str]]:
    found = await stage.asker.cases.late_answers(lambda _: True)
    return [(it.outcome, it.reason) for one in found for it in one.outcomes]


async def test_fg_26_what_came_is_taken_back_here_and_stays_sealed_for_the_officer(stage: Stage) -> None:
    await stage.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    stage.exchange.release()
    await quarters(stage, 1)
    assert told(stage) == [Told.KNOWN]
    made = await stage.asker.cases.correct(report(case=f" {ZSM_CASE} "), {ZSM})
    assert (made.number, made.questions, told(stage)) == (1, 1, [Told.CORRECTED])
    ((outcome, reason),) = await shown(stage)
    assert outcome is OutcomeKind.INCONCLUSIVE
    assert "Ingetrokken" in reason
    (late,) = await stage.asker.cases.late_answers(lambda _: True)
    assert b"geen_uitsluitsel" not in json.dumps(late_receipt(stage.asker.asking(), late).to_json()).encode()
    # Collecting goes on as if nothing had happened, and what it brings does not come back.
    before = len(stage.line.collects)
    await quarters(stage, 3)
    assert (len(stage.line.collects) - before, told(stage)) == (3, [Told.CORRECTED])
    await quarters(stage, 2 * TERM)
    stage.clock.advance(stage.covenant.purposes[ZSM].result_lifetime)
    await quarters(stage, 1)
    assert told(stage) == []
    (record,) = stage.store.own_records(KIND_LATE)
    opened = json.loads(SealedBox(stage.own.officer).decrypt(record.sealed))
    assert opened["outcomes"][0]["outcome"].strip() == "onterecht"


async def test_fg_26_of_several_persons_one_is_taken_back(stage: Stage) -> None:
    await stage.ask(weighing((VEILIG_THUIS,), (PERSON, OTHER)))
    stage.exchange.release()
    stage.exchange.release(1)
    await quarters(stage, 1)
    assert told(stage) == [Told.KNOWN, Told.KNOWN]
    await stage.asker.cases.correct(report(case=ZVH_CASE, person=2), None)
    assert told(stage) == [Told.KNOWN, Told.CORRECTED]
    with pytest.raises(RefusedError, match="Zoveel personen"):
        await stage.asker.cases.correct(report(case=ZVH_CASE, person=3), None)


async def test_fg_26_the_letter_names_the_question_and_why_and_never_the_person(stage: Stage) -> None:
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    made = await stage.asker.cases.correct(report(source=POLITIE, reason="<b>Het klopt niet</b>, zegt de vader"), {ZSM})
    letter = made.letter.decode()
    question = stage.sources[POLITIE].asked[-1].question
    parsed = re.findall(r"Trace van de vraag: ([0-9a-f]{32})<", letter)
    assert len(parsed) == 1
    assert bytes.fromhex(parsed[0]) in question.payload
    assert "onterecht-1" in letter
    assert "Loket, loket@" in letter
    assert "&lt;b&gt;Het klopt niet" in letter
    assert PERSON.value not in letter
    assert ZSM_CASE not in letter
    assert "AVG" in letter


async def test_fg_26_it_is_on_the_record_and_no_case_number_is_kept(stage: Stage, tmp_path: Path) -> None:
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    began = stage.clock.now()
    stage.clock.advance(timedelta(minutes=1))
    await stage.asker.cases.correct(report(source=POLITIE), {ZSM})
    (row,) = Corrections(stage.store.database).all()
    assert (row.source, row.by, row.person, row.reason) == (POLITIE, OFFICER.user, None, REASON)
    assert stage.asker.cases.corrections(ZSM_CASE, began) == [row]
    assert stage.asker.cases.corrections("99/999999-99", began) == []
    kinds = stage.store.database.read(lambda c: [kind for (kind,) in c.execute("SELECT kind FROM log ORDER BY seq")])
    assert kinds[-1] == "correction"
    disk = b"".join(path.read_bytes() for path in (tmp_path / "data").glob("node.db*"))
    assert ZSM_CASE.encode() not in disk


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"case": "99/999999-99"}, "niet gevraagd"),
        ({"source": VEILIG_THUIS}, "niet gevraagd"),
        ({"reason": "nee"}, "Schrijf waarom"),
        ({"reason": f"het gaat om {PERSON.value}"}, "BSN"),
    ],
)
async def test_what_cannot_be_reported_is_refused_and_changes_nothing(
    stage: Stage, changes: dict[str, object], words: str
) -> None:
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    with pytest.raises(RefusedError, match=words):
        await stage.asker.cases.correct(report(**({"source": POLITIE} | changes)), {ZSM})
    assert Corrections(stage.store.database).all() == []


async def test_under_another_purpose_than_ones_own_nothing_is_reported(stage: Stage) -> None:
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    with pytest.raises(RefusedError, match="niet gevraagd"):
        await stage.asker.cases.correct(report(source=POLITIE), set())
    assert (await stage.asker.cases.correct(report(source=POLITIE), None)).number == 1


async def test_the_command_asks_the_node_and_writes_the_letter(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await stage.ask(zsm((POLITIE,), (PERSON,)))
    user = pwd.getpwuid(os.geteuid()).pw_name
    officer = Officer(user=user, name="J. Jansen", role="officier")
    server = ControlServer(stage.asker, (officer,), lambda: stage.covenant, OM, dict)
    socket = tmp_path / "control" / "node.sock"
    await server.start(socket)
    monkeypatch.setattr("bekend_node.calling.load_config", lambda _: type("Config", (), {"socket": socket}))
    letter = tmp_path / "brief.html"

    async def onterecht(*words: str) -> Result:
        given = ["onterecht", "--zaak", ZSM_CASE, "--partner", POLITIE, "--brief", str(letter), *words]
        return await asyncio.to_thread(CliRunner().invoke, app, given)

    try:
        refused = await onterecht("--reden", "te kort")
        assert (refused.exit_code, letter.exists()) == (4, False)
        made = await onterecht("--reden", REASON)
        assert made.exit_code == 0, made.output
        assert "onterecht-1" in made.output
        assert REASON in letter.read_text("utf-8")
        # Who answered `bekend`, and in which case: for no other user of the machine.
        assert letter.stat().st_mode & 0o077 == 0
        # A letter that somebody filled in is not overwritten, and nothing is reported twice by it.
        again = await onterecht("--reden", REASON)
        assert (again.exit_code, len(stage.asker.cases.all_corrections())) == (1, 1)
    finally:
        await server.stop()
