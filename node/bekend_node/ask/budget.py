"""What one officer may ask in a day: persons in a Begin, per purpose and over all purposes together (section 7).

A day is one in Europe/Amsterdam. The broker and each source keep their own budgets per organisation; this one keeps a
single officer, or whoever took over the keyboard, from using that up. Charged durably before anything leaves.
A second person may raise it for 24 hours, under one purpose, as far as the covenant says (`bekend_policy.raising`);
the total over all purposes, and what broker and sources hold an organisation to, is raised by nobody.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bekend_policy.model import Covenant
from bekend_policy.raising import LASTS, Raise, check_raise, limit_of, raises_in_force
from bekend_proto import logs
from bekend_proto.clock import day_of
from bekend_proto.errors import RefusedError

from bekend_node.ask.rules import Inquiry
from bekend_node.store import Spend, Store

CANARY_PER_DAY: Final = 24
"""Questions a day and purpose that a node may ask itself (protocol section 7)."""
ALL_PURPOSES: Final = ""


@dataclass(frozen=True, slots=True)
class Budget:
    """Persons of one officer today. `raised_until` is the moment at which a raise ends first, if there is one."""

    limit: int
    used: int
    raised_until: datetime | None = None

    def to_json(self) -> dict[str, int | str | None]:
        """The fields as JSON values, with what is left."""
        until = self.raised_until.isoformat(timespec="seconds") if self.raised_until else None
        return {"limit": self.limit, "used": self.used, "left": max(0, self.limit - self.used), "raised_until": until}


def budget_of(store: Store, covenant: Covenant, user: str, purpose: str, now: datetime) -> Budget:
    """What an officer's budget is today, under a purpose or over ALL_PURPOSES; zero without such a purpose."""
    used = store.used("officer", user, purpose, day_of(now))
    if purpose == ALL_PURPOSES:
        return Budget(covenant.totals.per_officer, used)
    terms = covenant.purposes.get(purpose)
    if terms is None:
        return Budget(0, used)
    raises = store.raises(user, now - LASTS)
    ends = [it.at + LASTS for it in raises_in_force(terms, user, raises, now)]
    return Budget(limit_of(terms, user, raises, now), used, min(ends, default=None))


async def grant(store: Store, covenant: Covenant, wanted: Raise) -> datetime:
    """Put a raise on the record, durably; it holds at once, until the moment returned.

    Raises RefusedError (rule, Dutch reason), StorageError; then nothing was written.
    """
    purpose = covenant.purposes.get(wanted.purpose)
    if purpose is None:
        raise RefusedError("onbekend-doel", "Dit doel staat niet in het convenant.")
    check_raise(purpose, wanted)
    assert purpose.raised is not None
    assert wanted.extra is not None
    room = purpose.raised.per_officer - limit_of(
        purpose, wanted.officer, store.raises(wanted.officer, wanted.at - LASTS), wanted.at
    )
    if wanted.extra > room:
        more = f"Er kunnen er nog {room} bij." if room else "Er kan niets meer bij."
        raise RefusedError("verhoging", f"De grens van deze medewerker is al verhoogd. {more}")
    await store.keep_raise(wanted)
    until = wanted.at + LASTS
    logs.log(
        logs.LIMIT_RAISED,
        purpose=wanted.purpose,
        officer=wanted.officer,
        by=wanted.by,
        role=wanted.role,
        extra=wanted.extra,
        until=until.isoformat(timespec="seconds"),
    )
    return until


def officer_spends(store: Store, covenant: Covenant, inquiry: Inquiry, now: datetime) -> tuple[Spend, ...]:
    """The claims of one lookup on its officer's budgets (protocol section 12, item 18)."""
    user, day, persons = inquiry.officer.user, day_of(now), len(inquiry.persons)
    limits = {
        inquiry.purpose: limit_of(covenant.purposes[inquiry.purpose], user, store.raises(user, now - LASTS), now),
        ALL_PURPOSES: covenant.totals.per_officer,
    }
    return tuple(Spend("officer", user, purpose, day, persons, limit) for purpose, limit in limits.items())


def canary_spends(own: str, purpose: str, now: datetime) -> tuple[Spend, ...]:
    """The sole budget of a question to oneself."""
    return (Spend("canary-asked", own, purpose, day_of(now), 1, CANARY_PER_DAY),)
