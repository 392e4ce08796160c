"""The letter (FG-33..35): what is true and no more; the same for who has nothing and for whom something must wait."""

import asyncio
import json
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.classes import POSSIBLE
from bekend_node.records.findings import in_full
from bekend_node.records.periods import KIND, Learned, Registration, learned, load_registration
from bekend_node.store_deferrals import Deferrals
from bekend_policy.deferring import About, Deferral
from bekend_policy.load import load_covenant
from bekend_policy.model import Source
from bekend_policy.strict_yaml import YamlFaults
from bekend_policy.terms import Ground, Mode
from bekend_proto.errors import MalformedError, RefusedError
from hypothesis import given
from hypothesis import strategies as st

from tests.support.covenants import HAARLEM, NOW, OM, RECLASSERING, VELSEN, ZSM, ZVH, ZVH_WEIGHING
from tests.support.sealed import ANN, BEN, CAS, Archive

HIT, MISS = OutcomeKind.KNOWN, OutcomeKind.INCONCLUSIVE
MOMENT = NOW - timedelta(days=3)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return Archive(tmp_path, oin=HAARLEM)


def registration(*periods: dict[str, str], shielded: tuple[dict[str, str], ...] = ()) -> Registration:
    facts: dict[str, Any] = {"soort": KIND, "geregistreerd": "ja" if periods else "nee"}
    if periods:
        facts["registers"] = list(periods)
    if shielded:
        facts["afgeschermd"] = list(shielded)
    return Registration.model_validate(facts)


SINCE = registration({"register": "veiligheid", "van": "2026-01-01"})


def test_fg_33_who_asked_when_for_what_on_what_ground_and_what_was_learned(archive: Archive) -> None:
    archive.question([ANN], requester=ZVH, purpose=ZVH_WEIGHING, on_behalf_of=VELSEN, moment=MOMENT)
    page, data = archive.letter(ANN, SINCE)
    (line,) = json.loads(data)["asked_of_us"]
    assert line["requester"].startswith("Zorg- en Veiligheidshuis")
    assert line["on_behalf_of"].startswith("Gemeente Velsen")
    assert line["moment"].startswith("2026-11-28T13:00")
    assert any("(WGS): 2.25" in ground for ground in line["grounds"])
    assert line["learned"] == "bekend"
    for text in (
        "28 november 2026, 13.00 uur",
        "Bekend. De organisatie hoorde dat u bij ons bekend was",
        "Loket Inzage",
    ):
        assert text in page


def test_fg_33_own_questions_by_role_and_with_every_answer(archive: Archive) -> None:
    told = {RECLASSERING: [HIT], OM: [MISS], VELSEN: [OutcomeKind.NO_ANSWER]}
    archive.own([ANN], told, purpose=ZVH_WEIGHING, role="procesregisseur", case="ZVH-2026-0123")
    page, data = archive.letter(ANN)
    (line,) = json.loads(data)["asked_by_us"]
    assert {one["outcome"] for one in line["answers"]} == {"bekend", "geen_uitsluitsel", "geen_antwoord"}
    assert "Een medewerker van ons (procesregisseur)" in page
    for secret in ("jansen", "Jansen", "ZVH-2026-0123", ANN.value):
        assert secret not in page
        assert secret not in data


def test_every_letter_explains_what_may_be_left_out(archive: Archive) -> None:
    archive.question([ANN], requester=OM, purpose=ZVH_WEIGHING)
    for person in (ANN, CAS):
        page, data = archive.letter(person)
        assert "Deze uitleg staat in elke brief, ook als er niets is weggelaten" in page
        assert "niet aan dit bestand" in data


def test_fg_33_what_was_learned_before_a_case_lapsed_is_told(archive: Archive) -> None:
    archive.own([ANN], {OM: [OutcomeKind.NO_ANSWER]}, late={OM: ["vernietigd"]}, lapsed={OM: ["bekend"]})
    _, data = archive.letter(ANN)
    (line,) = json.loads(data)["asked_by_us"]
    assert [one["outcome"] for one in line["answers"]] == ["bekend"]


