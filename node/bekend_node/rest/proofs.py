"""That who sends an access token holds the key that it is bound to.

    cnf.jkt          a DPoP proof (RFC 9449): made for this request, this token and the nonce of this minute, used once
    cnf.x5t#S256     the certificate of the TLS connection (RFC 8705, section 3)

The nonce comes from here, so a proof can be made neither beforehand nor by a wrong clock: `iat` decides nothing
(RFC 9449, section 4.3, point 11). What was used is remembered as long as its nonce holds.
"""

import secrets
import ssl
from base64 import urlsafe_b64encode
from collections.abc import Mapping
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.revocation import RevocationError, RevocationLists
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, OKPKey, RSAKey, import_key
from starlette.requests import Request

from bekend_node.rest.problems import NO_PROOF, Problem

ALGORITHMS: Final = ("ES256", "ES384", "PS256", "PS384", "EdDSA", "RS256")
"""Of proofs: with a public key alone."""

NONCE_SECONDS: Final = 60
"""After this a new nonce is given out; the one before holds as long again."""

_LONGEST_JTI: Final = 200
_REVOKED: Final = "Het certificaat van dit systeem geldt niet meer. Meld dit aan uw beheerder: het logboek zegt waarom."


class Nonces:
    """The nonce of now and the one before, each with the proofs that were used under it."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._used: dict[str, set[tuple[str, str]]] = {}
        self._begun = datetime.min.replace(tzinfo=clock.now().tzinfo)

    @property
    def current(self) -> str:
        """The nonce that is given out now."""
        self._renew()
        return next(reversed(self._used))

    def holds(self, nonce: object) -> bool:
        """Whether a proof may name this one."""
        self._renew()
        return nonce in self._used

    def use(self, nonce: str, thumbprint: str, jti: str) -> bool:
        """Take a proof, once: False when it was taken before."""
        seen = self._used[nonce]
        if (thumbprint, jti) in seen:
            return False
        seen.add((thumbprint, jti))
        return True

    def _renew(self) -> None:
        age = self._clock.now() - self._begun
        if age < timedelta(seconds=NONCE_SECONDS):
            return
        kept = list(self._used.items())[-1:] if age < timedelta(seconds=2 * NONCE_SECONDS) else []
        self._used = {**dict(kept), secrets.token_urlsafe(16): set()}
        self._begun = self._clock.now()


class Proofs:
    """Checks what a request shows of the key that its token is bound to. `origin` is what others call this site."""

    def __init__(self, origin: str, clock: Clock, revocation: RevocationLists | None = None) -> None:
        """`revocation`: what the certificate of a connection is held against, where lists are kept."""
        self._origin = origin
        self._revocation = revocation
        self.nonces = Nonces(clock)

    def check(self, request: Request, scheme: str, token: str, bound: Mapping[str, Any]) -> str:
        """The thumbprint of the key. `bound` is the token's `cnf`. Raises Problem when it is not shown to be held."""
        jkt, x5t = bound.get("jkt"), bound.get("x5t#S256")
        if not (isinstance(jkt, str) or isinstance(x5t, str)):
            raise unproved("invalid_token", "not-bound", "Het token hoort bij geen sleutel.")
        if isinstance(x5t, str) and not secrets.compare_digest(x5t, certificate_of(request) or ""):
            raise unproved("invalid_token", "certificate", "Het token hoort bij een ander certificaat.")
        # Also where the token is bound to another key: a system whose certificate was revoked asks nothing with it.
        if self._revocation is not None and (shown := _shown(request)):
            _check_revocation(self._revocation, shown)
        if not isinstance(jkt, str):
            return str(x5t)
        if scheme != "dpop":
            raise unproved("invalid_token", "scheme", "Dit token hoort bij een sleutel: stuur het mee als DPoP.")
        self._check_proof(request, token, jkt)
        return jkt

    def _check_proof(self, request: Request, token: str, jkt: str) -> None:
        proofs = request.headers.getlist("dpop")
        if len(proofs) != 1:
            raise _invalid("header")
        header, claims = _opened(proofs[0])
        key = _public(header)
        if not secrets.compare_digest(key.thumbprint(), jkt):
            raise _invalid("key")
        if claims.get("htm") != request.method:
            raise _invalid("htm")
        if _plain(claims.get("htu")) != _plain(self._origin + request.url.path):
            raise _invalid("htu")
        digest = urlsafe_b64encode(sha256(token.encode()).digest()).rstrip(b"=").decode()
        if claims.get("ath") != digest:
            raise _invalid("ath")
        jti, nonce = claims.get("jti"), claims.get("nonce")
        if not (isinstance(jti, str) and 0 < len(jti) <= _LONGEST_JTI and isinstance(claims.get("iat"), int)):
            raise _invalid("jti")
        if not isinstance(nonce, str) or not self.nonces.holds(nonce):
            detail = "Maak het bewijs opnieuw, met de nonce uit DPoP-Nonce."
            raise unproved("use_dpop_nonce", "nonce", detail)
        if not self.nonces.use(nonce, jkt, jti):
            raise _invalid("replay")


