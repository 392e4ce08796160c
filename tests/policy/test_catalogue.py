"""The shipped catalogue: complete, clean, and as the law file has it; every FG requirement on it by name."""

import itertools
import re
from dataclasses import fields, replace
from datetime import timedelta

import pytest
from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.directions import DIRECTIONS, is_no_law
from bekend_policy.findings import findings
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Kind, Mode, Purpose
from bekend_policy.terms import CheckedBy, GroundStatus
from bekend_policy.words import ConditionForm
from bekend_proto.v1 import signed_pb2

from tests.support.covenants import CATALOGUE, HAARLEM, NOW, OM, POLITIE, RECLASSERING, VEILIG_THUIS, VELSEN, ZVH

COVENANT = replace(
    load_covenant(CATALOGUE), signed_by=frozenset(load_covenant(CATALOGUE).participants), hash=b"catalogue".ljust(32)
)
PURPOSES = {
    "zsm-context",
    "zsm-lokale-context",
    "zsm-lokale-context-toestemming",
    "sociaal-domein-betrokkenheid",
    "vt-triage",
    "zvh-bekend-ander-zvh",
    "zvh-weging-betrokkenheid",
    "nazorg-ex-gedetineerden",
    "verward-gedrag",
    "radicalisering-casusoverleg",
    "prioriteitslijst-toets",
}
WIJKTEAM = "00000099000000004200"
BURGEMEESTER = "00000099000000004100"
OTHER_ZVH = "00000099000000007100"
OTHER_VT = "00000099000000006100"
RVDK = "00000099000000008000"
DJI = "00000099000000008100"
HALT = "00000099000000008200"
GGZ = "00000099000000008700"
GGD = "00000099000000008900"


def id_of(name: str) -> str:
    return f"kennemerland/{name}"


def purpose(name: str) -> Purpose:
    return COVENANT.purposes[id_of(name)]


def ask(name: str, requester: str, source: str, namens: str | None = None, **more: object) -> Asked:
    base = Asked(requester, source, id_of(name), namens, 1, signed_pb2.KIND_CLASS_CERTAIN, COVENANT.hash)
    return replace(base, **more)  # type: ignore[arg-type]


def decided(name: str, requester: str, source: str, namens: str | None = None, **more: object) -> Decision:
    return decide(COVENANT, ask(name, requester, source, namens, **more), NOW)


def own(name: str, requester: str, source: str, *attested: str, **more: object) -> Decision:
    """With what only the requester knows, all in order but for the conditions."""
    it = purpose(name)
    known: dict[str, object] = {
        "role": it.asker.roles[0],
        "kind": "bsn",
        "case_reference": it.case.example,
        "attested": frozenset({*attested, "motivering"}),
        "sources": 1,
        "justification": "nodig: wie is al betrokken middel: bellen kost dagen minder: niet bereikbaar",
    }
    return decide(COVENANT, ask(name, requester, source, None, **{**known, **more}), NOW)


# --- whole and clean -------------------------------------------------------------------------------------------


def test_the_catalogue_is_whole() -> None:
    assert {it.partition("/")[2] for it in COVENANT.purposes} == PURPOSES
    named = {it for one in COVENANT.purposes.values() for it in one.source_terms} | {
        it for one in COVENANT.purposes.values() for it in one.asker.organisations
    }
    unconnected = {"zorgverzekeraar", "werkgever", "school", "verhuurder", "commercieel"}
    assert named.isdisjoint(unconnected)


def test_the_catalogue_is_clean() -> None:
    assert findings(load_covenant(CATALOGUE)) == []


@pytest.mark.parametrize("it", COVENANT.purposes.values(), ids=lambda it: it.id)
def test_every_purpose_says_everything_that_a_reader_needs(it: Purpose) -> None:
    assert it.description
    assert it.phase
    assert it.informing
    assert it.case.example
    assert it.result_lifetime <= timedelta(days=28)
    assert it.raised is None or it.raised.per_officer > it.limits.per_officer
    for condition in it.conditions:
        assert condition.checked_by in CheckedBy
    for terms in it.source_terms.values():
        assert terms.reason if terms.mode is Mode.NEVER else terms.grounds
        if terms.mode is not Mode.NEVER:
            assert bool(terms.reply_term) is (terms.mode is not Mode.AUTOMATIC)


