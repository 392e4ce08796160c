"""The organisation's own provider, seen as an OpenID Connect client (Core 1.0, with the NL GOV profile's demands).

    begin    state, nonce and PKCE verifier into the session   -> the address of the provider
    finish   the code, with a proof of this node's own key     -> the claims of an ID token that was checked
    end      the ID token                                      -> the address where the provider ends its session

Authlib speaks the protocol. Here is what it leaves to who uses it: that the provider found is the one configured, that
only signatures with a public key count, that the token is for this node, and by whose clock it has not expired.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final
from urllib.parse import urlsplit

import httpx2
from authlib.integrations.base_client import OAuthError
from authlib.integrations.base_client.errors import MismatchingStateError
from authlib.integrations.starlette_client import OAuth, StarletteOAuth2App
from authlib.oauth2.rfc7523 import PrivateKeyJWT, private_key_jwt_sign
from authlib.oidc.core import CodeIDToken
from bekend_proto.clock import Clock
from bekend_proto.errors import KeysError
from bekend_proto.identity import read_pem
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, RSAKey
from joserfc.util import to_str, urlsafe_b64encode
from starlette.requests import Request
from starlette.responses import Response

from bekend_node.config import SignIn
from bekend_node.web.claims import SignInRefused
from bekend_node.web.tls import client_context

BACK: Final = "/inloggen/terug"
LEFT: Final = "/inloggen/uitgelogd"

LEEWAY: Final = timedelta(seconds=60)
"""How far the provider's clock and this one may differ."""

_SECONDS: Final = 10.0
"""How long the provider may take over one reply."""

_KNOWN_FOR: Final = timedelta(hours=1)
"""How long what the provider says about itself is believed before it is asked again."""

_PROOF_SECONDS: Final = 60
_SIGNATURES: Final = ("PS256", "RS256", "ES256", "PS384", "RS384", "ES384", "PS512", "RS512", "ES512", "EdDSA")
"""Of ID tokens. Left out are `none`, and the HS kinds: those a provider makes with a secret that is shared."""

_METADATA: Final = ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "end_session_endpoint")


class _Proof(PrivateKeyJWT):  # type: ignore[misc]
    """What shows the provider that this node asks (RFC 7523): signed anew for each request, and good for a minute."""

    def __init__(self, clock: Clock, header: Mapping[str, str], algorithm: str) -> None:
        super().__init__(alg=algorithm)
        self._clock = clock
        self._header = header

    def sign(self, auth: Any, token_endpoint: str) -> str:
        """The signed assertion, for this endpoint."""
        signed: str = private_key_jwt_sign(
            auth.client_secret,
            auth.client_id,
            token_endpoint,
            alg=self.alg,
            header=dict(self._header),
            issued_at=int(self._clock.now().timestamp()),
            expires_in=_PROOF_SECONDS,
        )
        return signed


class Provider:
    """One provider. It is asked for the first time when somebody signs in: a node starts without it too.

    Raises KeysError or TlsFilesError when the own key cannot be used.
    """

    def __init__(self, config: SignIn, origin: str, clock: Clock) -> None:
        self._config = config
        self._origin = origin
        self._clock = clock
        self._key = _load_key(config)
        self._header = _header(config, self._key)
        self._verify = client_context(config.authorities)
        self._client: StarletteOAuth2App | None = None
        self._asked = datetime.min.replace(tzinfo=clock.now().tzinfo)

    def public_keys(self) -> dict[str, list[dict[str, Any]]]:
        """The own public key as a JWK set (RFC 7517), for the provider."""
        described = {"kid": self._key.thumbprint(), "use": "sig", "alg": _algorithms(self._key)[0]}
        return {"keys": [{**self._key.as_dict(private=False), **described}]}

    async def begin(self, request: Request) -> Response:
        """Send the browser on to the provider. Raises SignInRefused when that cannot be reached."""
        wanted: dict[str, str] = {}
        if self._config.acr:
            wanted["acr_values"] = " ".join(self._config.acr)
        if self._config.acrs:
            # Entra ID: which authentication context its conditional access must have met.
            asked = {"id_token": {"acrs": {"essential": True, "value": self._config.acrs[0]}}}
            wanted["claims"] = json.dumps(asked, separators=(",", ":"))
        with _faults():
            client = await self._known()
            response: Response = await client.authorize_redirect(request, self._origin + BACK, **wanted)
        return response

    async def finish(self, request: Request) -> tuple[dict[str, Any], str]:
        """The claims about who came back, and the ID token that they stand in. Raises SignInRefused."""
        clock = self._clock

        class _Claims(CodeIDToken):  # type: ignore[misc]
            def validate(self, now: int | None = None, leeway: int = 0) -> None:
                super().validate(int(clock.now().timestamp()), leeway)

        with _faults():
            client = await self._known()
            token = await client.authorize_access_token(
                request,
                claims_cls=_Claims,
                claims_options={
                    "iss": {"essential": True, "value": self._config.issuer},
                    "aud": {"essential": True, "value": self._config.client_id},
                },
                leeway=int(LEEWAY.total_seconds()),
            )
        if "userinfo" not in token:
            raise SignInRefused("inloggen.ongeldig", "no-id-token")
        return dict(token["userinfo"]), token["id_token"]

    async def end(self, id_token: str) -> str | None:
        """Where the provider ends its own session; None where it offers that not. Raises SignInRefused."""
        with _faults():
            client = await self._known()
            if "end_session_endpoint" not in client.server_metadata:
                return None
            made = await client.create_logout_url(self._origin + LEFT, id_token)
        return str(made["url"])

    async def _known(self) -> StarletteOAuth2App:
        """The client, with what the provider says about itself. Raises SignInRefused when it says to be another."""
        now = self._clock.now()
        if self._client is not None and now - self._asked < _KNOWN_FOR:
            return self._client
        client = self._new_client()
        metadata = await client.load_server_metadata()
        client.server_metadata = _checked(metadata, self._config.issuer)
        algorithm = _choose(self._key, metadata.get("token_endpoint_auth_signing_alg_values_supported"))
        client.client_auth_methods = [_Proof(self._clock, self._header, algorithm)]
        self._client, self._asked = client, now
        return client

    def _new_client(self) -> StarletteOAuth2App:
        return OAuth().register(
            "provider",
            client_id=self._config.client_id,
            client_secret=self._key,
            server_metadata_url=self._config.issuer.rstrip("/") + "/.well-known/openid-configuration",
            client_kwargs={
                "scope": "openid profile email" if self._config.mail_claim else "openid profile",
                "code_challenge_method": "S256",
                "token_endpoint_auth_method": _Proof.name,
                "verify": self._verify,
                "timeout": _SECONDS,
            },
        )


