"""The triage hint: text about the next lawful step, from hits alone; no number, no colour, nothing kept."""

import ast
import inspect
import itertools
import re

import pytest
from bekend_node.ask import hint as module
from bekend_node.ask.hint import (
    COMPLEX,
    HOUSE_CASE,
    NOTHING,
    ONE_SECTOR,
    RADICAL,
    ROUTING,
    SECTORS,
    SEVERAL,
    TABLE,
    hint,
    next_step,
)
from bekend_policy.terms import Frame, Kind

ROUTE = "https://zvh.example/ave"


@pytest.mark.parametrize(
    ("frame", "kinds", "first"),
    [
        ("veilig_thuis", set(), NOTHING),
        ("veilig_thuis", {"rvdk"}, ONE_SECTOR),
        ("veilig_thuis", {"rvdk", "gi"}, ONE_SECTOR),
        ("veilig_thuis", {"zvh"}, TABLE),
        ("veilig_thuis", {"zvh", "rvdk"}, ONE_SECTOR),
        ("veilig_thuis", {"rvdk", "ggz"}, SEVERAL),
        ("veilig_thuis", {"burgemeester", "politie"}, SEVERAL),
        ("veilig_thuis", {"politie", "ggz"}, COMPLEX),
        ("nazorg", {"reclassering", "college_bw"}, COMPLEX),
        ("sociaal_domein", {"politie", "veilig_thuis"}, COMPLEX),
        ("strafvordering", {"politie", "college_bw"}, ROUTING),
        ("zvh", {"om", "college_bw"}, HOUSE_CASE),
        ("radicalisering", {"politie", "college_bw"}, RADICAL),
        ("radicalisering", set(), RADICAL),
    ],
)
def test_the_hint_follows_the_sectors_of_the_hits(frame: str, kinds: set[str], first: str) -> None:
    assert hint(frame, kinds, ROUTE)[0] == first


@pytest.mark.parametrize(
    ("outcomes", "first"),
    [
        ((), None),
        (("geen_antwoord", "niet_bevraagd", "in_behandeling"), None),
        (("mogelijk_bekend",), None),
        (("mogelijk_bekend", "geen_uitsluitsel"), None),
        (("geen_antwoord", "geen_uitsluitsel"), NOTHING),
        (("geen_antwoord", "bekend"), ONE_SECTOR),
        (("mogelijk_bekend", "bekend"), ONE_SECTOR),
    ],
)
def test_who_was_answered_about_by_nobody_has_no_next_step(outcomes: tuple[str, ...], first: str | None) -> None:
    assert next_step("veilig_thuis", [("rvdk", one) for one in outcomes])[:1] == ((first,) if first else ())


def test_a_complex_case_goes_to_the_house_by_the_regions_own_route() -> None:
    text = "\n".join(hint("veilig_thuis", {"politie", "ggz"}, ROUTE))
    assert "Toets zelf a, b en c" in text
    assert "Zorg- en Veiligheidshuis" in text
    assert ROUTE in text
    assert "WG-PGA 5(1)" in text
    assert "route in deze regio" not in "\n".join(hint("veilig_thuis", {"politie", "ggz"}))


def test_fg_40_more_hits_of_the_same_sectors_change_nothing() -> None:
    """No score by the back door: the text tells the sectors apart, never how many hits there were."""
    for frame, (one, other) in itertools.product(Frame, itertools.combinations(SECTORS, 2)):
        few = {min(SECTORS[one]), min(SECTORS[other])}
        assert hint(frame, few) == hint(frame, SECTORS[one] | SECTORS[other])


def test_fg_40_a_hint_holds_no_figure_but_those_of_articles() -> None:
    texts = {line for frame in Frame for kinds in ((), Kind) for line in hint(frame, [str(it) for it in kinds])}
    for line in texts:
        assert not re.search(r"\d", re.sub(r"(?:Bgs|WGS|WG-PGA) [0-9.()a-d]+", "", line)), line
        assert not re.search(r"score|risico|prioriteit|\[red|%", line, re.IGNORECASE)


def test_a_hint_is_text_and_the_module_can_keep_nothing() -> None:
    assert inspect.signature(hint).return_annotation == tuple[str, ...]
    imported = {
        name.name
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Import)
        for name in node.names
    }
    assert imported == set()


def test_every_kind_that_answers_is_in_one_sector_at_most() -> None:
    for one, other in itertools.combinations(SECTORS.values(), 2):
        assert one.isdisjoint(other)
    assert frozenset().union(*SECTORS.values()) <= {str(kind) for kind in Kind}
