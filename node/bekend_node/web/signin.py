"""Sign-in with the organisation's own provider.

    GET  /inloggen              what will happen, and the way on
    GET  /inloggen/begin        to the provider
    GET  /inloggen/terug        back from it: who it is, under a new session
    GET  /inloggen/uit          to where the provider ends its own session
    GET  /inloggen/uitgelogd    back from there
    GET  /inloggen/sleutels     this node's public key, for the provider

Both ways to the provider start with a GET: the content policy lets no form lead to another site. Nothing in an address
says where to go on after signing in, so nobody can be sent elsewhere.
"""

from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime, timedelta
from typing import Final

from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.logs import log
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route

from bekend_node.config import SignIn
from bekend_node.web.claims import SignInRefused, person_of
from bekend_node.web.pages import PROVIDER_SESSION, Pages, give_cookie, see_other
from bekend_node.web.provider import BACK, LEFT, Provider
from bekend_node.web.sessions import Person, Sessions

AT_MOST: Final = 60
"""Times that one address may start or end signing in, in a minute: behind a proxy, all people together."""

_MINUTE: Final = timedelta(minutes=1)


class Throttle:
    """Counts what came from an address in the last minute."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._seen: dict[str, deque[datetime]] = {}

    def admits(self, address: str) -> bool:
        """Whether one more may come from this address now; then it counts."""
        now = self._clock.now()
        for known in [one for one, times in self._seen.items() if now - times[-1] >= _MINUTE]:
            del self._seen[known]
        times = self._seen.setdefault(address, deque(maxlen=AT_MOST))
        if len(times) == AT_MOST and now - times[0] < _MINUTE:
            return False
        times.append(now)
        return True


class SignInPages:
    """The pages of sign-in. `signed_in` is told who came in; when it raises, nobody did."""

    def __init__(
        self,
        pages: Pages,
        sessions: Sessions,
        provider: Provider,
        config: SignIn,
        clock: Clock,
        *,
        signed_in: Callable[[Person], Awaitable[None]],
    ) -> None:
        self._pages = pages
        self._sessions = sessions
        self._provider = provider
        self._config = config
        self._signed_in = signed_in
        self._throttle = Throttle(clock)

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/inloggen", self.start, methods=["GET"]),
            Route("/inloggen/begin", self.begin, methods=["GET"]),
            Route(BACK, self.back, methods=["GET"]),
            Route("/inloggen/uit", self.leave, methods=["GET"]),
            Route(LEFT, self.left, methods=["GET"]),
            Route("/inloggen/sleutels", self.keys, methods=["GET"]),
        ]

    async def start(self, request: Request) -> Response:
        """The first page; straight on to the provider's end of session for who signed out here."""
        session = self._pages.session(request)
        leaving = session is not None and PROVIDER_SESSION in session.state and session.person is None
        return self._page(request, signed_out="uitgelogd" in request.query_params, leaving=leaving)

    async def begin(self, request: Request) -> Response:
        """Send the browser to the provider."""
        if not self._admitted(request):
            return self._page(request, 429, fault="inloggen.druk")
        session = self._pages.session(request) or self._sessions.begin()
        request.scope["session"] = session.state
        try:
            response = await self._provider.begin(request)
        except SignInRefused as refusal:
            return self._refused(request, refusal, 503)
        give_cookie(response, session)
        return response

    async def back(self, request: Request) -> Response:
        """Take what the provider says about who came back. What was in the session before is worth nothing."""
        if not self._admitted(request):
            return self._page(request, 429, fault="inloggen.druk")
        session = self._pages.session(request)
        if session is None:
            return self._refused(request, SignInRefused("inloggen.verlopen", "no-session"), 400)
        request.scope["session"] = session.state
        try:
            claims, id_token = await self._provider.finish(request)
            person = person_of(claims, self._config)
        except SignInRefused as refusal:
            return self._refused(request, refusal, 403)
        await self._signed_in(person)
        fresh = self._sessions.sign_in(session, person)
        fresh.state[PROVIDER_SESSION] = id_token
        log(logs.SIGNED_IN, user=person.user, roles=", ".join(person.roles))
        response = see_other("/")
        give_cookie(response, fresh)
        return response

    async def leave(self, request: Request) -> Response:
        """To where the provider ends its session, once, for who has signed out here."""
        session = self._pages.session(request)
        if session is None or session.person is not None:
            return see_other("/inloggen")
        id_token = session.state.pop(PROVIDER_SESSION, None)
        self._sessions.end(session)
        try:
            address = await self._provider.end(id_token) if id_token else None
        except SignInRefused:
            return self._page(request, 503, signed_out=True, fault="inloggen.nog_ingelogd")
        return RedirectResponse(address, status_code=302) if address else see_other(LEFT)

    async def left(self, request: Request) -> Response:
        """Back from there."""
        return self._page(request, signed_out=True)

    async def keys(self, request: Request) -> Response:
        """The public key that this node proves itself with."""
        return JSONResponse(self._provider.public_keys())

    def _page(
        self, request: Request, status: int = 200, *, signed_out: bool = False, leaving: bool = False, fault: str = ""
    ) -> Response:
        return self._pages.render(
            request, "inloggen.html.j2", status, signed_out=signed_out, leaving=leaving, fault=fault
        )

    def _refused(self, request: Request, refusal: SignInRefused, status: int) -> Response:
        log(logs.SIGN_IN_REFUSED, reason=refusal.reason, code=refusal.code)
        return self._page(request, status, fault=refusal.reason)

    def _admitted(self, request: Request) -> bool:
        return self._throttle.admits(request.client.host if request.client else "")
