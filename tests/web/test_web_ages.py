"""FG-38 on the page: the date of birth is asked where a partner wants an age, and goes no further than this node."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from bekend_proto.identifiers import NAME_BIRTH
from bekend_proto.names import PersonData, combine
from playwright.sync_api import Page

from tests.support.asking import OTHER, PERSON
from tests.support.covenants import (
    HAARLEM,
    RECLASSERING,
    all_of,
    with_ages,
    with_ages_everywhere,
    with_combinations,
)
from tests.support.eyes import EyesStage, four_eyes
from tests.support.pages import COLLEAGUE, StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere
from tests.web.test_web_late import FORM, ask, fill, sign_in, words
from tests.web.test_web_without_number import fill_in
from tests.web.test_web_worklist import ASK_ONE, READY


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path, with_ages) as made:
        made.stage.sources[RECLASSERING].known = (PERSON,)
        yield made


def form(site: StagedPages, open_at: OpenAt, *, script: bool = True) -> Page:
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    return page


def of(page: Page, name: str) -> str:
    """The word at a partner."""
    return next(said for partner, said in words(page).items() if name in partner)


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize(
    ("born", "word", "why"),
    [
        ("01-12-2014", "bekend", ""),
        ("02-12-2014", "niet bevraagd", "niet tussen 12 en 17 jaar"),
        ("02-12-2008", "bekend", ""),
        ("01-12-2008", "niet bevraagd", "niet tussen 12 en 17 jaar"),
        ("29-02-2012", "bekend", ""),
        ("", "niet bevraagd", "er is geen geboortedatum"),
    ],
)
def test_fg_38_a_partner_is_asked_about_who_has_that_age(
    site: StagedPages, open_at: OpenAt, born: str, word: str, why: str, script: bool
) -> None:
    page = form(site, open_at, script=script)
    assert page.locator("[name=voorwaarde-jeugd]").count() == 0
    assert "Alleen als: de persoon is 12 tot en met 17 jaar. Uw computer rekent dit uit" in page.inner_text("#partners")
    page.fill("#geboren-1", born)
    ask(page, RECLASSERING, HAARLEM)
    page.wait_for_selector(".knoppen a[href$='/bon']")
    assert of(page, "Reclassering") == word
    assert of(page, "Haarlem") == "geen uitsluitsel"
    assert why in page.inner_text("main")
    assert bool(site.stage.sources[RECLASSERING].asked) is (word == "bekend")


@pytest.mark.parametrize(
    ("born", "words"),
    [("30-02-2010", "bestaat niet"), ("02-12-2026", "in de toekomst"), ("gisteren", "niet goed geschreven")],
)
def test_fg_38_what_is_no_day_of_birth_stands_at_its_field(
    site: StagedPages, open_at: OpenAt, born: str, words: str
) -> None:
    page = form(site, open_at)
    page.fill("#geboren-1", born)
    ask(page, RECLASSERING)
    assert words in page.inner_text("#geboren-1-fout")
    assert page.get_attribute("#geboren-1", "aria-invalid") == "true"
    assert page.locator("#fouten a[href='#geboren-1']").count() == 1
    assert site.stage.line.begins == []


def test_fg_38_of_several_persons_each_has_a_date_of_birth(site: StagedPages, open_at: OpenAt) -> None:
    page = form(site, open_at)
    page.fill("#geboren-1", "17-05-2010")
    page.fill("#persoon-2", OTHER.value)
    ask(page, RECLASSERING, HAARLEM)
    page.wait_for_selector(".knoppen a[href$='/bon']")
    assert site.stage.sources[RECLASSERING].asked == []
    page.goto(site.origin + FORM)
    page.fill("#geboren-1", "17-05-2010")
    page.fill("#geboren-2", "17-05-2012")
    page.fill("#persoon-2", OTHER.value)
    ask(page, RECLASSERING, HAARLEM)
    page.wait_for_selector(".knoppen a[href$='/bon']")
    assert len(site.stage.sources[RECLASSERING].asked) == 1


def test_fg_38_the_date_of_birth_is_in_no_page_and_no_address_after_it(site: StagedPages, open_at: OpenAt) -> None:
    page = form(site, open_at)
    addresses: list[str] = []
    page.on("request", lambda request: addresses.append(request.url))
    page.fill("#geboren-1", "17-05-2010")
    ask(page, RECLASSERING)
    page.wait_for_selector(".knoppen a[href$='/bon']")
    with page.expect_download() as download:
        page.click(".knoppen a[href$='/bon']")
    receipt = Path(str(download.value.path())).read_text()
    assert "2010" not in "".join([*addresses, page.content(), page.title(), receipt])


def test_fg_38_what_stands_ready_keeps_the_date_of_birth_to_itself(site: StagedPages, open_at: OpenAt) -> None:
    page = form(site, open_at)
    page.fill("#geboren-1", "17-05-2010")
    fill(page, RECLASSERING)
    page.click(READY)
    assert page.locator("main .kaart").count() == 1
    assert "2010" not in page.content()
    page.click(ASK_ONE)
    page.wait_for_selector(".knoppen a[href$='/bon']")
    assert of(page, "Reclassering") == "bekend"


def test_fg_38_where_everybody_asks_an_age_the_refusal_stands_at_the_date_of_birth(
    tmp_path: Path, open_at: OpenAt
) -> None:
    with staged(tmp_path, with_ages_everywhere) as site:
        page = form(site, open_at)
        page.fill("#geboren-1", "17-05-1990")
        ask(page, HAARLEM)
        assert "regel voorwaarde" in page.inner_text("#geboren-1-fout")
        assert site.stage.line.begins == []


def test_fg_38_who_is_named_by_a_date_of_birth_has_no_second_field(tmp_path: Path, open_at: OpenAt) -> None:
    with staged(tmp_path, all_of(with_ages, with_combinations)) as site:
        site.stage.sources[RECLASSERING].hold_names(
            [combine(NAME_BIRTH, PersonData("Jansen", "", "Fatima", "17-05-2010"))], NAME_BIRTH
        )
        page = form(site, open_at)
        assert page.locator("#geboren-1").is_visible()
        page.check(f"input[value={NAME_BIRTH}]")
        assert page.locator("#geboren-1").is_hidden()
        fill_in(page, RECLASSERING, geslachtsnaam="Jansen", voornamen="Fatima", geboortedatum="02-12-2026")
        assert "toekomst" in page.inner_text("#geboortedatum-1-fout")
        fill_in(page, RECLASSERING, geslachtsnaam="Jansen", voornamen="Fatima", geboortedatum="17-05-2010")
        page.wait_for_selector(".knoppen a[href$='/bon']")
        assert of(page, "Reclassering").startswith("in behandeling")


def test_fg_38_who_looks_along_reads_that_the_age_holds_and_no_date(tmp_path: Path, open_at: OpenAt) -> None:
    with staged(tmp_path, all_of(with_ages, four_eyes), EyesStage) as site:
        page = form(site, open_at)
        page.fill("#geboren-1", "17-05-2010")
        ask(page, RECLASSERING)
        other = sign_in(open_at(site.origin), COLLEAGUE.name)
        other.goto(site.origin + "/meekijken")
        other.click("main a[href^='/meekijken/']")
        other.click("button:has-text('Toon')")
        assert "de persoon is 12 tot en met 17 jaar" in other.inner_text("dl.feiten")
        assert "2010" not in other.content()


def test_the_form_with_a_date_of_birth_can_be_read_and_used(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = form(site, open_at)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("officer-geboortedatum")
    page.fill("#geboren-1", "30-02-2010")
    ask(page, RECLASSERING)
    looked_at("officer-geboortedatum-fout")
