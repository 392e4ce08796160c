"""How far the own clock is from a replica's, and who hears of it."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from bekend_node.clock_beside import ClockBeside, Doubt, ahead_of
from bekend_node.metrics import NodeMetrics
from bekend_proto.errors import UnreachableError
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
        await beside.look(BROKER, Answered((DATE, theirs)), NOW, timedelta(0))
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
    await ClockBeside(NodeMetrics(registry)).look(BROKER, Answered(*trailers), NOW, timedelta(0))
    assert registry.get_sample_value("bekend_node_clock_ahead_seconds", {"broker": BROKER}) is None


@pytest.mark.parametrize("said", ["Fri, 31 Dec 9999 23:59:59 GMT", "Fri, 31 Dec 9999 23:59:59 -2359"])
async def test_the_last_moment_that_there_is_can_be_said(said: str) -> None:
    registry = CollectorRegistry()
    await ClockBeside(NodeMetrics(registry)).look(BROKER, Answered((DATE, said)), NOW, timedelta(0))
    measured = registry.get_sample_value("bekend_node_clock_ahead_seconds", {"broker": BROKER})
    assert measured is not None
    assert measured < 0


def at(moment: datetime) -> Answered:
    return Answered((DATE, format_datetime(moment, usegmt=True)))


async def nothing() -> None:
    """Nobody can be asked anew."""


async def test_a_leap_ahead_is_doubted_at_once_and_a_clock_that_goes_on_is_not() -> None:
    elapsed = 0.0
    beside = ClockBeside(NodeMetrics(CollectorRegistry()), lambda: elapsed)
    assert await beside.doubt(nothing, NOW) == Doubt.UNHEARD
    await beside.look(BROKER, at(NOW), NOW, timedelta(0))
    assert await beside.doubt(nothing, NOW + 61 * SECOND) is None
    assert await beside.doubt(nothing, NOW + 62 * SECOND) == Doubt.AHEAD
    elapsed = 5 * 3600.0
    assert await beside.doubt(nothing, NOW + timedelta(hours=5)) is None
    assert await beside.doubt(nothing, NOW - timedelta(days=3)) is None
    assert await beside.doubt(nothing, NOW + timedelta(hours=10)) == Doubt.AHEAD


async def test_a_machine_that_slept_asks_anew_before_it_doubts_and_every_ten_seconds_while_it_does() -> None:
    elapsed, asked = 0.0, 0
    beside = ClockBeside(NodeMetrics(CollectorRegistry()), lambda: elapsed)
    await beside.look(BROKER, at(NOW), NOW, timedelta(0))
    woke = NOW + timedelta(hours=8)

    async def ask() -> None:
        nonlocal asked
        asked += 1
        await beside.look(BROKER, at(woke), woke, timedelta(0))

    assert await beside.doubt(ask, woke) is None
    for _ in range(3):
        assert await beside.doubt(ask, woke + timedelta(hours=8)) == Doubt.AHEAD
    assert asked == 2
    elapsed = 10.0
    assert await beside.doubt(ask, woke + timedelta(hours=8)) == Doubt.AHEAD
    assert asked == 3


async def test_who_cannot_ask_anew_doubts() -> None:
    async def unreachable() -> None:
        raise UnreachableError("no line")

    beside = ClockBeside(NodeMetrics(CollectorRegistry()), lambda: 0.0)
    await beside.look(BROKER, at(NOW), NOW, timedelta(0))
    assert await beside.doubt(unreachable, NOW + timedelta(hours=8)) == Doubt.AHEAD


@pytest.mark.parametrize("other", [at(NOW + timedelta(hours=5)), Answered()])
async def test_one_replica_that_does_not_contradict_is_enough(other: Answered) -> None:
    beside, now = ClockBeside(NodeMetrics(CollectorRegistry()), lambda: 0.0), NOW + timedelta(hours=5)
    await beside.look("behind.example:7443", at(NOW), now, timedelta(0))
    assert await beside.doubt(nothing, now) is not None
    await beside.look(BROKER, other, now, timedelta(0))
    assert await beside.doubt(nothing, now) is None
