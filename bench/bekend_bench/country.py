"""A generated country: 18 million persons as columns, and how many of them share a key with somebody who is enrolled.

Names are drawn from `origins`, brought into their canonical form by the shipped rules, and counted. Nothing about a
collision is sampled: every person who may be asked about is held against every person who is enrolled.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, TypeAlias

import numpy as np
from bekend_proto.identifiers import NAME_BIRTH, NAME_DAY_MONTH, NAME_POSTCODE
from bekend_proto.names import PersonData, canonical_name

from bekend_bench.given_names import Given
from bekend_bench.linkage import plain_letters
from bekend_bench.origins import ORIGINS, YEARS, Origin, surnames_of
from bekend_bench.wrong_hits import Wrong

TODAY: Final = date(2026, 11, 1)
TWINS: Final = 0.032
"""Share of persons who are one of twins: 16 births in a thousand."""

_AT_HOME: Final = 21
_STILL_TOGETHER: Final = 0.08
_ADULT: Final = 18
_PERSONS_PER_ADDRESS: Final = 2.15
_CENTRES: Final = 300
_BITS: Final = 27
_ODD: Final = np.uint64(0x9E3779B97F4A7C15)
_OTHER_ODD: Final = np.uint64(0xD6E8FEB86659FD93)

Column: TypeAlias = Any
"""An array of numpy, a number a row: of no closer type, since numpy is an extra."""
Canonical = Callable[[str], str]


class Numbers:
    """One number for each canonical form; kept, so that a second country asks nothing anew."""

    def __init__(self, canonical: Canonical) -> None:
        self._canonical = canonical
        self._numbers: dict[str, int] = {}
        self._tables: dict[int, Column] = {}

    def __len__(self) -> int:
        return len(self._numbers)

    def of(self, names: list[str]) -> Column:
        """The numbers of these names, in their order. A list that was seen before is known by its identity."""
        if id(names) not in self._tables:
            numbers = [self._numbers.setdefault(self._canonical(name), len(self._numbers)) for name in names]
            self._tables[id(names)] = np.array(numbers, dtype=np.int64)
        return self._tables[id(names)]


@dataclass(frozen=True)
class Rules:
    """Canonical forms of surname and given name, shipped or others to compare them with."""

    surname: Numbers
    given: Numbers


def shipped() -> Rules:
    """The rules that the service has."""
    return Rules(Numbers(_surname), Numbers(_given))


def plain() -> Rules:
    """Letters alone, voorvoegsel included, no spellings: what one would do without rules."""
    return Rules(Numbers(plain_letters), Numbers(plain_letters))


def _surname(text: str) -> str:
    return canonical_name(PersonData(geslachtsnaam=text, voornamen="Anna")).surname


def _given(text: str) -> str:
    return canonical_name(PersonData(geslachtsnaam="Bakker", voornamen=text)).given or ""


@dataclass(frozen=True)
class Country:
    """Columns, one row a person. `born` counts days from the first that is possible; `address` is -1 without one."""

    origin: Column
    born: Column
    surname: Column
    given: Column
    address: Column
    names: int
    enrolled: Column
    asked: Column
    days: "Days"

    def __len__(self) -> int:
        return len(self.origin)


class Days:
    """Every day on which somebody may be born."""

    def __init__(self) -> None:
        first = date(TODAY.year - YEARS + 1, 1, 1)
        self.count = TODAY.toordinal() - first.toordinal()
        every = [date.fromordinal(first.toordinal() + day) for day in range(self.count)]
        self.new_year = np.array([date(day.year, 1, 1).toordinal() - first.toordinal() for day in every])
        low_high = [(day.year, *sorted((day.month, day.day))) for day in every]
        numbers = {key: number for number, key in enumerate(sorted(set(low_high)))}
        self.day_month = np.array([numbers[key] for key in low_high], dtype=np.int64)
        self.age = np.array(
            [TODAY.year - day.year - ((TODAY.month, TODAY.day) < (day.month, day.day)) for day in every]
        )


def generate(seed: int, rules: Rules, *, scale: float = 1.0, enrolled: int = 3_000_000) -> Country:
    """A country of 18 million times `scale`, of whom `enrolled` times `scale` are enrolled; the same for one seed."""
    random, days = np.random.default_rng(seed), Days()
    counts = [int(one.persons * 1000 * scale) // 2 * 2 for one in ORIGINS]
    every = list(zip(ORIGINS, counts, strict=True))
    origin = np.repeat(np.arange(len(ORIGINS), dtype=np.int8), counts)
    born = np.concatenate([_born(random, days, one, count) for one, count in every])
    surnames = np.concatenate([_drawn(random, rules.surname, surnames_of(one), count) for one, count in every])
    # Twins are neighbours: two of one name and day, under one roof as long as they are children.
    twins = np.flatnonzero(random.random(len(born) // 2) < TWINS) * 2
    born[twins + 1], surnames[twins + 1] = born[twins], surnames[twins]
    age = days.age[born]
    givens = _given_names(random, rules.given, origin, age)
    alike = twins[givens[twins] == givens[twins + 1]]
    givens[alike + 1] = (givens[alike] + 1) % len(rules.given)
    address = _addresses(random, origin)
    together = twins[(age[twins] < _AT_HOME) | (random.random(len(twins)) < _STILL_TOGETHER)]
    address[together + 1] = address[together]
    likelier = np.array([one.enrolled for one in ORIGINS])[origin] * _enrolled_at(age)
    chosen = random.random(len(origin)) < likelier * (enrolled * scale / likelier.sum())
    return Country(origin, born, surnames, givens, address, len(rules.given), chosen, _asked(origin, age), days)


def _born(random: Any, days: Days, origin: Origin, count: int) -> Column:
    ages = days.age
    weight = np.where(ages <= 65, 1.0, 1 - (ages - 65) / 25)
    if origin is not ORIGINS[0]:
        weight = weight * np.where((ages >= 18) & (ages < 46), 2.0, np.where(ages > 65, 0.4, 1.0))
    born = np.searchsorted(np.cumsum(weight / weight.sum()), random.random(count)).clip(0, days.count - 1)
    moved = (random.random(count) < origin.new_year) & (ages[born] >= _ADULT)
    made: Column = np.where(moved, days.new_year[born], born)
    return made


def _drawn(random: Any, numbers: Numbers, table: tuple[list[str], list[float]], count: int) -> Column:
    """So many draws, each by itself: how often each name falls, then shuffled."""
    names, shares = table
    weights = np.array(shares)
    column = np.repeat(numbers.of(names), random.multinomial(count, weights / weights.sum()))
    random.shuffle(column)
    return column


def _given_names(random: Any, numbers: Numbers, origin: Column, age: Column) -> Column:
    made = np.zeros(len(origin), dtype=np.int64)
    women = random.random(len(origin)) < 0.5
    for number, one in enumerate(ORIGINS):
        for sex, table in ((False, one.men), (True, one.women)):
            rows = np.flatnonzero((origin == number) & (women == sex))
            for least, most in _spans(table):
                some = rows[(age[rows] >= least) & (age[rows] < most)]
                made[some] = _drawn(random, numbers, table.at(least).table(), len(some))
    return made


def _spans(table: Given) -> list[tuple[int, int]]:
    leasts = [least for least, _ in table.by_age]
    return list(zip(leasts, [200, *leasts[:-1]], strict=True))


def _addresses(random: Any, origin: Column) -> Column:
    homes = int(len(origin) / _PERSONS_PER_ADDRESS)
    centre = np.array([one.centre for one in ORIGINS])[origin]
    nowhere = np.array([one.no_address for one in ORIGINS])[origin]
    luck = random.random(len(origin))
    address: Column = random.integers(0, homes, len(origin))
    in_centre = luck < centre
    address[in_centre] = homes + random.integers(0, _CENTRES, int(in_centre.sum()))
    address[(luck >= centre) & (luck < centre + nowhere)] = -1
    return address


def _enrolled_at(age: Column) -> Column:
    likelier: Column = np.select([age < 12, age < 26, age < 61], [0.5, 1.5, 1.2], 0.4)
    return likelier


def _asked(origin: Column, age: Column) -> Column:
    """Weight of being asked about without a BSN; sums to one."""
    adult = (age >= 15) & (age <= 65)
    sizes = np.bincount(origin[adult], minlength=len(ORIGINS))
    shares = np.array([one.asked for one in ORIGINS]) / np.maximum(sizes, 1)
    weights: Column = np.where(adult, shares[origin], 0.0)
    return weights


@dataclass(frozen=True)
class Keys:
    """A number for each person's key of one kind, equal where the keys are; who has none by the shipped rules."""

    numbers: Column
    has: Column


