"""An OpenID Connect provider to sign in with: idpyoidc's, an implementation of its own beside the client's library.

It knows one client, which has to prove itself with private_key_jwt, and asks PKCE with S256. Its page of sign-in is a
button per user. `evil` changes what an ID token says before it is signed; `sign` changes how it is signed.

With an `audience` it gives access tokens of RFC 9068, bound to the key of a DPoP proof that idpyoidc checked.
"""

import json
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any

import uvicorn
from cryptojwt import KeyJar
from cryptojwt.jwk.jwk import key_from_jwk_dict
from cryptojwt.jws.jws import JWS, factory
from cryptojwt.key_jar import build_keyjar
from idpyoidc.message.oauth2 import ResponseMessage
from idpyoidc.message.oidc import AccessTokenRequest, AuthorizationRequest
from idpyoidc.server import Server
from idpyoidc.server.authz import AuthzHandling
from idpyoidc.server.configure import OPConfiguration
from idpyoidc.server.oauth2.add_on.dpop import DPoPProof
from idpyoidc.server.oidc.authorization import Authorization
from idpyoidc.server.oidc.provider_config import ProviderConfiguration
from idpyoidc.server.oidc.session import Session
from idpyoidc.server.oidc.token import Token
from idpyoidc.server.user_authn.user import UserAuthnMethod, create_signed_jwt
from idpyoidc.server.user_info import UserInfo
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from starlette.routing import Route

CLIENT = "bekend"
MFA = "https://refeds.org/profile/mfa"
PASSWORD = "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"
_KEYS = [{"type": "RSA", "use": ["sig"]}, {"type": "EC", "crv": "P-256", "use": ["sig"]}]
_CLAIMS = ("name", "preferred_username", "realm_access", "groups", "roles", "amr", "email")


@dataclass(frozen=True)
class User:
    """Somebody who can sign in at the provider, and what it says of that person."""

    user: str
    claims: Mapping[str, Any]
    acr: str = MFA


class _Buttons(UserAuthnMethod):  # type: ignore[misc]
    """A page with a button per user. What the authorization endpoint needs afterwards travels signed in the form."""

    def __init__(self, users: list[str], upstream_get: Any = None) -> None:
        super().__init__(upstream_get=upstream_get)
        self.users = users

    def __call__(self, **kwargs: Any) -> str:
        context, keyjar = self.upstream_get("context"), self.upstream_get("attribute", "keyjar")
        token = create_signed_jwt(context.issuer, keyjar, **kwargs)
        buttons = "".join(f'<button name="user" value="{escape(one)}">{escape(one)}</button>' for one in self.users)
        hidden = f'<input type="hidden" name="token" value="{token}">'
        return f'<h1>Provider</h1><form method="post" action="/verify">{hidden}{buttons}</form>'


class _Ending(Session):  # type: ignore[misc]
    """Nobody authenticates as a client to end a session; idpyoidc looks for a token then, and fails."""

    def client_authentication(self, *_: Any, **__: Any) -> dict[str, Any]:
        return {}


