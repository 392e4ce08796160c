"""Keys of names, measured: collisions are counted one by one, and the shipped covenant keeps to the figures."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from bekend_bench import linkage, mistyped, quality
from bekend_bench.country import Country, Wrong, generate, keys_of, plain, without_new_year, wrong
from bekend_bench.linkage import KINDS
from bekend_bench.origins import ORIGINS, dutch_surnames, made_up, surnames_of
from bekend_bench.quality_page import page, wrong_share
from bekend_bench.twice_written import RATES, Writers, split
from bekend_policy.load import load_covenant
from bekend_proto.identifiers import (
    BSN,
    NAME_BIRTH,
    NAME_BIRTH_POSTCODE,
    NAME_DAY_MONTH,
    NAME_POSTCODE,
    POSSIBLE_KINDS,
    SKN,
    V_NUMMER,
)
from bekend_proto.names import PersonData

ROOT = Path(__file__).parents[2]
BERG = PersonData(geslachtsnaam="Berg", voornamen="Anna", geboortedatum="19800312")


RULES = plain()


@pytest.fixture(scope="module")
def country() -> Country:
    return generate(1, RULES, scale=0.002)


@pytest.fixture(scope="module")
def tree() -> Mapping[str, Any]:
    return quality.load(ROOT)


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


def test_whoever_is_written_down_twice_without_a_difference_is_found() -> None:
    writers, found = Writers(3), 0
    for one in ORIGINS * 30:
        pair = writers.pair(one)
        for kind in KINDS:
            key = linkage.key_of(kind)
            if not pair.what and (first := key(pair.register)) is not None:
                assert key(pair.asker) == first
                found += 1
    assert found > 100


def test_every_difference_happens_and_the_same_seed_makes_the_same_ones() -> None:
    first, again = ([Writers(5).pair(ORIGINS[number % 10]) for number in (0, 1)] for _ in range(2))
    assert first == again
    writers = Writers(7)
    seen = {what for one in (*ORIGINS * 400, *ORIGINS[:1] * 3000) for what in writers.pair(one).what}
    assert seen == RATES.keys()
    assert split("van den Berg") == ("van den", "Berg")
    assert split("Bakker") == ("", "Bakker")


def test_precision_and_recall_are_counted_over_all_pairs() -> None:
    def named(surname: str, given: str = "Anna") -> PersonData:
        return PersonData(geslachtsnaam=surname, voornamen=given, geboortedatum="19800312")

    couples = [
        (named("Berg"), named("van den Berg")),  # found, and the next one's first record with it
        (named("Berg"), named("Bergh")),  # missed
        (named("Bakker"), named("Bakker", "A.")),  # no key
        (named("Visser"), named("Visser")),  # found
    ]
    found = linkage.measured(NAME_BIRTH, linkage.key_of(NAME_BIRTH), couples)
    assert (found.recall, found.precision, found.keyless) == (2 / 4, 2 / 3, 1 / 4)
    assert linkage.plain_key(BERG) == "BERG/ANNA/19800312"
    assert linkage.plain_key(PersonData(geslachtsnaam="Berg")) is None


def test_febrl_gives_no_wrong_match_and_finds_part() -> None:
    couples = linkage.febrl()
    if isinstance(couples, str):
        pytest.skip(couples)
    found = linkage.measured(NAME_BIRTH, linkage.key_of(NAME_BIRTH), couples)
    assert len(couples) == 5000
    assert found.precision == 1
    assert 0.3 < found.recall < 0.6


def test_the_11_proof_finds_each_slip_that_it_is_made_for() -> None:
    right = mistyped.numbers(BSN)[:50]
    for slip in (mistyped.one_digit, mistyped.neighbours):
        tried = {other for number in right for other in slip(number)} - set(right)
        assert not tried & set(mistyped.numbers(BSN))
        assert not [other for other in tried if mistyped._reads(BSN, other)]
    assert mistyped.mistyped(BSN).passes < 0.05
    assert mistyped.mistyped(SKN).passes > 0.9 < mistyped.mistyped(V_NUMMER).passes
    assert sum(mistyped.SLIPS.values()) == pytest.approx(1)


def test_slips_of_a_finger() -> None:
    assert list(mistyped.neighbours("123")) == ["213", "132"]
    assert list(mistyped.over_one("1234")) == ["3214", "1432"]
    assert len(list(mistyped.one_digit("12"))) == 18
    assert "144" in mistyped.twins("122")
    assert set(mistyped.length("12")) == {"2", "112", "1", "122"}


def test_an_interval_leaves_open_what_so_few_persons_cannot_tell() -> None:
    none = [Wrong(0, 0, 0, 1000, (0,) * len(ORIGINS)) for _ in range(3)]
    assert quality.rate("x", none).most == pytest.approx(3 / 3000)
    some = [Wrong(one, one, 0, 1e9, (one,) * len(ORIGINS)) for one in (0.1, 0.2, 0.3)]
    found = quality.rate("x", some)
    assert [found.per_question, found.most] == pytest.approx([0.2, 0.2 + 4.30 * 0.1 / 3**0.5])


def test_a_kind_is_allowed_by_the_upper_end_of_its_interval() -> None:
    year = quality.Volume(1000, 1, 1, 1)
    rates = [
        quality.Rate(kind, 0.0, most, 0.0, 0.0, ())
        for kind, most in ((NAME_BIRTH, 0.0011), (NAME_POSTCODE, 0.001), ("letters alone, no rules", 0.0))
    ]
    assert quality.allowed(rates, year) == [NAME_POSTCODE]


def test_fg_24_the_shipped_covenant_holds_no_combination_that_accuses_more_than_one_a_year(
    tree: Mapping[str, Any],
) -> None:
    covenant = load_covenant(ROOT / quality.COVENANT)
    used = {kind for purpose in covenant.purposes.values() for kind in purpose.kinds} & POSSIBLE_KINDS
    used |= set(covenant.agreement.combinations)
    assert used <= set(tree["allowed"])
    questions = quality.volume(ROOT).questions
    for one in tree["rates"]:
        if one["what"] in used:
            assert one["most"] * questions <= quality.MOST_WRONG


def test_the_page_is_made_of_the_results(tree: Mapping[str, Any]) -> None:
    text = (ROOT / quality.PAGE).read_text(encoding="utf-8")
    assert text == page(tree)
    for plot in ("found-and-wrong.svg", "recall-by-origin.svg"):
        assert f"{quality.PAGE.stem}/{plot}" in text
        assert (ROOT / quality.PAGE.parent / quality.PAGE.stem / plot).stat().st_size
    assert tree["scale"] == 1
    assert {one["what"] for one in tree["rates"]} >= POSSIBLE_KINDS


def test_wrong_ones_are_a_share_of_what_reaches_a_desk() -> None:
    tree = {
        "known": 0.2,
        "recall": {"dutch": [{"kind": NAME_BIRTH, "recall": 0.5}]},
        "rates": [{"what": NAME_BIRTH, "per_question": 0.1}],
    }
    assert wrong_share(tree, NAME_BIRTH) == pytest.approx(0.5)
