"""A facade for case systems on the real asking side (`Stage`), with a real provider (idpyoidc) to sign in at."""

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx2
from bekend_node.ask.team import Team
from bekend_node.config import Rest
from bekend_node.rest.app import application
from joserfc.jwk import RSAKey

from tests.support.asking import DIRECTOR, PERSON, ZVH_CASE, Stage
from tests.support.case_system import SITE, CaseSystem
from tests.support.covenants import HAARLEM
from tests.support.provider import CLIENT, MFA, TestProvider, User, running

ORIGIN = "https://rest.example"
WEIGHING = "kennemerland/zvh-weging-betrokkenheid"
_ROLES = {"realm_access": {"roles": ["bekend-regie"]}}
USERS = [User("devries", {"name": "A. de Vries", **_ROLES}), User("smit", {"name": "B. Smit", **_ROLES})]


@contextmanager
def provider_of(key: RSAKey, audience: str = ORIGIN) -> Iterator[TestProvider]:
    """A provider that knows the case system by its key, and gives tokens for the facade."""
    with running(USERS) as found:
        found.audience = audience
        public = {**key.as_dict(private=False), "kid": key.thumbprint(), "use": "sig", "alg": "RS256"}
        found.register(SITE, {"keys": [public]})
        yield found


def config_of(provider: TestProvider, **changes: Any) -> Rest:
    tokens = {
        "issuer": provider.issuer,
        "audience": provider.audience,
        "clients": (CLIENT,),
        "roles": {"bekend-regie": (DIRECTOR.role,)},
        "acr": (MFA,),
    }
    return Rest.model_validate({"listen": "127.0.0.1:0", "origin": ORIGIN, "tokens": tokens, **changes})


@dataclass
class Here:
    """A facade, and case systems at it."""

    stage: Stage
    provider: TestProvider
    app: Any

    def system(self, user: str = "devries", **claims: Any) -> CaseSystem:
        """A case system whose officer signed in; `claims` are said besides, None leaves one out."""
        client = httpx2.AsyncClient(transport=httpx2.ASGITransport(app=self.app), base_url=ORIGIN)
        made = CaseSystem(ORIGIN, client, now=lambda: self.stage.clock.now().timestamp())
        made.token = self.token(user, **{"cnf": {"jkt": made.key.thumbprint()}, **claims})
        return made

    def token(self, user: str = "devries", **claims: Any) -> str:
        """An access token of this officer."""
        said = next(one for one in USERS if one.user == user)
        return self.provider.access({"sub": user, "acr": said.acr, **said.claims, **claims})

    def question(self, **changes: Any) -> dict[str, Any]:
        """A question that the covenant admits."""
        found = {
            "doel": WEIGHING,
            "zaak": ZVH_CASE,
            "soort": "bsn",
            "personen": [{"nummer": PERSON.value}],
            "partners": [HAARLEM],
            "bevestigd": {"positieve-toets": "ja", "bgs-2-20": "ja"},
            "motivering": "overlast in het trappenhuis, drie meldingen",
        }
        return {name: value for name, value in {**found, **changes}.items() if value is not None}

    async def post(self, system: CaseSystem, *, key: str = "", **changes: Any) -> httpx2.Response:
        headers = {"idempotency-key": key or str(uuid.uuid4())}
        return await system.ask("POST", "/v1/vragen", json=self.question(**changes), headers=headers)

    async def ended(self, system: CaseSystem, address: str) -> dict[str, Any]:
        """Poll as the facade says, but without waiting so long."""
        while True:
            reply = await system.ask("GET", address)
            assert reply.status_code == 200, reply.text
            if reply.json()["status"] != "loopt":
                return dict(reply.json())
            assert reply.headers["retry-after"] == "1"
            await asyncio.sleep(0)


def facade(stage: Stage, provider: TestProvider, **changes: Any) -> Here:
    """The facade of this node. `changes` are of its configuration."""
    provider.now = lambda: stage.clock.now().timestamp()
    app = application(
        config_of(provider, **changes),
        asker=stage.asker,
        team=Team(stage.asking, ()),
        covenant=lambda: stage.covenant,
        clock=stage.clock,
    )
    return Here(stage, provider, app)


def refused(reply: httpx2.Response, status: int, kind: str) -> dict[str, Any]:
    """The problem of a reply that carries out nothing."""
    assert (reply.status_code, reply.headers["content-type"]) == (status, "application/problem+json"), reply.text
    assert reply.headers["cache-control"] == "no-store"
    assert reply.headers["api-version"] == "1.0.0"
    assert PERSON.value not in reply.text
    problem = reply.json()
    assert problem["type"] == f"urn:bekend:probleem:{kind}"
    return dict(problem)
