"""A person without a number: asked about by name where the covenant lists it, and never more than `mogelijk bekend`."""

from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from bekend_node.receipt import parse
from bekend_proto.identifiers import NAME_BIRTH, NAME_POSTCODE
from bekend_proto.names import PersonData, combine
from playwright.sync_api import Page

from tests.support.asking import ZVH_CASE
from tests.support.covenants import HAARLEM, POLITIE, with_combinations
from tests.support.pages import StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right, assert_looks_right_everywhere
from tests.web.test_web_late import ASK, FORM, sign_in, words

CLIENT = PersonData("Jansen", "van den", "Fatima Maria", "29-02-1980")


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path, with_combinations) as made:
        made.stage.sources[POLITIE].hold_names([combine(NAME_BIRTH, CLIENT)], NAME_BIRTH)
        yield made


def form(site: StagedPages, open_at: OpenAt, *, script: bool = True) -> Page:
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    return page


def fill_in(page: Page, *partners: str, **fields: str) -> None:
    page.fill("#zaak", ZVH_CASE)
    page.check(f"input[value={NAME_BIRTH}]")
    for name, text in fields.items():
        page.fill(f"#{name}-1", text)
    for box in page.locator("input[type=checkbox][name^=voorwaarde-]").all():
        box.check()
    page.fill("[id='motivering-']", "De aanmelding is getoetst, een nummer is er niet.")
    for oin in partners:
        page.check(f"input[value='{oin}']")
    page.click(ASK)


@pytest.mark.parametrize("script", [True, False])
def test_fg_24_a_name_is_asked_about_and_is_mogelijk_bekend_at_most(
    site: StagedPages, open_at: OpenAt, script: bool
) -> None:
    page = form(site, open_at, script=script)
    assert "hoogstens 'mogelijk bekend'" in page.inner_text("#soort")
    assert "binnen 1 dag" in page.inner_text("#soort")
    fill_in(page, POLITIE, HAARLEM, geslachtsnaam="van den JANSEN", voornamen="f\u00e1tima", geboortedatum="29-02-1980")
    page.wait_for_selector("h1:has-text('Wie kent deze persoon?')")
    page.wait_for_selector(".knoppen a[href$='/bon']")
    shown = words(page)
    assert next(said for name, said in shown.items() if "Haarlem" in name) == "niet bevraagd"
    assert next(said for name, said in shown.items() if "Politie" in name).startswith("in behandeling")
    assert "Ander nummer nodig" in page.inner_text("main")
    assert "JANSEN" not in page.content()
    site.stage.exchange.release()
    site.stage.clock.advance(timedelta(minutes=20))
    site.collect()
    page.click("nav a:has-text('Mijn vragen')")
    (card,) = page.locator(".kaarten-breed .kaart").all()
    assert "mogelijk bekend" in card.inner_text()
    assert "Zeker is het niet" in card.inner_text()
    assert "uitkomst-mogelijk_bekend" in str(card.get_attribute("class"))
    assert card.locator(".woord").inner_text().startswith("\u25d0")
    with page.expect_download() as download:
        page.click("a[href^='/zaken/bon/']")
    receipt = parse(Path(str(download.value.path())).read_bytes())
    assert {one.outcome for one in receipt.openings} == {"mogelijk_bekend"}


def test_what_is_missing_or_unknown_is_said_at_its_field(site: StagedPages, open_at: OpenAt) -> None:
    page = form(site, open_at)
    fill_in(page, POLITIE)
    assert page.inner_text("#geslachtsnaam-1-fout") == "Vul de gegevens van de persoon in."
    fill_in(page, POLITIE, geslachtsnaam="Jans\u0435n", voornamen="F.", geboortedatum="00-02-1980")
    assert "geen Latijnse letter" in page.inner_text("#geslachtsnaam-1-fout")
    assert "voorletter" in page.inner_text("#voornamen-1-fout").lower()
    assert "raden niet" in page.inner_text("#geboortedatum-1-fout")
    assert page.locator("#postcode-1-fout").count() == 0
    assert_looks_right(page)
    page.check(f"input[value={NAME_POSTCODE}]")
    page.fill("#geslachtsnaam-1", "Jansen")
    page.fill("#geboortedatum-1", "29-02-1980")
    page.click(ASK)
    assert "postcode ontbreekt" in page.inner_text("#postcode-1-fout")
    assert page.locator("#voornamen-1-fout").count() == 0
    assert site.stage.line.begins == []


def test_what_belongs_to_the_other_choice_is_not_shown(site: StagedPages, open_at: OpenAt) -> None:
    page = form(site, open_at)
    number, name = page.locator("#persoon-1"), page.locator("#geslachtsnaam-1")
    assert (number.is_visible(), name.is_visible()) == (True, False)
    page.check(f"input[value={NAME_BIRTH}]")
    assert (number.is_visible(), name.is_visible()) == (False, True)


def test_every_page_without_a_number_can_be_read_and_used(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = form(site, open_at)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("officer-soort")
    fill_in(page, POLITIE, geslachtsnaam="Jansen", voornamen="F.", geboortedatum="00-02-1980")
    looked_at("officer-zonder-nummer-fout")
    fill_in(page, POLITIE, HAARLEM, geslachtsnaam="van den Jansen", voornamen="Fatima", geboortedatum="29-02-1980")
    page.wait_for_selector(".knoppen a[href$='/bon']")
    site.stage.exchange.release()
    site.stage.clock.advance(timedelta(minutes=20))
    site.collect()
    page.click("nav a:has-text('Mijn vragen')")
    looked_at("officer-zaken-mogelijk")
