"""Deferring to inform a person (FG-34): ground, author, a second person, and a date on which it is looked at again.

A deferral is about a case of the own organisation, or about one question that it answered; never about a person by
name or number. It is nothing until a second person approved it. On its review date it lapses: then nobody gets a letter
that it touches before somebody has looked again, so that neither a forgotten deferral hides something for ever, nor a
date that passed brings somebody into danger.
"""

import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Final

from bekend_proto.errors import RefusedError

from bekend_policy.justification import holds_bsn
from bekend_policy.model import Covenant, Purpose
from bekend_policy.wording import term

REVIEW: Final = timedelta(days=90)
"""The longest time to a review where the covenant names none."""
SHORTEST, LONGEST = 10, 600
"""Characters of a ground."""

_RULE: Final = "uitstel"
_HASH = re.compile(r"[0-9a-f]{64}")


class About(StrEnum):
    """What a deferral names."""

    CASE = "zaak"
    QUESTION = "vraag"


class State(StrEnum):
    """How a deferral stands."""

    PENDING = "wacht op een tweede persoon"
    IN_FORCE = "geldt"
    DUE = "moet opnieuw worden bekeken"
    ENDED = "beëindigd"


@dataclass(frozen=True, slots=True)
class Deferral:
    """One deferral with what became of it. `number` is that of its record. Persons are users of the node's machine."""

    number: int
    about: About
    reference: str
    """A case reference, or the hash of a Question in 64 hex digits."""
    purpose: str
    ground: str
    author: str
    author_name: str
    at: datetime
    review_on: date
    approved_by: str | None = None
    ended_by: str | None = None

    def state(self, today: date) -> State:
        """How it stands on a day (Amsterdam)."""
        if self.ended_by is not None:
            return State.ENDED
        if self.approved_by is None:
            return State.PENDING
        return State.IN_FORCE if today < self.review_on else State.DUE


def longest_review(purpose: Purpose) -> timedelta:
    """How long a deferral may stand without another look. Raises RefusedError when the purpose allows none."""
    if purpose.deferral is None:
        raise RefusedError(_RULE, f"Onder het doel '{purpose.title}' mag informeren niet worden uitgesteld.")
    return purpose.deferral.review or REVIEW


def check_deferral(covenant: Covenant, oin: str, it: Deferral, today: date) -> None:
    """Raise RefusedError (rule, Dutch reason) unless the covenant lets this organisation record it today."""
    purpose = covenant.purposes.get(it.purpose)
    parties = covenant.requesters(it.purpose) if it.about is About.CASE else covenant.sources(it.purpose)
    if purpose is None or oin not in parties:
        raise RefusedError("onbekend-doel", "Onder dit doel vraagt of antwoordt uw organisatie niet.")
    longest = longest_review(purpose)
    if not SHORTEST <= len(it.ground.strip()) <= LONGEST:
        raise RefusedError(_RULE, f"Noem de grond, met artikel en reden: {SHORTEST} tot en met {LONGEST} tekens.")
    if holds_bsn(it.ground) or holds_bsn(it.reference):
        raise RefusedError(_RULE, "Er staat een nummer in dat een BSN kan zijn. Haal het weg: noem nooit een persoon.")
    if it.about is About.QUESTION and not _HASH.fullmatch(it.reference):
        raise RefusedError(_RULE, "Een vraag noemt u met haar kenmerk: 64 tekens, zoals op het ontvangstbewijs.")
    if it.about is About.CASE and not re.fullmatch(purpose.case_pattern, it.reference):
        raise RefusedError(_RULE, f"Dit is geen zaaknummer onder dit doel. Bedoeld is: {purpose.case.description}.")
    if not today < it.review_on <= today + longest:
        raise RefusedError(_RULE, f"Kies een datum voor de herbeoordeling na vandaag, hoogstens {term(longest)} later.")


def check_approval(it: Deferral, user: str, names: frozenset[str], today: date) -> None:
    """Raise RefusedError unless this other person may approve it now. `names`: all names of that user."""
    if it.state(today) is not State.PENDING:
        raise RefusedError(_RULE, "Dit uitstel wacht niet op een tweede persoon.")
    if user == it.author or it.author_name in names:
        raise RefusedError(_RULE, "Niemand keurt het eigen uitstel goed: vraag een tweede persoon.")
    if it.review_on <= today:
        raise RefusedError(_RULE, "De datum voor de herbeoordeling is al voorbij: leg een nieuw uitstel vast.")


def check_end(it: Deferral, today: date) -> None:
    """Raise RefusedError when there is nothing to end."""
    if it.state(today) is State.ENDED:
        raise RefusedError(_RULE, "Dit uitstel is al beëindigd.")
