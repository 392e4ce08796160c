"""Reading a register's CSV: any size, three delimiters, two encodings, and every kind of bad input by its line."""

import csv
import io
import tracemalloc
from collections.abc import Iterator
from datetime import date
from pathlib import Path

import pytest
from bekend_node.enrol import csv_file, plan
from bekend_node.enrol.csv_file import CsvFile
from bekend_node.enrol.listing import ImportFaultError
from bekend_node.enrol.mapping import Columns, Mapping
from bekend_node.enrol.rows import Person, Refused, RowRules, read_rows
from bekend_node.pseudonym_file import NEVER_ENDS, month_number
from hypothesis import given, settings
from hypothesis import strategies as st

AS_OF = date(2026, 11, 21)
THIS_MONTH = month_number("2026-11")
BSNS = plan.Selection(frozenset({"bsn"}))


def rules(changes: bool = False, **more: object) -> RowRules:
    columns = Columns(identifier="BSN", end="einde", last_involved="contact", change="mutatie" if changes else None)
    facts = {"kind": "bekend/1 mapping", "register": "nazorg", "identifier_kind": "bsn", "columns": columns}
    shielding = bool(more.pop("shielding", False))
    return RowRules(Mapping.model_validate(facts | more), changes, AS_OF, 24, shielding=shielding)


def read(folder: Path, data: bytes | str, rule: RowRules | None = None) -> list[Person | Refused]:
    path = folder / "export.csv"
    path.write_bytes(data if isinstance(data, bytes) else data.encode())
    return list(read_rows(CsvFile(path, (rule or rules()).mapping), rule or rules()))


HEADER = "BSN;naam;einde;contact\n"


def test_a_row_is_a_person_with_the_month_in_which_the_registration_ends(tmp_path: Path) -> None:
    data = HEADER + "999990019;A;2027-03-31;\n999990342;B;;01-02-2026\n999993483;C;;\n"
    assert read(tmp_path, data) == [
        Person((b"bsn:999990019",), month_number("2027-03"), 2),
        Person((b"bsn:999990342",), month_number("2028-02"), 3),
        Person((b"bsn:999993483",), month_number("2028-11"), 4),
    ]


def test_leading_zeros_that_a_spreadsheet_ate_come_back(tmp_path: Path) -> None:
    assert read(tmp_path, HEADER + "00009878;A;;\n")[0] == Person((b"bsn:000009878",), month_number("2028-11"), 2)


@pytest.mark.parametrize("start", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("ending", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [";", ",", "\t"])
def test_delimiter_line_ends_and_byte_order_mark_are_detected(
    tmp_path: Path, mark: str, ending: str, start: bytes
) -> None:
    data = start + (HEADER + "999990019;Zoë;;\n").replace(";", mark).replace("\n", ending).encode()
    assert [type(row) for row in read(tmp_path, data)] == [Person]


def test_windows_1252_is_detected(tmp_path: Path) -> None:
    assert len(read(tmp_path, (HEADER + "999990019;Zoë;;\n").encode("cp1252"))) == 1


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("123456789", "11-proef"),
        ("12345", "9 cijfers"),
        ("", "geen BSN ingevuld"),
        ("99999001X", "alleen uit cijfers"),
        ("000000000", "nullen"),
    ],
)
def test_an_invalid_number_is_refused_by_line_and_never_shown(tmp_path: Path, value: str, reason: str) -> None:
    (refused,) = read(tmp_path, HEADER + f"{value};A;;\n")
    assert isinstance(refused, Refused)
    assert refused.line == 2
    assert reason in refused.reason
    assert not value or value not in refused.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("999990019;A;31/03/2027;", "a date is not written"),
        ("999990019;A;2027-02-30;", "a date is not written"),
        ("999990019;A;;31-12-9998", "last involvement lies thousands of years ahead"),
        ("999990019;A", "2 fields where the first line has 4"),
        ('999990019;"A;;', "a quote is not closed"),
    ],
)
def test_a_row_that_does_not_fit_is_refused_by_line(tmp_path: Path, line: str, reason: str) -> None:
    (refused,) = read(tmp_path, HEADER + line + "\n")
    assert isinstance(refused, Refused)
    assert (refused.line, reason in refused.reason) == (2, True)


