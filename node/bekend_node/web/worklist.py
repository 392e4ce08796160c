"""The worklist: questions that an officer prepared, each of its own case and justification, asked one by one.

    POST /bevragen/CONVENANT/DOEL       with its button for it: a question is put on the list, and nothing is asked
    GET  /werklijst                     the questions that stand ready; their filters are fetched now
    POST /werklijst/ID/vragen           ask this one; then on to its outcomes, or to waiting for a second officer
    POST /werklijst/ID/weg              take it off the list

A list is no upload and no batch (FG-20): every question is filled in by hand, held against the rules when it is put
here and again when it is asked, charged as any other, and nothing asks two at once. It is in the session's memory
alone, is bounded, and goes with the session. No page shows a person of it.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bekend_policy.model import Covenant
from bekend_proto.clock import Clock
from bekend_proto.errors import RefusedError
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.rules import Inquiry
from bekend_node.web.pages import Pages, at_screen, see_other
from bekend_node.web.reach import Reach
from bekend_node.web.sessions import WHOLE, Session
from bekend_node.web.shelf import ShelfFullError, keep, on_shelf
from bekend_node.web.starting import start

PREPARE: Final = "klaarzetten"
"""Name of the button that puts a question on the list and asks nothing."""

MOST: Final = 20
"""Questions on one list."""

_ROOM: Final = 32 * 1024
"""Octets that one takes at the most: a form is no larger than twice this, and is mostly field names."""


@dataclass(slots=True)
class Item:
    """One question that stands ready. What it asks is in memory alone."""

    inquiry: Inquiry = field(repr=False)
    case: str
    prepared: datetime
    expires: datetime
    octets: int = _ROOM


def prepare(session: Session, asker: Asker, inquiry: Inquiry, now: datetime, say: Callable[..., str]) -> None:
    """Put a question on the session's list. Raises RefusedError (rule, Dutch reason), ShelfFullError."""
    asker.examine(inquiry)
    case, there = inquiry.case_reference or "", list(items_of(session, now).values())
    if len(there) >= MOST:
        raise RefusedError("werklijst", say("werklijst.vol", aantal=MOST))
    if any(one.case == case and one.inquiry.purpose == inquiry.purpose for one in there):
        raise RefusedError("werklijst-zaak", say("werklijst.zelfde_zaak"))
    texts = {_plain(one.inquiry.justification) for one in there}
    if inquiry.justification and _plain(inquiry.justification) in texts:
        raise RefusedError("werklijst-motivering", say("werklijst.zelfde_motivering"))
    keep(session, Item(inquiry, case, now, now + WHOLE), now)


def items_of(session: Session, now: datetime) -> dict[str, Item]:
    """What stands ready, by the id of each, in the order of preparing."""
    return {id_: one for id_, one in session.shelf.items() if isinstance(one, Item) and one.expires > now}


@dataclass
class WorklistPages:
    """Pages of the list. `covenant` gives the covenant in force."""

    pages: Pages
    asker: Asker
    covenant: Callable[[], Covenant]
    clock: Clock
    reach: Reach

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/werklijst", self.show, methods=["GET"]),
            Route("/werklijst/{id}/vragen", self.ask, methods=["POST"]),
            Route("/werklijst/{id}/weg", self.remove, methods=["POST"]),
        ]

    async def show(self, request: Request) -> Response:
        """The list."""
        return self._list(request)

    async def ask(self, request: Request) -> Response:
        """Ask one of them. The others stay."""
        session, person = self.pages.signed_in(request)
        id_ = request.path_params["id"]
        item = on_shelf(session, id_, Item)
        try:
            viewer = at_screen(session, person)
            address = start(session, self.asker, self.covenant(), item.inquiry, viewer=viewer)
        except RefusedError as refusal:
            return self._list(request, self.pages.refusal(refusal), id_, 422)
        except ShelfFullError:
            return self._list(request, self.pages.text("bevragen.vol"), id_, 422)
        session.shelf.pop(id_, None)
        return see_other(address)

    async def remove(self, request: Request) -> Response:
        """Take one off the list."""
        session, _ = self.pages.signed_in(request)
        on_shelf(session, request.path_params["id"], Item)
        del session.shelf[request.path_params["id"]]
        return see_other("/werklijst")

    def _list(self, request: Request, fault: str = "", at: str = "", status: int = 200) -> Response:
        session, _ = self.pages.signed_in(request)
        found = items_of(session, self.clock.now())
        for item in found.values():
            self.reach.warm(item.inquiry.purpose, item.inquiry.sources, item.inquiry.on_behalf_of)
        return self.pages.render(
            request,
            "werklijst.html.j2",
            status,
            items=[self._shown(id_, item) for id_, item in found.items()],
            fault=fault,
            at=at,
            added="klaar" in request.query_params,
        )

    def _shown(self, id_: str, item: Item) -> dict[str, Any]:
        covenant, inquiry = self.covenant(), item.inquiry
        purpose = covenant.purposes.get(inquiry.purpose)
        return {
            "id": id_,
            "case": item.case,
            "title": purpose.title if purpose else inquiry.purpose,
            "persons": len(inquiry.persons),
            "partners": [covenant.participants[oin].name for oin in inquiry.sources if oin in covenant.participants],
            "prepared": item.prepared,
        }


def _plain(text: str | None) -> str:
    return " ".join((text or "").casefold().split())
