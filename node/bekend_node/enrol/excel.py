"""A sheet of an Excel workbook (.xlsx) as a list, in bounded memory; what could mean something else is refused.

    package     a zip whose parts state their sizes; what is larger unpacked than a list can be is no list
    parts       no macros, no links to other files, no connections; no document type in any XML, so no entities
    rows        in ascending order, none of more than a few megabytes: openpyxl holds one at a time
    cells       values alone: a formula shows what was computed when somebody saved it, not what is so

Dates are dates and numbers are digits (`cells.py`).
"""

import re
import zipfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, Any, Final
from xml.parsers import expat

from bekend_proto.errors import KeysError

from bekend_node.enrol.cells import NoTextError, text_of
from bekend_node.enrol.listing import FIRST_LINE, Fields, FileList, ImportFaultError

MIB: Final = 1 << 20
MOST_PARTS: Final = 1_000
LARGEST_SHEET: Final = 2048 * MIB
"""Unpacked. Excel's largest list of a few columns has some 200 MiB."""
LARGEST_STRINGS: Final = 64 * MIB
"""All texts of the workbook, which are in memory at once."""
LARGEST_PART: Final = 8 * MIB
LARGEST_ROW: Final = 4 * MIB
LARGEST_TOKEN: Final = MIB
LAST_ROW: Final = 1_048_576
_PIECE: Final = 1 << 16

_AS_VALUES: Final = "Save the list as values, in a workbook of its own (.xlsx), or as CSV."
_REFUSED: Final = (
    (re.compile(r"vbaproject|/macrosheets/|/activex/|\.bin$", re.I), "the workbook holds macros or other programs"),
    (re.compile(r"/externallinks/", re.I), "the workbook takes values from other files"),
    (re.compile(r"/(connections\.xml|querytables/)", re.I), "the workbook takes values from elsewhere"),
)
_PRINTER: Final = re.compile(r"/printersettings/[^/]*\.bin$", re.I)
_SHEET: Final = re.compile(r"^/?xl/worksheets/[^/]+\.xml$", re.I)
_STRINGS: Final = re.compile(r"^/?xl/sharedstrings\.xml$", re.I)
_IS_XML: Final = re.compile(r"\.(xml|rels|vml)$", re.I)
_OTHER_FORMATS: Final = frozenset({".xls", ".xlsb", ".xlsm", ".xltm", ".xltx", ".ods"})


def is_workbook(path: Path) -> bool:
    """Whether a file's name says that it is a workbook, of whichever format."""
    return path.suffix.lower() in {".xlsx", *_OTHER_FORMATS}


