"""A register in a workbook: the same persons as in a CSV, and what could mean something else is refused."""

import contextlib
import tracemalloc
import zipfile
from collections.abc import Callable, Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import openpyxl
import pytest
from bekend_node.enrol import excel
from bekend_node.enrol.csv_file import CsvFile
from bekend_node.enrol.excel import Workbook
from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.mapping import Mapping
from bekend_node.enrol.rows import Person, Refused, RowRules, read_rows
from bekend_node.pseudonym_file import month_number
from bekend_proto.identifiers import InvalidIdentifier, parse_identifier
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.node.test_import_rows import VALID

HEADER = ("BSN", "naam", "einde", "SKN", "geheim")
AS_OF = date(2026, 11, 21)


def with_a_zero() -> int:
    """A number of eight digits that passes the 11-proef with a zero in front."""
    for number in range(10_000_000, 10_000_100):
        with contextlib.suppress(InvalidIdentifier):
            parse_identifier("bsn", str(number))
            return number
    raise AssertionError


def mapping(**more: Any) -> Mapping:
    columns = {"end": "einde", "secret": "geheim"}
    identifiers = {"bsn": "BSN", "skn": "SKN"}
    facts = {"kind": "bekend/1 mapping", "register": "zaken", "identifiers": identifiers, "columns": columns}
    return Mapping.model_validate(facts | more)


def write(path: Path, *rows: Sequence[Any], title: str = "Blad1") -> Path:
    book = openpyxl.Workbook()
    sheet: Any = book.active
    sheet.title = title
    for row in (HEADER, *rows):
        sheet.append(row)
    book.save(path)
    return path


def read(path: Path, one: Mapping | None = None) -> list[Person | Refused]:
    its = one or mapping()
    return list(read_rows(Workbook(path, its), RowRules(its, False, AS_OF, 24)))


def refused(path: Path, one: Mapping | None = None) -> str:
    with pytest.raises(ImportFaultError) as fault:
        read(path, one)
    assert "999990019" not in str(fault.value)
    return str(fault.value)


def with_parts(path: Path, change: Callable[[str, bytes], bytes | None], **new: bytes) -> Path:
    """The workbook with its parts changed (None: without it), and new ones."""
    made = path.with_name("changed.xlsx")
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as fresh:
        for part in old.infolist():
            if (data := change(part.filename, old.read(part))) is not None:
                fresh.writestr(part.filename, data)
        for name, data in new.items():
            fresh.writestr(name, data)
    return made


def as_it_is(_: str, data: bytes) -> bytes:
    return data


def in_sheet(before: bytes, after: bytes) -> Callable[[str, bytes], bytes]:
    def change(name: str, data: bytes) -> bytes:
        assert "sheet1" not in name or before in data
        return data.replace(before, after) if "sheet1" in name else data

    return change


def test_dates_are_dates_and_numbers_are_digits(tmp_path: Path) -> None:
    path = write(
        tmp_path / "list.xlsx",
        (999990019, "Zoë", date(2027, 3, 31), 12345678, "nee"),
        ("999990342", "B", "01-02-2028", "01234567", False),
        (9878.0 * 1, "kort", None, None, None),
        (),
        (10101010.0, "acht cijfers", datetime(2029, 1, 2, 23, 59), None, None),  # noqa: DTZ001 - Excel has no zones
        ("", "C", None, None, True),
        (None, "D", None, "7654321", "J"),
    )
    found = read(path)
    assert found[:2] == [
        Person((b"bsn:999990019", b"skn:12345678"), month_number("2027-03"), 2),
        Person((b"bsn:999990342", b"skn:01234567"), month_number("2028-02"), 3),
    ]
    # Four digits are no BSN that lost one zero; the empty row is no row.
    assert [type(one) for one in found[2:]] == [Refused, Refused, Refused, Person]
    assert [one.line for one in found] == [2, 3, 4, 6, 7, 8]
    assert isinstance(found[5], Person)
    assert (found[5].canonicals, found[5].secret) == ((b"skn:7654321",), True)


def test_a_zero_that_excel_dropped_comes_back_where_the_length_tells(tmp_path: Path) -> None:
    short = with_a_zero()
    path = write(tmp_path / "list.xlsx", (None, "", None, 1234567, None), (short, "", None, None, None))
    lost, found = read(path)
    assert isinstance(lost, Refused)
    assert "may have lost a zero" in lost.reason
    assert found == Person((f"bsn:0{short}".encode(),), month_number("2028-11"), 3)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.sampled_from(VALID), st.dates(date(2026, 12, 1), date(2060, 1, 1)), st.booleans()), max_size=30
    )
)
def test_a_workbook_is_read_as_the_csv_of_it(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, date, bool]]
) -> None:
    folder = tmp_path_factory.mktemp("both")
    path = write(folder / "list.xlsx", *((int(bsn), "x", end, None, secret) for bsn, end, secret in rows))
    lines = (f"{bsn};x;{end:%d-%m-%Y};;{str(secret).lower()}" for bsn, end, secret in rows)
    csv = folder / "list.csv"
    csv.write_text("\n".join((";".join(HEADER), *lines)))
    assert read(path) == list(read_rows(CsvFile(csv, mapping()), RowRules(mapping(), False, AS_OF, 24)))


def test_which_sheet_stands_in_the_mapping_where_there_are_several(tmp_path: Path) -> None:
    path = write(tmp_path / "list.xlsx", (999990019,))
    book = openpyxl.load_workbook(path)
    book.create_sheet("Ander")
    book.save(path)
    assert "has 2 sheets" in refused(path)
    assert "no sheet named 'Weg'" in refused(path, mapping(sheet="Weg"))
    assert len(read(path, mapping(sheet="Blad1"))) == 1
    book["Ander"].sheet_state = "hidden"
    book.save(path)
    assert len(read(path)) == 1


