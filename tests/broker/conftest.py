"""A federation whose broker runs in this process, on loopback with mutual TLS.

The tests of what a broker keeps run twice: with a file of SQLite, and with a real PostgreSQL server.
"""

from pathlib import Path
from typing import Final

import pytest
from bekend_broker.config import DatabaseServer
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING
from bekend_deploy.postgres_server import PostgresServer

from tests.support.federation import Federation, Party
from tests.support.pki import Authority

ON_BOTH: Final = frozenset(
    {
        "test_access",
        "test_budgets",
        "test_checkpoints",
        "test_decisions",
        "test_directory",
        "test_enrolment",
        "test_releases",
        "test_retention",
        "test_storage",
    }
)
KINDS: Final = ("sqlite", "postgres")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Both databases where it matters, one elsewhere."""
    if "database" in metafunc.fixturenames:
        both = metafunc.module.__name__.rpartition(".")[2] in ON_BOTH
        metafunc.parametrize("database", KINDS if both else KINDS[:1], indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest) -> DatabaseServer | None:
    """A PostgreSQL database of the test's own; None where the broker keeps a file."""
    if request.param == "sqlite":
        return None
    server: PostgresServer = request.getfixturevalue("postgres")
    return server.database()


@pytest.fixture
def federation(tmp_path: Path, authority: Authority, database: DatabaseServer | None) -> Federation:
    """The demo's seven partners, keys and covenant signed; the broker is started by the test."""
    return Federation.create(tmp_path, authority, database=database)


@pytest.fixture
def om(federation: Federation) -> Party:
    """Asks under zsm-context; is itself a source for the Zorg- en Veiligheidshuis."""
    return federation.parties[OM.oin]


@pytest.fixture
def politie(federation: Federation) -> Party:
    """Answers automatically under zsm-context and may ask for nothing."""
    return federation.parties[POLITIE.oin]


@pytest.fixture
def reclassering(federation: Federation) -> Party:
    """Answers under a standing decision."""
    return federation.parties[RECLASSERING.oin]


@pytest.fixture
def haarlem(federation: Federation) -> Party:
    """Asks and answers under zvh-weging-betrokkenheid."""
    return federation.parties[HAARLEM.oin]
