"""Canonical names: what differs in writing is one key, what is unknown or hostile is none, and no value is shown."""

import pickle
import re
import unicodedata
from typing import Any

import pytest
from bekend_proto.identifiers import (
    CERTAIN_KINDS,
    KINDS,
    POSSIBLE_KINDS,
    InvalidIdentifier,
    KindClass,
    class_of,
    parse_identifier,
)
from bekend_proto.name_tables import LETTERS, PREFIX_WORDS, SPELLINGS
from bekend_proto.names import PersonData, birth_date, canonical_name, combine
from bekend_proto.v1 import signed_pb2
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.vectors import load

VECTORS: dict[str, Any] = load("bekend_v1_names.json")
BORN = "19800312"

letters = st.characters(categories=["Lu", "Ll", "Lt", "Lm", "Mn", "Zs", "Pd", "Po"], max_codepoint=0x024F)
spelt = st.one_of(
    st.text(letters, min_size=1, max_size=20),
    st.lists(st.sampled_from([*sorted(PREFIX_WORDS | SPELLINGS.keys()), "IJ", "Abd", "Jansen"]), min_size=1).map(
        " ".join
    ),
)


def about(vector: dict[str, Any]) -> str:
    return f"{vector['kind']}-{vector.get('about', '')}"


def person(vector: dict[str, Any]) -> PersonData:
    long = {name: text * times for name, (text, times) in vector.get("repeated", {}).items()}
    return PersonData(**(vector["data"] | long))


def surname(text: str) -> str:
    return canonical_name(PersonData(geslachtsnaam=text, voornamen="Anna")).surname


def outcome(text: str) -> str:
    """Surname and given name of a text, or why it is none."""
    try:
        name = canonical_name(PersonData(geslachtsnaam=text, voornamen=text))
    except InvalidIdentifier as refused:
        return str(refused)
    return f"{name.surname}/{name.given}"


@pytest.mark.parametrize("vector", VECTORS["combinations"], ids=about)
def test_a_combination_has_the_published_value(vector: dict[str, Any]) -> None:
    made = combine(vector["kind"], person(vector))
    assert (made.kind, made.value) == (vector["kind"], vector["value"])
    assert parse_identifier(made.kind, made.value) == made


@pytest.mark.parametrize("vector", VECTORS["combinations_refused"], ids=about)
def test_what_is_unknown_or_hostile_is_refused_for_the_published_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        combine(vector["kind"], person(vector))
    assert vector["why"] in str(caught.value)
    assert not [text for text in vector["data"].values() if len(text) > 3 and text in str(caught.value)]
    assert len(str(caught.value)) < 200


@pytest.mark.parametrize("vector", VECTORS["numbers"], ids=about)
def test_a_number_has_the_published_value(vector: dict[str, Any]) -> None:
    assert parse_identifier(vector["kind"], vector["text"]).value == vector["value"]


@pytest.mark.parametrize("vector", VECTORS["numbers_refused"], ids=about)
def test_a_number_is_refused_for_the_published_reason(vector: dict[str, Any]) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        parse_identifier(vector["kind"], vector["text"])
    assert vector["why"] in str(caught.value)
    assert vector["text"] not in str(caught.value)


def test_every_kind_stands_in_the_vectors() -> None:
    assert {one["kind"] for one in VECTORS["numbers"] + VECTORS["combinations"]} == KINDS


def test_fg_24_a_kind_has_one_class_and_it_is_that_of_the_wire() -> None:
    assert CERTAIN_KINDS.isdisjoint(POSSIBLE_KINDS)
    assert {class_of(kind) for kind in CERTAIN_KINDS} == {KindClass.CERTAIN}
    assert {class_of(kind) for kind in POSSIBLE_KINDS} == {KindClass.POSSIBLE}
    assert KindClass.CERTAIN.value == signed_pb2.KIND_CLASS_CERTAIN
    assert KindClass.POSSIBLE.value == signed_pb2.KIND_CLASS_POSSIBLE
    assert all(re.fullmatch("[a-z-]+", kind) for kind in KINDS)
    with pytest.raises(InvalidIdentifier):
        class_of("naam")


