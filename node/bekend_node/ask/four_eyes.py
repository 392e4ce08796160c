"""Questions that wait for a second officer (FG-37): in memory alone, between preparing and asking.

    wacht          prepared by one officer; nothing has left, nothing was counted
    akkoord        another one looked at it and agreed: the first may ask it, once
    niet akkoord   another one did not, and wrote why
    verlopen       its end came first

The second is another person, at another session, in a role that the purpose itself admits: whoever judges a question
sees the person in it. What was prepared is never changed: an agreement holds for this question, under this version of
the covenant, until its end. It holds an identifier, so it ends within a working day, and no restart brings it back.
"""

import secrets
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from bekend_policy.decision_log import FOUR_EYES
from bekend_policy.justification import holds_bsn
from bekend_policy.model import Covenant, Purpose
from bekend_policy.raising import LONGEST_REASON, SHORTEST_REASON
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import RefusedError

from bekend_node.ask.rules import Inquiry, OfficerRef

RULE: Final = FOUR_EYES
EMERGENCY_RULE: Final = "noodgreep"
WAITS: Final = timedelta(hours=8)
"""A working day, and as long as a session at most."""
OF_ONE: Final = 20
"""Questions of one officer that may wait at once."""
NEEDS_SECOND: Final = "Bij deze vraag kijkt eerst een tweede medewerker mee. Er is nog niets gevraagd."
_GONE: Final = (
    "Deze vraag staat hier niet, of niet meer. Zij is gesteld, ingetrokken of verlopen, of de node is opnieuw gestart. "
    "Stel de vraag zo nodig opnieuw."
)


class State(StrEnum):
    """How a prepared question stands."""

    WAITING = "wacht"
    AGREED = "akkoord"
    REFUSED = "niet akkoord"
    LAPSED = "verlopen"


@dataclass(frozen=True, slots=True)
class AtScreen:
    """Who looks: a user with the names that the node knows him by, his roles, and the session that he looks from."""

    user: str
    names: tuple[str, ...]
    roles: tuple[str, ...]
    session: str = field(repr=False)

    @property
    def name(self) -> str:
        """For the record."""
        return self.names[0]


@dataclass(slots=True)
class Prepared:
    """A question that waits. `persons` counts those in it, also when it holds none any more."""

    id: str
    inquiry: Inquiry = field(repr=False)
    by: AtScreen
    covenant_hash: bytes = field(repr=False)
    at: datetime
    until: datetime
    persons: int
    state: State = State.WAITING
    second: OfficerRef | None = None
    reason: str = field(default="", repr=False)
    seen: set[tuple[str, str]] = field(default_factory=set, repr=False)

    def close(self, state: State) -> None:
        """Nothing will come of it: it forgets whom it was about."""
        self.state = state
        self.inquiry = replace(self.inquiry, persons=(), described=(), born=(), justification=None, reasons=())


