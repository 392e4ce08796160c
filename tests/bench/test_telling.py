"""The classifier: it finds what is there, and nothing where there is nothing."""

import random

import pytest
from bekend_bench.telling import tell


def rows(count: int, seed: int, shift: float = 0.0) -> tuple[list[list[float]], list[str]]:
    """Noise, in which the first number of `yes` is higher by `shift` times its spread."""
    draw = random.Random(seed)
    labels = ["yes" if place % 2 else "no" for place in range(count)]
    return [[draw.gauss(shift * (one == "yes"), 1), draw.random(), 7.0] for one in labels], labels


def test_noise_tells_nothing() -> None:
    verdict = tell(*rows(120, 3), shuffles=199)
    assert verdict.low <= 0.5 <= verdict.high
    assert verdict.p > 0.01


@pytest.mark.parametrize("shift", [1.5, 10])
def test_a_difference_is_found(shift: float) -> None:
    verdict = tell(*rows(120, 3, shift), shuffles=199)
    assert verdict.low > 0.5
    assert verdict.p <= 0.01


def test_one_odd_value_does_not_hide_a_difference() -> None:
    found, labels = rows(120, 3, 3)
    found[0][0] = 1e9
    assert tell(found, labels, shuffles=199).p <= 0.01


def test_too_few_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="ten"):
        tell([[1.0]] * 4, ["a", "b"] * 2)
