"""The one canonical form of each identifier: what differs in writing must not differ in the group.

An Identifier lives in memory for one operation (protocol section 2). Neither its repr nor any error shows
its value.
"""

import re
from dataclasses import dataclass, field
from typing import NoReturn

BSN = "bsn"
"""Burgerservicenummer: nine digits that pass the 11-proef (Regeling vaststelling technische eisen BSN, art. 2)."""

TEST = "test"
"""A number of a synthetic person; only covenants of demo and bench admit it."""

KINDS = frozenset({BSN, TEST})
"""All kinds that this version knows."""

_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)
_DIGITS_8_OR_9 = re.compile(r"[0-9]{8,9}")
_TEST_NUMBER = re.compile(r"[1-9][0-9]{0,17}")


class InvalidIdentifier(ValueError):  # noqa: N818 - reads as what it is where a file's lines are refused
    """A text is no identifier of its kind. The message is Dutch, says what to do, and never holds the text."""


@dataclass(frozen=True, slots=True)
class Identifier:
    """A canonical identifier. Made by `parse_identifier` only; shows its kind and never its value."""

    kind: str
    value: str = field(repr=False)

    @property
    def canonical(self) -> bytes:
        """The octets that are hashed: kind ":" value."""
        return f"{self.kind}:{self.value}".encode("ascii")

    def __reduce__(self) -> NoReturn:
        # What is pickled ends up in a queue or a file.
        raise TypeError("an identifier stays in the process that read it")


def parse_identifier(kind: str, text: str) -> Identifier:
    """The identifier in `text`, white space around it ignored.

    Raises InvalidIdentifier with the reason in plain Dutch.
    """
    text = text.strip()
    if kind == BSN:
        return Identifier(BSN, _bsn(text))
    if kind == TEST:
        if not _TEST_NUMBER.fullmatch(text):
            raise InvalidIdentifier("Een testnummer heeft 1 tot 18 cijfers en begint niet met een nul.")
        return Identifier(TEST, text)
    raise InvalidIdentifier(f"Deze soort nummer is niet bekend. Kies uit: {', '.join(sorted(KINDS))}.")


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