@pytest.mark.parametrize("it", COVENANT.purposes.values(), ids=lambda it: it.id)
def test_when_somebody_is_informed_is_told_in_sentences(it: Purpose) -> None:
    """A resident reads it on the public page, and in the letter that answers an access request."""
    assert ";" not in it.informing
    assert all(len(sentence.split()) > 1 for sentence in it.informing.removesuffix(".").split(". "))
    assert len(it.informing.split()) > 6


# purpose: roles, persons a day (officer, organisation), days that an outcome lives, four eyes, last look at a deferral
LAW: dict[str, tuple[set[str], tuple[int, int], float, bool, int | None]] = {
    "zsm-context": ({"zsm-medewerker", "officier"}, (40, 200), 3, False, None),
    "zsm-lokale-context": ({"zsm-medewerker", "officier"}, (40, 200), 3, False, None),
    "zsm-lokale-context-toestemming": ({"zsm-medewerker", "officier"}, (10, 50), 3, False, None),
    "sociaal-domein-betrokkenheid": ({"sociaal-werker"}, (5, 20), 14, False, None),
    "vt-triage": ({"triagist"}, (100, 300), 7, False, 28),
    "zvh-bekend-ander-zvh": ({"procesregisseur"}, (10, 25), 14, False, 90),
    "zvh-weging-betrokkenheid": ({"procesregisseur"}, (10, 25), 28, True, 90),
    "nazorg-ex-gedetineerden": ({"casemanager-pi", "nazorgcoordinator"}, (10, 40), 28, False, None),
    "verward-gedrag": ({"meldpunt-medewerker", "uitvoerder-verkennend-onderzoek"}, (15, 60), 14, False, 28),
    "radicalisering-casusoverleg": ({"lid-weegteam"}, (3, 10), 14, True, 90),
    "prioriteitslijst-toets": ({"procesregisseur"}, (5, 10), 28, True, 90),
}
A, S, H, T, N = Mode.AUTOMATIC, Mode.STANDING, Mode.MANUAL, Mode.CONSENT, Mode.NEVER
SOURCES: dict[str, dict[Mode, str]] = {
    "zsm-context": {
        A: "politie",
        S: "reclassering rvdk halt dji",
        H: "gi_jeugdreclassering veilig_thuis zvh",
        N: "college_bw ggz",
    },
    "zsm-lokale-context": {S: "college_bw"},
    "zsm-lokale-context-toestemming": {T: "college_bw"},
    "sociaal-domein-betrokkenheid": {
        S: "wmo_aanbieder",
        H: "gi veilig_thuis politie",
        T: "college_bw ggz jeugdhulp",
        N: "om reclassering dji halt",
    },
    "vt-triage": {
        S: "rvdk gi",
        H: "politie wijkteam reclassering om ggz jeugdhulp veilig_thuis zvh",
        N: "halt college_bw",
    },
    "zvh-bekend-ander-zvh": {S: "zvh"},
    "zvh-weging-betrokkenheid": {
        S: "om rvdk dji college_bw burgemeester reclassering",
        H: "politie ggd veilig_thuis gi wijkteam",
        T: "ggz",
        N: "halt slachtofferhulp woningcorporatie",
    },
    "nazorg-ex-gedetineerden": {
        S: "dji reclassering college_bw",
        H: "om cjib gi rvdk",
        T: "ggz",
        N: "politie veilig_thuis",
    },
    "verward-gedrag": {H: "politie wijkteam ggd", T: "ggz", N: "veilig_thuis om reclassering halt"},
    "radicalisering-casusoverleg": {
        H: "politie om burgemeester college_bw reclassering rvdk casusoverleg_pga",
        N: "ggz veilig_thuis wijkteam halt",
    },
    "prioriteitslijst-toets": {
        S: "om rvdk dji college_bw burgemeester",
        H: "politie",
        N: "reclassering veilig_thuis gi ggz wijkteam",
    },
}