def test_a_withdrawn_consent_is_not_told_as_no_answer(archive: Archive) -> None:
    """What came is destroyed, and may have been `bekend`: the letter must not say that there was nothing."""
    archive.own([ANN], {OM: [OutcomeKind.PENDING]}, late={OM: ["ingetrokken"]})
    page, data = archive.letter(ANN)
    (line,) = json.loads(data)["asked_by_us"]
    assert [one["outcome"] for one in line["answers"]] == ["ingetrokken"]
    assert "De toestemming is ingetrokken. Kwam er al een antwoord, dan is dat vernietigd." in page
    assert "Er kwam geen antwoord." not in page


def test_an_article_stands_once_behind_its_law() -> None:
    def ground(law: str, article: str) -> Ground:
        return Ground.model_validate({"wet": law, "artikel": article, "status": "te_toetsen"})

    found = in_full([ground("Wpg", "16(1)(a)"), ground("RO", "124"), ground("Wpg", "16(1)(a), 23(1)(a)")])
    assert found == (
        "Wet politiegegevens (Wpg): 16(1)(a), 23(1)(a)",
        "Wet op de rechterlijke organisatie (RO): 124",
    )


def defer(archive: Archive, **changes: Any) -> Deferral:
    """A deferral in force, unless the changes say otherwise: put on the record as the node does."""
    facts: dict[str, Any] = {
        "number": 0, "about": About.CASE, "reference": "ZVH-2026-0123", "purpose": ZVH_WEIGHING,
        "ground": "UAVG 41: gevaar voor een ander", "author": "jansen", "author_name": "J. Jansen",
        "at": archive.now, "review_on": date(2026, 12, 20),
    }  # fmt: skip
    approved, ended = changes.pop("approved", True), changes.pop("ended", False)
    it = Deferral(**(facts | changes))
    deferrals = Deferrals(archive.store.database)

    async def put() -> int:
        number = await deferrals.record(it)
        if approved:
            await deferrals.step(number, "approved", "devries", "", archive.now)
        if ended:
            await deferrals.step(number, "ended", "jansen", "klaar", archive.now)
        return number

    return replace(it, number=asyncio.run(put()))


def test_fg_34_a_deferral_takes_its_line_away_and_leaves_no_trace(archive: Archive) -> None:
    """The letter is octet for octet that of somebody about whom there is nothing."""
    archive.own([ANN], {RECLASSERING: [HIT]}, purpose=ZVH_WEIGHING, case="ZVH-2026-0123")
    asked = archive.question([ANN], requester=OM, purpose=ZVH_WEIGHING, moment=MOMENT)
    assert archive.letter(ANN) != archive.letter(CAS)
    one = defer(archive)
    other = defer(archive, about=About.QUESTION, reference=asked.question_hash.hex())
    assert archive.letter(ANN) == archive.letter(CAS)
    findings = archive.answer(ANN)
    assert [deferral.number for deferral, _ in findings.postponed] == [other.number, one.number]
    assert (findings.asked_of_us, findings.asked_by_us) == ((), ())


def test_fg_34_a_deferral_touches_what_it_names_and_no_more(archive: Archive) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]}, purpose=ZVH_WEIGHING, case="ZVH-2026-0999")
    archive.question([ANN], requester=OM, purpose=ZVH_WEIGHING)
    before = archive.letter(ANN)
    defer(archive)
    defer(archive, about=About.QUESTION, reference="ab" * 32)
    defer(archive, reference="ZVH-2026-0999", purpose=ZSM)
    assert archive.letter(ANN) == before


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"approved": False}, "wacht op een tweede persoon"),
        ({"review_on": date(2026, 12, 1)}, "moet opnieuw worden bekeken"),
        ({"review_on": date(2026, 6, 1)}, "moet opnieuw worden bekeken"),
    ],
)
def test_fg_34_neither_silence_nor_disclosure_happens_by_forgetting(
    archive: Archive, changes: dict[str, Any], says: str
) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]}, purpose=ZVH_WEIGHING, case="ZVH-2026-0123")
    defer(archive, **changes)
    with pytest.raises(RefusedError, match=says):
        archive.letter(ANN)
    archive.letter(CAS)


def test_fg_34_an_ended_deferral_hides_nothing(archive: Archive) -> None:
    archive.own([ANN], {RECLASSERING: [HIT]}, purpose=ZVH_WEIGHING, case="ZVH-2026-0123")
    defer(archive, ended=True)
    assert len(json.loads(archive.letter(ANN)[1])["asked_by_us"]) == 1


