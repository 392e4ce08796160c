"""The vendored style sheets are those that VENDOR.md names; texts and templates fit each other."""

import ast
import re
from collections.abc import Iterator
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
        for key in re.findall(
            r"""\b(?:t|text|say|_texts)\(\s*["']([a-z_]+\.[a-z0-9_]+)["']""", path.read_text("utf-8")
        ):
            assert key in known, f"{path.name}: {key}"


_DUTCH = re.compile(r"\b(de|het|een|niet|geen|u|uw|deze|dit|van|voor|met|kies|vul|schrijf)\b", re.IGNORECASE)


def test_every_sentence_stands_in_the_file_of_its_language() -> None:
    """No Dutch in code, and no text in templates but for commands."""
    found = [
        (path.name, text)
        for path in WEB.glob("*.py")
        for text in _strings(ast.parse(path.read_text("utf-8")))
        if len(_DUTCH.findall(text)) > 1
    ]
    for path in (WEB / "templates").glob("*.j2"):
        text = re.sub(r"\{#.*?#\}|\{%.*?%\}|\{\{.*?\}\}|<[^>]+>", " ", path.read_text("utf-8"), flags=re.DOTALL)
        found += [(path.name, line) for line in text.splitlines() if _DUTCH.search(line) and "--" not in line]
    assert found == []


def _strings(tree: ast.AST) -> Iterator[str]:
    """String constants of a module, without its docstrings."""
    documented = {
        id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            yield node.value


def test_no_sentence_is_left_that_nothing_uses() -> None:
    sources = [*(WEB / "templates").glob("*.j2"), *WEB.glob("*.py"), *WEB.parent.glob("*.py")]
    code = "\n".join(path.read_text("utf-8") for path in sources)
    # A key that is put together: everything of its section may be meant.
    joined = {found.partition(".")[0] for found in re.findall(r"""["']([a-z_]+\.[a-z0-9_]*)(?:\{|["'] ~)""", code)}
    left = {key for key in texts("nl") if key not in code and key.partition(".")[0] not in joined}
    assert left == set()


def test_a_missing_sentence_or_value_is_a_fault() -> None:
    t = Texts("nl")
    for key in ("site.niets", "inloggen.als"):
        with pytest.raises(InternalError):
            t(key)
    assert t("inloggen.als", naam="J. Jansen") == "Inloggen als J. Jansen"
