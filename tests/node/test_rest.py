"""The facade for case systems: an officer's question from beginning to end, with tokens of a real provider."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.correcting import Report
from bekend_node.ask.four_eyes import WAITS
from bekend_node.rest.app import check_safe
from bekend_node.store_decisions import Decisions
from bekend_policy.suspension import Suspension, What
from bekend_proto.clock import milliseconds
from bekend_proto.errors import KeysError, StorageError
from bekend_proto.v1 import signed_pb2
from joserfc.jwk import RSAKey

from tests.support.asking import DIRECTOR, OFFICER, OTHER, PERSON, ZSM_CASE, ZVH_CASE, Stage
from tests.support.case_system import CaseSystem, token_of
from tests.support.covenants import (
    HAARLEM,
    OM,
    OPERATOR,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    VELSEN,
    ZSM,
    edit,
    with_ages,
    with_ages_everywhere,
)
from tests.support.eyes import FIRST, NOT, SECOND, EyesStage, four_eyes
from tests.support.provider import CLIENT, TestProvider
from tests.support.rest import WEIGHING, Here, config_of, facade, provider_of, refused

Make = Callable[..., Here]


@pytest.fixture(scope="module")
def key() -> RSAKey:
    """Of the case system, at the provider."""
    return RSAKey.generate_key(2048)


@pytest.fixture(scope="module")
def provider(key: RSAKey) -> Iterator[TestProvider]:
    with provider_of(key) as found:
        yield found


@pytest.fixture
async def make(tmp_path: Path, provider: TestProvider) -> AsyncIterator[Make]:
    stages: list[Stage] = []

    def made(kind: type[Stage] = Stage, change: Callable[[Path], object] = lambda _: None, **changes: object) -> Here:
        stages.append(kind(tmp_path, change))
        return facade(stages[-1], provider, **changes)

    yield made
    for stage in stages:
        await stage.close()


@pytest.fixture
def here(make: Make) -> Here:
    return make()


async def test_an_officer_signs_in_at_the_provider_and_asks_from_the_case_system(here: Here, key: RSAKey) -> None:
    system = here.system()
    system.token = await asyncio.to_thread(token_of, here.provider, system, "devries", key)
    here.stage.sources[HAARLEM].known = (PERSON,)
    reply = await here.post(system)
    assert reply.status_code == 201, reply.text
    found = await here.ended(system, reply.headers["location"])
    assert (found["status"], found["zaak"], found["personen"]) == ("klaar", ZVH_CASE, 1)
    by_partner = {one["oin"]: one for one in found["uitkomsten"]}
    assert by_partner[HAARLEM]["uitkomst"] == "bekend"
    assert by_partner[HAARLEM]["persoon"] == 1
    assert by_partner[HAARLEM]["contactpunt"].startswith("Loket")
    assert {one["uitkomst"] for oin, one in by_partner.items() if oin != HAARLEM} == {"niet_bevraagd"}
    receipt = await system.ask("GET", f"{reply.headers['location']}/bewijs")
    assert receipt.json()["kind"].startswith("bekend/1")
    assert PERSON.value not in json.dumps([found, receipt.json()])


async def test_the_purposes_of_the_own_role_say_what_a_question_needs(here: Here) -> None:
    reply = await here.system().ask("GET", "/v1/doelen")
    found = {one["id"]: one for one in reply.json()["doelen"]}
    assert WEIGHING in found
    assert "kennemerland/zsm-context" not in found
    assert HAARLEM in {one["oin"] for one in found[WEIGHING]["partners"]}
    assert found[WEIGHING]["vandaagOver"] > 0


async def test_the_same_key_asks_once(here: Here) -> None:
    system, key = here.system(), str(uuid.uuid4())
    first, again = await asyncio.gather(here.post(system, key=key), here.post(here.system(), key=f'"{key}"'))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["location"] == again.headers["location"]
    await here.ended(system, first.headers["location"])
    assert len(here.stage.line.begins) == 1
    refused(await here.post(system, key=key, zaak="ZVH-2026-0999"), 422, "sleutel-gebruikt")
    other = await here.post(here.system("smit"), key=key)
    assert other.headers["location"] != first.headers["location"]


async def test_a_question_is_its_officers_alone(here: Here) -> None:
    reply = await here.post(here.system())
    for method, path in [("GET", ""), ("DELETE", ""), ("POST", "/verzending"), ("GET", "/bewijs")]:
        refused(await here.system("smit").ask(method, reply.headers["location"] + path), 404, "niet-gevonden")


@pytest.fixture
def minors(make: Make) -> Here:
    """The reclassering is asked about minors alone."""
    made = make(Stage, with_ages)
    made.stage.sources[RECLASSERING].known = (PERSON,)
    return made


async def test_fg_38_the_date_of_birth_is_a_field_of_the_person(minors: Here) -> None:
    system = minors.system()
    (purpose,) = (await system.ask("GET", "/v1/doelen")).json()["doelen"]
    ages = {one["oin"]: one["leeftijden"] for one in purpose["partners"] if one["leeftijden"]}
    assert ages == {RECLASSERING: ["de persoon is 12 tot en met 17 jaar"]}
    assert "jeugd" not in {one["id"] for one in purpose["bevestigen"]}
    told = {}
    for born in ("2010-05-17", "1990-05-17", None):
        person = {"nummer": PERSON.value, **({"geboortedatum": born} if born else {})}
        reply = await minors.post(system, personen=[person], partners=[HAARLEM, RECLASSERING])
        assert reply.status_code == 201, reply.text
        found = await minors.ended(system, reply.headers["location"])
        told[born] = next(one for one in found["uitkomsten"] if one["oin"] == RECLASSERING)
        assert "2010" not in json.dumps(found)
    assert told["2010-05-17"]["uitkomst"] == "bekend"
    assert told["1990-05-17"]["uitkomst"] == "niet_bevraagd"
    assert "niet tussen 12 en 17 jaar" in told["1990-05-17"]["toelichting"]
    assert "er is geen geboortedatum" in told[None]["toelichting"]
    assert len(minors.stage.sources[RECLASSERING].asked) == 1


@pytest.mark.parametrize("born", ["2010-02-30", "2026-12-02", "onzin"])
async def test_fg_38_what_is_no_day_of_birth_stands_at_its_field(minors: Here, born: str) -> None:
    reply = await minors.post(minors.system(), personen=[{"nummer": PERSON.value, "geboortedatum": born}])
    problem = refused(reply, 422, "inhoud")
    assert [one["plaats"] for one in problem["fouten"]] == ["/personen/0/geboortedatum"]
    assert born not in reply.text
    assert minors.stage.line.begins == []


async def test_fg_38_an_age_that_refuses_the_whole_question_stands_at_the_date_of_birth(make: Make) -> None:
    minors = make(Stage, with_ages_everywhere)
    person = {"nummer": PERSON.value, "geboortedatum": "1990-05-17"}
    problem = refused(await minors.post(minors.system(), personen=[person]), 422, "regel")
    assert (problem["regel"], problem["fouten"][0]["plaats"]) == ("voorwaarde", "/personen/0/geboortedatum")
    assert minors.stage.line.begins == []


async def test_fg_38_an_age_is_not_confirmed(minors: Here) -> None:
    typed = await minors.post(minors.system(), bevestigd={"positieve-toets": "ja", "bgs-2-20": "ja", "jeugd": "15"})
    assert refused(typed, 422, "inhoud")["fouten"][0]["plaats"] == "/bevestigd"


async def test_fg_38_where_no_age_is_asked_no_date_of_birth_is_taken(here: Here) -> None:
    reply = await here.post(here.system(), personen=[{"nummer": PERSON.value, "geboortedatum": "2010-05-17"}])
    assert reply.json()["fouten"][0]["plaats"] == "/personen"


@pytest.fixture
def eyes(make: Make) -> Here:
    return make(EyesStage, four_eyes)


async def waiting(here: Here, system: CaseSystem) -> str:
    """The address of a question that a second officer must see first."""
    reply = await here.post(system)
    assert (reply.status_code, reply.json()["status"]) == (201, "wacht-op-tweede-collega")
    assert reply.headers["retry-after"] == "30"
    assert here.stage.line.begins == []
    return reply.headers["location"]


async def test_fg_37_a_question_waits_for_a_second_officer_and_is_sent_once(eyes: Here) -> None:
    system, held = eyes.system(), eyes.stage.asker.four_eyes
    address = await waiting(eyes, system)
    refused(await system.ask("POST", f"{address}/verzending"), 409, "nog-niet")
    (prepared,) = held.others(SECOND)
    held.look(prepared.id, SECOND)
    held.agree(prepared.id, SECOND)
    assert (await system.ask("GET", address)).json()["status"] == "akkoord"
    assert eyes.stage.line.begins == []
    assert (await system.ask("POST", f"{address}/verzending")).status_code == 201
    refused(await system.ask("POST", f"{address}/verzending"), 409, "nog-niet")
    assert (await eyes.ended(system, address))["status"] == "klaar"
    assert len(eyes.stage.line.begins) == 1


async def test_fg_37_who_asked_is_no_second_officer_wherever_he_looks_from(eyes: Here) -> None:
    await waiting(eyes, eyes.system())
    assert eyes.stage.asker.four_eyes.others(FIRST) == []
    disguised = replace(SECOND, names=("A. de Vries",))
    assert eyes.stage.asker.four_eyes.others(disguised) == []


async def test_fg_37_a_second_officer_who_does_not_agree_says_why(eyes: Here) -> None:
    system, held = eyes.system(), eyes.stage.asker.four_eyes
    address = await waiting(eyes, system)
    (prepared,) = held.others(SECOND)
    held.look(prepared.id, SECOND)
    eyes.stage.asker.refuse_prepared(prepared.id, SECOND, NOT)
    found = (await system.ask("GET", address)).json()
    assert (found["status"], found["toelichting"]) == ("niet-akkoord", NOT)
    refused(await system.ask("POST", f"{address}/verzending"), 409, "nog-niet")


async def test_a_question_that_waits_is_taken_back(eyes: Here) -> None:
    system = eyes.system()
    address = await waiting(eyes, system)
    assert (await system.ask("DELETE", address)).status_code == 204
    assert eyes.stage.asker.four_eyes.others(SECOND) == []
    refused(await system.ask("GET", address), 410, "vervallen")


async def test_a_question_that_waits_too_long_is_gone(eyes: Here) -> None:
    system = eyes.system()
    address = await waiting(eyes, system)
    eyes.stage.clock.advance(WAITS)
    system = eyes.system()
    refused(await system.ask("GET", address), 410, "vervallen")
    refused(await system.ask("POST", f"{address}/verzending"), 410, "vervallen")


async def test_later_answers_come_by_polling(here: Here) -> None:
    source = here.stage.sources[VEILIG_THUIS]
    source.by_hand, source.known = True, (PERSON,)
    system = here.system()
    reply = await here.post(system, partners=[HAARLEM, VEILIG_THUIS])
    address = reply.headers["location"]
    found = await here.ended(system, address)
    outcome = next(one for one in found["uitkomsten"] if one["oin"] == VEILIG_THUIS)
    assert (found["status"], outcome["uitkomst"]) == ("later", "in_behandeling")
    assert outcome["uiterlijk"] > found["gesteld"]
    assert (await here.system().ask("GET", address)).headers["retry-after"] == "300"
    here.stage.exchange.release()
    here.stage.clock.advance(timedelta(minutes=15))
    await here.stage.asker.collector.tick()
    await here.stage.asker.collector.settle()
    reply = await here.system().ask("GET", address)
    found = reply.json()
    assert "retry-after" not in reply.headers
    outcome = next(one for one in found["uitkomsten"] if one["oin"] == VEILIG_THUIS)
    assert (found["status"], outcome["uitkomst"]) == ("klaar", "bekend")
    assert (await here.system().ask("GET", f"{address}/later-bewijs")).status_code == 200


async def test_later_answers_are_told_after_a_restart_too(here: Here) -> None:
    here.stage.sources[VEILIG_THUIS].by_hand = True
    address = (await here.post(here.system(), partners=[VEILIG_THUIS])).headers["location"]
    await here.ended(here.system(), address)
    await here.stage.restart()
    again = facade(here.stage, here.provider)
    refused(await again.system().ask("GET", address), 404, "niet-gevonden")
    (found,) = (await again.system().ask("GET", "/v1/antwoorden")).json()["antwoorden"]
    assert (found["zaak"], found["personen"]) == (ZVH_CASE, 1)
    (outcome,) = found["uitkomsten"]
    assert (outcome["oin"], outcome["uitkomst"], outcome["persoon"]) == (VEILIG_THUIS, "in_behandeling", 1)
    assert (await again.system("smit").ask("GET", "/v1/antwoorden")).json() == {"antwoorden": []}


async def test_there_is_no_later_receipt_where_nobody_decides_later(here: Here) -> None:
    system = here.system()
    address = (await here.post(system)).headers["location"]
    await here.ended(system, address)
    refused(await system.ask("GET", f"{address}/later-bewijs"), 409, "nog-niet")


async def test_fg_32_a_result_is_gone_when_its_time_is_over(here: Here) -> None:
    key = str(uuid.uuid4())
    address = (await here.post(here.system(), key=key)).headers["location"]
    await here.ended(here.system(), address)
    here.stage.clock.advance(here.stage.covenant.purposes[WEIGHING].result_lifetime)
    refused(await here.system().ask("GET", address), 410, "vervallen")
    refused(await here.system().ask("GET", f"{address}/bewijs"), 410, "vervallen")
    # And a late repetition of the request asks nothing anew.
    refused(await here.post(here.system(), key=key), 410, "vervallen")
    refused(await here.system("smit").ask("GET", address), 404, "niet-gevonden")


async def test_bgs_1_16_a_case_that_is_not_taken_in_leaves_nothing(here: Here) -> None:
    system, key = here.system(), str(uuid.uuid4())
    address = (await here.post(system, key=key)).headers["location"]
    await here.ended(system, address)
    other = (await here.post(system)).headers["location"]
    assert (await system.ask("DELETE", address)).status_code == 204
    for one in (address, other):
        refused(await system.ask("GET", one), 410, "vervallen")
        refused(await system.ask("DELETE", one), 410, "vervallen")
    refused(await here.post(system, key=key), 410, "vervallen")


async def test_bgs_1_16_also_of_a_question_that_is_under_way(here: Here) -> None:
    """What a colleague at a partner is to decide about is put on record while the question is asked, and after that."""
    source = here.stage.sources[VEILIG_THUIS]
    source.by_hand, source.known = True, (PERSON,)
    system = here.system()
    reply = await here.post(system, partners=[HAARLEM, VEILIG_THUIS])
    assert reply.json()["status"] == "loopt"
    assert (await system.ask("DELETE", reply.headers["location"])).status_code == 204
    refused(await system.ask("GET", reply.headers["location"]), 410, "vervallen")
    here.stage.exchange.release()
    here.stage.clock.advance(timedelta(minutes=15))
    await here.stage.asker.collector.tick()
    await here.stage.asker.collector.settle()
    assert (await here.system().ask("GET", "/v1/antwoorden")).json() == {"antwoorden": []}
    assert here.stage.store.read(lambda c: c.execute("SELECT by, lookups FROM lapsed").fetchall()) == [("devries", 1)]


@pytest.mark.parametrize("part", ["", "/later-bewijs"])
async def test_bgs_1_16_what_is_destroyed_while_it_is_looked_up_is_not_told(
    here: Here, monkeypatch: pytest.MonkeyPatch, part: str
) -> None:
    source = here.stage.sources[VEILIG_THUIS]
    source.by_hand = True
    system = here.system()
    address = (await here.post(system, partners=[VEILIG_THUIS])).headers["location"]
    await here.ended(system, address)
    cases, honest = here.stage.asker.cases, here.stage.asker.cases.late_answers

    async def meanwhile(wanted: Any) -> Any:
        found = await honest(wanted)
        await cases.lapse(ZVH_CASE, "smit", {WEIGHING})
        return found

    monkeypatch.setattr(cases, "late_answers", meanwhile)
    refused(await system.ask("GET", address + part), 410, "vervallen")


async def test_bgs_1_16_likewise_where_a_colleague_says_so_elsewhere(here: Here) -> None:
    system = here.system()
    address = (await here.post(system)).headers["location"]
    await here.ended(system, address)
    await here.stage.asker.cases.lapse(ZVH_CASE, "smit", {WEIGHING})
    refused(await system.ask("GET", address), 410, "vervallen")


async def test_fg_26_what_was_wrongly_bekend_is_taken_back_here_too(here: Here) -> None:
    here.stage.sources[HAARLEM].known = (PERSON,)
    system = here.system()
    address = (await here.post(system)).headers["location"]
    await here.ended(system, address)
    report = Report(ZVH_CASE, HAARLEM, "Het was iemand met dezelfde naam", DIRECTOR.user)
    await here.stage.asker.cases.correct(report, {WEIGHING})
    outcomes = (await system.ask("GET", address)).json()["uitkomsten"]
    assert [one["uitkomst"] for one in outcomes if one["oin"] == HAARLEM] == ["geen_uitsluitsel"]


async def test_a_text_that_may_name_somebody_is_looked_at_first(here: Here) -> None:
    system, text = here.system(), "overlast in het trappenhuis door Piet Jansen"
    problem = refused(await here.post(system, motivering=text), 422, "waarschuwing")
    assert problem["fouten"][0]["plaats"] == "/motivering"
    assert here.stage.line.begins == []
    assert (await here.post(system, motivering=text, gezien=True)).status_code == 201


def per_person(folder: Path) -> None:
    """The weighing asks a justification for each further person."""
    text = "motivering_per_persoon: ja\nmax_personen: 4"
    edit(folder / "doelen" / "zvh-weging-betrokkenheid.yaml", "max_personen: 4", text)


async def test_a_family_is_asked_about_with_a_reason_for_each_further_person(make: Make) -> None:
    here = make(Stage, per_person)
    system, persons = here.system(), [{"nummer": PERSON.value}, {"nummer": OTHER.value}]
    problem = refused(await here.post(system, personen=persons), 422, "regel")
    assert (problem["regel"], problem["fouten"][0]["plaats"]) == ("motivering-persoon", "/personen")
    persons[1]["motivering"] = "de broer woont in hetzelfde huis"
    reply = await here.post(system, personen=persons)
    assert (await here.ended(system, reply.headers["location"]))["personen"] == 2


async def test_fg_28_what_a_rule_refuses_is_on_the_record(here: Here) -> None:
    assert (await here.post(here.system(), bevestigd={})).status_code == 422
    await here.stage.asker.close()
    rows = Decisions(here.stage.store.database).own(0, milliseconds(here.stage.clock.now()) + 1)
    assert [(one.purpose, [it.allowed for it in one.judged]) for one, _ in rows] == [(WEIGHING, [False])]


def mandated(folder: Path, *, until: str = "", itself: bool = True) -> None:
    """The OM may ask in the name of Haarlem too; `until` a day; `itself`: whether it also asks in its own name."""
    end = f", tot_en_met: {until}" if until else ""
    edit(folder / "afspraken.yaml", r"mandaten:\n", 'mandaten:\n  - {van: college_bw, aan: om, grond: "Awb 10:3"}\n')
    purpose = folder / "doelen" / "zvh-weging-betrokkenheid.yaml"
    edit(
        purpose, r"  namens:\n", f'  namens:\n    - {{vrager: "{OM}", namens: "{HAARLEM}", mandaat: "besluit"{end}}}\n'
    )
    if not itself:
        edit(purpose, r"organisaties: \[om, ", "organisaties: [")


async def test_who_has_a_mandate_asks_in_the_name_of_another(make: Make) -> None:
    here = make(change=mandated)
    system = here.system()
    purposes = (await system.ask("GET", "/v1/doelen")).json()["doelen"]
    found = next(one for one in purposes if one["id"] == WEIGHING)
    assert ([one["oin"] for one in found["namens"]], found["voorZichzelf"]) == ([HAARLEM], True)
    here.stage.sources[RECLASSERING].known = (PERSON,)
    reply = await here.post(system, namens=HAARLEM, partners=[RECLASSERING])
    told = {one["oin"]: one["uitkomst"] for one in (await here.ended(system, reply.headers["location"]))["uitkomsten"]}
    assert told[RECLASSERING] == "bekend"
    (begin,) = here.stage.line.begins
    (routed,) = here.stage.sources[RECLASSERING].asked
    question = signed_pb2.Question.FromString(routed.question.payload)
    assert {begin.on_behalf_of, question.on_behalf_of} == {HAARLEM}


async def test_in_its_own_name_too_it_asks_in_nobody_elses(make: Make) -> None:
    """What is not said to be in another's name is not, whatever mandates there are."""
    here = make(change=mandated)
    system = here.system()
    await here.ended(system, (await here.post(system, partners=[RECLASSERING])).headers["location"])
    assert [one.on_behalf_of for one in here.stage.line.begins] == [""]


