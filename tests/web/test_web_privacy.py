"""The privacy officer's journey in a real browser: what is agreed, figures of use, stop and start again."""

import html
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from bekend_deploy.federation import Federation
from bekend_deploy.partners import HAARLEM, OM, ZSM_LOCAL
from bekend_policy.load import load_covenant
from bekend_policy.sign import sign_covenant
from bekend_policy.suspension import What, parse_suspension
from bekend_policy.versions import Version, files_of, keep
from bekend_proto.clock import SystemClock, day_of
from bekend_proto.note import sign_note
from playwright.sync_api import Page

from tests.web.conftest import NewPage
from tests.web.keyboard import tab_to
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
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.fill("#vanaf", "gisteren")
    page.click("button:has-text('Lees het logboek')")
    assert "dag-maand-jaar" in page.inner_text("form[action='/privacy/gebruik'] .foutregel")
    page.fill("#vanaf", page.input_value("#tot"))
    page.click("button:has-text('Lees het logboek')")
    looked_at("privacy-gebruik")
    shown = page.inner_text("main")
    assert "een andere organisatie" in shown
    counts = [one.inner_text() for one in page.locator(".kaart dd:last-child").all()]
    assert all(one == "minder dan 5" or int(one) >= 5 for one in counts)
    assert any(one.isdigit() for one in counts)


def test_the_covenant_says_who_may_ask_whom(new_page: NewPage, pictures: Path, tmp_path: Path) -> None:
    page = privacy(new_page)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("privacy")
    assert page.inner_text("main").count("getekend") >= 7
    with page.expect_download() as download:
        page.click("a:has-text('Haal het hele convenant op')")
    download.value.save_as(tmp_path / "convenant.html")
    assert OM.name in html.unescape((tmp_path / "convenant.html").read_text("utf-8"))
    page.click("a:has-text('Wie mag wie vragen')")
    assert "standaardbesluit" in page.inner_text("main")
    looked_at("privacy-convenant")


def test_only_the_privacy_officer_sees_these_pages(new_page: NewPage) -> None:
    page = new_page(node=HAARLEM.oin)
    page.click("button:has-text('Inloggen als Demo-medewerker')")
    page.goto(f"{page.url.rsplit('/', 1)[0]}/privacy")
    assert "U mag dit niet zien" in page.inner_text("main")


def room(new_page: NewPage, path: str, *, script: bool = True) -> Page:
    page = privacy(new_page, script=script)
    page.click(f"main a[href='{path}']")
    page.wait_for_selector("h1")
    return page


def write_next(federation: Federation) -> None:
    """The next version, signed by the operator and by two partners, as if it was fetched."""
    built = federation.built
    folder = built.folder / "covenant-2"
    shutil.copytree(built.covenant, folder)
    for note in (folder / "handtekeningen").iterdir():
        note.unlink()
    agreement = folder / "afspraken.yaml"
    agreement.write_text(agreement.read_text("utf-8").replace("versie: '1'", "versie: '2'"), "utf-8")
    path = folder / "doelen" / f"{ZSM_LOCAL.partition('/')[2]}.yaml"
    path.write_text(path.read_text("utf-8").replace("titel: '", "titel: 'Nieuwe ", 1), "utf-8")
    for key in (built.operator, *(built.nodes[one.oin].off_line.signer for one in (HAARLEM, OM))):
        sign_covenant(folder, key)
    read = load_covenant(folder)
    keep(
        files_of(Version(read, folder)), federation.config_of(HAARLEM.oin).parent / "data/covenants/offered", read.hash
    )


def test_the_next_covenant_says_what_changes_who_signed_and_who_still_has_to(
    new_page: NewPage, federation: Federation, pictures: Path
) -> None:
    page = room(new_page, "/privacy/convenant/volgende")
    assert "Er is geen andere versie" in page.inner_text("main")
    page.click("button:has-text('Haal op wat de makelaar heeft')")
    assert "Opgehaald" in page.inner_text("[role=status]")
    write_next(federation)
    page = room(new_page, "/privacy/convenant/volgende")
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("privacy-volgende")
    shown = page.inner_text("main")
    assert "Versie 2" in shown
    assert "Nieuwe" in shown
    facts = page.locator("main dl").first.inner_text()
    signed, waiting = facts.split("Wie nog moet tekenen")
    assert HAARLEM.name in signed
    assert OM.name in signed
    assert "ondertekenaar" in waiting
    assert HAARLEM.name not in waiting


