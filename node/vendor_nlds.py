"""Makes the vendored style sheets of the node's pages again, from the packages that node/VENDOR.md names.

Run: pip install tinycss2
     npm pack @utrecht/component-library-css@9.0.4 @nl-design-system-community/ma-design-tokens@2.5.0
     python node/vendor_nlds.py FOLDER-WITH-THE-TWO-TGZ

Keeps the components that the pages use, and of the design tokens those that these rules and node.css read: a tenth of
the whole. Prints the SHA-256 of each package and file, for VENDOR.md.
"""

import hashlib
import re
import sys
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import tinycss2

STATIC = Path(__file__).resolve().parent / "bekend_node" / "web" / "static"
COMPONENTS = "utrecht-component-library-css-9.0.4.tgz"
TOKENS = "nl-design-system-community-ma-design-tokens-2.5.0.tgz"
KEPT = {
    *("action-group", "alert", "article", "button", "button-group", "checkbox"),
    *("code", "data-list", "form", "form-field", "form-field-description"),
    *("form-field-error-message", "form-fieldset", "form-label", "heading-1", "heading-2", "heading-3", "heading-4"),
    *("link", "nav-bar", "nav-list", "ordered-list", "page", "page-body", "page-content", "page-footer"),
    *("page-header", "page-layout", "paragraph", "root", "select", "separator", "skip-link"),
    *("surface", "table", "table-container", "textarea", "textbox", "unordered-list"),
}
FRONT = "/* Made by node/vendor_nlds.py. Licence and origin: node/VENDOR.md. */\n"


def read(package: Path, path: str) -> str:
    """One file of an npm package."""
    with tarfile.open(package) as archive:
        found = archive.extractfile(f"package/{path}")
        assert found is not None, path
        return found.read().decode("utf-8")


def components(css: str) -> Iterator[str]:
    """The rules about the components that are kept."""
    for node in tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True):
        if node.type == "qualified-rule" and _kept(node.prelude):
            yield _rule(node)
        elif node.type == "at-rule" and node.lower_at_keyword in {"media", "supports"}:
            inner = "".join(components(tinycss2.serialize(node.content)))
            if inner:
                yield f"@{node.lower_at_keyword}{tinycss2.serialize(node.prelude)}{{\n{inner}}}\n"


def _kept(prelude: list[Any]) -> bool:
    names = re.findall(r"\.utrecht-([a-z0-9-]+?)(?=__|--|[^a-z0-9-]|$)", tinycss2.serialize(prelude))
    return bool(names) and all(name in KEPT for name in names)


def _rule(node: Any) -> str:
    lines = (line.strip() for line in tinycss2.serialize(node.content).split("\n"))
    return f"{tinycss2.serialize(node.prelude).strip()}{{{''.join(lines)}}}\n"


def tokens(css: str) -> dict[str, str]:
    """Name to value of every design token."""
    return dict(re.findall(r"^\s*(--[\w-]+):\s*(.+);$", css, re.MULTILINE))


def needed(css: str, *known: dict[str, str]) -> list[str]:
    """The tokens that some rules read, and those that these read in turn, by day or by night."""
    names = set().union(*known)
    found: set[str] = set()
    todo = _read(css) & names
    while todo:
        found |= todo
        todo = set().union(*(_read(values.get(one, "")) for one in todo for values in known)) & names - found
    return sorted(found)


def _read(css: str) -> set[str]:
    return set(re.findall(r"var\(\s*(--[\w-]+)", css))


def block(names: Iterable[str], values: dict[str, str]) -> str:
    """Declarations for :root."""
    return ":root{" + "".join(f"{name}:{values[name]};" for name in names) + "}\n"


def main() -> None:
    """Write the two files and print the hashes."""
    folder = Path(sys.argv[1])
    rules = "".join(components(read(folder / COMPONENTS, "dist/index.css")))
    light = tokens(read(folder / TOKENS, "dist/theme.css"))
    dark = tokens(read(folder / TOKENS, "dist/color-scheme-dark/theme.css"))
    used = needed(rules + (STATIC / "node.css").read_text("utf-8"), light, dark)
    both = block([n for n in used if n in light], light)
    changed = [n for n in used if n in dark and dark[n] != light.get(n)]
    night = f"@media screen and (prefers-color-scheme: dark){{\n{block(changed, dark)}}}\n"
    out = STATIC / "vendor" / "nlds"
    out.mkdir(parents=True, exist_ok=True)
    (out / "components.css").write_text(FRONT + rules, "utf-8")
    (out / "tokens.css").write_text(FRONT + both + night, "utf-8")
    for path in (folder / COMPONENTS, folder / TOKENS, out / "components.css", out / "tokens.css"):
        print(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}")  # noqa: T201


if __name__ == "__main__":
    main()
