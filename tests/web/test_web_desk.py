"""The desk's journey in a real browser: what waits, the person, a decision, and back; and standing decisions."""

import re
import time
from collections.abc import Iterator, Set
from functools import partial
from pathlib import Path

import pytest
from bekend_deploy.answered import Answered
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import HAARLEM, OM, POLITIE, VEILIG_THUIS, ZSM_CONTEXT, ZSM_LOCAL
from bekend_policy.standing import parse_standing
from bekend_policy.suspension import What, parse_suspension
from bekend_proto.identifiers import NAME_BIRTH
from bekend_proto.names import PersonData, combine
from playwright.sync_api import Page, Request

from tests.support.filled import fill
from tests.web.conftest import NewPage
from tests.web.keyboard import tab_to
from tests.web.looks import assert_looks_right_everywhere

COLLEAGUE, DEPUTY = "Demo-medewerker", "Demo-plaatsvervanger"
WAITS = 60.0
"""Seconds that a comparison may take on a busy machine."""


CLIENT = PersonData("Jansen", "van den", "Fatima Maria", "29-02-1980")
CASE, GROUND = "01/234567-26", "De verdachte is aangehouden, een nummer is er niet."


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """As that of the other pages, and one person is known to everybody by name."""
    settings = Settings(combinations=(NAME_BIRTH,))
    folder = tmp_path_factory.mktemp("pages")
    with Federation.build(folder, persons=60, seed=7, pages=True, settings=settings) as made:
        fill(made, [combine(NAME_BIRTH, CLIENT)])
        made.start()
        made.wait_for_filters()
        yield made


@pytest.fixture
def known(federation: Federation) -> str:
    return next(iter(sorted(federation.population.known(VEILIG_THUIS.oin, VEILIG_THUIS.registers))))


def ask(federation: Federation, *persons: str) -> Answered:
    """The OM asks Veilig Thuis, where a colleague decides."""
    asked = federation.lookup(OM, ZSM_CONTEXT, persons, sources=[VEILIG_THUIS.oin])
    assert asked.outcome(VEILIG_THUIS.oin) == "in_behandeling"
    return asked


def desk(new_page: NewPage, name: str = COLLEAGUE, *, script: bool = True, node: str = VEILIG_THUIS.oin) -> Page:
    page = new_page(node=node, script=script)
    page.click(f"button:has-text('Inloggen als {name}')")
    page.click("nav a:has-text('Loket')")
    page.wait_for_selector("h1:has-text('Het loket')")
    return page


def waiting(page: Page) -> set[str]:
    """The addresses of what waits."""
    found = page.locator(".kaart:has-text('wacht op u') h2 a")
    return {str(one.get_attribute("href")) for one in found.all()}


def newest(page: Page, before: Set[str] = frozenset()) -> str:
    """The address of what came in and was not there before, once it is there."""
    deadline = time.monotonic() + WAITS
    while not (came := waiting(page) - before):
        assert time.monotonic() < deadline, "nothing came in"
        page.reload()
    (item,) = came
    return item


def asked_of(page: Page, federation: Federation, *persons: str) -> str:
    """Ask, and the address of what came in by it."""
    page.reload()
    before = waiting(page)
    ask(federation, *persons)
    return newest(page, before)


def at_person(page: Page, item: str) -> Page:
    page.click(f"a[href='{item}']")
    page.click("button:has-text('Toon de persoon')")
    return page


def state_of(page: Page, item: str) -> str:
    return page.locator(f".kaart:has(a[href='{item}']) .woord").inner_text()


def refuse(page: Page, ground: str = "geheim") -> None:
    page.check(f"form[action$='/weigeren'] input[value='{ground}']")
    page.click("button:has-text('Weiger')")


def test_fg_41_a_colleague_looks_releases_and_takes_it_back(
    new_page: NewPage, federation: Federation, known: str
) -> None:
    page = desk(new_page)
    item = asked_of(page, federation, known)
    assert known not in page.content()
    page.click(f"a[href='{item}']")
    assert known not in page.content()
    page.click("button:has-text('Toon de persoon')")
    shown = page.inner_text("main")
    assert known in shown
    assert "Demo-medewerker" not in shown
    assert OM.name in shown
    page.click("button:has-text('Geef vrij')")
    assert "Kies waarom" in page.inner_text("form[action$='/vrijgeven'] [role=alert]")
    page.check("form[action$='/vrijgeven'] input[value=nodig]")
    page.click("button:has-text('Geef vrij')")
    assert "Vrijgegeven" in page.inner_text("[role=status]")
    assert "vrijgegeven" in state_of(page, item)
    page.click(f"a[href='{item}']")
    page.click("button:has-text('Maak het besluit ongedaan')")
    assert "wacht op u" in state_of(page, item)
    refuse(at_person(page, item))
    assert "geen reden" in page.inner_text("[role=status]")
    assert "geweigerd" in state_of(page, item)


