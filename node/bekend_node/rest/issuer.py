"""The keys that the organisation's provider signs access tokens with, found by its address (OpenID Discovery)."""

import asyncio
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from bekend_proto.clock import Clock
from joserfc.errors import JoseError
from joserfc.jwk import KeySet

from bekend_node.config import AccessTokens
from bekend_node.rest.problems import PROVIDER, Problem
from bekend_node.web.tls import client_context

_SECONDS: Final = 10.0
_KNOWN_FOR: Final = timedelta(hours=1)
"""How long keys are believed before they are asked again: as long as a withdrawn one goes on to work here."""
_NOT_SOONER: Final = timedelta(seconds=30)
"""Between two times of asking, whatever keys tokens name and whatever came of the first."""
_LARGEST: Final = 256 * 1024


class Issuer:
    """One provider. It is asked for the first time with the first token. Raises KeysError for its authorities."""

    def __init__(self, config: AccessTokens, clock: Clock) -> None:
        self._issuer = config.issuer
        self._clock = clock
        self._verify = client_context(config.authorities)
        self._keys: KeySet | None = None
        self._asked = self._tried = datetime.min.replace(tzinfo=clock.now().tzinfo)
        self._fault = ""
        """Why it could not be asked the last time."""
        self._lock = asyncio.Lock()

    async def keys(self, kid: object) -> KeySet:
        """Its public keys now; asked anew when none of them has this name. Raises Problem when it cannot be asked."""
        # Whose key is known waits for nobody: who names an unknown one needs no key at all.
        if (held := self._held(kid)) is not None:
            return held
        async with self._lock:
            if (held := self._held(kid)) is not None:
                return held
            now = self._clock.now()
            if now - self._tried >= _NOT_SOONER:
                self._tried, self._fault = now, "broken-off"
                try:
                    self._keys = await self._fetch()
                except Problem as problem:
                    self._fault = problem.code
                else:
                    self._asked, self._fault = now, ""
            if self._keys is None or self._fault:
                raise _unreachable(self._fault)
            return self._keys

    def _held(self, kid: object) -> KeySet | None:
        """The keys at hand, where they are still believed and this one is among them."""
        known = self._keys is not None and self._clock.now() - self._asked < _KNOWN_FOR
        return self._keys if known and (kid is None or any(one.kid == kid for one in self._keys or ())) else None

    async def _fetch(self) -> KeySet:
        try:
            async with httpx2.AsyncClient(verify=self._verify, timeout=_SECONDS) as client:
                said = await self._get(client, self._issuer.rstrip("/") + "/.well-known/openid-configuration")
                address = str(said["jwks_uri"])
                if said["issuer"] != self._issuer:
                    raise _unreachable("other-issuer")
                if urlsplit(address).scheme not in {"https", urlsplit(self._issuer).scheme}:
                    raise _unreachable("not-https")
                return KeySet.import_key_set(await self._get(client, address))
        except (httpx2.HTTPError, httpx2.InvalidURL, OSError) as fault:
            raise _unreachable(type(fault).__name__) from None
        except (ValueError, KeyError, TypeError, JoseError) as fault:
            # What it sent is no JSON, or lacks what the standard asks.
            raise _unreachable(type(fault).__name__) from None

    @staticmethod
    async def _get(client: httpx2.AsyncClient, address: str) -> Any:
        reply = await client.get(address)
        reply.raise_for_status()
        if len(reply.content) > _LARGEST:
            raise ValueError
        return reply.json()


def _unreachable(code: str) -> Problem:
    detail = "De inlogdienst van uw organisatie antwoordt niet zoals het hoort. Probeer het straks opnieuw."
    return Problem(PROVIDER, detail, headers={"retry-after": "30"}, code=code)
