"""Four eyes in a real browser (FG-37): two officers in two sessions, an emergency, and what no page gives away."""

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from bekend_node.store_decisions import Decisions
from playwright.sync_api import Page, Request

from tests.support.asking import DIRECTOR, OFFICER, PERSON, ZVH_CASE
from tests.support.covenants import HAARLEM, RECLASSERING, ZVH_WEIGHING
from tests.support.eyes import FIRST, NOT, PRIVACY, SECOND, WHY, EyesStage, with_emergency
from tests.support.pages import COLLEAGUE, StagedPages, staged
from tests.web.conftest import OpenAt
from tests.web.looks import assert_looks_right_everywhere
from tests.web.test_web_late import ask, sign_in

FORM = f"/bevragen/{ZVH_WEIGHING}"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StagedPages]:
    with staged(tmp_path_factory.mktemp("eyes"), with_emergency, EyesStage) as made:
        made.stage.sources[HAARLEM].known = (PERSON,)
        yield made


@pytest.fixture(autouse=True)
def nothing_waits(site: StagedPages) -> Iterator[None]:
    yield
    for one in site.stage.asker.four_eyes.own(FIRST):
        site.stage.asker.four_eyes.spend(one.id)
    emergencies = site.stage.asker.emergencies
    for urgent in emergencies.waiting(SECOND):
        site.work(emergencies.review(urgent.number, SECOND, agreed=True, text=""))


def prepared(site: StagedPages, open_at: OpenAt, *, script: bool = True) -> Page:
    """The first officer's page of a question that waits."""
    page = sign_in(open_at(site.origin, script=script))
    page.goto(site.origin + FORM)
    ask(page, HAARLEM)
    assert "/meekijken/" in page.url
    return page


def second(site: StagedPages, open_at: OpenAt, name: str = COLLEAGUE.name, *, script: bool = True) -> Page:
    page = sign_in(open_at(site.origin, script=script), name)
    page.click("nav a:has-text('Meekijken')")
    return page


def asked(site: StagedPages) -> int:
    return len(site.stage.line.begins)


@pytest.mark.parametrize("script", [True, False])
def test_fg_37_two_officers_in_two_sessions(site: StagedPages, open_at: OpenAt, script: bool) -> None:
    before = asked(site)
    first = prepared(site, open_at, script=script)
    assert "Er is nog niets gevraagd" in first.inner_text("[role=status]")
    other = second(site, open_at, script=script)
    other.click(".kaart a")
    assert PERSON.value not in other.content()
    other.click("button:has-text('Toon de persoon')")
    shown = other.inner_text("main")
    for text in (PERSON.value, ZVH_CASE, "De aanmelding is getoetst", DIRECTOR.name):
        assert text in shown
    other.click("button:has-text('Ik ben akkoord')")
    assert "U bent akkoord" in other.inner_text("[role=status]")
    assert asked(site) == before
    first.click("a:has-text('Kijk of uw collega al keek')")
    assert f"{COLLEAGUE.name} is akkoord" in first.inner_text("[role=status]")
    first.click("button:has-text('Vraag het de partners')")
    first.wait_for_url("**/uitkomst/**")
    first.wait_for_selector("a:has-text('ontvangstbewijs')")
    assert "bekend" in first.inner_text(".kaarten-breed")
    assert asked(site) == before + 1
    first.go_back()
    first.reload()
    assert "staat hier niet" in first.inner_text("main")


def test_fg_37_a_refusal_says_why(site: StagedPages, open_at: OpenAt) -> None:
    before = asked(site)
    first, other = prepared(site, open_at), second(site, open_at)
    other.click(".kaart a")
    other.click("button:has-text('Toon de persoon')")
    other.click("button:has-text('Ik ben niet akkoord')")
    assert "Schrijf waarom" in other.inner_text("form[action$='/weiger'] [role=alert]")
    other.fill("#reden-weiger", f"het gaat om {PERSON.value}")
    other.click("button:has-text('Ik ben niet akkoord')")
    assert PERSON.value not in other.inner_text("form[action$='/weiger'] .foutregel")
    other.fill("#reden-weiger", "Jan van der Berg staat hier niet, en Piet Jansen ook niet")
    other.click("button:has-text('Ik ben niet akkoord')")
    assert "naam" in other.inner_text("form[action$='/weiger'] [role=alert]")
    other.fill("#reden-weiger", NOT)
    other.click("button:has-text('Ik ben niet akkoord')")
    first.reload()
    told = first.inner_text("[role=status]")
    assert f"{COLLEAGUE.name} is niet akkoord" in told
    assert NOT in told
    assert first.locator("button:has-text('Vraag het de partners')").count() == 0
    assert asked(site) == before


