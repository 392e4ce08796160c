"""One person written down twice: by a register, and by whoever asks. What differs, and how often, stands in RATES.

The rates are estimates of this field's registers, from the kinds of differences that record linkage reports; the words
in which names differ between alphabets are made by rules of spelling, not from the table that the service has.
"""

import random
import re
from bisect import bisect
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from itertools import accumulate
from types import MappingProxyType
from typing import Final

from bekend_proto.names import PersonData

from bekend_bench.origins import ORIGINS, YEARS, Origin, surnames_of

RATES: Final[Mapping[str, float]] = MappingProxyType(
    {
        "voorvoegsel in another place": 0.5,
        "voorvoegsel left out": 0.02,
        "partner's name joined to the own, partner stated": 0.08,
        "partner's name joined to the own": 0.05,
        "partner's name instead of the own": 0.10,
        "given names in another order": 0.02,
        "call name instead of the first given name": 0.05,
        "an initial alone": 0.02,
        "typing error in the surname": 0.012,
        "typing error in the given name": 0.012,
        "OCR error": 0.005,
        "marks on letters left out": 0.5,
        "ij written as y": 0.05,
        "romanised in another way": 0.3,
        "one name of a chain left out": 0.25,
        "day and month swapped": 0.01,
        "another day": 0.008,
        "1 January for one, unknown for the other": 0.06,
        "moved": 0.12,
        "moved, as people of this field do": 0.35,
    }
)
"""Share of persons with this difference, among those whom it can befall (married women, Dutch names, and so on)."""

_PREFIX: Final = re.compile(r"((?:van|von|de|den|der|het|'t|te|ten|ter|in|op|el|al|la|le|du|ver) )+", re.IGNORECASE)
_OCR: Final = (("rn", "m"), ("m", "rn"), ("li", "h"), ("e", "c"), ("i", "l"), ("o", "0"), ("s", "5"), ("g", "q"))
_ROMANISED: Final = (
    ("mm", "m"),
    ("ss", "s"),
    ("ou", "u"),
    ("u", "ou"),
    ("kh", "ch"),
    ("sh", "ch"),
    ("ee", "i"),
    ("ei", "ai"),
    ("a", "e"),
    ("e", "a"),
    ("i", "e"),
    ("dj", "j"),
    ("j", "dj"),
    ("q", "k"),
    ("k", "q"),
    ("ph", "f"),
    ("y", "i"),
    ("ay", "ai"),
    ("gh", "g"),
    ("o", "u"),
)
_CALL_NAMES: Final = {
    "Johannes": "Jan",
    "Cornelis": "Kees",
    "Hendrik": "Henk",
    "Willem": "Wim",
    "Pieter": "Piet",
    "Petrus": "Peter",
    "Antonius": "Ton",
    "Wilhelmina": "Willy",
    "Johanna": "Annie",
    "Cornelia": "Corrie",
    "Elisabeth": "Bep",
    "Maria": "Ria",
    "Margaretha": "Greet",
}
_NEAR: Final = dict(zip("qwertyuiopasdfghjklzxcvbnm", "wqwrtyuioosadfghjkkxzcvbnn", strict=True))


@dataclass(frozen=True)
class Pair:
    """The same person twice; `what` names the differences."""

    origin: Origin
    register: PersonData = field(repr=False)
    asker: PersonData = field(repr=False)
    what: tuple[str, ...]


