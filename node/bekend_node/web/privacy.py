"""The privacy officer's pages: what is agreed, what stands still, what waits, and use in figures.

    GET  /privacy                       the covenant and who signed, suspensions, what waits, the logs
    GET  /privacy/convenant             who may ask whom for what, and in which mode
    GET  /privacy/convenant/verslag     the whole covenant as one file, to read and to print
    POST /privacy/stilzetting/tekst     a suspension to sign, off line
    POST /privacy/stilzetting           a signed note, into force
    POST /privacy/gebruik               use in figures: a reading of the log, on the record

Sealed records are opened on the command line, off line: no page can. Who may read the log is said by `log_readers` in
node.yaml, who may suspend by the covenant; the role only opens the pages.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, Final

from bekend_policy.log_use import Days, uses
from bekend_policy.matrix import grids
from bekend_policy.report import report_page
from bekend_policy.signatures import signatures
from bekend_policy.suspension import Suspension, Suspensions, What, reason_of
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, KeysError, MalformedError, RefusedError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.log_reading import LogReading
from bekend_node.rules import Rules
from bekend_node.suspending import Install
from bekend_node.web.pages import Pages, attachment, said_of, see_other, typed, typed_day, written

ROLE: Final = "privacy-officer"
"""Opens these pages."""

ROOMS: Final = (
    ("/privacy/convenant/volgende", "kamer.volgende"),
    ("/privacy/uitstel", "kamer.uitstel"),
    ("/privacy/afscherming", "kamer.afscherming"),
    ("/privacy/steekproef", "kamer.steekproeven"),
    ("/privacy/logboek", "kamer.logboek"),
    ("/privacy/signalen", "kamer.signalen"),
    ("/privacy/noodgrepen", "kamer.noodgrepen"),
    ("/onterecht", "kamer.onterecht"),
)
"""The privacy officer's other pages: `privacy_work.py`, `privacy_oversight.py`, `privacy_eyes.py`, `correcting.py`."""

FEW: Final = 5
"""A figure below this is not shown: it might be about one person."""


