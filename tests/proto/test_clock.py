from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from bekend_proto import clock

from tests.support.clocks import SteeredClock


def test_an_epoch_is_the_utc_quarter() -> None:
    assert clock.epoch_of(datetime(2026, 1, 1, tzinfo=UTC)) == "2026Q1"
    assert clock.epoch_of(datetime(2026, 9, 30, 23, 59, 59, tzinfo=UTC)) == "2026Q3"
    assert clock.epoch_of(datetime(2026, 10, 1, 0, 30, tzinfo=timezone(timedelta(hours=2)))) == "2026Q3"


def test_epochs_follow_each_other() -> None:
    assert clock.next_epoch("2026Q4") == "2027Q1"
    assert clock.previous_epoch("2026Q1") == "2025Q4"
    for quarter in ("2024Q1", "2026Q2", "2026Q3", "2026Q4"):
        assert clock.previous_epoch(clock.next_epoch(quarter)) == quarter
        assert clock.epoch_of(clock.epoch_start(quarter)) == quarter


@pytest.mark.parametrize("bad", ["", "2026Q5", "2026Q0", "2026q1", "2026Q1 ", "26Q1", "٢٠٢٦Q1"])
def test_what_is_no_epoch_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="not a period"):
        clock.epoch_start(bad)


def test_months_count_over_the_year() -> None:
    assert clock.month_of(datetime(2026, 11, 30, 23, 59, tzinfo=UTC)) == "2026-11"
    assert clock.add_months("2026-11", 2) == "2027-01"
    assert clock.add_months("2026-01", -1) == "2025-12"
    assert clock.add_months("2026-12", 24) == "2028-12"
    assert clock.month_start("2026-02") == datetime(2026, 2, 1, tzinfo=UTC)


def test_a_budget_day_is_a_day_in_amsterdam() -> None:
    assert clock.day_of(datetime(2026, 7, 1, 21, 59, tzinfo=UTC)) == date(2026, 7, 1)
    assert clock.day_of(datetime(2026, 7, 1, 22, 0, tzinfo=UTC)) == date(2026, 7, 2)
    assert clock.day_of(datetime(2026, 12, 31, 23, 0, tzinfo=UTC)) == date(2027, 1, 1)


def test_milliseconds_are_whole_and_come_back() -> None:
    moment = datetime(2026, 11, 22, 1, 2, 3, 456999, tzinfo=UTC)
    assert clock.milliseconds(moment) == 1795309323456
    assert clock.from_milliseconds(1795309323456) == moment.replace(microsecond=456000)
    with pytest.raises(ValueError, match="outside the calendar"):
        clock.from_milliseconds(2**64 - 1)


def test_freshness_is_a_minute_either_way() -> None:
    now = datetime(2026, 11, 22, tzinfo=UTC)
    at = clock.milliseconds(now)
    assert clock.is_fresh(at + 60_000, now)
    assert clock.is_fresh(at - 60_000, now)
    assert not clock.is_fresh(at + 60_001, now)
    assert not clock.is_fresh(at - 60_001, now)
    assert not clock.is_fresh(2**64 - 1, now)


def test_a_moment_without_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="time zone"):
        clock.epoch_of(datetime(2026, 1, 1))  # noqa: DTZ001


def test_a_steered_clock_moves_only_when_told() -> None:
    steered = SteeredClock()
    before = steered.now()
    steered.advance(timedelta(hours=1))
    assert steered.now() - before == timedelta(hours=1)


def test_the_system_clock_is_aware() -> None:
    assert clock.SystemClock().now().tzinfo is UTC
