"""Pages that a command writes, for residents and auditors: looked at as those of a node are."""

from pathlib import Path

from playwright.sync_api import Browser

from tests.policy.test_bulletin_page import PAGE as BULLETIN
from tests.policy.test_public import PAGE as PUBLIC
from tests.web.looks import assert_looks_right_everywhere


def _look(browser: Browser, pictures: Path, page: str, name: str) -> None:
    context = browser.new_context(java_script_enabled=True, reduced_motion="reduce")
    shown = context.new_page()
    shown.set_content(page)
    assert_looks_right_everywhere(shown, pictures, name)
    (pictures / f"{name}.pdf").write_bytes(shown.pdf(prefer_css_page_size=True, print_background=False))
    context.close()


def test_the_bulletin_fits_every_width_and_paper(browser: Browser, pictures: Path) -> None:
    _look(browser, pictures, BULLETIN, "bulletin")


def test_the_public_page_fits_every_width_and_paper(browser: Browser, pictures: Path) -> None:
    _look(browser, pictures, PUBLIC, "openbaar")
