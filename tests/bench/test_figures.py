"""The arithmetic of the bench: percentiles, bars, the floor's sums, the report. No duration is asserted."""

import json
from collections import Counter
from dataclasses import fields
from datetime import UTC, datetime

import pytest
from bekend_bench import prescribed
from bekend_bench.figures import Bar, Figure, at_least, at_most, median, number, percentile
from bekend_bench.floor import Floor
from bekend_bench.report import Report
from hypothesis import given
from hypothesis import strategies as st


def floor(**changes: float) -> Floor:
    return Floor(**{field.name: 1.0 for field in fields(Floor)} | changes)


@given(st.lists(st.floats(0, 1e6), min_size=1), st.floats(0.01, 1))
def test_a_percentile_is_one_of_the_values_and_covers_its_share(values: list[float], share: float) -> None:
    found = percentile(values, share)
    assert found in values
    assert sum(value <= found for value in values) >= share * len(values) - 1e-6
    assert sum(value < found for value in values) < share * len(values) + 1e-6


def test_percentiles_by_nearest_rank() -> None:
    assert percentile(range(1, 101), 0.99) == 99
    assert median([3, 1, 2]) == 2
    assert percentile([7], 0.99) == 7


@pytest.mark.parametrize(("values", "share"), [([], 0.5), ([1], 0), ([1], 1.1)])
def test_a_percentile_of_nothing_is_refused(values: list[float], share: float) -> None:
    with pytest.raises(ValueError, match="percentile"):
        percentile(values, share)


def test_bars_hold_ratios_from_below_and_values_from_above() -> None:
    assert Figure("p", "w", 1, "s", 0.7, at_least(0.7)).met is True
    assert Figure("p", "w", 1, "s", 0.69, at_least(0.7)).met is False
    assert Figure("p", "w", 60, "ms", None, at_most(60)).met is True
    assert Figure("p", "w", 61, "ms", 5.0, at_most(60)).met is False
    assert Figure("p", "w", 61, "ms").met is None


def test_a_bar_on_a_ratio_that_was_not_measured_is_missed() -> None:
    assert Bar(0.5).met(Figure("p", "w", 1, "s")) is False


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0, "0"), (0.01234, "0.0123"), (1.5, "1.50"), (47.11, "47.1"), (815.4, "815"), (23456, "23,456")],
)
def test_numbers_have_three_digits(value: float, shown: str) -> None:
    assert number(value) == shown


def test_every_prescribed_operation_is_in_the_floor() -> None:
    known = {field.name for field in fields(Floor)}
    for operations in (prescribed.BEGIN, prescribed.PER_SOURCE, prescribed.PER_ENROLLED, prescribed.PER_TAG):
        assert set(operations) <= known


def test_a_lookup_costs_its_begin_and_each_source() -> None:
    one, six = prescribed.lookup(1), prescribed.lookup(6)
    assert six - one == Counter({name: 5 * count for name, count in prescribed.PER_SOURCE.items()})
    assert prescribed.seconds(six, floor()) == sum(six.values())


def test_bulk_work_is_spread_over_the_cores_at_the_speed_that_they_reach_together() -> None:
    work = Counter(multiply=10)
    assert prescribed.bulk_seconds(work, floor(multiply_all_cores=0.5), 2) == 5
    assert prescribed.bulk_seconds(work, floor(multiply_all_cores=0.6), 2) == 6


def test_bulk_work_does_not_wait_for_the_disk() -> None:
    work = Counter(durable_insert=4)
    assert (
        prescribed.bulk_seconds(work, floor(multiply_all_cores=0.5, durable_insert=9.0, durable_insert_cpu=2.0), 2) == 4
    )
    assert prescribed.seconds(work, floor(durable_insert=9.0)) == 36


def test_cores_together_are_never_taken_for_faster_than_one_alone() -> None:
    assert prescribed.bulk_seconds(Counter(multiply=10), floor(multiply_all_cores=0.1), 2) == 5


def test_the_report_reads_the_same_as_json_and_as_a_table() -> None:
    figures = [
        Figure("rebuild", "100 pseudonyms", 20_000, "tags/s", 0.95, at_least(0.9)),
        Figure("lookups", "6 partners, p50", 75, "ms", 0.3, at_most(60)),
        Figure("storage", "memory", 3.5, "octets/pseudonym"),
    ]
    report = Report(datetime(2026, 11, 22, tzinfo=UTC), {"cores": 2}, False, floor(), figures, 60.0, {"rebuild": 0.25})
    tree = json.loads(json.dumps(report.to_json()))
    assert [one["met"] for one in tree["figures"]] == [True, False, None]
    assert tree["missed"] == 1
    table = report.markdown()
    assert "at least 90%" in table
    assert "meanwhile: rebuild 25%" in table
    assert "at most 60.0 ms" in table
    assert table.count("MISSED") == 1
    assert len({line.count("|") for line in table.splitlines() if "pseudonyms" in line or "p50" in line}) == 1