@settings(max_examples=300)
@given(st.text(max_size=40))
def test_any_text_is_a_name_in_a_to_z_or_is_refused_in_dutch(text: str) -> None:
    assert re.fullmatch(r"[A-Z]+/([A-Z]+|None)|[A-Z][A-Za-z0-9 ,.:]+\.", outcome(text))


@settings(max_examples=300)
@given(spelt)
def test_a_canonical_name_is_its_own_canonical_form(text: str) -> None:
    try:
        name = canonical_name(PersonData(geslachtsnaam=text, voornamen=text))
    except InvalidIdentifier:
        return
    again = canonical_name(PersonData(geslachtsnaam=name.surname, voornamen=name.given or ""))
    assert again == name


@settings(max_examples=300)
@given(spelt)
def test_neither_normal_form_nor_case_makes_another_name(text: str) -> None:
    forms = {unicodedata.normalize(form, text) for form in ("NFC", "NFD", "NFKC", "NFKD")}
    forms |= {form.upper() for form in forms} | {form.lower() for form in forms}
    assert len({outcome(form) for form in forms | {text}}) == 1


@settings(max_examples=100)
@given(st.lists(st.sampled_from(sorted(PREFIX_WORDS)), max_size=3), st.sampled_from(["Bakker", "Jansen", "Yilmaz"]))
def test_a_voorvoegsel_is_the_same_wherever_it_stands(prefix: list[str], name: str) -> None:
    before = " ".join(prefix)
    found = {surname(name), surname(f"{before} {name}"), surname(f"{name}, {before}")}
    found.add(canonical_name(PersonData(geslachtsnaam=name, voorvoegsel=before, voornamen="Anna")).surname)
    assert found == {name.upper()}


def test_each_spelling_stands_in_one_row_and_leads_to_a_name_that_stays() -> None:
    assert not SPELLINGS.keys() & set(SPELLINGS.values())
    for other, name in SPELLINGS.items():
        assert surname(other) == surname(name) == name


def test_each_letter_of_the_table_is_one_that_does_not_decompose() -> None:
    for letter, instead in LETTERS.items():
        assert unicodedata.normalize("NFKD", letter) == letter
        assert re.fullmatch("[A-Z]{0,2}", instead)


@settings(max_examples=200)
@given(st.dates())
def test_swapped_day_and_month_make_one_key_of_a_kind_of_its_own(day: Any) -> None:
    berg = {"geslachtsnaam": "Berg", "voornamen": "Anna"}
    if day.year < 1850 or (day.month, day.day) == (1, 1):
        with pytest.raises(InvalidIdentifier):
            combine("naam-dagmaand", PersonData(**berg, geboortedatum=f"{day:%d-%m-}{day.year:04}"))
        return
    made = combine("naam-dagmaand", PersonData(**berg, geboortedatum=f"{day:%Y%m%d}"))
    assert parse_identifier(made.kind, made.value) == made
    if day.day <= 12:
        swapped = PersonData(**berg, geboortedatum=f"{day:%Y%d%m}")
        assert combine("naam-dagmaand", swapped) == made
        same = combine("naam-geboortedatum", swapped) == combine(
            "naam-geboortedatum", PersonData(**berg, geboortedatum=f"{day:%Y%m%d}")
        )
        assert same == (day.day == day.month)


@settings(max_examples=200)
@given(st.text(max_size=20))
def test_a_date_is_a_whole_day_or_none(text: str) -> None:
    try:
        born = birth_date(text)
    except InvalidIdentifier:
        return
    assert born.year >= 1850


def test_must_12_a_person_shows_nothing_and_is_not_pickled() -> None:
    anna = PersonData(geslachtsnaam="Berg", voornamen="Anna", geboortedatum=BORN, postcode="2011AB", huisnummer="1234")
    shown = f"{anna} {anna!r} {canonical_name(anna)} {combine('naam-geboortedatum', anna)}"
    assert not [text for text in ("Berg", "BERG", "Anna", "ANNA", BORN, "2011", "1234") if text in shown]
    with pytest.raises(TypeError):
        pickle.dumps(anna)
