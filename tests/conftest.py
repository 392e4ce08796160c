"""Fixtures that every room's tests may use."""

from pathlib import Path

import pytest

from tests.support.clocks import SteeredClock
from tests.support.pki import Authority


@pytest.fixture
def clock() -> SteeredClock:
    """A clock that stands still until the test moves it."""
    return SteeredClock()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of this test alone."""
    return Authority(tmp_path / "pki")
