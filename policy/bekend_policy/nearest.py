"""What comes nearest to a refused question: said with the refusal, so that an officer knows where to go."""

from bekend_policy.model import Covenant
from bekend_policy.terms import Mode


def nearest(covenant: Covenant, purpose_id: str, requester_oin: str, source_oin: str) -> str:
    """What comes nearest to this question in the covenant, in Dutch; empty when nothing does."""
    source, requester = covenant.participants.get(source_oin), covenant.participants.get(requester_oin)
    if source is None or requester is None:
        return ""
    others = []
    for purpose in covenant.purposes.values():
        named = covenant.sources(purpose.id).get(source_oin)
        if purpose.id != purpose_id and named is not None and named.mode is not Mode.NEVER:
            if requester_oin in covenant.requesters(purpose.id):
                return f"{source.name} is voor u wel bron onder '{purpose.title}' ({named.mode})."
            others.append(purpose.title)
    if others:
        return f"{source.name} is wel bron onder '{others[0]}', maar daar vraagt {requester.name} niet."
    return f"{source.name} is onder geen ander doel bron."
