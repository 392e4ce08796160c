"""Moments at which late answers are collected: a number and its moment, the same at both sides."""

from datetime import timedelta

from bekend_node.schedule import collect_moment, collect_number, next_switch
from bekend_proto.collecting import FIRST_COLLECT
from hypothesis import given
from hypothesis import strategies as st

OIN = "00000099000000001000"
ASKED = st.integers(1_600_000_000_000, 1_900_000_000_000)
INTERVALS = st.integers(1, 900).map(lambda seconds: timedelta(seconds=seconds))


@given(ASKED, INTERVALS, st.integers(FIRST_COLLECT, 10_000))
def test_a_number_and_its_moment_belong_together(asked: int, interval: timedelta, number: int) -> None:
    moment = collect_moment(OIN, interval, asked, number)
    assert collect_number(OIN, interval, asked, moment) == number
    assert collect_number(OIN, interval, asked, moment - 1) == number - 1
    assert collect_number(OIN, interval, asked, moment + int(interval.total_seconds()) - 1) == number


@given(ASKED, INTERVALS)
def test_the_first_moment_comes_after_the_question_and_lies_on_the_requesters_own_grid(
    asked: int, interval: timedelta
) -> None:
    first = collect_moment(OIN, interval, asked, FIRST_COLLECT)
    assert 0 < first - asked // 1000 <= interval.total_seconds()
    assert first == next_switch(OIN, interval, asked // 1000)
    assert collect_number(OIN, interval, asked, asked // 1000) == FIRST_COLLECT - 1
