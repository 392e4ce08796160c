"""Which replica of the broker is asked first."""

from types import SimpleNamespace
from typing import Any

import pytest
from bekend_node import attach
from bekend_node.ask import broker_line
from bekend_node.ask.broker_line import GrpcLine
from bekend_node.attach import Attachment

ONE, OTHER = "00000099000000001000", "00000099000000002000"


def line(*, stands: bool = True, settled: float = 1.0, attached: tuple[str, ...] = (ONE, OTHER)) -> GrpcLine:
    link: Any = SimpleNamespace(standing=lambda: stands)
    return GrpcLine(link, lambda: settled, lambda: attached)


def order(*lines: GrpcLine) -> list[int]:
    ranked = sorted(lines, key=lambda one: one.rank((ONE, OTHER)))
    return [lines.index(one) for one in ranked]


async def test_a_replica_that_is_down_comes_last_and_one_that_came_back_just_now_before_it() -> None:
    assert order(line(stands=False), line(settled=0.2, attached=()), line()) == [2, 1, 0]
    # What was last heard of who is attached is a minute old: of two that came back, the one of longer ago.
    assert order(line(settled=0.0), line(settled=0.1, attached=())) == [1, 0]


async def test_of_two_that_stand_the_one_that_knows_more_of_the_sources_comes_first() -> None:
    assert order(line(attached=(ONE,)), line()) == [1, 0]
    assert order(line(), line()) == [0, 1]


async def test_one_that_let_somebody_wait_comes_after_the_others_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    slow, other = line(), line(attached=())
    slow.avoid()
    assert order(slow, other) == [1, 0]
    monkeypatch.setattr(broker_line, "AVOIDED_SECONDS", 0)
    slow.avoid()
    assert order(slow, other) == [0, 1]


async def test_a_line_is_settled_once_every_other_node_had_the_time_to_attach(monkeypatch: pytest.MonkeyPatch) -> None:
    nothing: Any = None
    attachment = Attachment(nothing, nothing, nothing, nothing, nothing, nothing, nothing, nothing)
    assert attachment.settled() == 0
    attachment.attached.set()
    monkeypatch.setattr(attach, "LONGEST_PAUSE", 1e9)
    assert 0 < attachment.settled() < 0.5
    monkeypatch.setattr(attach, "LONGEST_PAUSE", 1e-9)
    assert attachment.settled() == 1
