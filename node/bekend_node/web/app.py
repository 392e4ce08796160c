"""The pages as one ASGI application: routes, and around them the guard, the size limit and the pages for faults."""

from collections.abc import Sequence
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.body_limit import RequestBodyLimitMiddleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp

from bekend_node.web.guard import BODY_LIMIT, Guard
from bekend_node.web.pages import PROVIDER_SESSION, STATIC, NotSignedIn, Pages, give_cookie, see_other, take_cookie
from bekend_node.web.sessions import Sessions


class _KeptFiles(StaticFiles):
    """Files whose address changes with what is in them: a browser may keep them."""

    def file_response(self, *args: Any, **kwargs: Any) -> Response:
        response = super().file_response(*args, **kwargs)
        response.headers["cache-control"] = "public, max-age=31536000, immutable"
        return response


def build(origin: str, pages: Pages, sessions: Sessions, routes: Sequence[BaseRoute]) -> ASGIApp:
    """The application under `origin` (https://host[:port]): `routes` are those of sign-in and of each role."""

    async def sign_out(request: Request) -> Response:
        session = pages.session(request)
        left = None
        if session is not None:
            left = session.state.get(PROVIDER_SESSION)
            sessions.end(session)
        response = see_other("/inloggen?uitgelogd")
        if left is None:
            take_cookie(response)
        else:
            # A session of nobody, to end the provider's too.
            fresh = sessions.begin()
            fresh.state[PROVIDER_SESSION] = left
            give_cookie(response, fresh)
        return response

    async def not_signed_in(request: Request, _: Exception) -> Response:
        return see_other("/inloggen")

    async def refused(request: Request, fault: Exception) -> Response:
        assert isinstance(fault, HTTPException)
        return pages.failed(request, fault.status_code)

    async def broken(request: Request, _: Exception) -> Response:
        return pages.failed(request, 500)

    # Compressed are the files alone: a compressed page would tell by its length what stands in it.
    files = GZipMiddleware(_KeptFiles(directory=STATIC), minimum_size=500)
    app = Starlette(
        routes=[
            Route("/uitloggen", sign_out, methods=["POST"]),
            Mount("/static", files),
            *routes,
        ],
        middleware=[Middleware(RequestBodyLimitMiddleware, max_body_size=BODY_LIMIT)],
        exception_handlers={NotSignedIn: not_signed_in, HTTPException: refused, Exception: broken},
    )
    # Outermost: also what went wrong goes out under the guard's headers.
    return Guard(app, origin)
