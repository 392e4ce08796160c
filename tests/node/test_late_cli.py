"""`bekend antwoorden` and `bekend toestemming` as processes against a running control socket."""

import json
import stat
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node import receipt
from bekend_node.ask.team import Team
from bekend_node.config import Officer
from bekend_node.control import ControlServer

from tests.node.test_lookup_cli import USER, Desk, Ended
from tests.support.asking import PERSON, ZSM_CASE, ZVH_CASE, Stage, zsm
from tests.support.covenants import OM, POLITIE, VEILIG_THUIS, ZSM, ZVH_WEIGHING, key_of, with_consent

ZSM_OPTIONS = ("--doel", ZSM, "--zaak", ZSM_CASE, "--bevestig", "verdachte", "--motivering", "aangehouden")
WEIGHING = (
    *("--doel", ZVH_WEIGHING, "--zaak", ZVH_CASE, "--motivering", "x"),
    *("--bevestig", "positieve-toets", "--bevestig", "bgs-2-20"),
)
CONSENT = (
    *("--doel", ZVH_WEIGHING, "--zaak", ZVH_CASE, "--partner", VEILIG_THUIS, "--door", "zelf"),
    *("--datum", "2026-11-20", "--reikwijdte", "vragen of zij mij kennen"),
)
BORN = "1990-05-17"


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    stage = Stage(tmp_path, with_consent)
    for oin in (VEILIG_THUIS,):
        stage.sources[oin].by_hand = True
        stage.sources[oin].known = (PERSON,)
    made = Desk(stage, tmp_path)
    await made.server.start(made.socket)
    yield made
    await made.server.stop()
    await stage.close()


async def lookup(desk: Desk, *options: str) -> Ended:
    return await desk.run(*options)


async def answers(desk: Desk, *options: str) -> Ended:
    return await desk.run(*options, app="late_cli")


async def consent(desk: Desk, verb: str, *options: str, born: str = BORN) -> Ended:
    return await desk.run(*options, app="consent_cli", verb=verb, stdin=f"{born}\n")


async def quarters(desk: Desk, count: int) -> None:
    for _ in range(count):
        desk.stage.clock.advance(timedelta(minutes=15))
        await desk.stage.asker.collector.tick()
        await desk.stage.asker.collector.settle()


async def found(desk: Desk, *options: str) -> list[dict[str, Any]]:
    ended = await answers(desk, "--json", *options)
    assert ended.code == 0, ended.err
    return list(json.loads(ended.out)["answers"])


async def test_before_a_person_is_named_the_officer_knows_when_each_partner_answers(desk: Desk) -> None:
    ended = await lookup(desk, *ZSM_OPTIONS, "--partner", POLITIE, "--partner", VEILIG_THUIS)
    assert ended.code == 0, ended.err
    when, _, left = ended.err.partition("U kunt vandaag nog")
    assert "Politie, basisteam Kennemerland: antwoordt direct." in when
    assert "een collega beslist, uiterlijk 02-12-2026 13:00." in when
    assert f"Bereikbaar: {desk.stage.manifests[VEILIG_THUIS].opening_hours}." in when
    assert "Nummer van persoon" not in when + left
    assert "… in behandeling" in ended.out
    assert "1 van 2 gevraagde partners hebben geantwoord." in ended.out
    assert "Kijk met: bekend antwoorden." in ended.out


async def test_a_partner_in_behandeling_gives_no_hint_and_a_receipt(desk: Desk, tmp_path: Path) -> None:
    bon = tmp_path / "bon.json"
    ended = await lookup(desk, *ZSM_OPTIONS, "--partner", VEILIG_THUIS, "--bon", str(bon))
    assert ended.code == 0, ended.err
    assert "Volgende stap" not in ended.out
    held = receipt.verify(receipt.parse(bon.read_bytes()), {OM: key_of(OM).vkey})
    assert {one.outcome for one in held.openings if one.oin == VEILIG_THUIS} == {"in_behandeling"}