def test_fg_37_an_emergency_is_asked_at_once_and_reviewed_afterwards(site: StagedPages, open_at: OpenAt) -> None:
    before = asked(site)
    first, other = prepared(site, open_at), second(site, open_at)
    assert "Alleen bij acuut gevaar" in first.inner_text("form[action$='/noodgreep']")
    first.click("button:has-text('Vraag het nu')")
    assert "Schrijf waarom" in first.inner_text("form[action$='/noodgreep'] [role=alert]")
    first.fill("#reden-noodgreep", WHY)
    first.click("button:has-text('Vraag het nu')")
    first.wait_for_url("**/uitkomst/**")
    first.wait_for_selector("a:has-text('ontvangstbewijs')")
    assert asked(site) == before + 1
    other.reload()
    other.click(".kaart a:has-text('Noodgreep')")
    assert WHY in other.inner_text("main")
    assert PERSON.value not in other.content()
    other.fill("#reden-niet", NOT)
    other.click("button:has-text('Dit had niet gemogen')")
    assert "Uw oordeel is vastgelegd" in other.inner_text("[role=status]")
    first.click("nav a:has-text('Meekijken')")
    assert NOT in first.inner_text("main")


def test_fg_37_asking_anew_leads_back_to_what_was_answered_also_by_way_of_a_second_officer(
    site: StagedPages, open_at: OpenAt
) -> None:
    def go_on() -> None:
        page.fill("#reden-noodgreep", WHY)
        page.click("button:has-text('Vraag het nu')")
        page.wait_for_url("**/uitkomst/**")
        page.wait_for_selector("a:has-text('ontvangstbewijs')")

    site.stage.changes.box = lambda box, source: box[:-1] if source.oin == HAARLEM else box
    page = sign_in(open_at(site.origin))
    page.goto(site.origin + FORM)
    ask(page, HAARLEM, RECLASSERING)
    go_on()
    first = page.url
    site.stage.changes.box = lambda box, _: box
    page.click("button:has-text('Vraag het opnieuw aan wie niet antwoordde')")
    go_on()
    assert page.url != first
    page.click("a:has-text('uw eerste vraag')")
    assert page.url == first


def test_fg_37_the_privacy_officer_sees_emergencies_and_that_is_on_the_record(
    site: StagedPages, open_at: OpenAt, pictures: Path
) -> None:
    stage = site.stage
    assert isinstance(stage, EyesStage)
    first = prepared(site, open_at)
    first.fill("#reden-noodgreep", WHY)
    first.click("button:has-text('Vraag het nu')")
    first.wait_for_url("**/uitkomst/**")
    page = sign_in(open_at(site.origin), PRIVACY.name)
    page.goto(f"{site.origin}/privacy/noodgrepen")
    waiting = stage.asker.emergencies.tally()["open"]
    assert waiting >= 1
    assert f"Wacht op een oordeel: {waiting}." in page.inner_text("main")
    assert ZVH_CASE not in page.content()
    page.fill("#vanaf", "gisteren")
    page.click("button:has-text('Toon de noodgrepen')")
    assert "dag-maand-jaar" in page.inner_text("[role=alert]")
    page.goto(f"{site.origin}/privacy/noodgrepen")
    page.click("button:has-text('Toon de noodgrepen')")
    shown = page.inner_text("main")
    assert all(text in shown for text in (ZVH_CASE, WHY, DIRECTOR.name))
    assert PERSON.value not in page.content()
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("eyes-privacy")
    (read, *_) = Decisions(stage.store.database).reads(0, stage.now + 1)
    assert (read.user, read.log) == (PRIVACY.user, "emergencies")
    stranger = sign_in(open_at(site.origin), OFFICER.name)
    reply = stranger.request.post(f"{site.origin}/privacy/noodgrepen", headers={"origin": site.origin})
    assert reply.status == 403


def test_fg_37_who_prepared_it_cannot_judge_it_by_any_address(site: StagedPages, open_at: OpenAt) -> None:
    before = asked(site)
    first = prepared(site, open_at)
    again = second(site, open_at, DIRECTOR.name)
    headers = {"origin": site.origin}
    for page in (first, again):
        for act in ("", "/akkoord", "/weiger"):
            reply = page.request.post(f"{first.url}{act}", headers=headers, form={"reden": NOT})
            assert reply.status in {409, 422}
            assert PERSON.value not in reply.text()
        assert page.request.post(f"{first.url}/vraag", headers=headers).status == 422
    assert page.request.post(f"{first.url}/anders", headers=headers).status == 404
    assert asked(site) == before


