"""Own questions by case reference, never by person: what came later, and what is still to come.

    GET  /zaken             own questions whose answers come later, and those that this session shows
    POST /zaken             look at one case, of colleagues too; on to
    GET  /zaken/ID          the questions of that case, under the purposes of one's own roles
    GET  /zaken/bon/ID      the receipt of one lookup, as it stands now
    POST /zaken/ID/gevolg       whether what came changed what was decided: once per case
    POST /zaken/ID/contact      this organisation is in contact with a partner that knows the person, or no longer
    POST /zaken/ID/collega      a colleague works on this case too, or no longer
    POST /zaken/ID/vervallen    the case was not taken in: what came of it is destroyed

Everything is told by the objects that answer `bekend antwoorden` and `bekend zaak`. An ID is of this session.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from bekend_policy.model import Covenant
from bekend_proto.clock import Clock
from bekend_proto.errors import RefusedError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.outcomes import RELEASED
from bekend_node.ask.team import Team
from bekend_node.control_late import LateDesk
from bekend_node.control_messages import LONGEST_USER, AnswersRequest, ColleagueRequest
from bekend_node.control_purposes import purposes_for
from bekend_node.mail import Notices
from bekend_node.web.in_contact import InContact
from bekend_node.web.pages import Pages, officers_of, receipt_file, see_other
from bekend_node.web.running import lookups_of
from bekend_node.web.sessions import Person, Session
from bekend_node.web.shelf import LONGEST_CASE, CaseView, on_shelf, shelved


@dataclass(frozen=True, slots=True)
class LookupView:
    """One lookup among those of a case."""

    case: str
    purpose: str
    officer: str
    asked: str


@dataclass
class LatePages:
    """Pages for later answers. `covenant` gives the covenant in force, `oin` is this organisation."""

    pages: Pages
    asker: Asker
    desk: LateDesk
    team: Team
    marks: InContact
    notices: Notices
    covenant: Callable[[], Covenant]
    oin: str
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/zaken", self.own, methods=["GET"]),
            Route("/zaken", self.look, methods=["POST"]),
            Route("/zaken/bon/{id}", self.receipt, methods=["GET"]),
            Route("/zaken/{id}", self.case, methods=["GET"]),
            Route("/zaken/{id}/gevolg", self.consequence, methods=["POST"]),
            Route("/zaken/{id}/contact", self.contact, methods=["POST"]),
            Route("/zaken/{id}/collega", self.colleague, methods=["POST"]),
            Route("/zaken/{id}/vervallen", self.lapse, methods=["POST"]),
        ]

    async def own(self, request: Request) -> Response:
        """The officer's own questions."""
        session, person = self.pages.signed_in(request)
        await self.team.looked(person.user)
        running = lookups_of(session, self.clock.now())
        return self.pages.render(
            request,
            "zaken.html.j2",
            case="",
            fault="",
            lapsed="vervallen" in request.query_params,
            running=sorted(running.items(), key=lambda it: it[1].asked_at, reverse=True),
            cases=self._cases(session, await self._answers(person)),
            titles=self._titles(),
            raised=self._raised(person),
            told=False,
            tell=False,
            id="",
            on_case=[],
            to_add=[],
            mails=False,
        )

    async def look(self, request: Request) -> Response:
        """Look at a case by its reference."""
        session, _ = self.pages.signed_in(request)
        case = str((await request.form()).get("zaak", "")).strip()
        if not case or len(case) > LONGEST_CASE:
            return see_other("/zaken")
        return see_other(f"/zaken/{shelved(session, CaseView(case))}")

    async def case(self, request: Request) -> Response:
        """What there is of one case."""
        return await self._case(request)

    async def _case(self, request: Request, fault: str = "", status: int = 200) -> Response:
        session, person = self.pages.signed_in(request)
        case = on_shelf(session, request.path_params["id"], CaseView).case
        answers = await self._answers(person, case)
        purposes = {one["purpose"] for one in answers} & self._may(person)
        return self.pages.render(
            request,
            "zaken.html.j2",
            status,
            case=case,
            fault=fault,
            lapsed=False,
            running=[],
            cases=self._cases(session, answers),
            titles=self._titles(),
            raised=[],
            told="gemeld" in request.query_params,
            tell=await self.asker.cases.awaits_consequence(case, self._may(person)),
            id=request.path_params["id"],
            on_case=self.team.on_case(case) if purposes else [],
            to_add=[one for one in self.team.of_purposes(purposes) if one.user != person.user],
            mails=self.notices.mails,
        )

    async def receipt(self, request: Request) -> Response:
        """The signed receipt of one lookup; who is still to answer stands in it as such."""
        session, person = self.pages.signed_in(request)
        wanted = on_shelf(session, request.path_params["id"], LookupView)
        asked = AnswersRequest(op="answers", case=wanted.case or None, receipts=True)
        reply = await self.desk.handle(asked, officers_of(person))
        for one, receipt in zip(reply["answers"], reply["receipts"], strict=True):
            if _view(one) == wanted:
                return receipt_file(receipt)
        raise HTTPException(404)

    async def consequence(self, request: Request) -> Response:
        """Whether a decision changed. Kept is yes or no, and of nobody (FG-50)."""
        session, person = self.pages.signed_in(request)
        case = on_shelf(session, request.path_params["id"], CaseView).case
        answer = (await request.form()).get("gevolg")
        if answer not in {"ja", "nee"}:
            return await self._case(request, self.pages.text("zaken.gevolg_kies"), 422)
        try:
            await self.asker.cases.consequence(case, self._may(person), changed=answer == "ja")
        except RefusedError as refusal:
            return await self._case(request, self.pages.refusal(refusal), 422)
        return see_other(f"/zaken/{request.path_params['id']}?gemeld")

    async def contact(self, request: Request) -> Response:
        """Say that this organisation is in contact with a partner, or no longer."""
        session, person = self.pages.signed_in(request)
        case = on_shelf(session, request.path_params["id"], CaseView).case
        form = await request.form()
        purpose, partner = str(form.get("doel", "")), str(form.get("partner", ""))
        ends = [
            datetime.fromisoformat(outcome["expires"])
            for one in await self._answers(person, case)
            for outcome in one["outcomes"]
            if (one["purpose"], outcome["oin"]) == (purpose, partner) and outcome["outcome"] in RELEASED
        ]
        if not ends:
            raise HTTPException(404)
        self.marks.put(form, case, purpose, partner, person=person, expires=max(ends))
        return see_other(f"/zaken/{request.path_params['id']}")

    async def colleague(self, request: Request) -> Response:
        """Let a colleague work on this case, or no longer."""
        session, person = self.pages.signed_in(request)
        case = on_shelf(session, request.path_params["id"], CaseView).case
        form = await request.form()
        add, remove = (str(form.get(name, ""))[:LONGEST_USER] for name in ("collega", "weg"))
        if not (add or remove):
            return await self._case(request, self.pages.text("zaken.collega_kies_een"), 422)
        try:
            wanted = ColleagueRequest(op="colleague", case=case, add=add, remove=remove)
            await self.desk.handle(wanted, officers_of(person))
        except RefusedError as refusal:
            return await self._case(request, self.pages.refusal(refusal), 422)
        return see_other(f"/zaken/{request.path_params['id']}")

    async def lapse(self, request: Request) -> Response:
        """The case was not taken in."""
        session, person = self.pages.signed_in(request)
        case = on_shelf(session, request.path_params["id"], CaseView).case
        try:
            await self.asker.cases.lapse(case, person.user, self._may(person))
        except RefusedError as refusal:
            return await self._case(request, self.pages.refusal(refusal), 422)
        return see_other("/zaken?vervallen")

    async def _answers(self, person: Person, case: str | None = None) -> list[dict[str, Any]]:
        reply = await self.desk.handle(AnswersRequest(op="answers", case=case), officers_of(person))
        found: list[dict[str, Any]] = reply["answers"]
        return found

    def _cases(self, session: Session, answers: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """The lookups per case, the newest first, each with the ids of its pages."""
        newest = sorted(answers, key=lambda one: str(one["asked"]), reverse=True)
        names = {user: one.name for user, one in self.team.known().items()}
        order = list(dict.fromkeys(str(one["case"]) for one in newest))
        grouped = groupby(sorted(newest, key=lambda one: order.index(one["case"])), key=lambda one: str(one["case"]))
        return [
            {
                "case": case,
                "id": shelved(session, CaseView(case)) if case else None,
                "lookups": [
                    {
                        **one,
                        "officer_name": names.get(one["officer"], one["officer"]),
                        "receipt": shelved(session, _view(one)),
                        "marks": {
                            outcome["oin"]: self.marks.of(case, one["purpose"], outcome["oin"])
                            for outcome in one["outcomes"]
                        },
                    }
                    for one in lookups
                ],
            }
            for case, lookups in grouped
        ]

    def _titles(self) -> dict[str, str]:
        return {one.id: one.title for one in self.covenant().purposes.values()}

    def _may(self, person: Person) -> set[str]:
        """The purposes of this person's own roles."""
        return {one["id"] for role in person.roles for one in purposes_for(self.covenant(), self.oin, role)}

    def _raised(self, person: Person) -> list[dict[str, Any]]:
        """Limits that a second person raised, and until when."""
        ids = self._may(person)
        budgets = {id_: self.asker.budget(person.user, id_) for id_ in sorted(ids)}
        return [{"purpose": id_, "budget": one} for id_, one in budgets.items() if one.raised_until is not None]


def _view(one: dict[str, Any]) -> LookupView:
    return LookupView(one["case"], one["purpose"], one["officer"], one["asked"])
