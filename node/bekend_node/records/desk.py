"""What the control socket does for the privacy officer: relay an access request; record, approve and end deferrals."""

import base64
import binascii
from collections.abc import Callable, Sequence
from datetime import date
from typing import Any

from bekend_policy.deferring import About, Deferral, check_approval, check_deferral, check_end
from bekend_policy.model import Covenant
from bekend_proto.channel import parse_strict
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, MalformedError, RefusedError, code_name
from bekend_proto.v1 import signed_pb2

from bekend_node.ask.rules import OfficerRef
from bekend_node.control_messages import (
    AccessRelayRequest,
    DeferApproveRequest,
    DeferEndRequest,
    DeferRequest,
    RecordsRequest,
)
from bekend_node.records.relay import Relay, reason_of
from bekend_node.store_deferrals import Deferrals

Reply = dict[str, Any]


class RecordsDesk:
    """Serves these operations. `covenant` gives the covenant in force."""

    def __init__(
        self, oin: str, relay: Relay, deferrals: Deferrals, covenant: Callable[[], Covenant], clock: Clock
    ) -> None:
        self._oin = oin
        self._relay = relay
        self._deferrals = deferrals
        self._covenant = covenant
        self._clock = clock

    async def handle(self, request: RecordsRequest, officers: Sequence[OfficerRef]) -> Reply:
        """The reply to one request of a user who is these officers. Raises RefusedError, StorageError."""
        if isinstance(request, AccessRelayRequest):
            return await self._access(request)
        if isinstance(request, DeferRequest):
            return await self._defer(request, _person(officers))
        if isinstance(request, DeferApproveRequest):
            return await self._approve(request.number, _person(officers), officers)
        if isinstance(request, DeferEndRequest):
            return await self._end(request, _person(officers))
        return {"type": "result", "deferrals": [to_json(one, self._today) for one in self._deferrals.all()]}

    @property
    def _today(self) -> date:
        return day_of(self._clock.now())

    async def _access(self, request: AccessRelayRequest) -> Reply:
        try:
            raw = base64.b64decode(request.request, validate=True)
        except (binascii.Error, ValueError):
            raise MalformedError("an access request is relayed in base64") from None
        try:
            response = await self._relay.send(parse_strict(signed_pb2.Signed, raw))
        except BekendError as error:
            # Its own words: this is about no person, and the privacy officer has to know what to do.
            return {"type": "error", "code": code_name(error.code), "reason": reason_of(error)}
        reply = response.SerializeToString(deterministic=True)
        return {"type": "result", "response": base64.b64encode(reply).decode("ascii"), "months": len(response.months)}

    async def _defer(self, request: DeferRequest, by: OfficerRef) -> Reply:
        try:
            review = date.fromisoformat(request.review_on)
        except ValueError:
            raise RefusedError("uitstel", "De datum voor de herbeoordeling schrijft u als jjjj-mm-dd.") from None
        it = Deferral(
            number=0,
            about=About(request.about),
            reference=request.reference,
            purpose=request.purpose,
            ground=request.ground,
            author=by.user,
            author_name=by.name,
            at=self._clock.now(),
            review_on=review,
        )
        check_deferral(self._covenant(), self._oin, it, self._today)
        return self._one(await self._deferrals.record(it))

    async def _approve(self, number: int, by: OfficerRef, officers: Sequence[OfficerRef]) -> Reply:
        check_approval(self._deferrals.get(number), by.user, frozenset(one.name for one in officers), self._today)
        await self._deferrals.step(number, "approved", by.user, "", self._clock.now())
        return self._one(number)

    async def _end(self, request: DeferEndRequest, by: OfficerRef) -> Reply:
        check_end(self._deferrals.get(request.number), self._today)
        await self._deferrals.step(request.number, "ended", by.user, request.reason, self._clock.now())
        return self._one(request.number)

    def _one(self, number: int) -> Reply:
        return {"type": "result", "deferral": to_json(self._deferrals.get(number), self._today)}


def to_json(one: Deferral, today: date) -> dict[str, Any]:
    """A deferral as JSON values."""
    return {
        "number": one.number,
        "about": one.about.value,
        "reference": one.reference,
        "purpose": one.purpose,
        "ground": one.ground,
        "author": one.author,
        "approved_by": one.approved_by,
        "ended_by": one.ended_by,
        "review_on": one.review_on.isoformat(),
        "state": one.state(today).name.lower(),
    }


def _person(officers: Sequence[OfficerRef]) -> OfficerRef:
    """The user as an officer. Raises RefusedError: a deferral has an author with a name."""
    if not officers:
        raise RefusedError("onbekende-medewerker", "Alleen een medewerker uit node.yaml legt uitstel vast.")
    return officers[0]
