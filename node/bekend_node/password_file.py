"""A password of the organisation's own systems: one line in a file that nobody else may read, or a credential."""

import os
from pathlib import Path

from bekend_proto.credentials import is_open_to_others, why_not
from bekend_proto.errors import KeysError


def read_password(path: Path, what: str) -> str:
    """The password in a file; `what` needs it. Raises KeysError with the remedy."""
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            text = file.read(1000).decode("utf-8").strip()
    except OSError as fault:
        raise KeysError(f"{what}: {path} cannot be read ({why_not(path, fault)}): check `password`") from None
    except UnicodeDecodeError:
        raise KeysError(f"{what}: {path} holds no text: it must hold the password, on one line") from None
    if is_open_to_others(path, mode):
        raise KeysError(f"{path} is readable by others: run `chmod 600 {path}`")
    if not text or "\n" in text:
        raise KeysError(f"{what}: {path} must hold the password, on one line")
    return text
