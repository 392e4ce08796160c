"""A federation whose broker runs in this process, on loopback with mutual TLS."""

from pathlib import Path

import pytest
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING

from tests.support.federation import Federation, Party
from tests.support.pki import Authority


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    """The demo's seven partners, keys and covenant signed; the broker is started by the test."""
    return Federation.create(tmp_path, authority)


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
