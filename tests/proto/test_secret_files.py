"""A secret is made once, for its owner alone, and whole or not at all."""

import errno
import os
import stat
from pathlib import Path
from unittest.mock import patch

import pytest
from bekend_proto.errors import KeysError
from bekend_proto.secret_files import create_secret, read_secret


def test_a_full_disk_leaves_no_half_key(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "signing.key"
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with patch("os.fsync", side_effect=full), pytest.raises(KeysError, match=r"No space left.*make room"):
        create_secret(path)
    assert not path.exists()
    create_secret(path)
    assert len(read_secret(path)) == 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_what_is_there_is_never_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    create_secret(path)
    before = read_secret(path)
    with pytest.raises(KeysError, match="never overwritten"):
        create_secret(path)
    assert read_secret(path) == before


def test_a_key_of_another_user_is_told_as_that(tmp_path: Path) -> None:
    path = tmp_path / "signing.key"
    create_secret(path)
    closed = PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    with patch.object(Path, "open", side_effect=closed), pytest.raises(KeysError, match="belong to the service's user"):
        read_secret(path)
