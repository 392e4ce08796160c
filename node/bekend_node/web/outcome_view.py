"""What the page of outcomes says beside the outcomes: who answered, on what footing, and the next lawful step."""

from collections.abc import Sequence
from typing import Any

from bekend_policy.model import Covenant, Purpose
from bekend_policy.words import Mode

from bekend_node.ask.hint import next_step
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.web.running import Running

_ANSWERS = frozenset({OutcomeKind.KNOWN, OutcomeKind.POSSIBLE, OutcomeKind.INCONCLUSIVE})


def shown(covenant: Covenant, running: Running, before: Sequence[Running] = ()) -> dict[str, Any]:
    """The values of the page of one lookup. `before`: those that it asks anew, with outcomes of their own."""
    purpose = covenant.purposes[running.purpose]
    by_partner: dict[str, list[Outcome]] = {}
    for one in sorted(running.outcomes, key=lambda it: it.person):
        by_partner.setdefault(one.oin, []).append(one)
    asked = [oin for oin in running.chosen if oin in covenant.participants]
    elsewhere = {*asked, *(oin for one in before for oin in one.chosen)}
    dates = sorted(one.as_of for one in running.outcomes if one.as_of)

    def cards(oins: list[str]) -> list[dict[str, Any]]:
        return [{"participant": covenant.participants[oin], "outcomes": by_partner.get(oin, [])} for oin in oins]

    return {
        "running": running,
        "purpose": purpose,
        "partners": cards(asked),
        "not_chosen": cards([oin for oin in by_partner if oin not in elsewhere and oin in covenant.participants]),
        "asked": len(asked),
        **_counts([by_partner.get(oin, []) for oin in asked], running.persons),
        "oldest": dates[0] if dates else None,
        "by_decision": _by_decision(covenant, purpose, running.outcomes),
        "hints": _hints(covenant, purpose, running, before),
    }


def _counts(found: list[list[Outcome]], persons: int) -> dict[str, int]:
    """How many partners answered about everybody, how many will later, and how many gave no answer."""
    kinds = [{one.outcome for one in outcomes} for outcomes in found if len(outcomes) == persons]
    return {
        "answered": sum(one <= _ANSWERS for one in kinds),
        "later": sum(OutcomeKind.PENDING in one for one in kinds),
        "silent": sum(OutcomeKind.NO_ANSWER in one for one in kinds),
    }


def _by_decision(covenant: Covenant, purpose: Purpose, outcomes: list[Outcome]) -> list[str]:
    """Names of partners that answered by machine, by a decision that they signed themselves."""
    sources = covenant.sources(purpose.id)
    names = [
        one.name
        for one in outcomes
        if one.outcome in _ANSWERS and one.oin in sources and sources[one.oin].mode is Mode.STANDING
    ]
    return list(dict.fromkeys(names))


def _hints(
    covenant: Covenant, purpose: Purpose, running: Running, before: Sequence[Running]
) -> list[tuple[int, tuple[str, ...]]]:
    """The next lawful step of each person, by its number, as text; once all have answered: each may change it.

    What was answered before it was asked anew counts too. Who was answered about by nobody has none; there is nothing
    when that is everybody.
    """
    if not running.done:
        return []
    found: dict[int, list[tuple[str, str]]] = {running.number_of(person): [] for person in range(running.persons)}
    for asked in (running, *before):
        for one in asked.outcomes:
            if (number := asked.number_of(one.person)) in found and one.oin in covenant.participants:
                found[number].append((str(covenant.participants[one.oin].kind), one.outcome.value))
    frame, route_map = str(purpose.frame), covenant.agreement.route_map
    steps = [(number, next_step(frame, outcomes, route_map)) for number, outcomes in found.items()]
    return steps if any(lines for _, lines in steps) else []