def certificate_of(request: Request) -> str | None:
    """The SHA-256 thumbprint (RFC 8705) of the certificate that the connection's other end showed, if it did."""
    shown = _shown(request)
    if not shown:
        return None
    digest = sha256(ssl.PEM_cert_to_DER_cert(shown)).digest()
    return urlsafe_b64encode(digest).rstrip(b"=").decode()


def _shown(request: Request) -> str:
    """The certificate of the connection's other end, as PEM; empty when it showed none."""
    chain = request.scope.get("extensions", {}).get("tls", {}).get("client_cert_chain") or ("",)
    return str(chain[0])


def _check_revocation(lists: RevocationLists, certificate: str) -> None:
    try:
        lists.check([certificate.encode()])
    except RevocationError as fault:
        logs.log(logs.REST_CERTIFICATE_REFUSED, detail=fault.detail)
        raise unproved("invalid_token", "revoked", _REVOKED) from None


def unproved(error: str, code: str, detail: str) -> Problem:
    """401, with the challenge of RFC 6750 and RFC 9449; `error` is the code of theirs, `code` is for the log."""
    said = f'error="{error}", ' if error else ""
    challenge = f'DPoP {said}algs="{" ".join(ALGORITHMS)}"'
    return Problem(NO_PROOF, detail, headers={"www-authenticate": challenge}, code=code)


def _invalid(code: str) -> Problem:
    return unproved("invalid_dpop_proof", code, "Het bewijs dat bij dit token hoort, klopt niet of is al gebruikt.")


def _opened(proof: str) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Header and claims of a proof, signed with the key that it names itself. Raises Problem."""
    try:
        token = jwt.decode(proof, lambda it: _public(it.headers()), algorithms=list(ALGORITHMS))
    except (JoseError, ValueError, TypeError):
        raise _invalid("signature") from None
    if token.header.get("typ") != "dpop+jwt":
        raise _invalid("typ")
    return token.header, token.claims


def _public(header: Mapping[str, Any]) -> RSAKey | ECKey | OKPKey:
    """The public key in the header of a proof. Raises Problem, also when it holds a private one."""
    try:
        key = import_key(header["jwk"])
    except (JoseError, KeyError, ValueError, TypeError):
        raise _invalid("jwk") from None
    if not isinstance(key, RSAKey | ECKey | OKPKey) or key.is_private:
        raise _invalid("jwk")
    return key


def _plain(address: object) -> str:
    """An address without query and fragment, its scheme and host in small letters and a default port left out."""
    try:
        parts = urlsplit(address if isinstance(address, str) else "")
        port = parts.port
    except ValueError:
        return ""
    host = (parts.hostname or "") + (
        f":{port}" if port and port != {"https": 443, "http": 80}.get(parts.scheme) else ""
    )
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
