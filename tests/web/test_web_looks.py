"""What every page is held against can fail: each fault is one, on a page that is wrong in that way alone."""

import re
from collections.abc import Iterator
from datetime import date

import pytest
from bekend_node.web.app import build
from bekend_node.web.pages import Pages, Site
from bekend_node.web.sessions import Sessions
from bekend_policy.load import load_covenant
from bekend_policy.matrix import grids
from bekend_proto.clock import SystemClock
from playwright.sync_api import Browser, Page
from playwright.sync_api import Route as Fetched
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.testclient import TestClient

from tests.support.covenants import CATALOGUE
from tests.web.looks import LARGEST, assert_looks_right, weight

HEAD = '<!doctype html><html lang="nl"><head><title>Proef</title><meta name="viewport" content="width=device-width">'
GOOD = f"{HEAD}</head><body><main><h1>Proef</h1><p>Een zin.</p></main></body></html>"
ORIGIN = "https://bekend.example"
ADDRESS = "http://bladzijde.example/"


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 375, "height": 900})
    yield context.new_page()
    context.close()


def shown(page: Page, html: str, **files: str) -> Page:
    """A page with these files beside it, from no server at all."""

    def reply(route: Fetched) -> None:
        name = route.request.url.removeprefix(ADDRESS)
        kind = "text/css" if name.endswith("css") else "text/html"
        route.fulfill(body=files.get(name, html), content_type=f"{kind}; charset=utf-8")

    page.route("**/*", reply)
    page.goto(ADDRESS)
    return page


def test_a_page_that_is_right_is_right(page: Page) -> None:
    assert_looks_right(shown(page, GOOD))


@pytest.mark.parametrize(
    ("instead", "said"),
    [
        ('<p style="color:#999;background:#fff">Een zin.</p>', "contrast"),
        ('<p><input type="text"></p>', "label"),
        ('<p style="width:900px">Een zin.</p>', "scrolls sideways"),
        ('<p style="width:8px;overflow-wrap:anywhere">Een zin die smal is.</p>', "one letter per line"),
        ('<div class="kaart">Een</div><div class="kaart" style="margin-top:-12px">Twee</div>', "overlap"),
        ('<button style="height:18px;border:0;padding:0;display:block">Doe</button>', "too low to hit"),
    ],
    ids=["contrast", "label", "sideways", "narrow", "overlap", "low"],
)
def test_each_fault_is_found(page: Page, instead: str, said: str) -> None:
    with pytest.raises(AssertionError, match=said):
        assert_looks_right(shown(page, GOOD.replace("<p>Een zin.</p>", instead)))


def test_a_long_name_that_pushes_signing_out_to_a_second_line_is_found(page: Page) -> None:
    head = "<header style='display:flex;flex-wrap:wrap'><a class='merk' href='/'>bekend</a>"
    out = (
        "<p style='width:1000px'>Naam</p><form class='wie-uit'><button style='height:40px'>Uit</button></form></header>"
    )
    shown(page, GOOD.replace("<main>", f"{head}{out}<main>"))
    page.set_viewport_size({"width": 1050, "height": 900})
    with pytest.raises(AssertionError, match="a line of its own"):
        assert_looks_right(page)


def test_a_number_of_a_person_in_a_title_is_found(page: Page) -> None:
    with pytest.raises(AssertionError):
        assert_looks_right(shown(page, GOOD.replace("<title>Proef", "<title>Zaak 999900006")))


def test_a_page_is_weighed_with_what_it_loads(page: Page) -> None:
    html = GOOD.replace("</head>", '<link rel="stylesheet" href="a.css"></head>')
    sheet = "/*" + LARGEST * "x" + "*/"
    found = shown(page, html, **{"a.css": sheet})
    assert weight(found) >= len(sheet) + len(html)
    with pytest.raises(AssertionError):
        assert_looks_right(found)


def test_the_largest_page_of_a_whole_region_is_under_100_kb() -> None:
    covenant = load_covenant(CATALOGUE)
    pages = Pages(lambda: Site("Gemeente", dev=True, demo=True, practice=True), Sessions(SystemClock()), ())

    async def page(request: Request) -> Response:
        found = grids(covenant, date(2026, 12, 1))
        return pages.render(request, "convenant.html.j2", covenant=covenant, grids=found)

    client = TestClient(build(ORIGIN, pages, Sessions(SystemClock()), [Route("/", page)]), base_url=ORIGIN)
    whole = client.get("/")
    assert len(covenant.participants) > 20
    assert all(one.name in whole.text for one in covenant.participants.values())
    files = re.findall(r'(?:href|src)="(/static/[^"]+)"', whole.text)
    assert len(files) == 4
    sizes = [len(whole.content), *(len(b"".join(_raw(client, file))) for file in files)]
    assert sum(sizes) < LARGEST


def _raw(client: TestClient, path: str) -> list[bytes]:
    with client.stream("GET", path, headers={"accept-encoding": "gzip"}) as reply:
        return list(reply.iter_raw())
