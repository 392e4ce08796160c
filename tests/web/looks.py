"""What every page must be, whatever it shows: usable with WCAG 2.2 AA, and laid out so that it can be read."""

import re
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

from tests.web.conftest import WIDTHS

_RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]

_LAYOUT = """() => {
  const faults = [];
  const root = document.documentElement;
  if (root.scrollWidth > root.clientWidth) faults.push(`scrolls sideways: ${root.scrollWidth} > ${root.clientWidth}`);
  const shown = (e) => e.checkVisibility() && e.getBoundingClientRect().width > 2;
  for (const e of document.querySelectorAll("h1, h2, h3, p, li, dd, label, legend, button, a")) {
    if (!e.checkVisibility() || e.closest(".utrecht-skip-link, .alleen-lezer")) continue;
    const box = e.getBoundingClientRect();
    const text = e.innerText.trim();
    if (text.length > 3 && box.height > 6 * box.width) faults.push(`one letter per line: ${text.slice(0, 40)}`);
    if (box.right > root.clientWidth + 1) faults.push(`sticks out: ${text.slice(0, 40)}`);
  }
  const blocks = [...document.querySelectorAll("main > *, .kaart, .keuze, .veld")].filter(shown);
  for (let i = 0; i < blocks.length; i++) for (let j = i + 1; j < blocks.length; j++) {
    const [a, b] = [blocks[i], blocks[j]];
    if (a.contains(b) || b.contains(a)) continue;
    const [p, q] = [a.getBoundingClientRect(), b.getBoundingClientRect()];
    const over = Math.min(p.right, q.right) - Math.max(p.left, q.left) > 1
      && Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top) > 1;
    if (over) faults.push(`overlap: ${a.className} and ${b.className}`);
  }
  for (const e of document.querySelectorAll("a, button, input:not([type=hidden]), select, textarea")) {
    const box = (e.closest("label") ?? e).getBoundingClientRect();
    const inText = e.closest("p, li, .utrecht-skip-link, h2, h3");
    if (shown(e) && !inText && box.height < 24) faults.push(`too low to hit: ${e.outerHTML.slice(0, 60)}`);
  }
  const [brand, out] = [document.querySelector(".merk"), document.querySelector(".wie-uit")];
  if (brand && out && root.clientWidth > 480) {
    const [p, q] = [brand.getBoundingClientRect(), out.getBoundingClientRect()];
    if (q.top >= p.bottom) faults.push("signing out stands on a line of its own");
  }
  return faults;
}"""


_NUMBER = re.compile(r"(?<![0-9a-zA-Z])9999\d{5}(?![0-9a-zA-Z])")
"""As a test person has it."""

LARGEST = 100_000
"""Octets of a page with everything that it loads, as a browser that keeps nothing gets them."""

_WEIGHT = """() => ["navigation", "resource"].flatMap((kind) => performance.getEntriesByType(kind))
  .reduce((sum, one) => sum + one.encodedBodySize, 0)"""


def weight(page: Page) -> int:
    """Octets that came for this page; what the browser kept from another page counts too."""
    return int(page.evaluate(_WEIGHT))


def assert_looks_right(page: Page) -> None:
    """No fault of axe, no sideways scroll, no squeezed or overlapping text; under 100 kB; nobody in the title."""
    found = Axe().run(page, options={"runOnly": {"type": "tag", "values": _RULES}})
    assert found.violations_count == 0, found.generate_report()
    assert_laid_out(page)


def assert_laid_out(page: Page) -> None:
    """The same without axe, which takes a hundred times as long."""
    faults = page.evaluate(_LAYOUT)
    assert faults == [], faults
    assert weight(page) < LARGEST
    assert not _NUMBER.search(f"{page.title()} {page.url}")


def assert_looks_right_everywhere(page: Page, pictures: Path, name: str) -> None:
    """The same at every width, light and dark; a picture of each is kept under `name`.

    Axe looks at the narrowest and the widest: what it can find changes with the colours, and where a phone becomes a
    wide screen.
    """
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
        for width in WIDTHS:
            page.set_viewport_size({"width": width, "height": 900})
            page.screenshot(path=pictures / f"{name}-{width}-{scheme}.png", full_page=True)
            if width in {min(WIDTHS), max(WIDTHS)}:
                assert_looks_right(page)
            else:
                assert_laid_out(page)
