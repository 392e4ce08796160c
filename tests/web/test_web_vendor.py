"""The vendored style sheets are those that VENDOR.md names; texts and templates fit each other."""

import re
from hashlib import sha256
from pathlib import Path

import pytest
from bekend_node.web.texts import Texts, texts
from bekend_proto.errors import InternalError

NODE = Path(__file__).parents[2] / "node"
WEB = NODE / "bekend_node" / "web"


@pytest.mark.parametrize("path", sorted((WEB / "static" / "vendor").rglob("*.css")), ids=lambda path: path.name)
def test_a_vendored_file_is_the_one_that_was_looked_at(path: Path) -> None:
    assert f"`{path.name}` | `{sha256(path.read_bytes()).hexdigest()}`" in (NODE / "VENDOR.md").read_text("utf-8")


def test_style_sheets_load_nothing_from_elsewhere() -> None:
    for path in (WEB / "static").rglob("*.css"):
        assert not re.search(r"@import|url\(\s*['\"]?(https?:)?//", path.read_text("utf-8")), path.name


def test_every_sentence_that_a_page_uses_exists() -> None:
    known = texts("nl").keys() | texts("en").keys()
    sources = [*(WEB / "templates").glob("*.j2"), *WEB.glob("*.py")]
    for path in sources:
        for key in re.findall(r"""\bt(?:ext)?\(\s*["']([a-z_]+\.[a-z0-9_]+)["']""", path.read_text("utf-8")):
            assert key in known, f"{path.name}: {key}"


def test_a_missing_sentence_or_value_is_a_fault() -> None:
    t = Texts("nl")
    for key in ("site.niets", "site.ingelogd"):
        with pytest.raises(InternalError):
            t(key)
    assert t("site.ingelogd", naam="J. Jansen") == "J. Jansen"