@pytest.mark.parametrize("script", [True, False])
def test_fg_34_a_second_person_approves_and_ends_a_deferral(
    new_page: NewPage, federation: Federation, pictures: Path, script: bool
) -> None:
    facts = {"about": "vraag", "reference": ("a1" if script else "b2") * 32, "purpose": ZSM_LOCAL}
    review = (day_of(SystemClock().now()) + timedelta(days=30)).isoformat()
    made = federation.call(HAARLEM, op="defer", **facts, ground="Wjsg 21(2): onderzoek loopt nog", review_on=review)
    assert made["type"] == "result", made
    page = room(new_page, "/privacy/uitstel", script=script)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    card = f".kaart:has-text('{facts['reference']}')"
    assert "wacht op een tweede persoon" in page.inner_text(card)
    page.click(f"{card} button:has-text('Keur goed')")
    assert "Vastgelegd" in page.inner_text("[role=status]")
    assert "geldt" in page.inner_text(f"{card} .woord")
    page.click("button:has-text('Leg het uitstel vast')")
    assert page.inner_text("form[action='/privacy/uitstel'] .foutregel") == "Kies onder welk doel."
    page.check("input[value=vraag]")
    page.fill("#kenmerk", ("c3" if script else "d4") * 32)
    page.select_option("#doel", ZSM_LOCAL)
    page.fill("#grond", "Wjsg 21(2): het onderzoek loopt nog")
    page.click("button:has-text('Leg het uitstel vast')")
    own = f".kaart:has-text('{('c3' if script else 'd4') * 32}')"
    assert "Een ander keurt het goed" in page.inner_text(own)
    assert page.locator(f"{own} button:has-text('Keur goed')").count() == 0
    if script:
        looked_at("privacy-uitstel")
    page.click(f"{own} summary")
    page.click(f"{own} button:has-text('Beëindig')")
    assert "Schrijf waarom" in page.inner_text(f"{own} .foutregel")
    page.fill(f"{own} input[name=reden]", "Niet meer nodig")
    page.click(f"{own} button:has-text('Beëindig')")
    assert page.locator(own).count() == 0


def test_fg_36_a_purpose_is_halted_to_shield_somebody_and_nobody_is_named(
    new_page: NewPage, federation: Federation, pictures: Path
) -> None:
    somebody, other = (
        str(one) for one in (federation.population.fixed.everywhere, federation.population.fixed.nowhere)
    )
    words = ("node", "shield", "--config", str(federation.config_of(HAARLEM.oin)))
    command = [sys.executable, "-m", "bekend_deploy.cli", *words]
    subprocess.run(command, input=f"{other}\n", text=True, capture_output=True, check=True)
    page = room(new_page, "/privacy/afscherming")
    assert "1, volgens de lijst van" in page.inner_text("main")
    assert other not in page.content()
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click("button:has-text('Zet dit doel stil')")
    assert page.inner_text(".foutregel") == "Kies onder welk doel."
    page.select_option("#doel", ZSM_LOCAL)
    page.fill("#reden", f"het gaat om {somebody}")
    page.click("button:has-text('Zet dit doel stil')")
    assert "BSN" in page.inner_text(".foutregel")
    page.fill("#reden", "Bedreigd door een ex-partner, politie belde")
    page.click("button:has-text('Zet dit doel stil')")
    assert "staat nu stil" in page.inner_text("[role=status]")
    assert "geen antwoord tot" in page.inner_text("main")
    looked_at("privacy-afscherming")
    asked = federation.lookup(OM, ZSM_LOCAL, [somebody], sources=[HAARLEM.oin])
    assert asked.outcome(HAARLEM.oin) == "geen_antwoord"
    assert "ex-partner" not in asked.reason(HAARLEM.oin)
    page.goto(f"{page.url.split('/privacy')[0]}/privacy")
    assert "Doelen die stilstaan" in page.inner_text("main")


