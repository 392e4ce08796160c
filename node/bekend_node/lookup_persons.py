"""The persons of `bekend lookup`: numbers, or (by a combination) names and dates, from a prompt or from stdin.

From stdin a line per person: a number, or `;` between the fields, in the order in which they are asked for. Where a
partner is asked about an age only, the verified date of birth stands behind the number in the same way. Nothing of it
ever stands on a command line, where other users could read it.
"""

import sys
from collections.abc import Iterator
from datetime import date
from typing import Any, Final

from bekend_proto.identifiers import POSSIBLE_KINDS, InvalidIdentifier, parse_identifier

from bekend_node.ask.ages import verified_birth
from bekend_node.described import FIELDS, LONGEST, faults_of, from_fields

_LINE: Final = len(FIELDS) * (LONGEST + 1)
_ASKED: Final = {
    "geslachtsnaam": "Achternaam bij geboorte, zonder voorvoegsel",
    "voorvoegsel": "Voorvoegsel (Enter als er geen is)",
    "voornamen": "Voornamen, voluit",
    "geboortedatum": "Geboortedatum, zoals 31-12-1980",
    "postcode": "Postcode (Enter als die niet nodig is)",
    "huisnummer": "Huisnummer (Enter als dat niet nodig is)",
}


class UnfitError(Exception):
    """What was filled in cannot be asked by; in Dutch, without what it was."""


def read_persons(kind: str, most: int, *, with_birth: bool = False) -> dict[str, list[Any]]:
    """The persons as a request says them, under `identifiers` or `described`. Raises UnfitError.

    `with_birth`: a partner that is asked wants an age; the dates of birth beside numbers go under `born`.
    """
    by_name = kind in POSSIBLE_KINDS
    at_prompt = _described_at_prompt if by_name else _numbers_and_births_at_prompt if with_birth else _numbers_at_prompt
    found = list((at_prompt if sys.stdin.isatty() else _lines)(most))
    if not found:
        raise UnfitError("Er zijn geen gegevens ingevuld." if by_name else "Er is geen nummer ingevuld.")
    if len(found) > most:
        raise UnfitError(f"Voor dit doel vraagt u naar hoogstens {most} personen tegelijk.")
    if not by_name:
        pairs = [line.partition(";") for line in found] if with_birth else [(line, "", "") for line in found]
        numbers, births = [one[0].strip() for one in pairs], [one[2].strip() for one in pairs]
        _check_numbers(kind, numbers)
        _check_births(births)
        return {"identifiers": numbers, **({"born": births} if with_birth else {})}
    return {"described": [_described(kind, index, line) for index, line in enumerate(found, 1)]}


def _check_numbers(kind: str, numbers: list[str]) -> None:
    for index, number in enumerate(numbers, 1):
        try:
            parse_identifier(kind, number)
        except InvalidIdentifier as error:
            raise UnfitError(f"Persoon {index}: {error}") from None


def _check_births(births: list[str]) -> None:
    """The node looks once more, by its own clock."""
    for index, text in enumerate(births, 1):
        try:
            _ = verified_birth(text, date.max) if text else None
        except InvalidIdentifier as error:
            raise UnfitError(f"Persoon {index}: {error}") from None


def _described(kind: str, index: int, line: str) -> dict[str, str]:
    texts = [text.strip() for text in line.split(";")]
    if len(texts) > len(FIELDS) or any(len(text) > LONGEST for text in texts):
        raise UnfitError(f"Persoon {index}: schrijf per regel {';'.join(FIELDS)}, elk hoogstens {LONGEST} tekens.")
    fields = dict(zip(FIELDS, texts, strict=False))
    faults = faults_of(kind, from_fields(fields))
    if faults:
        raise UnfitError("\n".join(f"Persoon {index}: {fault}" for fault in faults.values()))
    return fields


def _numbers_at_prompt(most: int) -> Iterator[str]:
    for index in range(1, most + 1):
        again = ", of Enter als u klaar bent" if index > 1 else ""
        number = _typed(f"Nummer van persoon {index}{again}")
        if not number:
            return
        yield number


def _numbers_and_births_at_prompt(most: int) -> Iterator[str]:
    for index, number in enumerate(_numbers_at_prompt(most), 1):
        which = f" van persoon {index}" if most > 1 else ""
        born = _typed(f"Gecontroleerde geboortedatum{which}, zoals 31-12-2010 (wordt niet bewaard en niet verstuurd)")
        yield f"{number};{born}"


def _described_at_prompt(most: int) -> Iterator[str]:
    for index in range(1, most + 1):
        again = f"Persoon {index}. " if most > 1 else ""
        done = " (Enter als u klaar bent)" if index > 1 else ""
        texts = [_typed(f"{again}{_ASKED[FIELDS[0]]}{done}")]
        if not texts[0]:
            return
        texts += [_typed(f"{again}{_ASKED[name]}") for name in FIELDS[1:]]
        # A field is one field, also with a `;` in it: that is no part of a name, and is refused as such.
        yield ";".join(text.replace(";", ",") for text in texts)


def _typed(question: str) -> str:
    sys.stderr.write(f"{question}: ")
    sys.stderr.flush()
    return sys.stdin.readline(LONGEST + 1).strip()


def _lines(most: int) -> Iterator[str]:
    """One more than allowed is read, so that too many are noticed; a list of any length is not."""
    found = 0
    while found <= most and (line := sys.stdin.readline(_LINE)):
        if line.strip():
            found += 1
            yield line.strip()
