"""What the privacy officer watches: the next covenant, the logs and their witnesses, misuse signals.

    GET  /privacy/convenant/volgende    each version that is proposed or awaited: what changes, who signed, who has to
    POST /privacy/convenant/volgende    fetch what the broker has
    GET  /privacy/logboek               checkpoints, who cosigned and when, alarms
    GET  /privacy/signalen              the form: reading signals is itself on the record
    POST /privacy/signalen              the signals of some days, in parts

Nothing here accepts a version or clears an alarm: that is the operator's, on the node's own machine.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from bekend_policy.log_use import Days
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, RefusedError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.covenants import Proposed
from bekend_node.log_health import LogHealth
from bekend_node.rules import Rules
from bekend_node.signal_reading import SignalReading
from bekend_node.web.pages import Pages, see_other, typed, typed_day, written
from bekend_node.web.paging import part_of
from bekend_node.web.privacy import ROLE


@dataclass
class PrivacyOversight:
    """Pages for these. `proposed` and `fetch` look at, and bring, versions; `logs` and `own_log` tell of the logs."""

    pages: Pages
    rules: Callable[[], Rules]
    proposed: Callable[[], Awaitable[Sequence[Proposed]]]
    fetch: Callable[[], Awaitable[object]]
    logs: Callable[[], Awaitable[Sequence[LogHealth]]]
    own_log: Callable[[], tuple[int, int]]
    signals: SignalReading
    status: Callable[[], Mapping[str, Any]]
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/privacy/convenant/volgende", self.next_covenant, methods=["GET"]),
            Route("/privacy/convenant/volgende", self.fetched, methods=["POST"]),
            Route("/privacy/logboek", self.health, methods=["GET"]),
            Route("/privacy/signalen", self.ask_signals, methods=["GET"]),
            Route("/privacy/signalen", self.show_signals, methods=["POST"]),
        ]

    async def next_covenant(self, request: Request) -> Response:
        """The versions that are not in force yet, against the one that is."""
        self.pages.in_role(request, ROLE)
        return await self._next(request)

    async def fetched(self, request: Request) -> Response:
        """Bring what the broker has. Nothing comes into force by it."""
        self.pages.in_role(request, ROLE)
        try:
            await self.fetch()
        except BekendError as fault:
            return await self._next(request, fault.detail)
        return see_other("/privacy/convenant/volgende?opgehaald")

    async def _next(self, request: Request, fault: str = "") -> Response:
        try:
            versions = await self.proposed()
        except BekendError as error:
            versions, fault = [], fault or error.detail
        return self.pages.render(
            request,
            "volgende.html.j2",
            422 if fault else 200,
            covenant=self.rules().covenant,
            versions=[_shown(one) for one in versions],
            fault=fault,
            done="opgehaald" in request.query_params,
        )

    async def health(self, request: Request) -> Response:
        """How the logs stand, after a look at them."""
        self.pages.in_role(request, ROLE)
        logs = await self.logs()
        size, signed = self.own_log()
        return self.pages.render(request, "logboek.html.j2", logs=logs, node=self.status(), own=size, signed=signed)

    async def ask_signals(self, request: Request) -> Response:
        """The form."""
        self.pages.in_role(request, ROLE)
        return self._signals(request)

    async def show_signals(self, request: Request) -> Response:
        """The signals of these days; that somebody read them is on the record first."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            first, last = (typed_day(form, name) for name in ("vanaf", "tot"))
        except ValueError:
            return self._signals(request, form, self.pages.text("privacy.geen_dag"))
        try:
            found = await self.signals.listed(person.user, Days(first, last))
        except RefusedError as refusal:
            return self._signals(request, form, refusal.reason)
        return self._signals(request, form, found=found)

    def _signals(
        self,
        request: Request,
        form: FormData | None = None,
        fault: str = "",
        found: Sequence[int] | None = None,
    ) -> Response:
        """`found` is shown in parts; each that is turned to is a reading by itself, and no other is opened."""
        today = day_of(self.clock.now())
        filled = {"vanaf": written(today - timedelta(days=6)), "tot": written(today)}
        filled |= {name: typed(form, name) for name in filled if form is not None and name in form}
        those = None if found is None else part_of(request, "signaal", found)
        return self.pages.render(
            request,
            "signalen.html.j2",
            422 if fault else 200,
            found=those and those.showing(self.signals.opened(those.shown)),
            fault=fault,
            filled=filled,
        )


def _shown(one: Proposed) -> dict[str, Any]:
    """A version for the page: the sentences of its difference, grouped under the headings that they stand below."""
    groups: list[tuple[str, list[str]]] = [("", [])]
    for line in one.changes[1:]:
        if line.startswith("  "):
            groups[-1][1].append(line.strip())
        elif line:
            groups.append((line, []))
    waiting = [it for it in one.signatures if it.state != "getekend"]
    return {
        "covenant": one.covenant,
        "accepted": one.accepted,
        "fault": one.fault,
        "groups": [(head, lines) for head, lines in groups if head or lines],
        "signed": [it for it in one.signatures if it.state == "getekend"],
        "waiting": [(it, [role for role, done in it.roles if not done]) for it in waiting],
    }
