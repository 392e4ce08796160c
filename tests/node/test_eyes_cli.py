"""`bekend vierogen`, `bekend lookup` under four eyes and `bekend node colleagues`, as people type them."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from bekend_node.ask.four_eyes import AtScreen, Prepared
from bekend_node.keys import COLLEAGUES
from bekend_node.store import Store
from bekend_node.store_colleagues import Colleagues
from typer.testing import CliRunner

from tests.node.test_lookup_cli import WEIGHING, Desk, Ended
from tests.support.asking import OTHER, PERSON
from tests.support.covenants import HAARLEM
from tests.support.eyes import FIRST, NOT, ROLE, SECOND, WHY, EyesStage, question, staged

LOOKUP = (*WEIGHING[:6], "--partner", HAARLEM, *WEIGHING[10:])


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    stage = staged(tmp_path)
    stage.sources[HAARLEM].known = (PERSON,)
    made = Desk(stage, tmp_path)
    await made.server.start(made.socket)
    yield made
    await made.server.stop()
    await stage.close()


async def eyes(desk: Desk, verb: str, *words: str) -> Ended:
    """A command of `bekend vierogen`."""
    return await desk.run(*words, app="eyes_cli", verb=verb)


def by_a_colleague(desk: Desk) -> Prepared:
    """A question that somebody else prepared: this user is the second."""
    found = desk.stage.asker.submit(question(), FIRST)
    assert isinstance(found, Prepared)
    return found


def agree(desk: Desk, id_: str) -> None:
    desk.stage.asker.four_eyes.look(id_, SECOND)
    desk.stage.asker.four_eyes.agree(id_, SECOND)


async def test_fg_37_a_lookup_says_that_it_waits_and_is_asked_after_an_agreement(desk: Desk) -> None:
    ended = await desk.run(*LOOKUP)
    assert ended.code == 7, ended.err
    (waiting,) = desk.stage.asker.four_eyes.others(SECOND)
    assert f"bekend vierogen vraag {waiting.id}" in ended.out
    assert "Er is nog niets gevraagd" in ended.out
    assert "Alleen bij acuut gevaar" in ended.out
    assert desk.stage.line.begins == []
    early = await eyes(desk, "vraag", waiting.id)
    assert (early.code, desk.stage.line.begins) == (4, [])
    agree(desk, waiting.id)
    assert f"{waiting.id}  akkoord (B. Smit)" in (await eyes(desk, "lijst")).out
    asked = await eyes(desk, "vraag", waiting.id)
    assert asked.code == 0, asked.err
    assert "● bekend" in asked.out
    assert "1 van 1 gevraagde partners hebben geantwoord." in asked.out
    assert len(desk.stage.line.begins) == 1
    again = await eyes(desk, "vraag", waiting.id)
    assert (again.code, len(desk.stage.line.begins)) == (4, 1)
    for one in (ended, early, asked, again):
        assert PERSON.value not in one.out + one.err


async def test_as_json_the_id_is_a_field(desk: Desk) -> None:
    ended = await desk.run(*LOOKUP, "--json")
    waits = json.loads(ended.out)["waits"]
    assert (ended.code, waits["state"], waits["persons"]) == (7, "wacht", 1)
    agree(desk, waits["id"])
    bon = desk.config.with_name("bon.json")
    asked = await eyes(desk, "vraag", waits["id"], "--json", "--bon", str(bon))
    answer = json.loads(asked.out)
    assert {one["outcome"] for one in answer["outcomes"]} == {"bekend", "niet_bevraagd"}
    assert bon.exists()


async def test_fg_37_the_second_officer_looks_and_agrees(desk: Desk) -> None:
    found = by_a_colleague(desk)
    listed = await eyes(desk, "lijst")
    assert f"{found.id}  tot " in listed.out
    early = await eyes(desk, "akkoord", found.id)
    assert early.code == 4
    assert "Bekijk de vraag eerst" in early.err
    shown = await eyes(desk, "toon", found.id)
    assert "aangehouden, afdoening nog open" in shown.out
    assert "(alleen te zien op een scherm)" in shown.out
    assert PERSON.value not in listed.out + shown.out + shown.err
    assert (await eyes(desk, "akkoord", found.id)).code == 0
    assert desk.stage.line.begins == []
    asked = await eyes(desk, "vraag", found.id)
    assert asked.code == 4


async def test_fg_37_the_second_officer_refuses_with_a_reason(desk: Desk) -> None:
    found = by_a_colleague(desk)
    await eyes(desk, "toon", found.id)
    short = await eyes(desk, "weiger", found.id, "--reden", "nee")
    assert (short.code, "Schrijf waarom" in short.err) == (4, True)
    assert (await eyes(desk, "weiger", found.id, "--reden", NOT)).code == 0
    (own,) = desk.stage.asker.four_eyes.own(FIRST)
    assert (own.reason, own.inquiry.persons) == (NOT, ())


async def test_fg_37_an_emergency_and_its_review(desk: Desk) -> None:
    waits = json.loads((await desk.run(*LOOKUP, "--json")).out)["waits"]
    asked = await eyes(desk, "noodgreep", waits["id"], "--reden", WHY)
    assert asked.code == 0, asked.err
    assert "● bekend" in asked.out
    assert "wacht op een oordeel" in (await eyes(desk, "lijst")).out
    own = await eyes(desk, "beoordeel", "1", "akkoord")
    assert own.code == 4
    found = by_a_colleague(desk)
    outcomes = await desk.stage.asker.ask_in_emergency(found.id, FIRST, WHY)
    async for _ in outcomes:
        pass
    assert "noodgreep 2  vóór " in (await eyes(desk, "lijst")).out
    assert (await eyes(desk, "beoordeel", "2", "niet")).code == 4
    assert (await eyes(desk, "beoordeel", "2", "niet", "--reden", NOT)).code == 0
    third = AtScreen("bakker", ("C. Bakker",), (ROLE,), "third")
    assert [one.number for one in desk.stage.asker.emergencies.waiting(third)] == [1]


async def test_what_was_prepared_is_taken_back(desk: Desk) -> None:
    waits = json.loads((await desk.run(*LOOKUP, "--json")).out)["waits"]
    assert (await eyes(desk, "intrekken", waits["id"])).code == 0
    assert desk.stage.asker.four_eyes.others(SECOND) == []
    assert (await eyes(desk, "intrekken", waits["id"])).code == 4


async def test_a_node_that_is_gone_is_said_so(desk: Desk) -> None:
    await desk.server.stop()
    assert (await eyes(desk, "lijst")).code == 5
    assert (await eyes(desk, "vraag", "0" * 16)).code == 5


# --- bekend node colleagues ----------------------------------------------------------------------------------------


def colleagues(config: Path, *words: str, stdin: str = "") -> tuple[int, str]:
    from bekend_node.colleagues_cli import app  # noqa: PLC0415 - typer's runner wants the app itself

    done = CliRunner().invoke(app, [words[0], "--config", str(config), *words[1:]], input=stdin)
    return done.exit_code, done.output


async def test_fg_37_the_list_is_kept_beside_a_running_node(desk: Desk, tmp_path: Path) -> None:
    stage = desk.stage
    assert isinstance(stage, EyesStage)
    code, text = colleagues(desk.config, "add", stdin=f"{PERSON.value}\n\n{OTHER.value}\n")
    assert (code, text) == (0, "2 added; 2 persons on the list.\n")
    assert ((tmp_path / "keys" / COLLEAGUES).stat().st_mode & 0o777) == 0o600
    file = tmp_path / "list.txt"
    file.write_text(f"{OTHER.value}\n")
    code, text = colleagues(desk.config, "remove", "--file", str(file), "--json")
    assert (code, json.loads(text)) == (0, {"removed": 1, "count": 1})
    code, text = colleagues(desk.config, "count")
    assert (code, text) == (0, "1 person on the list.\n")
    code, text = colleagues(desk.config, "add", stdin="999990019\n12345\n")
    assert (code, "line 2" in text, "12345" in text) == (1, True, False)
    stage.key = bytes.fromhex((tmp_path / "keys" / COLLEAGUES).read_text())
    assert stage.colleagues.include([PERSON])
    assert not stage.colleagues.include([OTHER])
    (tmp_path / "keys" / COLLEAGUES).unlink()
    code, text = colleagues(desk.config, "remove", stdin=f"{PERSON.value}\n")
    assert (code, "colleagues.key" in text) == (1, True)
    assert colleagues(desk.config, "clear")[0] == 0
    assert stage.colleagues.count() == 0


async def test_a_list_that_lost_its_key_is_not_filled_under_another(desk: Desk, tmp_path: Path) -> None:
    assert colleagues(desk.config, "add", stdin=PERSON.value)[0] == 0
    (tmp_path / "keys" / COLLEAGUES).unlink()
    code, text = colleagues(desk.config, "add", stdin=OTHER.value)
    assert (code, "made under another" in text) == (1, True)
    store = Store.open(tmp_path / "data")
    assert Colleagues(store.database, lambda: None).count() == 1
    store.close()
