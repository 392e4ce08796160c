"""What the control socket does for a second pair of eyes (FG-37): for who prepared a question, and for who looks along.

{"op": "eyes", "act": "list"}                                what waits for this officer, and what he prepared
{"op": "eyes", "act": "show", "id": ...}                     one of these; who judges it sees the persons
{"op": "eyes", "act": "agree" | "refuse", "id": ..., "reason": ...}
{"op": "eyes", "act": "withdraw", "id": ...}
{"op": "eyes", "act": "ask", "id": ...}                      ask what was agreed to: replies as `ask` does
{"op": "eyes", "act": "emergency", "id": ..., "reason": ...}     ask at once, where the purpose allows it: likewise
{"op": "eyes", "act": "review", "number": ..., "agreed": true, "reason": ...}    afterwards
"""

from collections.abc import Callable

from bekend_policy.model import Covenant

from bekend_node.ask.asker import Asker
from bekend_node.ask.emergency import WITHIN
from bekend_node.ask.four_eyes import AtScreen, Prepared, State
from bekend_node.ask.stream import Outcomes
from bekend_node.control_connection import Reply
from bekend_node.control_messages import EyesRequest
from bekend_node.store_emergencies import Emergency


class EyesDesk:
    """Answers such requests. `covenant` gives the covenant in force."""

    def __init__(self, asker: Asker, covenant: Callable[[], Covenant]) -> None:
        self._asker = asker
        self._covenant = covenant

    async def handle(self, request: EyesRequest, viewer: AtScreen) -> Reply:
        """Carry out one request that asks no partner. Raises RefusedError (rule, Dutch reason), StorageError."""
        eyes = self._asker.four_eyes
        match request.act:
            case "list":
                return self._list(viewer)
            case "show":
                return self._show(request.id, viewer)
            case "agree":
                return {"type": "result", **self._facts(eyes.agree(request.id, viewer))}
            case "refuse":
                self._asker.refuse_prepared(request.id, viewer, request.reason)
                return {"type": "result", "id": request.id, "state": State.REFUSED.value}
            case "withdraw":
                eyes.withdraw(request.id, viewer)
                return {"type": "result", "id": request.id}
        await self._asker.emergencies.review(request.number, viewer, agreed=request.agreed, text=request.reason)
        return {"type": "result", "number": request.number, "agreed": request.agreed}

    async def ask(self, request: EyesRequest, viewer: AtScreen) -> tuple[Outcomes, str]:
        """Begin to ask; gives the purpose too. Raises RefusedError, StorageError; then nothing has left."""
        purpose = self._asker.four_eyes.find(request.id, viewer).inquiry.purpose
        if request.act == "ask":
            return self._asker.ask_agreed(request.id, viewer), purpose
        return await self._asker.ask_in_emergency(request.id, viewer, request.reason), purpose

    def waits(self, one: Prepared) -> Reply:
        """The reply to a question that waits now."""
        return {"type": "waits", **self._facts(one)}

    def _list(self, viewer: AtScreen) -> Reply:
        eyes, emergencies = self._asker.four_eyes, self._asker.emergencies
        return {
            "type": "result",
            "judge": [self._facts(one) for one in eyes.others(viewer)],
            "own": [self._facts(one) for one in eyes.own(viewer)],
            "review": [self._urgent(one) for one in emergencies.waiting(viewer)],
            "own_emergencies": [self._urgent(one) for one in emergencies.own(viewer)],
        }

    def _show(self, id_: str, viewer: AtScreen) -> Reply:
        found = self._asker.four_eyes.find(id_, viewer)
        if found.by.user == viewer.user:
            return {"type": "result", **self._facts(found)}
        self._asker.four_eyes.look(id_, viewer)
        purpose = self._covenant().purposes[found.inquiry.purpose]
        return {
            "type": "result",
            **self._facts(found),
            "description": purpose.description,
            "grounds": [str(one) for one in purpose.requester_grounds],
            "on_behalf_of": self._name(found.inquiry.on_behalf_of) if found.inquiry.on_behalf_of else None,
            "confirmed": sorted(found.inquiry.settled(purpose, self._asker.today()).attested),
            "justification": found.inquiry.texts or None,
            "numbers": [{"kind": one.kind, "value": one.value} for one in found.inquiry.persons],
        }

    def _facts(self, one: Prepared) -> Reply:
        """Without the persons, and without what was written about them."""
        inquiry = one.inquiry
        purpose = self._covenant().purposes.get(inquiry.purpose)
        return {
            "id": one.id,
            "state": one.state.value,
            "purpose": inquiry.purpose,
            "title": purpose.title if purpose else inquiry.purpose,
            "emergency": purpose.emergency if purpose else None,
            "case": inquiry.case_reference,
            "officer": inquiry.officer.name,
            "partners": [self._name(oin) for oin in inquiry.sources],
            "persons": one.persons,
            "prepared": one.at.isoformat(timespec="seconds"),
            "until": one.until.isoformat(timespec="seconds"),
            "second": one.second.name if one.second else None,
            "reason": one.reason or None,
        }

    def _urgent(self, one: Emergency) -> Reply:
        purpose = self._covenant().purposes.get(one.purpose)
        return {
            "number": one.number,
            "purpose": one.purpose,
            "title": purpose.title if purpose else one.purpose,
            "case": one.case,
            "officer": one.officer_name,
            "reason": one.reason,
            "justification": one.justification,
            "partners": [self._name(oin) for oin in one.sources],
            "persons": one.persons,
            "asked": one.at.isoformat(timespec="seconds"),
            "until": one.due(WITHIN).isoformat(timespec="seconds"),
            "agreed": one.review.agreed if one.review else None,
            "second": one.review.by_name if one.review else None,
            "remark": one.review.text if one.review else None,
        }

    def _name(self, oin: str) -> str:
        partner = self._covenant().participants.get(oin)
        return partner.name if partner else oin
