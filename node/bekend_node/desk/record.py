"""What was done at the desk, sealed to the own privacy officer: one length, whatever was done and about whom.

    SealedBox(privacy officer, lp(JSON) || zeros)

The node can open none of them. Their hashes stand in the append-only log.
"""

import json
from collections.abc import Mapping
from typing import Final

from bekend_proto.errors import InternalError, KeysError
from bekend_proto.octets import lp
from nacl.public import PrivateKey, PublicKey, SealedBox

_PADDED: Final = 8192
RECORD_LENGTH: Final = _PADDED + 48
"""Octets of a sealed record of the desk."""


def seal_desk_record(privacy_officer: bytes | None, facts: Mapping[str, object]) -> bytes:
    """RECORD_LENGTH octets. Raises KeysError when the manifest names no privacy officer: nothing is done unrecorded."""
    if privacy_officer is None:
        raise KeysError("the manifest names no privacy officer: see `privacy_officer` in node.yaml")
    text = json.dumps(facts, ensure_ascii=False).encode()
    if len(text) > _PADDED - 2:
        raise InternalError("a record of the desk does not fit")
    return bytes(SealedBox(PublicKey(privacy_officer)).encrypt(lp(text).ljust(_PADDED, b"\x00")))


def open_desk_record(box: "SealedBox[PrivateKey]", sealed: bytes) -> dict[str, object]:
    """What a record says, with the privacy officer's private key, off line. Raises CryptoError for another key."""
    padded = box.decrypt(sealed)
    found: dict[str, object] = json.loads(padded[2 : 2 + int.from_bytes(padded[:2], "big")])
    return found
