"""The officer's journey in a real browser: choose, ask, read what came."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from bekend_deploy.federation import Federation
from bekend_deploy.partners import HAARLEM, OM, VELSEN
from playwright.sync_api import Page, Request, Response

from tests.web.conftest import WIDTHS, NewPage
from tests.web.looks import assert_looks_right, assert_looks_right_everywhere

ASK = "button:has-text('Vraag het de partners')"
LOCAL = "/bevragen/demo/zsm-lokale-context"


def sign_in(page: Page) -> Page:
    page.click("button:has-text('Inloggen als')")
    return page


def at_form(new_page: NewPage, width: int = 1100, scheme: str = "light", *, script: bool = True) -> Page:
    page = sign_in(new_page(width, scheme, script=script))
    page.click("a:has-text('ZSM: lokale context')")
    return page


def fill_in(page: Page, number: str, *partners: str) -> None:
    page.fill("#zaak", "01/234567-26")
    page.fill("#persoon-1", number)
    page.check("input[name=voorwaarde-verdachte]")
    page.fill("[id='motivering-']", "De afdoening van vandaag vraagt de lokale context.")
    for oin in partners:
        page.check(f"input[value='{oin}']")


def outcomes(page: Page) -> dict[str, str]:
    page.wait_for_selector(".knoppen")
    cards = page.locator(".kaarten-breed .kaart").all()
    return {card.locator("h2").inner_text(): card.locator(".woord").inner_text().split(maxsplit=1)[1] for card in cards}


@pytest.mark.parametrize(("width", "scheme"), [(width, scheme) for width in WIDTHS for scheme in ("light", "dark")])
def test_every_page_of_the_journey_can_be_read_and_used(
    new_page: NewPage, federation: Federation, pictures: Path, width: int, scheme: str
) -> None:
    page = new_page(width, scheme)

    def looked_at(name: str) -> None:
        page.screenshot(path=pictures / f"officer-{name}-{width}-{scheme}.png", full_page=True)
        assert_looks_right(page)

    looked_at("inloggen")
    sign_in(page)
    looked_at("doelen")
    page.click("a:has-text('ZSM: lokale context')")
    looked_at("bevragen")
    page.click(ASK)
    looked_at("bevragen-fout")
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin, VELSEN.oin)
    page.click(ASK)
    assert outcomes(page) == {HAARLEM.name: "bekend", VELSEN.name: "bekend"}
    looked_at("uitkomst")


@pytest.mark.parametrize("script", [True, False])
def test_fg_27_who_is_known_nowhere_is_no_proof_with_and_without_script(
    new_page: NewPage, federation: Federation, script: bool
) -> None:
    page = at_form(new_page, script=script)
    fill_in(page, str(federation.population.fixed.nowhere), HAARLEM.oin)
    page.click(ASK)
    assert outcomes(page) == {HAARLEM.name: "geen uitsluitsel"}
    assert "bewijst niets" in page.inner_text("main")


def test_the_keyboard_alone_is_enough(new_page: NewPage, federation: Federation) -> None:
    page = at_form(new_page)
    page.focus("#zaak")
    page.keyboard.type("01/234567-26")
    page.keyboard.press("Tab")
    page.keyboard.type(str(federation.population.fixed.everywhere))
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    page.keyboard.press("Tab")
    page.keyboard.type("De afdoening vraagt de lokale context.")
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(2):
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert outcomes(page) == {HAARLEM.name: "bekend"}


def test_fg_23_what_is_wrong_stands_at_its_field_and_nothing_was_asked(
    new_page: NewPage, federation: Federation
) -> None:
    page = at_form(new_page)
    fill_in(page, "999990018", HAARLEM.oin)
    page.click(ASK)
    assert page.title().startswith("Fout")
    assert page.evaluate("document.activeElement.id") == "fouten"
    assert page.get_attribute("#persoon-1", "aria-invalid") == "true"
    assert "11-proef" in page.inner_text("#persoon-1-fout") or "BSN" in page.inner_text("#persoon-1-fout")
    assert page.is_checked(f"input[value='{HAARLEM.oin}']")
    page.fill("#persoon-1", str(federation.population.fixed.everywhere))
    page.fill("#zaak", "geen zaaknummer")
    page.click(ASK)
    assert "regel zaaknummer" in page.inner_text("#zaak-fout")


def test_a_text_that_may_name_somebody_is_read_again(new_page: NewPage, federation: Federation) -> None:
    page = at_form(new_page)
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin)
    page.fill("[id='motivering-']", "Geboren op 01-02-1990, vraagt lokale context.")
    page.click(ASK)
    assert "geboortedatum" in page.inner_text("[role=alert]")
    page.click(ASK)
    assert outcomes(page) == {HAARLEM.name: "bekend"}


def test_fg_09_nobody_is_ticked_beforehand(new_page: NewPage) -> None:
    page = at_form(new_page)
    assert page.locator("input[name=partner]:checked").count() == 0


def test_a_number_is_in_no_address_title_or_history(new_page: NewPage, federation: Federation) -> None:
    number = str(federation.population.fixed.everywhere)
    page = at_form(new_page)
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.extend([request.url, json.dumps(request.headers)])

    page.on("request", note)
    fill_in(page, number, HAARLEM.oin)
    page.click(ASK)
    outcomes(page)
    seen += [page.url, page.title(), page.content()]
    assert seen
    assert not any(number in text for text in seen)
    for log in federation.built.folder.rglob("*.log"):
        assert number not in log.read_text("utf-8")


def test_nothing_is_asked_of_another_site(new_page: NewPage, federation: Federation) -> None:
    page = new_page()
    hosts = set()
    page.on("request", lambda request: hosts.add(request.url.split("/")[2]))
    sign_in(page)
    page.click("a:has-text('ZSM: lokale context')")
    assert hosts == {f"127.0.0.1:{federation.built.nodes[OM.oin].pages}"}


def test_the_receipt_verifies_off_line(new_page: NewPage, federation: Federation, tmp_path: Path) -> None:
    page = at_form(new_page)
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin)
    page.click(ASK)
    outcomes(page)
    with page.expect_download() as download:
        page.click("a:has-text('ontvangstbewijs')")
    receipt = tmp_path / "bon.json"
    download.value.save_as(receipt)
    checked = subprocess.run(
        [
            Path(sys.executable).with_name("bekend"),
            "receipt",
            "verify",
            receipt,
            "--covenant",
            federation.built.covenant,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stderr


def test_wiped_outcomes_are_gone(new_page: NewPage, federation: Federation) -> None:
    page = at_form(new_page)
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin)
    page.click(ASK)
    outcomes(page)
    address = page.url
    page.click("button:has-text('wis de uitkomsten')")
    assert "gewist" in page.inner_text("[role=status]")
    page.goto(address)
    assert "verlopen" in page.inner_text("main")


def test_anothers_outcomes_cannot_be_seen(new_page: NewPage, federation: Federation) -> None:
    page = at_form(new_page)
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin)
    page.click(ASK)
    outcomes(page)
    path = page.url.split("/", 3)[3]
    other = sign_in(new_page())
    other.goto(f"{other.url.rsplit('/', 1)[0]}/{path}")
    assert "verlopen" in other.inner_text("main")


def test_a_page_is_under_100_kb_in_all(new_page: NewPage, federation: Federation) -> None:
    page = new_page()
    answers: list[Response] = []
    page.on("response", lambda answer: answers.append(answer))  # noqa: PLW0108 - a built-in cannot be handed over
    sign_in(page)
    page.click("a:has-text('ZSM: lokale context')")
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin)
    page.click(ASK)
    outcomes(page)
    # Style sheets are counted once more for every page: a browser that keeps nothing.
    page.wait_for_load_state("networkidle")
    sizes = {answer.url: answer.request.sizes()["responseBodySize"] for answer in answers}
    kept = sum(size for url, size in sizes.items() if "/static/" in url)
    assert all(size + kept < 100_000 for size in sizes.values())


def test_who_practises_finds_the_test_persons(new_page: NewPage, federation: Federation, pictures: Path) -> None:
    page = sign_in(new_page())
    page.click("text=Toon de testpersonen")
    fixed = federation.population.fixed
    assert {str(fixed.everywhere), str(fixed.nowhere), str(fixed.expired)} <= set(
        page.locator(".nummer").all_inner_texts()
    )
    assert_looks_right_everywhere(page, pictures, "oefenen")


def test_outcomes_on_paper_say_what_they_do_not_prove(
    new_page: NewPage, federation: Federation, pictures: Path
) -> None:
    page = at_form(new_page)
    fill_in(page, str(federation.population.fixed.everywhere), HAARLEM.oin, VELSEN.oin)
    page.click(ASK)
    outcomes(page)
    page.emulate_media(media="print")
    page.set_viewport_size({"width": 700, "height": 990})
    page.screenshot(path=pictures / "uitkomst-papier.png", full_page=True)
    page.pdf(path=pictures / "uitkomst-papier.pdf", format="A4")
    shown = page.inner_text("body")
    assert "bewijst niets" in shown
    assert "Zaak 01/234567-26" in shown
    assert not any(page.is_visible(one) for one in (".menu", ".wie-uit", ".knoppen", ".banner"))
