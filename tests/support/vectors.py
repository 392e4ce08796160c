"""The committed test vectors, parsed; hex stays hex until a test says `unhex`."""

import json
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent.parent / "vectors"

unhex = bytes.fromhex


def load(name: str) -> Any:
    """The JSON of one vector file."""
    return json.loads((FOLDER / name).read_text(encoding="utf-8"))


CHAIN: dict[str, Any] = load("bekend_v1_chain.json")
RFC9497: list[dict[str, Any]] = load("rfc9497_ristretto255_sha512.json")
