"""A federation whose broker runs in this process, on loopback with mutual TLS."""

from pathlib import Path

import pytest

from tests.support.federation import Federation
from tests.support.pki import Authority


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    """The demo's seven partners, keys and covenant signed; the broker is started by the test."""
    return Federation.create(tmp_path, authority)
