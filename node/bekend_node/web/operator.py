"""The operator's page, in English: how the node stands, as `bekend node status` says it.

    GET  /beheer        for people in the role `beheer`

No secret, nobody's number, no count of hits: the facts are those of `status.py`.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.status import Rows
from bekend_node.web.pages import Pages
from bekend_node.web.texts import Texts

ROLE: Final = "beheer"


class OperatorPages:
    """The page. `status` gives the facts of the running node, `rows` how many each table holds."""

    def __init__(self, pages: Pages, status: Callable[[], Mapping[str, Any]], rows: Rows) -> None:
        self._pages = pages
        self._status = status
        self._rows = rows
        self._texts = Texts("en")

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [Route("/beheer", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """How the node stands now, what needs somebody first."""
        self._pages.in_role(request, ROLE)
        node, rows = self._status(), await self._rows()
        return self._pages.render(
            request, "beheer.html.j2", t=self._texts, node=node, rows=rows, attention=_attention(node)
        )


def _attention(status: Mapping[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    """What somebody should look at: a key of the texts, and its values."""
    found: list[tuple[str, dict[str, Any]]] = []
    if status["log"]["stopped"]:
        found.append(("status.stopped", {}))
    found += [("status.alarm", one) for one in status["log"]["alarms"]]
    found += [("status.suspended", one) for one in status["suspensions"]]
    found += [("status.detached", {"broker": one}) for one, attached in status["brokers"].items() if not attached]
    found += [
        ("status.not_ready", {"purpose": purpose, "reason": facts["reason"]})
        for purpose, facts in status["purposes"].items()
        if not facts["ready"]
    ]
    deferrals = status["deferrals"]["due"] + status["deferrals"]["pending"]
    found += [("status.deferrals", {"number": deferrals})] * bool(deferrals)
    found += [("status.retention", {"number": status["retention_waits"]})] * bool(status["retention_waits"])
    return found
