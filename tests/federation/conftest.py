"""A running federation for the tests of this folder: real processes, real certificates, real sockets.

One per test file, small and quick to start. A test that breaks something puts it back.
"""

from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from bekend_deploy.federation import Federation
from bekend_deploy.questions import Truth

PERSONS = 40


def running(folder: Path, *, persons: int = PERSONS, seed: int = 7) -> Iterator[Federation]:
    """A federation with everybody enrolled and every filter published; ended whatever happens."""
    with Federation.build(folder, persons=persons, seed=seed) as made:
        made.start()
        made.enrol_all()
        made.wait_for_filters()
        yield made


@pytest.fixture(scope="module")
def federation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Federation]:
    """One federation for the whole test file."""
    yield from running(tmp_path_factory.mktemp("federation"))


@pytest.fixture(scope="module")
def truth(federation: Federation) -> Truth:
    """What every outcome has to be, computed without the federation."""
    return federation.truth


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With a failure comes the end of every process's log."""
    report = yield
    made = getattr(item, "funcargs", {}).get("federation")
    if report.failed and isinstance(made, Federation):
        for process in (made.broker, *made.nodes.values()):
            if process is not None:
                report.sections.append((f"log of {process.name}", process.tail(15)))
    return report
