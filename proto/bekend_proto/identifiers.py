"""The one canonical form of each identifier: what differs in writing must not differ in the group.

An Identifier lives in memory for one operation (protocol section 2). Neither its repr nor any error shows
its value. Numbers are parsed here; combinations of a name with other data are made by `names.combine`.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date
from enum import Enum
from typing import Final, NoReturn


class KindClass(Enum):
    """What a match says. The value is that of the wire's KindClass (proto/bekend_proto/v1/signed.proto)."""

    CERTAIN = 1
    """A number that one register gave to one person."""
    POSSIBLE = 2
    """A combination that several persons can share: a colleague always compares (FG-24)."""


BSN = "bsn"
"""Burgerservicenummer: nine digits that pass the 11-proef (Regeling vaststelling technische eisen BSN, art. 2)."""

SKN = "skn"
"""Strafrechtsketennummer: seven or eight digits without a check digit, taken as they stand.

A domain of its own: what was enrolled as a BSN is never found by an SKN, and nothing here holds both.
"""

V_NUMMER = "v-nummer"
"""Vreemdelingennummer of the migration chain: ten digits, taken as they stand."""

TEST = "test"
"""A number of a synthetic person; only covenants of demo and bench admit it."""

NAME_BIRTH = "naam-geboortedatum"
"""Surname, first given name and date of birth."""

NAME_DAY_MONTH = "naam-dagmaand"
"""The same, whichever of day and month was written first: a key of its own, for dates that may have been swapped."""

NAME_POSTCODE = "naam-postcode"
"""Surname, date of birth, postcode and house number: without a given name, so twins at one address share it."""

NAME_BIRTH_POSTCODE = "naam-geboortedatum-postcode"
"""Surname, first given name, date of birth, postcode and house number (Wmo 5.2.9(6), Jeugdwet 7.2.4)."""

CERTAIN_KINDS: Final = frozenset({BSN, SKN, V_NUMMER, TEST})
"""Kinds of which one value is one person."""

POSSIBLE_KINDS: Final = frozenset({NAME_BIRTH, NAME_DAY_MONTH, NAME_POSTCODE, NAME_BIRTH_POSTCODE})
"""Kinds of which several persons can share a value."""

KINDS: Final = CERTAIN_KINDS | POSSIBLE_KINDS
"""All kinds that this version knows."""

NEW_YEAR: Final = (1, 1)
"""Month and day that registers give whose birthday is unknown: no key without an address has it."""

MOST_LETTERS: Final = 200
"""Of a name, as written and in its canonical form; the BRP holds no longer one (LO BRP, 02.10 and 02.40)."""

_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)
_DIGITS_8_OR_9 = re.compile(r"[0-9]{8,9}")
_TEST_NUMBER = re.compile(r"[1-9][0-9]{0,17}")
_SKN = re.compile(r"[0-9]{7,8}")
_V_NUMMER = re.compile(r"[0-9]{10}")

_SURNAME = rf"[A-Z]{{1,{MOST_LETTERS}}}"
_GIVEN = rf"[A-Z]{{2,{MOST_LETTERS}}}"
_BIRTH = r"(?P<year>[0-9]{4})(?P<month>[0-9]{2})(?P<day>[0-9]{2})"
_ADDRESS = r"[1-9][0-9]{3}[A-Z]{2}/[1-9][0-9]{0,4}"
_COMBINED: Final = {
    NAME_BIRTH: re.compile(f"{_SURNAME}/{_GIVEN}/{_BIRTH}"),
    NAME_DAY_MONTH: re.compile(f"{_SURNAME}/{_GIVEN}/(?P<year>[0-9]{{4}})/(?P<month>[0-9]{{2}})(?P<day>[0-9]{{2}})"),
    NAME_POSTCODE: re.compile(f"{_SURNAME}/{_BIRTH}/{_ADDRESS}"),
    NAME_BIRTH_POSTCODE: re.compile(f"{_SURNAME}/{_GIVEN}/{_BIRTH}/{_ADDRESS}"),
}


