"""Raising an officer's limit: by a second person, for 24 hours, with a reason, on the record.

The covenant says how far and by whom (`verhoging`). The limit of the organisation is not raised by anybody: it guards
against the organisation itself.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from bekend_proto.errors import RefusedError

from bekend_policy.justification import holds_bsn
from bekend_policy.model import Purpose

LASTS = timedelta(hours=24)
SHORTEST_REASON, LONGEST_REASON = 10, 600
"""Characters."""


@dataclass(frozen=True, slots=True)
class Raise:
    """One raise, as it stands in the record: whose limit, by whom in which role, when (aware), why, and how far.

    `extra` counts persons a day above the officer's limit; None is as far as the purpose lets it be raised.
    """

    purpose: str
    officer: str
    by: str
    role: str
    at: datetime
    reason: str
    extra: int | None = None

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
    if not SHORTEST_REASON <= len(it.reason.strip()) <= LONGEST_REASON:
        raise RefusedError("verhoging", f"Schrijf waarom: {SHORTEST_REASON} tot en met {LONGEST_REASON} tekens.")
    if holds_bsn(it.reason):
        raise RefusedError("verhoging", "In de reden staat een nummer dat een BSN kan zijn. Haal het weg.")
    room = purpose.raised.per_officer - purpose.limits.per_officer
    if it.extra is not None and not 1 <= it.extra <= room:
        raise RefusedError("verhoging", f"Voor dit doel komen er 1 tot en met {room} personen per dag bij.")


def limit_of(purpose: Purpose, officer: str, raises: Iterable[Raise], now: datetime) -> int:
    """Persons that this officer may ask about today under the purpose, with what was recorded.

    A record that the covenant does not allow (any more) raises nothing. Raises add up, never beyond `verhoging`.
    """
    if purpose.raised is None:
        return purpose.limits.per_officer
    most = purpose.raised.per_officer
    room = most - purpose.limits.per_officer
    found = raises_in_force(purpose, officer, raises, now)
    return min(most, purpose.limits.per_officer + sum(room if it.extra is None else it.extra for it in found))


def raises_in_force(purpose: Purpose, officer: str, raises: Iterable[Raise], now: datetime) -> list[Raise]:
    """Those of these records that raise this officer's limit at this moment."""
    return [it for it in raises if it.officer == officer and it.in_force(now) and _allowed(purpose, it)]


def _allowed(purpose: Purpose, it: Raise) -> bool:
    try:
        check_raise(purpose, it)
    except RefusedError:
        return False
    return True