STRANGER = "00000099000000009999"
NOT_IN_THE_NAME: dict[str, tuple[dict[str, Any], dict[str, Any], str, str]] = {
    "no mandate at all": ({}, {"namens": VELSEN}, "namens", "/namens"),
    "of another than who is named": ({}, {"namens": POLITIE}, "namens", "/namens"),
    "in its own name as if in another's": ({}, {"namens": OM}, "namens", "/namens"),
    "of nobody in the covenant": ({}, {"namens": STRANGER}, "onbekende-deelnemer", "/namens"),
    "after the mandate ended": ({"until": "2026-11-30"}, {"namens": HAARLEM}, "mandaat", "/namens"),
    "only in another's name, and of nobody": ({"itself": False}, {}, "namens", "/namens"),
}


@pytest.mark.parametrize("what", NOT_IN_THE_NAME)
async def test_nobody_asks_in_the_name_of_who_gave_no_mandate(make: Make, what: str) -> None:
    terms, changes, rule, place = NOT_IN_THE_NAME[what]
    here = make(change=partial(mandated, **terms))
    problem = refused(await here.post(here.system(), partners=[RECLASSERING], **changes), 422, "regel")
    assert (problem["regel"], [one["plaats"] for one in problem["fouten"]]) == (rule, [place])
    await here.stage.asker.close()
    assert here.stage.line.begins == []
    # And it is on the record, with in whose name (FG-28); what is in no covenant is not kept.
    rows = Decisions(here.stage.store.database).own(0, milliseconds(here.stage.clock.now()) + 1)
    named = None if changes.get("namens") == STRANGER else changes.get("namens")
    kept = [(one.purpose, one.on_behalf_of, [it.allowed for it in one.judged]) for one, _ in rows]
    assert kept == [(WEIGHING, named, [False])]


