"""Answers that come later, as the officer sees them: on the form, among the outcomes, by case."""

import json
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

import pytest
from bekend_node.receipt import parse
from bekend_node.store_decisions import Decisions
from bekend_proto.errors import UnreachableError
from playwright.sync_api import Page

from tests.support.asking import DIRECTOR, OTHER, PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, POLITIE, RECLASSERING, VEILIG_THUIS, ZVH_WEIGHING, edit, key_of
from tests.support.pages import COLLEAGUE, StagedPages, one_pair_of_eyes_with_consent, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right, assert_looks_right_everywhere

ASK = "button:has-text('Vraag het de partners')"
FORM = f"/bevragen/{ZVH_WEIGHING}"
WRONG = "a:has-text(\"Klopt 'bekend' niet?\")"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        for oin in (POLITIE, VEILIG_THUIS):
            made.stage.sources[oin].by_hand = True
        made.stage.sources[POLITIE].known = (PERSON,)
        made.stage.sources[HAARLEM].known = (PERSON,)
        yield made


def sign_in(page: Page, name: str = DIRECTOR.name) -> Page:
    page.click(f"button:has-text('Inloggen als {name}')")
    return page


def fill(page: Page, *partners: str, case: str = ZVH_CASE, number: str = PERSON.value) -> None:
    page.fill("#zaak", case)
    page.fill("#persoon-1", number)
    for box in page.locator("input[type=checkbox][name^=voorwaarde-]").all():
        box.check()
    page.fill("[id='motivering-']", "De aanmelding is getoetst, de deelnemers moeten bekend zijn.")
    for oin in partners:
        page.check(f"input[value='{oin}']")


def ask(page: Page, *partners: str, case: str = ZVH_CASE, number: str = PERSON.value) -> None:
    fill(page, *partners, case=case, number=number)
    page.click(ASK)
    page.wait_for_selector(".knoppen")


def asked(site: StagedPages, open_at: OpenAt, *partners: str, width: int = 1100, scheme: str = "light") -> Page:
    page = sign_in(open_at(site.origin, width, scheme))
    page.goto(site.origin + FORM)
    ask(page, *partners)
    return page


def release(site: StagedPages) -> None:
    """A colleague at the partner decides, and the next moment of collecting brings it."""
    site.stage.exchange.release()
    site.stage.clock.advance(timedelta(minutes=20))
    site.collect()


def words(page: Page) -> dict[str, str]:
    cards = page.locator(".kaarten-breed .kaart").all()
    return {card.locator("h2, h4").inner_text(): card.locator(".woord").inner_text()[2:].strip() for card in cards}


