"""Who may be loaded at all (FG-39), and who without a number: labels and combinations of a register's rows."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest
from bekend_node.enrol import plan
from bekend_node.enrol.csv_file import CsvFile
from bekend_node.enrol.mapping import Mapping
from bekend_node.enrol.plan import LeftOut
from bekend_node.enrol.rows import Person, RowRules, read_rows
from bekend_node.pseudonym_file import month_number
from bekend_policy.faults import YamlFaults
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.identifiers import NAME_BIRTH, NAME_POSTCODE
from bekend_proto.names import PersonData, combine

MONTH = month_number("2026-11")
KNOWN = ("999990019", "999990342", "999993483", "999990056")
POLICE = frozenset({"wpg-8", "wpg-13"})


def mapped(**more: Any) -> Mapping:
    columns = {"label": "grond", "change": "mutatie"} | more.pop("columns", {})
    facts = {"kind": "bekend/1 mapping", "register": "clienten", "identifiers": {"bsn": "bsn"}, "columns": columns}
    return Mapping.model_validate(facts | more)


def read(folder: Path, mapping: Mapping, text: str, changes: bool = False) -> list[Any]:
    path = folder / "list.csv"
    path.write_text(text, "utf-8")
    return list(read_rows(CsvFile(path, mapping), RowRules(mapping, changes, date(2026, 11, 21), 24)))


def loaded(rows: list[Any], selection: plan.Selection) -> tuple[set[bytes], plan.Report]:
    report = plan.Report()
    (window,) = plan.windows(iter(rows), report, selection, ended_before=MONTH)
    return set(window), report


def bsns(*labels: str) -> plan.Selection:
    return plan.Selection(frozenset({"bsn"}), frozenset(labels) or None)


LABELLED = "bsn;grond;mutatie\n" + "".join(
    f"{bsn};{label};+\n" for bsn, label in zip(KNOWN, ("wpg-8", "wpg-9", "", " WPG-13 "), strict=True)
)


def test_fg_39_rows_with_another_label_or_none_are_left_out_and_counted(tmp_path: Path) -> None:
    rows = read(tmp_path, mapped(), LABELLED)
    found, report = loaded(rows, bsns(*POLICE))
    assert found == {f"bsn:{bsn}".encode() for bsn in (KNOWN[0], KNOWN[3])}
    assert report.left_out == {LeftOut.OTHER_LABEL: 1, LeftOut.NO_LABEL: 1}
    # Each purpose by its own labels; where the covenant asks for none, everybody.
    assert loaded(rows, bsns("wpg-13"))[0] == {f"bsn:{KNOWN[3]}".encode()}
    assert len(loaded(rows, bsns())[0]) == 4


def test_fg_39_what_a_source_system_calls_a_label_stands_in_the_mapping(tmp_path: Path) -> None:
    rows = read(tmp_path, mapped(labels={"J": "toestemming"}), "bsn;grond\n999990019;J\n999990342;N\n999993483;\n")
    found, report = loaded(rows, bsns("toestemming"))
    assert found == {b"bsn:999990019"}
    assert report.left_out == {LeftOut.OTHER_LABEL: 1, LeftOut.NO_LABEL: 1}


def test_fg_39_a_change_of_somebody_who_may_not_be_there_takes_them_out(tmp_path: Path) -> None:
    report = plan.Report()
    rows = read(tmp_path, mapped(), LABELLED + "999993653;;-\n", changes=True)
    window = plan.changes_window("list", iter(rows), report, bsns(*POLICE))
    assert {key: month > 0 for key, month in window.items()} == {
        f"bsn:{bsn}".encode(): stays
        for bsn, stays in (*zip(KNOWN, (True, False, False, True), strict=True), ("999993653", False))
    }
    assert report.left_out == {LeftOut.OTHER_LABEL: 1, LeftOut.NO_LABEL: 1}


NAMES = {"surname": "naam", "prefix": "tussen", "given_names": "voornamen", "born": "geboren"}
HEAD = "bsn;naam;tussen;voornamen;geboren;postcode;nr\n"


def test_fg_24_a_combination_is_enrolled_beside_the_number_and_without_it(tmp_path: Path) -> None:
    mapping = mapped(combinations=[NAME_BIRTH], names=NAMES, columns={"label": None, "change": None})
    text = HEAD + "999990019;Vries;de;Anna Maria;1980-02-01;;\n;Jansen;;Piet;19810000;;\n;Bakker;;Jan;1982-03-04;;\n"
    rows = read(tmp_path, mapping, text)
    anna = combine(
        NAME_BIRTH, PersonData(geslachtsnaam="Vries", voorvoegsel="de", voornamen="Anna", geboortedatum="19800201")
    )
    jan = combine(NAME_BIRTH, PersonData(geslachtsnaam="Bakker", voornamen="Jan", geboortedatum="04-03-1982"))
    found, report = loaded(rows, plan.Selection(frozenset({"bsn", NAME_BIRTH})))
    assert found == {b"bsn:999990019", anna.canonical, jan.canonical}
    assert (report.persons, report.refused, dict(report.numbers)) == (2, 0, {"bsn": 1, NAME_BIRTH: 2})
    # A birth date that is unknown in part is nobody's fault: it is counted, and stops no import.
    assert report.left_out == {LeftOut.INCOMPLETE: 1}
    ((kind, reason),) = report.lacking
    assert kind == NAME_BIRTH
    assert "geboortedatum" in reason
    found, report = loaded(rows, bsns())
    assert found == {b"bsn:999990019"}
    assert (report.left_out, report.lacking) == ({LeftOut.OTHER_KIND: 2}, {})


def test_nothing_of_a_persons_data_is_shown(tmp_path: Path) -> None:
    more = {
        "names": {**NAMES, "postcode": "postcode", "house_number": "nr"},
        "columns": {"label": None, "change": None},
    }
    mapping = mapped(combinations=[NAME_BIRTH, NAME_POSTCODE], **more)
    (row,) = read(tmp_path, mapping, HEAD + ";Verzonnen\u200bnaam;;Geheim;1980-02-01;2011AB;7\n")
    assert isinstance(row, Person)
    assert (row.canonicals, len(row.lacking)) == ((), 2)
    assert not any(word in repr(row) for word in ("Verzonnen", "Geheim", "2011AB"))


@pytest.mark.parametrize(
    ("more", "what"),
    [
        ("columns:\n  end: einde\n", "which column which number"),
        ("identifier_kind: bsn\n", "which column which number"),
        ("identifier_kind: bsn\nidentifiers:\n  skn: SKN\ncolumns:\n  identifier: BSN\n", "which column which number"),
        ("combinations: [naam-geboortedatum]\n", "belong together"),
        ("identifiers:\n  bsn: BSN\nnames:\n  surname: a\n  born: b\n", "belong together"),
        ("identifiers:\n  bsn: BSN\nlabels:\n  J: toestemming\n", "needs a column"),
        ("identifiers:\n  naam-postcode: BSN\n", "no such kind of identifier"),
        ("identifiers:\n  bsn: BSN\ncombinations: [bsn]\nnames:\n  surname: a\n  born: b\n", "no such combination"),
    ],
)
def test_a_mapping_that_says_too_little_or_too_much_is_refused(more: str, what: str) -> None:
    with pytest.raises(YamlFaults, match=what):
        load_yaml("kind: bekend/1 mapping\nregister: clienten\n" + more, Mapping, name="mapping")
