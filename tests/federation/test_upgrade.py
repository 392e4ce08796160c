"""An upgrade without a pause: the previous release's own wheel and this one, side by side, changed one by one.

Officers ask all the while. No outcome is false, and without an answer is only what was under way where something was
being changed, or was put to the one node that was away.
"""

import time
from collections.abc import Iterator

import pytest
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, VEILIG_THUIS
from bekend_deploy.postgres_server import PostgresServer

from tests.federation.fixtures_replicas import FAULT, Replicas, Told, replicated, wait_for
from tests.support.previous import previous_release


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, postgres: PostgresServer) -> Iterator[Replicas]:
    """All of the previous release; what is changed from then on is of this one."""
    old = previous_release(tmp_path_factory.mktemp("previous"))
    with replicated(tmp_path_factory.mktemp("upgrade"), postgres, old) as found:
        found.environment = {"PYTHONPATH": ""}
        yield found


def judged(made: Replicas, told: list[Told]) -> None:
    wrong = [one for one in told if not made.right(one)]
    assert not wrong, wrong


def all_right(made: Replicas) -> None:
    told = [made.ask_about(person) for person in (made.somebody, made.nobody)]
    judged(made, told)
    assert all(one.whole for one in told), told


def test_the_previous_release_begins_with_the_truth(made: Replicas) -> None:
    """On a database that was prepared for this release."""
    all_right(made)


def test_new_nodes_with_brokers_of_the_previous_release(made: Replicas) -> None:
    with made.asking(threads=2) as told:
        made.change_node(POLITIE)
        back = time.monotonic()
        wait_for(told, lambda one: one.began > back and one.whole)
    judged(made, told)
    # Only the node that was away had no answer.
    assert all(one.outcomes[RECLASSERING.oin] != FAULT for one in told)
    made.change_node(OM)
    all_right(made)


def test_new_brokers_with_a_node_of_the_previous_release_one_replica_at_a_time(made: Replicas) -> None:
    for name in made.replicas:
        with made.asking(threads=3) as told:
            wait_for(told, lambda _: len(told) >= 10)
            stopping = time.monotonic()
            made.change_replica(name)
            back = time.monotonic()
            wait_for(told, lambda one: one.began > back)  # noqa: B023
        judged(made, told)
        assert len(told) > 20
        without = [one for one in told if not one.whole]
        assert all(one.began <= stopping + 1 for one in without), without
        assert len(without) <= 3
        # One of each release, then two of this one.
        all_right(made)


def test_the_last_nodes_follow_and_everything_of_before_is_still_there(made: Replicas) -> None:
    case, answered = made.triage([made.somebody])
    assert answered.outcome(POLITIE.oin) == "in_behandeling"
    item = made.item(POLITIE)
    for partner in (RECLASSERING, VEILIG_THUIS):
        made.change_node(partner)
    all_right(made)
    # Asked by the previous release, decided and collected by this one.
    assert made.decide(POLITIE, item)["type"] == "result"
    made.wait_for(VEILIG_THUIS, case, {(0, POLITIE.oin): "bekend"})