async def test_later_answers_are_shown_by_case_until_their_lifetime_is_over(desk: Desk) -> None:
    assert "geen antwoorden" in (await answers(desk)).out
    await lookup(desk, *ZSM_OPTIONS, "--partner", VEILIG_THUIS)
    assert "… in behandeling" in (await answers(desk)).out
    desk.stage.exchange.release()
    await quarters(desk, 2)
    ended = await answers(desk, "--zaak", ZSM_CASE)
    assert "● bekend" in ended.out
    assert f"Zaak {ZSM_CASE}, {ZSM}: 01-12-2026 13:00, door {USER}" in ended.out
    assert str(desk.stage.manifests[VEILIG_THUIS].contact) in ended.out.replace("\n", "")
    assert "Te zien tot 04-12-2026" in ended.out
    assert PERSON.value not in ended.out + ended.err
    assert await found(desk, "--zaak", "15/999999-26") == []
    await quarters(desk, 4 * 24 * 4 + 8)
    assert await found(desk) == []


async def test_what_an_answer_says_and_proves(desk: Desk) -> None:
    await lookup(desk, *ZSM_OPTIONS, "--partner", VEILIG_THUIS)
    await quarters(desk, 24 * 4 + 1)
    ended = await answers(desk)
    assert "○ geen uitsluitsel" in ended.out
    assert "bewijst niets" in ended.out
    (one,) = await found(desk)
    assert (one["case"], one["purpose"], one["persons"]) == (ZSM_CASE, ZSM, 1)
    assert [it["outcome"] for it in one["outcomes"]] == ["geen_uitsluitsel"]


