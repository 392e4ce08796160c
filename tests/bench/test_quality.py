"""Keys of names, measured: who is found is counted, and the shipped covenant keeps to the figures."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from bekend_bench import linkage, mistyped, wrong_hits
from bekend_bench.linkage import KINDS
from bekend_bench.origins import ORIGINS
from bekend_bench.quality_page import page, wrong_share
from bekend_bench.twice_written import RATES, Writers, split
from bekend_bench.wrong_hits import Wrong
from bekend_policy.load import load_covenant
from bekend_proto.identifiers import (
    BSN,
    NAME_BIRTH,
    NAME_POSTCODE,
    POSSIBLE_KINDS,
    SKN,
    V_NUMMER,
)
from bekend_proto.names import PersonData

ROOT = Path(__file__).parents[2]
BERG = PersonData(geslachtsnaam="Berg", voornamen="Anna", geboortedatum="19800312")


@pytest.fixture(scope="module")
def tree() -> Mapping[str, Any]:
    return wrong_hits.load(ROOT)


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
    assert wrong_hits.rate("x", none).most == pytest.approx(3 / 3000)
    some = [Wrong(one, one, 0, 1e9, (one,) * len(ORIGINS)) for one in (0.1, 0.2, 0.3)]
    found = wrong_hits.rate("x", some)
    assert [found.per_question, found.most] == pytest.approx([0.2, 0.2 + 4.30 * 0.1 / 3**0.5])


def test_a_kind_is_allowed_by_the_upper_end_of_its_interval() -> None:
    year = wrong_hits.Volume(1000, 1, 1, 1)
    rates = [
        wrong_hits.Rate(kind, 0.0, most, 0.0, 0.0, ())
        for kind, most in ((NAME_BIRTH, 0.0011), (NAME_POSTCODE, 0.001), ("letters alone, no rules", 0.0))
    ]
    assert wrong_hits.allowed(rates, year) == [NAME_POSTCODE]


def test_fg_24_the_shipped_covenant_holds_no_combination_that_accuses_more_than_one_a_year(
    tree: Mapping[str, Any],
) -> None:
    covenant = load_covenant(ROOT / wrong_hits.COVENANT)
    used = {kind for purpose in covenant.purposes.values() for kind in purpose.kinds} & POSSIBLE_KINDS
    used |= set(covenant.agreement.combinations)
    assert used <= set(tree["allowed"])
    questions = wrong_hits.volume(ROOT).questions
    for one in tree["rates"]:
        if one["what"] in used:
            assert one["most"] * questions <= wrong_hits.MOST_WRONG


def test_the_page_is_made_of_the_results(tree: Mapping[str, Any]) -> None:
    text = (ROOT / wrong_hits.PAGE).read_text(encoding="utf-8")
    assert text == page(tree)
    for plot in ("found-and-wrong.svg", "recall-by-origin.svg"):
        assert f"{wrong_hits.PAGE.stem}/{plot}" in text
        assert (ROOT / wrong_hits.PAGE.parent / wrong_hits.PAGE.stem / plot).stat().st_size
    assert tree["scale"] == 1
    assert {one["what"] for one in tree["rates"]} >= POSSIBLE_KINDS


def test_wrong_ones_are_a_share_of_what_reaches_a_desk() -> None:
    tree = {
        "known": 0.2,
        "recall": {"dutch": [{"kind": NAME_BIRTH, "recall": 0.5}]},
        "rates": [{"what": NAME_BIRTH, "per_question": 0.1}],
    }
    assert wrong_share(tree, NAME_BIRTH) == pytest.approx(0.5)
