"""From a list's rows to persons: canonical identifiers, the month of the end, the label; or why a row is left out.

Whatever is wrong is named by line and remedy, never by value.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cached_property

from bekend_proto.identifiers import InvalidIdentifier, parse_identifier
from bekend_proto.names import PersonData, combine

from bekend_node.enrol.listing import FIRST_LINE, Fields, ImportFaultError, Listing
from bekend_node.enrol.mapping import Mapping, NameColumns
from bekend_node.pseudonym_file import NEVER_ENDS, month_number

_CHANGES = {"+": True, "-": False}
_NO_DATE = "a date is not written as 2026-11-21 or 21-11-2026"
_FAR = "a date of last involvement lies thousands of years ahead"
_NOT_SECRET = frozenset({"", "0", "n", "nee", "false", "no"})


@dataclass(frozen=True, slots=True)
class Refused:
    """One row, or one number in it, that is left out, and why; never what stood there."""

    line: int
    reason: str


@dataclass(frozen=True, slots=True)
class Person:
    """One accepted row: canonical identifiers (kind ":" value), month of the end (0 = remove), line in the list.

    `secret`: marked as shielded by default; `added`: not a removal. `label`: on what ground the person is registered,
    as the covenant calls it; "" where the row says nothing. `faults` are numbers of the row that cannot be used;
    `lacking` the combinations that its data do not make, each with the reason.
    """

    canonicals: tuple[bytes, ...]
    end_month: int
    line: int
    secret: bool = False
    added: bool = True
    label: str = ""
    faults: tuple[Refused, ...] = ()
    lacking: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class RowRules:
    """What decides about a row: the mapping, whether it is a list of changes, the list's date, the age in months.

    `shielding`: the register is `afgeschermd`, where nobody's registration ends by itself.
    """

    mapping: Mapping
    changes: bool
    as_of: date
    registration_months: int
    shielding: bool = False


def read_rows(listing: Listing, rules: RowRules) -> Iterator[Person | Refused]:
    """Every row of the list. Raises ImportFaultError when it cannot be read on: then nothing may be imported."""
    rows = listing.rows()
    _, header = next(rows, (1, ""))
    if isinstance(header, str):
        raise ImportFaultError(listing.name, 1, header or "the list is empty", FIRST_LINE)
    layout = _Layout.of(listing.name, header, rules)
    for number, fields in rows:
        yield layout.read(fields, number)


@dataclass(frozen=True)
class _Layout:
    """Where each column stands, and how a row becomes a person."""

    rules: RowRules
    width: int
    numbers: tuple[tuple[str, int], ...]
    """Kind of identifier, and where it stands."""
    names: tuple[tuple[str, int], ...]
    """Part of a person's data, and where it stands."""
    end: int | None
    last_involved: int | None
    change: int | None
    secret: int | None
    label: int | None
    default_end: int

    @classmethod
    def of(cls, name: str, header: Sequence[str], rules: RowRules) -> "_Layout":
        columns = rules.mapping.columns

        def at(column: str) -> int:
            if header.count(column) != 1:
                what = "no column" if column not in header else "more than one column"
                raise ImportFaultError(
                    name, 1, f"{what} named {column!r}; there are: {shown(header)}", "Correct the mapping or export."
                )
            return header.index(column)

        def place(column: str | None) -> int | None:
            return None if column is None else at(column)

        numbers = tuple((kind, at(column)) for kind, column in rules.mapping.numbers.items())
        names = tuple((part, at(column)) for part, column in _parts(rules.mapping.names))
        if rules.changes and columns.change is None:
            raise ImportFaultError(name, 1, "the mapping names no `change` column", "Add it, with + and - in the list.")
        default = month_number(rules.as_of.isoformat()[:7]) + rules.registration_months
        change = place(columns.change) if rules.changes else None
        if rules.shielding:
            return cls(rules, len(header), numbers, names, None, None, change, None, None, NEVER_ENDS)
        end, last, secret, label = map(place, (columns.end, columns.last_involved, columns.secret, columns.label))
        return cls(rules, len(header), numbers, names, end, last, change, secret, label, default)

    def read(self, fields: Fields, line: int) -> Person | Refused:
        if isinstance(fields, str):
            return Refused(line, fields)
        if len(fields) != self.width:
            return Refused(line, f"{len(fields)} fields where the first line has {self.width}")
        try:
            added = True if self.change is None else _CHANGES[fields[self.change].strip()]
            secret = self._is_secret(fields)
            month = self._end(fields) if added and not secret else 0
        except KeyError:
            return Refused(line, "the change is not + or -")
        except ValueError as fault:
            return Refused(line, _FAR if isinstance(fault, _FarError) else _NO_DATE)
        found, faults = self._numbers(fields, line)
        made, lacking = self._combinations(fields)
        if not found and not made and not lacking:
            return faults[0] if faults else Refused(line, "the row holds no number of any kind")
        return Person((*found, *made), month, line, secret, added, self._label(fields), faults, lacking)

    def _numbers(self, fields: list[str], line: int) -> tuple[list[bytes], tuple[Refused, ...]]:
        """Every number of the row, and what is wrong with those that cannot be used."""
        found, faults = [], []
        for kind, at in self.numbers:
            # Of several kinds a person may lack some.
            if self.has_several and not fields[at].strip():
                continue
            try:
                found.append(parse_identifier(kind, fields[at]).canonical)
            except InvalidIdentifier as fault:
                faults.append(Refused(line, str(fault)))
        return found, tuple(faults)

    def _combinations(self, fields: list[str]) -> tuple[list[bytes], tuple[tuple[str, str], ...]]:
        """Every combination that the row's data make, and of the others the kind with the reason."""
        if not self.rules.mapping.combinations:
            return [], ()
        made, lacking = [], []
        data = PersonData(**{part: fields[at] for part, at in self.names})
        for kind in self.rules.mapping.combinations:
            try:
                made.append(combine(kind, data).canonical)
            except InvalidIdentifier as fault:
                lacking.append((kind, str(fault)))
        return made, tuple(lacking)

    @cached_property
    def has_several(self) -> bool:
        """Whether persons are enrolled by more than one kind of identifier."""
        return len(self.rules.mapping.kinds) > 1

    def _label(self, fields: list[str]) -> str:
        return "" if self.label is None else self.rules.mapping.label_of(fields[self.label])

    def _is_secret(self, fields: list[str]) -> bool:
        return self.secret is not None and fields[self.secret].strip().lower() not in _NOT_SECRET

    def _end(self, fields: list[str]) -> int:
        if self.end is not None and (text := fields[self.end].strip()):
            month = _month(_date(text))
            # 9999-12-31 is what many systems write where they know no end.
            if month < NEVER_ENDS:
                return month
        if self.last_involved is not None and (text := fields[self.last_involved].strip()):
            month = _month(_date(text)) + self.rules.registration_months
            if month >= NEVER_ENDS:
                raise _FarError
            return month
        return self.default_end


