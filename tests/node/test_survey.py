"""What is kept of a list between looking it through and sending it: a few windows, and no more."""

from collections.abc import Iterator

import pytest
from bekend_node.enrol import plan
from bekend_node.enrol.survey import KEPT_WINDOWS, Source, survey

CERTAIN = plan.Selection(frozenset({"bsn"}))


@pytest.mark.parametrize(("count", "readings"), [(1, 1), (KEPT_WINDOWS, 1), (KEPT_WINDOWS + 1, 3)])
def test_a_list_of_a_few_windows_is_read_once_and_a_longer_one_for_each_purpose(count: int, readings: int) -> None:
    read: list[plan.Report] = []
    windows = [plan.Window({f"bsn:{number}".encode(): 1}) for number in range(count)]

    def reading(report: plan.Report, _: plan.Selection) -> Iterator[plan.Window]:
        read.append(report)
        yield from windows

    found = survey(Source(reading, bytes(32), False, frozenset({"bsn"})), {"a": CERTAIN, "b": CERTAIN}, lambda _: None)
    for purpose in ("a", "b"):
        assert list(found.read[purpose].windows()) == windows
    assert len(read) == readings