@pytest.mark.parametrize("name", LAW)
def test_roles_limits_terms_and_sources_are_those_of_the_law_file(name: str) -> None:
    it = purpose(name)
    roles, limits, days, four_eyes, review = LAW[name]
    assert set(it.asker.roles) == roles
    assert (it.limits.per_officer, it.limits.per_organisation) == limits
    assert it.result_lifetime == timedelta(days=days)
    assert it.four_eyes is four_eyes
    assert (it.deferral and it.deferral.review and it.deferral.review.days) == review
    modes = {party: mode for mode, parties in SOURCES[name].items() for party in parties.split()}
    assert {str(party): terms.mode for party, terms in it.source_terms.items()} == modes


def test_the_law_file_names_every_purpose() -> None:
    assert (
        {f"kennemerland/{name}" for name in LAW} == {f"kennemerland/{name}" for name in SOURCES} == {*COVENANT.purposes}
    )


def test_only_triage_has_a_limit_that_a_second_person_can_raise() -> None:
    assert [it.id for it in COVENANT.purposes.values() if it.raised] == ["kennemerland/vt-triage"]


def test_the_numbers_of_vt_triage() -> None:
    triage = purpose("vt-triage")
    assert (triage.max_persons, triage.limits.per_officer, triage.limits.per_organisation) == (8, 100, 300)
    assert decided("vt-triage", VEILIG_THUIS, RVDK, persons=8).allowed
    assert decided("vt-triage", VEILIG_THUIS, RVDK, persons=9).rule == "personen"


def test_local_context_asks_open_registers_and_with_consent_the_others() -> None:
    assert purpose("zsm-lokale-context").source_terms["college_bw"].registers == ("veiligheid", "nazorg", "leerplicht")
    consent = purpose("zsm-lokale-context-toestemming").source_terms["college_bw"]
    assert consent.registers == ("wmo", "jeugd")
    for name in ("zsm-lokale-context", "zsm-lokale-context-toestemming"):
        assert purpose(name).open_question
        assert any(it.status is GroundStatus.DISPUTED for it in purpose(name).untested)


# --- FG, by name -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "changes"),
    [
        ("rol", {"role": "stagiair"}),
        ("zaaknummer", {"case_reference": ""}),
        ("afweging", {"justification": ""}),
        ("voorwaarde", {"attested": frozenset[str]()}),
        ("onbekend-doel", {"purpose": ""}),
        ("ander-convenant", {"covenant_hash": b""}),
    ],
)
def test_fg_01_no_question_without_purpose_version_role_justification_and_case(
    rule: str, changes: dict[str, object]
) -> None:
    good = ("vermoeden-uit-melding", "alleen-betrokkenen")
    assert own("vt-triage", VEILIG_THUIS, RVDK, *good).allowed
    assert own("vt-triage", VEILIG_THUIS, RVDK, *good, **changes).rule == rule


def test_fg_02_every_pair_that_a_purpose_does_not_name_is_denied() -> None:
    for it, (requester, source) in itertools.product(
        COVENANT.purposes.values(), itertools.permutations(COVENANT.participants, 2)
    ):
        named = requester in COVENANT.requesters(it.id) and source in COVENANT.sources(it.id)
        allowed = decide(COVENANT, ask(it.id.partition("/")[2], requester, source), NOW).allowed
        assert not allowed or named


def test_fg_03_every_pair_has_a_ground_on_both_sides_and_none_is_a_bill_or_an_agreement() -> None:
    for it in COVENANT.purposes.values():
        assert it.requester_grounds
        for ground in it.grounds:
            assert not is_no_law(ground)
            assert ground.status is not None
            assert ground.article


