"""Asking anew in one press, and forms that say all that is wrong at once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bekend_proto.errors import StorageError
from playwright.sync_api import Page

from tests.support.asking import OTHER, PERSON, Source
from tests.support.covenants import HAARLEM, RECLASSERING
from tests.support.pages import StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere
from tests.web.test_web_late import ASK, FORM, ask, asked, fill, sign_in, words

AGAIN = "button:has-text('Vraag het opnieuw aan wie niet antwoordde')"


@pytest.fixture
def site(tmp_path: Path) -> Iterator[StagedPages]:
    with staged(tmp_path) as made:
        made.stage.sources[HAARLEM].known = (PERSON,)
        yield made


def spoilt(box: bytes, source: Source) -> bytes:
    """What Haarlem says does not arrive whole."""
    return box[:-1] if source.oin == HAARLEM else box


def answers(page: Page) -> dict[str, str]:
    return {name: word for name, word in words(page).items() if word != "niet bevraagd"}


@pytest.mark.parametrize("script", [True, False])
def test_who_gave_no_answer_is_asked_again_in_one_press(
    site: StagedPages, open_at: OpenAt, pictures: Path, script: bool
) -> None:
    site.stage.changes.box = spoilt
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    ask(page, RECLASSERING, HAARLEM)
    assert sorted(answers(page).values()) == ["geen antwoord", "geen uitsluitsel"]
    assert PERSON.value not in page.content() + page.url + page.title()
    if script:
        assert_looks_right_everywhere(page, pictures, "officer-geen-antwoord")
    site.stage.changes.box = lambda box, _: box
    first = page.url
    page.click(AGAIN)
    page.wait_for_selector(".knoppen")
    assert page.url != first
    assert answers(page) == {"Gemeente Haarlem (college)": "bekend"}
    assert PERSON.value not in page.content() + page.url + page.title()
    for address in (page.url, first):
        page.goto(address)
        assert page.locator(AGAIN).count() == 0


@pytest.mark.parametrize("script", [True, False])
def test_what_was_answered_before_is_one_press_away(
    site: StagedPages, open_at: OpenAt, pictures: Path, script: bool
) -> None:
    """'0 of 1 partners' is not the whole: whoever looks at the one page finds the other."""
    site.stage.changes.box = spoilt
    site.stage.sources[RECLASSERING].known = (PERSON,)
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    ask(page, RECLASSERING, HAARLEM)
    first = page.url
    # Once more without an answer, and then with one: three pages.
    for _ in range(2):
        page.click(AGAIN)
        page.wait_for_selector(".knoppen")
        assert "Persoon 1" not in page.inner_text("main")
        assert "Reclassering Noord-Holland" not in page.inner_text("main")
        site.stage.changes.box = lambda box, _: box
    last = page.url
    # Known to two sectors: the one of the first page counts for the next step on this one.
    assert "Nodig voor het casusoverleg" in page.inner_text("main")
    if script:
        assert_looks_right_everywhere(page, pictures, "officer-opnieuw-gevraagd")
    page.click("a:has-text('uw eerste vraag')")
    assert page.url == first
    assert answers(page) == {
        "Gemeente Haarlem (college)": "geen antwoord",
        "Reclassering Noord-Holland": "bekend",
    }
    page.click("a:has-text('Bekijk wat er toen kwam')")
    page.click("a:has-text('Bekijk wat er toen kwam')")
    assert page.url == last
    assert page.locator("a:has-text('Bekijk wat er toen kwam')").count() == 0


def test_a_lookup_that_was_not_recorded_is_no_page_to_go_back_to(
    site: StagedPages, open_at: OpenAt, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = site.stage.store.admit_asking

    async def full(**kept: Any) -> None:
        raise StorageError("the disk is full: make room")

    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    monkeypatch.setattr(site.stage.store, "admit_asking", full)
    ask(page, RECLASSERING, HAARLEM)
    assert "kon niet worden vastgelegd" in page.inner_text("main")
    monkeypatch.setattr(site.stage.store, "admit_asking", keep)
    page.click(AGAIN)
    page.wait_for_selector(".kaarten-breed")
    assert sorted(answers(page).values()) == ["bekend", "geen uitsluitsel"]
    assert "uw eerste vraag" not in page.inner_text("main")


def half_answered(site: StagedPages, open_at: OpenAt) -> Page:
    """The page of a lookup under way: one partner answered, the other does not."""
    site.stage.silent_after = 2  # what Begin brings, and one answer
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    fill(page, RECLASSERING, HAARLEM)
    page.click(ASK)
    page.wait_for_selector(".kaarten-breed .woord")
    return page


def test_what_comes_leaves_the_rest_of_the_page_as_it_is(site: StagedPages, open_at: OpenAt) -> None:
    """The line that is read aloud stays one line, and what somebody opened stays open."""
    page = half_answered(site, open_at)
    page.click("summary")
    page.evaluate("window.told = document.querySelector('[role=status]')")
    assert page.locator(".knoppen").count() == 0
    page.wait_for_selector(".knoppen")
    assert "geen antwoord" in answers(page).values()
    assert page.evaluate("window.told.isConnected && window.told.innerText.includes('kwam geen antwoord')")
    assert page.evaluate("document.querySelector('#uitkomsten details').open")


def test_a_page_whose_stream_is_gone_does_not_wait_for_ever(site: StagedPages, open_at: OpenAt) -> None:
    """Signed out in another window, say, or after a restart of the node."""
    page = half_answered(site, open_at)
    page.request.post(f"{site.origin}/uitloggen", headers={"origin": site.origin})
    page.wait_for_selector("button:has-text('Inloggen als')")


def test_a_person_keeps_its_number_when_asked_about_again(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    page.fill("#persoon-2", OTHER.value)
    site.stage.changes.box = spoilt
    ask(page, RECLASSERING, HAARLEM)
    page.click(AGAIN)
    page.wait_for_selector(".knoppen")
    silent = page.locator(".kaart.uitkomst-geen_antwoord").inner_text()
    assert "Persoon 1:" in silent
    assert "Persoon 2:" in silent
    assert [len(begin.elements) for begin in site.stage.line.begins] == [2, 2]


def test_each_person_has_the_shape_of_its_own_outcome(site: StagedPages, open_at: OpenAt) -> None:
    """Of two persons one is known: neither the word of the other nor the card may look like that."""
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    page.fill("#persoon-2", OTHER.value)
    ask(page, HAARLEM)
    card = page.locator(".kaarten-breed .kaart")
    assert "uitkomst" not in str(card.get_attribute("class"))
    shapes = {
        word.inner_text().split(maxsplit=1)[1]: word.evaluate("one => getComputedStyle(one).borderRadius")
        for word in card.locator(".woord").all()
    }
    assert shapes == {"bekend": "3px", "geen uitsluitsel": "999px"}


def test_a_whole_answer_leaves_no_person_in_the_session(site: StagedPages, open_at: OpenAt) -> None:
    page = asked(site, open_at, HAARLEM)
    assert page.locator(AGAIN).count() == 0
    path = page.url.removeprefix(site.origin)
    assert page.request.post(f"{site.origin}{path}/opnieuw", headers={"origin": site.origin}).status == 404


def test_everything_that_is_wrong_is_said_at_once(site: StagedPages, open_at: OpenAt) -> None:
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    page.fill("#zaak", "geen zaaknummer")
    page.fill("#persoon-1", "999990018")
    page.click(ASK)
    assert "regel zaaknummer" in page.inner_text("#zaak-fout")
    assert "BSN" in page.inner_text("#persoon-1-fout")
    assert "regel FG-09" in page.inner_text("#partners")
    assert "regel motivering" in page.inner_text("#motivering")
    assert page.locator("#fouten li").count() == 4