async def test_a_mandate_holds_on_its_last_day_and_not_on_the_next(make: Make) -> None:
    here = make(change=partial(mandated, until="2026-12-01"))
    system = here.system()
    reply = await here.post(system, namens=HAARLEM, partners=[RECLASSERING])
    assert reply.status_code == 201, reply.text
    await here.ended(system, reply.headers["location"])
    here.stage.clock.advance(timedelta(days=1))
    again = await here.post(here.system(), namens=HAARLEM, partners=[RECLASSERING])
    assert refused(again, 422, "regel")["regel"] == "mandaat"
    assert len(here.stage.line.begins) == 1


async def test_a_mandate_is_of_its_purpose_and_of_no_other(make: Make, provider: TestProvider) -> None:
    tokens = config_of(provider).tokens.model_copy(update={"roles": {"bekend-regie": (DIRECTOR.role, OFFICER.role)}})
    here = make(change=mandated, tokens=tokens)
    other: dict[str, Any] = {
        "doel": ZSM,
        "zaak": ZSM_CASE,
        "bevestigd": {"verdachte": "ja"},
        "partners": [RECLASSERING],
    }
    problem = refused(await here.post(here.system(), namens=HAARLEM, **other), 422, "regel")
    assert (problem["regel"], problem["fouten"][0]["plaats"]) == ("namens", "/namens")
    # It is the mandate that lacks, and nothing else.
    assert (await here.post(here.system(), **other)).status_code == 201


