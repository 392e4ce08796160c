"""Somebody was wrongly `bekend` (FG-26): report it, have the answer taken back here, and take the letter along.

    GET  /onterecht              the form; ?bij=ID fills in the case of a page of this session
    POST /onterecht              report; on to
    GET  /onterecht/ID           what was done, and what is left to do
    GET  /onterecht/ID/brief     the letter to the partner's desk, to fill in and send by a way of its own

For officers, about cases under the purposes of their own roles, and for the privacy officer about any case. The rules
are those of `bekend zaak onterecht`.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from bekend_policy.model import Covenant
from bekend_policy.terms import Participant
from bekend_proto.errors import RefusedError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.correcting import Report
from bekend_node.control_late import LateDesk
from bekend_node.store_corrections import Correction
from bekend_node.web.pages import Pages, attachment, officers_of, see_other, typed
from bekend_node.web.privacy import ROLE as PRIVACY_ROLE
from bekend_node.web.running import Running
from bekend_node.web.sessions import Person, Session
from bekend_node.web.shelf import LONGEST_CASE, CaseView, on_shelf, shelved


@dataclass(frozen=True, slots=True)
class Made:
    """One report of this session."""

    number: int
    partner: str
    letter: bytes = field(repr=False)


@dataclass
class CorrectingPages:
    """Pages for such reports. `covenant` gives the covenant in force, `oin` is this organisation."""

    pages: Pages
    asker: Asker
    desk: LateDesk
    covenant: Callable[[], Covenant]
    oin: str

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/onterecht", self.form, methods=["GET"]),
            Route("/onterecht", self.report, methods=["POST"]),
            Route("/onterecht/{id}", self.made, methods=["GET"]),
            Route("/onterecht/{id}/brief", self.letter, methods=["GET"]),
        ]

    async def form(self, request: Request) -> Response:
        """The empty form, or with the case from which somebody came."""
        session, person = self.pages.signed_in(request)
        purposes = self._purposes(person)
        filled = {"zaak": _case_of(session, request.query_params.get("bij", ""))}
        return self._form(request, person, purposes, filled)

    async def report(self, request: Request) -> Response:
        """Take it back, and make the letter; or the form again with what is wrong."""
        session, person = self.pages.signed_in(request)
        purposes = self._purposes(person)
        form = await request.form()
        filled = {name: typed(form, name) for name in ("zaak", "partner", "persoon", "reden")}
        partner = self.covenant().participants.get(filled["partner"])
        number = filled["persoon"]
        if not filled["zaak"] or len(filled["zaak"]) > LONGEST_CASE:
            return self._form(request, person, purposes, filled, "zaak")
        if partner is None:
            return self._form(request, person, purposes, filled, "partner")
        if number and not (number.isascii() and number.isdigit() and len(number) == 1):
            return self._form(request, person, purposes, filled, "persoon")
        made = Report(filled["zaak"], partner.oin, filled["reden"], person.user, int(number) if number else None)
        try:
            done = await self.asker.cases.correct(made, purposes)
        except RefusedError as refusal:
            return self._form(request, person, purposes, filled, refusal=refusal.reason)
        return see_other(f"/onterecht/{shelved(session, Made(done.number, partner.oin, done.letter))}")

    async def made(self, request: Request) -> Response:
        """What was done."""
        session, person = self.pages.signed_in(request)
        found = on_shelf(session, request.path_params["id"], Made)
        partner = self.covenant().participants[found.partner]
        return self.pages.render(
            request,
            "onterecht_gemeld.html.j2",
            id=request.path_params["id"],
            number=found.number,
            partner=partner,
            back="/privacy" if PRIVACY_ROLE in person.roles else "/zaken",
        )

    async def letter(self, request: Request) -> Response:
        """The letter: a page of its own that needs nothing else."""
        session, _ = self.pages.signed_in(request)
        found = on_shelf(session, request.path_params["id"], Made)
        return attachment(found.letter, f"onterecht-{found.number}.html", "text/html")

    def _form(
        self,
        request: Request,
        person: Person,
        purposes: Collection[str] | None,
        filled: dict[str, str],
        fault: str = "",
        *,
        refusal: str = "",
    ) -> Response:
        return self.pages.render(
            request,
            "onterecht.html.j2",
            422 if fault or refusal else 200,
            partners=self._partners(purposes),
            filled={"zaak": "", "partner": "", "persoon": "", "reden": ""} | filled,
            fault=fault,
            refusal=refusal,
            reports=self._reports() if PRIVACY_ROLE in person.roles else [],
            back="/privacy" if PRIVACY_ROLE in person.roles else "/zaken",
        )

    def _reports(self) -> list[tuple[Correction, str]]:
        """What was reported, the newest first, with the partner's name: for the privacy officer."""
        names = {oin: one.name for oin, one in self.covenant().participants.items()}
        return [(one, names.get(one.source, one.source)) for one in reversed(self.asker.cases.all_corrections())]

    def _partners(self, purposes: Collection[str] | None) -> list[Participant]:
        """Who may have been asked: the sources of these purposes, or of all."""
        covenant = self.covenant()
        asked = covenant.purposes if purposes is None else purposes
        oins = {oin for purpose in asked for oin in covenant.sources(purpose)} - {self.oin}
        return sorted((covenant.participants[oin] for oin in oins), key=lambda one: one.name)

    def _purposes(self, person: Person) -> Collection[str] | None:
        """Those that this person may report about, None for all. Raises HTTPException 403."""
        if PRIVACY_ROLE in person.roles:
            return None
        found = self.desk.purposes(officers_of(person))
        if not found:
            raise HTTPException(403)
        return found


def _case_of(session: Session, id_: str) -> str:
    found = session.shelf.get(id_)
    return found.case if isinstance(found, CaseView | Running) else ""
