"""A CSV of any size as a list, in bounded memory; whatever is wrong is named by line and remedy, never by value.

Encoding: UTF-8 (with or without byte order mark) or Windows-1252; a file that mixes them is refused at the first line
that does not fit. Delimiter: semicolon, comma or tab, whichever makes the mapping's column appear in the first line.
"""

import csv
from collections.abc import Iterator
from pathlib import Path

from bekend_node.enrol.listing import FIRST_LINE, Fields, FileList, ImportFaultError
from bekend_node.enrol.mapping import Mapping
from bekend_node.enrol.rows import shown

MAX_LINE = 64 * 1024
"""Bytes of one line: a client list has lines of a few hundred."""
_DELIMITERS = (";", ",", "\t")
_BOM = b"\xef\xbb\xbf"
_WIDE = (b"\xff\xfe", b"\xfe\xff")


class CsvFile(FileList):
    """A CSV as its mapping describes it. A `Listing`."""

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """Line by line: quoted line breaks have no place in a list of numbers and dates."""
        lines = _Lines(self.path, self.mapping.encoding)
        text = iter(lines)
        header = next(text, None)
        if header is None or not header.strip():
            raise ImportFaultError(self.path, 1, "the file is empty", FIRST_LINE)
        delimiter = _delimiter(self.path, header, self.mapping)
        yield 1, _names(self.path, header, delimiter)
        for line in text:
            if line.strip():
                fields = _fields(line, delimiter)
                yield lines.number, "a quote is not closed on the same line" if fields is None else fields


class _Lines:
    """Decoded lines, with a bound on their length and one encoding for the whole file."""

    def __init__(self, path: Path, encoding: str | None) -> None:
        self.path = path
        self.number = 0
        self._encoding = encoding

    def __iter__(self) -> Iterator[str]:
        try:
            with self.path.open("rb") as file:
                while raw := file.readline(MAX_LINE + 1):
                    self.number += 1
                    if len(raw) > MAX_LINE:
                        raise self._fault(f"the line is longer than {MAX_LINE} bytes", "Is this a CSV with line ends?")
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


def _delimiter(path: Path, header: str, mapping: Mapping) -> str:
    if mapping.delimiter:
        return "\t" if mapping.delimiter == "tab" else mapping.delimiter
    wanted = mapping.first_column
    fitting = [mark for mark in _DELIMITERS if wanted in _names(path, header, mark)]
    if not fitting:
        mark = max(_DELIMITERS, key=header.count)
        found = shown(_names(path, header, mark))
        raise ImportFaultError(
            path, 1, f"no column named {wanted!r}; there are: {found}", "Correct the mapping or the export."
        )
    return max(fitting, key=header.count)


def _names(path: Path, header: str, delimiter: str) -> list[str]:
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


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True
