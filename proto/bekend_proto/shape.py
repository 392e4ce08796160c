"""The lengths of fields in signed payloads: one length per kind, checked before anything is done with them.

proto/README.md lists them. Group elements are decoded besides, by who multiplies them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache, partial
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.message import Message

from bekend_proto.errors import MalformedError
from bekend_proto.v1.signed_pb2 import KIND_CLASS_POSSIBLE

_LENGTHS: dict[str, int] = {
    "begin_id": 16,
    "question_id": 16,
    "fetch_id": 16,
    "import_id": 16,
    "request_id": 16,
    "requester": 20,
    "source": 20,
    "covenant_hash": 32,
    "question_hash": 32,
    "log_id": 32,
    "m_hash": 32,
    "body_hash": 32,
    "transcript": 32,
    "case_commitment": 32,
    "m": 32,
    "x25519": 32,
    "mlkem": 1184,
    "element": 32,
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

MAX_SOURCES = 400
"""Sources in one question: Questions in an Ask, entries in an InclusionPromise, partners that a purpose may let a
question reach. All gemeenten of the country and the partners beside them are 381.
"""

_ABSENT: dict[str, frozenset[int]] = {
    "FetchOrder.kind_class": frozenset({0, KIND_CLASS_POSSIBLE}),
    "FilterHeader.kind_class": frozenset({0, KIND_CLASS_POSSIBLE}),
}
"""Enumerations of which absence is a value, that is then written in no other way: the certain class of a filter."""

MAX_PERSONS = 8
"""Persons in one Begin, Question or Answer."""

MAX_ASKED = 512
"""Persons times sources of one question: what a broker multiplies for one Ask, and what fits in one message."""

_Rule = Callable[[str, Any], None]
"""Given a field's name and value, raises MalformedError unless they fit."""


@dataclass(frozen=True, slots=True)
class _Shape:
    """The fields of a payload that have a shape: worked out once, as every message is checked."""

    lengths: tuple[tuple[str, int], ...]
    items: tuple[tuple[str, int], ...]
    others: tuple[tuple[str, _Rule], ...]


def check_shape(message: Message) -> None:
    """Raises MalformedError when a field of a signed payload has a length that no sender gives it, or no value.

    Of an enumeration, zero (but where absence says something) and the numbers that this version does not know are no
    values.
    """
    shape = _shape_of(message.DESCRIPTOR)
    for name, length in shape.lengths:
        if len(getattr(message, name)) != length:
            raise MalformedError(f"{name} has {length} octets")
    for name, length in shape.items:
        items = getattr(message, name)
        if not 1 <= len(items) <= MAX_PERSONS or any(len(item) != length for item in items):
            raise MalformedError(f"{name} holds 1 to {MAX_PERSONS} items of {length} octets")
    for name, rule in shape.others:
        rule(name, getattr(message, name))


@cache
def _shape_of(descriptor: Descriptor) -> _Shape:
    fields = descriptor.fields_by_name
    others: list[tuple[str, _Rule]] = []
    for name, field in fields.items():
        if name == "promised":
            others.append((name, _check_promised))
        if name == "on_behalf_of":
            others.append((name, _check_on_behalf_of))
        if field.enum_type is not None:
            known = frozenset(field.enum_type.values_by_number) - {0}
            others.append((name, partial(_check_value, _ABSENT.get(f"{descriptor.name}.{name}", known))))
    return _Shape(
        lengths=tuple((name, _LENGTHS[name]) for name in fields if name in _LENGTHS),
        items=tuple(
            (name, _ITEM_LENGTHS[name])
            for name, field in fields.items()
            if name in _ITEM_LENGTHS and field.type == field.TYPE_BYTES
        ),
        others=tuple(others),
    )


def _check_on_behalf_of(name: str, value: str) -> None:
    if len(value) not in {0, 20}:
        raise MalformedError(f"{name} is empty or an OIN of 20 positions")


def _check_value(known: frozenset[int], name: str, value: int | Sequence[int]) -> None:
    """One value, or one per person."""
    values = [value] if isinstance(value, int) else value
    if not 1 <= len(values) <= MAX_PERSONS or not known.issuperset(values):
        raise MalformedError(f"{name} is no value of this version")


def _check_promised(name: str, entries: Sequence[Message]) -> None:
    if not 1 <= len(entries) <= MAX_SOURCES:
        raise MalformedError(f"{name} holds 1 to {MAX_SOURCES} entries")
    for entry in entries:
        check_shape(entry)