DENIED = [
    ("D1", Kind.COLLEGE_BW, "sociaal-domein-betrokkenheid", Kind.OM, Mode.MANUAL),
    ("D2", Kind.WIJKTEAM, "sociaal-domein-betrokkenheid", Kind.POLITIE, Mode.MANUAL),
    ("D3", Kind.OM, "zsm-context", Kind.WIJKTEAM, Mode.MANUAL),
    ("D4", Kind.COLLEGE_BW, "sociaal-domein-betrokkenheid", Kind.GGZ, Mode.STANDING),
    ("D5", Kind.OM, "zsm-context", Kind.VEILIG_THUIS, Mode.AUTOMATIC),
    ("D6", Kind.VEILIG_THUIS, "vt-triage", Kind.POLITIE, Mode.STANDING),
    ("D8", Kind.POLITIE, "radicalisering-casusoverleg", Kind.GGZ, Mode.MANUAL),
    ("D9", Kind.OM, "zvh-weging-betrokkenheid", Kind.HALT, Mode.MANUAL),
]


@pytest.mark.parametrize(("rule", "asker", "name", "source", "mode"), DENIED)
def test_fg_04_a_wider_catalogue_is_refused_at_the_decision_too(
    rule: str, asker: Kind, name: str, source: Kind, mode: Mode
) -> None:
    it = purpose(name)
    example = next(terms for terms in it.source_terms.values() if terms.mode is not Mode.NEVER)
    terms = {**it.source_terms, source.value: example.model_copy(update={"mode": mode, "only_for": ()})}
    asking = it.asker.model_copy(update={"organisations": (asker.value,), "mandates": ()})
    wider = it.model_copy(update={"source_terms": terms, "asker": asking})
    covenant = replace(COVENANT, purposes={it.id: wider})
    by_kind = {one.kind: one.oin for one in COVENANT.participants.values()}
    assert decide(covenant, ask(name, by_kind[asker], by_kind[source]), NOW).rule == rule
    assert rule in {direction.id for direction in DIRECTIONS}


def test_fg_05_every_partner_has_a_jurist_beside_its_ondertekenaar() -> None:
    keys = [key for one in COVENANT.participants.values() for key in one.keys]
    assert len(set(keys)) == 2 * len(COVENANT.participants)
    for one in COVENANT.participants.values():
        assert (one.privacy_officer, one.privacy_deputy) != (None, None)
        assert not any("/fg" in key.lower() for key in one.keys)


def test_fg_06_every_purpose_names_its_dpia_and_the_advice_of_the_rac() -> None:
    for it in COVENANT.purposes.values():
        assert it.dpia
        assert it.advice
        assert it.last_day or not it.untested


@pytest.mark.parametrize("missing", ["dpia", "advice", "last_day"])
def test_fg_06_an_untested_ground_without_references_decides_nothing(missing: str) -> None:
    it = purpose("zsm-context").model_copy(update={missing: None})
    covenant = replace(COVENANT, purposes={it.id: it})
    decision = decide(covenant, ask("zsm-context", OM, POLITIE), NOW)
    assert decision.rule == "ongetoetst"
    assert decision.article == "RO 124"


def test_fg_06_a_trial_ends_on_its_last_day() -> None:
    it = purpose("zsm-context")
    assert it.last_day is not None
    covenant = replace(
        COVENANT, agreement=COVENANT.agreement.model_copy(update={"last_day": it.last_day + timedelta(days=30)})
    )
    asked = ask("zsm-context", OM, POLITIE)
    last = COVENANT.valid_until - timedelta(seconds=1)
    assert decide(covenant, asked, last).allowed
    after = decide(covenant, asked, last + timedelta(seconds=1))
    assert (after.rule, "op proef" in after.reason) == ("einddatum", True)


def test_fg_07_what_the_source_decides_depends_on_its_own_copy_alone() -> None:
    """A broker with a wider copy has another hash; with the same hash it can change nothing."""
    wider = replace(COVENANT, hash=b"wider".ljust(32))
    asked = ask("zsm-context", OM, POLITIE, covenant_hash=wider.hash)
    assert decide(wider, asked, NOW).allowed
    assert decide(COVENANT, asked, NOW).rule == "ander-convenant"


def test_fg_08_purposes_that_ask_three_texts_say_so() -> None:
    without = {name for name in PURPOSES if not purpose(name).weighing}
    assert without == {"zsm-context"}