class Writers:
    """Draws persons and writes each down twice; the same ones for one seed."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)  # noqa: S311 - persons, not keys
        self._tables: dict[int, tuple[list[str], list[float]]] = {}
        self._what: list[str] = []

    def pair(self, origin: Origin) -> Pair:
        """Somebody of this origin."""
        self._what = []
        age = self._random.randint(15, 65)
        woman = self._random.random() < 0.5
        given = (origin.women if woman else origin.men).at(age).table()
        names = [self._of(given) for _ in range(self._random.choice((1, 1, 2, 2, 3)))]
        born = self._birthday(origin, age)
        surname = self._of(surnames_of(origin))
        partner = self._of(surnames_of(origin)) if woman and age > 27 and self._random.random() < 0.5 else ""
        has_address = self._random.random() >= origin.no_address
        prefix, own = split(surname)
        register = PersonData(
            geslachtsnaam=own,
            voorvoegsel=prefix,
            voornamen=" ".join(names),
            geboortedatum=f"{born:%Y%m%d}",
            postcode=self._postcode() if has_address else "",
            huisnummer=str(self._random.randint(1, 250)) if has_address else "",
        )
        asker = self._dates(origin, born, self._address(origin, self._names(origin, register, names, partner)))
        return Pair(origin, register, asker, tuple(self._what))

    def happens(self, what: str) -> bool:
        """Whether this difference befalls the person at hand; it is noted then."""
        if self._random.random() >= RATES[what]:
            return False
        self._what.append(what)
        return True

    def _of(self, table: tuple[list[str], list[float]]) -> str:
        names, shares = table
        if id(names) not in self._tables:
            self._tables[id(names)] = (names, list(accumulate(shares)))
        _, sums = self._tables[id(names)]
        return names[min(bisect(sums, self._random.random() * sums[-1]), len(names) - 1)]

    def _birthday(self, origin: Origin, age: int) -> date:
        year = 2025 - min(age, YEARS - 2)
        if age >= 18 and self._random.random() < origin.new_year:
            return date(year, 1, 1)
        return date(year, 1, 1) + timedelta(self._random.randrange(365))

    def _postcode(self) -> str:
        return f"{self._random.randint(1000, 9999)} {''.join(self._random.choices('ABCDEFGHJKLMNPRSTVWXZ', k=2))}"

    def _names(self, origin: Origin, register: PersonData, names: list[str], partner: str) -> PersonData:
        own = f"{register.voorvoegsel} {register.geslachtsnaam}".strip()
        chain = origin.patronymic and " " in register.geslachtsnaam
        if chain and self.happens("one name of a chain left out"):
            own = register.geslachtsnaam.split()[0]
        own = self._written(origin, own, "typing error in the surname")
        prefix, rest = split(own)
        asker = replace(register, geslachtsnaam=own, voorvoegsel="")
        if prefix and self.happens("voorvoegsel left out"):
            asker = replace(asker, geslachtsnaam=rest)
        elif prefix and self.happens("voorvoegsel in another place"):
            asker = replace(asker, geslachtsnaam=self._random.choice((f"{rest}, {prefix}", f"{rest} {prefix}")))
        elif self._random.random() < 0.5:
            asker = replace(asker, geslachtsnaam=rest, voorvoegsel=prefix)
        if partner:
            asker = self._married(asker, partner)
        return replace(asker, voornamen=" ".join(self._given(origin, names)))

    def _married(self, asker: PersonData, partner: str) -> PersonData:
        own = f"{asker.voorvoegsel} {asker.geslachtsnaam}".strip()
        if self.happens("partner's name instead of the own"):
            return replace(asker, geslachtsnaam=partner, voorvoegsel="")
        both = self._random.choice((f"{partner}-{own}", f"{own}-{partner}"))
        if self.happens("partner's name joined to the own, partner stated"):
            return replace(asker, geslachtsnaam=both, voorvoegsel="", partner_geslachtsnaam=partner)
        if self.happens("partner's name joined to the own"):
            return replace(asker, geslachtsnaam=both, voorvoegsel="")
        return asker

    def _given(self, origin: Origin, names: list[str]) -> list[str]:
        if len(names) > 1 and self.happens("given names in another order"):
            names = names[1:] + names[:1]
        if names[0] in _CALL_NAMES and self.happens("call name instead of the first given name"):
            names = [_CALL_NAMES[names[0]]]
        if self.happens("an initial alone"):
            return [f"{name[0]}." for name in names]
        return [self._written(origin, names[0], "typing error in the given name"), *names[1:]]

    def _written(self, origin: Origin, name: str, slip: str) -> str:
        if origin.romanised and self.happens("romanised in another way"):
            name = self._changed(name, _ROMANISED)
        if not name.isascii() and self.happens("marks on letters left out"):
            name = name.translate(_BARE)
        if "ij" in name and self.happens("ij written as y"):
            name = name.replace("ij", "y")
        if self.happens("OCR error"):
            name = self._changed(name, _OCR)
        return self._mistyped(name) if self.happens(slip) else name

    def _changed(self, name: str, rules: tuple[tuple[str, str], ...]) -> str:
        fitting = [rule for rule in rules if rule[0] in name[1:]]
        if not fitting:
            return name
        old, new = self._random.choice(fitting)
        return name[0] + name[1:].replace(old, new, 1)

    def _mistyped(self, text: str) -> str:
        place = self._random.randrange(1, len(text))
        before, sign, behind = text[:place], text[place], text[place + 1 :]
        return self._random.choice(
            (
                before + behind,
                before + sign + sign + behind,
                before + _NEAR.get(sign, "e") + behind,
                before + behind[:1] + sign + behind[1:],
            )
        )

    def _dates(self, origin: Origin, born: date, asker: PersonData) -> PersonData:
        written = f"{born:%d-%m-%Y}"
        if (born.month, born.day) == (1, 1) and origin.new_year:
            if self.happens("1 January for one, unknown for the other"):
                written = f"00-00-{born.year}"
        elif born.day <= 12 and self.happens("day and month swapped"):
            written = f"{born:%m-%d-%Y}"
        elif self.happens("another day"):
            written = f"{born + timedelta(self._random.choice((-10, -1, 1, 10))):%d-%m-%Y}"
        return replace(asker, geboortedatum=written)

    def _address(self, origin: Origin, asker: PersonData) -> PersonData:
        moved = "moved" if origin is ORIGINS[0] else "moved, as people of this field do"
        if asker.postcode and self.happens(moved):
            return replace(asker, postcode=self._postcode(), huisnummer=str(self._random.randint(1, 250)))
        return asker


def split(surname: str) -> tuple[str, str]:
    """Voorvoegsel and the rest, as a register keeps them."""
    found = _PREFIX.match(surname)
    return (found[0].strip(), surname[found.end() :]) if found else ("", surname)


_BARE: Final = str.maketrans("ıİşŞğĞçÇöÖüÜłŁąĄęĘóÓśŚńŃźŹżŻćĆșȘțȚăĂâÂîÎëé", "iIsSgGcCoOuUlLaAeEoOsSnNzZzZcCsStTaAaAiIee")
