"""`decide` against Cedar: two readings of one covenant, over every combination, must agree on who answers and how."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from itertools import product
from typing import Any

import pytest
from bekend_policy import directions
from bekend_policy.decide import Asked, Decider, decide
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Purpose
from bekend_policy.routes import noon
from bekend_policy.terms import Condition, IdentifierKind
from bekend_proto.v1 import signed_pb2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.building import GROUND, condition, covenant, oin_of, participant, purpose
from tests.support.cedar import DAYS, Oracle, Put
from tests.support.covenants import CATALOGUE, EXAMPLE

WEIGHED = "nodig: om te bepalen wie erbij hoort middel: alleen wie het kent minder: de persoon is al gevraagd"
TODAY = date(2026, 12, 1)


def by_decide(given: Covenant, one: Put) -> str | None:
    """The mode of the answer by `decide`, or None."""
    decision = decide(given, asked_of(given, one), noon(one.day))
    return str(decision.mode) if decision.allowed else None


def asked_of(given: Covenant, one: Put) -> Asked:
    """The question as `decide` takes it."""
    certain, possible = signed_pb2.KIND_CLASS_CERTAIN, signed_pb2.KIND_CLASS_POSSIBLE
    return Asked(
        requester=one.requester,
        source=one.source,
        purpose=one.purpose,
        on_behalf_of=one.namens,
        persons=one.persons,
        kind_class=certain if one.certain else possible,
        covenant_hash=given.hash,
        role=one.role,
        kind=one.kind,
        case_reference=one.case_reference,
        sources=one.sources,
        attested=None
        if one.stated is None
        else frozenset(f"{id_}={value}" if value else id_ for id_, value in one.stated.items()),
        justification=WEIGHED if one.weighed else None,
        reasons=tuple(f"persoon {place} hoort erbij" for place in range(one.persons)) if one.reasoned else (),
    )


def disagreements(given: Covenant, oracle: Oracle, questions: list[Put]) -> list[tuple[Put, str | None, str | None]]:
    by_purpose: dict[str, list[Put]] = {}
    for one in questions:
        by_purpose.setdefault(one.purpose, []).append(one)
    return [
        (one, ours, theirs)
        for own in by_purpose.values()
        for one, theirs in zip(own, oracle.ask(own), strict=True)
        if (ours := by_decide(given, one)) != theirs
    ]


def every_route(given: Covenant, *, day: date = TODAY) -> list[Put]:
    """Every pair under every purpose, for itself, in every name that has a mandate, and in some that have none.

    Those without: one, and everybody of a kind that does give mandates.
    """
    principals = {it.principal for one in given.purposes.values() for it in one.asker.mandates}
    kinds = {given.participants[oin].kind for oin in principals if oin in given.participants}
    others = [it for it in given.participants.values() if it.oin not in principals]
    strangers = {it.oin for it in others if it.kind in kinds} | {others[0].oin}
    return [
        Put(id_, requester, source, namens, day=day)
        for id_, requester, source, namens in product(
            given.purposes, given.participants, given.participants, [None, *sorted(principals), *sorted(strangers)]
        )
        if requester != source
    ]


def statements(one: Purpose) -> Iterator[dict[str, str]]:
    """Everything well stated; each in turn left out; each in turn at the edges of what is allowed, and past them."""
    good = {it.id: good_value(it) for it in one.conditions if str(it.checked_by) == "vrager"}
    if one.justification:
        good["motivering"] = ""
    yield good
    yield {}
    for id_ in good:
        yield {other: value for other, value in good.items() if other != id_}
        yield from (good | {id_: value} for value in EDGES)
    for it in one.conditions:
        if it.from_age is not None and it.to_age is not None:
            ages = (it.from_age - 1, it.from_age, it.to_age, it.to_age + 1)
            yield from (good | {it.id: str(age)} for age in ages)


def good_value(one: Condition) -> str:
    """What meets this condition on TODAY."""
    return {
        "bevestiging": "",
        "datum": TODAY.isoformat(),
        "toestemming": TODAY.isoformat(),
        "leeftijd": str(one.from_age),
        "keuze": one.values[0] if one.values else "",
    }[str(one.form)]


EDGES = ("", "onzin", "2026-11-30", "2026-12-02", "2026-11-01", "2026-10-31", "2027-01-01", "2027-06-01", "2027-06-02",
         "2026-06-01", "2026-05-31", "2026-09-01", "2026-08-31", "2025-12-01", "2025-11-30", "1")  # fmt: skip


def every_question(given: Covenant) -> list[Put]:
    """Per purpose and source: all that a question may hold, and each against each where they meet."""
    found = []
    allowed = [one for one in every_route(given) if by_decide(given, one) is not None]
    per_source = {(one.purpose, one.source): one for one in allowed}
    for (id_, _), route in per_source.items():
        own = given.purposes[id_]
        full = replace(
            route,
            role=own.asker.roles[0],
            kind=min(given.sources(id_)[route.source].certain),
            sources=1,
            case_reference=own.case.example or "Z-0001",
        )
        good = replace(full, stated=next(statements(own)), weighed=True)
        found += [replace(good, stated=stated) for stated in statements(own)]
        for stated, role, number, (weighed, reasoned) in product(
            [good.stated, {}],
            [*own.asker.roles, "stagiair"],
            [0, 1, own.max_persons, own.max_persons + 1, 9],
            ((True, True), (True, False), (False, True)),
        ):
            found.append(replace(full, stated=stated, role=role, persons=number, weighed=weighed, reasoned=reasoned))
        for kind, reference, sources in product(
            ["bsn", "test", "skn"],
            [full.case_reference, "", "Z-1", "15/234567-26 "],
            [0, 1, own.max_sources, own.max_sources + 1],
        ):
            found.append(replace(good, kind=kind, case_reference=reference, sources=sources))
        kinds = [None, *(str(it) for it in IdentifierKind)]
        found += [replace(good, kind=kind, certain=certain) for kind in kinds for certain in (True, False)]
        found += [replace(good, day=day) for day in DAYS]
    return found


def test_one_decider_for_all_sources_says_of_each_what_decide_says() -> None:
    loaded = load_covenant(CATALOGUE)
    given = replace(loaded, signed_by=frozenset(loaded.participants))
    questions = every_question(given)
    rules = set()
    for one in questions[:: max(1, len(questions) // 400)]:
        asked, now = asked_of(given, one), noon(one.day)
        decider = Decider(given, asked, now)
        for source in [*given.participants, *reversed(list(given.participants))]:
            decision = decider.about(source)
            rules.add(decision.rule if not decision.allowed else "")
            assert decision == decide(given, replace(asked, source=source), now)
    assert rules > {"", "eigen-proef", "geen-bron", "identificatie", "personen", "rol", "voorwaarde", "zaaknummer"}


@pytest.mark.parametrize("folder", [EXAMPLE, CATALOGUE], ids=["example", "catalogue"])
def test_every_route_of_the_shipped_covenants_comes_out_the_same(folder: object) -> None:
    loaded = load_covenant(folder)  # type: ignore[arg-type]
    given = replace(loaded, signed_by=frozenset(loaded.participants))
    questions = [*every_route(given), *every_route(given, day=date(2026, 10, 31))]
    assert disagreements(given, Oracle(given), questions) == []
    assert sum(by_decide(given, one) is not None for one in questions) > 20


def test_every_question_of_the_catalogue_comes_out_the_same() -> None:
    loaded = load_covenant(CATALOGUE)
    given = replace(loaded, signed_by=frozenset(loaded.participants))
    questions = every_question(given)
    assert disagreements(given, Oracle(given), questions) == []
    assert len(questions) > 8_000


# --- random covenants: what no reviewer would let pass ----------------------------------------------------------

KINDS = ["om", "politie", "reclassering", "dji", "rvdk", "halt", "gi", "gi_jeugdreclassering", "college_bw"]
KINDS += ["burgemeester", "wijkteam", "schuldhulp", "jeugdhulp", "ggd", "ggz", "veilig_thuis", "zvh", "werkgever"]
FRAMES = ["strafvordering", "sociaal_domein", "veilig_thuis", "zvh", "nazorg", "verward_gedrag", "radicalisering"]
LAWS = [("RO", "124"), ("Wmo 2015", "5.1"), ("Jeugdwet", "2.3"), ("Jeugdwet", "7.3"), ("WGS", "1.5"), ("Pbw", "18a")]
LAWS += [("Wvggz", "5:2"), ("WG-PGA", "5"), ("Wpg", "16"), ("Wpg", "9"), ("Wams", "1"), ("Convenant", "3")]
REGISTERS = ["clienten", "veiligheid", "nazorg", "leerplicht", "dossiers", "wmo", "jeugdhulp", "wvggz"]
RARE = [{"einddatum": "2026-11-30"}, {"in_dienst": "nee"}]
BY_NAME = ["naam-geboortedatum", "naam-postcode"]
MODES = ["automatisch", "standaardbesluit", "handmatig", "handmatig", "toestemming", "toestemming", "nooit"]


@st.composite
def grounds(draw: st.DrawFn) -> list[dict[str, str]]:
    laws = draw(st.lists(st.sampled_from(LAWS), min_size=1, max_size=2, unique=True))
    status = st.sampled_from(["getoetst", "getoetst", "te_toetsen", "omstreden"])
    return [{"wet": law, "artikel": article, "versie": "2026-01-01", "status": draw(status)} for law, article in laws]


@st.composite
def purposes(draw: st.DrawFn, number: int, kinds: list[str]) -> Purpose:
    frame = draw(st.sampled_from(FRAMES))
    some_kinds = st.lists(st.sampled_from([*kinds, oin_of(1), oin_of(2)]), min_size=2, max_size=5, unique=True)
    known = draw(st.lists(st.sampled_from(["een", "twee", "drie"]), max_size=3, unique=True))
    own: dict[str, dict[str, Any]] = {}
    for party in draw(some_kinds):
        mode = draw(st.sampled_from(MODES))
        own[party] = {"modus": mode}
        if mode != "nooit":
            own[party] |= {
                "grondslag": draw(st.one_of(*[st.just([GROUND])] * 5, grounds())),
                "registers": [draw(st.sampled_from(REGISTERS))],
                "mits": [it for it in known if draw(st.booleans())],
                "alleen_voor": draw(st.one_of(*[st.just([])] * 4, some_kinds)),
                **draw(st.sampled_from([{}, {}, {"identificatie": ["bsn"]}, {"identificatie": ["skn", *BY_NAME]}])),
            }
    mandates = []
    for _ in range(draw(st.integers(0, 2))):
        pair = {"vrager": oin_of(draw(st.integers(1, 3))), "namens": oin_of(draw(st.integers(1, 5))), "mandaat": "x"}
        mandates.append(pair | draw(st.sampled_from([{}, {"tot_en_met": "2026-11-30"}, {"tot_en_met": "2026-12-01"}])))
    more = draw(st.sampled_from([{}, {}, {"einddatum": "2026-12-01"}, {"einddatum": "2026-12-01"}, *RARE]))
    law = {
        "zvh": "WGS",
        "radicalisering": "WG-PGA",
        "nazorg": "Pbw",
        "verward_gedrag": "Wvggz",
        "strafvordering": "RO",
    }.get(frame, "Wmo 2015")
    lawful = [{"wet": law, "artikel": "1", "versie": "2026-01-01", "status": "getoetst"}]
    return purpose(
        f"doel-{number}",
        draw(some_kinds),
        own,
        kader=frame,
        namens=mandates,
        grondslag_vrager=draw(st.one_of(*[st.just(lawful)] * 5, grounds())),
        voorwaarden=[condition(it, controle=draw(st.sampled_from(["vrager", "vrager", "bron"]))) for it in known],
        motivering=draw(st.sampled_from(["ja", "nee"])),
        afweging=draw(st.sampled_from(["ja", "nee"])),
        motivering_per_persoon=draw(st.sampled_from(["ja", "nee"])),
        identificatie=draw(st.sampled_from([["bsn"], ["bsn", "skn"], ["bsn", *BY_NAME], BY_NAME])),
        **draw(st.sampled_from([{}, {"mogelijk": {"reactietermijn": "PT24H", "levensduur": "PT24H"}}])),
        **more,
    )


@st.composite
def covenants(draw: st.DrawFn) -> Covenant:
    kinds = draw(st.lists(st.sampled_from(KINDS), min_size=3, max_size=6))
    houses = [oin_of(index) for index, kind in enumerate(kinds, 1) if kind == "zvh"]
    members = [
        participant(index, kind, zvh=draw(st.sampled_from([[], houses[:1], houses[1:2]])))
        for index, kind in enumerate(kinds, 1)
    ]
    own = [draw(purposes(number, kinds)) for number in range(draw(st.integers(1, 2)))]
    missing = draw(st.sampled_from([*[None] * 6, members[0].oin]))
    return covenant(members, own, {one.oin for one in members} - {missing})


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(covenants())
def test_every_route_and_question_of_any_covenant_comes_out_the_same(given_: Covenant) -> None:
    oracle = Oracle(given_)
    every = list(given_.participants)
    pairs = [(one, other) for one in every for other in every if one != other]
    questions = [
        Put(id_, one, other, namens, certain=certain)
        for id_ in given_.purposes
        for one, other in pairs
        for namens in [None, *every]
        for certain in (True, False)
    ]
    questions += [
        replace(one, stated=dict.fromkeys(some, ""), weighed=weighed, persons=persons, role="rol-een", reasoned=weighed)
        for one in questions
        if by_decide(given_, one) is not None
        for some in ([], ["een"], ["een", "twee", "motivering"], ["een", "twee", "drie", "motivering"])
        for weighed in (True, False)
        for persons in (1, 2, 3)
    ]
    questions += [
        replace(one, kind=kind)
        for one in questions
        if one.stated is None and by_decide(given_, one) is not None
        for kind in ("bsn", "skn", *BY_NAME)
    ]
    assert disagreements(given_, oracle, questions) == []


# --- each direction rule: without it, the two disagree ----------------------------------------------------------

FORBIDDEN: dict[str, tuple[str, str, str, str, str, dict[str, Any]]] = {
    "D1": ("sociaal_domein", "Wmo 2015", "5.1", "wijkteam", "om", {}),
    "D2": ("sociaal_domein", "Wmo 2015", "5.1", "college_bw", "politie", {}),
    "D3": ("strafvordering", "RO", "124", "om", "college_bw", {"registers": ["wmo"]}),
    "D4": ("sociaal_domein", "Wmo 2015", "5.1", "burgemeester", "ggz", {"modus": "standaardbesluit"}),
    "D5": ("sociaal_domein", "Wmo 2015", "5.1", "burgemeester", "veilig_thuis", {"modus": "standaardbesluit"}),
    "D6": ("strafvordering", "RO", "124", "rvdk", "politie", {"modus": "automatisch"}),
    "D7": ("sociaal_domein", "Wmo 2015", "5.1", "burgemeester", "ggd", {"registers": ["wvggz"]}),
    "D8": ("radicalisering", "WG-PGA", "5", "om", "halt", {}),
    "D9": ("zvh", "WGS", "1.5", "om", "woningcorporatie", {}),
    "D10": ("strafvordering", "RO", "124", "om", "werkgever", {}),
    "D11": ("zvh", "WGS", "1.5", "reclassering", "om", {}),
    "D12": ("zvh", "WGS", "1.5", "om", "rvdk", {}),
    "D13": ("strafvordering", "RO", "124", "om", "rvdk", {}),
    "D14": ("sociaal_domein", "Wmo 2015", "5.1", "ggz", "rvdk", {}),
}


def forbidden(rule: str) -> Covenant:
    """A covenant with one pair that this rule alone forbids."""
    frame, law, article, asker, target, terms = FORBIDDEN[rule]
    ground = {"wet": law, "artikel": article, "versie": "2026-01-01", "status": "getoetst"}
    own = [{**ground, "wet": "Wams"}] if rule == "D13" else [ground]
    houses = [[oin_of(3)], [oin_of(4)]] if rule == "D12" else [[], []]
    members = [participant(1, asker, zvh=houses[0]), participant(2, target, zvh=houses[1])]
    members += [participant(3, "zvh"), participant(4, "zvh")] if rule == "D12" else []
    one = purpose("doel", [asker], {target: {"modus": "handmatig", "grondslag": own, **terms}}, kader=frame,
                  grondslag_vrager=[ground])  # fmt: skip
    return covenant(members, [one])


@pytest.mark.parametrize("rule", FORBIDDEN)
def test_fg_04_a_direction_rule_that_is_taken_out_shows(rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
    given = forbidden(rule)
    questions = [Put("bouw/doel", oin_of(1), oin_of(2))]
    assert by_decide(given, questions[0]) is None
    assert disagreements(given, Oracle(given), questions) == []
    without = tuple(one for one in directions.DIRECTIONS if one.id != rule)
    monkeypatch.setattr(directions, "DIRECTIONS", without)
    again = replace(given)
    assert by_decide(again, questions[0]) == FORBIDDEN[rule][5].get("modus", "handmatig")
    assert len(disagreements(again, Oracle(again), questions)) == 1
    assert disagreements(again, Oracle(again, without=[rule]), questions) == []
