"""Secrets that systemd hands to a service (systemd.exec(5), LoadCredential), named in a configuration like a path.

tls:
  key: credential:tls-key        # $CREDENTIALS_DIRECTORY/tls-key
"""

import os
import stat
from pathlib import Path
from typing import Final

PREFIX: Final = "credential:"
_VARIABLE: Final = "CREDENTIALS_DIRECTORY"


def credential(value: Path) -> Path | None:
    """Where a value `credential:name` leads; None for a path.

    It stays as it is for a command that runs outside the service: only who reads the secret misses it. See `why_not`.
    """
    name = str(value)
    if not name.startswith(PREFIX):
        return None
    folder = os.environ.get(_VARIABLE)
    return Path(folder) / name.removeprefix(PREFIX) if folder else value


def why_not(path: Path, fault: OSError) -> str:
    """Why a file could not be read, with what to do when it is a credential that was not given."""
    name = str(path)
    if name.startswith(PREFIX):
        name = name.removeprefix(PREFIX)
        return (
            f"{_VARIABLE} is not set: add LoadCredential={name}:PATH to the unit of the service, or run this command "
            "with systemd-run and the same property"
        )
    return fault.strerror or type(fault).__name__


def is_open_to_others(path: Path, mode: int) -> bool:
    """Whether a secret file may be read or written by more than its owner.

    The file of a credential belongs to root and is readable for the service by an access list, which shows as the
    group's read bit; its folder keeps everybody else out.
    """
    folder = os.environ.get(_VARIABLE)
    if folder and path.parent == Path(folder):
        return bool(mode & (stat.S_IRWXO | stat.S_IWGRP | stat.S_IXGRP))
    return bool(mode & (stat.S_IRWXG | stat.S_IRWXO))
