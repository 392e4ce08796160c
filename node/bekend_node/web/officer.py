"""The officer's pages: choose a purpose, ask, see what comes.

    GET  /bevragen                      the purposes of one's own roles
    GET  /bevragen/CONVENANT/DOEL       the form; the filters are fetched now, before a person is named
    POST /bevragen/CONVENANT/DOEL       the question; then on to
    GET  /uitkomst/ID                   the outcomes as they come; ID is random and of this session alone
    GET  /uitkomst/ID/stroom            the same as server-sent events
    GET  /uitkomst/ID/bon               the signed receipt, for the case file
    POST /uitkomst/ID/wissen            not taken in: the outcomes are gone at once

A number travels in the body of one POST and is in no address, title or reply after it.
"""

import asyncio
import contextlib
import json
import secrets
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from bekend_policy.model import Covenant, Purpose, Source
from bekend_policy.terms import CheckedBy
from bekend_proto.clock import AMSTERDAM, Clock
from bekend_proto.errors import BekendError, RefusedError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.budget import ALL_PURPOSES
from bekend_node.ask.hint import hint
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.rules import OfficerRef
from bekend_node.web.asking import Draft, marks_of, note_refusal, read_form, to_inquiry
from bekend_node.web.pages import Pages, see_other
from bekend_node.web.running import Running
from bekend_node.web.sessions import Person, Session

