"""What the privacy officer sees of noodgrepen (FG-37): how many wait for their review, and on the record which.

GET  /privacy/noodgrepen        how many wait, and how many too long
POST /privacy/noodgrepen        those of some days and all that wait, in parts; that somebody read them is on the record
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from bekend_policy.log_use import Days
from bekend_policy.model import Covenant
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import RefusedError
from starlette.datastructures import FormData
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.ask.asker import Asker
from bekend_node.ask.emergency import WITHIN
from bekend_node.signal_reading import SignalReading
from bekend_node.web.pages import Pages, typed_day, written
from bekend_node.web.paging import part_of
from bekend_node.web.privacy import ROLE

DAYS: Final = timedelta(days=27)


@dataclass
class EmergencyPages:
    """Pages for the privacy officer. `covenant` gives the covenant in force."""

    pages: Pages
    asker: Asker
    reading: SignalReading
    covenant: Callable[[], Covenant]
    clock: Clock

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [
            Route("/privacy/noodgrepen", self.form, methods=["GET"]),
            Route("/privacy/noodgrepen", self.read, methods=["POST"]),
        ]

    async def form(self, request: Request) -> Response:
        """How many there are to review; nothing about one of them."""
        self.pages.in_role(request, ROLE)
        return self._page(request)

    async def read(self, request: Request) -> Response:
        """Which they are. Who may read the log may read these."""
        _, person = self.pages.in_role(request, ROLE)
        form = await request.form()
        try:
            first, last = (typed_day(form, name) for name in ("vanaf", "tot"))
        except ValueError:
            return self._page(request, form, self.pages.text("privacy.geen_dag"))
        try:
            found = await self.reading.emergencies(person.user, Days(first, last), self.asker.emergencies)
        except RefusedError as refusal:
            return self._page(request, form, refusal.reason)
        return self._page(request, form, found=found)

    def _page(
        self,
        request: Request,
        form: FormData | None = None,
        fault: str = "",
        found: Sequence[int] | None = None,
    ) -> Response:
        """`found` is shown in parts; each that is turned to is a reading by itself, and no other is opened."""
        now = self.clock.now()
        today = day_of(now)
        days = {"vanaf": written(today - DAYS), "tot": written(today)}
        titles = {id_: one.title for id_, one in self.covenant().purposes.items()}
        those = None if found is None else part_of(request, "noodgreep", found)
        return self.pages.render(
            request,
            "noodgrepen.html.j2",
            422 if fault else 200,
            tally=self.asker.emergencies.tally(),
            fault=fault,
            filled={name: str(form.get(name, "")) if form else value for name, value in days.items()},
            found=those
            and those.showing(
                [
                    {
                        "it": one,
                        "title": titles.get(one.purpose, one.purpose),
                        "until": one.due(WITHIN),
                        "late": one.review is None and one.due(WITHIN) <= now,
                    }
                    for one in self.asker.emergencies.opened(those.shown)
                ]
            ),
        )
