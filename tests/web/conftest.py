"""Pages in a real browser, on a running federation: Debian's chromium, driven by Playwright."""

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM
from playwright.sync_api import Browser, ConsoleMessage, Page, Request, sync_playwright

from tests.support.filled import fill

CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDTHS = (320, 375, 1100)
_NUMBER = re.compile(r"(?<![0-9a-zA-Z])\d{8,9}(?![0-9a-zA-Z])")

NewPage = Callable[..., Page]
"""A page of a browser context of its own: width, colour scheme, script or none."""
OpenAt = Callable[..., Page]
"""The same, at an address."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium, for one test file: while it runs, no other event loop can run in this process.

    Skipped where there is none, unless REQUIRE_BROWSER says that there must be one.
    """
    if CHROMIUM is None:
        if os.environ.get("REQUIRE_BROWSER"):
            pytest.fail("chromium is missing: apt-get install chromium")
        pytest.skip("chromium is not installed")
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=list(FLAGS))
        yield found
        found.close()


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """Broker and seven nodes with pages, everybody enrolled."""
    with Federation.build(tmp_path_factory.mktemp("pages"), persons=60, seed=7, pages=True) as made:
        fill(made)
        made.start()
        made.wait_for_filters()
        yield made


@pytest.fixture
def open_at(browser: Browser) -> Iterator[OpenAt]:
    """Opens a page at an address, in a browser context of its own; each ends with the test.

    Whatever a test does: no page asks anything of another site, has a number of a person in an address, or meets its
    own content policy.
    """
    contexts = []
    faults: list[str] = []

    def look(request: Request, site: str) -> None:
        if urlsplit(request.url).netloc != site:
            faults.append(f"asked of another site: {request.url}")
        if _NUMBER.search(urlsplit(request.url).path + urlsplit(request.url).query):
            faults.append(f"a number in an address: {request.url}")

    def hear(said: ConsoleMessage) -> None:
        if "Content Security Policy" in said.text:
            faults.append(said.text)

    def opened(address: str, width: int = 1100, scheme: str = "light", *, script: bool = True) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if scheme == "dark" else "light",
            java_script_enabled=script,
            reduced_motion="reduce",
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", lambda request: look(request, urlsplit(address).netloc))
        page.on("console", hear)
        page.goto(address)
        return page

    yield opened
    for context in contexts:
        context.close()
    assert faults == []


@pytest.fixture
def new_page(open_at: OpenAt, federation: Federation) -> NewPage:
    """Opens pages of the OM's node."""

    def opened(
        width: int = 1100, scheme: str = "light", *, script: bool = True, node: str = OM.oin, path: str = "/"
    ) -> Page:
        address = f"http://127.0.0.1:{federation.built.nodes[node].pages}{path}"
        return open_at(address, width, scheme, script=script)

    return opened


@pytest.fixture(scope="session")
def pictures() -> Path:
    """Where pictures of pages are kept, to be looked at: BEKEND_PICTURES, else a folder that is ignored by git."""
    folder = Path(os.environ.get("BEKEND_PICTURES", Path(__file__).parents[2] / "build" / "pictures"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder
