"""What one officer may ask in a day: persons in a Begin, per purpose and over all purposes together (section 7).

A day is one in Europe/Amsterdam. The broker and each source keep their own budgets per organisation; this one keeps a
single officer, or whoever took over the keyboard, from using that up. Charged durably before anything leaves.
"""

from datetime import datetime
from typing import Final

from bekend_policy.model import Covenant
from bekend_proto.clock import day_of

from bekend_node.ask.rules import Inquiry
from bekend_node.store import Spend

CANARY_PER_DAY: Final = 24
"""Questions a day and purpose that a node may ask itself (protocol section 7)."""


def officer_spends(covenant: Covenant, inquiry: Inquiry, now: datetime) -> tuple[Spend, ...]:
    """The claims of one lookup on its officer's budgets (protocol section 12, item 18)."""
    user, day, persons = inquiry.officer.user, day_of(now), len(inquiry.persons)
    limit = covenant.purposes[inquiry.purpose].limits.per_officer
    return (
        Spend("officer", user, inquiry.purpose, day, persons, limit),
        Spend("officer", user, "", day, persons, covenant.totals.per_officer),
    )


def canary_spends(own: str, purpose: str, now: datetime) -> tuple[Spend, ...]:
    """The sole budget of a question to oneself."""
    return (Spend("canary-asked", own, purpose, day_of(now), 1, CANARY_PER_DAY),)
