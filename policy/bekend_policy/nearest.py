"""What comes nearest to a refused question: said with the refusal, so that an officer knows where to go."""

from bekend_policy.model import Covenant
from bekend_policy.terms import Mode


def nearest(covenant: Covenant, purpose_id: str, requester_oin: str, source_oin: str) -> str:
    """What comes nearest to this question in the covenant, in Dutch; empty when nothing does."""
    source, requester = covenant.participants.get(source_oin), covenant.participants.get(requester_oin)
    if source is None or requester is None:
        return ""
    asked = covenant.purposes.get(purpose_id)
    named = [
        (purpose, terms.mode)
        for purpose in covenant.purposes.values()
        if (terms := covenant.sources(purpose.id).get(source_oin)) is not None
        and purpose.id != purpose_id
        and purpose.in_service
        and terms.mode is not Mode.NEVER
        and terms.answers(requester)
    ]
    open_to_asker = [one for one in named if requester_oin in covenant.requesters(one[0].id)]
    if open_to_asker:
        modes = list(Mode)
        best, mode = min(
            open_to_asker, key=lambda one: (asked is None or one[0].frame is not asked.frame, modes.index(one[1]))
        )
        return f"{source.name} is voor u wel bron onder '{best.title}' ({mode})."
    if named:
        return f"{source.name} is wel bron onder '{named[0][0].title}', maar daar vraagt {requester.name} niet."
    return f"{source.name} is onder geen ander doel bron."
