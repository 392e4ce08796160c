"""Identifiers: one canonical form, a reason for every refusal, the value in neither."""

import pickle

import pytest
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("999990019", b"bsn:999990019"),
        ("  999990342\n", b"bsn:999990342"),
        ("012345672", b"bsn:012345672"),
        ("12345672", b"bsn:012345672"),
        ("00000012", b"bsn:000000012"),
    ],
)
def test_a_bsn_keeps_its_leading_zeros_and_gets_a_lost_one_back(text: str, canonical: bytes) -> None:
    assert parse_identifier("bsn", text).canonical == canonical


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("", "geen BSN ingevuld"),
        ("   ", "geen BSN ingevuld"),
        ("999990018", "11-proef"),
        ("000000000", "alleen nullen"),
        ("00000000", "alleen nullen"),
        ("1234567", "9 cijfers"),
        ("9999900190", "9 cijfers"),
        ("9999.90.019", "alleen uit cijfers"),
        ("999 990 019", "alleen uit cijfers"),
        ("99999001A", "alleen uit cijfers"),
        ("-99990019", "alleen uit cijfers"),
        ("٩٩٩٩٩٠٠١٩", "alleen uit cijfers"),
        ("99999001²", "alleen uit cijfers"),
    ],
)
def test_anything_else_is_refused_with_the_reason_and_without_the_value(text: str, hint: str) -> None:
    with pytest.raises(InvalidIdentifier) as caught:
        parse_identifier("bsn", text)
    assert hint in str(caught.value)
    if text.strip():
        assert text.strip() not in str(caught.value)


@settings(max_examples=200)
@given(st.integers(0, 999_999_999))
def test_a_bsn_passes_exactly_when_its_weighted_sum_is_a_multiple_of_eleven(number: int) -> None:
    text = f"{number:09d}"
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    good = number > 0 and sum(int(digit) * weight for digit, weight in zip(text, weights, strict=True)) % 11 == 0
    try:
        assert parse_identifier("bsn", text).value == text
    except InvalidIdentifier:
        assert not good
    else:
        assert good


@settings(max_examples=100)
@given(st.text(max_size=30))
def test_no_text_appears_in_its_own_refusal(text: str) -> None:
    marked = f"x{text}7713"
    for kind in ("bsn", "test"):
        with pytest.raises(InvalidIdentifier) as caught:
            parse_identifier(kind, marked)
        assert marked not in str(caught.value)


@pytest.mark.parametrize("text", ["1", "42", "999999999999999999"])
def test_a_test_number_is_canonical_as_it_stands(text: str) -> None:
    assert parse_identifier("test", text).canonical == b"test:" + text.encode()


@pytest.mark.parametrize("text", ["", "0", "01", "1" * 19, "1.0", "-1", "x"])
def test_other_test_numbers_are_refused(text: str) -> None:
    with pytest.raises(InvalidIdentifier):
        parse_identifier("test", text)


def test_an_unknown_kind_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidIdentifier, match=r"bsn, .*test"):
        parse_identifier("kvk", "999990019")


def test_must_12_neither_repr_nor_str_shows_the_value() -> None:
    identifier = parse_identifier("bsn", "999990019")
    assert "999990019" not in f"{identifier} {identifier!r} {[identifier]}"
    assert identifier == Identifier("bsn", "999990019")


def test_must_12_an_identifier_is_not_pickled() -> None:
    with pytest.raises(TypeError):
        pickle.dumps(parse_identifier("bsn", "999990019"))
