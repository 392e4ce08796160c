"""The officer's pages: choose a purpose, ask, see what comes.

    GET  /bevragen                      the purposes of one's own roles
    GET  /bevragen/CONVENANT/DOEL       the form; the filters are fetched now, before a person is named
    POST /bevragen/CONVENANT/DOEL       the question; then on to
    GET  /uitkomst/ID                   the outcomes as they come; ID is random and of this session alone
    GET  /uitkomst/ID/stroom            the same as server-sent events
    GET  /uitkomst/ID/bon               the signed receipt, for the case file
    POST /uitkomst/ID/contact           this organisation is in contact with a partner that knows the person
    POST /uitkomst/ID/opnieuw           the same question, to those that gave no answer, about those it was not given
    POST /uitkomst/ID/wissen            not taken in: the outcomes are gone at once

A number travels in the body of a POST, and is in no address or title; it is in a reply where a form is shown again.
"""

import contextlib
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any, Final

from bekend_policy.model import Covenant, Participant, Purpose
from bekend_policy.words import Kind
from bekend_proto.clock import Clock
from bekend_proto.errors import RefusedError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bekend_node.ask.ages import age_conditions, ages_asked
from bekend_node.ask.asker import Asker
from bekend_node.ask.budget import ALL_PURPOSES
from bekend_node.ask.consent import consent_partners
from bekend_node.ask.outcomes import RELEASED
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.control_purposes import confirmed_by_officer, role_for
from bekend_node.described import FIELDS
from bekend_node.web.asking import Draft, combinations_of, marks_of, note_refusal, read_form, to_inquiry
from bekend_node.web.in_contact import InContact
from bekend_node.web.outcome_view import shown
from bekend_node.web.pages import Pages, at_screen, receipt_file, see_other
from bekend_node.web.reach import Reach, principals_of
from bekend_node.web.running import Anew, Running, asked_anew, asked_before, forget_case, lookups_of
from bekend_node.web.sessions import Person, Session
from bekend_node.web.shelf import ShelfFullError, on_shelf
from bekend_node.web.starting import start
from bekend_node.web.worklist import PREPARE, items_of, prepare

SEARCHABLE: Final = 10
"""More partners than this can be searched by name."""

LOOK: Final = frozenset({"kijk", "zoeken"})
"""Names of the buttons that show the form again, with the consents of its case or with partners, and ask nothing."""

TOWNS: Final = frozenset({Kind.COLLEGE_BW, Kind.BURGEMEESTER, Kind.WIJKTEAM})
"""Partners that belong to one municipality."""


