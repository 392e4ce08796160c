"""Synthetic people for demo, tests and bench: households, known to several partners, in real CSV files.

Nobody in here exists. BSNs come from the range 9999xxxxx, which is never issued; larger runs use the identifier kind
`test`, plain numbers that only demo and bench covenants admit. The same seed gives the same people.

What the federation should answer is computed here, from the rows, without any code of the federation.
"""

import csv
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cache
from pathlib import Path

CANARIES = 64
"""BSNs kept apart, one per node, so that nobody in a population is a canary."""

HEADER = ("bsn", "einddatum")
"""First line of every register file; for kind `test` the first column is `nummer`."""

_BSN_WEIGHTS = (9, 8, 7, 6, 5, 4, 3, 2, -1)
_MOST_CLIENTS_WITH_BSN = 5_000
_STRANGERS = 0.1
_HOUSEHOLD_SIZES = (1, 1, 1, 2, 2, 3, 4, 5)


class PopulationError(ValueError):
    """What was asked cannot be generated; the message says why."""


@dataclass(frozen=True)
class Row:
    """One line of a register. `end` is the day on which the registration ends; None lets the node set its term."""

    identifier: str = field(repr=False)
    end: date | None


@dataclass(frozen=True)
class Clients:
    """Which registers a partner keeps."""

    oin: str
    registers: tuple[str, ...]


@dataclass(frozen=True)
class Fixed:
    """The same people in every population: what a newcomer asks about by hand."""

    everywhere: str
    nowhere: str
    expired: str


@dataclass(frozen=True)
class Population:
    """People, and the registers that they stand in."""

    kind: str
    households: tuple[tuple[str, ...], ...] = field(repr=False)
    registers: Mapping[tuple[str, str], Sequence[Row]] = field(repr=False)
    fixed: Fixed = field(repr=False)
    today: date

    @property
    def people(self) -> list[str]:
        """Everybody, known or not."""
        return [person for household in self.households for person in household]

    def known(self, oin: str, registers: Iterable[str]) -> set[str]:
        """Whom this partner knows through these registers: the ground truth.

        Generated end dates stay at least a month away from today, so that counting by months or by days comes to the
        same.
        """
        return {
            row.identifier
            for register in registers
            for row in self.registers[oin, register]
            if row.end is None or row.end > self.today
        }

    def write(self, folder: Path, oin: str) -> dict[str, Path]:
        """Write the partner's registers as `<register>.csv`; returns the path of each."""
        folder.mkdir(parents=True, exist_ok=True)
        paths: dict[str, Path] = {}
        for (owner, register), rows in self.registers.items():
            if owner == oin:
                paths[register] = folder / f"{register}.csv"
                _write_csv(paths[register], self.kind, rows)
        return paths


@cache
def valid_bsns() -> tuple[str, ...]:
    """The numbers 9999xxxxx that pass the 11-proef, ascending: 9,090 or so."""
    return tuple(bsn for bsn in map(str, range(999_900_000, 1_000_000_000)) if _passes(bsn))


def canary_of(index: int, kind: str = "bsn") -> str:
    """The number that node `index` (from 0) asks itself about. Raises PopulationError past the reserve of BSNs."""
    if kind != "bsn":
        return str(10**17 + index)
    if not 0 <= index < CANARIES:
        raise PopulationError(f"There are {CANARIES} canaries; number {index} does not exist.")
    return valid_bsns()[-1 - index]


def generate(partners: Sequence[Clients], persons: int, seed: int, today: date, kind: str = "") -> Population:
    """People of whom every partner knows `persons`, fixed persons included.

    `kind` empty chooses `bsn` while the test range suffices, else `test`.
    Raises PopulationError when `persons` is below 8 or does not fit the kind.
    """
    if persons < 8:
        raise PopulationError("At least 8 persons per partner are needed to show every outcome.")
    kind = kind or ("bsn" if persons <= _MOST_CLIENTS_WITH_BSN else "test")
    draw = random.Random(seed)  # noqa: S311 - repeatable people, not keys
    fixed, universe = _universe(kind, persons, draw)
    households = _households(universe, draw)
    strangers = max(1, int(len(households) * _STRANGERS))
    acquainted = households[strangers:]
    registers: dict[tuple[str, str], list[Row]] = {}
    for partner in partners:
        clients = _clients(acquainted, persons - 2, draw)
        for register, rows in _rows(partner, clients, today, draw).items():
            rows += [Row(fixed.everywhere, None), Row(fixed.expired, today - timedelta(days=365))]
            draw.shuffle(rows)
            registers[partner.oin, register] = rows
    return Population(kind, (*households, (fixed.everywhere, fixed.nowhere, fixed.expired)), registers, fixed, today)


def _passes(bsn: str) -> bool:
    return sum(weight * int(digit) for weight, digit in zip(_BSN_WEIGHTS, bsn, strict=True)) % 11 == 0


def _universe(kind: str, persons: int, draw: random.Random) -> tuple[Fixed, list[str]]:
    """The fixed persons and the numbers of everybody else."""
    wanted = max(60, int(persons * 2.2))
    if kind == "test":
        # Numbers of 12 digits: no BSN has that length, so the two kinds cannot be mistaken for one another.
        numbers = draw.sample(range(10**11 + 3, 10**12), wanted)
        return Fixed(*(str(10**11 + n) for n in range(3))), [str(number) for number in numbers]
    bsns = valid_bsns()[:-CANARIES]
    fixed, free = Fixed(*bsns[:3]), bsns[3:]
    if persons > len(free) * 0.8:
        raise PopulationError(f"The test range holds {len(free)} BSNs: take fewer persons, or the kind `test`.")
    return fixed, draw.sample(free, min(wanted, len(free)))


def _households(universe: list[str], draw: random.Random) -> list[tuple[str, ...]]:
    households = []
    start = 0
    while start < len(universe):
        size = draw.choice(_HOUSEHOLD_SIZES)
        households.append(tuple(universe[start : start + size]))
        start += size
    return households


def _clients(households: Sequence[tuple[str, ...]], persons: int, draw: random.Random) -> list[str]:
    """`persons` people; families at the front of the list are known to more partners than those at the end."""
    order = sorted(range(len(households)), key=lambda place: place / len(households) + 1.5 * draw.random())
    clients: list[str] = []
    left_out: list[str] = []
    for place in order:
        for member in households[place]:
            (clients if draw.random() < 0.8 else left_out).append(member)
        if len(clients) >= persons:
            break
    return (clients + left_out)[:persons]


def _rows(partner: Clients, clients: Iterable[str], today: date, draw: random.Random) -> dict[str, list[Row]]:
    """Spread clients over the registers: a quarter in two of them, some twice in the same one."""
    rows: dict[str, list[Row]] = {register: [] for register in partner.registers}
    for client in clients:
        main = draw.choice(partner.registers)
        rows[main].append(Row(client, _end(today, draw)))
        if draw.random() < 0.25:
            rows[draw.choice(partner.registers)].append(Row(client, _end(today, draw)))
    return rows


def _end(today: date, draw: random.Random) -> date | None:
    """Most have no end date, some end in the coming years, some ended and count no more."""
    chance = draw.random()
    if chance < 0.82:
        return None
    if chance < 0.93:
        return today + timedelta(days=draw.randint(35, 600))
    return today - timedelta(days=draw.randint(65, 3 * 365))


def _write_csv(path: Path, kind: str, rows: Iterable[Row]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, delimiter=";", lineterminator="\n")
        writer.writerow(HEADER if kind == "bsn" else ("nummer", HEADER[1]))
        writer.writerows((row.identifier, row.end.isoformat() if row.end else "") for row in rows)