def test_fg_09_the_number_of_sources_is_bounded_and_chosen() -> None:
    for it in COVENANT.purposes.values():
        assert 1 <= it.max_sources <= 16
    assert (
        own("vt-triage", VEILIG_THUIS, RVDK, "vermoeden-uit-melding", "alleen-betrokkenen", sources=0).rule == "bronnen"
    )


def test_fg_10_a_source_that_needs_consent_has_a_dated_consent() -> None:
    for it in COVENANT.purposes.values():
        consents = {one.id for one in it.conditions if one.form is ConditionForm.CONSENT}
        for oin, source in COVENANT.sources(it.id).items():
            if source.mode is Mode.CONSENT:
                requester = next(one for one in COVENANT.requesters(it.id).values() if one.oin != oin)
                namens = None if requester.for_itself else min(requester.on_behalf_of)
                decision = decide(COVENANT, ask(it.id.partition("/")[2], requester.oin, oin, namens), NOW)
                assert consents & set(decision.attests), (it.id, oin)


def test_fg_40_nothing_that_a_decision_says_can_be_ranked() -> None:
    """No number, so no score, rank or risk label: yes or no, and texts."""
    kinds = {field.name: str(field.type) for field in fields(Decision)}
    assert not any(re.search(r"int|float|Decimal", kind) for kind in kinds.values()), kinds


def test_fg_42_a_decision_never_sees_who_the_question_is_about() -> None:
    known = {field.name for field in fields(Asked)}
    assert known.isdisjoint({"identifier", "bsn", "person", "birth_date", "name"})
    assert {"requester", "source", "purpose", "persons"} <= known


def test_fg_43_a_purpose_out_of_service_stops_and_nothing_else_does() -> None:
    it = purpose("zsm-context").model_copy(update={"in_service": False})
    covenant = replace(COVENANT, purposes={**COVENANT.purposes, it.id: it})
    assert decide(covenant, ask("zsm-context", OM, POLITIE), NOW).rule == "buiten-dienst"
    assert decide(covenant, ask("zsm-lokale-context", OM, HAARLEM), NOW).allowed


# --- what the purposes say between parties ---------------------------------------------------------------------


def test_the_police_answer_the_college_about_youth_but_not_the_wijkteam() -> None:
    name = "sociaal-domein-betrokkenheid"
    assert decided(name, HAARLEM, POLITIE).allowed
    assert "jeugdzaak" in decided(name, HAARLEM, POLITIE).attests
    refused = decided(name, WIJKTEAM, POLITIE, HAARLEM)
    assert refused.rule == "alleen-voor"
    assert decided(name, WIJKTEAM, GGZ, HAARLEM).allowed
    assert decided(name, WIJKTEAM, GGZ).rule == "namens"


def test_a_house_asks_another_house_and_never_itself_or_its_partners() -> None:
    name = "zvh-bekend-ander-zvh"
    assert decided(name, HAARLEM, OTHER_ZVH).mode is Mode.STANDING
    assert decided(name, ZVH, OTHER_ZVH, HAARLEM).allowed
    assert decided(name, HAARLEM, ZVH).rule == "eigen-zvh"
    assert decided("zvh-weging-betrokkenheid", ZVH, OTHER_VT, HAARLEM).rule == "D12"


def test_a_mandate_ends_on_its_day() -> None:
    it = purpose("zvh-bekend-ander-zvh")
    ended = it.asker.mandates[0].model_copy(update={"last_day": NOW.date() - timedelta(days=1)})
    asker = it.asker.model_copy(update={"mandates": (ended,)})
    covenant = replace(COVENANT, purposes={it.id: it.model_copy(update={"asker": asker})})
    asked = ask("zvh-bekend-ander-zvh", ZVH, OTHER_ZVH, HAARLEM)
    assert decide(covenant, asked, NOW).rule == "mandaat"
    assert decide(covenant, asked, NOW - timedelta(days=1)).allowed


