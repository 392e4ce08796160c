"""Looking along (FG-37): what waits for a second officer, what one prepared oneself, and emergencies afterwards.

    GET  /meekijken                     what waits, by time; what one prepared; emergencies
    GET  /meekijken/ID                  one question: how it stands for who prepared it, without the person for others
    POST /meekijken/ID                  the same with the person, for who is to judge it
    POST /meekijken/ID/ACT              akkoord, weiger; for who prepared it vraag, noodgreep, intrekken
    GET  /meekijken/nood/NUMBER         a question that was asked at once
    POST /meekijken/nood/NUMBER/ACT     akkoord, niet: what another officer thinks of it afterwards

An ID is random and says nothing. The number of a person is in the reply to one POST, and nowhere else.
"""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from bekend_policy.decide import JUSTIFICATION
from bekend_policy.justification import warnings
from bekend_policy.model import Covenant, Purpose
from bekend_proto.errors import RefusedError, StorageError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.emergency import WITHIN
from bekend_node.ask.four_eyes import AtScreen, Prepared
from bekend_node.ask.rules import Inquiry
from bekend_node.ask.stream import Outcomes
from bekend_node.described import to_fields
from bekend_node.store_emergencies import Emergency
from bekend_node.web.pages import Pages, at_screen, see_other
from bekend_node.web.sessions import Session
from bekend_node.web.shelf import ShelfFullError
from bekend_node.web.starting import follow, make_room

_WRITTEN: Final = frozenset({"weiger", "noodgreep"})
"""Acts with a text, at which a refusal is shown."""
_DONE: Final = {"akkoord": "akkoord", "weiger": "geweigerd", "intrekken": "ingetrokken", "beoordeeld": "beoordeeld"}


