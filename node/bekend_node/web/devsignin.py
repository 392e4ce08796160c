"""Sign-in for trials, without a provider: whoever reaches the page picks a person from node.yaml.

Loaded with `bekend node serve --dev` alone, which serves pages on loopback alone. Every page says so.
"""

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.web.pages import Pages, give_cookie, see_other
from bekend_node.web.sessions import Person, Sessions


def routes(pages: Pages, sessions: Sessions, people: Sequence[Person]) -> list[Route]:
    """The page to choose from, and the choice."""
    known = {one.user: one for one in people}

    async def choose(request: Request) -> Response:
        signed_out = "uitgelogd" in request.query_params
        return pages.render(request, "inloggen.html.j2", people=people, signed_out=signed_out, leaving=False, fault="")

    async def chosen(request: Request) -> Response:
        form = await request.form()
        person = known.get(str(form.get("user", "")))
        if person is None:
            return pages.failed(request, 403)
        session = sessions.sign_in(pages.session(request) or sessions.begin(), person)
        response = see_other("/")
        give_cookie(response, session)
        return response

    return [
        Route("/inloggen", choose, methods=["GET"]),
        Route("/inloggen", chosen, methods=["POST"]),
    ]
