"""The pictures of the guides: `python -m tests.web.guides` takes them over from the last run of the tests of pages."""

import re
import shutil
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
GUIDES = ROOT / "docs"
KEPT = GUIDES / "beelden"
MADE = ROOT / "build" / "pictures"
_PICTURE = re.compile(r"!\[[^\]]+\]\(beelden/([^)]+)\)")


def pictures_named() -> set[str]:
    """Names of the pictures that the guides show."""
    guides = [*GUIDES.glob("gids-*.md"), *GUIDES.glob("guide-*.md")]
    return {name for guide in guides for name in _PICTURE.findall(guide.read_text("utf-8"))}


def take_over() -> list[str]:
    """Copy what the guides show from the last run; returns what that run did not make."""
    KEPT.mkdir(exist_ok=True)
    named = pictures_named()
    for old in KEPT.glob("*.png"):
        if old.name not in named:
            old.unlink()
    missing = sorted(name for name in named if not (MADE / name).exists())
    for name in named - set(missing):
        shutil.copyfile(MADE / name, KEPT / name)
    return missing


if __name__ == "__main__":
    if left := take_over():
        sys.exit(f"not made by the last run of tests/web: {', '.join(left)}")
