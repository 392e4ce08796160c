"""Fixtures that every room's tests may use."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from bekend_deploy.postgres_server import PostgresServer, binaries
from hypothesis import settings

from tests.support.clocks import SteeredClock
from tests.support.order import in_turn
from tests.support.pki import Authority

# No test asserts a duration: a busy machine is no fault.
settings.register_profile("bekend", deadline=None)
settings.load_profile("bekend")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers get long files first; whoever runs the tests alone finds them in the order of the folders."""
    if hasattr(config, "workerinput"):
        place = {file: number for number, file in enumerate(in_turn({_file(item) for item in items}))}
        items.sort(key=lambda item: place[_file(item)])


def _file(item: pytest.Item) -> str:
    return item.nodeid.partition("::")[0]


@pytest.fixture
def clock() -> SteeredClock:
    """A clock that stands still until the test moves it."""
    return SteeredClock()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    """A certificate authority of this test alone."""
    return Authority(tmp_path / "pki")


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL server for all tests of this process.

    Skipped where there is none, unless REQUIRE_POSTGRES says that there must be one.
    """
    found = binaries()
    if found is None:
        if os.environ.get("REQUIRE_POSTGRES"):
            pytest.fail("PostgreSQL is missing: apt-get install postgresql")
        pytest.skip("PostgreSQL is not installed")
    with PostgresServer.running(found) as server:
        yield server
