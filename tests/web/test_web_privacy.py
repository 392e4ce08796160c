"""The privacy officer's journey in a real browser: what is agreed, figures of use, stop and start again."""

import html
from pathlib import Path

import pytest
from bekend_deploy.federation import Federation
from bekend_deploy.partners import HAARLEM, OM, ZSM_LOCAL
from bekend_policy.suspension import What, parse_suspension
from bekend_proto.note import sign_note
from playwright.sync_api import Page

from tests.web.conftest import NewPage
from tests.web.looks import assert_looks_right_everywhere


def privacy(new_page: NewPage, *, script: bool = True) -> Page:
    page = new_page(node=HAARLEM.oin, script=script)
    page.click("button:has-text('Inloggen als Demo-privacyfunctionaris')")
    page.wait_for_selector("h1:has-text('Privacy')")
    return page


def drafted(page: Page, what: str, into: Path) -> str:
    page.select_option("#wat", what)
    page.fill("#reden", "Mogelijk lek van een lijst")
    with page.expect_download() as download:
        page.click("button:has-text('Haal de tekst van de stilzetting op')")
    download.value.save_as(into)
    return into.read_text("utf-8")


def install(page: Page, federation: Federation, text: str) -> None:
    key = federation.built.nodes[HAARLEM.oin].off_line.signer
    page.fill("#bericht", sign_note(text, key.name, key.seed).decode())
    page.click("button:has-text('Laat het gelden')")


@pytest.mark.parametrize("script", [True, False])
def test_a_purpose_is_stopped_and_started_again_by_who_signs(
    new_page: NewPage, federation: Federation, tmp_path: Path, script: bool
) -> None:
    page = privacy(new_page, script=script)
    assert "Er staat niets stil" in page.inner_text("main")
    text = drafted(page, ZSM_LOCAL, tmp_path / "stil.txt")
    stop = parse_suspension(text)
    assert (stop.by, stop.what, stop.about, stop.lifted) == (HAARLEM.oin, What.PURPOSE, ZSM_LOCAL, False)
    page.fill("#bericht", text)
    page.click("button:has-text('Laat het gelden')")
    assert page.is_visible("form[action='/privacy/stilzetting'] .foutregel")
    install(page, federation, text)
    assert "geldt nu hier" in page.inner_text("[role=status]")
    assert "Mogelijk lek van een lijst" in page.inner_text("main")
    asked = federation.lookup(OM, ZSM_LOCAL, [str(federation.population.fixed.everywhere)], sources=[HAARLEM.oin])
    assert asked.outcomes == () or asked.outcome(HAARLEM.oin) in {"geen_antwoord", "niet_bevraagd"}
    go = drafted(page, f"op:{ZSM_LOCAL}", tmp_path / "weer.txt")
    assert parse_suspension(go).lifted
    install(page, federation, go)
    assert "Er staat niets stil" in page.inner_text("main")


def test_fg_30_use_is_read_for_a_lawful_purpose_and_few_are_not_counted(
    new_page: NewPage, federation: Federation, pictures: Path
) -> None:
    for _ in range(6):
        federation.lookup(OM, ZSM_LOCAL, [str(federation.population.fixed.everywhere)], sources=[HAARLEM.oin])
    page = privacy(new_page)
    page.fill("#vanaf", "gisteren")
    page.click("button:has-text('Lees het logboek')")
    assert "jjjj-mm-dd" in page.inner_text("form[action='/privacy/gebruik'] .foutregel")
    page.fill("#vanaf", page.input_value("#tot"))
    page.click("button:has-text('Lees het logboek')")
    assert_looks_right_everywhere(page, pictures, "privacy-gebruik")
    shown = page.inner_text("main")
    assert "een andere organisatie" in shown
    counts = [one.inner_text() for one in page.locator(".kaart dd:last-child").all()]
    assert all(one == "minder dan 5" or int(one) >= 5 for one in counts)
    assert any(one.isdigit() for one in counts)


def test_the_covenant_says_who_may_ask_whom(new_page: NewPage, pictures: Path, tmp_path: Path) -> None:
    page = privacy(new_page)
    assert_looks_right_everywhere(page, pictures, "privacy")
    assert page.inner_text("main").count("getekend") >= 7
    with page.expect_download() as download:
        page.click("a:has-text('Haal het hele convenant op')")
    download.value.save_as(tmp_path / "convenant.html")
    assert OM.name in html.unescape((tmp_path / "convenant.html").read_text("utf-8"))
    page.click("a:has-text('Wie mag wie vragen')")
    assert "standaardbesluit" in page.inner_text("main")
    assert_looks_right_everywhere(page, pictures, "privacy-convenant")


def test_only_the_privacy_officer_sees_these_pages(new_page: NewPage) -> None:
    page = new_page(node=HAARLEM.oin)
    page.click("button:has-text('Inloggen als Demo-medewerker')")
    page.goto(f"{page.url.rsplit('/', 1)[0]}/privacy")
    assert "U mag dit niet zien" in page.inner_text("main")
