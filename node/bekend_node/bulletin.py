"""Counting, for the bulletin of a quarter, what this node has on record (FG-44). Only protected counts leave here."""

from collections import Counter
from collections.abc import Mapping

from bekend_policy.bulletin import WITHOUT_NUMBER, Bulletin, Quarter, Topic, protect
from bekend_policy.decided import Decided
from bekend_policy.model import Covenant, Mode

from bekend_node.classes import CERTAIN
from bekend_node.store_decisions import Decisions

Counts = dict[Topic, Mapping[str, int]]


def make_bulletin(decisions: Decisions, covenant: Covenant, own: str, quarter: Quarter) -> Bulletin:
    """This partner's bulletin. The labels follow from the covenant, so that they tell nothing of what was asked."""
    first, until = quarter.days.span
    asking = [id_ for id_ in covenant.purposes if own in covenant.requesters(id_)]
    sources = {
        oin
        for id_ in asking
        for oin, source in covenant.sources(id_).items()
        if oin != own and source.mode is not Mode.NEVER
    }
    lookups = [one for one, _ in decisions.own(first, until) if not _of_canary(one, own)]
    changed = decisions.consequences(first, until)
    counts: Counts = {
        Topic.ASKED: _of(
            _asked_labels(covenant, asking),
            Counter(_asked_as(one) for one in lookups if any(it.allowed for it in one.judged)),
        ),
        Topic.REFUSED: Counter(
            rule for one in (*lookups, *decisions.of_others(first, until)) for rule in _refusals(one)
        ),
        Topic.LATE: _of(sources, decisions.unanswered(first, until)),
        Topic.STALE: _of(sources, Counter(source for one in lookups for source in _not_reached(one))),
        Topic.CHANGED: _of(asking, Counter(purpose for purpose, yes in changed if yes)),
        Topic.UNCHANGED: _of(asking, Counter(purpose for purpose, yes in changed if not yes)),
    }
    return protect(own, covenant.id, quarter, counts)


def _asked_labels(covenant: Covenant, purposes: list[str]) -> list[str]:
    """Each purpose, and beside it, where it may be asked by a combination, how often it was."""
    combined = [id_ for id_ in purposes if covenant.purposes[id_].possible is not None]
    return [*purposes, *(f"{id_}{WITHOUT_NUMBER}" for id_ in combined)]


def _asked_as(one: Decided) -> str:
    """Questions by a number and by a combination are never counted together."""
    return one.purpose if one.kind_class == CERTAIN else f"{one.purpose}{WITHOUT_NUMBER}"


def _of(labels: "list[str] | set[str]", counted: Mapping[str, int]) -> dict[str, int]:
    return {label: counted.get(label, 0) for label in labels}


def _of_canary(one: Decided, own: str) -> bool:
    """A node that asks itself about its canary asks nothing about anybody."""
    return all(it.source == own for it in one.judged)


def _refusals(one: Decided) -> set[str]:
    """Every rule counts once in a lookup, however many sources it refused."""
    return {it.rule for it in one.judged if not it.allowed}


def _not_reached(one: Decided) -> list[str]:
    return [it.source for it in one.judged if it.allowed and not it.question_id]