@pytest.mark.parametrize(("far", "as_if"), [(";A;9999-12-31;", ";A;;"), (";A;31-12-9998;2026-03-02", ";A;;2026-03-02")])
def test_an_end_thousands_of_years_ahead_counts_as_none(tmp_path: Path, far: str, as_if: str) -> None:
    (one,), (other,) = (read(tmp_path, f"{HEADER}999990019{line}\n") for line in (far, as_if))
    assert isinstance(one, Person)
    assert one == other


def test_a_number_that_cannot_be_used_is_refused_and_the_other_one_counts(tmp_path: Path) -> None:
    two = rules(identifier_kind=None, identifiers={"bsn": "BSN", "test": "nummer"}, columns={})
    data = "BSN;nummer\n999990019;7\n;8\n999990342;\n123456789;9\n123456789;\n;\n"
    found = read(tmp_path, data, two)
    report, chosen = plan.Report(), plan.Selection(frozenset({"bsn", "test"}))
    (window,) = plan.windows(iter(found), report, chosen, ended_before=THIS_MONTH)
    assert set(window) == {b"bsn:999990019", b"test:7", b"test:8", b"bsn:999990342", b"test:9"}
    assert (report.rows, report.persons, dict(report.numbers)) == (6, 4, {"bsn": 2, "test": 3})
    assert [(one.line, one.reason[:17]) for one in report.lines] == [
        (5, "Dit is geen geldi"),
        (6, "Dit is geen geldi"),
        (7, "the row holds no "),
    ]
    report = plan.Report()
    (window,) = plan.windows(iter(found), report, BSNS, ended_before=THIS_MONTH)
    assert (len(window), report.left_out) == (2, {plan.LeftOut.OTHER_KIND: 2})


BAD_FILES = {
    "empty file": (b"", "1: the file is empty"),
    "blank first line": (b"\n999990019\n", "1: the file is empty"),
    "wrong column": (b"nummer;naam\n999990019;A\n", "1: no column named 'BSN'; there are: 'nummer', 'naam'"),
    "column twice": (b"BSN;BSN;einde;contact\n", "1: more than one column named 'BSN'"),
    "no end column": (b"BSN;naam\n999990019;A\n", "1: no column named 'einde'"),
    "mixed encodings": (
        (HEADER + "999990019;Zoë;;\n").encode() + b"999990342;Zo\xeb;;\n",
        "3: the file mixes encodings",
    ),
    "mixed, the other way": (
        (HEADER + "999990019;Zoë;;\n").encode("cp1252") + "999990342;Zoë;;\n".encode(),
        "3: the file mixes encodings",
    ),
    "neither encoding": (HEADER.encode() + b"999990019;\x81\x8d;;\n", "2: the line is neither"),
    "UTF-16": ((HEADER + "999990019;A;;\n").encode("utf-16"), "1: the file is UTF-16"),
    "zero bytes": (HEADER.encode() + b"999990019;\0;;\n", "2: the line holds zero bytes"),
    "old Mac line ends": (b"BSN;naam\r999990019;A\r", "1: no column named"),
    "open quote in the header": (b'BSN;"naam\n', "1: a quote is not closed"),
}


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_file_that_cannot_be_read_is_refused_with_line_and_remedy(tmp_path: Path, name: str) -> None:
    data, message = BAD_FILES[name]
    with pytest.raises(ImportFaultError) as fault:
        read(tmp_path, data)
    assert f"export.csv:{message}" in fault.value.detail
    assert fault.value.detail.endswith(".")
    assert "99999" not in fault.value.detail


def test_a_first_line_that_is_data_is_not_shown(tmp_path: Path) -> None:
    with pytest.raises(ImportFaultError) as fault:
        read(tmp_path, b"999990019;Jansen\n")
    assert "(looks like data)" in fault.value.detail
    assert "999990019" not in fault.value.detail


@pytest.mark.parametrize("delimiter", [None, ";"], ids=["detected", "stated"])
@pytest.mark.parametrize("line", ["999990019;Jansen;Piet", "Jansen;Piet;14-02-1990"])
def test_of_a_first_line_that_is_data_no_name_is_shown_either(tmp_path: Path, line: str, delimiter: str | None) -> None:
    """Of an import by a timer it would stand in the journal."""
    with pytest.raises(ImportFaultError) as fault:
        read(tmp_path, f"{line}\n", rules(delimiter=delimiter))
    assert "(looks like data)" in fault.value.detail
    assert "Jansen" not in fault.value.detail
    assert "Piet" not in fault.value.detail


