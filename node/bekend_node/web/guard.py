"""What every request and reply of the pages goes through: where it comes from, how large it is, what may be kept.

A reply may be kept nowhere, framed nowhere, and loads nothing from elsewhere. A request that changes something must
come from a page of this site: browsers say so themselves (Sec-Fetch-Site, and Origin before that), so no token has to
travel in forms, and it works without script.
"""

import asyncio
from typing import Final
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from bekend_node.web.texts import Texts

BODY_LIMIT: Final = 64 * 1024
"""Octets of a form at most: eight persons and their texts need a quarter of it."""

BODY_SECONDS: Final = 20.0
"""How long a form may take to come in."""

CONTENT_POLICY: Final = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)

HEADERS: Final = {
    "content-security-policy": CONTENT_POLICY,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "permissions-policy": "camera=(), geolocation=(), microphone=(), clipboard-read=()",
    "x-robots-tag": "noindex",
}
"""On every reply. A style sheet may replace cache-control: it says nothing of anybody."""

_HSTS: Final = "max-age=31536000"
_SAFE: Final = frozenset({"GET", "HEAD"})


class Guard:
    """ASGI middleware around all pages. `origin` is the site's own, as browsers write it: https://host[:port]."""

    def __init__(self, app: ASGIApp, origin: str) -> None:
        self._app = app
        self._origin = origin
        self._host = urlsplit(origin).netloc
        self._secure = origin.startswith("https:")
        self._texts = Texts("nl")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse what comes from elsewhere; add the headers to whatever goes out."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                if self._secure:
                    headers["strict-transport-security"] = _HSTS
            await send(message)

        headers = Headers(scope=scope)
        if "transfer-encoding" in headers and "content-length" in headers:
            # RFC 9112, section 6.1: a proxy in front may have believed the other one. Nothing may follow here.
            await PlainTextResponse("", status_code=400, headers={"connection": "close"})(scope, receive, guarded)
            return
        refusal = self._refusal(scope["method"], headers)
        if refusal is not None:
            await PlainTextResponse(refusal, status_code=403)(scope, receive, guarded)
            return
        await self._app(scope, _hurried(receive), guarded)

    def _refusal(self, method: str, headers: Headers) -> str | None:
        """Why a request is not taken, in Dutch; None when it is."""
        if headers.get("host") != self._host:
            return self._texts("fout.ander_adres", adres=self._host)
        if method not in _SAFE and not self._own(headers):
            return self._texts("fout.andere_site")
        return None

    def _own(self, headers: Headers) -> bool:
        site = headers.get("sec-fetch-site")
        if site is not None:
            return site == "same-origin"
        return headers.get("origin") == self._origin


def _hurried(receive: Receive) -> Receive:
    """The same, but a body that takes too long ends the request; after it, waiting may take for ever (streams)."""
    end = asyncio.get_running_loop().time() + BODY_SECONDS
    whole = False

    async def hurried() -> Message:
        nonlocal whole
        if whole:
            return await receive()
        try:
            async with asyncio.timeout_at(end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408) from None
        whole = not message.get("more_body", False)
        return message

    return hurried
