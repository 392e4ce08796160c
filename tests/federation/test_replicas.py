"""High availability: replicas and their database die while officers ask. Outcomes are the truth or `geen antwoord`,
only what was under way is without an answer, and everything comes back by itself.
"""

import signal
import time
from collections.abc import Iterator

import pytest
from bekend_deploy.partners import OM, POLITIE, RADICAL, VEILIG_THUIS
from bekend_deploy.postgres_server import PostgresServer

from tests.federation.fixtures_replicas import (
    FAULT,
    Replicas,
    Told,
    replicated,
    wait_for,
)
from tests.federation.fixtures_small import SOURCES

PENDING, HIT = "in_behandeling", "bekend"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Replicas]:
    folder = tmp_path_factory.mktemp("replicas")
    with PostgresServer.running(postgres.bin) as server, replicated(folder, server) as found:
        yield found


def judged(made: Replicas, told: list[Told]) -> None:
    """Not one outcome is false."""
    wrong = [one for one in told if not made.right(one)]
    assert not wrong, wrong


def test_it_begins_with_the_truth(made: Replicas) -> None:
    told = [made.ask_about(person) for person in (made.somebody, made.nobody)]
    judged(made, told)
    assert all(one.whole for one in told)


@pytest.mark.parametrize("name", ["a", "b"])
def test_a_replica_that_is_killed_costs_what_was_under_way_and_nothing_else(made: Replicas, name: str) -> None:
    with made.asking(threads=4, seed=ord(name)) as told:
        wait_for(told, lambda _: len(told) >= 20)
        dying, dead = made.kill_replica(name)
        wait_for(told, lambda _: sum(one.began > dead for one in told) >= 40)
        # It comes back while they ask: a replica that nobody is attached to yet costs nobody an answer.
        made.start_replica(name)
        wait_for(told, lambda _: sum(one.began > dead for one in told) >= 80)
        made.wait_for_nodes()
        back = time.monotonic()
        wait_for(told, lambda _: sum(one.began > back for one in told) >= 10)
    judged(made, told)
    without = [one for one in told if not one.whole]
    assert all(one.began <= dead and dying <= one.ended for one in without), without
    assert len(without) <= 4


def test_a_replica_that_hangs_is_left_for_another(made: Replicas) -> None:
    """For a question, and for a filter that is not at hand: nobody opened this purpose before."""
    for name, source in zip(made.replicas, SOURCES, strict=True):
        process = made.replicas[name].running
        process.signal(signal.SIGSTOP)
        try:
            opened = made.federation.call(OM, op="open", purpose=RADICAL, sources=[source])["filters"]
            told = [made.ask_about(made.somebody), made.ask_about(made.nobody)]
        finally:
            process.signal(signal.SIGCONT)
        judged(made, told)
        assert all(one.whole for one in told)
        assert opened == {source: "ok"}
    made.wait_for_nodes()


def test_must_07_a_database_that_is_killed_stops_answers_and_comes_back_by_itself(made: Replicas) -> None:
    with made.asking() as told:
        made.server.kill()
        down = time.monotonic()
        wait_for(told, lambda one: one.began > down and not one.whole)
        # No log, no answer: nothing that began while it was away had one.
        assert not [one for one in told if one.began > down and one.whole]
        made.server.start()
        up = time.monotonic()
        wait_for(told, lambda one: one.began > up and one.whole)
    judged(made, told)


def test_a_question_over_one_replica_is_collected_over_the_other(made: Replicas) -> None:
    case, answered = made.triage([made.somebody])
    assert answered.outcome(POLITIE.oin) == PENDING
    item = made.item(POLITIE)
    busy = max(made.replicas.values(), key=lambda one: one.metric("bekend_broker_lookup_seconds_count"))
    made.kill_replica(busy.name)
    assert made.decide(POLITIE, item)["type"] == "result"
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): HIT})
    # And a new one is named, decided and collected over the replica that is left.
    case, answered = made.triage([made.somebody])
    assert answered.outcome(POLITIE.oin) == PENDING
    made.bring_back(busy.name)
    assert made.decide(POLITIE, made.item(POLITIE))["type"] == "result"
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): HIT})


def test_all_replicas_gone_is_geen_antwoord_and_they_come_back(made: Replicas) -> None:
    for name in made.replicas:
        made.kill_replica(name)
    assert set(made.ask_about(made.somebody).outcomes.values()) == {FAULT}
    for name in made.replicas:
        made.start_replica(name)
    made.wait_for_nodes()
    assert made.ask_about(made.somebody).whole