def test_a_line_of_two_gigabytes_is_refused_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "export.csv"
    with path.open("wb") as file:
        file.write(HEADER.encode())
        file.seek(2 << 30)
        file.write(b"\n")
    tracemalloc.start()
    with pytest.raises(ImportFaultError, match="2: the line is longer than 65536 bytes"):
        list(read_rows(CsvFile(path, rules().mapping), rules()))
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()


def test_a_mapping_that_states_the_encoding_is_held_to_it(tmp_path: Path) -> None:
    with pytest.raises(ImportFaultError, match="its mapping says cp1252"):
        read(tmp_path, b"\xef\xbb\xbf" + HEADER.encode(), rules(encoding="cp1252"))
    with pytest.raises(ImportFaultError, match="mixes encodings"):
        read(tmp_path, (HEADER + "999990019;Zoë;;\n").encode("cp1252"), rules(encoding="utf-8"))


def test_changes_are_additions_and_removals(tmp_path: Path) -> None:
    data = "BSN;einde;contact;mutatie\n999990019;;;+\n999990342;;;-\n999993483;;;x\n"
    added, removed, refused = read(tmp_path, data, rules(changes=True))
    assert added == Person((b"bsn:999990019",), month_number("2028-11"), 2)
    assert removed == Person((b"bsn:999990342",), 0, 3, added=False)
    assert refused == Refused(4, "the change is not + or -")


def test_who_is_shielded_stays_so_whatever_the_file_says_of_ends(tmp_path: Path) -> None:
    (person,) = read(tmp_path, "BSN;einde\n999990019;2020-01-01\n", rules(shielding=True))
    assert isinstance(person, Person)
    assert person.end_month == NEVER_ENDS


def test_duplicates_are_merged_and_the_later_end_counts(tmp_path: Path) -> None:
    data = HEADER + "999990019;A;2027-03-31;\n999990019;A;2027-09-30;\n999990019;A;2026-12-31;\n"
    report = plan.Report()
    (window,) = plan.windows(iter(read(tmp_path, data)), report, BSNS, ended_before=THIS_MONTH)
    assert window == {b"bsn:999990019": month_number("2027-09")}
    assert (report.rows, report.persons, report.merged) == (3, 1, 2)


def test_fg_25_who_has_ended_is_left_out(tmp_path: Path) -> None:
    report = plan.Report()
    data = HEADER + "999990019;A;2026-10-31;\n999990342;A;2026-11-01;\n"
    (window,) = plan.windows(iter(read(tmp_path, data)), report, BSNS, ended_before=THIS_MONTH)
    assert list(window) == [b"bsn:999990342"]
    assert report.left_out == {plan.LeftOut.ENDED: 1}


def test_a_person_both_added_and_removed_is_refused(tmp_path: Path) -> None:
    data = "BSN;einde;contact;mutatie\n999990019;;;+\n999990019;;;-\n"
    report = plan.Report()
    window = plan.changes_window("list", iter(read(tmp_path, data, rules(changes=True))), report, BSNS)
    assert list(window) == [b"bsn:999990019"]
    assert [one.line for one in report.lines] == [3]


@pytest.mark.parametrize("order", ["+-", "-+"])
def test_who_is_both_shielded_and_not_in_one_list_of_changes_is_shielded(tmp_path: Path, order: str) -> None:
    """Nobody becomes known by the order of two lines that contradict each other."""
    data = "BSN;einde;contact;mutatie\n" + "".join(f"999990019;;;{mark}\n" for mark in order)
    rule = rules(changes=True, shielding=True)
    report = plan.Report()
    rows = iter(read(tmp_path, data, rule))
    assert plan.changes_window("list", rows, report, BSNS, shielding=True) == {b"bsn:999990019": NEVER_ENDS}
    assert [one.line for one in report.lines] == [3]


def bsns() -> list[str]:
    found = []
    for number in range(100_000):
        value = f"9999{number:05}"
        total = sum(w * int(d) for w, d in zip((9, 8, 7, 6, 5, 4, 3, 2, -1), value, strict=True))
        if total % 11 == 0:
            found.append(value)
    return found


VALID = bsns()
names = st.text(st.characters(codec="cp1252", exclude_categories=("Cc", "Cs")), max_size=12)