def test_fg_37_without_the_role_there_is_nothing_to_see(site: StagedPages, open_at: OpenAt) -> None:
    first = prepared(site, open_at)
    stranger = second(site, open_at, OFFICER.name)
    assert "Er wacht niets op u" in stranger.inner_text("main")
    reply = stranger.request.post(first.url, headers={"origin": site.origin})
    assert (reply.status, PERSON.value in reply.text()) == (403, False)
    nobody = open_at(first.url)
    assert "Inloggen" in nobody.inner_text("h1")


def test_fg_37_the_own_list_is_not_named(site: StagedPages, open_at: OpenAt) -> None:
    stage = site.stage
    assert isinstance(stage, EyesStage)
    stage.colleagues.add([PERSON])
    try:
        text = prepared(site, open_at).inner_text("main").casefold()
    finally:
        stage.colleagues.clear()
    assert not any(word in text for word in ("lijst", "eigen medewerker", "vip", "bekende persoon"))


def test_a_number_is_in_no_address_title_header_or_log(
    site: StagedPages, open_at: OpenAt, capfd: pytest.CaptureFixture[str]
) -> None:
    seen: list[str] = []

    def note(request: Request) -> None:
        seen.extend([request.url, str(request.headers)])

    first = prepared(site, open_at)
    other = second(site, open_at)
    for page in (first, other):
        page.on("request", note)
    other.click(".kaart a")
    other.click("button:has-text('Toon de persoon')")
    seen += [other.url, other.title(), first.url, first.title(), str(other.context.cookies())]
    other.click("button:has-text('Ik ben akkoord')")
    first.reload()
    seen += [first.content(), other.content(), capfd.readouterr().err]
    assert not any(PERSON.value in text for text in seen)


def test_the_keyboard_alone_is_enough_to_look_along(site: StagedPages, open_at: OpenAt) -> None:
    prepared(site, open_at)
    other = second(site, open_at)
    for place in (".kaart a", "button:has-text('Toon de persoon')", "button:has-text('Ik ben akkoord')"):
        other.focus(place)
        other.keyboard.press("Enter")
        other.wait_for_load_state()
    other.wait_for_selector("[role=status]")
    assert "U bent akkoord" in other.inner_text("[role=status]")


def test_every_page_of_looking_along_can_be_read_and_used(site: StagedPages, open_at: OpenAt, pictures: Path) -> None:
    page = second(site, open_at)
    looked_at = partial(assert_looks_right_everywhere, page, pictures)
    looked_at("eyes-leeg")
    first = prepared(site, open_at)
    ours = partial(assert_looks_right_everywhere, first, pictures)
    ours("eyes-wacht")
    page.reload()
    looked_at("eyes-lijst")
    page.click(".kaart a")
    looked_at("eyes-vraag")
    page.click("button:has-text('Toon de persoon')")
    looked_at("eyes-persoon")
    page.click("button:has-text('Ik ben niet akkoord')")
    looked_at("eyes-persoon-fout")
    page.fill("#reden-weiger", NOT)
    page.click("button:has-text('Ik ben niet akkoord')")
    first.reload()
    ours("eyes-geweigerd")
    first = prepared(site, open_at)
    ours = partial(assert_looks_right_everywhere, first, pictures)
    first.fill("#reden-noodgreep", "kort")
    first.click("button:has-text('Vraag het nu')")
    ours("eyes-noodgreep-fout")
    first.fill("#reden-noodgreep", WHY)
    first.click("button:has-text('Vraag het nu')")
    first.click("nav a:has-text('Meekijken')")
    ours("eyes-eigen")
    page.reload()
    page.click(".kaart a:has-text('Noodgreep')")
    looked_at("eyes-nood")
    first = prepared(site, open_at)
    id_ = first.url.rsplit("/", 1)[1]
    site.stage.asker.four_eyes.look(id_, SECOND)
    site.stage.asker.four_eyes.agree(id_, SECOND)
    first.reload()
    partial(assert_looks_right_everywhere, first, pictures)("eyes-akkoord")
    page.goto(first.url)
    looked_at("eyes-niet")