def test_every_page_of_later_answers_can_be_read_and_used(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = sign_in(open_at(site.origin))
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    page.goto(site.origin + "/zaken")
    looked_at("officer-zaken-leeg")
    page.goto(site.origin + FORM)
    looked_at("officer-bevragen-later")
    ask(page, POLITIE, HAARLEM)
    looked_at("officer-uitkomst-later")
    page.click("nav a:has-text('Mijn vragen')")
    looked_at("officer-zaken-wacht")
    release(site)
    page.reload()
    page.click("summary")
    looked_at("officer-zaken-bekend")
    page.fill("#zaak", ZVH_CASE)
    page.click("button:has-text('Bekijk deze zaak')")
    looked_at("officer-zaak")


def test_an_answer_that_comes_later_says_until_when_and_counts_as_no_answer(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, POLITIE, HAARLEM)
    shown = words(page)
    assert sorted(shown.values()) == ["bekend", "in behandeling tot 03-12-2026 13:00"]
    text = page.inner_text("main")
    assert "Antwoord gekregen van 1 van 2 partners" in text
    assert "Nog 1 antwoordt later" in text
    assert "standaardbesluit: Gemeente Haarlem" in text
    assert "niet (geheel) getoetst" in text


def test_the_form_says_when_each_partner_answers(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    text = page.inner_text("#partners")
    assert "antwoordt uiterlijk 03-12-2026 13:00" in text
    assert "antwoordt direct" in text


@pytest.mark.parametrize("script", [True, False])
def test_own_questions_are_found_by_case_and_by_nobodys_number(
    site: StagedPages, open_at: OpenAt, script: bool
) -> None:
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    ask(page, POLITIE)
    page.click("nav a:has-text('Mijn vragen')")
    # Nothing came, so there is nothing that may be wrong.
    assert page.locator(WRONG).count() == 0
    release(site)
    page.click("nav a:has-text('Mijn vragen')")
    assert list(words(page).values()) == ["bekend"]
    assert page.locator(WRONG).count() == 1
    assert ZVH_CASE in page.inner_text("main")
    page.fill("#zaak", PERSON.value)
    page.click("button:has-text('Bekijk deze zaak')")
    assert "Er zijn geen antwoorden" in page.inner_text("main")
    page.go_back()
    page.fill("#zaak", ZVH_CASE)
    with page.expect_navigation():
        page.click("button:has-text('Bekijk deze zaak')")
    assert list(words(page).values()) == ["bekend"]
    assert ZVH_CASE not in page.url


def test_a_colleague_sees_a_case_and_another_role_does_not(site: StagedPages, open_at: OpenAt) -> None:
    asked(site, open_at, POLITIE)
    for name, found in ((COLLEAGUE.name, 1), ("J. Jansen", 0)):
        page = sign_in(open_at(site.origin), name)
        page.goto(site.origin + "/zaken")
        assert "Er zijn geen antwoorden" in page.inner_text("main")
        page.fill("#zaak", ZVH_CASE)
        page.click("button:has-text('Bekijk deze zaak')")
        assert len(words(page)) == found


def test_the_final_receipt_says_what_came(site: StagedPages, open_at: OpenAt, tmp_path: Path) -> None:
    page = asked(site, open_at, POLITIE)
    release(site)
    page.click("nav a:has-text('Mijn vragen')")
    with page.expect_download() as download:
        page.click("section.zaak a:has-text('ontvangstbewijs')")
    download.value.save_as(tmp_path / "bon.json")
    receipt = parse((tmp_path / "bon.json").read_bytes())
    assert [(one.oin, one.outcome) for one in receipt.openings] == [(POLITIE, "bekend")]


def test_a_case_that_is_not_taken_in_leaves_nothing(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, POLITIE, HAARLEM)
    outcomes = page.url
    release(site)
    page.click("nav a:has-text('Mijn vragen')")
    page.click("summary")
    page.click("button:has-text('Vernietig de antwoorden')")
    assert "vernietigd" in page.inner_text("[role=status]")
    assert "Er zijn geen antwoorden" in page.inner_text("main")
    page.goto(outcomes)
    assert "verlopen" in page.inner_text("main")


def test_wiping_the_outcomes_destroys_what_comes_later_too(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, POLITIE, HAARLEM)
    page.click("button:has-text('wis de uitkomsten')")
    release(site)
    page.goto(site.origin + "/zaken")
    assert "Er zijn geen antwoorden" in page.inner_text("main")


def test_what_was_answered_at_once_stands_here_while_the_session_lasts(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, HAARLEM)
    page.click("nav a:has-text('Mijn vragen')")
    assert "nergens bewaard" in page.inner_text("main")
    page.click(f"a:has-text('Zaak {ZVH_CASE}')")
    assert list(words(page).values()) == ["bekend"]
    page.click("button:has-text('Uitloggen')")
    sign_in(page)
    page.goto(site.origin + "/zaken")
    assert ZVH_CASE not in page.inner_text("main")


def test_another_sessions_page_and_a_made_up_one_are_not_there(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, POLITIE)
    page.goto(site.origin + "/zaken")
    receipt = page.get_attribute("section.zaak a:has-text('ontvangstbewijs')", "href")
    other = sign_in(open_at(site.origin))
    for path in (receipt, "/zaken/bedacht", "/zaken/bon/bedacht"):
        assert other.request.get(f"{site.origin}{path}").status == 404


def test_a_partner_without_a_line_is_shown_since_when(site: StagedPages, open_at: OpenAt) -> None:
    site.stage.line.fails_at["fetch"] = UnreachableError("gone")
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    assert "onbereikbaar sinds 13:00 uur" in page.inner_text("#partners")
    site.stage.clock.advance(timedelta(minutes=5))
    page.reload()
    assert "onbereikbaar sinds 13:00 uur" in page.inner_text("#partners")
    site.stage.line.fails_at.clear()
    page.reload()
    assert "onbereikbaar" not in page.inner_text("#partners")


def test_several_persons_are_counted_apart(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    page.fill("#persoon-2", OTHER.value)
    ask(page, RECLASSERING, HAARLEM)
    assert "Antwoord gekregen van 2 van 2 partners" in page.inner_text("main")
    assert json.dumps(PERSON.value) not in page.content()


def many_partners(folder: Path) -> None:
    """Twelve municipalities more, which nobody has heard of yet."""
    one_pair_of_eyes_with_consent(folder)
    text = (folder / "deelnemers" / "haarlem.yaml").read_text("utf-8")
    for number in range(12):
        oin = f"00000099{50 + number:09d}000"
        renamed = text.replace(HAARLEM, oin).replace("Gemeente Haarlem", f"Gemeente Proefdorp {number}")
        path = folder / "deelnemers" / f"proefdorp-{number}.yaml"
        path.write_text(renamed, "utf-8")
        edit(path, r'bekend/\d{20}/ondertekenaar[^"]+', key_of(oin).vkey)


@pytest.fixture
def crowded(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path, many_partners) as made:
        yield made


@pytest.mark.parametrize("script", [True, False])
def test_more_than_ten_partners_are_searched_by_name_and_none_is_lost(
    crowded: StagedPages, open_at: OpenAt, pictures: Path, script: bool
) -> None:
    page = sign_in(open_at(crowded.origin, 375, script=script))
    page.goto(crowded.origin + FORM)
    everybody = page.locator("input[name=partner]").count()
    page.fill("#zoek", "proefdorp 11")
    page.press("#zoek", "Enter")
    first = page.locator("#partners .keuzes").first
    assert "Gemeente Proefdorp 11" in first.inner_text()
    assert first.locator("input[name=partner]").count() == 1
    assert page.locator("input[name=partner]").count() == everybody
    page.screenshot(path=pictures / "officer-zoek.png", full_page=True)
    if script:  # axe itself is script
        assert_looks_right(page)
    assert page.url.endswith("#partners")
    page.fill("#zaak", ZVH_CASE)
    page.fill("#persoon-1", PERSON.value)
    page.locator("#partners .keuzes").last.locator(f"input[value='{HAARLEM}']").check()
    page.fill("#zoek", "")
    page.select_option("#woongemeente", label="Gemeente Proefdorp 7 (college)")
    page.click("button:has-text('Zoek')")
    assert "Gemeente Proefdorp 7" in first.locator("label").first.inner_text()
    assert [page.input_value("#zaak"), page.input_value("#persoon-1")] == [ZVH_CASE, PERSON.value]
    assert page.is_checked(f"input[value='{HAARLEM}']")
    assert page.locator("input[name=partner]:checked").count() == 1
    assert crowded.stage.line.begins == []
    page.fill("#zoek", "<script>alert(1)</script>")
    page.press("#zoek", "Enter")
    assert "Geen partner heeft" in page.inner_text("#partners")
    assert page.locator("input[name=partner]").count() == everybody


def at_case(site: StagedPages, page: Page) -> Page:
    page.goto(site.origin + "/zaken")
    page.fill("#zaak", ZVH_CASE)
    page.click("button:has-text('Bekijk deze zaak')")
    return page


def test_fg_50_whether_a_decision_changed_is_asked_once_per_case(
    site: StagedPages, open_at: OpenAt, pictures: Path
) -> None:
    page = at_case(site, asked(site, open_at, HAARLEM))
    page.click("button:has-text('Meld dit')")
    assert "Kies ja of nee" in page.inner_text("[role=alert]")
    page.check("input[name=gevolg][value=ja]")
    assert_looks_right_everywhere(page, pictures, "officer-gevolg")
    page.click("button:has-text('Meld dit')")
    assert "Dank u" in page.inner_text("[role=status]")
    assert page.locator("input[name=gevolg]").count() == 0
    told = Decisions(site.stage.store.database).consequences(0, 1 << 62)
    assert told == [(ZVH_WEIGHING, True)]
    other = at_case(site, sign_in(open_at(site.origin), COLLEAGUE.name))
    assert other.locator("input[name=gevolg]").count() == 0


def test_fg_50_nothing_is_asked_of_a_case_without_a_question(site: StagedPages, open_at: OpenAt) -> None:
    page = at_case(site, sign_in(open_at(site.origin)))
    assert page.locator("input[name=gevolg]").count() == 0


def test_fg_45_a_colleague_who_was_added_sees_the_case_and_another_does_not(
    site: StagedPages, open_at: OpenAt, pictures: Path
) -> None:
    page = at_case(site, asked(site, open_at, POLITIE))
    colleague = sign_in(open_at(site.origin), COLLEAGUE.name)
    colleague.goto(site.origin + "/zaken")
    assert ZVH_CASE not in colleague.inner_text("main")
    assert page.locator("#collega option").all_inner_texts() == ["", COLLEAGUE.name]
    page.select_option("#collega", label=COLLEAGUE.name)
    page.click("button:has-text('Voeg toe')")
    assert_looks_right_everywhere(page, pictures, "officer-collega")
    assert set(site.team.to_be_told()) == {COLLEAGUE.user}
    colleague.reload()
    assert ZVH_CASE in colleague.inner_text("main")
    assert site.team.to_be_told() == {}
    release(site)
    assert set(site.team.to_be_told()) == {COLLEAGUE.user, DIRECTOR.user}
    colleague.reload()
    assert list(words(colleague).values()) == ["bekend"]
    page.click("button:has-text('Haal weg')")
    colleague.reload()
    assert ZVH_CASE not in colleague.inner_text("main")


def test_who_may_not_see_a_case_adds_nobody_to_it(site: StagedPages, open_at: OpenAt) -> None:
    asked(site, open_at, POLITIE)
    other = at_case(site, sign_in(open_at(site.origin), "J. Jansen"))
    assert other.locator("#collega").count() == 0
    path = other.url.removeprefix(site.origin)
    reply = other.request.post(
        f"{site.origin}{path}/collega", form={"collega": COLLEAGUE.user}, headers={"origin": site.origin}
    )
    assert reply.status == 422
    assert site.team.on_case(ZVH_CASE) == []


def test_who_may_not_see_a_case_destroys_nothing_of_it(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, POLITIE)
    other = at_case(site, sign_in(open_at(site.origin), "J. Jansen"))
    path = other.url.removeprefix(site.origin)
    reply = other.request.post(f"{site.origin}{path}/vervallen", form={}, headers={"origin": site.origin})
    assert (reply.status, "geen vraag gesteld" in reply.text()) == (422, True)
    page.reload()
    assert "in behandeling" in page.inner_text("main").lower()


def test_fg_50_who_may_not_see_a_case_is_not_asked_about_it_and_tells_nothing(
    site: StagedPages, open_at: OpenAt
) -> None:
    page = asked(site, open_at, POLITIE)
    assert at_case(site, page).locator("input[name=gevolg]").count() == 2
    other = at_case(site, sign_in(open_at(site.origin), "J. Jansen"))
    assert other.locator("input[name=gevolg]").count() == 0
    path = other.url.removeprefix(site.origin)
    reply = other.request.post(f"{site.origin}{path}/gevolg", form={"gevolg": "ja"}, headers={"origin": site.origin})
    assert (reply.status, "een doel dat u niet mag gebruiken" in reply.text()) == (422, True)
    assert Decisions(site.stage.store.database).consequences(0, 1 << 62) == []