def test_the_logs_page_names_who_cosigned_and_who_did_not(new_page: NewPage, pictures: Path) -> None:
    page = room(new_page, "/privacy/logboek")
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    deadline = time.monotonic() + 120
    while f"{HAARLEM.name}, " not in page.inner_text("main"):
        assert time.monotonic() < deadline, page.inner_text("main")
        page.reload()
    looked_at("privacy-logboek")
    shown = page.inner_text("main")
    assert "Er is geen alarm" in shown
    assert "Het eigen logboek" in shown


def test_fg_19_signals_are_read_on_the_record(new_page: NewPage, federation: Federation, pictures: Path) -> None:
    for _ in range(40):
        federation.lookup(OM, ZSM_LOCAL, [str(federation.population.fixed.nowhere)], sources=[HAARLEM.oin])
    page = new_page(node=OM.oin)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.click("button:has-text('Inloggen als Demo-privacyfunctionaris')")
    page.click("main a[href='/privacy/signalen']")
    page.fill("#vanaf", "gisteren")
    page.click("button:has-text('Toon de signalen')")
    assert "dag-maand-jaar" in page.inner_text(".foutregel")
    page.fill("#vanaf", page.input_value("#tot"))
    page.click("button:has-text('Toon de signalen')")
    looked_at("privacy-signalen")
    assert page.locator(".kaart").count() > 0
    assert "Medewerker" in page.inner_text(".kaart")


def test_what_is_no_checkpoint_or_result_of_the_auditor_is_refused(new_page: NewPage, pictures: Path) -> None:
    page = room(new_page, "/privacy/steekproef")
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    assert "Er is geen steekproef gevraagd" in page.inner_text("main")
    looked_at("privacy-steekproef")
    page.fill("#punt", "geen controlepunt")
    page.click("button:has-text('Bewaar dit controlepunt')")
    assert "telt niet" in page.inner_text("form[action='/privacy/steekproef'] .foutregel")
    page.fill("#uitslag", "geen uitslag")
    page.click("button:has-text('Bewaar deze uitslag')")
    assert "noemt geen auditor" in page.inner_text("form[action='/privacy/steekproef/uitslag'] .foutregel")
    looked_at("privacy-steekproef-fout")


def test_fg_26_a_case_that_was_not_asked_about_is_not_reported(new_page: NewPage, pictures: Path) -> None:
    page = room(new_page, "/onterecht")
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("privacy-onterecht")
    page.fill("#zaak", "99/999999-99")
    page.click("button:has-text('Trek het antwoord in')")
    assert "Kies de partner" in page.inner_text("#partner-fout")
    page.select_option("#partner", index=1)
    page.fill("#reden", "Deze persoon is daar nooit geweest")
    page.click("button:has-text('Trek het antwoord in')")
    assert "niet gevraagd" in page.inner_text("[role=alert]")


def test_the_keyboard_alone_is_enough_for_the_privacy_officer(new_page: NewPage, federation: Federation) -> None:
    """From the overview to a deferral that is approved, and to a purpose that is halted."""
    review = (day_of(SystemClock().now()) + timedelta(days=30)).isoformat()
    facts = {"about": "vraag", "reference": "e5" * 32, "purpose": ZSM_LOCAL, "review_on": review}
    federation.call(HAARLEM, op="defer", **facts, ground="Wjsg 21(2): onderzoek loopt nog")
    page = privacy(new_page)
    tab_to(page, "main a[href='/privacy/uitstel']")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Uitstel')")
    tab_to(page, "form[action$='/goed'] button")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    tab_to(page, "main a[href='/privacy']")
    page.keyboard.press("Enter")
    page.wait_for_selector("h1:has-text('Privacy')")
    tab_to(page, "main a[href='/privacy/afscherming']")
    page.keyboard.press("Enter")
    page.wait_for_selector("#doel")
    tab_to(page, "#doel")
    page.keyboard.press("ArrowDown")
    tab_to(page, "#reden")
    page.keyboard.type("Bedreigd door een ex-partner")
    tab_to(page, "form[action='/privacy/afscherming'] button")
    page.keyboard.press("Enter")
    page.wait_for_selector("[role=status]")
    assert "staat nu stil" in page.inner_text("[role=status]")
