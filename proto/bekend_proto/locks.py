"""Locks between processes of one party: files in the data folder that the system lets go of when a process ends."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from bekend_proto.errors import StorageError

SERVE = "serve"
"""Held by the serving node, or the broker that serves from a file."""


@contextlib.contextmanager
def locked(folder: Path, what: str, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock. Raises StorageError, unless told to wait, when another process holds it."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    handle = os.open(folder / f"{what}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError as fault:
            told = f"another process works in {folder} ({what}): wait until it is done, or stop it"
            raise StorageError(told) from fault
        yield
    finally:
        os.close(handle)
