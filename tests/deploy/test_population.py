"""Synthetic people: repeatable, only from the test range, and with what the demo must show in them."""

import csv
from collections import Counter
from datetime import date
from itertools import chain
from pathlib import Path

import pytest
from bekend_deploy.population import (
    CANARIES,
    Clients,
    Population,
    PopulationError,
    canary_of,
    generate,
    valid_bsns,
)

TODAY = date(2026, 11, 22)
HAARLEM = Clients("00000099000000004000", ("veiligheid", "nazorg", "leerplicht"))
POLITIE = Clients("00000099000000002000", ("registraties",))
PARTNERS = (POLITIE, HAARLEM)


def people(seed: int = 1, persons: int = 400, kind: str = "") -> Population:
    return generate(PARTNERS, persons, seed, TODAY, kind)


def names(population: Population, partner: Clients) -> set[str]:
    return {row.identifier for register in partner.registers for row in population.registers[partner.oin, register]}


def eleven_proof(bsn: str) -> bool:
    return sum(int(d) * w for d, w in zip(bsn, [9, 8, 7, 6, 5, 4, 3, 2, -1], strict=True)) % 11 == 0


def test_fg_49_only_reserved_numbers_that_pass_the_eleven_proof() -> None:
    population = people()
    assert all(len(bsn) == 9 and bsn.startswith("9999") and eleven_proof(bsn) for bsn in population.people)
    assert len(valid_bsns()) > 9_000


def test_same_seed_same_people_other_seed_others() -> None:
    assert people(7).registers == people(7).registers
    assert people(7).registers != people(8).registers


@pytest.mark.parametrize("persons", [8, 40, 2_000, 5_000])
def test_every_partner_knows_exactly_the_number_asked_for(persons: int) -> None:
    population = people(persons=persons)
    assert [len(names(population, partner)) for partner in PARTNERS] == [persons, persons]


def test_nobody_is_twice_a_person_and_nobody_is_a_canary() -> None:
    population = people()
    assert max(Counter(population.people).values()) == 1
    assert not {canary_of(index) for index in range(CANARIES)} & set(population.people)
    assert len({canary_of(index) for index in range(CANARIES)}) == CANARIES


def test_some_are_known_to_both_some_to_one_some_to_none() -> None:
    population = people()
    first, second = (names(population, partner) for partner in PARTNERS)
    assert first & second
    assert first - second
    assert set(population.people) - first - second


def test_registers_overlap_and_some_registrations_are_too_old() -> None:
    population = people()
    registers = [{row.identifier for row in population.registers[HAARLEM.oin, name]} for name in HAARLEM.registers]
    assert registers[0] & registers[1]
    assert population.known(HAARLEM.oin, HAARLEM.registers) < names(population, HAARLEM)


def test_old_in_one_register_and_current_in_another_is_known() -> None:
    population = people()
    rows = list(chain.from_iterable(population.registers[HAARLEM.oin, name] for name in HAARLEM.registers))
    current = {row.identifier for row in rows if row.end is None}
    assert current <= population.known(HAARLEM.oin, HAARLEM.registers)


def test_fixed_persons_are_the_same_whatever_the_seed() -> None:
    assert people(1).fixed == people(2).fixed
    population = people()
    known = population.known(HAARLEM.oin, HAARLEM.registers)
    assert population.fixed.everywhere in known
    assert population.fixed.nowhere not in names(population, HAARLEM)
    assert population.fixed.expired in names(population, HAARLEM) - known


def test_large_runs_use_the_kind_test() -> None:
    population = people(persons=20_000)
    assert population.kind == "test"
    assert {len(number) for number in population.people} == {12}
    assert len(names(population, POLITIE)) == 20_000


def test_too_many_for_the_test_range_is_refused() -> None:
    with pytest.raises(PopulationError, match="kind `test`"):
        people(persons=9_000, kind="bsn")


def test_too_few_to_show_anything_is_refused() -> None:
    with pytest.raises(PopulationError):
        people(persons=3)


def test_registers_are_written_as_real_csv_files(tmp_path: Path) -> None:
    population = people()
    paths = population.write(tmp_path, HAARLEM.oin)
    assert sorted(paths) == sorted(HAARLEM.registers)
    with paths["nazorg"].open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    assert list(rows[0]) == ["bsn", "einddatum"]
    written = [(row["bsn"], date.fromisoformat(row["einddatum"]) if row["einddatum"] else None) for row in rows]
    assert written == [(row.identifier, row.end) for row in population.registers[HAARLEM.oin, "nazorg"]]


def test_numbers_do_not_show_in_a_repr() -> None:
    population = people(persons=8)
    assert "9999" not in repr(population)