class FourEyes:
    """What waits at one node. `covenant` gives the covenant in force, `oin` is this organisation."""

    def __init__(self, covenant: Callable[[], Covenant], oin: Callable[[], str], clock: Clock) -> None:
        self._covenant = covenant
        self._oin = oin
        self._clock = clock
        self._held: dict[str, Prepared] = {}

    def prepare(self, inquiry: Inquiry, by: AtScreen) -> Prepared:
        """Let a question wait. Raises RefusedError when too many of this officer wait."""
        self.tidy()
        waiting = [one for one in self._held.values() if one.by.user == by.user and one.inquiry.persons]
        if len(waiting) >= OF_ONE:
            raise RefusedError(RULE, f"Er wachten al {OF_ONE} vragen van u. Trek er een in, of wacht op uw collega.")
        now = self._clock.now()
        made = Prepared(
            id=secrets.token_hex(8),
            inquiry=inquiry,
            by=by,
            covenant_hash=self._covenant().hash,
            at=now,
            until=now + WAITS,
            persons=len(inquiry.persons),
        )
        self._held[made.id] = made
        logs.log(logs.FOUR_EYES, act="prepared", user=by.user, purpose=inquiry.purpose)
        return made

    def own(self, viewer: AtScreen) -> list[Prepared]:
        """What this user prepared, oldest first."""
        self.tidy()
        return [one for one in self._held.values() if one.by.user == viewer.user]

    def others(self, viewer: AtScreen) -> list[Prepared]:
        """What waits for a second officer and may be this one, what ends first in front."""
        self.tidy()
        found = [one for one in self._held.values() if one.state is State.WAITING and self._may_judge(one, viewer)]
        return sorted(found, key=lambda one: one.until)

    def find(self, id_: str, viewer: AtScreen) -> Prepared:
        """One that this user prepared, or may judge. Raises RefusedError; it tells nobody else that it is there."""
        found = self._get(id_)
        return found if found.by.user == viewer.user else self._to_judge(id_, viewer)

    def look(self, id_: str, viewer: AtScreen) -> Prepared:
        """The same for who is to judge it, who sees the persons in it. Raises RefusedError."""
        found = self._to_judge(id_, viewer)
        found.seen.add((viewer.user, viewer.session))
        logs.log(logs.FOUR_EYES, act="looked", user=viewer.user, purpose=found.inquiry.purpose)
        return found

    def agree(self, id_: str, viewer: AtScreen) -> Prepared:
        """The second officer agrees. Raises RefusedError."""
        found = self._judged(id_, viewer, "agreed")
        self._check_covenant(found)
        found.state, found.second = State.AGREED, self._second(found, viewer)
        return found

    def refuse(self, id_: str, viewer: AtScreen, reason: str) -> Inquiry:
        """The second officer does not agree; gives the question, for the record. Raises RefusedError."""
        checked = checked_reason(reason, RULE)
        found = self._judged(id_, viewer, "refused")
        inquiry, found.second, found.reason = found.inquiry, self._second(found, viewer), checked
        found.close(State.REFUSED)
        return inquiry

    def withdraw(self, id_: str, viewer: AtScreen) -> None:
        """The first officer takes it back. Raises RefusedError."""
        found = self._own(id_, viewer)
        del self._held[found.id]
        logs.log(logs.FOUR_EYES, act="withdrawn", user=viewer.user, purpose=found.inquiry.purpose)

    def agreed(self, id_: str, viewer: AtScreen) -> Inquiry:
        """The question that a second officer agreed to, for the first to ask; `spend` it then. Raises RefusedError."""
        found = self._own(id_, viewer)
        if found.state is not State.AGREED or found.second is None:
            raise RefusedError(RULE, _NOT_YET[found.state])
        self._check_covenant(found)
        return replace(found.inquiry, second=found.second)

    def urgent(self, id_: str, viewer: AtScreen, reason: str) -> Inquiry:
        """The question that the first asks at once, if the purpose allows it; `spend` it then. Raises RefusedError."""
        found = self._own(id_, viewer)
        if found.state is not State.WAITING:
            raise RefusedError(RULE, _NOT_YET[found.state])
        self._check_covenant(found)
        purpose = self._covenant().purposes[found.inquiry.purpose]
        if purpose.emergency is None:
            raise RefusedError(EMERGENCY_RULE, "Onder dit doel is geen noodgreep. Vraag een collega om mee te kijken.")
        return replace(found.inquiry, emergency=checked_reason(reason, EMERGENCY_RULE))

    def spend(self, id_: str) -> None:
        """It is asked now, and never again."""
        self._held.pop(id_, None)

    def forget_case(self, case: str) -> None:
        """A case was not taken in: nothing is asked for it any more."""
        for one in list(self._held.values()):
            if (one.inquiry.case_reference or "").strip() == case.strip():
                del self._held[one.id]

    def tidy(self) -> None:
        """Forget persons when a question has ended, and the question when there was time to see that."""
        now = self._clock.now()
        for one in list(self._held.values()):
            if one.until <= now and one.inquiry.persons:
                one.close(State.LAPSED)
            if one.until + WAITS <= now:
                del self._held[one.id]

    def _get(self, id_: str) -> Prepared:
        self.tidy()
        found = self._held.get(id_)
        if found is None:
            raise RefusedError(RULE, _GONE)
        return found

    def _own(self, id_: str, viewer: AtScreen) -> Prepared:
        found = self._get(id_)
        if found.by.user != viewer.user:
            raise RefusedError(RULE, _GONE)
        if found.inquiry.officer.role not in viewer.roles:
            raise RefusedError("rol", "U hebt de rol niet meer waarin u deze vraag klaarzette.")
        return found

    def _to_judge(self, id_: str, viewer: AtScreen) -> Prepared:
        found = self._get(id_)
        self._check_second(found, viewer)
        if found.state is not State.WAITING:
            raise RefusedError(RULE, f"Over deze vraag is al beslist: {found.state.value}.")
        return found

    def _judged(self, id_: str, viewer: AtScreen, act: str) -> Prepared:
        """For a judgement: only who looked at it, from this session, gives one."""
        found = self._to_judge(id_, viewer)
        if (viewer.user, viewer.session) not in found.seen:
            raise RefusedError(RULE, "Bekijk de vraag eerst: wie, waarvoor en waarom. Beslis daarna.")
        logs.log(logs.FOUR_EYES, act=act, user=viewer.user, purpose=found.inquiry.purpose)
        return found

    def _check_second(self, found: Prepared, viewer: AtScreen) -> None:
        check_other_person(viewer, found.by.user, found.by.names)
        if viewer.session == found.by.session:
            raise RefusedError(RULE, "Deze vraag is in dezelfde sessie klaargezet. De tweede medewerker logt zelf in.")
        self._second(found, viewer)

    def _may_judge(self, found: Prepared, viewer: AtScreen) -> bool:
        try:
            self._check_second(found, viewer)
        except RefusedError:
            return False
        return True

    def _second(self, found: Prepared, viewer: AtScreen) -> OfficerRef:
        role = role_under(self._covenant(), self._oin(), found.inquiry.purpose, viewer)
        return OfficerRef(viewer.user, viewer.name, role)

    def _check_covenant(self, found: Prepared) -> None:
        if found.covenant_hash != self._covenant().hash:
            raise RefusedError(RULE, "Het convenant is veranderd nadat dit was klaargezet. Stel de vraag opnieuw.")