def test_a_colleague_releases_without_script(new_page: NewPage, federation: Federation, known: str) -> None:
    page = desk(new_page, script=False)
    item = asked_of(page, federation, known)
    at_person(page, item)
    page.check("form[action$='/vrijgeven'] input[value=veiligheid]")
    page.click("button:has-text('Geef vrij')")
    assert "vrijgegeven" in state_of(page, item)


def test_who_is_not_known_makes_nobody_look(new_page: NewPage, federation: Federation, known: str) -> None:
    page = desk(new_page)
    before = waiting(page)
    ask(federation, str(federation.population.fixed.nowhere))
    ask(federation, known)
    newest(page, before)


def test_a_deputy_says_that_the_colleague_is_absent_or_waits(
    new_page: NewPage, federation: Federation, known: str
) -> None:
    first, deputy = desk(new_page), desk(new_page, DEPUTY)
    item = asked_of(first, federation, known)
    deputy.reload()
    deputy.click(f"a[href='{item}']")
    deputy.click("button:has-text('Toon de persoon')")
    refused = deputy.inner_text("[role=alert]")
    assert "vink dat aan" in refused
    assert "--" not in refused
    assert known not in deputy.content()
    deputy.click("a:has-text('Terug naar het verzoek')")
    assert deputy.is_visible("input[name=afwezig]")
    at_person(first, item)
    first.select_option("#collega", "plaatsvervanger")
    first.click("button:has-text('Draag over')")
    assert "Overgedragen" in first.inner_text("[role=status]")
    deputy.click("a:has-text('Terug naar het loket')")
    refuse(at_person(deputy, item))
    assert "geweigerd" in state_of(deputy, item)
    item = asked_of(first, federation, known)
    deputy.reload()
    deputy.click(f"a[href='{item}']")
    deputy.check("input[name=afwezig]")
    deputy.click("button:has-text('Toon de persoon')")
    refuse(deputy)
    assert "geweigerd" in state_of(deputy, item)


def test_a_text_that_may_name_somebody_is_read_again_and_a_number_is_refused(
    new_page: NewPage, federation: Federation, known: str
) -> None:
    page = desk(new_page)
    item = asked_of(page, federation, known)
    at_person(page, item)
    page.fill("#toelichting-weigeren", f"het gaat om {known}")
    refuse(page)
    assert known not in page.inner_text("form[action$='/weigeren'] .foutregel")
    page.fill("#toelichting-weigeren", "geboren op 01-02-1990")
    refuse(page)
    assert "geboortedatum" in page.inner_text("form[action$='/weigeren'] [role=alert]")
    page.click("button:has-text('Weiger')")
    assert "geweigerd" in state_of(page, item)


def test_a_number_is_in_no_address_title_header_or_log(new_page: NewPage, federation: Federation, known: str) -> None:
    page = desk(new_page)
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.extend([request.url, str(request.headers), request.post_data or ""])

    page.on("request", note)
    item = asked_of(page, federation, known)
    at_person(page, item)
    seen += [page.url, page.title()]
    refuse(page)
    seen += [page.content()]
    assert not any(known in text for text in seen)
    for log in federation.built.folder.rglob("*.log"):
        assert known not in log.read_text("utf-8")


def test_the_keyboard_alone_is_enough_at_the_desk(new_page: NewPage, federation: Federation, known: str) -> None:
    """From the menu to a decision and back again: Tab, Enter and Space, and the focus is seen at every stop."""
    page = desk(new_page)
    item = asked_of(page, federation, known)
    page.goto(page.url)
    tab_to(page, f"a[href='{item}']")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Een verzoek')")
    tab_to(page, "main form button")
    page.keyboard.press("Enter")
    page.wait_for_selector("form[action$='/weigeren']")
    tab_to(page, "form[action$='/weigeren'] input[type=radio]")
    page.keyboard.press("Space")
    tab_to(page, "form[action$='/weigeren'] button")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert "geweigerd" in state_of(page, item)
    tab_to(page, f"a[href='{item}']")
    page.keyboard.press("Enter")
    page.wait_for_selector("form[action$='/ongedaan']")
    tab_to(page, "form[action$='/ongedaan'] button")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert "wacht op u" in state_of(page, item)
    refuse(at_person(page, item))


