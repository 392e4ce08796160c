"""What a case system can ask, over HTTPS, in the name of an officer.

    GET    /v1/doelen                       the purposes of the officer's roles, with partners, conditions and limits
    POST   /v1/vragen                       a question; then on to
    GET    /v1/vragen/ID                    how it stands and what came, until it expires; polled
    DELETE /v1/vragen/ID                    the case is not taken in: what came of it is destroyed
    POST   /v1/vragen/ID/verzending         send what a second officer agreed to
    GET    /v1/vragen/ID/bewijs             the signed receipt
    GET    /v1/vragen/ID/later-bewijs       the receipt of what colleagues at partners decided
    GET    /v1/antwoorden                   what came later of own questions, also of those before a restart
    GET    /v1/testpersonen                 in a sandbox alone
    GET    /v1/openapi.json                 this, described; for everybody

A number travels in the body of a POST, and in no address, reply, problem or log line.
"""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from bekend_policy.model import Covenant
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import RefusedError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.team import Team
from bekend_node.receipt import ReceiptFile
from bekend_node.rest.asking import inquiry_of, lates_of, purposes_of, refusal_of, reply_of
from bekend_node.rest.description import described
from bekend_node.rest.messages import PurposesReply, TestPersonReply, TestPersonsReply, read_question
from bekend_node.rest.problems import MEDIA, NO_KEY, NOT_FOUND, SANDBOX, TOO_LARGE, TOO_SLOW, Problem
from bekend_node.rest.questions import Asked, Questions, State
from bekend_node.rest.tokens import Caller, Tokens
from bekend_node.web.practice import TestPerson
from bekend_node.web.sessions import Person

BODY_LIMIT: Final = 64 * 1024
"""Octets of a question at most: eight persons and their texts need a quarter of it."""
BODY_SECONDS: Final = 20.0

RETRY_AFTER: Final = {State.RUNNING: 1, State.WAITS: 30, State.LATER: 300}
"""Seconds after which it makes sense to look again."""

_KEY: Final = re.compile(r'"?([A-Za-z0-9._~-]{16,100})"?')
"""An Idempotency-Key: a string of draft-ietf-httpapi-idempotency-key-header, and as many write it without quotes."""

Handler = Callable[[Caller, Request], Awaitable[Response]]