async def test_a_partner_that_does_not_answer_who_is_stood_in_for_is_not_asked(make: Make) -> None:
    """Each partner has a decision of its own, about both: here it answers everybody but Haarlem."""

    def choosy(folder: Path) -> None:
        mandated(folder)
        edit(
            folder / "doelen" / "zvh-weging-betrokkenheid.yaml",
            r"    registers: \[clienten\]\n",
            "    registers: [clienten]\n    alleen_voor: [om, politie]\n",
        )

    here = make(change=choosy)
    system = here.system()
    reply = await here.post(system, namens=HAARLEM, partners=[RECLASSERING, VEILIG_THUIS])
    told = {one["oin"]: one for one in (await here.ended(system, reply.headers["location"]))["uitkomsten"]}
    assert told[RECLASSERING]["uitkomst"] == "niet_bevraagd"
    assert "alleen-voor" in told[RECLASSERING]["toelichting"]
    assert here.stage.sources[RECLASSERING].asked == []


async def test_fg_43_who_is_suspended_is_not_stood_in_for(make: Make) -> None:
    here = make(change=mandated)
    found = Suspension(
        "kennemerland", 1, OPERATOR, What.NODE, HAARLEM, "gestolen sleutel", since=here.stage.clock.now()
    )
    here.stage.suspensions.put(found, b"")
    problem = refused(await here.post(here.system(), namens=HAARLEM, partners=[RECLASSERING]), 422, "regel")
    assert "gestolen sleutel" in problem["detail"]
    assert (await here.post(here.system(), partners=[RECLASSERING])).status_code == 201
    await here.stage.asker.close()
    assert [one.on_behalf_of for one in here.stage.line.begins] == [""]