@pytest.mark.parametrize(
    ("attested", "allowed"),
    [
        (("uitstroomdatum=2027-03-01", "gemeente=haarlem"), True),
        (("uitstroomdatum=2027-06-01", "gemeente=velsen"), True),
        (("uitstroomdatum=2027-06-02", "gemeente=velsen"), False),
        (("uitstroomdatum=2026-11-30", "gemeente=velsen"), False),
        (("uitstroomdatum=2027-03-01", "gemeente=zandvoort"), False),
        (("uitstroomdatum", "gemeente=haarlem"), False),
        (("gemeente=haarlem",), False),
    ],
)
def test_aftercare_needs_a_release_within_six_months_and_a_town_of_this_covenant(
    attested: tuple[str, ...], allowed: bool
) -> None:
    assert own("nazorg-ex-gedetineerden", DJI, RECLASSERING, *attested).allowed is allowed


@pytest.mark.parametrize(("age", "allowed"), [(11, False), (12, True), (17, True), (18, False)])
def test_halt_and_the_council_are_asked_about_12_to_17_year_olds_only(age: int, allowed: bool) -> None:
    stated = ("verdachte", "datum-feit=2026-11-30", f"leeftijd-12-17={age}")
    assert own("zsm-context", OM, HALT, *stated).allowed is allowed
    assert own("zsm-context", OM, POLITIE, "verdachte").allowed


def test_fg_38_an_age_is_refused_in_words_that_say_what_is_missing() -> None:
    refused = own("zsm-context", OM, HALT, "verdachte", "datum-feit=2026-11-30")
    assert (refused.rule, refused.condition) == ("voorwaarde", "leeftijd-12-17")
    assert refused.reason.startswith("Een voorwaarde is niet vervuld (er is geen geboortedatum): ")
    assert refused.remedy.startswith("Geef van elke persoon de gecontroleerde geboortedatum.")
    both = own("zsm-context", OM, HALT, "verdachte").remedy
    assert both.startswith("Bevestig: datum-feit=jjjj-mm-dd. Geef van elke persoon")
    # Several persons: it holds for all of them, or the source is not asked.
    assert not own(
        "zsm-context", OM, HALT, "verdachte", "datum-feit=2026-11-30", "leeftijd-12-17=15", "leeftijd-12-17=18"
    ).allowed


def test_a_refusal_names_condition_article_and_what_would_have_to_be_different() -> None:
    refused = own("nazorg-ex-gedetineerden", DJI, RECLASSERING, "uitstroomdatum=2028-01-01", "gemeente=haarlem")
    assert (refused.rule, refused.condition, refused.article) == ("voorwaarde", "uitstroomdatum", "Pbw 18a")
    assert "meer dan 6 maanden vooruit" in refused.reason
    assert refused.remedy == "Bevestig: uitstroomdatum=jjjj-mm-dd."


def test_a_refusal_names_the_nearest_thing_that_is_allowed() -> None:
    refused = decided("zsm-context", OM, VELSEN)
    assert refused.rule == "nooit"
    assert (
        refused.nearest
        == "Gemeente Velsen (college) is voor u wel bron onder 'ZSM: lokale context' (standaardbesluit)."
    )
    assert "daar vraagt Halt Noordwest niet" in decided("zsm-context", HALT, POLITIE).nearest


def test_conditions_that_the_source_keeps_are_not_attested_by_the_requester() -> None:
    assert "afweging-bron" not in decided("vt-triage", VEILIG_THUIS, RVDK).attests


def test_nobody_answers_by_machine_where_the_law_forbids_it() -> None:
    for it in COVENANT.purposes.values():
        for source in COVENANT.sources(it.id).values():
            kind = COVENANT.participants[source.oin].kind
            if kind in {Kind.GGZ, Kind.JEUGDHULP, Kind.VEILIG_THUIS}:
                assert not source.mode.by_machine
            if kind is Kind.POLITIE and source.mode.by_machine:
                assert set(it.asker.organisations) == {"om"}


def test_suboins_belong_to_their_municipality_and_mandates_to_their_principal() -> None:
    covenant: Covenant = load_covenant(CATALOGUE)
    assert covenant.participants[BURGEMEESTER].parent == HAARLEM
    assert covenant.participants[WIJKTEAM].parent == HAARLEM
    assert covenant.requesters(id_of("verward-gedrag"))[GGD].on_behalf_of == {HAARLEM}
