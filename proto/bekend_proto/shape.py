"""The lengths of fields in signed payloads: one length per kind, checked before anything is done with them.

proto/README.md lists them. Group elements are decoded besides, by who multiplies them.
"""

from collections.abc import Container, Sequence

from google.protobuf.message import Message

from bekend_proto.errors import MalformedError

_LENGTHS: dict[str, int] = {
    "begin_id": 16,
    "question_id": 16,
    "fetch_id": 16,
    "import_id": 16,
    "requester": 20,
    "source": 20,
    "covenant_hash": 32,
    "question_hash": 32,
    "m_hash": 32,
    "body_hash": 32,
    "transcript": 32,
    "case_commitment": 32,
    "m": 32,
    "x25519": 32,
    "mlkem": 1184,
    "proof": 64,
    "checkpoint": 72,
    "epoch": 6,
    "record_month": 7,
    "as_of": 10,
    "blind": 32,
    "date": 10,
}
"""Octets (or ASCII characters) of single fields, by name: a name means the same in every payload."""

_ITEM_LENGTHS: dict[str, int] = {
    "elements": 32,
    "seal_hashes": 32,
    "received": 32,
    "evaluated": 32,
    "messages": 4096,
}
"""Octets of each item of a repeated field."""

MAX_PERSONS = 8
"""Persons in one Begin, Question or Answer."""


def check_shape(message: Message) -> None:
    """Raises MalformedError when a field of a signed payload has a length that no sender gives it, or no value.

    Of an enumeration, zero and the numbers that this version does not know are no values.
    """
    for name, descriptor in message.DESCRIPTOR.fields_by_name.items():
        value = getattr(message, name)
        if name in _LENGTHS and len(value) != _LENGTHS[name]:
            raise MalformedError(f"{name} has {_LENGTHS[name]} octets")
        if name == "on_behalf_of" and len(value) not in {0, 20}:
            raise MalformedError("on_behalf_of is empty or an OIN of 20 positions")
        if descriptor.enum_type is not None:
            _check_enum(name, value, descriptor.enum_type.values_by_number)
        if name in _ITEM_LENGTHS and descriptor.type == descriptor.TYPE_BYTES:
            _check_items(name, value)


def _check_enum(name: str, value: int | Sequence[int], known: Container[int]) -> None:
    """One value, or one per person."""
    values = [value] if isinstance(value, int) else value
    if not 1 <= len(values) <= MAX_PERSONS or any(one == 0 or one not in known for one in values):
        raise MalformedError(f"{name} is no value of this version")


def _check_items(name: str, items: list[bytes]) -> None:
    if not 1 <= len(items) <= MAX_PERSONS or any(len(item) != _ITEM_LENGTHS[name] for item in items):
        raise MalformedError(f"{name} holds 1 to {MAX_PERSONS} items of {_ITEM_LENGTHS[name]} octets")