OPEN_SECONDS: Final = 1.5
"""How long the form waits for the filters: what comes later is shown as under way."""


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
    _opening: set["asyncio.Task[dict[str, str | None]]"] = field(default_factory=set)

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
            Route(result + "/wissen", self.forget, methods=["POST"]),
        ]

    async def choose(self, request: Request) -> Response:
        """The purposes of one's own roles, each with what it is for and on what ground."""
        person = self.pages.person(request)
        covenant = self.covenant()
        found = [
            {"purpose": purpose, "budget": self.asker.budget(person.user, purpose.id)}
            for purpose in covenant.purposes.values()
            if _role(covenant, self.oin, purpose, person) is not None
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
        draft = read_form(purpose, await request.form())
        inquiry = to_inquiry(purpose, draft, officer)
        if inquiry is not None:
            try:
                outcomes = self.asker.ask(inquiry)
            except RefusedError as refusal:
                note_refusal(draft, refusal)
            else:
                now = self.clock.now()
                running = Running(
                    purpose.id,
                    draft.case,
                    len(inquiry.persons),
                    inquiry.sources,
                    now,
                    now + purpose.result_lifetime,
                )
                running.follow(outcomes)
                name = secrets.token_urlsafe(16)
                session.shelf[name] = running
                return see_other(f"/uitkomst/{name}")
        return await self._form(request, purpose, officer, draft, status=422)

    async def result(self, request: Request) -> Response:
        """The outcomes so far; a browser without script asks again until all have come."""
        session, _ = self.pages.signed_in(request)
        running = self._running(request, session)
        return self.pages.render(request, "uitkomst.html.j2", **self._shown(running, request.path_params["id"]))

    async def stream(self, request: Request) -> Response:
        """The outcomes as server-sent events: each holds the list as it is then."""
        session, _ = self.pages.signed_in(request)
        running = self._running(request, session)

        async def events() -> AsyncIterator[str]:
            async for _ in running.changes():
                if not self.pages.is_open(request):
                    return
                html = self.pages.fragment(
                    request, "uitkomsten.html.j2", **self._shown(running, request.path_params["id"])
                )
                yield f"data: {json.dumps(html)}\n\n"
            yield "event: klaar\ndata: \n\n"

        return StreamingResponse(events(), media_type="text/event-stream")

    async def receipt(self, request: Request) -> Response:
        """The signed receipt of a lookup that has ended."""
        session, _ = self.pages.signed_in(request)
        running = self._running(request, session)
        if running.receipt is None:
            raise HTTPException(404)
        return Response(
            json.dumps(running.receipt.to_json(), indent=1) + "\n",
            media_type="application/json",
            headers={"content-disposition": 'attachment; filename="ontvangstbewijs.json"'},
        )

    async def forget(self, request: Request) -> Response:
        """The case is not taken in: what came is gone from this node at once, but for the sealed record."""
        session, _ = self.pages.signed_in(request)
        self._running(request, session)
        del session.shelf[request.path_params["id"]]
        return see_other("/bevragen?gewist")

    async def _form(
        self, request: Request, purpose: Purpose, officer: OfficerRef, draft: Draft, status: int = 200
    ) -> Response:
        covenant = self.covenant()
        reach = await self._open(purpose, officer)
        requester = covenant.requesters(purpose.id)[self.oin]
        return self.pages.render(
            request,
            "bevragen.html.j2",
            status,
            purpose=purpose,
            draft=draft,
            marks=marks_of(purpose),
            conditions=[one for one in purpose.conditions if one.checked_by is CheckedBy.REQUESTER],
            partners=self._partners(covenant, purpose, reach),
            principals=[covenant.participants[oin] for oin in sorted(requester.on_behalf_of)],
            for_itself=requester.for_itself,
            budget=self.asker.budget(officer.user, purpose.id),
            in_all=self.asker.budget(officer.user, ALL_PURPOSES),
        )

    async def _open(self, purpose: Purpose, officer: OfficerRef) -> dict[str, str | None]:
        """Fetch the filters of everybody who may be asked; gives what is known of each after a moment."""
        sources = [oin for oin in self.covenant().sources(purpose.id) if oin != self.oin]
        requester = self.covenant().requesters(purpose.id)[self.oin]
        principal = None if requester.for_itself else min(requester.on_behalf_of, default=None)
        try:
            openable = self.asker.openable(purpose.id, sources, principal, officer.role)
        except RefusedError:
            return {}
        task = asyncio.ensure_future(self.asker.open_purpose(purpose.id, openable, principal))
        self._opening.add(task)
        task.add_done_callback(self._opening.discard)
        with contextlib.suppress(TimeoutError, BekendError):
            return await asyncio.wait_for(asyncio.shield(task), OPEN_SECONDS)
        return {}

    def _partners(self, covenant: Covenant, purpose: Purpose, reach: dict[str, str | None]) -> list[dict[str, Any]]:
        """Every partner that the purpose names, and how and when it would answer."""
        return [
            {
                "participant": covenant.participants[oin],
                "contact": self.contact(oin),
                "when": _when(source, reach.get(oin, "onderweg"), self.clock.now()),
            }
            for oin, source in covenant.sources(purpose.id).items()
            if oin != self.oin
        ]

    def _purpose(self, request: Request, person: Person) -> tuple[Purpose, OfficerRef]:
        """The purpose of the address, and the role in which this person may use it. Raises HTTPException."""
        covenant = self.covenant()
        purpose = covenant.purposes.get(f"{request.path_params['covenant']}/{request.path_params['purpose']}")
        if purpose is None:
            raise HTTPException(404)
        role = _role(covenant, self.oin, purpose, person)
        if role is None:
            raise HTTPException(403)
        return purpose, OfficerRef(person.user, person.name, role)

    def _running(self, request: Request, session: Session) -> Running:
        found = session.shelf.get(request.path_params["id"])
        if not isinstance(found, Running):
            raise HTTPException(404)
        if found.expires <= self.clock.now():
            del session.shelf[request.path_params["id"]]
            raise HTTPException(404)
        return found

    def _shown(self, running: Running, name: str) -> dict[str, Any]:
        """What the page of outcomes says."""
        covenant = self.covenant()
        purpose = covenant.purposes[running.purpose]
        by_partner: dict[str, list[Any]] = {}
        for one in sorted(running.outcomes, key=lambda it: it.person):
            by_partner.setdefault(one.oin, []).append(one)
        asked = [oin for oin in running.chosen if oin in covenant.participants]
        settled = {oin for oin in asked if len(by_partner.get(oin, [])) == running.persons}
        silent = {one.oin for one in running.outcomes if one.outcome is OutcomeKind.NO_ANSWER}
        dates = sorted(one.as_of for one in running.outcomes if one.as_of)
        return {
            "id": name,
            "running": running,
            "purpose": purpose,
            "partners": [
                {"participant": covenant.participants[oin], "outcomes": by_partner.get(oin, [])} for oin in asked
            ],
            "not_chosen": [
                {"participant": covenant.participants[oin], "outcomes": found}
                for oin, found in by_partner.items()
                if oin not in asked
            ],
            "answered": len(settled - silent),
            "asked": len(asked),
            "oldest": dates[0] if dates else None,
            "hints": self._hints(covenant, purpose, running),
        }

    def _hints(self, covenant: Covenant, purpose: Purpose, running: Running) -> list[tuple[str, ...]]:
        """The next lawful step per person, as text; once all have answered, since each answer may change it."""
        heard = {OutcomeKind.KNOWN, OutcomeKind.INCONCLUSIVE}
        if not running.done or all(one.outcome not in heard for one in running.outcomes):
            return []
        kinds = {
            person: {
                str(covenant.participants[one.oin].kind)
                for one in running.outcomes
                if one.person == person and one.outcome is OutcomeKind.KNOWN
            }
            for person in range(running.persons)
        }
        return [
            hint(str(purpose.frame), kinds[person], covenant.agreement.route_map) for person in range(running.persons)
        ]


def _role(covenant: Covenant, oin: str, purpose: Purpose, person: Person) -> str | None:
    """The first of a person's roles that this organisation may use this purpose in."""
    requester = covenant.requesters(purpose.id).get(oin)
    return next((role for role in person.roles if requester is not None and role in requester.roles), None)


def _when(source: Source, code: str | None, now: datetime) -> dict[str, str]:
    """When this partner would answer: a key of the texts, and its values."""
    if source.mode.value == "nooit":
        return {"key": "partner.nooit", "reden": source.reason or ""}
    if code == "onderweg":
        return {"key": "partner.onderweg"}
    if code is not None:
        return {"key": "partner.onbereikbaar"}
    if source.mode.by_machine:
        return {"key": "partner.direct"}
    until = (now + (source.reply_term or now - now)).astimezone(AMSTERDAM)
    return {"key": "partner.uiterlijk", "moment": f"{until:%d-%m-%Y %H:%M}"}
