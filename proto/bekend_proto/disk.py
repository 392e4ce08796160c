"""What was written is on the disk, also after a power cut."""

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Return when a file's octets, or the names in a folder, are durable. Raises OSError."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
