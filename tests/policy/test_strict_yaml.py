"""Every scalar is text until a schema says otherwise; nothing is guessed, nothing is lost."""

import re
from datetime import date, timedelta
from pathlib import Path
from typing import Annotated

import pytest
from bekend_policy.scalars import Day, Duration, JaNee, Oin, TrueFalse, Whole
from bekend_policy.strict_yaml import StrictModel, YamlFaults, load_yaml, parse_yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import Field


class Inner(StrictModel):
    name: str
    oin: Oin | None = None


class Sample(StrictModel):
    text: str
    inner: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = {}  # noqa: RUF012 - pydantic copies it


class Typed(StrictModel):
    whole: Whole
    dutch: JaNee
    english: TrueFalse
    term: Duration
    day: Day


def faults_of(text: str | Path, language: str = "en") -> list[tuple[int, str]]:
    with pytest.raises(YamlFaults) as caught:
        load_yaml(text, Sample, language="nl" if language == "nl" else "en")
    return [(fault.line, fault.what) for fault in caught.value.faults]


@pytest.mark.parametrize(
    "scalar", ["0000001002220647000", "0344", "12:30", "NO", "2.10", "null", "~", "1e3", "0x1F", "2026-11-22", "true"]
)
def test_what_yaml_would_turn_into_something_else_survives_as_text(scalar: str) -> None:
    assert load_yaml(f"text: {scalar}\n", Sample).text == scalar


def test_types_come_from_the_schema() -> None:
    text = "whole: 0344\ndutch: nee\nenglish: true\nterm: P1DT2H30M\nday: 2026-11-22\n"
    assert load_yaml(text, Typed) == Typed.model_construct(
        whole=344, dutch=False, english=True, term=timedelta(days=1, hours=2, minutes=30), day=date(2026, 11, 22)
    )


@pytest.mark.parametrize(
    ("key", "value"),
    [
        *(("whole", bad) for bad in ["-1", "1.0", "1_000", "1e3", "٣", "'1 '"]),
        *(("dutch", bad) for bad in ["true", "yes", "Ja", "NO", "[ja]", "{ja: nee}"]),
        *(("english", bad) for bad in ["ja", "True", "1", "on", "[true]", "{true: false}"]),
        *(("term", bad) for bad in ["P", "PT", "15M", "P1M", "P1Y", "3 days", "-P1D", "900"]),
        *(("day", bad) for bad in ["2026-13-01", "22-11-2026", "20261122", "2026-02-30"]),
    ],
)
def test_a_wrong_value_is_refused_at_its_line(key: str, value: str) -> None:
    right = {"whole": "1", "dutch": "ja", "english": "true", "term": "P1D", "day": "2026-11-22"}
    lines = [f"{name}: {value if name == key else good}" for name, good in right.items()]
    with pytest.raises(YamlFaults) as caught:
        load_yaml("\n".join(lines), Typed)
    assert [fault.line for fault in caught.value.faults] == [list(right).index(key) + 1]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("", 1, "the file is empty"),
        ("# only a comment\n", 1, "the file is empty"),
        ("text: a\ntext: b\n", 2, "key 'text' appears twice (also on line 1)"),
        ("text: &x a\n", 1, "anchors and aliases"),
        ("text: a\ninner: [&x {name: a}, *x]\n", 2, "anchors and aliases"),
        ("text: !!str a\n", 1, "tags"),
        ("text: ! a\n", 1, "tags"),
        ("text: a\n<<: {}\n", 2, "merge keys"),
        ("text: a\n---\ntext: b\n", 2, "a second document"),
        ("%YAML 1.2\n---\ntext: a\n", 1, "YAML directives"),
        ("text:\ta\n", 1, "a tab"),
        ("\ufefftext: a\n", 1, "the file starts with a byte order mark"),
        ("text: e\u0301\n", 1, "text that is not in Unicode form NFC"),
        ("text: a\u200bb\n", 1, "an invisible character"),
        ("text: a\n\ntext2: '\u202e'\n", 3, "an invisible character"),
        ("text:\n", 1, "'text' has no value"),
        ("text: ''\n", 1, "'text' has no value"),
        ("text: [a]\n", 1, "'text' must be one text"),
        ("text: a\ntekst: b\n", 2, "unknown key 'tekst'"),
        ("text: a\ninner:\n  - name: x\n    nam: y\n", 4, "unknown key 'nam'"),
        ("text: a\nby_name:\n  q: {oin: x}\n", 3, "required key 'name' is missing"),
        ("text: a\nby_name:\n  q: {name: x, oin: 123}\n", 3, "'oin' must be an OIN"),
        ("text: [a\n", 1, "not valid YAML: the list that begins here"),
        ("text: a: b\n", 1, "not valid YAML: a colon"),
        ('text: "\\u202eb"\n', 1, "an invisible character"),
        ('text: a\n"in\\u200bner": []\n', 2, "an invisible character"),
        ('text: "\\ta"\n', 1, "an invisible character"),
        ("text: \u3164\n", 1, "an invisible character"),
        ('text: "\\u3164"\n', 1, "an invisible character"),
        ('text: "a\\u2800b"\n', 1, "an invisible character"),
        ('text: "e\\u0301"\n', 1, "text that is not in Unicode form NFC"),
        ("? [a]\n: b\ntext: a\n", 1, "a key must be plain text"),
        ("- a\n", 1, "'text' must consist of keys with values"),
        ("text: " + "[" * 40 + "]" * 40 + "\n", 1, "more than 16 levels"),
    ],
)
def test_every_kind_of_fault_has_its_line(text: str, line: int, what: str) -> None:
    assert any(at == line and message.startswith(what) for at, message in faults_of(text)), faults_of(text)


