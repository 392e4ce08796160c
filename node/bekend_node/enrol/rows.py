"""A CSV of any size, row by row, in bounded memory; whatever is wrong is named by line and remedy, never by value.

Encoding: UTF-8 (with or without byte order mark) or Windows-1252; a file that mixes them is refused at the first line
that does not fit. Delimiter: semicolon, comma or tab, whichever makes the mapping's column appear in the first line.
"""

import csv
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from hashlib import blake2b
from pathlib import Path

from bekend_proto.errors import MalformedError
from bekend_proto.identifiers import InvalidIdentifier, parse_identifier

from bekend_node.enrol.mapping import Mapping
from bekend_node.pseudonym_file import NEVER_ENDS, month_number

MAX_LINE = 64 * 1024
"""Bytes of one line: a client list has lines of a few hundred."""
_DELIMITERS = (";", ",", "\t")
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")
_CHANGES = {"+": True, "-": False}
_NOT_SECRET = frozenset({"", "0", "n", "nee", "false", "no"})


class ImportFaultError(MalformedError):
    """The file as a whole cannot be read. The message names file, line (0: none in particular) and remedy."""

    def __init__(self, path: Path, line: int, what: str, remedy: str) -> None:
        place = f"{path}:{line}" if line else str(path)
        super().__init__(f"{place}: {what}. {remedy}")
        self.line = line


@dataclass(frozen=True, slots=True)
class Refused:
    """One row, or one number in it, that is left out, and why; never what stood there."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Person:
    """One accepted row: canonical identifiers (kind ":" value), month of the end (0 = remove), line in the file.

    `secret`: marked as shielded by default. `faults` are further numbers of the row that cannot be used.
    """

    canonicals: tuple[bytes, ...]
    end_month: int
    line: int
    secret: bool = False
    faults: tuple[Refused, ...] = ()


@dataclass(frozen=True)
class RowRules:
    """What decides about a row: the mapping, whether it is a file of changes, the list's date, the age in months.

    `shielding`: the register is `afgeschermd`, where nobody's registration ends by itself.
    """

    mapping: Mapping
    changes: bool
    as_of: date
    registration_months: int
    shielding: bool = False


def read_rows(
    path: Path, rules: RowRules, on_bytes: Callable[[bytes], None] | None = None
) -> Iterator[Person | Refused]:
    """Every row of the file. `on_bytes` sees the raw lines as they pass (for the fingerprint and the progress bar).

    Raises ImportFaultError when the file cannot be read on: then nothing may be imported.
    """
    lines = _Lines(path, rules.mapping.encoding, on_bytes)
    text = iter(lines)
    header = next(text, None)
    if header is None or not header.strip():
        raise ImportFaultError(
            path, 1, "the file is empty", "Export the register again, with a first line of column names."
        )
    delimiter = _delimiter(path, header, rules.mapping)
    layout = _Layout.of(path, _split(path, header, delimiter), rules)
    # One line, one row: quoted line breaks have no place in a list of numbers and dates.
    for line in text:
        if not line.strip():
            continue
        yield layout.read(_fields(line, delimiter), lines.number)


def fingerprint(path: Path, key: bytes) -> bytes:
    """Keyed hash of the file's bytes: tells whether it is the same file, and says nothing to others."""
    digest = blake2b(key=key, digest_size=32, person=b"bekend1-import")
    try:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                digest.update(piece)
    except OSError as fault:
        raise ImportFaultError(path, 0, f"cannot be read ({fault.strerror})", "Check the path.") from fault
    return digest.digest()


class _Lines:
    """Decoded lines, with a bound on their length and one encoding for the whole file."""

    def __init__(self, path: Path, encoding: str | None, on_bytes: Callable[[bytes], None] | None) -> None:
        self.path = path
        self.number = 0
        self._encoding = encoding
        self._on_bytes = on_bytes

    def __iter__(self) -> Iterator[str]:
        try:
            with self.path.open("rb") as file:
                while raw := file.readline(MAX_LINE + 1):
                    self.number += 1
                    if len(raw) > MAX_LINE:
                        raise self._fault(f"the line is longer than {MAX_LINE} bytes", "Is this a CSV with line ends?")
                    if self._on_bytes:
                        self._on_bytes(raw)
                    yield self._decode(raw).rstrip("\r\n")
        except OSError as fault:
            raise ImportFaultError(self.path, 0, f"cannot be read ({fault.strerror})", "Check the path.") from fault

    def _decode(self, raw: bytes) -> str:
        if self.number == 1:
            raw = self._start(raw)
        if raw.isascii():
            if b"\0" in raw:
                raise self._fault("the line holds zero bytes", "Save the file as UTF-8 CSV.")
            return raw.decode("ascii")
        utf8 = _decodes(raw, "utf-8")
        if self._encoding is None:
            self._encoding = "utf-8" if utf8 else "cp1252"
        if utf8 is not (self._encoding == "utf-8"):
            raise self._fault(
                f"the file mixes encodings: up to here it is {self._encoding}, this line is not",
                "Export it again in one encoding, UTF-8 by preference.",
            )
        if not _decodes(raw, self._encoding):
            raise self._fault("the line is neither UTF-8 nor Windows-1252", "Export it again as UTF-8.")
        return raw.decode(self._encoding)

    def _start(self, raw: bytes) -> bytes:
        if raw.startswith(_WIDE):
            raise self._fault("the file is UTF-16", "Save it as UTF-8 CSV.")
        if raw.startswith(_BOM):
            if self._encoding == "cp1252":
                raise self._fault("the file is UTF-8, its mapping says cp1252", "Have the mapping corrected.")
            self._encoding = "utf-8"
            return raw[len(_BOM) :]
        return raw

    def _fault(self, what: str, remedy: str) -> ImportFaultError:
        return ImportFaultError(self.path, self.number, what, remedy)