def keys_of(country: Country, kind: str) -> Keys:
    """The keys of everybody."""
    everybody = np.ones(len(country), dtype=bool)
    name, size = country.surname * country.names + country.given, country.days.count
    if kind == NAME_BIRTH:
        return Keys(name * size + country.born, everybody)
    if kind == NAME_DAY_MONTH:
        return Keys(name * size + country.days.day_month[country.born], everybody)
    addresses, at_home = int(country.address.max()) + 1, country.address >= 0
    if kind == NAME_POSTCODE:
        return Keys((country.surname * size + country.born) * addresses + country.address, at_home)
    # Too long for 64 bits: mixed into them. That two of 10^13.5 pairs are taken for equal has a chance of 2 in 10^6.
    mixed = (name * size + country.born).astype(np.uint64) * _ODD + country.address.astype(np.uint64)
    return Keys(((mixed ^ (mixed >> np.uint64(29))) * _OTHER_ODD).astype(np.int64), at_home)


def without_new_year(country: Country, keys: Keys) -> Keys:
    """The same, when nobody has a key whose birthday is 1 January."""
    return Keys(keys.numbers, keys.has & (country.born != country.days.new_year[country.born]))


def wrong(country: Country, keys: Keys) -> Wrong:
    """Every person who may be asked about, held against all who are enrolled."""
    known, times = np.unique(keys.numbers[country.enrolled & keys.has], return_counts=True)
    who = np.flatnonzero((country.asked > 0) & keys.has)
    others = _times(known, times, keys.numbers[who]) - country.enrolled[who]
    weight = country.asked[who]
    weighed = np.bincount(country.origin[who], weight * others, len(ORIGINS))
    asked = np.bincount(country.origin[who], weight, len(ORIGINS))
    expected = float(weighed.sum() / asked.sum())
    return Wrong(
        expected,
        expected / int(country.enrolled.sum()),
        max(0.0, float(1 - asked.sum())),
        float(asked.sum() ** 2 / (weight**2).sum()),
        tuple(float(one) for one in weighed / np.maximum(asked, 1e-300)),
    )


def _times(known: Column, times: Column, looked_for: Column) -> Column:
    """How often each number is among the known. A table of bits first: most are not, and a search costs more."""
    found = np.zeros(len(looked_for), dtype=np.int64)
    table = np.zeros(1 << _BITS, dtype=bool)
    table[known & ((1 << _BITS) - 1)] = True
    maybe = np.flatnonzero(table[looked_for & ((1 << _BITS) - 1)])
    places = np.searchsorted(known, looked_for[maybe]).clip(0, max(len(known) - 1, 0))
    found[maybe] = np.where(known[places] == looked_for[maybe], times[places], 0)
    return found