@dataclass
class PrivacyPages:
    """Pages for the privacy officer. `rules` gives the rules in force, `status` the facts of the running node."""

    pages: Pages
    rules: Callable[[], Rules]
    held: Suspensions
    install: Install
    log_reading: LogReading
    status: Callable[[], Mapping[str, Any]]
    audits: Callable[[], int]
    """How many audits have no result yet."""
    versions: Callable[[], int]
    """How many versions of the covenant are here that are not in force."""
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/privacy", self.overview, methods=["GET"]),
            Route("/privacy/convenant", self.covenant, methods=["GET"]),
            Route("/privacy/convenant/verslag", self.report, methods=["GET"]),
            Route("/privacy/stilzetting/tekst", self.draft, methods=["POST"]),
            Route("/privacy/stilzetting", self.suspend, methods=["POST"]),
            Route("/privacy/gebruik", self.use, methods=["POST"]),
        ]

    async def overview(self, request: Request) -> Response:
        """How everything stands."""
        self.pages.in_role(request, ROLE)
        return self._overview(request)

    async def covenant(self, request: Request) -> Response:
        """The covenant in force: every purpose with its matrix."""
        self.pages.in_role(request, ROLE)
        covenant = self.rules().covenant
        return self.pages.render(
            request, "convenant.html.j2", covenant=covenant, grids=grids(covenant, day_of(self.clock.now()))
        )

    async def report(self, request: Request) -> Response:
        """The report of `bekend policy report`, to keep: it has its own style and needs no network."""
        self.pages.in_role(request, ROLE)
        text = report_page(self.rules().covenant, day_of(self.clock.now()))
        return attachment(text, "convenant.html", "text/html")

    async def draft(self, request: Request) -> Response:
        """A suspension of the own node, or of the own answers under a purpose; or the withdrawal of one."""
        self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            text = self._text(form)
        except KeysError as fault:
            return self._overview(request, {"tekst": said_of(fault)}, form)
        return attachment(text, "stilzetting.txt")

    async def suspend(self, request: Request) -> Response:
        """Put a signed note into force, as `bekend node suspend` does: who signed decides, not who brings it."""
        self.pages.in_role(request, ROLE)
        form = await request.form()
        # A browser sends its own line ends; what was signed has one kind.
        note = str(form.get("bericht", "")).replace("\r\n", "\n").strip() + "\n"
        try:
            await self.install(note.encode())
        except MalformedError:
            return self._overview(request, {"bericht": "privacy.geen_bericht"}, form)
        except BekendError as fault:
            reason = fault.reason if isinstance(fault, RefusedError) else fault.detail
            return self._overview(request, {"bericht": reason}, form)
        return see_other("/privacy?stilzetting")

    async def use(self, request: Request) -> Response:
        """Counts per purpose and rule over some days. The reading itself goes on the record first."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            first, last = (typed_day(form, name) for name in ("vanaf", "tot"))
        except ValueError:
            return self._overview(request, {"gebruik": "privacy.geen_dag"}, form)
        counts: Counter[tuple[str, bool, str]] = Counter()
        try:
            async for found in self.log_reading.read(person.user, "adl", Days(first, last), typed(form, "waarvoor")):
                counts.update(_counted(one, self.rules().oin) for one in found)
        except RefusedError as refusal:
            return self._overview(request, {"gebruik": refusal.reason}, form)
        titles = {id_: one.title for id_, one in self.rules().covenant.purposes.items()}
        rows = [
            {"purpose": titles.get(purpose, purpose), "own": own, "rule": rule, "count": count, "few": count < FEW}
            for (purpose, own, rule), count in sorted(counts.items())
        ]
        return self.pages.render(request, "gebruik.html.j2", rows=rows, first=first, last=last, few=FEW)

    def _overview(
        self, request: Request, faults: Mapping[str, str] | None = None, form: FormData | None = None
    ) -> Response:
        """`faults`: a field and what is wrong with it, a key of the texts or a sentence."""
        rules, now, node = self.rules(), self.clock.now(), self.status()
        today = day_of(now)
        filled = {"vanaf": written(today - timedelta(days=29)), "tot": written(today)}
        filled |= {name: typed(form, name) if form else "" for name in ("reden", "bericht", "wat", "waarvoor")}
        if form:
            filled |= {name: typed(form, name) for name in ("vanaf", "tot") if name in form}
        suspended = self.held.in_force(rules.covenant, now)
        return self.pages.render(
            request,
            "privacy.html.j2",
            422 if faults else 200,
            covenant=rules.covenant,
            signatures=list(signatures(rules.covenant)),
            untested=sum(len(one.untested) for one in rules.covenant.purposes.values()),
            suspended=[(one, reason_of(one, rules.covenant)) for one in suspended],
            own=[one for one in suspended if one.by == rules.oin],
            served=[rules.covenant.purposes[one] for one in rules.answered()],
            node=node,
            waits=self._waits(node),
            rooms=ROOMS,
            uses=uses(rules.covenant),
            faults=faults or {},
            filled=filled,
            done="stilzetting" in request.query_params,
        )

    def _waits(self, node: Mapping[str, Any]) -> list[tuple[str, str, int]]:
        """What waits for the privacy officer: where, a key of the texts, and how many."""
        found = [
            ("/privacy/logboek", "kamer.alarm", len(node["log"]["alarms"])),
            ("/privacy/noodgrepen", "kamer.noodgreep_laat", node["emergencies"]["overdue"]),
            ("/privacy/noodgrepen", "kamer.noodgreep", node["emergencies"]["open"]),
            ("/privacy/uitstel", "kamer.uitstel_te_doen", node["deferrals"]["due"]),
            ("/privacy/uitstel", "kamer.uitstel_wacht", node["deferrals"]["pending"]),
            ("/privacy/convenant/volgende", "kamer.versie", self.versions()),
            ("/privacy/steekproef", "kamer.steekproef", self.audits()),
            ("/privacy/steekproef", "kamer.bewaren", node["retention_waits"]),
            ("/privacy/afscherming", "kamer.stil", sum(one["halted"] for one in node["purposes"].values())),
        ]
        return [one for one in found if one[2]]

    def _text(self, form: FormData) -> str:
        """The text to sign, with the number that comes next. Raises KeysError."""
        rules = self.rules()
        wanted, lifted = typed(form, "wat").removeprefix("op:"), typed(form, "wat").startswith("op:")
        what = What.PURPOSE if wanted in rules.answered() else What.NODE
        if what is What.NODE and wanted != rules.oin:
            raise KeysError(self.pages.text("privacy.geen_wat"))
        moment = self.clock.now().replace(microsecond=0)
        found = Suspension(
            rules.covenant.id, 1, rules.oin, what, wanted, reason=typed(form, "reden"), since=moment, lifted=lifted
        )
        return replace(found, number=self.held.number(found) + 1).text()


def _counted(record: Mapping[str, Any], oin: str) -> tuple[str, bool, str]:
    """Purpose, whether this organisation asked, and the rule of a refusal (empty when it was allowed)."""
    request, response = record["body"]["adl.core.request"], record["body"]["adl.core.response"]
    rule = "" if response["decision"] else str(response["context"]["id"])
    return request["resource"]["id"], request["subject"]["id"] == oin, rule
