"""Who lives in the country, by origin, and how people of each origin are named: what persons are generated from.

Dutch surnames are the thousand commonest of 2007 (CC0, Meertens Instituut), with a tail that meets three known figures.
Everything else is an estimate, written down here so that it can be disputed: sizes after CBS (2024, with people who are
not registered), heads of names (given_names.py too) after the lists that SVB and foreign statistics offices publish,
rounded. Names in the tails are made up.
"""

import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import product
from typing import Final

from bekend_bench.given_names import (
    MEN_AF,
    MEN_AR,
    MEN_HORN,
    MEN_MA,
    MEN_NL,
    MEN_PL,
    MEN_RO,
    MEN_SR,
    MEN_TR,
    WOMEN_AF,
    WOMEN_AR,
    WOMEN_HORN,
    WOMEN_MA,
    WOMEN_NL,
    WOMEN_PL,
    WOMEN_RO,
    WOMEN_SR,
    WOMEN_TR,
    Given,
    Names,
    made_up,
)

YEARS: Final = 81
"""Years of birth, this one included."""

_FATHERS: Final = 150
"""So many given names serve as surnames."""


@dataclass(frozen=True)
class Origin:
    """Persons in thousands; how much likelier than others they are enrolled; their share of questions without a BSN.

    `new_year` is the share of adults whom papers give 1 January; `centre` lives at an address of hundreds, such as a
    reception centre or labourers' lodgings; `no_address` has none. `patronymic`: the surname is father's given name,
    or father's and grandfather's.
    """

    name: str
    persons: int
    enrolled: float
    asked: float
    new_year: float
    centre: float
    no_address: float
    men: Given
    women: Given
    surnames: Names | None = None
    patronymic: float = 0.0
    romanised: bool = False