@dataclass
class TestProvider:
    """The provider at `issuer`. Raise or change what it does between requests."""

    __test__ = False

    issuer: str
    users: Mapping[str, User]
    evil: Callable[[dict[str, Any]], dict[str, Any]] = lambda claims: claims
    sign: Callable[[dict[str, Any]], str] | None = None
    seen: list[tuple[str, dict[str, str]]] = field(default_factory=list)
    """Path and parameters of every request."""
    audience: str = ""
    """What access tokens are for; without it they are as idpyoidc makes them."""
    now: Callable[[], float] = time.time
    """By which access tokens begin and end."""
    server: Any = None

    def register(self, origin: str, keys: dict[str, Any]) -> None:
        """Make the one client known: where it may be sent back to, and its public keys."""
        context = self.server.get_context()
        context.cdb[CLIENT] = {
            "client_id": CLIENT,
            "redirect_uris": [(f"{origin}/inloggen/terug", {})],
            "post_logout_redirect_uri": [(f"{origin}/inloggen/uitgelogd", {})],
            "response_types_supported": ["code"],
            "token_endpoint_auth_method": "private_key_jwt",
            "allowed_scopes": ["openid", "profile"],
        }
        if CLIENT in context.keyjar:
            del context.keyjar[CLIENT]
        context.keyjar.import_jwks(keys, CLIENT)

    def build(self) -> Starlette:
        """The provider as an application."""
        keyjar = build_keyjar(_KEYS)
        keyjar.import_jwks(keyjar.export_jwks(private=True), self.issuer)
        self.server = Server(OPConfiguration(conf=_configuration(self)), keyjar=keyjar)
        return Starlette(
            routes=[
                Route("/.well-known/openid-configuration", self._endpoint("provider_config")),
                Route("/keys", self._keys),
                Route("/authorization", self._endpoint("authorization")),
                Route("/verify", self._verify, methods=["POST"]),
                Route("/token", self._endpoint("token"), methods=["POST"]),
                Route("/session", self._endpoint("session")),
                Route("/verify_logout", self._verify_logout),
            ]
        )

    def _endpoint(self, name: str) -> Callable[[Request], Any]:
        async def served(request: Request) -> Response:
            endpoint = self.server.get_endpoint(name)
            given = dict(request.query_params) if request.method == "GET" else dict(await request.form())
            self.seen.append((request.url.path, {key: str(value) for key, value in given.items()}))
            about = {
                "headers": dict(request.headers),
                "method": request.method,
                "url": str(request.url),
                "cookie": [{"name": key, "value": value} for key, value in request.cookies.items()],
            }
            try:
                asked = endpoint.parse_request(given, http_info=about)
                if isinstance(asked, ResponseMessage) and "error" in asked:
                    return JSONResponse(asked.to_dict(), 400)
                asked = AccessTokenRequest(**asked) if name == "token" else asked
                found = endpoint.process_request(asked, http_info=about)
            except Exception as fault:
                return JSONResponse({"error": "invalid_request", "error_description": repr(fault)}, 400)
            return self._reply(endpoint, asked, found, request.headers.get("dpop", ""))

        return served

    def _reply(self, endpoint: Any, asked: Any, found: Any, proof: str = "") -> Response:
        if "redirect_location" in found:
            return RedirectResponse(found["redirect_location"], 302)
        if "http_response" in found:
            return HTMLResponse(found["http_response"])
        if "error" in found:
            return JSONResponse(dict(found), 400)
        info = endpoint.do_response(request=asked, **found)
        if info.get("response_placement", endpoint.response_placement) == "url":
            response: Response = RedirectResponse(info["response"], 302)
        else:
            response = Response(self._changed(info["response"], proof), media_type="application/json")
        for cookie in info.get("cookie", []):
            response.set_cookie(cookie["name"], cookie["value"], path="/", samesite="lax")
        return response

    def _changed(self, text: str, proof: str) -> str:
        found = json.loads(text)
        if "id_token" not in found:
            return text
        honest = dict(factory(found["id_token"]).jwt.payload())
        claims = self.evil(honest)
        found["id_token"] = self.sign(claims) if self.sign else self.signed(claims)
        if self.audience:
            key = key_from_jwk_dict(DPoPProof().verify_header(proof)["jwk"])
            said = {name: honest[name] for name in ("sub", "acr", *_CLAIMS) if name in honest}
            found["access_token"] = self.access({**said, "cnf": {"jkt": key.thumbprint("SHA-256").decode()}})
            found["token_type"] = "DPoP"
        return json.dumps(found)

    def access(self, claims: Mapping[str, Any], *, typ: str = "at+jwt") -> str:
        """An access token that says this, with what each says; None leaves a claim out."""
        now = int(self.now())
        common = {
            "iss": self.issuer,
            "aud": self.audience,
            "client_id": CLIENT,
            "iat": now,
            "exp": now + 300,
            "jti": secrets.token_hex(8),
        }
        said = {name: value for name, value in {**common, **claims}.items() if value is not None}
        (key,) = self.server.keyjar.get_signing_key("RSA", "")
        return str(JWS(json.dumps(said), alg="RS256", typ=typ).sign_compact([key]))

    def signed(self, claims: dict[str, Any], keyjar: KeyJar | None = None) -> str:
        """An ID token that says this, with the provider's own key unless another is given."""
        (key,) = (keyjar or self.server.keyjar).get_signing_key("RSA", "")
        return str(JWS(json.dumps(claims), alg="RS256").sign_compact([key]))

    async def _keys(self, _: Request) -> Response:
        return JSONResponse(self.server.keyjar.export_jwks())

    async def _verify(self, request: Request) -> Response:
        form = await request.form()
        method = self.server.get_context().authn_broker.get_method_by_id("user")
        known = method.unpack_token(str(form["token"]))
        asked = AuthorizationRequest().from_urlencoded(known["query"])
        user = self.users[str(form["user"])]
        endpoint = self.server.get_endpoint("authorization")
        session = endpoint.create_session(asked, user.user, user.acr, known["iat"], method)
        return self._reply(endpoint, asked, endpoint.authz_part2(request=asked, session_id=session))

    async def _verify_logout(self, request: Request) -> Response:
        endpoint = self.server.get_endpoint("session")
        info = endpoint.unpack_signed_jwt(request.query_params["sjwt"])
        endpoint.do_verified_logout(alla=True, **info)
        response = RedirectResponse(info["redirect_uri"], 302)
        for cookie in endpoint.kill_cookies():
            response.delete_cookie(cookie["name"])
        return response


