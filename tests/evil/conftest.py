"""One federation on disk for all tests of a session; each test gets its own databases and the first moment again."""

from collections.abc import Iterator

import pytest

from tests.evil.world import World


@pytest.fixture(scope="session")
def _world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return World.build(tmp_path_factory.mktemp("evil") / "world")


@pytest.fixture
def world(_world: World) -> Iterator[World]:
    start = _world.clock.now()
    yield _world
    _world.clock.set(start)