def test_nobody_sees_a_desk_without_signing_in(new_page: NewPage) -> None:
    page = new_page(node=VEILIG_THUIS.oin, path="/loket")
    assert "Inloggen" in page.inner_text("h1")


def test_every_page_of_the_desk_can_be_read_and_used(
    new_page: NewPage, federation: Federation, known: str, pictures: Path
) -> None:
    page = desk(new_page)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    item = asked_of(page, federation, known)
    looked_at("desk-loket")
    page.click(f"a[href='{item}']")
    looked_at("desk-verzoek")
    page.click("button:has-text('Toon de persoon')")
    looked_at("desk-persoon")
    page.click("button:has-text('Weiger')")
    looked_at("desk-persoon-fout")
    refuse(page)
    page.click(f"a[href='{item}']")
    looked_at("desk-ongedaan")
    page.request.post(f"{page.url}/ongedaan", headers={"origin": page.url.split("/loket")[0]})
    page.click("button:has-text('Maak het besluit ongedaan')")
    looked_at("desk-geweigerd")


def test_fg_24_whoever_is_asked_about_by_name_is_compared_before_anything_is_released(
    new_page: NewPage, pictures: Path
) -> None:
    """The police answer this purpose by machine; without a number a colleague there decides, whatever the mode."""
    officer = new_page(path=f"/bevragen/{ZSM_CONTEXT}")
    officer.click(f"button:has-text('Inloggen als {COLLEAGUE}')")
    officer.goto(f"{officer.url.split('/bevragen')[0]}/bevragen/{ZSM_CONTEXT}")
    officer.fill("#zaak", CASE)
    officer.check(f"input[value={NAME_BIRTH}]")
    officer.fill("#geslachtsnaam-1", "van den JANSEN")
    officer.fill("#voornamen-1", "f\u00e1tima")
    officer.fill("#geboortedatum-1", "29-02-1980")
    officer.check("input[name=voorwaarde-verdachte]")
    officer.fill("[id='motivering-']", GROUND)
    officer.check(f"input[value='{POLITIE.oin}']")
    officer.click("button:has-text('Vraag het de partners')")
    officer.wait_for_selector(".uitkomst-in_behandeling")
    page = desk(new_page, node=POLITIE.oin)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    item = newest(page)
    assert "Gevraagd met een naam" in page.inner_text("main")
    assert "JANSEN" not in page.content()
    looked_at("desk-loket-naam")
    at_person(page, item)
    shown = page.inner_text("main")
    assert "van den JANSEN" in shown
    assert "29-02-1980" in shown
    assert "van meer mensen" in shown
    looked_at("desk-vergelijken")
    page.check("form[action$='/vrijgeven'] input[value=nodig]")
    page.click("button:has-text('Geef vrij')")
    assert "Vergelijk eerst" in page.inner_text("form[action$='/vrijgeven'] [role=alert]")
    page.check("form[action$='/vrijgeven'] input[name=vergeleken]")
    page.click("button:has-text('Geef vrij')")
    assert "vrijgegeven" in state_of(page, item)


def test_a_standing_decision_is_drafted_and_withdrawn_for_who_signs(
    new_page: NewPage, pictures: Path, tmp_path: Path
) -> None:
    page = new_page(node=HAARLEM.oin)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click(f"button:has-text('Inloggen als {COLLEAGUE}')")
    page.click("nav a:has-text('Loket')")
    assert "Het besluit geldt" in page.inner_text("main")
    page.click("a:has-text('lokale context')")
    looked_at("desk-besluit")
    page.fill("#tot", "2099-01-01")
    page.fill("#besluit", "Directiebesluit 2026-14")
    page.click("button:has-text('Haal de tekst op')")
    assert "ten hoogste een jaar" in page.inner_text("[role=alert]")
    looked_at("desk-besluit-fout")
    page.fill("#tot", page.input_value("#vanaf"))
    with page.expect_download() as download:
        page.click("button:has-text('Haal de tekst op')")
    download.value.save_as(tmp_path / "besluit.txt")
    drafted = parse_standing((tmp_path / "besluit.txt").read_text("utf-8"))
    assert (drafted.source, drafted.purpose) == (HAARLEM.oin, ZSM_LOCAL)
    page.fill("#reden", "Het besluit wordt herzien")
    with page.expect_download() as download:
        page.click("button:has-text('stilzetting op')")
    download.value.save_as(tmp_path / "stil.txt")
    stopped = parse_suspension((tmp_path / "stil.txt").read_text("utf-8"))
    assert (stopped.by, stopped.what, stopped.about) == (HAARLEM.oin, What.PURPOSE, ZSM_LOCAL)
    assert not re.search(r"\d{9}\b", stopped.reason)
