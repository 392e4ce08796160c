"""Consent on the pages: turned towards the person, put on record by the rules, withdrawn at once."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from bekend_node.ask.case_reference import case_tag
from playwright.sync_api import Page

from tests.support.asking import PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, POLITIE, VEILIG_THUIS, ZVH_WEIGHING
from tests.support.pages import StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere
from tests.web.test_web_late import FORM, ask, sign_in, words

PAGE = f"/toestemming/{ZVH_WEIGHING}"
RECORD = "button:has-text('Leg de toestemming vast')"
BORN = "17-05-1990"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        for oin in (POLITIE, VEILIG_THUIS):
            made.stage.sources[oin].by_hand = True
        made.stage.sources[VEILIG_THUIS].known = (PERSON,)
        yield made


def state(page: Page, *, born: str = BORN, giver: str = "zelf") -> None:
    """Fill in what an officer states, and send it."""
    page.check(f"input[value='{VEILIG_THUIS}']")
    page.fill("#zaak", ZVH_CASE)
    page.check(f"input[name=door][value={giver}]")
    page.fill("#geboren", born)
    page.fill("#reikwijdte", "vragen of Veilig Thuis mij kent")
    page.click(RECORD)


def at_page(
    site: StagedPages, open_at: OpenAt, width: int = 1100, scheme: str = "light", *, script: bool = True
) -> Page:
    page = sign_in(open_at(site.origin, width, scheme, script=script))
    page.goto(site.origin + PAGE)
    return page


def test_every_page_of_consent_can_be_read_and_used(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = sign_in(open_at(site.origin))
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click("nav a:has-text('Toestemming')")
    looked_at("consent-toestemming")
    page.click("main li a")
    looked_at("consent-vraag")
    page.click(RECORD)
    looked_at("consent-vraag-fout")
    state(page)
    looked_at("consent-vastgelegd")
    page.click("button:has-text('Trek in voor')")
    looked_at("consent-ingetrokken")


@pytest.mark.parametrize("script", [True, False])
def test_fg_10_a_partner_is_asked_once_its_consent_is_on_record(
    site: StagedPages, open_at: OpenAt, script: bool
) -> None:
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    assert page.locator("[name=voorwaarde-toestemming-ggz]").count() == 0
    ask(page, VEILIG_THUIS, HAARLEM)
    assert list(words(page).values()).count("niet bevraagd") == 1
    page.goto(site.origin + PAGE)
    state(page)
    page.goto(site.origin + FORM)
    page.fill("#zaak", ZVH_CASE)
    page.click("button:has-text('Bekijk de toestemming')")
    assert "Toestemming T-1 van 01-12-2026" in page.inner_text("#partners")
    ask(page, VEILIG_THUIS)
    assert "in behandeling tot" in words(page).popitem()[1]


def test_a_withdrawal_ends_what_rests_on_it(site: StagedPages, open_at: OpenAt) -> None:
    page = at_page(site, open_at)
    state(page)
    page.goto(site.origin + FORM)
    ask(page, VEILIG_THUIS)
    site.stage.exchange.release()
    site.stage.clock.advance(timedelta(minutes=20))
    site.collect()
    page.goto(site.origin + "/zaken")
    assert list(words(page).values()) == ["bekend"]
    page.click("nav a:has-text('Toestemming')")
    page.fill("#zaak", ZVH_CASE)
    page.click("button:has-text('Bekijk')")
    assert ZVH_CASE not in page.url
    page.click("button:has-text('Trek in voor')")
    assert "ingetrokken" in page.inner_text("[role=status]")
    site.work(site.stage.asker.collector.settle())
    assert site.stage.exchange.withdrawn
    page.goto(site.origin + "/zaken")
    assert list(words(page).values()) == ["geen uitsluitsel"]
    assert "ingetrokken" in page.inner_text("main")


@pytest.mark.parametrize(
    ("born", "giver", "fits"),
    [
        ("01-12-2010", "zelf", True),
        ("02-12-2010", "zelf", False),
        ("02-12-2010", "beiden", True),
        ("01-12-2014", "beiden", True),
        ("02-12-2014", "beiden", False),
        ("02-12-2014", "vertegenwoordiger", True),
    ],
)
def test_fg_38_the_page_keeps_to_the_ages(
    site: StagedPages, open_at: OpenAt, born: str, giver: str, fits: bool
) -> None:
    page = at_page(site, open_at)
    state(page, born=born, giver=giver)
    if fits:
        assert "vastgelegd" in page.inner_text("[role=status]")
    else:
        assert "regel leeftijd" in page.inner_text("#geboren-fout")
        assert page.input_value("#geboren") == ""


def test_what_is_missing_stands_at_its_field_and_nothing_is_on_record(site: StagedPages, open_at: OpenAt) -> None:
    page = at_page(site, open_at)
    page.fill("#zaak", ZVH_CASE)
    page.fill("#geboren", "gisteren")
    page.click(RECORD)
    assert page.title().startswith("Fout")
    assert page.evaluate("document.activeElement.id") == "fouten"
    assert page.get_attribute("#geboren", "aria-invalid") == "true"
    assert "Kies de organisaties" in page.inner_text("#partners")
    tag = case_tag(site.stage.case_key, ZVH_CASE)
    assert site.stage.store.consents.of_case(tag) == []


def test_fg_38_the_date_of_birth_is_in_no_page_and_no_address_after_it(site: StagedPages, open_at: OpenAt) -> None:
    page = at_page(site, open_at)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    state(page)
    assert "1990" not in "".join([*addresses, page.content(), page.title()])


def test_the_person_reads_what_will_not_come_today(site: StagedPages, open_at: OpenAt) -> None:
    page = at_page(site, open_at)
    assert "misschien niet vandaag. Het komt uiterlijk op 03-12-2026 13:00" in page.inner_text("#partners")


def test_what_is_printed_is_for_the_person_alone(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = at_page(site, open_at)
    page.emulate_media(media="print")
    page.screenshot(path=pictures / "consent-print.png", full_page=True)
    assert page.locator("#geboren").is_hidden()
    assert page.locator("text=Handtekening").is_visible()


def test_who_may_not_ask_may_not_record(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin), "J. Jansen")
    assert page.request.get(site.origin + PAGE).status == 403
    assert page.request.get(site.origin + "/toestemming/zaak/bedacht").status == 404
    page.goto(site.origin + "/toestemming")
    assert "geen partner" in page.inner_text("main")


def test_the_keyboard_alone_is_enough_to_record(site: StagedPages, open_at: OpenAt) -> None:
    page = at_page(site, open_at)
    page.focus(f"input[value='{VEILIG_THUIS}']")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type(ZVH_CASE)
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type(BORN)
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.type("vragen of Veilig Thuis mij kent")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert "vastgelegd" in page.inner_text("[role=status]")


def test_hostile_input_is_a_fault_at_its_field(site: StagedPages, open_at: OpenAt) -> None:
    page = at_page(site, open_at)
    page.check(f"input[value='{VEILIG_THUIS}']")
    page.check("input[name=door][value=zelf]")
    for field in ("#zaak", "#reikwijdte"):
        page.fill(field, "<script>alert(1)</script>" * 40)
    page.fill("#geboren", BORN)
    page.click(RECORD)
    assert "regel zaaknummer" in page.inner_text("#zaak-fout")
    assert page.locator("main script").count() == 0
