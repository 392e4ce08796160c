"""Which officer a request is from: the access token (RFC 9068) and the key that it is bound to.

    Authorization: DPoP <token> with DPoP: <proof>     or     Authorization: Bearer <token> over mutual TLS

A token is for this facade (`aud`), from a case system that node.yaml names (`client_id`), signed by the organisation's
provider, and of a human who signed in with more than one factor. One that a case system got for itself opens nothing.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bekend_proto import logs
from bekend_proto.clock import Clock
from joserfc import jws, jwt
from joserfc.errors import JoseError
from joserfc.jwt import JWTClaimsRegistry
from starlette.requests import Request

from bekend_node.ask.four_eyes import AtScreen
from bekend_node.config import AccessTokens
from bekend_node.rest.issuer import Issuer
from bekend_node.rest.problems import MACHINE, NOT_ALLOWED, Problem
from bekend_node.rest.proofs import Proofs, unproved
from bekend_node.web.claims import SignInRefused, person_of
from bekend_node.web.sessions import Person
from bekend_node.web.texts import Texts

LEEWAY_SECONDS: Final = 60
"""How far the provider's clock and this one may differ."""

_ALGORITHMS: Final = ("PS256", "RS256", "ES256", "PS384", "RS384", "ES384", "PS512", "RS512", "ES512", "EdDSA")
_TYPES: Final = frozenset({"at+jwt", "application/at+jwt"})
_INVALID: Final = "Het token geldt hier niet, of niet meer. Meld u opnieuw aan in uw systeem."
_MACHINE: Final = (
    "Dit token is van een systeem en niet van een medewerker. Vraag met het token van de medewerker die wil weten wie "
    "deze persoon kent."
)


@dataclass(frozen=True, slots=True)
class Caller:
    """An officer at a case system. `key` is the thumbprint of the key that the token is bound to."""

    person: Person
    key: str = field(repr=False)

    @property
    def viewer(self) -> AtScreen:
        """This officer as the rules on a second pair of eyes see who looks."""
        return AtScreen(self.person.user, (self.person.name,), self.person.roles, f"rest {self.key}")


class Tokens:
    """Checks tokens at one facade."""

    def __init__(self, config: AccessTokens, proofs: Proofs, issuer: Issuer, clock: Clock) -> None:
        self._config = config
        self._proofs = proofs
        self._issuer = issuer
        self._clock = clock
        self._texts = Texts("nl")

    async def caller(self, request: Request) -> Caller:
        """Who asks. Raises Problem: 401 without a valid, bound token; 403 when that is of no officer."""
        try:
            scheme, token = _credentials(request)
            claims = await self._opened(token)
            bound = claims.get("cnf")
            key = self._proofs.check(request, scheme, token, bound if isinstance(bound, Mapping) else {})
            return Caller(self._person(claims), key)
        except Problem as problem:
            logs.log(logs.REST_REFUSED, status=problem.kind.status, problem=problem.kind.name, code=problem.code)
            raise

    async def _opened(self, token: str) -> dict[str, Any]:
        """The claims of a token that is valid here and now. Raises Problem."""
        try:
            header = jws.extract_compact(token.encode()).headers()
        except (JoseError, ValueError, TypeError):
            raise unproved("invalid_token", "malformed", _INVALID) from None
        if str(header.get("typ", "")).lower() not in _TYPES:
            # RFC 9068, section 4: or an ID token would do.
            raise unproved("invalid_token", "typ", _INVALID)
        keys = await self._issuer.keys(header.get("kid"))
        try:
            claims = jwt.decode(token, keys, algorithms=list(_ALGORITHMS)).claims
            self._registry().validate(claims)
        except (JoseError, ValueError, TypeError) as fault:
            raise unproved("invalid_token", getattr(fault, "error", "") or "malformed", _INVALID) from None
        if _client(claims) not in self._config.clients:
            raise unproved("invalid_token", "client", _INVALID)
        return claims

    def _registry(self) -> JWTClaimsRegistry:
        return JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=LEEWAY_SECONDS,
            iss={"essential": True, "value": self._config.issuer},
            aud={"essential": True, "value": self._config.audience},
            sub={"essential": True},
            exp={"essential": True},
            iat={"essential": True},
        )

    def _person(self, claims: Mapping[str, Any]) -> Person:
        if is_machine(claims):
            raise Problem(MACHINE, _MACHINE, code="machine")
        try:
            return person_of(claims, self._config)
        except SignInRefused as refusal:
            raise Problem(NOT_ALLOWED, self._texts(refusal.reason), rule="FG-45", code=refusal.code) from None


def is_machine(claims: Mapping[str, Any]) -> bool:
    """Whether a case system got this token for itself (client credentials).

    RFC 9068, section 2.2: then `sub` is the client. Keycloak gives an account of its own, Entra ID says `idtyp`, and
    others `gty`; where a provider says nothing of the kind, the level, the name and the roles are missing.
    """
    return (
        claims["sub"] == _client(claims)
        or claims.get("idtyp") == "app"
        or claims.get("gty") == "client-credentials"
        or str(claims.get("preferred_username", "")).startswith("service-account-")
    )


def _client(claims: Mapping[str, Any]) -> object:
    """The case system that the token was given to: `client_id`, or `azp` where a provider writes only that."""
    return claims.get("client_id", claims.get("azp"))


def _credentials(request: Request) -> tuple[str, str]:
    given = request.headers.getlist("authorization")
    if not given:
        raise unproved("", "none", "Stuur het token van de medewerker mee.")
    scheme, _, token = given[0].partition(" ")
    if len(given) > 1 or scheme.lower() not in {"dpop", "bearer"} or not token.strip():
        raise unproved("", "scheme", "Stuur het token van de medewerker mee, als DPoP of over een eigen certificaat.")
    return scheme.lower(), token.strip()
