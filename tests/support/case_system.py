"""A case system: it signs its officer in at the provider for a token that is bound to its own key, and asks with it.

Written from the RFCs (9449, 9068, 7636), with nothing of `bekend_node`. `evil` changes a proof before it is signed.
"""

import hashlib
import json
import re
import secrets
import time
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass, field
from html import unescape
from typing import Any
from urllib.parse import parse_qs, urlsplit

import httpx2
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from joserfc import jwt
from joserfc.jwk import ECKey

from tests.support.provider import CLIENT, TestProvider

SITE = "https://zaaksysteem.example"
BACK = f"{SITE}/inloggen/terug"

Evil = Callable[[dict[str, Any], dict[str, Any]], None]


def b64(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode()


def _signed(header: dict[str, Any], claims: dict[str, Any], key: ECKey) -> str:
    """A compact JWS, whatever its header says: ES256 (RFC 7518, section 3.4)."""
    text = ".".join(b64(json.dumps(part).encode()) for part in (header, claims))
    private = key.private_key
    assert private is not None
    r, s = decode_dss_signature(private.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
    return f"{text}.{b64(r.to_bytes(32) + s.to_bytes(32))}"


@dataclass
class CaseSystem:
    """One case system with a key of its own. `origin` is what it calls the facade, `client` how it gets there."""

    origin: str
    client: httpx2.AsyncClient
    key: ECKey = field(default_factory=lambda: ECKey.generate_key("P-256"))
    token: str = ""
    scheme: str = "DPoP"
    nonce: str = ""
    now: Callable[[], float] = lambda: 0.0
    sent: list[str] = field(default_factory=list)
    """The proofs so far."""

    def proof(self, method: str, address: str, evil: Evil = lambda _, __: None, token: str | None = None) -> str:
        """A DPoP proof for one request."""
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": self.key.as_dict(private=False)}
        claims = {"jti": secrets.token_hex(16), "htm": method, "htu": address, "iat": int(self.now())}
        bound = self.token if token is None else token
        if bound:
            claims |= {"ath": b64(hashlib.sha256(bound.encode()).digest())}
        if self.nonce:
            claims |= {"nonce": self.nonce}
        evil(header, claims)
        self.sent.append(_signed(header, claims, self.key))
        return self.sent[-1]

    async def ask(self, method: str, path: str, *, evil: Evil = lambda _, __: None, **more: Any) -> httpx2.Response:
        """One request, sent once more when the facade asks for its nonce (RFC 9449, section 8)."""
        reply = await self.once(method, path, evil=evil, **more)
        if reply.status_code == 401 and "use_dpop_nonce" in reply.headers.get("www-authenticate", ""):
            reply = await self.once(method, path, evil=evil, **more)
        return reply

    async def once(self, method: str, path: str, *, evil: Evil = lambda _, __: None, **more: Any) -> httpx2.Response:
        headers = {"authorization": f"{self.scheme} {self.token}", **more.pop("headers", {})}
        if self.scheme == "DPoP" and "dpop" not in headers:
            headers["dpop"] = self.proof(method, self.origin + path, evil)
        reply = await self.client.request(method, path, headers=headers, **more)
        self.nonce = reply.headers.get("dpop-nonce", self.nonce)
        return reply


def token_of(provider: TestProvider, system: CaseSystem, user: str, own: Any) -> str:
    """Sign an officer in at the provider (code, PKCE, private_key_jwt) for a token bound to the system's key.

    `own` is the key that the provider knows the case system by.
    """
    verifier = secrets.token_urlsafe(48)
    with httpx2.Client(follow_redirects=False) as browser:
        query = {
            "client_id": CLIENT,
            "response_type": "code",
            "redirect_uri": BACK,
            "scope": "openid profile",
            "state": secrets.token_hex(8),
            "nonce": secrets.token_hex(8),
            "code_challenge": b64(hashlib.sha256(verifier.encode()).digest()),
            "code_challenge_method": "S256",
        }
        page = browser.get(f"{provider.issuer}/authorization", params=query)
        found = re.search('name="token" value="([^"]+)"', page.text)
        assert found is not None, page.text
        back = browser.post(f"{provider.issuer}/verify", data={"token": unescape(found[1]), "user": user})
        code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
        endpoint = f"{provider.issuer}/token"
        now = int(time.time())
        assertion = jwt.encode(
            {"alg": "RS256", "kid": own.thumbprint()},
            {"iss": CLIENT, "sub": CLIENT, "aud": endpoint, "jti": secrets.token_hex(8), "iat": now, "exp": now + 60},
            own,
            algorithms=["RS256"],
        )
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": BACK,
            "client_id": CLIENT,
            "code_verifier": verifier,
            "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
            "client_assertion": assertion,
        }
        reply = browser.post(endpoint, data=form, headers={"dpop": system.proof("POST", endpoint, token="")})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["access_token"])
