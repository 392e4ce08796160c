"""A week of questions that colleagues decide on, as the broker sees it: outcomes look alike, and a leak is found."""

from dataclasses import replace
from pathlib import Path
from statistics import quantiles

import pytest
from bekend_bench.release_traffic import HIDDEN, Came, Seen, Traffic, slower_when_known
from bekend_bench.release_week import capture
from bekend_bench.telling import tell
from bekend_proto.collecting import COLLECTED_BOX

QUESTIONS = 72
SHUFFLES = 999
BY_LUCK = 0.002
"""So often the test itself is unlucky."""
PAIR = (Came.RELEASED, Came.UNKNOWN)
"""Between two, nobody has to guess at a third: what leaks is told of nearly all."""


@pytest.fixture(scope="module")
def week(tmp_path_factory: pytest.TempPathFactory) -> Traffic:
    return capture(tmp_path_factory.mktemp("week"), QUESTIONS)


def test_the_week_holds_every_outcome_alike(week: Traffic) -> None:
    counts = [list(week.came.values()).count(came) for came in HIDDEN]
    assert sum(counts) + list(week.came.values()).count(Came.WITHDRAWN) == QUESTIONS
    assert max(counts) - min(counts) <= 4


def test_must_09_fg_12_every_message_of_a_kind_has_one_length_whatever_came_of_it(week: Traffic) -> None:
    seen = [one for question in week.came for one in week.seen[question]]
    assert not [one for one in seen if one.failed]
    for kind in ("release", "collect"):
        (sent,) = {one.sent for one in seen if one.kind == kind}
        assert sent > 0
        assert {one.replied for one in seen if one.kind == kind} == {COLLECTED_BOX}
    assert len({one.replied for one in seen if one.kind == "question"}) == 1


def test_must_10_fg_12_what_the_broker_sees_does_not_tell_released_from_refused_from_unknown(week: Traffic) -> None:
    for kinds in (HIDDEN[:3], HIDDEN, (Came.RELEASED, Came.UNKNOWN)):
        assert tell(*week.of(*kinds).rows(), shuffles=SHUFFLES).p > BY_LUCK


def test_an_octet_more_is_found(week: Traffic) -> None:
    leaking = week.of(*PAIR).changed(Came.RELEASED, lambda one: replace(one, replied=one.replied + 1))
    assert tell(*leaking.rows(), shuffles=SHUFFLES).p <= BY_LUCK


def test_replies_that_are_later_than_this_machine_makes_them_are_found(week: Traffic) -> None:
    late = max(0.005, _noise(week))
    leaking = week.of(*PAIR).changed(Came.RELEASED, lambda one: replace(one, latency=one.latency + late))
    assert tell(*leaking.rows(), shuffles=SHUFFLES).p <= BY_LUCK


def test_a_source_that_really_replies_later_is_found(week: Traffic, tmp_path: Path) -> None:
    with slower_when_known(max(0.02, 2 * _noise(week))):
        week = capture(tmp_path, QUESTIONS, seed=2)
    assert tell(*week.of(*PAIR).rows(), shuffles=SHUFFLES).p <= BY_LUCK


def test_a_withdrawal_is_seen_by_design(week: Traffic) -> None:
    """Not about whom, and not what a colleague had decided: that a message more was sent."""

    def releases(came: Came) -> set[int]:
        return {_count(week.seen[question]) for question, it in week.came.items() if it is came}

    assert releases(Came.WITHDRAWN) == {2}
    assert releases(Came.RELEASED) == {1}


def _noise(week: Traffic) -> float:
    """By how many seconds the replies to collects of an honest week differ, but for the slowest and fastest tenths."""
    tenths = quantiles((one.latency for seen in week.seen.values() for one in seen if one.kind == "collect"), n=10)
    return tenths[-1] - tenths[0]


def _count(seen: list[Seen]) -> int:
    return sum(one.kind == "release" for one in seen)