class _faults:  # noqa: N801 - reads as what it does
    """Faults of the protocol and of the network, as what to tell a person."""

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, fault: BaseException | None, trace: object) -> None:
        if isinstance(fault, MismatchingStateError):
            raise SignInRefused("inloggen.verlopen", "state") from None
        if isinstance(fault, OAuthError):
            reason = "inloggen.afgebroken" if fault.error == "access_denied" else "inloggen.storing"
            raise SignInRefused(reason, _code(fault.error)) from None
        if isinstance(fault, JoseError):
            raise SignInRefused("inloggen.ongeldig", _code(fault.error)) from None
        if isinstance(fault, (httpx2.HTTPError, httpx2.InvalidURL, OSError)):
            raise SignInRefused("inloggen.onbereikbaar", type(fault).__name__) from None
        if isinstance(fault, (ValueError, KeyError, TypeError, RuntimeError)):
            # What the provider sent is no JSON, or lacks what the standard asks.
            raise SignInRefused("inloggen.storing", type(fault).__name__) from None


def _checked(metadata: Mapping[str, Any], issuer: str) -> dict[str, Any]:
    """What is used of what the provider says about itself, and nothing else of it. Raises SignInRefused."""
    if metadata.get("issuer") != issuer:
        raise SignInRefused("inloggen.storing", "other-issuer")
    found = {name: metadata[name] for name in _METADATA if name in metadata}
    for name in _METADATA[:4]:
        if name not in found:
            raise SignInRefused("inloggen.storing", f"no-{name}")
    scheme = urlsplit(issuer).scheme
    if any(urlsplit(str(address)).scheme not in {"https", scheme} for address in found.values()):
        raise SignInRefused("inloggen.storing", "not-https")
    offered = metadata.get("id_token_signing_alg_values_supported") or ["RS256"]
    return {
        **found,
        "id_token_signing_alg_values_supported": [one for one in _SIGNATURES if one in offered],
        "_loaded_at": metadata["_loaded_at"],
    }


def _load_key(config: SignIn) -> RSAKey | ECKey:
    pem = read_pem(config.key, "the key for sign-in", private=True)
    for kind in (RSAKey, ECKey):
        try:
            key = kind.import_key(pem)
        except ValueError:
            continue
        if key.is_private and (kind is ECKey or key.raw_value.key_size >= 2048):
            return key
    raise KeysError(
        f"{config.key} holds no private key for sign-in: make one with "
        "openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:3072"
    )


def _header(config: SignIn, key: RSAKey | ECKey) -> dict[str, str]:
    """How the provider finds the key: by its own name (RFC 7638), or by the certificate that was given to it."""
    if config.certificate is None:
        return {"kid": key.thumbprint()}
    try:
        certificate = x509.load_pem_x509_certificate(read_pem(config.certificate, "the certificate for sign-in"))
    except ValueError:
        raise KeysError(f"{config.certificate} holds no PEM certificate") from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if certificate.public_key().public_bytes(*form) != key.as_der(private=False):
        raise KeysError(f"{config.certificate} is not of the key {config.key}: put the pair there that belongs")
    return {"x5t#S256": to_str(urlsafe_b64encode(certificate.fingerprint(hashes.SHA256())))}


def _algorithms(key: RSAKey | ECKey) -> tuple[str, ...]:
    if isinstance(key, RSAKey):
        return ("PS256", "RS256")
    return ({"P-256": "ES256", "P-384": "ES384", "P-521": "ES512"}[key.curve_name],)


def _choose(key: RSAKey | ECKey, offered: object) -> str:
    """The best of what this key can do and the provider takes."""
    possible = _algorithms(key)
    return next((one for one in possible if isinstance(offered, list) and one in offered), possible[0])


def _code(error: object) -> str:
    """A code of the standard; nothing else that a provider may send reaches the log."""
    text = str(error)
    return text if text.isascii() and text.replace("_", "").isalpha() and len(text) <= 40 else "unnamed"
