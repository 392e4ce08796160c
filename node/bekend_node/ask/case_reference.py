"""A case reference as it stands in this node's records: a keyed hash that finds what belongs to a case."""

from bekend_proto.octets import blake


def case_key(state_key: bytes) -> bytes:
    """Under which this node hashes case references: from its state key, so that a database alone tells no case."""
    return blake(32, b"bekend1-casekey", b"", key=state_key)


def case_tag(key: bytes, reference: str | None) -> str:
    """A case reference as it stands beside a lookup (hex): finds the lookups of a case, and reads as nothing."""
    text = (reference or "").strip()
    return blake(16, b"bekend1-casetag", text.encode(), key=key).hex() if text else ""