_PARTS = {
    "surname": "geslachtsnaam",
    "prefix": "voorvoegsel",
    "given_names": "voornamen",
    "born": "geboortedatum",
    "postcode": "postcode",
    "house_number": "huisnummer",
    "partner_surname": "partner_geslachtsnaam",
    "partner_prefix": "partner_voorvoegsel",
    "name_use": "naamgebruik",
}
"""A key under `names` in a mapping, and what the BRP calls it."""


def _parts(names: NameColumns | None) -> Iterator[tuple[str, str]]:
    for key, part in _PARTS.items():
        if names is not None and (column := getattr(names, key)) is not None:
            yield part, column


class _FarError(ValueError):
    """A last involvement beyond every registration: its end would not fit where it is stored."""


def _month(day: date) -> int:
    return month_number(day.isoformat()[:7])


def _date(text: str) -> date:
    if match := re.fullmatch(r"(\d{1,2})-(\d{1,2})-(\d{4})", text):
        return date(int(match[3]), int(match[2]), int(match[1]))
    if not re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        raise ValueError("no date")
    return date.fromisoformat(text)


def shown(columns: Sequence[str]) -> str:
    """Names of columns for a message. None where one looks like data, as in a list without a first line of names: the
    others would be of the same person.
    """
    if any(len(re.findall(r"\d", column)) >= 4 for column in columns):
        return "(looks like data)"
    return ", ".join(repr(column[:40]) for column in columns)
