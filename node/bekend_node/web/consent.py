"""Consent: a page to turn towards the person, and the record of what that person said.

    GET  /toestemming                   purposes that need consent, and a case to look at
    POST /toestemming                   look at the consents of a case; on to
    GET  /toestemming/zaak/ID           they, each with what it covers; printable
    POST /toestemming/zaak/ID/intrekken     withdrawn: at once, here and at the partners
    GET  /toestemming/CONVENANT/DOEL    the page to turn: what is asked, per partner
    POST /toestemming/CONVENANT/DOEL    on record; then on to the case

Rules and record are those of `bekend toestemming`. The date of birth is in the body of one POST and nowhere after it.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final

from bekend_policy.model import Covenant, Purpose
from bekend_policy.words import ConditionForm
from bekend_proto.clock import AMSTERDAM, Clock, day_of
from bekend_proto.errors import RefusedError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.consent import Giver, consent_partners
from bekend_node.ask.rules import OfficerRef
from bekend_node.control_late import LateDesk
from bekend_node.control_messages import ConsentRequest, ConsentsRequest, WithdrawRequest
from bekend_node.web.pages import Pages, officers_of, see_other, typed, typed_day
from bekend_node.web.reach import Reach, When, principals_of
from bekend_node.web.sessions import Person
from bekend_node.web.shelf import LONGEST_CASE, CaseView, on_shelf, shelved

_FIELD_OF_RULE: Final[Mapping[str, str]] = {"zaaknummer": "zaak", "leeftijd": "geboren"}
_LONGEST_TEXT: Final = 2000


@dataclass(slots=True)
class Statement:
    """The form as it was filled in. The date of birth is not shown again: it is typed anew."""

    case: str = ""
    giver: str = ""
    day: str = ""
    scope: str = ""
    partners: list[str] = field(default_factory=list)
    faults: dict[str, str] = field(default_factory=dict)


@dataclass
class ConsentPages:
    """Pages for consent. `covenant` gives the covenant in force, `oin` is this organisation."""

    pages: Pages
    desk: LateDesk
    reach: Reach
    covenant: Callable[[], Covenant]
    oin: str
    contact: Callable[[str], str | None]
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        form, case = "/toestemming/{covenant}/{purpose}", "/toestemming/zaak/{id}"
        return [
            Route("/toestemming", self.choose, methods=["GET"]),
            Route("/toestemming", self.look, methods=["POST"]),
            Route(case, self.case, methods=["GET"]),
            Route(case + "/intrekken", self.withdraw, methods=["POST"]),
            Route(form, self.form, methods=["GET"]),
            Route(form, self.record, methods=["POST"]),
        ]

    async def choose(self, request: Request) -> Response:
        """Where consent is needed, and the way to the consents of a case."""
        person = self.pages.person(request)
        covenant = self.covenant()
        found = [
            one
            for one in covenant.purposes.values()
            if self._officer(one, person) is not None and consent_partners(covenant, one)
        ]
        return self.pages.render(request, "toestemmingen.html.j2", purposes=found)

    async def look(self, request: Request) -> Response:
        """Look at the consents of a case."""
        session, _ = self.pages.signed_in(request)
        case = str((await request.form()).get("zaak", "")).strip()
        if not case or len(case) > LONGEST_CASE:
            return see_other("/toestemming")
        return see_other(f"/toestemming/zaak/{shelved(session, CaseView(case))}")

    async def case(self, request: Request) -> Response:
        """The consents of a case."""
        return await self._case(request)

    async def withdraw(self, request: Request) -> Response:
        """Withdraw them, for one partner or for all. What came is destroyed when this returns."""
        session, person = self.pages.signed_in(request)
        case = on_shelf(session, request.path_params["id"], CaseView).case
        chosen = str((await request.form()).get("partner", ""))
        partners = [chosen] if chosen in self.covenant().participants else []
        if chosen and not partners:
            raise HTTPException(404)
        try:
            await self.desk.handle(WithdrawRequest(op="withdraw", case=case, partners=partners), officers_of(person))
        except RefusedError as refusal:
            return await self._case(request, self.pages.refusal(refusal), 422)
        return see_other(f"/toestemming/zaak/{request.path_params['id']}?ingetrokken")

    async def form(self, request: Request) -> Response:
        """What is asked of the person, and under it what the officer fills in."""
        purpose, officer = self._purpose(request)
        return await self._form(request, purpose, officer, Statement(day=day_of(self.clock.now()).isoformat()))

    async def record(self, request: Request) -> Response:
        """Put it on record."""
        session, person = self.pages.signed_in(request)
        purpose, officer = self._purpose(request)
        stated, born = _read(await request.form(), consent_partners(self.covenant(), purpose), self.pages.text)
        if not stated.faults:
            try:
                await self.desk.handle(_wanted(purpose, stated, born), officers_of(person))
            except RefusedError as refusal:
                stated.faults[_FIELD_OF_RULE.get(refusal.rule, "")] = self.pages.refusal(refusal)
            else:
                return see_other(f"/toestemming/zaak/{shelved(session, CaseView(stated.case))}?vastgelegd")
        return await self._form(request, purpose, officer, stated, 422)

    async def _form(
        self, request: Request, purpose: Purpose, officer: OfficerRef, stated: Statement, status: int = 200
    ) -> Response:
        covenant = self.covenant()
        asked = consent_partners(covenant, purpose)
        sources = {oin: one for oin, one in covenant.sources(purpose.id).items() if oin in asked and oin != self.oin}
        when = await self.reach.of(purpose, sources, officer, principals_of(covenant.requesters(purpose.id)[self.oin]))
        return self.pages.render(
            request,
            "toestemming.html.j2",
            status,
            purpose=purpose,
            stated=stated,
            months=_months(purpose),
            givers=[one.value for one in (Giver.SELF, Giver.BOTH, Giver.REPRESENTATIVE)],
            partners=[
                {"participant": covenant.participants[oin], "when": when[oin], "today": self._today(when[oin])}
                for oin in sources
            ],
        )

    def _today(self, when: When) -> bool:
        """Whether the answer is there today for certain."""
        if when.key != "partner.uiterlijk":
            return when.key == "partner.direct"
        until = datetime.fromisoformat(when.values["moment"]).astimezone(AMSTERDAM)
        return until.date() <= day_of(self.clock.now())

    async def _case(self, request: Request, fault: str = "", status: int = 200) -> Response:
        session, person = self.pages.signed_in(request)
        id_ = request.path_params["id"]
        case = on_shelf(session, id_, CaseView).case
        reply = await self.desk.handle(ConsentsRequest(op="consents", case=case), officers_of(person))
        return self.pages.render(
            request,
            "toestemming_zaak.html.j2",
            status,
            id=id_,
            case=case,
            fault=fault,
            consents=reply["consents"],
            standing=[one for one in reply["consents"] if one["withdrawn_at"] is None],
            titles={one.id: one.title for one in self.covenant().purposes.values()},
            contact=self.contact(self.oin),
            done=next((one for one in ("ingetrokken", "vastgelegd") if one in request.query_params), ""),
        )

    def _purpose(self, request: Request) -> tuple[Purpose, OfficerRef]:
        """The purpose of the address, for who may ask under it. Raises HTTPException."""
        person = self.pages.person(request)
        purpose = self.covenant().purposes.get(f"{request.path_params['covenant']}/{request.path_params['purpose']}")
        if purpose is None or not consent_partners(self.covenant(), purpose):
            raise HTTPException(404)
        officer = self._officer(purpose, person)
        if officer is None:
            raise HTTPException(403)
        return purpose, officer

    def _officer(self, purpose: Purpose, person: Person) -> OfficerRef | None:
        requester = self.covenant().requesters(purpose.id).get(self.oin)
        return next((one for one in officers_of(person) if requester and one.role in requester.roles), None)


def _read(form: FormData, allowed: frozenset[str], say: Callable[..., str]) -> tuple[Statement, date | None]:
    """What was filled in, and the date of birth apart; with a fault for what is missing or no date."""

    def text(name: str) -> str:
        return typed(form, name)[:_LONGEST_TEXT]

    day, born = _day(form, "datum"), _day(form, "geboren")
    giver = text("door")
    stated = Statement(
        case=text("zaak")[:LONGEST_CASE],
        giver=giver if giver in set(Giver) else "",
        day=day.isoformat() if day else "",
        scope=text("reikwijdte"),
        partners=[one for one in form.getlist("partner") if isinstance(one, str) and one in allowed],
    )
    filled = {
        "zaak": stated.case,
        "partners": stated.partners,
        "door": stated.giver,
        "datum": day,
        "geboren": born,
    }
    stated.faults = {name: say(f"toestemming.geen_{name}") for name, value in filled.items() if not value}
    return stated, born


def _wanted(purpose: Purpose, stated: Statement, born: date | None) -> ConsentRequest:
    assert born is not None
    return ConsentRequest(
        op="consent",
        purpose=purpose.id,
        case=stated.case,
        partners=stated.partners,
        giver=Giver(stated.giver).value,
        date=stated.day,
        scope=stated.scope,
        born=born.isoformat(),
    )


def _day(form: FormData, name: str) -> date | None:
    try:
        return typed_day(form, name)
    except ValueError:
        return None


def _months(purpose: Purpose) -> int | None:
    """How many months a consent counts under this purpose, where a condition says so."""
    return next((one.months_back for one in purpose.conditions if one.form is ConditionForm.CONSENT), None)