@settings(max_examples=60, deadline=None)
@given(
    persons=st.lists(st.tuples(st.sampled_from(VALID), names, st.dates(date(2026, 12, 1), date(2099, 12, 31)))),
    delimiter=st.sampled_from([";", ",", "\t"]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "cp1252"]),
    dutch=st.booleans(),
)
def test_what_a_spreadsheet_writes_is_what_is_read(
    tmp_path_factory: pytest.TempPathFactory,
    persons: list[tuple[str, str, date]],
    delimiter: str,
    encoding: str,
    dutch: bool,
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=delimiter, lineterminator="\r\n")
    writer.writerow(["BSN", "naam", "einde", "contact"])
    for value, name, end in persons:
        writer.writerow([value, name, f"{end:%d-%m-%Y}" if dutch else end.isoformat(), ""])
    data = text.getvalue().encode(encoding)
    if encoding == "cp1252" and _reads_as_utf8(data):
        return
    folder = tmp_path_factory.mktemp("csv")
    assert read(folder, data) == [
        Person((f"bsn:{value}".encode(),), month_number(end.isoformat()[:7]), line)
        for line, (value, _, end) in enumerate(persons, start=2)
    ]


def _reads_as_utf8(data: bytes) -> bool:
    """Whether a line of Windows-1252 happens to be UTF-8 as well: nobody can tell those apart."""

    def lines() -> Iterator[bytes]:
        yield from (line for line in data.splitlines() if not line.isascii())

    return any(csv_file._decodes(line, "utf-8") for line in lines())


@settings(max_examples=40, deadline=None)
@given(persons=st.lists(st.sampled_from(VALID), max_size=3000), seed=st.binary(min_size=32, max_size=32))
def test_every_person_travels_once_in_whole_chunks_and_the_same_way_again(persons: list[str], seed: bytes) -> None:
    people = [Person((f"bsn:{value}".encode(),), THIS_MONTH + 1, 2) for value in persons]

    def chunks(purpose: str) -> list[plan.Chunk]:
        windows = plan.windows(iter(people), plan.Report(), BSNS, ended_before=THIS_MONTH)
        return list(plan.full_chunks(windows, purpose, seed, canaries))

    canaries = [b"bsn:canary", b"bsn:other canary"]
    first = chunks("c/een")
    sent = [canonical for chunk in first for canonical, _ in chunk.persons]
    assert sorted(sent) == sorted({one for person in people for one in person.canonicals} | {*canaries})
    assert sum(chunk.size for chunk in first) == plan.full_elements(len(sent) - 2, 2)
    assert [chunk.index for chunk in first] == list(range(len(first)))
    found = {which: chunk.persons[at][0] for chunk in first for at, which in chunk.canaries.items()}
    assert found == dict(enumerate(canaries))
    assert first == chunks("c/een")
    if len(sent) > 20:
        assert [chunk.persons for chunk in first] != [chunk.persons for chunk in chunks("c/twee")]


@given(persons=st.integers(0, 5000))
def test_changes_are_padded_to_a_power_of_two_from_sixteen(persons: int) -> None:
    total = plan.change_elements(persons)
    assert total >= max(16, persons)
    assert total & (total - 1) == 0
    assert total == 16 or total < 2 * persons
    window = {f"{number}".encode(): 1 for number in range(persons)}
    assert sum(chunk.size for chunk in plan.change_chunks(window, "c/een", bytes(32))) == total


def test_fg_36_who_is_secret_is_left_out_and_taken_out_by_default(tmp_path: Path) -> None:
    columns = {"identifier": "BSN", "end": "einde", "secret": "geheim", "change": "mutatie"}
    head = "BSN;einde;geheim;mutatie\n"
    marked = "999990019;;7;+\n999990342;;0;+\n999993483;2030-01-01;Ja;+\n999990056;;;+\n"
    full = read(tmp_path, head + marked, rules(columns=columns))
    assert [one.end_month > 0 for one in full if isinstance(one, Person)] == [False, True, False, True]
    report = plan.Report()
    (window,) = plan.windows(iter(full), report, BSNS, ended_before=THIS_MONTH)
    assert list(window) == [b"bsn:999990342", b"bsn:999990056"]
    changed = plan.changes_window(
        "list", iter(read(tmp_path, head + marked, rules(True, columns=columns))), report, BSNS
    )
    assert changed[b"bsn:999990019"] == changed[b"bsn:999993483"] == 0
