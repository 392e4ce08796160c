"""The worklist, `al in contact`, and a case that is not taken in while colleagues look at it."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from bekend_node.ask.rules import Inquiry
from bekend_node.web.in_contact import AT_MOST, InContact
from playwright.sync_api import Page

from tests.support.asking import DIRECTOR, OTHER, PERSON, ZVH_CASE
from tests.support.clocks import SteeredClock
from tests.support.covenants import HAARLEM, NOW, POLITIE, RECLASSERING
from tests.support.pages import COLLEAGUE, StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere
from tests.web.test_web_late import FORM, asked, at_case, release, sign_in, words

READY = "button:has-text('Zet op de werklijst')"
ASK_ONE = "main button:has-text('Vraag het de partners')"
CONTACT = "button:has-text('Wij zijn al in contact')"
SECOND_CASE = "ZVH-2026-0124"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        made.stage.sources[POLITIE].by_hand = True
        made.stage.sources[POLITIE].known = (PERSON,)
        made.stage.sources[HAARLEM].known = (PERSON,)
        yield made


def prepare(
    site: StagedPages, page: Page, case: str = ZVH_CASE, *, number: str = PERSON.value, reason: str = "De aanmelding"
) -> None:
    page.goto(site.origin + FORM)
    page.fill("#zaak", case)
    page.fill("#persoon-1", number)
    for box in page.locator("input[type=checkbox][name^=voorwaarde-]").all():
        box.check()
    page.fill("[id='motivering-']", f"{reason} is getoetst, de deelnemers moeten bekend zijn.")
    page.check(f"input[value='{HAARLEM}']")
    page.click(READY)


@pytest.mark.parametrize("script", [True, False])
def test_questions_stand_ready_and_are_asked_one_by_one(
    site: StagedPages, open_at: OpenAt, pictures: Path, script: bool
) -> None:
    page = sign_in(open_at(site.origin, script=script))
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    prepare(site, page)
    assert site.stage.line.begins == []
    prepare(site, page, SECOND_CASE, number=OTHER.value, reason="De tweede melding")
    assert page.locator("main .kaart").count() == 2
    assert not any(one in page.content() + page.url for one in (PERSON.value, OTHER.value))
    if script:
        looked_at("officer-werklijst")
    page.locator(ASK_ONE).first.click()
    page.wait_for_selector(".knoppen")
    assert words(page)["Gemeente Haarlem (college)"] == "bekend"
    assert len(site.stage.line.begins) == 1
    page.click("text=Terug naar de werklijst (1)")
    assert page.locator("main .kaart h2").all_inner_texts() == [f"Zaak {SECOND_CASE}"]
    page.click("button:has-text('Haal weg')")
    assert "Er staat niets klaar" in page.inner_text("main")
    assert len(site.stage.line.begins) == 1


def test_fg_20_each_question_has_a_case_and_a_justification_of_its_own(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    prepare(site, page)
    prepare(site, page, reason="De andere melding")
    assert "al een vraag klaar" in page.inner_text("#zaak-fout")
    prepare(site, page, SECOND_CASE, reason="de  aanmelding")
    assert "al bij een andere vraag" in page.inner_text("#motivering")
    page.goto(site.origin + "/werklijst")
    assert page.locator("main .kaart").count() == 1


def test_fg_20_nothing_asks_more_than_one_and_nothing_takes_a_list(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    prepare(site, page)
    assert page.locator("input[type=file]").count() == 0
    forms = page.locator("main form").evaluate_all("found => found.map(one => one.getAttribute('action'))")
    assert [action.rsplit("/", 1)[1] for action in forms] == ["vragen", "weg"]
    for path in ("/werklijst", "/werklijst/vragen", "/werklijst/alle/vragen"):
        reply = page.request.post(site.origin + path, form={"id": "1", "ids": "1,2"}, headers={"origin": site.origin})
        assert reply.status in {404, 405}


def test_a_question_that_the_rules_do_not_admit_does_not_stand_ready(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    page.fill("#zaak", ZVH_CASE)
    page.fill("#persoon-1", PERSON.value)
    page.fill("[id='motivering-']", "De aanmelding is getoetst.")
    page.check(f"input[value='{HAARLEM}']")
    page.click(READY)
    assert "regel voorwaarde" in page.inner_text("#voorwaarden")
    page.goto(site.origin + "/werklijst")
    assert page.locator("main .kaart").count() == 0


def test_the_list_is_of_one_session_and_goes_with_it(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    prepare(site, page)
    action = page.locator("main form").first.get_attribute("action")
    other = sign_in(open_at(site.origin))
    other.goto(site.origin + "/werklijst")
    assert other.locator("main .kaart").count() == 0
    assert other.request.post(f"{site.origin}{action}", headers={"origin": site.origin}).status == 404
    page.click("button:has-text('Uitloggen')")
    sign_in(page)
    page.goto(site.origin + "/werklijst")
    assert page.locator("main .kaart").count() == 0


def test_a_list_takes_so_many_and_no_more(site: StagedPages, open_at: OpenAt, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bekend_node.web.worklist.MOST", 1)
    page = sign_in(open_at(site.origin))
    prepare(site, page)
    prepare(site, page, SECOND_CASE, reason="De tweede melding")
    assert "passen 1 vragen" in page.inner_text("#fouten")


def test_what_stands_ready_is_in_no_print_of_it(site: StagedPages) -> None:
    inquiry = Inquiry("d", (PERSON,), (HAARLEM,), DIRECTOR, ZVH_CASE)
    assert PERSON.value not in repr(inquiry)


# --- al in contact ------------------------------------------------------------------------------------


def test_al_in_contact_is_seen_by_colleagues_on_the_case_and_sent_to_nobody(
    site: StagedPages, open_at: OpenAt, pictures: Path
) -> None:
    page = asked(site, open_at, HAARLEM, RECLASSERING)
    assert page.locator(CONTACT).count() == 1
    before = len(site.stage.line.asks) + len(site.stage.line.releases)
    page.click(CONTACT)
    assert f"Gemeld door {DIRECTOR.name}" in page.inner_text("main")
    assert_looks_right_everywhere(page, pictures, "officer-contact")
    assert len(site.stage.line.asks) + len(site.stage.line.releases) == before
    colleague = sign_in(open_at(site.origin), COLLEAGUE.name)
    colleague.goto(site.origin + FORM)
    ask_as(colleague, HAARLEM)
    assert f"Gemeld door {DIRECTOR.name}" in colleague.inner_text("main")
    colleague.goto(site.origin + FORM)
    ask_as(colleague, HAARLEM, case=SECOND_CASE)
    assert "Gemeld door" not in colleague.inner_text("main")
    page.click("button:has-text('Haal dit weg')")
    assert page.locator(CONTACT).count() == 1


def ask_as(page: Page, partner: str, case: str = ZVH_CASE) -> None:
    page.fill("#zaak", case)
    page.fill("#persoon-1", PERSON.value)
    for box in page.locator("input[type=checkbox][name^=voorwaarde-]").all():
        box.check()
    page.fill("[id='motivering-']", "De aanmelding is getoetst, de deelnemers moeten bekend zijn.")
    page.check(f"input[value='{partner}']")
    page.click("button:has-text('Vraag het de partners')")
    page.wait_for_selector(".knoppen")


def test_al_in_contact_stands_beside_an_answer_that_came_later(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, POLITIE)
    assert page.locator(CONTACT).count() == 0
    release(site)
    page.click("nav a:has-text('Mijn vragen')")
    page.click(CONTACT)
    assert f"Gemeld door {DIRECTOR.name}" in page.inner_text("main")
    colleague = at_case(site, sign_in(open_at(site.origin), COLLEAGUE.name))
    assert f"Gemeld door {DIRECTOR.name}" in colleague.inner_text("main")


def test_only_beside_a_hit_is_there_something_to_say(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, RECLASSERING)
    assert page.locator(CONTACT).count() == 0
    reply = page.request.post(f"{page.url}/contact", form={"partner": RECLASSERING}, headers={"origin": site.origin})
    assert reply.status == 404


def test_a_mark_ends_with_the_result_and_marks_are_bounded() -> None:
    clock = SteeredClock(NOW)
    marks = InContact(clock)
    marks.add("1", "d", "p", user="a", name="A", expires=NOW + timedelta(hours=1))
    marks.add("1", "d", "p", user="b", name="B", expires=NOW + timedelta(hours=1))
    first = marks.of("1", "d", "p")
    assert first is not None
    assert first.user == "a"
    marks.add("", "d", "p", user="a", name="A", expires=NOW + timedelta(hours=1))
    assert marks.of("", "d", "p") is None
    clock.advance(timedelta(hours=1))
    assert marks.of("1", "d", "p") is None
    for number in range(AT_MOST + 1):
        marks.add(str(number), "d", "p", user="a", name="A", expires=clock.now() + timedelta(hours=1))
    assert marks.of("0", "d", "p") is None
    assert marks.of(str(AT_MOST), "d", "p") is not None


# --- not taken in ------------------------------------------------------------------------------------


def test_fg_32_a_case_that_is_not_taken_in_is_gone_from_every_session(site: StagedPages, open_at: OpenAt) -> None:
    colleague = sign_in(open_at(site.origin), COLLEAGUE.name)
    colleague.goto(site.origin + FORM)
    ask_as(colleague, HAARLEM)
    colleague.click(CONTACT)
    there = colleague.url
    prepare(site, colleague)
    page = asked(site, open_at, HAARLEM)
    page.click("button:has-text('wis de uitkomsten')")
    colleague.goto(there)
    assert "verlopen" in colleague.inner_text("main")
    colleague.goto(site.origin + "/werklijst")
    assert colleague.locator("main .kaart").count() == 0
    colleague.goto(site.origin + FORM)
    ask_as(colleague, HAARLEM)
    assert "Gemeld door" not in colleague.inner_text("main")
