"""Somebody was wrongly `bekend` (FG-26): reported on the page, taken back everywhere here, and a letter to take."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page

from tests.support.asking import PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, POLITIE, VEILIG_THUIS
from tests.support.pages import COLLEAGUE, StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere
from tests.web.test_web_late import FORM, ask, asked, sign_in, words

REASON = "De persoon is daar nooit geweest"
LINK = "a:has-text(\"Klopt 'bekend' niet?\")"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        made.stage.sources[POLITIE].by_hand = True
        for oin in (POLITIE, HAARLEM):
            made.stage.sources[oin].known = (PERSON,)
        yield made


def report(page: Page, partner: str, reason: str = REASON) -> None:
    page.select_option("#partner", partner)
    page.fill("#reden", reason)
    page.click("button:has-text('Trek het antwoord in')")


def letter_of(page: Page, into: Path) -> str:
    with page.expect_download() as download:
        page.click("a:has-text('Haal de brief op')")
    download.value.save_as(into)
    return into.read_text("utf-8")


@pytest.mark.parametrize("script", [True, False])
def test_fg_26_an_answer_is_taken_back_and_a_letter_names_the_question_and_nobody(
    site: StagedPages, open_at: OpenAt, tmp_path: Path, script: bool
) -> None:
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    ask(page, HAARLEM)
    assert list(words(page).values()) == ["bekend"]
    outcome = page.url
    page.click(LINK)
    assert page.input_value("#zaak") == ZVH_CASE
    assert ZVH_CASE not in page.url
    report(page, HAARLEM)
    assert "onterecht-1" in page.inner_text("[role=status]")
    letter = letter_of(page, tmp_path / "brief.html")
    assert REASON in letter
    assert PERSON.value not in letter
    assert ZVH_CASE not in letter
    page.goto(outcome)
    assert list(words(page).values()) == ["geen uitsluitsel"]
    assert "Ingetrokken" in page.inner_text("main")
    # The receipt that was there stays what it was.
    assert page.is_visible("a:has-text('ontvangstbewijs')")


def test_fg_26_what_a_colleague_decided_is_taken_back_for_every_officer_of_the_case(
    site: StagedPages, open_at: OpenAt
) -> None:
    page = asked(site, open_at, POLITIE)
    site.stage.exchange.release()
    site.stage.clock.advance(timedelta(minutes=20))
    site.collect()
    page.click("nav a:has-text('Mijn vragen')")
    assert list(words(page).values()) == ["bekend"]
    page.click(LINK)
    report(page, POLITIE)
    other = sign_in(open_at(site.origin + "/zaken"), COLLEAGUE.name)
    other.goto(site.origin + "/zaken")
    other.fill("#zaak", ZVH_CASE)
    other.click("button:has-text('Bekijk deze zaak')")
    assert list(words(other).values()) == ["geen uitsluitsel"]
    assert "Ingetrokken" in other.inner_text("main")


def test_what_is_wrong_with_a_report_stands_at_its_field(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = asked(site, open_at, HAARLEM)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click(LINK)
    page.click("button:has-text('Trek het antwoord in')")
    assert "Kies de partner" in page.inner_text("#partner-fout")
    page.fill("#persoon", PERSON.value)
    report(page, HAARLEM)
    assert "cijfer" in page.inner_text("#persoon-fout")
    page.fill("#persoon", "")
    report(page, HAARLEM, f"het gaat om {PERSON.value}")
    assert "BSN" in page.inner_text("[role=alert]")
    report(page, VEILIG_THUIS)
    assert "niet gevraagd" in page.inner_text("[role=alert]")
    looked_at("officer-onterecht")
    report(page, HAARLEM)
    looked_at("officer-onterecht-gemeld")


def test_the_letter_can_be_filled_in_and_printed(
    site: StagedPages, open_at: OpenAt, browser: Browser, pictures: Path, tmp_path: Path
) -> None:
    page = asked(site, open_at, HAARLEM)
    page.click(LINK)
    report(page, HAARLEM)
    letter = letter_of(page, tmp_path / "brief.html")
    shown = browser.new_page()
    shown.set_content(letter)
    assert_looks_right_everywhere(shown, pictures, "brief-onterecht")
    shown.locator("[aria-label=Naam]").fill("Iemand Anders")
    assert "Iemand Anders" in shown.inner_text("table >> nth=1")
    (pictures / "brief-onterecht.pdf").write_bytes(shown.pdf(prefer_css_page_size=True))
    shown.close()


def test_the_keyboard_alone_is_enough_to_report(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, HAARLEM)
    page.focus(LINK)
    page.keyboard.press("Enter")
    page.wait_for_selector("#partner")
    page.focus("#zaak")
    page.keyboard.press("Tab")
    name = site.stage.covenant.participants[HAARLEM].name
    page.keyboard.type(name)
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.type(REASON)
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]:has-text('onterecht-1')")
