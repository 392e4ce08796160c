"""A partner's own colours: a style sheet of its own after ours, from `theme_css` in node.yaml.

The file is read when the node starts. It can change how pages look and nothing else: it is served as a style sheet and
never as something else, and the content policy lets it load no picture, font or sheet from another site.
"""

from hashlib import sha256
from pathlib import Path
from typing import Final

from bekend_proto.errors import StorageError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

LARGEST: Final = 256 * 1024
"""Octets of the file at most: a whole set of tokens is a fifth of it."""

_PATH: Final = "/huisstijl.css"


class Theme:
    """One style sheet. Raises StorageError when it cannot be read, is too large, or is no UTF-8."""

    def __init__(self, path: Path) -> None:
        try:
            with path.open("rb") as file:
                self._css = file.read(LARGEST + 1)
            self._css.decode("utf-8")
        except (OSError, UnicodeDecodeError) as fault:
            raise StorageError(f"theme_css: {path} cannot be read as UTF-8 text ({fault}): check the path") from None
        if len(self._css) > LARGEST:
            raise StorageError(f"theme_css: {path} is larger than {LARGEST // 1024} KiB: leave out what is not used")
        self.address = f"{_PATH}?v={sha256(self._css).hexdigest()[:12]}"
        """Changes with the file, so that a browser may keep it."""

    def routes(self) -> list[Route]:
        """Where it is served."""
        return [Route(_PATH, self._serve, methods=["GET"])]

    async def _serve(self, _: Request) -> Response:
        kept = {"cache-control": "public, max-age=31536000, immutable"}
        return Response(self._css, media_type="text/css", headers=kept)