def _configuration(provider: TestProvider) -> dict[str, Any]:
    plain = {"client_authn_method": None}
    return {
        "issuer": provider.issuer,
        "httpc_params": {},
        "keys": {"key_defs": _KEYS, "uri_path": "keys"},
        "preference": {"subject_types_supported": ["public"], "id_token_signing_alg_values_supported": ["RS256"]},
        "claims_interface": {"class": "idpyoidc.server.session.claims.ClaimsInterface", "kwargs": {}},
        "cookie_handler": {
            "class": "idpyoidc.server.cookie_handler.CookieHandler",
            "kwargs": {
                "keys": {
                    "key_defs": [
                        {"type": "OCT", "use": ["enc"], "kid": "enc"},
                        {"type": "OCT", "use": ["sig"], "kid": "sig"},
                    ]
                }
            },
        },
        "authz": {
            "class": AuthzHandling,
            "kwargs": {
                "grant_config": {
                    "usage_rules": {
                        "authorization_code": {"supports_minting": ["access_token", "id_token"], "max_usage": 1},
                        "access_token": {},
                    },
                    "expires_in": 3600,
                }
            },
        },
        "authentication": {"user": {"acr": MFA, "class": _Buttons, "kwargs": {"users": list(provider.users)}}},
        "endpoint": {
            "provider_info": {
                "path": ".well-known/openid-configuration",
                "class": ProviderConfiguration,
                "kwargs": plain,
            },
            "authorization": {"path": "authorization", "class": Authorization, "kwargs": plain},
            "token": {
                "path": "token",
                "class": Token,
                "kwargs": {"client_authn_method": ["private_key_jwt"]},
            },
            "session": {
                "path": "session",
                "class": _Ending,
                "kwargs": {
                    "signing_alg": "ES256",
                    "logout_verify_url": f"{provider.issuer}/verify_logout",
                },
            },
        },
        "token_handler_args": {
            "code": {"lifetime": 600, "kwargs": {"crypt_conf": _crypt()}},
            "token": {"class": "idpyoidc.server.token.jwt_token.JWTToken", "kwargs": {"lifetime": 600}},
            "id_token": {
                "class": "idpyoidc.server.token.id_token.IDToken",
                "kwargs": {"base_claims": dict.fromkeys(_CLAIMS)},
            },
        },
        "userinfo": {
            "class": UserInfo,
            "kwargs": {"db": {one.user: dict(one.claims) for one in provider.users.values()}},
        },
        "add_on": {
            "pkce": {
                "function": "idpyoidc.server.oauth2.add_on.pkce.add_support",
                "kwargs": {"essential": True, "code_challenge_methods": {"S256": {}}},
            }
        },
        "session_params": {"encrypter": _crypt()},
        "template_dir": ".",
    }


def _crypt() -> dict[str, Any]:
    return {
        "kwargs": {
            "keys": {
                "key_defs": [
                    {"type": "OCT", "use": ["enc"], "kid": "password"},
                    {"type": "OCT", "use": ["enc"], "kid": "salt"},
                ]
            },
            "iterations": 1,
        }
    }


@contextmanager
def running(users: list[User]) -> Iterator[TestProvider]:
    """A provider on loopback, in a thread of its own."""
    listening = socket.create_server(("127.0.0.1", 0))
    provider = TestProvider(f"http://127.0.0.1:{listening.getsockname()[1]}", {one.user: one for one in users})
    server = uvicorn.Server(uvicorn.Config(provider.build(), log_config=None, lifespan="off", access_log=False))
    thread = threading.Thread(target=server.run, args=([listening],), daemon=True)
    thread.start()
    try:
        yield provider
    finally:
        server.should_exit = True
        thread.join()
