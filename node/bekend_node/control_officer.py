"""What the control socket does for an officer besides asking.

{"op": "purposes"}                                          what this officer's role may ask, and what is left
{"op": "open", "purpose": ..., "sources": [...]}            fetch the filters, before a person is named
{"op": "raise", "officer": ..., "purpose": ..., "extra": 20, "reason": ...}     another's limit, for 24 hours
{"op": "lapse", "case": ...}                                a case was not taken in: destroy what came
{"op": "correct", "case": ..., "partner": ..., "reason": ...}    a partner was wrongly `bekend`; gives a letter
{"op": "consequence", "case": ..., "changed": true}         what came changed a decision, or not; once
"""

from collections.abc import Callable, Mapping

from bekend_policy.model import Covenant
from bekend_proto.errors import RefusedError

from bekend_node.ask.asker import Asker
from bekend_node.ask.budget import ALL_PURPOSES
from bekend_node.ask.correcting import Report
from bekend_node.ask.opening import expectations
from bekend_node.ask.rules import OfficerRef
from bekend_node.control_connection import Reply
from bekend_node.control_late import LateDesk
from bekend_node.control_messages import (
    ConsequenceRequest,
    CorrectRequest,
    LapseRequest,
    LateRequest,
    OfficerRequest,
    OpenRequest,
    RaiseRequest,
)
from bekend_node.control_purposes import purposes_for


class OfficerDesk:
    """Answers such requests. `officers`: the roles of each user of this machine; `late` what comes after a lookup."""

    def __init__(
        self,
        asker: Asker,
        officers: Mapping[str, list[OfficerRef]],
        covenant: Callable[[], Covenant],
        oin: str,
        late: LateDesk,
    ) -> None:
        self._asker = asker
        self._officers = officers
        self._covenant = covenant
        self._oin = oin
        self._late = late

    async def handle(self, request: OfficerRequest, roles: list[OfficerRef]) -> Reply:
        """Carry out one request, in the role that it needs. Raises RefusedError (rule, Dutch reason), StorageError."""
        if isinstance(request, OpenRequest):
            return await self._open_purpose(request, self.in_role(roles, request.purpose))
        if isinstance(request, LapseRequest | ConsequenceRequest | CorrectRequest):
            return await self._about_case(request, roles)
        if isinstance(request, RaiseRequest):
            return await self._raise(request, roles)
        if isinstance(request, LateRequest):
            return await self._late.handle(request, roles)
        return self._purposes(roles)

    def in_role(self, roles: list[OfficerRef], purpose: str) -> OfficerRef:
        """The officer in the role that this purpose admits; in the first one when it admits none."""
        found = self._covenant().purposes.get(purpose)
        admitted = found.asker.roles if found else ()
        return next((one for one in roles if one.role in admitted), roles[0])

    def left(self, user: str, purpose: str) -> Reply:
        """What the officer has left today: under the purpose, and over all purposes together."""
        named = {"purpose": purpose, "all": ALL_PURPOSES}
        return {name: self._asker.budget(user, id_).to_json() for name, id_ in named.items()}

    async def _about_case(
        self, request: LapseRequest | ConsequenceRequest | CorrectRequest, roles: list[OfficerRef]
    ) -> Reply:
        if isinstance(request, LapseRequest):
            found = await self._asker.cases.lapse(request.case, roles[0].user, self._late.purposes(roles))
            return {"type": "result", "lookups": found.lookups, "questions": found.questions}
        if isinstance(request, ConsequenceRequest):
            told = await self._asker.cases.consequence(
                request.case, self._late.purposes(roles), changed=request.changed
            )
            return {"type": "result", "purposes": told}
        report = Report(request.case, request.partner, request.reason, roles[0].user, request.person)
        made = await self._asker.cases.correct(report, self._late.purposes(roles))
        letter = made.letter.decode()
        return {"type": "result", "number": made.number, "questions": made.questions, "letter": letter}

    def _purposes(self, roles: list[OfficerRef]) -> Reply:
        found = [
            {**purpose, "role": one.role, "budget": self._asker.budget(one.user, purpose["id"]).to_json()}
            for one in roles
            for purpose in purposes_for(self._covenant(), self._oin, one.role)
        ]
        named = {purpose["id"]: purpose for purpose in reversed(found)}
        return {
            "type": "result",
            "officer": roles[0].name,
            "roles": [one.role for one in roles],
            "budget": self._asker.budget(roles[0].user, ALL_PURPOSES).to_json(),
            "purposes": [named[id_] for id_ in dict.fromkeys(purpose["id"] for purpose in found)],
        }

    async def _open_purpose(self, request: OpenRequest, officer: OfficerRef) -> Reply:
        """Filters that this role may use, and no others. Raises RefusedError."""
        chosen = self._asker.openable(request.purpose, request.sources, request.on_behalf_of, officer.role)
        faults = await self._asker.open_purpose(request.purpose, chosen, request.on_behalf_of)
        filters = {oin: code or "ok" for oin, code in faults.items()}
        answers = await expectations(self._asker.asking(), self._asker.shelf, request.purpose, chosen)
        budget = self.left(officer.user, request.purpose)
        return {"type": "result", "filters": filters, "answers": answers, "budget": budget}

    async def _raise(self, request: RaiseRequest, roles: list[OfficerRef]) -> Reply:
        """A second person raises an officer's limit. Raises RefusedError."""
        purpose = self._covenant().purposes.get(request.purpose)
        requester = self._covenant().requesters(request.purpose).get(self._oin) if purpose else None
        if purpose is None or requester is None:
            raise RefusedError("onbekend-doel", "Onder dit doel stelt uw organisatie geen vragen.")
        officers = self._officers.get(request.officer, [])
        if not any(one.role in requester.roles for one in officers):
            raise RefusedError("onbekende-medewerker", "Deze medewerker stelt onder dit doel geen vragen.")
        raising = purpose.raised.roles if purpose.raised else ()
        by = next((one for one in roles if one.role in raising), roles[0])
        # A person with two accounts is one person.
        if by.user != request.officer and {one.name for one in officers} & {one.name for one in roles}:
            raise RefusedError("verhoging", "Onder beide gebruikers staat dezelfde naam: vraag een tweede persoon.")
        until = await self._asker.raise_limit(
            request.officer, request.purpose, request.extra, by=by, reason=request.reason
        )
        budget = self._asker.budget(request.officer, request.purpose)
        return {"type": "result", "until": until.isoformat(timespec="seconds"), "limit": budget.limit}
