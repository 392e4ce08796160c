"""Raising an officer's limit: by a second person, for 24 hours, with a reason, on the record.

The covenant says how far and by whom (`verhoging`). The limit of the organisation is not raised by anybody: it guards
against the organisation itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bekend_proto.errors import RefusedError

from bekend_policy.model import Purpose

LASTS = timedelta(hours=24)
SHORTEST_REASON = 10
"""Characters."""


@dataclass(frozen=True, slots=True)
class Raise:
    """One raise, as it stands in the record: whose limit, by whom in which role, when (aware), and why."""

    purpose: str
    officer: str
    by: str
    role: str
    at: datetime
    reason: str

    def in_force(self, now: datetime) -> bool:
        """Whether it holds at this moment: from the moment itself, for 24 hours."""
        return self.at <= now < self.at + LASTS


def check_raise(purpose: Purpose, it: Raise) -> None:
    """Raise RefusedError (rule, Dutch reason) unless the purpose lets this person raise that officer's limit."""
    if purpose.raised is None or it.purpose != purpose.id:
        raise RefusedError("verhoging", f"Onder het doel '{purpose.title}' wordt geen grens verhoogd.")
    if it.by == it.officer:
        raise RefusedError("verhoging", "Niemand verhoogt de eigen grens: vraag een tweede persoon.")
    if it.role not in purpose.raised.roles:
        raise RefusedError("verhoging", f"Alleen deze rollen verhogen een grens: {', '.join(purpose.raised.roles)}.")
    if len(it.reason.strip()) < SHORTEST_REASON:
        raise RefusedError("verhoging", f"Schrijf waarom: ten minste {SHORTEST_REASON} tekens.")


def limit_of(purpose: Purpose, officer: str, raises: Iterable[Raise], now: datetime) -> int:
    """Persons that this officer may ask about today under the purpose, with what was recorded.

    A record that the covenant does not allow (any more) raises nothing.
    """
    raised = any(it.officer == officer and it.in_force(now) and _allowed(purpose, it) for it in raises)
    return purpose.raised.per_officer if raised and purpose.raised is not None else purpose.limits.per_officer


def _allowed(purpose: Purpose, it: Raise) -> bool:
    try:
        check_raise(purpose, it)
    except RefusedError:
        return False
    return True
