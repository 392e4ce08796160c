"""What the privacy officer does on pages: informing deferred, a purpose halted to shield somebody, audits to answer.

    GET  /privacy/uitstel                 every deferral that stands, in parts, and the form
    POST /privacy/uitstel                 record one
    POST /privacy/uitstel/NUMMER/goed     approve another's
    POST /privacy/uitstel/NUMMER/einde    end it
    GET  /privacy/afscherming             how many are shielded, what stands still for it, the form
    POST /privacy/afscherming             halt a purpose until its next switch
    GET  /privacy/steekproef              the audits: what is drawn, in parts, by when, what came of it; the forms
    POST /privacy/steekproef              the auditor's checkpoint
    POST /privacy/steekproef/uitslag      the auditor's signed result

Whoever may is decided by the objects behind the commands. No page shows a person: who is shielded is typed at
`bekend node shield`, and sealed records are opened off line.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from bekend_policy.deferring import State
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import RefusedError
from bekend_proto.ledger.sample import Selected
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.audit.requests import Asked, AuditDesk
from bekend_node.config import SHIELDED
from bekend_node.control_messages import (
    DeferApproveRequest,
    DeferEndRequest,
    DeferListRequest,
    DeferRequest,
    RecordsRequest,
)
from bekend_node.halting import Halting
from bekend_node.records.desk import RecordsDesk
from bekend_node.rules import Rules
from bekend_node.store_audits import AuditRequest
from bekend_node.web.pages import Pages, officers_of, see_other, typed, typed_day, written
from bekend_node.web.paging import Part, part_of
from bekend_node.web.privacy import ROLE
from bekend_node.web.sessions import Person

LONGEST = 4000
"""Characters of a field, as the control socket takes them."""

WEEKS = 8
"""Weeks to choose from as the period of an audit."""

_AT = "bij"
"""Names the deferral, in an address of the list, whose part of the list is to be shown."""


@dataclass
class PrivacyWork:
    """Pages for these. `rules` gives the rules in force, `status` the facts of the running node."""

    pages: Pages
    rules: Callable[[], Rules]
    records: RecordsDesk
    halting: Halting
    audits: AuditDesk
    status: Callable[[], Mapping[str, Any]]
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/privacy/uitstel", self.deferrals, methods=["GET"]),
            Route("/privacy/uitstel", self.defer, methods=["POST"]),
            Route("/privacy/uitstel/{number:int}/goed", self.approve, methods=["POST"]),
            Route("/privacy/uitstel/{number:int}/einde", self.end, methods=["POST"]),
            Route("/privacy/afscherming", self.shielding, methods=["GET"]),
            Route("/privacy/afscherming", self.halt, methods=["POST"]),
            Route("/privacy/steekproef", self.audit, methods=["GET"]),
            Route("/privacy/steekproef", self.audit_asked, methods=["POST"]),
            Route("/privacy/steekproef/uitslag", self.audit_answered, methods=["POST"]),
        ]

    # --- informing deferred

    async def deferrals(self, request: Request) -> Response:
        """Every deferral that was not ended, what waits first."""
        _, person = self.pages.in_role(request, ROLE)
        return await self._deferrals(request, person)

    async def defer(self, request: Request) -> Response:
        """Record one: it counts from a second person's approval on."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            review = typed_day(form, "herbeoordeling")
        except ValueError:
            return await self._deferrals(request, person, self.pages.text("privacy.geen_dag"), form=form)
        if not typed(form, "doel"):
            return await self._deferrals(request, person, self.pages.text("privacy.geen_doel"), form=form)
        wanted = DeferRequest(
            op="defer",
            about="vraag" if typed(form, "over") == "vraag" else "zaak",
            reference=typed(form, "kenmerk")[:200] or "-",
            purpose=typed(form, "doel")[:100],
            ground=typed(form, "grond")[:LONGEST],
            review_on=review.isoformat(),
        )
        return await self._deferring(request, person, wanted, form)

    async def approve(self, request: Request) -> Response:
        """Approve what another person recorded."""
        _, person = self.pages.in_role(request, ROLE)
        number = request.path_params["number"]
        return await self._deferring(request, person, DeferApproveRequest(op="defer-approve", number=max(1, number)))

    async def end(self, request: Request) -> Response:
        """End one, with a reason."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        number, reason = request.path_params["number"], typed(form, "reden")[:600]
        if not reason:
            return await self._deferrals(request, person, self.pages.text("uitstel.geen_reden"), number)
        return await self._deferring(
            request, person, DeferEndRequest(op="defer-end", number=max(1, number), reason=reason)
        )

    async def _deferring(
        self, request: Request, person: Person, wanted: RecordsRequest, form: FormData | None = None
    ) -> Response:
        try:
            reply = await self.records.handle(wanted, officers_of(person))
        except RefusedError as refusal:
            return await self._deferrals(request, person, refusal.reason, request.path_params.get("number", 0), form)
        return see_other(f"/privacy/uitstel?gedaan&{_AT}={reply['deferral']['number']}")

    async def _deferrals(
        self, request: Request, person: Person, fault: str = "", number: int = 0, form: FormData | None = None
    ) -> Response:
        """`fault` stands at the deferral with this number, whose part is shown; at the form when it is 0."""
        reply = await self.records.handle(DeferListRequest(op="defer-list"), officers_of(person))
        found = [{**one, "state": State[one["state"].upper()]} for one in reply["deferrals"]]
        order = [State.DUE, State.PENDING, State.IN_FORCE]
        rules = self.rules()
        own = {id_: one for id_, one in rules.covenant.purposes.items() if one.deferral is not None}
        review = written(day_of(self.clock.now()) + timedelta(days=30))
        filled = {"over": "zaak", "kenmerk": "", "doel": "", "grond": "", "herbeoordeling": review}
        filled |= {name: typed(form, name) for name in filled if form is not None and name in form}
        standing = sorted((one for one in found if one["state"] in order), key=lambda one: order.index(one["state"]))
        sought = str(number) if number else request.query_params.get(_AT, "")
        return self.pages.render(
            request,
            "uitstel.html.j2",
            422 if fault else 200,
            deferrals=part_of(request, "uitstel", standing, lambda one: str(one["number"]) == sought),
            ended=sum(one["state"] is State.ENDED for one in found),
            user=person.user,
            purposes=[one for id_, one in own.items() if self._takes_part(rules, id_)],
            titles={id_: one.title for id_, one in rules.covenant.purposes.items()},
            states=State,
            fault=fault,
            at=number,
            filled=filled,
            done="gedaan" in request.query_params,
        )

    @staticmethod
    def _takes_part(rules: Rules, purpose: str) -> bool:
        return rules.oin in rules.covenant.requesters(purpose) or rules.oin in rules.covenant.sources(purpose)

    # --- shielding

    async def shielding(self, request: Request) -> Response:
        """How many are shielded: a count, and nothing of anybody."""
        self.pages.in_role(request, ROLE)
        return self._shielding(request)

    async def halt(self, request: Request) -> Response:
        """Stop a purpose until its next switch."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        purpose, reason = typed(form, "doel"), typed(form, "reden")
        if not purpose:
            return self._shielding(request, self.pages.text("privacy.geen_doel"), {"doel": purpose, "reden": reason})
        try:
            await self.halting.halt(purpose, reason, person.user)
        except RefusedError as refusal:
            return self._shielding(request, refusal.reason, {"doel": purpose, "reden": reason})
        return see_other("/privacy/afscherming?gedaan")

    def _shielding(self, request: Request, fault: str = "", filled: Mapping[str, str] | None = None) -> Response:
        rules, node = self.rules(), self.status()
        titles = {id_: one.title for id_, one in rules.covenant.purposes.items()}
        return self.pages.render(
            request,
            "afscherming.html.j2",
            422 if fault else 200,
            lists=[
                {**one, "title": titles.get(one["purpose"], one["purpose"])}
                for one in node["registers"]
                if one["register"] == SHIELDED
            ],
            halted=[(titles[purpose], until) for purpose, until in self.halting.halted().items()],
            served=[(id_, titles[id_], self.halting.until(id_)) for id_ in rules.answered()],
            fault=fault,
            filled=filled or {"doel": "", "reden": ""},
            done="gedaan" in request.query_params,
        )

    # --- audits

    async def audit(self, request: Request) -> Response:
        """The audits of the own Questions."""
        self.pages.in_role(request, ROLE)
        return self._audit(request)

    async def audit_asked(self, request: Request) -> Response:
        """The auditor's checkpoint, with its period and the day by which the opening is wanted."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            period, due = self._period(form), typed_day(form, "uiterlijk")
        except ValueError:
            return self._audit(request, {"punt": self.pages.text("privacy.geen_dag")}, form)
        if period is None:
            return self._audit(request, {"punt": self.pages.text("steekproef.geen_periode")}, form)
        try:
            await self.audits.ask(_note(form, "punt"), *period, due, person.user)
        except RefusedError as refusal:
            return self._audit(request, {"punt": refusal.reason}, form)
        return see_other("/privacy/steekproef?gevraagd")

    async def audit_answered(self, request: Request) -> Response:
        """The result that the auditor signed."""
        self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            await self.audits.answer(_note(form, "uitslag"))
        except RefusedError as refusal:
            return self._audit(request, {"uitslag": refusal.reason}, form)
        return see_other("/privacy/steekproef?uitslag")

    def _audit(
        self, request: Request, faults: Mapping[str, str] | None = None, form: FormData | None = None
    ) -> Response:
        rules, today = self.rules(), day_of(self.clock.now())
        weeks = self._weeks()
        filled = {
            "periode": next(iter(weeks)),
            "van": "",
            "tot": "",
            "uiterlijk": written(today + timedelta(days=28)),
            "punt": "",
            "uitslag": "",
        }
        filled |= {name: typed(form, name) for name in filled if form is not None and name in form}
        names = {oin: one.name for oin, one in rules.covenant.participants.items()}
        asked_for = request.query_params.keys()
        those = part_of(request, "steekproef", self.audits.requests(), lambda one: _questions(one) in asked_for)

        def shown(one: Asked) -> tuple[Asked, bool, Part[Selected]]:
            return one, one.is_late(today), part_of(request, _questions(one.request), one.drawn)

        return self.pages.render(
            request,
            "steekproef.html.j2",
            422 if faults else 200,
            # Only what is shown is drawn anew: each reads the log of a whole period.
            audits=those.showing([shown(one) for one in self.audits.asked(those.shown)]),
            asked_for=asked_for,
            names=names,
            auditor=rules.covenant.agreement.auditor,
            weeks=weeks,
            faults=faults or {},
            filled=filled,
            done=next((one for one in ("gevraagd", "uitslag") if one in request.query_params), ""),
        )

    def _weeks(self) -> dict[str, tuple[date, date]]:
        """The last whole weeks, by their Monday, the newest first: an auditor draws from one of these as a rule."""
        today = day_of(self.clock.now())
        mondays = [today - timedelta(days=today.weekday(), weeks=back) for back in range(1, WEEKS + 1)]
        return {monday.isoformat(): (monday, monday + timedelta(days=6)) for monday in mondays}

    def _period(self, form: FormData) -> tuple[date, date] | None:
        """The week that was chosen, or the days that were typed; None when it is neither, or both.

        Raises ValueError for what is no day.
        """
        chosen, days = typed(form, "periode"), any(typed(form, name) for name in ("van", "tot"))
        if chosen:
            return None if days else self._weeks().get(chosen)
        return (typed_day(form, "van"), typed_day(form, "tot")) if days else None


def _questions(one: AuditRequest) -> str:
    """Names the list of what is drawn, in an address."""
    return f"vragen-{one.number}"


def _note(form: FormData, name: str) -> bytes:
    """A signed note as it was pasted. A browser sends its own line ends; what was signed has one kind."""
    return (str(form.get(name, "")).replace("\r\n", "\n").strip() + "\n").encode()
