"""The guides show pictures that the tests of pages make, and nothing else is kept."""

import re
from pathlib import Path

import pytest

from tests.support.dashboards import BOARDS
from tests.web.conftest import WIDTHS
from tests.web.guides import KEPT, pictures_named

HERE = Path(__file__).parent
_ALONE = re.compile(r'assert_looks_right_everywhere\(page, pictures, "([a-z-]+)"\)')


def _made() -> set[str]:
    """Names of the pictures that tests make: each page `looked_at` at every width, light and dark, and dashboards."""
    texts = [path.read_text("utf-8") for path in HERE.glob("test_web_*.py")]
    everywhere = [
        text for text in texts if "looked_at = partial(assert_looks_right_everywhere, page, pictures)" in text
    ]
    names = {name for text in everywhere for name in re.findall(r'looked_at\("([a-z-]+)"\)', text)}
    names |= {name for text in texts for name in _ALONE.findall(text)}
    pages = {f"{name}-{width}-{scheme}.png" for name in names for width in WIDTHS for scheme in ("light", "dark")}
    return pages | {f"dashboard-{board}.png" for board in BOARDS}


def test_every_picture_of_a_guide_is_made_by_a_test() -> None:
    assert pictures_named()
    assert pictures_named() <= _made()


def test_what_is_kept_is_what_the_guides_show() -> None:
    assert {path.name for path in KEPT.glob("*.png")} == pictures_named()


@pytest.mark.parametrize("name", sorted(pictures_named()))
def test_a_kept_picture_is_one(name: str) -> None:
    assert (KEPT / name).read_bytes().startswith(b"\x89PNG")