@pytest.mark.parametrize("namens", ["haarlem", "0000009900000000400", f"{HAARLEM} ", 4000, [HAARLEM], {}, ""])
async def test_what_is_no_oin_is_in_nobodys_name(here: Here, namens: object) -> None:
    reply = await here.post(here.system(), namens=namens)
    assert reply.status_code == 422, reply.text
    assert {one["plaats"] for one in reply.json()["fouten"]} == {"/namens"}
    assert here.stage.line.begins == []


async def test_fg_17_a_budget_that_is_used_up_ends_a_question_without_an_answer(here: Here) -> None:
    system = here.system()
    purposes = (await system.ask("GET", "/v1/doelen")).json()["doelen"]
    left = next(one["vandaagOver"] for one in purposes if one["id"] == WEIGHING)
    for n in range(left + 1):
        reply = await here.post(system, zaak=f"ZVH-2026-{n:04}")
        assert reply.status_code == 201
        found = await here.ended(system, reply.headers["location"])
        assert (await system.ask("DELETE", reply.headers["location"])).status_code == 204
    assert (found["status"], found["uitkomsten"]) == ("mislukt", [])


async def test_an_officer_holds_so_many_questions_at_once(here: Here, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bekend_node.rest.questions.MOST", 2)
    system = here.system()
    found = [await here.post(system) for _ in range(3)]
    assert [one.status_code for one in found] == [201, 201, 429]
    refused(found[-1], 429, "vol")
    await system.ask("DELETE", found[0].headers["location"])
    assert (await here.post(system)).status_code == 201


async def test_nothing_of_a_person_or_a_case_is_in_the_log(here: Here, capsys: pytest.CaptureFixture[str]) -> None:
    system = here.system()
    await here.ended(system, (await here.post(system)).headers["location"])
    await here.post(system, personen=[{"nummer": "999990018"}])
    await here.post(here.system(sub=CLIENT))
    await asyncio.sleep(0)
    said = capsys.readouterr()
    assert "rest-refused" in said.err
    for text in (PERSON.value, "999990018", ZVH_CASE, "trappenhuis", system.token):
        assert text not in said.out + said.err


async def test_a_fault_here_asks_nothing_and_says_nothing_of_it(
    here: Here, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full(*_: object) -> None:
        raise StorageError(f"no room for {PERSON.value}")

    monkeypatch.setattr(here.stage.store.team, "signed_in", full)
    refused(await here.post(here.system()), 500, "storing")
    assert here.stage.line.begins == []
    said = capsys.readouterr().err
    assert "rest-failed" in said
    assert PERSON.value not in said


async def test_what_was_sent_from_the_pages_is_gone_here(eyes: Here) -> None:
    system, held = eyes.system(), eyes.stage.asker.four_eyes
    address = await waiting(eyes, system)
    (prepared,) = held.others(SECOND)
    held.look(prepared.id, SECOND)
    held.agree(prepared.id, SECOND)
    assert [one async for one in eyes.stage.asker.ask_agreed(prepared.id, FIRST)]
    refused(await system.ask("POST", f"{address}/verzending"), 410, "vervallen")
    assert len(eyes.stage.line.begins) == 1


def sandbox(folder: Path) -> Path:
    path = folder / "oefenen.yaml"
    path.write_text(f'persons:\n  - person: bsn:{PERSON.value}\n    shows: "bekend bij Haarlem"\n')
    return path


async def test_in_a_sandbox_only_test_persons_are_asked_about(make: Make, tmp_path: Path) -> None:
    here = make(sandbox=sandbox(tmp_path))
    demo = here.stage.covenant
    here.stage.covenant = replace(demo, agreement=demo.agreement.model_copy(update={"demo": False}))
    system = here.system()
    refused(await system.ask("GET", "/v1/testpersonen"), 404, "niet-gevonden")
    refused(await here.post(system), 403, "proef")
    here.stage.covenant = demo
    (person,) = (await system.ask("GET", "/v1/testpersonen")).json()["testpersonen"]
    assert (person["soort"], person["nummer"]) == ("bsn", PERSON.value)
    assert (await here.post(system)).status_code == 201
    refused(await here.post(system, personen=[{"nummer": OTHER.value}]), 403, "proef")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"origin": "http://rest.example"}, "https"),
        ({"listen": "0.0.0.0:8481"}, "without TLS"),
        ({"certificate": "x.pem"}, "belong together"),
        ({"client_authorities": "x.pem"}, "needs `certificate`"),
        ({"client_crl": "x.pem"}, "needs `client_authorities`"),
        ({"sandbox": "x.yaml"}, "demo covenant"),
    ],
    ids=str,
)
def test_a_facade_that_would_not_be_safe_does_not_start(
    provider: TestProvider, changes: dict[str, str], said: str
) -> None:
    config = config_of(provider, **changes)
    with pytest.raises(KeysError, match=said):
        check_safe(config, config.listen.rpartition(":")[0], demo=False)
