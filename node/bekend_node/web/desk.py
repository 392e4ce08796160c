"""The desk's pages: what waits, a request, a decision; and this organisation's standing decisions.

    GET  /loket                          what waits, by deadline, in parts; the standing decisions
    GET  /loket/verzoek/VERZOEK          a request, without the person; a decision can be undone here
    POST /loket/verzoek/VERZOEK          the same with the person: that somebody looked is recorded
    POST /loket/verzoek/VERZOEK/ACT      vrijgeven, weigeren, overdragen, ongedaan
    GET  /loket/besluit/CONVENANT/DOEL   a standing decision, and what to draft
    POST /loket/besluit/CONVENANT/DOEL/ACT    nieuw, intrekken: a text to sign, off line

The number of a person is in the reply to one POST, which nobody may keep, and nowhere else. Every rule is that of the
desk itself: a role only opens the pages, and who may decide what is said by `desk_staff` in node.yaml.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

from bekend_policy.justification import warnings
from bekend_policy.model import Mode, Source
from bekend_policy.standing import StandingDecision, check_standing
from bekend_policy.suspension import Suspension, Suspensions, What
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import KeysError, RefusedError
from starlette.datastructures import FormData
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.desk.decisions import Desk
from bekend_node.rules import Rules
from bekend_node.web.pages import Pages, attachment, said_of, see_other, typed, typed_day, written
from bekend_node.web.paging import Part, part_of

ROLE: Final = "loket"
"""Opens these pages."""

SOON: Final = timedelta(days=30)
"""A standing decision that ends within this is shown as ending."""

_DONE: Final = {"vrijgeven": "vrijgegeven", "weigeren": "geweigerd", "overdragen": "overgedragen", "ongedaan": "terug"}
_AT: Final = "bij"
"""Names the item, in an address of the list, whose part of the list is to be shown."""

_AT_FORM: Final = frozenset({"grond", "toelichting", "toestemming", "niet-in-lijst", "collega", "vergelijken"})
"""Rules of which the refusal is shown at the form: something else can be chosen there."""

_CHOOSE: Final = frozenset({"grond", "collega"})
"""Rules of which the reason lists what a command takes; a page shows that already."""


@dataclass
class DeskPages:
    """Pages for who decides. `rules` gives the rules in force, `held` the suspensions."""

    pages: Pages
    desk: Desk
    rules: Callable[[], Rules]
    held: Suspensions
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        item, decision = "/loket/verzoek/{item}", "/loket/besluit/{covenant}/{purpose}"
        return [
            Route("/loket", self.waiting, methods=["GET"]),
            Route(item, self.look, methods=["GET"]),
            Route(item, self.show, methods=["POST"]),
            Route(item + "/{act}", self.act, methods=["POST"]),
            Route(decision, self.standing, methods=["GET"]),
            Route(decision + "/{act}", self.draft, methods=["POST"]),
        ]

    async def waiting(self, request: Request) -> Response:
        """What waits, by deadline, without anything about a person."""
        user = self._user(request)
        try:
            found, purposes = self.desk.listed(user), self.desk.purposes(user)
        except RefusedError as refusal:
            return self._refused(request, refusal)
        done = next((one for one in _DONE.values() if one in request.query_params), "")
        standing = [self._standing(purpose, source) for purpose, source in self._by_standing(purposes)]
        at = request.query_params.get(_AT, "")

        def part(name: str, *, decided: bool) -> Part[dict[str, Any]]:
            those = [one for one in found.places if one.is_open is not decided]
            cut = part_of(request, name, those, lambda one: one.name == at)
            # Only these are opened: the list may be long.
            return cut.showing([_with_moment(one) for one in self.desk.summaries(user, cut.shown)])

        return self.pages.render(
            request,
            "loket.html.j2",
            open=part("wacht", decided=False),
            decided=part("beslist", decided=True),
            privacy_officer=found.privacy_officer,
            done=done,
            standing=standing,
        )

    async def look(self, request: Request) -> Response:
        """A request, before the person is shown."""
        user = self._user(request)
        try:
            item = self._summary(user, request.path_params["item"])
        except RefusedError as refusal:
            return self._refused(request, refusal)
        return self.pages.render(request, "verzoek.html.j2", item=item)

    async def show(self, request: Request) -> Response:
        """The request with the person."""
        user = self._user(request)
        form = await request.form()
        return await self._shown(request, user, absent="afwezig" in form)

    async def act(self, request: Request) -> Response:
        """Release, refuse, hand over, undo; on what can be mended the request again, with what is wrong."""
        user, act = self._user(request), request.path_params["act"]
        if act not in _DONE:
            raise HTTPException(404)
        form = await request.form()
        absent, seen = "afwezig" in form, "gezien" in form
        noted = _noted(form)
        if noted and not seen:
            return await self._shown(request, user, absent=absent, act=act, form=form, warned=noted)
        try:
            await self._act(user, act, request.path_params["item"], form, absent=absent)
        except RefusedError as refusal:
            if refusal.rule in _AT_FORM:
                return await self._shown(request, user, absent=absent, act=act, form=form, fault=refusal)
            return self._refused(request, refusal)
        return see_other(f"/loket?{_DONE[act]}&{_AT}={request.path_params['item']}")

    async def standing(self, request: Request) -> Response:
        """A standing decision as it is, and the forms for what could be signed."""
        return self._standing_page(request, self._user(request))

    async def draft(self, request: Request) -> Response:
        """A text for the ondertekenaar: a standing decision, or a suspension that withdraws one."""
        user, act = self._user(request), request.path_params["act"]
        purpose, _ = self._named(request, user)
        form = await request.form()
        try:
            if act == "nieuw":
                return attachment(self._decision(purpose, form), "standaardbesluit.txt")
            if act == "intrekken":
                return attachment(self._withdrawal(purpose, form), "stilzetting.txt")
        except KeysError as fault:
            return self._standing_page(request, user, act=act, form=form, fault=said_of(fault))
        raise HTTPException(404)

    # --- requests

    async def _act(self, user: str, act: str, name: str, form: FormData, *, absent: bool) -> None:
        ground, text = typed(form, "grond") or None, typed(form, "toelichting")
        if act == "vrijgeven":
            compared = typed(form, "vergeleken") == "ja"
            await self.desk.release(user, name, ground=ground, text=text, absent=absent, compared=compared)
        elif act == "weigeren":
            await self.desk.refuse(user, name, ground=ground, text=text, absent=absent)
        elif act == "overdragen":
            await self.desk.hand_over(user, name, to=typed(form, "collega") or None, absent=absent)
        else:
            await self.desk.undo(user, name, absent=absent)

    async def _shown(
        self,
        request: Request,
        user: str,
        *,
        absent: bool,
        act: str = "",
        form: FormData | None = None,
        fault: RefusedError | None = None,
        warned: tuple[str, ...] = (),
    ) -> Response:
        try:
            item = await self.desk.show(user, request.path_params["item"], absent=absent)
        except RefusedError as refusal:
            return self._refused(request, refusal)
        filled = {name: typed(form, name) if form else "" for name in ("grond", "toelichting", "collega", "vergeleken")}
        return self.pages.render(
            request,
            "persoon.html.j2",
            422 if fault or warned else 200,
            item=_with_moment(item),
            absent=absent,
            act=act,
            filled=filled,
            fault=fault,
            choose=fault is not None and fault.rule in _CHOOSE,
            warned=warned,
        )

    def _summary(self, user: str, name: str) -> dict[str, Any]:
        try:
            return _with_moment(self.desk.summary(user, name))
        except RefusedError as refusal:
            if refusal.rule == "onbekend-verzoek":
                raise HTTPException(404) from None
            raise

    def _user(self, request: Request) -> str:
        return self.pages.in_role(request, ROLE)[1].user

    def _refused(self, request: Request, refusal: RefusedError) -> Response:
        status = 403 if refusal.rule == "onbevoegd" else 409
        item = request.path_params.get("item", "")
        return self.pages.render(request, "loket_geweigerd.html.j2", status, refusal=refusal, item=item)

    # --- standing decisions

    def _by_standing(self, purposes: frozenset[str]) -> list[tuple[str, Source]]:
        served = self.rules().answered()
        return [(one, source) for one, source in served.items() if one in purposes and source.mode is Mode.STANDING]

    def _standing(self, purpose: str, source: Source) -> dict[str, Any]:
        """How the decision for a purpose stands."""
        rules, now = self.rules(), self.clock.now()
        decision = rules.standing.get(purpose)
        stopped = [
            one for one in self.held.in_force(rules.covenant, now) if one.what is What.PURPOSE and one.about == purpose
        ]
        ends = decision is not None and decision.valid_until - now <= SOON
        return {
            "purpose": rules.covenant.purposes[purpose],
            "source": source,
            "decision": decision,
            "state": "geen" if decision is None else _state(decision, now, ends=ends),
            "stopped": stopped,
            "signer": rules.covenant.participants[rules.oin].name,
        }

    def _named(self, request: Request, user: str) -> tuple[str, Source]:
        """The purpose of the address. Raises HTTPException when it is none of this colleague's."""
        purpose = f"{request.path_params['covenant']}/{request.path_params['purpose']}"
        try:
            found = dict(self._by_standing(self.desk.purposes(user)))
        except RefusedError:
            raise HTTPException(403) from None
        if purpose not in found:
            raise HTTPException(404)
        return purpose, found[purpose]

    def _standing_page(
        self, request: Request, user: str, *, act: str = "", form: FormData | None = None, fault: str = ""
    ) -> Response:
        purpose, source = self._named(request, user)
        today = day_of(self.clock.now())
        last = today + timedelta(days=364)
        filled = {"vanaf": written(today), "tot": written(last), "besluit": "", "reden": ""}
        if form is not None:
            filled |= {name: typed(form, name) for name in filled if name in form}
        found = self._standing(purpose, source)
        return self.pages.render(
            request, "besluit.html.j2", 422 if fault else 200, one=found, act=act, filled=filled, fault=fault
        )

    def _decision(self, purpose: str, form: FormData) -> str:
        """The text of a new decision, which the covenant asks for. Raises KeysError."""
        rules = self.rules()
        try:
            first, last = (typed_day(form, name) for name in ("vanaf", "tot"))
        except ValueError:
            raise KeysError(self.pages.text("besluit.geen_dag")) from None
        if not typed(form, "besluit"):
            raise KeysError(self.pages.text("besluit.geen_tekst"))
        decision = StandingDecision(rules.covenant.id, rules.oin, purpose, first, last, typed(form, "besluit"))
        text = decision.text()
        check_standing(rules.covenant, decision)
        return text

    def _withdrawal(self, purpose: str, form: FormData) -> str:
        """The text of a suspension of the own source role, from now on. Raises KeysError."""
        rules = self.rules()
        moment = self.clock.now().replace(microsecond=0)
        found = Suspension(
            rules.covenant.id, 1, rules.oin, What.PURPOSE, purpose, reason=typed(form, "reden"), since=moment
        )
        return replace(found, number=self.held.number(found) + 1).text()


def _state(decision: StandingDecision, now: datetime, *, ends: bool) -> str:
    if not decision.in_force(now):
        return "straks" if now < decision.valid_from else "verlopen"
    return "bijna" if ends else "geldt"


def _with_moment(item: dict[str, Any]) -> dict[str, Any]:
    moments: dict[str, Any] = {name: datetime.fromisoformat(item[name]) for name in ("until", "asked") if name in item}
    return {**item, **moments}


def _noted(form: FormData) -> tuple[str, ...]:
    """What in the text may name somebody, to be read once more before it is kept."""
    return tuple(one.replace("de motivering", "de toelichting") for one in warnings(typed(form, "toelichting")))