def test_all_faults_come_at_once_and_in_order() -> None:
    found = faults_of("txt: a\ninner:\n  - nam: x\n  - name: y\n    oin: 12\n")
    assert [line for line, _ in found] == sorted(line for line, _ in found)
    assert {what.split(" ")[0] for _, what in found} == {"unknown", "required", "'oin'"}


def test_faults_speak_dutch_for_the_covenant() -> None:
    assert faults_of("tekst: a\ntext: b\n", "nl") == [(1, "onbekende sleutel 'tekst'")]


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("text: a\ntitel\ninner: []\n", 2, "hier ontbreekt een dubbele punt, of een spatie achter een streepje"),
        ("text: a\ninner:\n  - b\n  -c\n", 4, "hier ontbreekt een dubbele punt, of een spatie achter een streepje"),
        ("text:a\ninner: []\n", 2, "hier staat een dubbele punt die niet past"),
        ("text: Weging: de eerste\n", 1, "hier staat een dubbele punt die niet past"),
        ("text: a\n  inner: []\n", 2, "hier staat een dubbele punt die niet past"),
        ("by_name:\n    a: b\n  c: d\n", 3, "deze regel past niet bij de regels erboven"),
        ('text: "zeg "hallo" nu"\n', 1, "deze regel past niet bij de regels erboven"),
        ("inner:\n  - b\n  c: d\n", 3, "deze regel hoort niet bij de lijst erboven"),
        ('text: a\nby_name: "b\ninner: []\n', 2, "het aanhalingsteken dat hier begint, wordt niet gesloten"),
        ("text: a\ninner: [b, c\nby_name: {}\n", 2, "de lijst die hier begint met '[', is niet af"),
        ("text: a\nby_name: {b: c\ninner: []\n", 2, "wat hier begint met '{', is niet af"),
        ("text: @b\n", 1, "een waarde kan niet met dit teken beginnen"),
        ('text: "C:\\dir"\n', 1, "een schuine streep achterover betekent hier iets anders"),
        ("text: - b\n", 1, "hier kan geen streepje staan"),
        ("text: | b\n", 1, "dit is geen geldige YAML"),
        ("text: a\n...\nb: c\n", 3, "dit is geen geldige YAML"),
        ("text: " + "[" * 40 + "]" * 40 + "\n", 1, "hier staat te veel in elkaar: meer dan 16 niveaus"),
    ],
)
def test_what_is_no_yaml_is_told_in_dutch_at_the_line_to_mend(text: str, line: int, what: str) -> None:
    [(at, told)] = faults_of(text, "nl")
    assert (at, re.sub(r" \(teken \d+\)$", "", told)) == (line, what)


@pytest.mark.parametrize(
    ("text", "column"),
    [
        ("text: Weging: de eerste\n", 13),
        ("by_name:\n    a: b\n  c: d\n", 3),
        ("text: @b\n", 7),
        ("text: |b\n", 8),
        ("text:\ta\n", 6),
    ],
)
def test_a_reader_is_told_at_which_character(text: str, column: int) -> None:
    assert f"(teken {column})" in faults_of(text, "nl")[0][1]


def test_an_empty_element_is_called_by_its_list() -> None:
    assert (1, "'text' heeft geen waarde") in faults_of("text: [a, '']\n", "nl")


def test_a_file_that_is_not_there_is_told_in_dutch(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "geen.yaml", "nl") == [(0, "het bestand is er niet")]
    assert faults_of(tmp_path, "nl") == [(0, "dit is een map, geen bestand")]


class Filled(StrictModel):
    inner: Annotated[tuple[Whole, ...], Field(min_length=2)]


def test_a_list_with_a_wrong_element_does_not_hold_too_few_because_of_it() -> None:
    with pytest.raises(YamlFaults) as caught:
        load_yaml("inner:\n  - 1\n  - b\n", Filled)
    assert [(fault.line, fault.what) for fault in caught.value.faults] == [(3, "'inner' must be a whole number")]
    with pytest.raises(YamlFaults) as caught:
        load_yaml("inner:\n  - b\n", Filled)
    assert [fault.what for fault in caught.value.faults] == ["'inner' holds too few", "'inner' must be a whole number"]


def test_a_near_miss_is_suggested() -> None:
    with pytest.raises(YamlFaults, match="Did you mean 'text'"):
        load_yaml("tekst: a\n", Sample)


def test_bytes_that_are_no_utf8_name_their_line(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"text: a\nother: \xf3\n")
    assert faults_of(path) == [(2, "the text is not UTF-8")]


def test_a_missing_file_is_a_fault(tmp_path: Path) -> None:
    assert faults_of(tmp_path / "none.yaml") == [(0, "the file cannot be read (No such file or directory)")]


def test_a_file_without_end_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(b"text: " + b"a" * (5 * 1024 * 1024))
    assert "larger than" in faults_of(path)[0][1]


@given(st.text(max_size=80))
def test_no_text_makes_the_parser_fall_over(text: str) -> None:
    document = parse_yaml(text)
    assert document.faults or document.value is not None


@given(st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30))
def test_quoted_text_comes_back_as_it_was(text: str) -> None:
    quoted = "'" + text.replace("'", "''") + "'"
    document = parse_yaml(f"text: {quoted}\n")
    if not document.faults:
        assert document.value == {"text": text}
