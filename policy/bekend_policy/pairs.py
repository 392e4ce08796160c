"""What the direction rules look at: who asks, in whose name, whom, under which frame and grounds."""

from dataclasses import replace

from bekend_policy.directions import Pairing
from bekend_policy.model import Covenant, Purpose, Source
from bekend_policy.terms import Kind, Participant


def pairings(
    covenant: Covenant, purpose: Purpose, requester: str, on_behalf_of: str | None, source: Source
) -> list[Pairing]:
    """What the direction rules look at: the asker against the source, and its principal likewise."""
    asker = covenant.participants[requester]
    principal = covenant.participants.get(on_behalf_of) if on_behalf_of else None
    target = covenant.participants[source.oin]
    first = Pairing(
        asker=asker.kind,
        other_asker=principal.kind if principal else None,
        source=target.kind,
        mode=source.mode,
        registers=source.registers,
        frame=purpose.frame,
        requester_grounds=purpose.requester_grounds,
        source_grounds=source.ground,
        same_house=_same_house(covenant, asker, target),
    )
    if principal is None:
        return [first]
    house = _same_house(covenant, principal, target)
    return [first, replace(first, asker=principal.kind, other_asker=asker.kind, same_house=house)]


def _same_house(covenant: Covenant, one: Participant, other: Participant) -> bool:
    every = {participant.oin for participant in covenant.participants.values() if participant.kind is Kind.ZVH}
    houses = [{it.oin} if it.kind is Kind.ZVH else set(it.houses) or every for it in (one, other)]
    return not every or not houses[0].isdisjoint(houses[1])