class InvalidIdentifier(ValueError):  # noqa: N818 - reads as what it is where a file's lines are refused
    """A text is no identifier of its kind. The message is Dutch, says what to do, and never holds the text."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A canonical identifier. Made by `parse_identifier` and `names.combine` only; shows its kind, never its value."""

    kind: str
    value: str = field(repr=False)

    @property
    def canonical(self) -> bytes:
        """The octets that are hashed: kind ":" value."""
        return f"{self.kind}:{self.value}".encode("ascii")

    def __reduce__(self) -> NoReturn:
        # What is pickled ends up in a queue or a file.
        raise TypeError("an identifier stays in the process that read it")


def class_of(kind: str) -> KindClass:
    """What a match by this kind says. Raises InvalidIdentifier for a kind that this version does not know."""
    if kind not in KINDS:
        raise _unknown_kind()
    return KindClass.POSSIBLE if kind in POSSIBLE_KINDS else KindClass.CERTAIN


def parse_identifier(kind: str, text: str) -> Identifier:
    """The identifier in `text`, white space around it ignored. A combination is taken in its canonical form alone.

    Raises InvalidIdentifier with the reason in plain Dutch.
    """
    text = text.strip()
    if kind in POSSIBLE_KINDS:
        return Identifier(kind, _combination(kind, text))
    parse = _NUMBERS.get(kind)
    if parse is None:
        raise _unknown_kind()
    return Identifier(kind, parse(text))


def _unknown_kind() -> InvalidIdentifier:
    return InvalidIdentifier(f"Deze soort nummer is niet bekend. Kies uit: {', '.join(sorted(KINDS))}.")


def _bsn(text: str) -> str:
    if not text:
        raise InvalidIdentifier("Er is geen BSN ingevuld. Vul 9 cijfers in.")
    if not text.isascii() or not text.isdigit():
        raise InvalidIdentifier("Een BSN bestaat alleen uit cijfers. Haal letters, punten en spaties weg.")
    if not _DIGITS_8_OR_9.fullmatch(text):
        raise InvalidIdentifier("Een BSN heeft 9 cijfers (of 8, zonder de nul vooraan). Controleer het aantal.")
    value = text.zfill(9)
    if value == "000000000":
        raise InvalidIdentifier("Een BSN bestaat niet uit alleen nullen. Controleer het nummer.")
    if sum(weight * int(digit) for weight, digit in zip(_WEIGHTS, value, strict=True)) % 11:
        raise InvalidIdentifier("Dit is geen geldig BSN: het voldoet niet aan de 11-proef. Controleer op typefouten.")
    return value


def _skn(text: str) -> str:
    if not _SKN.fullmatch(text) or not text.strip("0"):
        raise InvalidIdentifier(
            "Een SKN (strafrechtsketennummer) heeft 7 of 8 cijfers, zonder punten of spaties. Controleer het nummer."
        )
    return text


def _v_nummer(text: str) -> str:
    if not _V_NUMMER.fullmatch(text) or not text.strip("0"):
        raise InvalidIdentifier("Een V-nummer heeft 10 cijfers, zonder punten of spaties. Controleer het nummer.")
    return text


def _test(text: str) -> str:
    if not _TEST_NUMBER.fullmatch(text):
        raise InvalidIdentifier("Een testnummer heeft 1 tot 18 cijfers en begint niet met een nul.")
    return text


_NUMBERS: Final[dict[str, Callable[[str], str]]] = {BSN: _bsn, SKN: _skn, V_NUMMER: _v_nummer, TEST: _test}


def _combination(kind: str, text: str) -> str:
    found = _COMBINED[kind].fullmatch(text)
    if found is None or not _is_a_day(kind, *(int(found[part]) for part in ("year", "month", "day"))):
        raise InvalidIdentifier("Deze combinatie heeft niet de vaste vorm. Vul naam en andere gegevens los in.")
    return text


def _is_a_day(kind: str, year: int, month: int, day: int) -> bool:
    try:
        date(year, month, day)
    except ValueError:
        return False
    if kind in (NAME_BIRTH, NAME_DAY_MONTH) and (month, day) == NEW_YEAR:
        return False
    # The lower of the two comes first, and a day that comes first is a month too.
    return kind != NAME_DAY_MONTH or month <= day
