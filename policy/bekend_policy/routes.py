"""Every combination that a covenant can decide on: who asks, in whose name, whom, for which purpose.

Participants and purposes are finite, so the tools need no sample: they try everything. Drafts have no signatures yet;
so the tools decide as if everybody had signed, on one day, and say so.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime, time

from bekend_proto.clock import AMSTERDAM, day_of
from bekend_proto.v1 import signed_pb2

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.model import Covenant

CERTAIN = signed_pb2.KIND_CLASS_CERTAIN
POSSIBLE = signed_pb2.KIND_CLASS_POSSIBLE


@dataclass(frozen=True, slots=True, order=True)
class Route:
    """One combination. `on_behalf_of` is empty for who asks for itself."""

    purpose: str
    requester: str
    on_behalf_of: str
    source: str


def as_if_signed(covenant: Covenant) -> Covenant:
    """The covenant as it decides once everybody has signed this version."""
    return replace(covenant, signed_by=frozenset(covenant.participants))


def day_within(covenant: Covenant, wanted: date | None, now: datetime) -> date:
    """The day to decide on: the one wanted, else today, moved into the covenant's validity."""
    day = wanted or day_of(now)
    return min(max(day, covenant.agreement.first_day), covenant.agreement.last_day)


def noon(day: date) -> datetime:
    """A moment on this day."""
    return datetime.combine(day, time(12), AMSTERDAM)


def routes(covenant: Covenant, purposes: Iterable[str] | None = None) -> Iterator[Route]:
    """Every pair of participants for every purpose, for itself and in every name that any mandate mentions.

    Other names are left out: no mandate, so refused (rule `namens`) whatever else the covenant says.
    """
    for purpose in covenant.purposes if purposes is None else purposes:
        mandates = {(it.requester, it.principal) for it in covenant.purposes[purpose].asker.mandates}
        for requester in covenant.participants:
            names = ["", *sorted(principal for who, principal in mandates if who == requester)]
            for source in covenant.participants:
                if source != requester:
                    yield from (Route(purpose, requester, name, source) for name in names)


def asked_by(
    route: Route, covenant: Covenant, persons: int = 1, kind_class: "signed_pb2.KindClass.ValueType" = CERTAIN
) -> Asked:
    """The question as broker and source see it."""
    return Asked(
        requester=route.requester,
        source=route.source,
        purpose=route.purpose,
        on_behalf_of=route.on_behalf_of or None,
        persons=persons,
        kind_class=kind_class,
        covenant_hash=covenant.hash,
    )


def outcome(covenant: Covenant, route: Route, day: date) -> Decision:
    """What the covenant decides about one person on this route, by a number where the source may be asked by one."""
    source = covenant.sources(route.purpose).get(route.source)
    only_possible = source is not None and source.possible and not source.certain
    return decide(covenant, asked_by(route, covenant, kind_class=POSSIBLE if only_possible else CERTAIN), noon(day))


def outcomes(covenant: Covenant, day: date) -> dict[Route, Decision]:
    """Every route with its decision, as if everybody had signed."""
    signed = as_if_signed(covenant)
    return {route: outcome(signed, route, day) for route in routes(covenant)}