@dataclass
class Facade:
    """The resources. `sandbox` are the only persons who may be asked about, where there are any."""

    tokens: Tokens
    questions: Questions
    asker: Asker
    team: Team
    covenant: Callable[[], Covenant]
    clock: Clock
    say: Callable[..., str]
    sandbox: Sequence[TestPerson] = ()
    _known: dict[str, tuple[Person, object]] = field(default_factory=dict)

    def routes(self) -> list[Route]:
        """All of them."""
        one = "/v1/vragen/{id}"
        return [
            Route("/v1/openapi.json", self.description, methods=["GET"]),
            self._route("/v1/doelen", self.purposes),
            self._route("/v1/antwoorden", self.late_answers),
            self._route("/v1/testpersonen", self.practice),
            self._route("/v1/vragen", self.ask, "POST"),
            self._route(one, self.question, "GET", self.drop, "DELETE"),
            self._route(one + "/verzending", self.send, "POST"),
            self._route(one + "/bewijs", self.receipt),
            self._route(one + "/later-bewijs", self.late_receipt),
        ]

    def _route(
        self, path: str, handler: Handler, method: str = "GET", other: Handler | None = None, second: str = ""
    ) -> Route:
        handlers = {method: handler, **({second: other} if other else {})}

        async def served(request: Request) -> Response:
            # A HEAD is a GET without its body.
            chosen = handlers["GET" if request.method == "HEAD" else request.method]
            return await chosen(await self.tokens.caller(request), request)

        return Route(path, served, methods=list(handlers))

    async def description(self, _: Request) -> Response:
        """The description, for whoever builds on it (API Design Rules: /core/publish-openapi)."""
        headers = {"access-control-allow-origin": "*", "cache-control": "max-age=3600"}
        return Response(described(), media_type="application/json", headers=headers)

    async def purposes(self, caller: Caller, _: Request) -> Response:
        """What this officer may ask for."""
        found = purposes_of(caller, self.asker, self.covenant())
        return JSONResponse(PurposesReply(purposes=found).to_json())

    async def late_answers(self, caller: Caller, _: Request) -> Response:
        """What colleagues at partners decided, or are still to decide, of this officer's questions."""
        found = await self.asker.cases.late_answers(lambda one: one.officer == caller.person.user)
        return JSONResponse(lates_of([one.to_json() for one in found]).to_json())

    async def practice(self, _: Caller, __: Request) -> Response:
        """Whom to practise with."""
        if not self.sandbox or not self.covenant().demo:
            raise Problem(NOT_FOUND, "Dit is geen proefopstelling.")
        persons = tuple(
            TestPersonReply(kind=one.person.partition(":")[0], number=one.number, shows=one.shows)
            for one in self.sandbox
        )
        return JSONResponse(TestPersonsReply(persons=persons).to_json())

    async def ask(self, caller: Caller, request: Request) -> Response:
        """Ask. The same key with the same question gives the same resource, and asks nothing again."""
        key = _key(request)
        body = read_question(await _body(request))
        await self._remember(caller.person)
        # From here to the question no await: who sends twice at once asks once.
        canonical = body.model_dump_json(by_alias=True).encode()
        asked = self.questions.before(caller, key, canonical)
        if asked is None:
            inquiry = inquiry_of(body, caller, self.asker, self.covenant(), self.say)
            self._check_sandbox([f"{one.kind}:{one.value}" for one in inquiry.persons])
            try:
                asked = self.questions.ask(caller, key, canonical, inquiry)
            except RefusedError as refusal:
                raise refusal_of(refusal, self.say) from None
        return await self._shown(caller, asked, 201, {"location": f"/v1/vragen/{asked.id}"})

    async def question(self, caller: Caller, request: Request) -> Response:
        """How it stands."""
        return await self._shown(caller, self.questions.find(caller, request.path_params["id"]))

    async def drop(self, caller: Caller, request: Request) -> Response:
        """Not taken in."""
        await self.questions.drop(caller, self.questions.find(caller, request.path_params["id"]))
        return Response(status_code=204)

    async def send(self, caller: Caller, request: Request) -> Response:
        """Ask what a second officer agreed to."""
        asked = self.questions.find(caller, request.path_params["id"])
        try:
            self.questions.send(caller, asked)
        except RefusedError as refusal:
            raise refusal_of(refusal, self.say) from None
        return await self._shown(caller, asked, 201, {"location": f"/v1/vragen/{asked.id}"})

    async def receipt(self, caller: Caller, request: Request) -> Response:
        """The receipt of the lookup."""
        return _receipt(self.questions.receipt(self.questions.find(caller, request.path_params["id"])))

    async def late_receipt(self, caller: Caller, request: Request) -> Response:
        """The receipt of what came later."""
        return _receipt(await self.questions.late_receipt(self.questions.find(caller, request.path_params["id"])))

    async def _shown(
        self, caller: Caller, asked: Asked, status: int = 200, headers: dict[str, str] | None = None
    ) -> Response:
        standing = await self.questions.standing(caller, asked)
        reply = reply_of(asked, standing, self.covenant(), now=self.clock.now())
        wait = RETRY_AFTER.get(standing.state)
        found = {**(headers or {}), **({"retry-after": str(wait)} if wait else {})}
        return JSONResponse(reply.to_json(), status, found)

    def _check_sandbox(self, persons: Sequence[str]) -> None:
        if not self.sandbox:
            return
        if not self.covenant().demo:
            raise Problem(SANDBOX, "Het convenant is geen demo meer. In deze proefopstelling vraagt niemand nog iets.")
        if not set(persons) <= {one.person for one in self.sandbox}:
            raise Problem(SANDBOX, "Vraag hier alleen naar de testpersonen uit de lijst.")

    async def _remember(self, person: Person) -> None:
        """Know this officer for colleagues and mail, once a day."""
        today = (person, day_of(self.clock.now()))
        if self._known.get(person.user) != today:
            await self.team.signed_in(person.user, person.name, person.roles, person.mail)
            self._known[person.user] = today


def _receipt(found: ReceiptFile) -> Response:
    text = json.dumps(found.to_json(), indent=1) + "\n"
    headers = {"content-disposition": 'attachment; filename="ontvangstbewijs.json"'}
    return Response(text, media_type="application/json", headers=headers)


def _key(request: Request) -> str:
    found = request.headers.getlist("idempotency-key")
    key = _KEY.fullmatch(found[0]) if len(found) == 1 else None
    if key is None:
        detail = "Stuur een Idempotency-Key mee: 16 tot 100 letters, cijfers of streepjes, voor elke vraag een nieuwe."
        raise Problem(NO_KEY, detail)
    return key[1]


async def _body(request: Request) -> bytes:
    """The whole body. Raises Problem when it is no JSON by its own word, too large, or too slow."""
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        raise Problem(MEDIA, "Stuur de vraag als application/json.")
    found = bytearray()
    try:
        async with asyncio.timeout(BODY_SECONDS):
            async for piece in request.stream():
                found += piece
                if len(found) > BODY_LIMIT:
                    raise Problem(TOO_LARGE, f"Een vraag heeft hoogstens {BODY_LIMIT} bytes.")
    except TimeoutError:
        raise Problem(TOO_SLOW, "Er is niets gevraagd. Probeer het opnieuw.") from None
    return bytes(found)
