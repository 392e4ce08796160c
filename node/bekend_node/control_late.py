"""What the control socket does after and beside a lookup: later answers, the consents they rest on, colleagues.

    {"op": "answers", "case": ..., "receipts": true}     what came, and what is still to come
    {"op": "consent", "purpose": ..., "case": ..., "partners": [...], "giver": "zelf", "date": ..., "scope": ...,
     "born": ...}                                        a consent, on record
    {"op": "consents", "case": ...}                      the consents of a case
    {"op": "withdraw", "case": ..., "partners": [...]}   withdraw them; no partners: of all
    {"op": "colleague", "case": ..., "add": ...}         a colleague works on a case too; `remove`: no longer

An officer sees the questions that he asked himself and those of cases that a colleague added him to; with the reference
of a case also those of colleagues. What others asked only under the purposes that his own role may use. No operation
finds anything by a person.
"""

from collections.abc import Callable, Iterable, Sequence
from datetime import date

from bekend_policy.decide import case_fits
from bekend_policy.model import Covenant
from bekend_proto.errors import RefusedError

from bekend_node.ask.asker import Asker
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.consent import Consent, Given, Giver
from bekend_node.ask.late import late_receipt
from bekend_node.ask.pending import PendingQuestion
from bekend_node.ask.rules import OfficerRef
from bekend_node.ask.team import Team
from bekend_node.control_connection import Reply
from bekend_node.control_messages import (
    AnswersRequest,
    ColleagueRequest,
    ConsentRequest,
    ConsentsRequest,
    LateRequest,
    WithdrawRequest,
)
from bekend_node.store_team import Member


class LateDesk:
    """Answers such requests for an officer, in each of the officer's roles."""

    def __init__(
        self,
        asker: Asker,
        covenant: Callable[[], Covenant],
        oin: str,
        team: Team,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        """`waiting` is called when something waits for a colleague."""
        self._asker = asker
        self._covenant = covenant
        self._oin = oin
        self._team = team
        self._waiting = waiting

    async def handle(self, request: LateRequest, roles: Sequence[OfficerRef]) -> Reply:
        """Carry out one request. Raises RefusedError (rule, Dutch reason), StorageError."""
        if isinstance(request, AnswersRequest):
            return await self._answers(request, roles)
        if isinstance(request, ConsentRequest):
            return await self._record(request, roles)
        if isinstance(request, WithdrawRequest):
            return await self._withdraw(request, roles)
        if isinstance(request, ColleagueRequest):
            return await self._colleague(request, roles)
        return self._consents(request, roles)

    async def _answers(self, request: AnswersRequest, roles: Sequence[OfficerRef]) -> Reply:
        purposes, user, asking = self.purposes(roles), roles[0].user, self._asker.asking()
        added_to = asking.store.team.cases_of(user)

        def wanted(one: PendingQuestion) -> bool:
            if one.officer == user:
                return request.case in {None, one.case}
            if one.purpose not in purposes:
                return False
            return one.case == request.case if request.case else case_tag(asking.case_key, one.case) in added_to

        found = await self._asker.cases.late_answers(wanted)
        reply: Reply = {"type": "result", "answers": [one.to_json() for one in found]}
        if request.receipts:
            reply["receipts"] = [late_receipt(self._asker.asking(), one).to_json() for one in found]
        return reply

    async def _record(self, request: ConsentRequest, roles: Sequence[OfficerRef]) -> Reply:
        purpose = self._covenant().purposes.get(request.purpose)
        requester = self._covenant().requesters(request.purpose).get(self._oin) if purpose else None
        officer = next((one for one in roles if requester and one.role in requester.roles), None)
        if purpose is None or officer is None:
            raise RefusedError("onbekend-doel", "Onder dit doel stelt u geen vragen.")
        if not case_fits(purpose.case_pattern, request.case):
            reason = f"Het zaaknummer heeft niet de vorm die dit doel vraagt: {purpose.case.description}."
            raise RefusedError("zaaknummer", reason)
        given = Given(
            case=request.case,
            purpose=request.purpose,
            partners=tuple(request.partners),
            giver=Giver(request.giver),
            day=_day(request.date, "De datum van de toestemming"),
            scope=request.scope,
            born=_day(request.born, "De geboortedatum"),
        )
        return self._shown(await self._asker.cases.record_consent(given, officer))

    async def _withdraw(self, request: WithdrawRequest, roles: Sequence[OfficerRef]) -> Reply:
        purposes = self.purposes(roles)
        return self._shown(await self._asker.cases.withdraw_consent(request.case, request.partners, purposes, roles[0]))

    async def _colleague(self, request: ColleagueRequest, roles: Sequence[OfficerRef]) -> Reply:
        user, answers = roles[0].user, await self._answers(AnswersRequest(op="answers", case=request.case), roles)
        purposes = {one["purpose"] for one in answers["answers"]} & self.purposes(roles)
        # Without a purpose there is nothing to see of the case, and that is refused there.
        if request.add or not purposes:
            await self._team.add(request.case, request.add, purposes, user)
            self._waiting()
        if request.remove:
            await self._team.remove(request.case, request.remove)
        return {
            "type": "result",
            "on_case": _named(self._team.on_case(request.case)),
            "to_add": _named(one for one in self._team.of_purposes(purposes) if one.user != user),
        }

    def _consents(self, request: ConsentsRequest, roles: Sequence[OfficerRef]) -> Reply:
        purposes = self.purposes(roles)
        return self._shown([one for one in self._asker.cases.consents.of_case(request.case) if one.purpose in purposes])

    def _shown(self, found: Sequence[Consent]) -> Reply:
        names = {oin: one.name for oin, one in self._covenant().participants.items()}
        consents = [{**one.to_json(), "partner_name": names.get(one.partner, one.partner)} for one in found]
        return {"type": "result", "consents": consents}

    def purposes(self, roles: Sequence[OfficerRef]) -> frozenset[str]:
        """The purposes that these roles may use at this organisation."""
        held = {one.role for one in roles}
        covenant = self._covenant()
        return frozenset(
            purpose
            for purpose in covenant.purposes
            if (requester := covenant.requesters(purpose).get(self._oin)) is not None and held & requester.roles
        )


def _named(members: Iterable[Member]) -> list[dict[str, str]]:
    return [{"user": one.user, "name": one.name} for one in members]


def _day(text: str, what: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise RefusedError("datum", f"{what} is geen datum: schrijf jjjj-mm-dd.") from None