class Workbook(FileList):
    """A sheet of a workbook as its mapping describes it. A `Listing`."""

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """Row by row, empty ones left out. Only what the mapping names is looked at; other columns come out empty."""
        if self.path.suffix.lower() in _OTHER_FORMATS:
            raise self._fault(f"a workbook of format {self.path.suffix.lower()} is not read", _AS_VALUES)
        openpyxl = _library()
        try:
            with self.path.open("rb") as file:
                self._check_package(file)
                book = openpyxl.load_workbook(file, read_only=True, data_only=False, keep_links=False)
                yield from self._rows_of(self._sheet(book))
        except OSError as fault:
            raise self._fault(f"cannot be read ({fault.strerror or 'damaged'})", "Check the file.") from None
        except ImportFaultError:
            raise
        except Exception as fault:
            # What a damaged workbook makes the library raise is no closed list, and may show what stands in it.
            raise self._fault(f"this is no sound workbook ({type(fault).__name__})", _AS_VALUES) from None

    def _rows_of(self, sheet: Any) -> Iterator[tuple[int, Fields]]:
        # What the sheet says of its own size may be wrong, and would cut columns off in silence.
        sheet.reset_dimensions()
        cells = sheet.iter_rows()
        first = next(cells, ())
        header = [str(cell.value or "").strip() for cell in first]
        while header and not header[-1]:
            header.pop()
        if not header:
            raise self._fault("the first row is empty", FIRST_LINE, 1)
        if any(cell.data_type == "f" for cell in first):
            raise self._fault("a column's name is a formula", _AS_VALUES, 1)
        yield 1, header
        wanted = {
            at: self.mapping.kind_in(column) for at, column in enumerate(header) if column in self.mapping.columns_named
        }
        for number, row in enumerate(cells, start=2):
            if number > LAST_ROW:
                raise self._fault("the sheet has more rows than Excel knows", _AS_VALUES, number)
            if any(cell.value is not None for cell in row):
                yield number, self._fields(row, number, wanted, len(header))

    def _fields(self, row: Sequence[Any], number: int, wanted: dict[int, str | None], width: int) -> Fields:
        fields = [""] * width
        for at, kind in wanted.items():
            if at >= len(row):
                continue
            cell = row[at]
            if cell.data_type == "f":
                raise self._fault("a formula stands where a value belongs", _AS_VALUES, number)
            if cell.data_type == "e":
                return "Excel shows an error in this row"
            try:
                fields[at] = text_of(cell.value, kind)
            except NoTextError as fault:
                return str(fault)
        return fields

    def _sheet(self, book: Any) -> Any:
        named = {sheet.title: sheet for sheet in book.worksheets}
        if self.mapping.sheet is not None:
            if self.mapping.sheet not in named:
                raise self._fault(f"there is no sheet named {self.mapping.sheet!r}", "Correct the mapping or the file.")
            return named[self.mapping.sheet]
        visible = [sheet for sheet in named.values() if sheet.sheet_state == "visible"]
        if len(visible) != 1:
            raise self._fault(f"the workbook has {len(visible)} sheets", "Say in the mapping which one: `sheet`.")
        return visible[0]

    def _check_package(self, file: IO[bytes]) -> None:
        """Refuse what is no list, before the library opens any of it."""
        if file.read(8) == b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1":
            raise self._fault("the workbook has a password, or is of the old format (.xls)", _AS_VALUES)
        file.seek(0)
        with zipfile.ZipFile(file) as package:
            parts = package.infolist()
            if len(parts) > MOST_PARTS or len({part.filename.lower() for part in parts}) != len(parts):
                raise self._fault("the workbook's parts are too many, or one is there twice", _AS_VALUES)
            for part in parts:
                name = f"/{part.filename.lstrip('/')}"
                for pattern, what in _REFUSED:
                    if pattern.search(name) and not _PRINTER.search(name):
                        raise self._fault(what, _AS_VALUES)
                if part.file_size > _largest(part.filename):
                    raise self._fault("the workbook is larger unpacked than a list can be", "Export it as CSV.")
            for part in parts:
                if _IS_XML.search(part.filename):
                    with package.open(part) as stream:
                        self._check_xml(stream, is_sheet=bool(_SHEET.search(part.filename)))
        file.seek(0)

    def _check_xml(self, stream: IO[bytes], *, is_sheet: bool) -> None:
        look = _Look(is_sheet)
        try:
            while piece := stream.read(_PIECE):
                look.at(piece)
            look.at(b"", last=True)
        except _NoListError as fault:
            raise self._fault(str(fault), _AS_VALUES) from None

    def _fault(self, what: str, remedy: str, line: int = 0) -> ImportFaultError:
        return ImportFaultError(self.path, line, what, remedy)


class _NoListError(Exception):
    """A part of the workbook is what no list has in it; the message says what."""


class _Look:
    """One XML part, looked through piece by piece: nothing in it makes who reads it hold more than a little."""

    def __init__(self, is_sheet: bool) -> None:
        self._is_sheet = is_sheet
        self._depth = 0
        self._in_rows = False
        self._row = 0
        self._fed = 0
        self._boundary = 0
        """Where the last tag begins."""
        self._unit = 0
        """Where the row, or another part of the sheet, begins that the library holds as a whole."""
        self._parser = expat.ParserCreate(namespace_separator="|")
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end

    def at(self, piece: bytes, *, last: bool = False) -> None:
        """Look at the next piece. Raises _NoListError, and ExpatError for what is no XML."""
        self._parser.Parse(piece, last)
        self._fed += len(piece)
        if self._fed - self._boundary > LARGEST_TOKEN + _PIECE:
            raise _NoListError("a text in the workbook is longer than any cell")
        if self._is_sheet and self._fed - self._unit > LARGEST_ROW + _PIECE:
            raise _NoListError("a row of the sheet is larger than any list has")

    def _doctype(self, *_: object) -> None:
        raise _NoListError("the workbook holds a document type, which no such program writes")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        tag = name.rpartition("|")[2]
        if self._depth == 2:
            self._in_rows = tag == "sheetData"
        self._pass()
        if self._is_sheet and self._in_rows and self._depth == 3 and tag == "row":
            self._count_row(attributes.get("r", str(self._row + 1)))

    def _end(self, _: str) -> None:
        self._pass()
        self._depth -= 1

    def _pass(self) -> None:
        self._boundary = self._parser.CurrentByteIndex
        if self._depth <= 2 + self._in_rows:
            self._unit = self._boundary

    def _count_row(self, number: str) -> None:
        # The library would leave a row out that comes after a later one.
        if not number.isascii() or not number.isdigit() or not self._row < int(number[:12]) <= LAST_ROW:
            raise _NoListError("the rows of the sheet are not in order")
        self._row = int(number)


def _largest(part: str) -> int:
    if _SHEET.search(part):
        return LARGEST_SHEET
    return LARGEST_STRINGS if _STRINGS.search(part) else LARGEST_PART


def _library() -> Any:
    try:
        import openpyxl  # noqa: PLC0415 - only who reads a workbook needs it
    except ImportError as fault:
        raise KeysError("workbooks need more: pip install 'bekend[excel]'") from fault
    return openpyxl