async def test_a_receipt_of_the_later_answers_verifies(desk: Desk, tmp_path: Path) -> None:
    await lookup(desk, *ZSM_OPTIONS, "--partner", VEILIG_THUIS)
    desk.stage.exchange.release()
    await quarters(desk, 1)
    source = desk.stage.sources[VEILIG_THUIS]
    source.version, source.end = source.version + 900, source.end + 900
    await lookup(desk, *ZSM_OPTIONS, "--partner", VEILIG_THUIS)
    bon = tmp_path / "bon.json"
    ended = await answers(desk, "--zaak", ZSM_CASE, "--bon", str(bon))
    assert ended.code == 0, ended.err
    outcomes = []
    for path in (bon, tmp_path / "bon-2.json"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        held = receipt.verify(receipt.parse(path.read_bytes()), {OM: key_of(OM).vkey})
        assert (held.purpose, held.persons, held.asked) == (ZSM, 1, (VEILIG_THUIS,))
        outcomes += [one.outcome for one in held.openings]
    assert outcomes == ["bekend", "in_behandeling"]
    assert (await answers(desk, "--bon", str(bon))).code == 2


async def test_fg_45_a_colleague_sees_a_case_only_in_a_role_for_its_purpose(desk: Desk) -> None:
    # Asked by another officer than the user of the commands.
    await desk.stage.ask(zsm((VEILIG_THUIS,)))
    assert await found(desk) == []
    assert len(await found(desk, "--zaak", ZSM_CASE)) == 1
    await desk.server.stop()
    elsewhere = Officer(user=USER, name="C. Collega", role="procesregisseur")
    desk.server = ControlServer(desk.stage.asker, (elsewhere,), lambda: desk.stage.covenant, OM, dict)
    await desk.server.start(desk.socket)
    assert await found(desk, "--zaak", ZSM_CASE) == []


async def test_fg_45_a_colleague_is_added_to_a_case_and_taken_off_it(desk: Desk) -> None:
    smit = Officer(user="smit", name="B. Smit", role="officier")
    other_role = Officer(user="bakker", name="S. Bakker", role="procesregisseur")
    own = Officer(user=USER, name="J. Jansen", role="officier")
    team = Team(desk.stage.asking, (own, smit, other_role))
    told: list[None] = []
    await desk.server.stop()
    desk.server = ControlServer(
        desk.stage.asker, (own,), lambda: desk.stage.covenant, OM, dict, team=team, waiting=lambda: told.append(None)
    )
    await desk.server.start(desk.socket)

    async def colleague(*options: str, case: str = ZSM_CASE) -> Ended:
        return await desk.run("--zaak", case, *options, app="zaak_cli", verb="collega")

    assert (await colleague("--erbij", "smit")).code == 4
    await lookup(desk, *ZSM_OPTIONS, "--partner", VEILIG_THUIS)
    shown = await colleague()
    assert shown.code == 0, shown.err
    assert "Aan deze zaak werken ook: niemand." in shown.out
    assert "U kunt toevoegen: B. Smit (smit)." in shown.out
    assert told == []
    added = await colleague("--erbij", "smit")
    assert "Aan deze zaak werken ook: B. Smit (smit)." in added.out
    assert set(team.to_be_told()) == {"smit"}
    assert told == [None]
    refused = await colleague("--erbij", "bakker")
    assert refused.code == 4
    assert "mag gebruiken" in refused.err
    assert (await colleague("--weg", "smit", case="99/999999-99")).code == 4
    assert [one.user for one in team.on_case(ZSM_CASE)] == ["smit"]
    assert "werken ook: niemand." in (await colleague("--weg", "smit")).out
    assert team.on_case(ZSM_CASE) == []


async def test_a_consent_is_recorded_shown_and_withdrawn(desk: Desk) -> None:
    refused = await lookup(desk, *WEIGHING, "--partner", VEILIG_THUIS, "--partner", POLITIE)
    assert "bekend toestemming vastleggen" in refused.out.replace("\n", " ")
    ended = await consent(desk, "vastleggen", *CONSENT)
    assert ended.code == 0, ended.err
    assert BORN not in ended.out + ended.err
    assert "gegeven op 2026-11-20 (door: zelf)" in (await consent(desk, "tonen", "--zaak", ZVH_CASE)).out
    asked = await lookup(desk, *WEIGHING, "--partner", VEILIG_THUIS)
    assert "… in behandeling" in asked.out
    ended = await consent(desk, "intrekken", "--zaak", ZVH_CASE)
    assert ended.code == 0, ended.err
    assert "INGETROKKEN" in ended.out
    assert "is vernietigd" in ended.out
    await desk.stage.asker.collector.settle()
    assert desk.stage.exchange.withdrawn
    assert "toestemming is ingetrokken" in (await answers(desk)).out.replace("\n", " ")
    assert (await consent(desk, "intrekken", "--zaak", ZVH_CASE)).code == 4


@pytest.mark.parametrize(
    ("change", "born", "code"),
    [
        ({}, "2014-11-21", 4),
        ({"--door": "beiden"}, BORN, 4),
        ({"--zaak": "fout"}, BORN, 4),
        ({"--partner": POLITIE}, BORN, 4),
        ({"--doel": "kennemerland/onbekend"}, BORN, 4),
        ({"--datum": "2027-01-01"}, BORN, 4),
        ({}, "17-5-1990", 2),
        ({"--door": "buurman"}, BORN, 2),
    ],
)
async def test_a_consent_that_a_rule_refuses(desk: Desk, change: dict[str, str], born: str, code: int) -> None:
    named = {**dict(zip(CONSENT[::2], CONSENT[1::2], strict=True)), **change}
    ended = await consent(desk, "vastleggen", *(part for pair in named.items() for part in pair), born=born)
    assert ended.code == code, ended.err
    assert born not in ended.out + ended.err
    assert "geen toestemming" in (await consent(desk, "tonen", "--zaak", ZVH_CASE)).out


async def test_exit_5_when_no_node_runs(desk: Desk) -> None:
    await desk.server.stop()
    assert (await answers(desk)).code == 5
    assert (await consent(desk, "tonen", "--zaak", ZVH_CASE)).code == 5