@dataclass
class EyesPages:
    """Pages for two officers. `covenant` gives the covenant in force, `oin` is this organisation."""

    pages: Pages
    asker: Asker
    covenant: Callable[[], Covenant]
    oin: str

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        one, urgent = "/meekijken/{id}", "/meekijken/nood/{number:int}"
        return [
            Route("/meekijken", self.waiting, methods=["GET"]),
            Route(urgent, self.urgent, methods=["GET"]),
            Route(urgent + "/{act}", self.review, methods=["POST"]),
            Route(one, self.look, methods=["GET"]),
            Route(one, self.show, methods=["POST"]),
            Route(one + "/{act}", self.act, methods=["POST"]),
        ]

    async def waiting(self, request: Request) -> Response:
        """Everything of this officer, without a person."""
        _, viewer = self._viewer(request)
        eyes, emergencies = self.asker.four_eyes, self.asker.emergencies
        return self.pages.render(
            request,
            "meekijken.html.j2",
            judge=[self._facts(one) for one in eyes.others(viewer)],
            own=[self._facts(one) for one in reversed(eyes.own(viewer))],
            review=[self._urgent(one) for one in emergencies.waiting(viewer)],
            own_urgent=[self._urgent(one) for one in reversed(emergencies.own(viewer))],
            done=next((text for name, text in _DONE.items() if name in request.query_params), ""),
        )

    async def look(self, request: Request) -> Response:
        """One question, before the person is shown."""
        _, viewer = self._viewer(request)
        try:
            found = self.asker.four_eyes.find(request.path_params["id"], viewer)
        except RefusedError as refusal:
            return self._refused(request, refusal)
        if found.by.user == viewer.user:
            return self._own(request, found)
        return self._other(request, found, shown=False)

    async def show(self, request: Request) -> Response:
        """The question with the person, for who judges it."""
        _, viewer = self._viewer(request)
        try:
            return self._other(request, self.asker.four_eyes.look(request.path_params["id"], viewer))
        except RefusedError as refusal:
            return self._refused(request, refusal)

    async def act(self, request: Request) -> Response:
        """Carry out what a button says; what can be mended is shown where it was filled in."""
        session, viewer = self._viewer(request)
        act, form = request.path_params["act"], await request.form()
        deed = self._deeds().get(act)
        if deed is None:
            raise HTTPException(404)
        if act in _WRITTEN and (warned := _noted(form)):
            return self._again(request, viewer, act, form, warned=warned)
        try:
            return see_other(await deed(session, viewer, request.path_params["id"], _reason(form)))
        except ShelfFullError:
            return self._again(request, viewer, act, form, fault=self.pages.text("bevragen.vol"))
        except StorageError:
            return self._refused(request, RefusedError("opslag", self.pages.text("uitkomst.mislukt")))
        except RefusedError as refusal:
            return self._again(request, viewer, act, form, fault=refusal.reason, otherwise=refusal)

    async def urgent(self, request: Request) -> Response:
        """A question that was asked at once."""
        _, viewer = self._viewer(request)
        try:
            found = self.asker.emergencies.find(request.path_params["number"], viewer)
        except RefusedError as refusal:
            return self._refused(request, refusal)
        return self._review_page(request, found)

    async def review(self, request: Request) -> Response:
        """What a second officer thinks of it afterwards."""
        _, viewer = self._viewer(request)
        number, act, form = request.path_params["number"], request.path_params["act"], await request.form()
        if act not in {"akkoord", "niet"}:
            raise HTTPException(404)
        emergencies = self.asker.emergencies
        try:
            found = emergencies.find(number, viewer)
            if warned := _noted(form):
                return self._review_page(request, found, act, form, warned=warned)
        except RefusedError as refusal:
            return self._refused(request, refusal)
        try:
            await emergencies.review(number, viewer, agreed=act == "akkoord", text=_reason(form))
        except RefusedError as refusal:
            return self._review_page(request, found, act, form, fault=refusal.reason)
        return see_other("/meekijken?beoordeeld")

    # --- what buttons do

    def _deeds(self) -> Mapping[str, Callable[[Session, AtScreen, str, str], Awaitable[str]]]:
        return {
            "akkoord": self._agree,
            "weiger": self._refuse,
            "intrekken": self._withdraw,
            "vraag": self._ask,
            "noodgreep": self._ask_at_once,
        }

    async def _agree(self, _: Session, viewer: AtScreen, id_: str, __: str) -> str:
        self.asker.four_eyes.agree(id_, viewer)
        return "/meekijken?akkoord"

    async def _refuse(self, _: Session, viewer: AtScreen, id_: str, reason: str) -> str:
        self.asker.refuse_prepared(id_, viewer, reason)
        return "/meekijken?weiger"

    async def _withdraw(self, _: Session, viewer: AtScreen, id_: str, __: str) -> str:
        self.asker.four_eyes.withdraw(id_, viewer)
        return "/meekijken?intrekken"

    async def _ask(self, session: Session, viewer: AtScreen, id_: str, _: str) -> str:
        inquiry = self.asker.four_eyes.find(id_, viewer).inquiry
        make_room(session, self.asker, self.covenant(), inquiry)
        return self._follow(session, id_, inquiry, self.asker.ask_agreed(id_, viewer))

    async def _ask_at_once(self, session: Session, viewer: AtScreen, id_: str, reason: str) -> str:
        inquiry = self.asker.four_eyes.find(id_, viewer).inquiry
        make_room(session, self.asker, self.covenant(), inquiry)
        return self._follow(session, id_, inquiry, await self.asker.ask_in_emergency(id_, viewer, reason))

    def _follow(self, session: Session, id_: str, inquiry: Inquiry, outcomes: Outcomes) -> str:
        anew = session.shelf.pop(id_, None)
        return follow(session, self.asker, self.covenant(), inquiry, outcomes, anew=anew)

    # --- what is shown

    def _again(
        self,
        request: Request,
        viewer: AtScreen,
        act: str,
        form: FormData,
        *,
        fault: str = "",
        warned: tuple[str, ...] = (),
        otherwise: RefusedError | None = None,
    ) -> Response:
        """The question again with what is wrong; where it is not there any more, what the refusal says."""
        try:
            found = self.asker.four_eyes.find(request.path_params["id"], viewer)
            if found.by.user != viewer.user:
                found = self.asker.four_eyes.look(found.id, viewer)
        except RefusedError as refusal:
            return self._refused(request, otherwise or refusal)
        page = self._own if found.by.user == viewer.user else self._other
        return page(request, found, 422, act=act, text=_reason(form), fault=fault, warned=warned)

    def _own(self, request: Request, found: Prepared, status: int = 200, **values: Any) -> Response:
        return self._page(request, "meekijken_eigen.html.j2", found, status, **values)

    def _other(
        self, request: Request, found: Prepared, status: int = 200, *, shown: bool = True, **values: Any
    ) -> Response:
        return self._page(request, "meekijken_vraag.html.j2", found, status, shown=shown, **values)

    def _page(self, request: Request, template: str, found: Prepared, status: int, **values: Any) -> Response:
        empty = {"act": "", "text": "", "fault": "", "warned": ()}
        purpose = self.covenant().purposes.get(found.inquiry.purpose)
        inquiry = found.inquiry.settled(purpose, self.asker.today()) if purpose else found.inquiry
        confirmed = _confirmed(purpose, inquiry) if purpose else []
        return self.pages.render(
            request,
            template,
            status,
            one=self._facts(found),
            inquiry=found.inquiry,
            fields_of=to_fields,
            purpose=purpose,
            confirmed=confirmed,
            **{**empty, **values},
        )

    def _review_page(
        self,
        request: Request,
        found: Emergency,
        act: str = "",
        form: FormData | None = None,
        *,
        fault: str = "",
        warned: tuple[str, ...] = (),
    ) -> Response:
        text = _reason(form) if form else ""
        return self.pages.render(
            request,
            "meekijken_nood.html.j2",
            422 if fault or warned else 200,
            one=self._urgent(found),
            act=act,
            text=text,
            fault=fault,
            warned=warned,
        )

    def _refused(self, request: Request, refusal: RefusedError) -> Response:
        status = 403 if refusal.rule == "rol" else 409
        return self.pages.render(request, "meekijken_niet.html.j2", status, refusal=refusal)

    def _viewer(self, request: Request) -> tuple[Session, AtScreen]:
        session, person = self.pages.signed_in(request)
        return session, at_screen(session, person)

    def _facts(self, one: Prepared) -> dict[str, Any]:
        inquiry = one.inquiry
        return {
            "id": one.id,
            "state": one.state.value,
            "title": self._title(inquiry.purpose),
            "case": inquiry.case_reference,
            "officer": inquiry.officer.name,
            "on_behalf_of": self._name(inquiry.on_behalf_of) if inquiry.on_behalf_of else "",
            "partners": [self._name(oin) for oin in inquiry.sources],
            "persons": one.persons,
            "prepared": one.at,
            "until": one.until,
            "second": one.second.name if one.second else "",
            "reason": one.reason,
        }

    def _urgent(self, one: Emergency) -> dict[str, Any]:
        return {
            "number": one.number,
            "title": self._title(one.purpose),
            "case": one.case,
            "officer": one.officer_name,
            "why": one.reason,
            "justification": one.justification,
            "partners": [self._name(oin) for oin in one.sources],
            "persons": one.persons,
            "asked": one.at,
            "until": one.due(WITHIN),
            "review": one.review,
        }

    def _title(self, purpose: str) -> str:
        found = self.covenant().purposes.get(purpose)
        return found.title if found else purpose

    def _name(self, oin: str) -> str:
        partner = self.covenant().participants.get(oin)
        return partner.name if partner else oin


def _confirmed(purpose: Purpose, inquiry: Inquiry) -> list[str]:
    """What the first officer confirmed, in the covenant's words, with what was filled in."""
    said = {id_: value for id_, _, value in (one.partition("=") for one in inquiry.attested)}
    return [
        f"{one.text}{': ' + said[one.id] if said[one.id] else ''}"
        for one in purpose.conditions
        if one.id in said and one.id != JUSTIFICATION
    ]


def _reason(form: FormData) -> str:
    return str(form.get("reden", "")).strip()


def _noted(form: FormData) -> tuple[str, ...]:
    """What in the text may name somebody, unless that was read already."""
    if "gezien" in form:
        return ()
    return tuple(line.replace("de motivering", "uw tekst") for line in warnings(_reason(form)))