def test_a_formula_where_a_value_belongs_is_refused_with_the_file(tmp_path: Path) -> None:
    assert ":2: a formula stands where" in refused(write(tmp_path / "list.xlsx", ("=999990019+0",)))
    path = write(tmp_path / "list.xlsx")
    book = openpyxl.load_workbook(path)
    book.active["B1"] = '="naam"'
    book.save(path)
    assert ":1: a column's name is a formula" in refused(path)
    # In a column that is not read it does no harm.
    assert len(read(write(tmp_path / "list.xlsx", (999990019, "=1+1")))) == 1
    (row,) = read(write(tmp_path / "list.xlsx", ("#REF!",)))
    assert isinstance(row, Refused)
    assert "Excel shows an error" in row.reason


def in_rows(more: bytes) -> Callable[[str, bytes], bytes]:
    return in_sheet(b"</sheetData>", more + b"</sheetData>")


HOSTILE: dict[str, tuple[Callable[[str, bytes], bytes | None], dict[str, bytes], str]] = {
    "macros": (as_it_is, {"xl/vbaProject.bin": b"x"}, "holds macros"),
    "macro sheet": (as_it_is, {"xl/macrosheets/sheet1.xml": b"<a/>"}, "holds macros"),
    "external link": (as_it_is, {"xl/externalLinks/externalLink1.xml": b"<a/>"}, "takes values from other files"),
    "connection": (as_it_is, {"xl/connections.xml": b"<a/>"}, "takes values from elsewhere"),
    "entities": (
        in_sheet(b"<worksheet", b'<!DOCTYPE a [<!ENTITY x "999990019">]><worksheet'),
        {},
        "holds a document type",
    ),
    "rows out of order": (in_sheet(b'<row r="3"', b'<row r="2"'), {}, "rows of the sheet are not in order"),
    "a row past the last": (in_sheet(b'<row r="3"', b'<row r="1048577"'), {}, "rows of the sheet are not in order"),
    "one endless text": (in_rows(b"<row><c><v>" + b"9" * (1 << 20) + b"</v></c></row>"), {}, "a text in the workbook"),
    "one endless row": (in_rows(b"<row>" + b"<c/>" * (1 << 18) + b"</row>"), {}, "a row of the sheet is larger"),
    "an endless rule": (
        in_rows(b"</sheetData><a>" + b"<b/>" * (1 << 18) + b"</a><sheetData>"),
        {},
        "a row of the sheet",
    ),
    "no sheet": (lambda name, data: None if "sheet1" in name else data, {}, "has 0 sheets"),
    "no xml": (in_sheet(b"</sheetData>", b"</sheetDate>"), {}, "no sound workbook"),
    "a text that is not there": (in_sheet(b"<v>999990342</v>", b"<v>nine</v>"), {}, "no sound workbook"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_workbook_is_refused_in_bounded_memory(
    tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(excel, "LARGEST_ROW", 1 << 18)
    monkeypatch.setattr(excel, "LARGEST_TOKEN", 1 << 17)
    change, new, what = HOSTILE[name]
    path = with_parts(write(tmp_path / "list.xlsx", (999990019,), (999990342,)), change, **new)
    tracemalloc.start()
    try:
        assert what in refused(path)
        assert tracemalloc.get_traced_memory()[1] < 16 << 20
    finally:
        tracemalloc.stop()


def test_a_zip_bomb_is_refused_by_what_it_says_of_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "list.xlsx", (999990019,))
    bomb = with_parts(path, as_it_is, **{"xl/theme/theme2.xml": b" " * (excel.LARGEST_PART + 1)})
    assert bomb.stat().st_size < 100_000
    assert "larger unpacked than a list can be" in refused(bomb)
    monkeypatch.setattr(excel, "LARGEST_SHEET", 100)
    assert "larger unpacked than a list can be" in refused(path)


def test_a_part_that_is_larger_than_it_says_is_no_sound_workbook(tmp_path: Path) -> None:
    """The size in the zip's directory is a lie: no more than that is unpacked."""
    path = with_parts(write(tmp_path / "list.xlsx", (999990019,)), as_it_is, **{"xl/theme/theme2.xml": b" " * 100_000})
    data = path.read_bytes()
    assert data.count((100_000).to_bytes(4, "little")) == 2
    path.write_bytes(data.replace((100_000).to_bytes(4, "little"), (10).to_bytes(4, "little")))
    assert "no sound workbook" in refused(path)


@pytest.mark.parametrize("suffix", ["xlsm", "xls", "xlsb", "ods", "XLSM"])
def test_other_formats_are_refused_by_name(tmp_path: Path, suffix: str) -> None:
    path = write(tmp_path / "list.xlsx", (999990019,)).rename(tmp_path / f"list.{suffix}")
    assert f"format .{suffix.lower()} is not read" in refused(path)


def test_what_is_no_zip_has_a_password_or_is_no_workbook(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    path.write_bytes(b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100))
    assert "has a password" in refused(path)
    path.write_bytes(b"BSN;naam\n999990019;A\n")
    assert "no sound workbook" in refused(path)


def test_a_large_workbook_stays_small_in_memory(tmp_path: Path) -> None:
    path = tmp_path / "list.xlsx"
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet("Blad1")
    sheet.append(HEADER)
    for _ in range(3_000):
        sheet.append((999990019, "naam", None, None, None))
    book.save(path)
    tracemalloc.start()
    try:
        its = mapping()
        assert sum(1 for _ in read_rows(Workbook(path, its), RowRules(its, False, AS_OF, 24))) == 3_000
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()
