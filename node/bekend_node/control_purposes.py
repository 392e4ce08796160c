"""What an officer of a certain role may ask at this node, in the words of the covenant."""

from collections.abc import Iterable
from typing import Any

from bekend_policy.conditions import Condition
from bekend_policy.decide import JUSTIFICATION
from bekend_policy.deferring import longest_review
from bekend_policy.model import Covenant, Purpose
from bekend_policy.terms import CheckedBy
from bekend_policy.words import ConditionForm

from bekend_node.ask.ages import ages_asked
from bekend_node.ask.consent import consent_partners


def purposes_for(covenant: Covenant, oin: str, role: str) -> list[dict[str, Any]]:
    """The purposes under which this organisation asks with this role, with sources, conditions and limits."""
    return [
        _describe(covenant, oin, purpose)
        for purpose in covenant.purposes.values()
        if (requester := covenant.requesters(purpose.id).get(oin)) is not None and role in requester.roles
    ]


def role_for(covenant: Covenant, oin: str, purpose: str, roles: Iterable[str]) -> str | None:
    """The first of these roles in which this organisation may use this purpose."""
    requester = covenant.requesters(purpose).get(oin)
    return next((role for role in roles if requester is not None and role in requester.roles), None)


def _describe(covenant: Covenant, oin: str, purpose: Purpose) -> dict[str, Any]:
    requester = covenant.requesters(purpose.id)[oin]
    partners = covenant.participants
    with_consent = consent_partners(covenant, purpose)
    ages = ages_asked(covenant, purpose)
    names = {one.oin: one.name for one in partners.values()}
    return {
        "id": purpose.id,
        "title": purpose.title,
        "frame": str(purpose.frame),
        "route_map": covenant.agreement.route_map,
        "trial_until": str(purpose.last_day) if purpose.untested else None,
        "open_question": purpose.open_question,
        "description": purpose.description,
        "informing": purpose.informing,
        "deferral": {"ground": purpose.deferral.ground, "days": longest_review(purpose).days}
        if purpose.deferral
        else None,
        "kinds": sorted(str(kind) for kind in purpose.kinds),
        "max_persons": purpose.max_persons,
        "own_reasons": purpose.own_reasons,
        "max_sources": purpose.max_sources,
        "per_day": purpose.limits.per_officer,
        "raise": {"per_day": purpose.raised.per_officer, "roles": list(purpose.raised.roles)}
        if purpose.raised
        else None,
        "case": {"pattern": purpose.case_pattern, "description": purpose.case.description},
        "confirm": _conditions(purpose),
        "four_eyes": purpose.four_eyes,
        "emergency": purpose.emergency,
        "for_itself": requester.for_itself,
        "on_behalf_of": [{"oin": other, "name": names[other]} for other in sorted(requester.on_behalf_of)],
        "sources": [
            {
                "oin": source.oin,
                "name": names[source.oin],
                "kind": str(partners[source.oin].kind),
                "mode": str(source.mode),
                "automatic": source.mode.by_machine,
                "consent": source.oin in with_consent,
                "ages": [one.text for one in ages.get(source.oin, ())],
                "reply_seconds": int(source.reply_term.total_seconds()) if source.reply_term else None,
            }
            for source in covenant.sources(purpose.id).values()
            if source.oin != oin
        ],
    }


def confirmed_by_officer(purpose: Purpose) -> list[Condition]:
    """What the officer confirms: the conditions that only the requester can check.

    A consent is not confirmed but recorded (`bekend toestemming`), and an age may be worked out from the date of birth:
    see `consent` and `ages` beside each source.
    """
    return [
        one
        for one in purpose.conditions
        if one.checked_by is CheckedBy.REQUESTER and one.form is not ConditionForm.CONSENT and not one.by_birth
    ]


def _conditions(purpose: Purpose) -> list[dict[str, str]]:
    found = [
        {"id": one.id, "text": one.text, **({"value": one.example} if one.example else {})}
        for one in confirmed_by_officer(purpose)
    ]
    if purpose.justification and all(one["id"] != JUSTIFICATION for one in found):
        found.append({"id": JUSTIFICATION, "text": "De motivering staat in het dossier."})
    return found