_NOT_YET: Final = {
    State.WAITING: NEEDS_SECOND,
    State.AGREED: "Uw collega is al akkoord: stel de vraag gewoon.",
    State.REFUSED: "Uw collega is niet akkoord. Er is niets gevraagd.",
    State.LAPSED: "Deze vraag is verlopen voordat iemand meekeek. Er is niets gevraagd. Stel haar opnieuw.",
}


def role_under(covenant: Covenant, oin: str, purpose: str, viewer: AtScreen) -> str:
    """The role in which somebody may judge questions under a purpose: one that may ask them. Raises RefusedError."""
    requester = covenant.requesters(purpose).get(oin)
    role = next((one for one in viewer.roles if requester is not None and one in requester.roles), None)
    if role is None:
        raise RefusedError("rol", "Meekijken doet een collega met een rol die onder dit doel zelf mag vragen.")
    return role


def check_other_person(viewer: AtScreen, user: str, names: tuple[str, ...]) -> None:
    """Raise RefusedError when this may be the same person: a person with two accounts is one person."""
    if viewer.user == user:
        raise RefusedError(RULE, "U hebt deze vraag zelf klaargezet. Een ander moet meekijken.")
    if {_plain(one) for one in viewer.names} & {_plain(one) for one in names}:
        raise RefusedError(RULE, "Onder beide gebruikers staat dezelfde naam. Een ander moet meekijken.")


def checked_reason(reason: str, rule: str) -> str:
    """A reason that a human wrote, without a number of a person in it. Raises RefusedError."""
    text = reason.strip()
    if not SHORTEST_REASON <= len(text) <= LONGEST_REASON:
        raise RefusedError(rule, f"Schrijf waarom: {SHORTEST_REASON} tot en met {LONGEST_REASON} tekens.")
    if holds_bsn(text):
        raise RefusedError(rule, "In de reden staat een nummer dat een BSN kan zijn. Haal het weg.")
    return text


def needs_second(purpose: Purpose, *, listed: bool) -> bool:
    """Whether a second officer looks first: always under such a purpose, and always about a person on the own list."""
    return purpose.four_eyes or listed


def _plain(name: str) -> str:
    """A name however it is typed: capitals, accents written in two ways, and spaces make no other person."""
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())