@cache
def dutch_surnames() -> tuple[list[str], list[float]]:
    """The thousand commonest as counted, and a tail of 123,196: the last has 5 persons, all have 16.36 million."""
    text = files("bekend_bench").joinpath("data/surnames_nl_2007.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(text.splitlines(), delimiter=";"))
    foreign = {word.replace("_", " ") for one in ORIGINS[1:] if one.surnames for word in one.surnames.head.split()[::2]}
    names = [row["surname"] for row in rows if row["surname"] not in foreign]
    counts = [float(row["persons"]) for row in rows if row["surname"] not in foreign]
    tail = _tail(counts[-1])
    names += [made_up(number, "") for number in range(len(tail))]
    counts += tail
    total = sum(counts)
    return names, [count / total for count in counts]


def _tail(first: float, last: float = 5.0, ranks: int = 123_196, persons: float = 11.2e6) -> list[float]:
    """Counts that fall from `first` to `last` along a parabola in logarithms whose sum is `persons`."""
    width = math.log((1000 + ranks) / 1000)
    places = [math.log((1000 + rank) / 1000) / width for rank in range(1, ranks + 1)]
    low, high = 0.0, 12.0
    for _ in range(40):
        bulge = (low + high) / 2
        counts = [first * math.exp(math.log(last / first) * at + bulge * at * (1 - at)) for at in places]
        low, high = (bulge, high) if sum(counts) < persons else (low, bulge)
    return counts


ORIGINS: Final = (
    Origin("dutch and western", 13_850, 1, 0.12, 0, 0.001, 0.002, MEN_NL, WOMEN_NL),
    Origin(
        "turkish",
        450,
        2,
        0.02,
        0.03,
        0.002,
        0.005,
        MEN_TR,
        WOMEN_TR,
        Names(
            "Yılmaz 1.2 Kaya 0.85 Demir 0.65 Yıldız 0.72 Yıldırım 0.69 Öztürk 0.65 Şahin 0.62 Aydın 0.58 Çelik 0.6 "
            "Özdemir 0.5 Arslan 0.5 Doğan 0.48 Kılıç 0.42 Aslan 0.4 Çetin 0.35 Kara 0.35 Koç 0.35 Kurt 0.33 Polat 0.3 "
            "Özcan 0.3 Korkmaz 0.25 Aktaş 0.25 Erdoğan 0.25 Yavuz 0.22 Can 0.2",
            9000,
            "oğlu",
        ),
    ),
    Origin(
        "moroccan",
        440,
        2.5,
        0.07,
        0.06,
        0.005,
        0.02,
        MEN_MA,
        WOMEN_MA,
        Names(
            "El_Idrissi 0.35 El_Amrani 0.35 Bouzid 0.12 El_Khattabi 0.3 El_Hamdaoui 0.28 El_Yousfi 0.25 Bouali 0.15 "
            "El_Ouali 0.22 El_Allali 0.15 Ben_Ali 0.15 Azzouz 0.15 El_Bakkali 0.3 El_Morabet 0.2 Ouali 0.15 "
            "El_Mansouri 0.2 Amrani 0.2 Idrissi 0.15 Achahbar 0.15 Chaouch 0.1 Haddou 0.15 El_Fassi 0.1 Abdellaoui 0.2",
            9000,
            "oui",
        ),
        romanised=True,
    ),
    Origin(
        "surinamese and caribbean",
        560,
        2,
        0.03,
        0.005,
        0.003,
        0.01,
        MEN_SR,
        WOMEN_SR,
        Names(
            "Singh 0.4 Martina 0.45 Pinas 0.3 Ramdin 0.15 Martis 0.25 Sital 0.1 Kartosen 0.1 Jhinkoe 0.05 Gopal 0.08 "
            "Vrede 0.12 Landveld 0.1 Wijngaarde 0.15 Amatali 0.1 Cairo 0.12 Doorn 0.08 Rosaria 0.15 "
            "Maduro 0.15 Croes 0.2",
            12000,
            "doe",
        ),
    ),
    Origin(
        "polish",
        520,
        1.6,
        0.26,
        0.002,
        0.3,
        0.08,
        MEN_PL,
        WOMEN_PL,
        Names(
            "Nowak 0.54 Kowalski 0.37 Wiśniewski 0.29 Wójcik 0.26 Kowalczyk 0.26 Kamiński 0.25 Lewandowski 0.24 "
            "Zieliński 0.24 Szymański 0.23 Woźniak 0.23 Dąbrowski 0.22 Kozłowski 0.2 Jankowski 0.18 Mazur 0.18 "
            "Wojciechowski 0.17 Kwiatkowski 0.17 Krawczyk 0.17 Kaczmarek 0.16 Piotrowski 0.16 Grabowski 0.16",
            20000,
            "ski",
        ),
    ),
    Origin(
        "romanian, bulgarian",
        400,
        1.8,
        0.22,
        0.004,
        0.3,
        0.1,
        MEN_RO,
        WOMEN_RO,
        Names(
            "Popa 0.9 Popescu 0.7 Ionescu 0.55 Radu 0.45 Dumitru 0.4 Stan 0.4 Stoica 0.35 Gheorghe 0.35 Ivanov 0.9 "
            "Georgiev 0.7 Dimitrov 0.7 Petrov 0.5 Nikolov 0.4 Rusu 0.4 Munteanu 0.35 Matei 0.3 Marin 0.35 Todorov 0.3 "
            "Constantin 0.3 Ciobanu 0.3",
            12000,
            "eanu",
        ),
    ),
    Origin(
        "arabic",
        380,
        2.5,
        0.1,
        0.28,
        0.12,
        0.05,
        MEN_AR,
        WOMEN_AR,
        Names(
            "Al_Hassan 0.5 Al_Ahmad 0.5 Al_Ali 0.4 Al_Mohammad 0.4 Khalil 0.3 Haddad 0.3 Al_Hussein 0.3 Ibrahim 0.3 "
            "Al_Khatib 0.25 Shaikh 0.2 Al_Jasim 0.2 Darwish 0.2 Saleh 0.25 Al_Masri 0.2 Hamdan 0.15 Al_Obeid 0.15 "
            "Najjar 0.2 Khoury 0.15 Al_Saadi 0.1 Mansour 0.2",
            7000,
            "awi",
        ),
        patronymic=0.35,
        romanised=True,
    ),
    Origin(
        "eritrean, somali, ethiopian",
        115,
        3,
        0.08,
        0.33,
        0.14,
        0.06,
        MEN_HORN,
        WOMEN_HORN,
        None,
        1.0,
        True,
    ),
    Origin(
        "afghan, iranian",
        145,
        2.5,
        0.05,
        0.3,
        0.1,
        0.05,
        MEN_AF,
        WOMEN_AF,
        Names(
            "Ahmadi 1.6 Mohammadi 1.8 Hosseini 1.6 Karimi 1 Rezai 0.9 Haidari 0.7 Rahimi 1 Amiri 0.7 Noori 0.8 "
            "Sharifi 0.6 Azizi 0.6 Alizada 0.5 Jafari 0.6 Hashemi 0.5 Nazari 0.6 Sultani 0.4 Popal 0.3 Stanekzai 0.2",
            3000,
            "zada",
        ),
        patronymic=0.1,
        romanised=True,
    ),
    Origin(
        "other",
        1_150,
        1.3,
        0.05,
        0.05,
        0.03,
        0.02,
        MEN_SR,
        WOMEN_SR,
        Names(
            "Nguyen 0.35 Chen 0.45 Wang 0.4 Li 0.4 Khan 0.5 Silva 0.4 dos_Santos 0.25 Kumar 0.3 Sharma 0.2 Zhang 0.35 "
            "Tran 0.15 Singh 0.3 Gonzalez 0.2 Rodriguez 0.2 Garcia 0.2 Mensah 0.2 Owusu 0.15 Traore 0.1 Diallo 0.2 "
            "Bah 0.15",
            40000,
            "ing",
        ),
    ),
)


@cache
def surnames_of(origin: Origin) -> tuple[list[str], list[float]]:
    """Every surname of an origin with its share."""
    if origin.surnames is None and not origin.patronymic:
        return dutch_surnames()
    names: list[str] = []
    shares: list[float] = []
    if origin.surnames is not None:
        more, weights = origin.surnames.table()
        names += more
        shares += [(1 - origin.patronymic) * weight for weight in weights]
    for name, share in _patronymics(origin):
        names.append(name)
        shares.append(share)
    return names, shares


def _patronymics(origin: Origin) -> Iterator[tuple[str, float]]:
    """Father's given name for one half, father's and grandfather's for the other."""
    if not origin.patronymic:
        return
    every, weights = origin.men.by_age[0][1].table()
    names = every[:_FATHERS]
    shares = [weight / sum(weights[:_FATHERS]) for weight in weights[:_FATHERS]]
    for name, share in zip(names, shares, strict=True):
        yield name, origin.patronymic * share / 2
    for (father, one), (grandfather, other) in product(zip(names, shares, strict=True), repeat=2):
        yield f"{father} {grandfather}", origin.patronymic * one * other / 2