def test_fg_35_a_letter_from_a_family_question_is_that_of_a_question_about_one(archive: Archive) -> None:
    """Octet for octet, at the source and at the requester: nobody learns that another was asked about."""
    archive.question([BEN, ANN, CAS], requester=OM, purpose=ZVH_WEIGHING, moment=MOMENT)
    archive.own([BEN, ANN], {RECLASSERING: [HIT, MISS]}, purpose=ZVH_WEIGHING, moment=MOMENT)
    family = archive.letter(ANN, SINCE)
    alone = Archive(archive.folder / "alleen", oin=HAARLEM, officer=archive.officer)
    alone.question([ANN], requester=OM, purpose=ZVH_WEIGHING, moment=MOMENT)
    alone.own([ANN], {RECLASSERING: [MISS]}, purpose=ZVH_WEIGHING, moment=MOMENT)
    assert alone.letter(ANN, SINCE) == family


def test_fg_35_breaches_and_postponements_are_for_the_officer_alone(archive: Archive) -> None:
    original = archive.question([ANN], requester=OM, purpose=ZVH_WEIGHING, moment=MOMENT)
    before = archive.letter(ANN)
    archive.question([BEN], requester=OM, purpose=ZVH_WEIGHING, sealed={0: original.sealed[0]})
    assert archive.answer(ANN).faults
    assert archive.letter(ANN) == before


def test_a_purpose_of_a_covenant_that_is_not_at_hand_any_more(archive: Archive) -> None:
    archive.question([ANN], requester="00000099000000077000", purpose="kennemerland/vroeger")
    page, data = archive.letter(ANN, SINCE)
    (line,) = json.loads(data)["asked_of_us"]
    assert line["learned"] == "onbekend"
    assert "een organisatie die niet meer meedoet" in page


def test_names_in_a_covenant_are_text_and_no_markup(archive: Archive) -> None:
    folder = archive.covenant / "doelen" / "zvh-weging-betrokkenheid.yaml"
    folder.write_text(folder.read_text().replace("titel: ", 'titel: "<script>alert(1)</script>" #', 1))
    from tests.support.covenants import sign_all  # noqa: PLC0415

    sign_all(archive.covenant)
    archive.question([ANN], requester=OM, purpose=ZVH_WEIGHING)
    page, _ = archive.letter(ANN)
    assert "<script>" not in page
    assert "&lt;script&gt;" in page


def test_the_page_needs_nothing_and_runs_nothing(archive: Archive) -> None:
    page, _ = archive.letter(ANN)
    assert "default-src 'none'" in page
    for word in ("<script", "<img", "<link", "http://", "https://", "url(", "@import"):
        assert word not in page


# --- periods


SOURCE = Source(HAARLEM, Mode.STANDING, ("veiligheid", "nazorg"), timedelta(days=3), (), None)


@pytest.mark.parametrize(
    ("periods", "day", "result"),
    [
        ([], "2026-06-15", Learned.NOTHING),
        ([("veiligheid", "2026-01-01", "")], "2026-06-15", Learned.KNOWN),
        ([("wmo", "2026-01-01", "")], "2026-06-15", Learned.NOTHING),
        ([("veiligheid", "2026-06-16", "")], "2026-06-15", Learned.NOTHING),
        # A list may be three days old, and a day passes before it is made.
        ([("veiligheid", "2026-06-13", "")], "2026-06-15", Learned.UNKNOWN),
        ([("veiligheid", "2026-06-11", "")], "2026-06-15", Learned.KNOWN),
        # An ended registration is in the filter to the end of its month.
        ([("veiligheid", "2026-01-01", "2026-06-15")], "2026-06-15", Learned.KNOWN),
        ([("veiligheid", "2026-01-01", "2026-06-10")], "2026-06-15", Learned.UNKNOWN),
        ([("veiligheid", "2026-01-01", "2026-05-10")], "2026-06-15", Learned.NOTHING),
        ([("veiligheid", "2026-01-01", "2026-05-10")], "2026-06-02", Learned.UNKNOWN),
        ([("veiligheid", "2026-01-01", "2026-03-01"), ("nazorg", "2026-06-01", "")], "2026-06-15", Learned.KNOWN),
    ],
)
def test_what_a_question_was_answered_follows_from_the_periods(
    periods: list[tuple[str, str, str]], day: str, result: Learned
) -> None:
    given_ = [{"register": name, "van": first} | ({"tot": last} if last else {}) for name, first, last in periods]
    assert learned(registration(*given_), SOURCE, date.fromisoformat(day)) is result


