"""A node whose clock is minutes, hours or days off, with real processes: `geen antwoord`, and its operator is told."""

import json
import signal
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import POLITIE, RECLASSERING, ZSM_CONTEXT
from bekend_node.control_client import ControlClient

from tests.federation.fixtures_small import SOURCES, Small, small_federation

HIT, MISS, FAULT = "bekend", "geen_uitsluitsel", "geen_antwoord"
BOTH = dict.fromkeys(SOURCES, HIT)
MINUTES, HOURS, DAYS = 3 * 60, 5 * 3600, 3 * 24 * 3600
SECONDS = 100.0
"""A look at the directory comes every minute."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Small]:
    with small_federation(tmp_path_factory.mktemp("clocks"), Settings(filter_interval="PT1M")) as made:
        yield made


def events(small: Small) -> list[dict[str, Any]]:
    """What the log of the node with the wrong clock says of clocks."""
    lines = (small.folder(POLITIE) / "node.log").read_text(encoding="utf-8").splitlines()
    found = [json.loads(line) for line in lines if line.startswith("{")]
    return [one for one in found if one["event"] in {"clock-off", "clock-right"}]


def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.2)


def status(small: Small) -> dict[str, Any]:
    with ControlClient(small.built.nodes[POLITIE.oin].socket) as client:
        return client.call({"op": "status"})


def broken(small: Small) -> None:
    """No answer of the one, whoever is asked about; the other answers as ever."""
    assert small.told() == {POLITIE.oin: FAULT, RECLASSERING.oin: HIT}
    assert small.told(small.nobody) == {POLITIE.oin: FAULT, RECLASSERING.oin: MISS}


def test_a_clock_that_is_behind_costs_answers_is_told_and_leaves_nothing_when_it_is_right(small: Small) -> None:
    assert small.told() == BOTH
    small.shift_clock(-MINUTES, POLITIE)
    small.process(POLITIE).signal(signal.SIGHUP)
    until(lambda: [one["event"] for one in events(small)] == ["clock-off"])
    assert abs(events(small)[0]["ahead"] + MINUTES) <= 2
    for behind in (MINUTES, HOURS, DAYS):
        small.shift_clock(-behind, POLITIE)
        broken(small)
    small.shift_clock(0, POLITIE)
    small.process(POLITIE).signal(signal.SIGHUP)
    until(lambda: events(small)[-1]["event"] == "clock-right")
    small.open()
    until(lambda: small.told() == BOTH)
    assert status(small)["log"]["alarms"] == []


def test_a_clock_that_was_ahead_costs_answers_while_it_is_and_leaves_nothing_when_it_is_right(small: Small) -> None:
    """No filter is made or switched meanwhile, also by a process that begins so: none counts from a moment to come."""
    small.open()
    assert small.told() == BOTH
    for ahead in (HOURS, DAYS):
        small.shift_clock(ahead, POLITIE)
        until(lambda: "ahead of the broker's" in (status(small)["purposes"][ZSM_CONTEXT]["reason"] or ""))
        broken(small)
        small.shift_clock(0, POLITIE)
        until(lambda: small.told() == BOTH)
    small.process(POLITIE).stop()
    small.shift_clock(HOURS, POLITIE)
    small.federation.nodes.pop(POLITIE.oin)
    small.federation.start_node(POLITIE.oin)
    until(lambda: "ahead of the broker's" in (status(small)["purposes"][ZSM_CONTEXT]["reason"] or ""))
    broken(small)
    small.shift_clock(0, POLITIE)
    until(lambda: small.told() == BOTH)
    assert status(small)["purposes"][ZSM_CONTEXT]["filter_version"] <= time.time()
    assert status(small)["log"]["alarms"] == []
