"""Secrets of a party as files: 32 random octets as hex, of mode 0600, made once and never overwritten."""

import os
import re
import secrets
from pathlib import Path

from bekend_proto.credentials import is_open_to_others
from bekend_proto.disk import sync
from bekend_proto.errors import KeysError


def create_secret(path: Path) -> None:
    """Write 32 fresh random octets as hex to a new file; on disk when this returns.

    Raises KeysError when it exists or cannot be written; of a write that fails nothing is left.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as fault:
        raise KeysError(f"{path} exists already: keys are created once and never overwritten") from fault
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(secrets.token_hex(32) + "\n")
            file.flush()
            os.fsync(file.fileno())
    except OSError as fault:
        path.unlink()  # half a key would count as one that is there, and never be made again
        raise KeysError(f"{path} cannot be written ({fault.strerror}): make room, and run this again") from fault
    sync(path.parent)


def read_secret(path: Path) -> bytes:
    """Read 32 octets written by `create_secret`.

    Raises KeysError when the file is missing, of another user, open to others, or not 64 hex digits.
    """
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(200)
    except PermissionError as fault:
        raise KeysError(f"{path} cannot be read ({fault.strerror}): it must belong to the service's user") from fault
    except OSError as fault:
        raise KeysError(
            f"{path} cannot be read ({fault.strerror}): restore it, or run `bekend node init` (`bekend broker init`)"
        ) from fault
    if is_open_to_others(path, mode):
        raise KeysError(f"{path} is readable by others: run `chmod 600 {path}`")
    if not re.fullmatch(rb"[0-9a-f]{64}\s*", text):
        raise KeysError(f"{path} does not hold 64 hex digits: restore it from where keys are kept")
    return bytes.fromhex(text.decode())