def test_who_was_shielded_was_not_known(archive: Archive) -> None:
    one = {"register": "veiligheid", "van": "2026-01-01"}
    day = date(2026, 6, 15)
    assert learned(registration(one, shielded=({"van": "2026-03-01"},)), SOURCE, day) is Learned.NOTHING
    assert learned(registration(one, shielded=({"van": "2026-06-14"},)), SOURCE, day) is Learned.UNKNOWN
    assert (
        learned(registration(one, shielded=({"van": "2026-01-01", "tot": "2026-02-01"},)), SOURCE, day) is Learned.KNOWN
    )


def test_where_a_person_decided_the_periods_do_not_tell(archive: Archive) -> None:
    manual = replace(SOURCE, mode=Mode.MANUAL)
    one = {"register": "veiligheid", "van": "2026-01-01"}
    assert learned(registration(one), manual, date(2026, 6, 15)) is Learned.UNKNOWN
    assert learned(registration(), manual, date(2026, 6, 15)) is Learned.NOTHING
    assert learned(None, SOURCE, date(2026, 6, 15)) is Learned.UNKNOWN
    assert learned(registration(one), None, date(2026, 6, 15)) is Learned.UNKNOWN


def test_fg_24_whoever_asked_by_name_heard_at_most_that_it_may_be_so(archive: Archive) -> None:
    one = {"register": "veiligheid", "van": "2026-01-01"}
    day = date(2026, 6, 15)
    assert SOURCE.mode.by_machine
    assert learned(registration(one), SOURCE, day, POSSIBLE) is Learned.PERHAPS
    assert learned(None, SOURCE, day, POSSIBLE) is Learned.PERHAPS
    assert learned(registration(), SOURCE, day, POSSIBLE) is Learned.NOTHING


@given(
    st.lists(st.tuples(st.dates(date(2026, 1, 1), date(2026, 12, 1)), st.integers(0, 90)), max_size=4),
    st.dates(date(2026, 1, 1), date(2026, 12, 31)),
)
def test_what_is_certain_is_true_whatever_list_was_in_service(periods: list[tuple[date, int]], day: date) -> None:
    """Against the plainest model of a filter: a list of some earlier day, less who ended in a month before."""
    found = [
        {"register": "veiligheid", "van": first.isoformat(), "tot": (first + timedelta(days=length)).isoformat()}
        for first, length in periods
    ]
    said = learned(registration(*found), SOURCE, day)
    possible = set()
    for age in range(4):
        as_of = day - timedelta(days=age)
        known = any(
            first <= as_of and (first + timedelta(days=length)).replace(day=1) >= day.replace(day=1)
            for first, length in periods
        )
        possible.add(known)
    if said is Learned.KNOWN:
        assert possible == {True}
    if said is Learned.NOTHING:
        assert possible == {False}


def test_the_file_is_read_strictly(tmp_path: Path) -> None:
    path = tmp_path / "registratie.yaml"
    path.write_text(f"soort: {KIND}\ngeregistreerd: ja\nregisters:\n  - {{register: clienten, van: 2024-03-01}}\n")
    assert load_registration(path).registers[0].first == date(2024, 3, 1)
    for text in (
        f"soort: {KIND}\ngeregistreerd: nee\nregisters:\n  - {{register: clienten, van: 2024-03-01}}\n",
        f"soort: {KIND}\ngeregistreerd: ja\n",
        f"soort: {KIND}\ngeregistreerd: ja\nregisters:\n  - {{register: clienten, van: 2024-03-01, tot: 2024-02-01}}\n",
        f"soort: {KIND}\ngeregistreerd: ja\nbsn: '999990019'\nregisters:\n  - {{register: c, van: 2024-03-01}}\n",
        f"soort: {KIND}\ngeregistreerd: ja\nregisters:\n  - {{register: c, van: 01-03-2024}}\n",
    ):
        path.write_text(text)
        with pytest.raises(YamlFaults):
            load_registration(path)
    path.write_text("soort: bekend/1 iets\ngeregistreerd: nee\n")
    with pytest.raises(MalformedError):
        load_registration(path)


def test_the_covenant_of_these_tests_lets_haarlem_answer(archive: Archive) -> None:
    source = load_covenant(archive.covenant).sources(ZVH_WEIGHING)[HAARLEM]
    assert "veiligheid" in source.registers
    assert isinstance(MOMENT, datetime)
