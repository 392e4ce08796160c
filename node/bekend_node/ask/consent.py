"""Consents that officers recorded: who gave one, when, for what, for which partner; and whether it still stands.

A source of mode `toestemming`, and a condition of that form, rest on such a record of the same case, purpose and
partner (FG-10): the date that the rules judge is the record's, not what an officer types. Who may consent follows from
the age on the day of the consent (FG-38):

    under 12        the legal representative
    12 to 15        the person and the legal representative
    16 and over     the person

The verified date of birth is asked to check that, and kept nowhere. The record names nobody: a consent belongs to the
person of its case, so a case in which several persons are asked about needs a case reference of each one's own.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import StrEnum
from typing import Any, Final

from bekend_policy.decide import attested_by
from bekend_policy.model import Covenant, Purpose
from bekend_policy.words import ConditionForm, Mode
from bekend_proto import logs
from bekend_proto.clock import day_of, from_milliseconds
from bekend_proto.errors import RefusedError
from bekend_proto.v1 import signed_pb2
from nacl.secret import SecretBox

from bekend_node.ask.ages import age_on
from bekend_node.ask.case_reference import case_tag
from bekend_node.store_consent import ConsentRow, Consents

RULE: Final = "toestemming"
LONGEST_SCOPE: Final = 300
_ROOM: Final = 1024
"""What is sealed is a multiple of this long."""


class Giver(StrEnum):
    """Who consented."""

    SELF = "zelf"
    REPRESENTATIVE = "vertegenwoordiger"
    BOTH = "beiden"

    @property
    def on_the_wire(self) -> "signed_pb2.ConsentGiver.ValueType":
        """As it stands in a release message."""
        return _WIRE[self]


_WIRE: Final = {
    Giver.SELF: signed_pb2.CONSENT_GIVER_SELF,
    Giver.REPRESENTATIVE: signed_pb2.CONSENT_GIVER_REPRESENTATIVE,
    Giver.BOTH: signed_pb2.CONSENT_GIVER_BOTH,
}
_WHO: Final = {
    Giver.SELF: "Vanaf 16 jaar geeft de persoon zelf toestemming",
    Giver.BOTH: "Van 12 tot en met 15 jaar geven de persoon en de wettelijk vertegenwoordiger samen toestemming",
    Giver.REPRESENTATIVE: "Onder de 12 jaar geeft de wettelijk vertegenwoordiger toestemming",
}


@dataclass(frozen=True, slots=True)
class Consent:
    """One consent on record, for one partner. Moments are aware."""

    id: int
    case: str
    purpose: str
    partner: str
    giver: Giver
    day: date
    scope: str
    officer: str
    at: datetime
    withdrawn_by: str | None = None
    withdrawn_at: datetime | None = None

    @property
    def reference(self) -> str:
        """What names this record, also in a release message."""
        return f"T-{self.id}"

    def statement(self) -> signed_pb2.Consent:
        """What the source is told of it."""
        return signed_pb2.Consent(
            reference=self.reference, date=self.day.isoformat(), scope=self.scope, giver=self.giver.on_the_wire
        )

    def to_json(self) -> dict[str, str | None]:
        """The fields as JSON values."""
        return {
            "reference": self.reference,
            "case": self.case,
            "purpose": self.purpose,
            "partner": self.partner,
            "giver": self.giver.value,
            "date": self.day.isoformat(),
            "scope": self.scope,
            "officer": self.officer,
            "at": self.at.isoformat(timespec="seconds"),
            "withdrawn_by": self.withdrawn_by,
            "withdrawn_at": self.withdrawn_at.isoformat(timespec="seconds") if self.withdrawn_at else None,
        }


@dataclass(frozen=True, slots=True)
class Given:
    """A consent as an officer states it. `born` is the verified date of birth: for the check alone."""

    case: str
    purpose: str
    partners: tuple[str, ...]
    giver: Giver
    day: date
    scope: str
    born: date = field(repr=False)


def giver_of_age(age: int) -> Giver:
    """Who gives consent for a person of this age."""
    if age < 12:
        return Giver.REPRESENTATIVE
    return Giver.BOTH if age < 16 else Giver.SELF


class ConsentBook:
    """The record of consents of this node. `case_key` hashes case references, `state` seals the rest."""

    def __init__(self, rows: Consents, case_key: bytes, state: SecretBox) -> None:
        self._rows = rows
        self._case_key = case_key
        self._box = state

    async def record(self, covenant: Covenant, given: Given, now: datetime, *, user: str, role: str) -> list[Consent]:
        """Put a consent on record, per partner, as this officer stated it.

        Raises RefusedError (rule, Dutch reason), StorageError; then nothing was written.
        """
        check_given(covenant, given, day_of(now))
        facts = [_facts(given, partner, user, role) for partner in given.partners]
        ids = await self._rows.record(case_tag(self._case_key, given.case), [self._seal(one) for one in facts], now)
        logs.log(logs.CONSENT_RECORDED, officer=user, purpose=given.purpose, partners=len(ids))
        return [one for one in self.of_case(given.case) if one.id in ids]

    async def withdraw(
        self, case: str, partners: Sequence[str], purposes: Collection[str], now: datetime, *, user: str, role: str
    ) -> list[Consent]:
        """Withdraw the standing consents of a case under these purposes, of these partners or (none named) of all.

        Raises RefusedError when there is none.
        """
        found = [
            one
            for one in self.of_case(case)
            if one.withdrawn_at is None and one.purpose in purposes and (not partners or one.partner in partners)
        ]
        if not found:
            raise RefusedError(RULE, "Er is bij deze zaak geen toestemming die nog geldt.")
        facts = {"officer": user, "role": role, "at": _seconds(now)}
        await self._rows.withdraw(case_tag(self._case_key, case), [(one.id, self._seal(facts)) for one in found], now)
        logs.log(logs.CONSENT_WITHDRAWN, officer=user, partners=len(found))
        withdrawn = {one.id for one in found}
        return [one for one in self.of_case(case) if one.id in withdrawn]

    async def end_all(self, now: datetime, why: str) -> int:
        """Withdraw every consent that stands, after a restore: nobody here knows which of them ended since."""
        found = self._rows.standing()
        facts = {"officer": why, "role": "", "at": _seconds(now)}
        for tag in dict.fromkeys(tag for tag, _ in found):
            await self._rows.withdraw(tag, [(id_, self._seal(facts)) for other, id_ in found if other == tag], now)
        return len(found)

    def of_case(self, case: str) -> list[Consent]:
        """Every consent of a case, oldest first."""
        return [self._open(row) for row in self._rows.of_case(case_tag(self._case_key, case))]

    def standing(self, case: str, purpose: str) -> dict[str, Consent]:
        """Per partner the newest consent of this case and purpose that was not withdrawn."""
        return {one.partner: one for one in self.of_case(case) if one.purpose == purpose and one.withdrawn_at is None}

    def _seal(self, facts: Mapping[str, Any]) -> bytes:
        data = json.dumps(facts, ensure_ascii=False).encode()
        return bytes(self._box.encrypt(data.ljust(-(-len(data) // _ROOM) * _ROOM)))

    def _open(self, row: ConsentRow) -> Consent:
        facts = json.loads(self._box.decrypt(row.sealed))
        later = json.loads(self._box.decrypt(row.withdrawal)) if row.withdrawal is not None else None
        return Consent(
            id=row.id,
            case=facts["case"],
            purpose=facts["purpose"],
            partner=facts["partner"],
            giver=Giver(facts["giver"]),
            day=date.fromisoformat(facts["date"]),
            scope=facts["scope"],
            officer=facts["officer"],
            at=from_milliseconds(row.at),
            withdrawn_by=later["officer"] if later else None,
            withdrawn_at=datetime.fromisoformat(later["at"]) if later else None,
        )


def check_given(covenant: Covenant, given: Given, today: date) -> None:
    """Hold a consent against covenant and age rule. Raises RefusedError (rule, Dutch reason)."""
    purpose = covenant.purposes.get(given.purpose)
    if purpose is None:
        raise RefusedError("onbekend-doel", "Dit doel staat niet in het convenant. Kies een doel van uw organisatie.")
    asked = consent_partners(covenant, purpose)
    for partner in given.partners:
        if partner not in asked:
            raise RefusedError(RULE, f"Onder dit doel vraagt u {partner} niet met toestemming.")
    if not given.partners or len(set(given.partners)) != len(given.partners):
        raise RefusedError(RULE, "Noem elke partner voor wie de toestemming geldt, een keer.")
    if not given.scope.strip() or len(given.scope) > LONGEST_SCOPE:
        raise RefusedError(RULE, f"Schrijf waarvoor de toestemming geldt, in hoogstens {LONGEST_SCOPE} tekens.")
    if given.day > today:
        raise RefusedError(RULE, "De datum van de toestemming ligt in de toekomst.")
    if given.born > given.day:
        raise RefusedError("leeftijd", "De geboortedatum ligt na de datum van de toestemming. Controleer beide.")
    demanded = giver_of_age(age_on(given.born, given.day))
    if given.giver is not demanded:
        raise RefusedError("leeftijd", f"{_WHO[demanded]}. Leg vast wie toestemming gaf, of vraag die alsnog.")


def consent_partners(covenant: Covenant, purpose: Purpose) -> frozenset[str]:
    """The sources of a purpose that are asked with consent only: by their mode, or by a condition on asking them."""
    # Hundreds of sources are not looked through for a condition that the purpose does not have.
    by_condition = any(one.form is ConditionForm.CONSENT for one in purpose.conditions)
    return frozenset(
        one.oin
        for one in covenant.sources(purpose.id).values()
        if one.mode is Mode.CONSENT
        or (by_condition and one.mode is not Mode.NEVER and consent_conditions(purpose, attested_by(purpose, one)))
    )


def consent_conditions(purpose: Purpose, attests: Iterable[str]) -> tuple[str, ...]:
    """Those of these conditions that a consent fulfils."""
    named = set(attests)
    return tuple(one.id for one in purpose.conditions if one.form is ConditionForm.CONSENT and one.id in named)


def _facts(given: Given, partner: str, user: str, role: str) -> dict[str, str]:
    return {
        "case": given.case,
        "purpose": given.purpose,
        "partner": partner,
        "giver": given.giver.value,
        "date": given.day.isoformat(),
        "scope": given.scope.strip(),
        "officer": user,
        "role": role,
    }


def _seconds(moment: datetime) -> str:
    return moment.isoformat(timespec="seconds")