@dataclass
class OfficerPages:
    """Pages for who asks. `covenant` gives the covenant in force, `oin` is this organisation.

    `contact` gives a partner's desk with its opening hours, from the manifest that the partner signed.
    """

    pages: Pages
    asker: Asker
    covenant: Callable[[], Covenant]
    oin: str
    contact: Callable[[str], str | None]
    clock: Clock
    reach: Reach
    marks: InContact

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        form, result = "/bevragen/{covenant}/{purpose}", "/uitkomst/{id}"
        return [
            Route("/bevragen", self.choose, methods=["GET"]),
            Route(form, self.form, methods=["GET"]),
            Route(form, self.ask, methods=["POST"]),
            Route(result, self.result, methods=["GET"]),
            Route(result + "/stroom", self.stream, methods=["GET"]),
            Route(result + "/bon", self.receipt, methods=["GET"]),
            Route(result + "/contact", self.in_contact, methods=["POST"]),
            Route(result + "/opnieuw", self.again, methods=["POST"]),
            Route(result + "/wissen", self.forget, methods=["POST"]),
        ]

    async def choose(self, request: Request) -> Response:
        """The purposes of one's own roles, each with what it is for and on what ground."""
        person = self.pages.person(request)
        covenant = self.covenant()
        found = [
            {"purpose": purpose, "budget": self.asker.budget(person.user, purpose.id)}
            for purpose in covenant.purposes.values()
            if role_for(covenant, self.oin, purpose.id, person.roles) is not None
        ]
        return self.pages.render(request, "doelen.html.j2", purposes=found, erased="gewist" in request.query_params)

    async def form(self, request: Request) -> Response:
        """The empty form of a purpose."""
        _, person = self.pages.signed_in(request)
        purpose, officer = self._purpose(request, person)
        return await self._form(request, purpose, officer, Draft())

    async def ask(self, request: Request) -> Response:
        """Ask what was filled in; on a fault the form again, with what is wrong."""
        session, person = self.pages.signed_in(request)
        purpose, officer = self._purpose(request, person)
        form = await request.form()
        draft = read_form(purpose, form)
        if LOOK & form.keys():
            return await self._form(request, purpose, officer, draft)
        inquiry = to_inquiry(purpose, draft, officer, self.pages.text, self.asker.today())
        if inquiry is not None and draft.faults:
            # What a rule refuses is on the record (FG-28), also where the form saw it first.
            with contextlib.suppress(RefusedError):
                self.asker.examine(inquiry)
        elif inquiry is not None and not draft.warnings:
            try:
                return see_other(self._sent(session, person, inquiry, ready=PREPARE in form))
            except RefusedError as refusal:
                note_refusal(draft, refusal, self.pages.text)
            except ShelfFullError:
                draft.faults[""] = self.pages.text("bevragen.vol")
        return await self._form(request, purpose, officer, draft, status=422)

    def _sent(self, session: Session, person: Person, inquiry: Inquiry, *, ready: bool) -> str:
        """Ask, or put on the worklist (`ready`); the address to go on with. Raises RefusedError, ShelfFullError."""
        if ready:
            prepare(session, self.asker, inquiry, self.clock.now(), self.pages.text)
            return "/werklijst?klaar"
        return start(session, self.asker, self.covenant(), inquiry, viewer=at_screen(session, person))

    async def again(self, request: Request) -> Response:
        """Ask those that gave no answer once more; the persons are those of the first time."""
        session, person = self.pages.signed_in(request)
        running = self._running(request, session)
        wanted = running.unanswered()
        if wanted is None:
            raise HTTPException(404)
        inquiry, numbers = wanted
        try:
            viewer = at_screen(session, person)
            # Of a lookup that failed nothing stands anywhere.
            before = running.anew.before if running.failure else request.path_params["id"]
            address = start(session, self.asker, self.covenant(), inquiry, viewer=viewer, anew=Anew(before, numbers))
        except RefusedError as refusal:
            return self._shown(request, running, self.pages.refusal(refusal), 422)
        except ShelfFullError:
            return self._shown(request, running, self.pages.text("bevragen.vol"), 422)
        running.inquiry = None
        return see_other(address)

    async def result(self, request: Request) -> Response:
        """The outcomes so far; a browser without script asks again until all have come."""
        session, _ = self.pages.signed_in(request)
        return self._shown(request, self._running(request, session))

    def _shown(self, request: Request, running: Running, fault: str = "", status: int = 200) -> Response:
        session, _ = self.pages.signed_in(request)
        ready = len(items_of(session, self.clock.now()))
        return self.pages.render(
            request, "uitkomst.html.j2", status, fault=fault, ready=ready, **self._values(request, session, running)
        )

    def _values(self, request: Request, session: Session, running: Running) -> dict[str, Any]:
        id_ = request.path_params["id"]
        marks = {oin: self.marks.of(running.case, running.purpose, oin) for oin in running.chosen}
        lookups = lookups_of(session, self.clock.now())
        before = asked_before(lookups, running)
        return {
            "id": id_,
            "marks": marks,
            "before": list(before),
            "anew": asked_anew(lookups, id_),
            **shown(self.covenant(), running, list(before.values())),
        }

    async def stream(self, request: Request) -> Response:
        """The outcomes as server-sent events: each holds the list as it is then."""
        session, _ = self.pages.signed_in(request)
        running = self._running(request, session)

        async def events() -> AsyncIterator[str]:
            async for _ in running.changes():
                if not self.pages.is_open(request):
                    return
                html = self.pages.fragment(request, "uitkomsten.html.j2", **self._values(request, session, running))
                yield f"data: {json.dumps(html)}\n\n"
            yield "event: klaar\ndata: \n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def receipt(self, request: Request) -> Response:
        """The signed receipt of a lookup that has ended."""
        session, _ = self.pages.signed_in(request)
        running = self._running(request, session)
        if running.receipt is None:
            raise HTTPException(404)
        return receipt_file(running.receipt.to_json())

    async def in_contact(self, request: Request) -> Response:
        """Say that this organisation is in contact with a partner, or no longer."""
        session, person = self.pages.signed_in(request)
        running, form = self._running(request, session), await request.form()
        partner = str(form.get("partner", ""))
        if not any(one.oin == partner and one.outcome in RELEASED for one in running.outcomes):
            raise HTTPException(404)
        self.marks.put(form, running.case, running.purpose, partner, person=person, expires=running.expires)
        return see_other(f"/uitkomst/{request.path_params['id']}")

    async def forget(self, request: Request) -> Response:
        """The case is not taken in: what came is gone from this node at once, but for the sealed record."""
        session, person = self.pages.signed_in(request)
        running = self._running(request, session)
        case = running.case
        if case:
            # Nothing was recorded of a lookup that failed: then there is nothing to destroy but what is shown.
            with contextlib.suppress(RefusedError):
                await self.asker.cases.lapse(case, person.user, {running.purpose})
        forget_case(session, case)
        session.shelf.pop(request.path_params["id"], None)
        return see_other("/bevragen?gewist")

    async def _form(
        self, request: Request, purpose: Purpose, officer: OfficerRef, draft: Draft, status: int = 200
    ) -> Response:
        covenant = self.covenant()
        requester = covenant.requesters(purpose.id)[self.oin]
        partners = await self._partners(covenant, purpose, officer, draft.case)
        first, rest = _searched(partners, draft.wanted, covenant.participants.get(draft.town))
        return self.pages.render(
            request,
            "bevragen.html.j2",
            status,
            purpose=purpose,
            draft=draft,
            marks=marks_of(purpose),
            combinations=combinations_of(purpose),
            fields=FIELDS,
            conditions=confirmed_by_officer(purpose),
            with_births=bool(age_conditions(purpose)),
            partners=first,
            others=rest,
            towns=_towns(partners) if len(partners) > SEARCHABLE else [],
            many=SEARCHABLE,
            needs_consent=bool(consent_partners(covenant, purpose)),
            principals=[covenant.participants[oin] for oin in sorted(requester.on_behalf_of)],
            for_itself=requester.for_itself,
            budget=self.asker.budget(officer.user, purpose.id),
            in_all=self.asker.budget(officer.user, ALL_PURPOSES),
        )

    async def _partners(
        self, covenant: Covenant, purpose: Purpose, officer: OfficerRef, case: str
    ) -> list[dict[str, Any]]:
        """Every partner that the purpose names: how and when it would answer, and the consent that it needs."""
        sources = {oin: one for oin, one in covenant.sources(purpose.id).items() if oin != self.oin}
        when = await self.reach.of(purpose, sources, officer, principals_of(covenant.requesters(purpose.id)[self.oin]))
        with_consent = consent_partners(covenant, purpose)
        ages = ages_asked(covenant, purpose)
        standing = self.asker.cases.consents.standing(case, purpose.id) if with_consent and case else {}
        return [
            {
                "participant": covenant.participants[oin],
                "contact": self.contact(oin),
                "when": when[oin],
                "with_consent": oin in with_consent,
                "consent": standing.get(oin),
                "ages": [age.text for age in ages.get(oin, ())],
                "only_by": sorted(map(str, one.kinds)) if one.kinds != purpose.kinds else [],
            }
            for oin, one in sources.items()
        ]

    def _purpose(self, request: Request, person: Person) -> tuple[Purpose, OfficerRef]:
        """The purpose of the address, and the role in which this person may use it. Raises HTTPException."""
        covenant = self.covenant()
        purpose = covenant.purposes.get(f"{request.path_params['covenant']}/{request.path_params['purpose']}")
        if purpose is None:
            raise HTTPException(404)
        role = role_for(covenant, self.oin, purpose.id, person.roles)
        if role is None:
            raise HTTPException(403)
        return purpose, OfficerRef(person.user, person.name, role)

    def _running(self, request: Request, session: Session) -> Running:
        found = on_shelf(session, request.path_params["id"], Running)
        if found.expires <= self.clock.now():
            del session.shelf[request.path_params["id"]]
            raise HTTPException(404)
        found.take_back(self.asker.cases.corrections(found.case, found.asked_at))
        return found


def _searched(
    partners: list[dict[str, Any]], wanted: str, town: Participant | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Partners with these words in their names, those of the town first, and the others: all can still be ticked."""
    words = wanted.casefold().split()
    ordered = sorted(partners, key=lambda one: not (town and _of_town(one["participant"], town)))
    found = [one for one in ordered if all(word in one["participant"].name.casefold() for word in words)]
    return found, [one for one in ordered if one not in found]


def _towns(partners: list[dict[str, Any]]) -> list[Participant]:
    """Municipalities among the partners, by name."""
    found = [one["participant"] for one in partners if one["participant"].kind in TOWNS]
    return sorted(found, key=lambda one: one.name.casefold())


def _of_town(one: Participant, town: Participant) -> bool:
    """Whether a partner is this municipality, or belongs to the same one."""
    same = {town.oin, town.parent} - {None}
    return one.oin in same or one.parent in same
