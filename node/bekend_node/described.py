"""A person without a number, as an officer types one: field by field, on its way to a question and to who compares.

The fields have the names of the BRP. What is typed stays as it is typed, for the colleague who compares; what is asked
by is the canonical combination that is made of it (`names.combine`). Both live in memory only, and in D.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from bekend_proto.identifiers import InvalidIdentifier
from bekend_proto.names import PersonData, combine
from bekend_proto.v1 import signed_pb2

FIELDS: Final = ("geslachtsnaam", "voorvoegsel", "voornamen", "geboortedatum", "postcode", "huisnummer")
"""What a form asks, in its order."""
LONGEST: Final = 200
"""Characters of a field."""

_FITTING: Final = PersonData("Aa", "", "Aa", "31-12-1980", "1000AA", "1")


def from_fields(fields: Mapping[str, str]) -> PersonData:
    """What was typed; white space around it is no part of it."""
    return PersonData(**{name: fields.get(name, "").strip() for name in FIELDS})


def to_fields(data: PersonData) -> dict[str, str]:
    """What was typed, without what was left empty."""
    return {name: text for name in FIELDS if (text := getattr(data, name))}


def on_wire(data: PersonData) -> signed_pb2.Described:
    """As D carries it."""
    return signed_pb2.Described(
        surname=data.geslachtsnaam,
        prefix=data.voorvoegsel,
        given_names=data.voornamen,
        birth_date=data.geboortedatum,
        postcode=data.postcode,
        house_number=data.huisnummer,
    )


def faults_of(kind: str, data: PersonData) -> dict[str, str]:
    """Field -> what is wrong with it, in Dutch and without what stood in it; empty when a combination can be made."""
    try:
        combine(kind, data)
    except InvalidIdentifier as whole:
        found = {}
        for name in FIELDS:
            # The others filled in with something that fits: what is wrong then is this one.
            try:
                combine(kind, replace(_FITTING, **{name: getattr(data, name)}))
            except InvalidIdentifier as fault:
                found[name] = str(fault)
        return found or {FIELDS[0]: str(whole)}
    return {}
