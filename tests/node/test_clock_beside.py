"""How far the own clock is from a replica's, and who hears of it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from bekend_node.clock_beside import ClockBeside, ahead_of
from bekend_node.metrics import NodeMetrics
from bekend_proto.interceptors import DATE
from prometheus_client import CollectorRegistry

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
BROKER = "broker.example:7443"
SECOND = timedelta(seconds=1)


class Answered:
    """A call at whose end a replica said what its clock is."""

    def __init__(self, *trailers: tuple[str, str]) -> None:
        self._trailers = trailers

    async def trailing_metadata(self) -> Any:
        return self._trailers


@pytest.mark.parametrize(
    ("theirs", "lasted", "ahead"),
    [(0, 0, 0), (0, 0.9, 0), (0, 300, 0), (300, 300, 0), (90, 0, -90), (301, 300, -1), (-91, 5, 90), (-3600, 0, 3599)],
)
def test_what_a_slow_call_can_explain_is_no_difference(theirs: int, lasted: float, ahead: int) -> None:
    assert ahead_of(NOW + theirs * SECOND, NOW, NOW + lasted * SECOND) == ahead * SECOND


async def test_a_clock_that_is_off_is_told_once_and_so_is_that_it_is_right(capsys: pytest.CaptureFixture[str]) -> None:
    registry = CollectorRegistry()
    beside = ClockBeside(NodeMetrics(registry))
    for off in (0, 29, 90, 3600, 2, -3 * 24 * 3600, 0):
        theirs = format_datetime(NOW + off * SECOND, usegmt=True)
        await beside.look(BROKER, Answered((DATE, theirs)), NOW, NOW)
        measured = registry.get_sample_value("bekend_node_clock_ahead_seconds", {"broker": BROKER})
        assert measured is not None
        assert abs(measured + off) <= 1
    events = [line.split('"event": "')[1].split('"')[0] for line in capsys.readouterr().err.splitlines()]
    assert events == ["clock-off", "clock-right", "clock-off", "clock-right"]


NO_MOMENTS = (
    "nonsense",
    "Tue, 01 Dec 2026 12:00:00 -0000",
    "1 Jan 99999999999999999999 00:00:00 GMT",
    "Tue, 01 Dec 2026 12:00:00 +999999999999999999",
)


@pytest.mark.parametrize("trailers", [(), *(((DATE, said),) for said in NO_MOMENTS)])
async def test_a_replica_that_says_no_moment_is_measured_by_nothing(trailers: tuple[tuple[str, str], ...]) -> None:
    registry = CollectorRegistry()
    await ClockBeside(NodeMetrics(registry)).look(BROKER, Answered(*trailers), NOW, NOW)
    assert registry.get_sample_value("bekend_node_clock_ahead_seconds", {"broker": BROKER}) is None


@pytest.mark.parametrize("said", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"])
async def test_the_last_moment_that_there_is_can_be_said(said: str) -> None:
    registry = CollectorRegistry()
    await ClockBeside(NodeMetrics(registry)).look(BROKER, Answered((DATE, said)), NOW, NOW)
    measured = registry.get_sample_value("bekend_node_clock_ahead_seconds", {"broker": BROKER})
    assert measured is not None
    assert measured < 0