@dataclass(frozen=True)
class _Layout:
    """Where each column stands, and how a row becomes a person."""

    rules: RowRules
    width: int
    numbers: tuple[tuple[str, int], ...]
    """Kind of identifier, and where it stands."""
    end: int | None
    last_involved: int | None
    change: int | None
    secret: int | None
    default_end: int

    @classmethod
    def of(cls, path: Path, header: list[str], rules: RowRules) -> "_Layout":
        columns = rules.mapping.columns

        def place(name: str | None) -> int | None:
            if name is None:
                return None
            if header.count(name) != 1:
                found = ", ".join(_shown(column) for column in header)
                what = "no column" if name not in header else "more than one column"
                raise ImportFaultError(
                    path, 1, f"{what} named {name!r}; there are: {found}", "Correct the mapping or export."
                )
            return header.index(name)

        found = {kind: place(name) for kind, name in rules.mapping.numbers.items()}
        numbers = tuple((kind, at) for kind, at in found.items() if at is not None)
        if rules.changes and columns.change is None:
            raise ImportFaultError(path, 1, "the mapping names no `change` column", "Add it, with + and - in the file.")
        default = month_number(rules.as_of.isoformat()[:7]) + rules.registration_months
        change = place(columns.change) if rules.changes else None
        if rules.shielding:
            return cls(rules, len(header), numbers, None, None, change, None, NEVER_ENDS)
        end, last_involved, secret = map(place, (columns.end, columns.last_involved, columns.secret))
        return cls(rules, len(header), numbers, end, last_involved, change, secret, default)

    def read(self, fields: list[str] | None, line: int) -> Person | Refused:
        if fields is None:
            return Refused(line, "a quote is not closed on the same line")
        if len(fields) != self.width:
            return Refused(line, f"{len(fields)} fields where the first line has {self.width}")
        try:
            added = True if self.change is None else _CHANGES[fields[self.change].strip()]
            secret = self._is_secret(fields)
            month = self._end(fields) if added and not secret else 0
        except KeyError:
            return Refused(line, "the change is not + or -")
        except ValueError:
            return Refused(line, "a date is not written as 2026-11-21 or 21-11-2026")
        canonicals, faults = self._identifiers(fields, line)
        return Person(canonicals, month, line, secret, faults) if canonicals else faults[0]

    def _identifiers(self, fields: list[str], line: int) -> tuple[tuple[bytes, ...], tuple[Refused, ...]]:
        """Every number of the row, and what is wrong with those that cannot be used. At least one of the two."""
        found, faults = [], []
        for kind, at in self.numbers:
            # Of several kinds a person may lack some.
            if len(self.numbers) > 1 and not fields[at].strip():
                continue
            try:
                found.append(parse_identifier(kind, fields[at]).canonical)
            except InvalidIdentifier as fault:
                faults.append(Refused(line, str(fault)))
        if not found and not faults:
            faults.append(Refused(line, "the row holds no number of any kind"))
        return tuple(found), tuple(faults)

    def _is_secret(self, fields: list[str]) -> bool:
        return self.secret is not None and fields[self.secret].strip().lower() not in _NOT_SECRET

    def _end(self, fields: list[str]) -> int:
        if self.end is not None and (text := fields[self.end].strip()):
            return month_number(_date(text).isoformat()[:7])
        if self.last_involved is not None and (text := fields[self.last_involved].strip()):
            return month_number(_date(text).isoformat()[:7]) + self.rules.registration_months
        return self.default_end


def _date(text: str) -> date:
    if match := re.fullmatch(r"(\d{1,2})-(\d{1,2})-(\d{4})", text):
        return date(int(match[3]), int(match[2]), int(match[1]))
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError("no date")
    return date.fromisoformat(text)


def _delimiter(path: Path, header: str, mapping: Mapping) -> str:
    if mapping.delimiter:
        return "\t" if mapping.delimiter == "tab" else mapping.delimiter
    wanted = next(iter(mapping.numbers.values()))
    fitting = [mark for mark in _DELIMITERS if wanted in _split(path, header, mark)]
    if not fitting:
        mark = max(_DELIMITERS, key=header.count)
        found = ", ".join(_shown(column) for column in _split(path, header, mark))
        raise ImportFaultError(
            path, 1, f"no column named {wanted!r}; there are: {found}", "Correct the mapping or the export."
        )
    return max(fitting, key=header.count)


def _split(path: Path, header: str, delimiter: str) -> list[str]:
    fields = _fields(header, delimiter)
    if fields is None:
        raise ImportFaultError(path, 1, "a quote is not closed on the first line", "Export the register again.")
    return [field.strip() for field in fields]


def _fields(line: str, delimiter: str) -> list[str] | None:
    """The fields of one line, or None when a quote is left open."""
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return None


def _shown(column: str) -> str:
    """A column's name for a message; hidden when it looks like data, as in a file without a first line of names."""
    return "(looks like data)" if len(re.findall(r"\d", column)) >= 4 else repr(column[:40])


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
