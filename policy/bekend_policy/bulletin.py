"""The usage bulletin: how often was asked, per quarter, in figures that point at nobody (FG-44, FG-50).

    a node      counts what it has on record, and protects the counts before they leave it
    a partner   hands over one file per quarter: five tables of protected counts
    who joins   adds the files up; nothing but protected counts ever reaches it

Protection of a count, each on its own (`guarded`): under 10 it is withheld, nought included; any other is rounded to a
multiple of 5. Counts that belong together (of one purpose: a decision changed, or not) stand together or not at all,
since one of them is the other's complement. A total is the sum of what stands there, and never counted by itself: so
no count that was withheld can be computed from what stands around it.

A quarter is one of the calendar, and over for a day before it is counted. Every event counts in the quarter in which it
was put on record. Whenever a quarter is counted, the figures are the same: there is nothing to subtract.

There is no table by neighbourhood, by officer or by moment, and none of what was answered.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, Literal

from bekend_proto.clock import day_of
from bekend_proto.errors import MalformedError, RefusedError
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StringConstraints, ValidationError

from bekend_policy.log_use import Days

KIND: Final = "bekend/1 bulletin"
THRESHOLD: Final = 10
STEP: Final = 5
LARGEST: Final = 10_000_000
"""More than this is no count of a quarter."""


WITHOUT_NUMBER: Final = " (zonder nummer)"
"""Behind a purpose in ASKED: how often was asked by a combination. The two are never counted together."""


class Topic(StrEnum):
    """The tables, as files spell them."""

    ASKED = "bevragingen"
    """Lookups of which at least one source could be asked, per purpose."""
    REFUSED = "weigeringen"
    """Per rule: own lookups in which it refused a source, and questions of others that it refused."""
    LATE = "zonder_antwoord"
    """Per source: questions that went out and were not answered."""
    STALE = "niet_te_bevragen"
    """Per source: times that it could be asked but nothing went out: its list was too old or absent, or no broker."""
    CHANGED = "gevolg_ja"
    """Cases per purpose in which the outcome changed what was decided."""
    UNCHANGED = "gevolg_nee"
    """Cases per purpose in which it did not."""


@dataclass(frozen=True, slots=True, order=True)
class Quarter:
    """A quarter of the calendar, 1 to 4, in Europe/Amsterdam."""

    year: int
    number: int

    @classmethod
    def parse(cls, text: str) -> "Quarter":
        """From `2026-K3`. Raises RefusedError."""
        found = re.fullmatch(r"(20[0-9]{2})-K([1-4])", text)
        if found is None:
            raise RefusedError("kwartaal", "Een kwartaal is jjjj-Kn, bijvoorbeeld 2026-K3.")
        return cls(int(found[1]), int(found[2]))

    def __str__(self) -> str:
        """As `parse` reads it."""
        return f"{self.year}-K{self.number}"

    @property
    def days(self) -> Days:
        """All its days."""
        after = date(self.year + self.number // 4, self.number % 4 * 3 + 1, 1)
        return Days(date(self.year, self.number * 3 - 2, 1), after - timedelta(days=1))

    def check_over(self, now: datetime) -> None:
        """Raises RefusedError while it lasts and the day after, and when it is longer than a year over."""
        last = self.days.last
        today = day_of(now)
        if today <= last + timedelta(days=1):
            raise RefusedError("kwartaal", f"Dit kwartaal is nog niet voorbij. Maak het bulletin vanaf {_later(last)}.")
        if today > last + timedelta(days=366):
            raise RefusedError("kwartaal", "Dit kwartaal is langer dan een jaar voorbij: het wordt niet meer geteld.")


def _later(last: date) -> str:
    return f"{last + timedelta(days=2):%d-%m-%Y}"


def guarded(count: int) -> int | None:
    """What may be said of a count: None under THRESHOLD, else the nearest multiple of STEP (never a tie: 5 is odd)."""
    return None if count < THRESHOLD else (count + STEP // 2) // STEP * STEP


def _is_guarded(count: int) -> int:
    if count % STEP or not THRESHOLD <= count <= LARGEST:
        raise ValueError("not a protected count")
    return count


Label = Annotated[str, StringConstraints(pattern=r"^[0-9A-Za-z][^\x00-\x1f\x7f]{0,99}$")]
Guarded = Annotated[int, AfterValidator(_is_guarded)]
Row = dict[Label, Guarded | None]


class Bulletin(BaseModel):
    """One partner's quarter. A count is protected, or None where it is withheld."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)

    kind: Literal["bekend/1 bulletin"] = Field(alias="soort")
    oin: Annotated[str, StringConstraints(pattern=r"^[0-9]{8}[0-9A-Z]{12}$")]
    covenant: Label = Field(alias="convenant")
    quarter: Annotated[str, StringConstraints(pattern=r"^20[0-9]{2}-K[1-4]$")] = Field(alias="kwartaal")
    tables: dict[str, Row] = Field(alias="tabellen")

    def to_text(self) -> str:
        """The file: JSON, the same octets for the same figures."""
        return json.dumps(self.model_dump(by_alias=True), ensure_ascii=False, indent=1, sort_keys=True) + "\n"


def protect(
    oin: str, covenant: str, quarter: Quarter, counts: Mapping[Topic, Mapping[str, int]],
) -> Bulletin:  # fmt: skip
    """The bulletin of these counts. Every label of a table but REFUSED is given, also with nought.

    Which rules refused something is itself a count: of REFUSED only what stands is named.
    """
    tables = {topic: {label: guarded(count) for label, count in counts[topic].items()} for topic in Topic}
    tables[Topic.REFUSED] = {label: count for label, count in tables[Topic.REFUSED].items() if count is not None}
    changed, unchanged = tables[Topic.CHANGED], tables[Topic.UNCHANGED]
    for purpose in changed:
        if changed[purpose] is None or unchanged[purpose] is None:
            changed[purpose] = unchanged[purpose] = None
    named = {topic.value: tables[topic] for topic in Topic}
    return Bulletin.model_validate(
        {"soort": KIND, "oin": oin, "convenant": covenant, "kwartaal": str(quarter), "tabellen": named}
    )


def read_bulletin(octets: bytes, name: str) -> Bulletin:
    """A partner's file. Raises MalformedError for anything that `protect` would not have made."""
    try:
        found = Bulletin.model_validate(json.loads(octets))
    except (ValidationError, ValueError, RecursionError):
        raise MalformedError(
            f"{name}: dit is geen bulletin, of er staat een getal in dat niet is afgerond. Vraag het bestand opnieuw."
        ) from None
    tables = found.tables
    if set(tables) != {topic.value for topic in Topic} or None in tables[Topic.REFUSED].values():
        raise MalformedError(f"{name}: niet elke tabel staat in dit bulletin. Vraag het bestand opnieuw.")
    yes, no = tables[Topic.CHANGED], tables[Topic.UNCHANGED]
    if set(yes) != set(no) or any((yes[one] is None) != (no[one] is None) for one in yes):
        raise MalformedError(f"{name}: van 'gevolg' staat één helft in dit bulletin. Vraag het bestand opnieuw.")
    return found


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of all partners together. `withheld`: so many partners' counts are not in it, each under 10."""

    count: int
    withheld: int


@dataclass(frozen=True)
class Joint:
    """The files of a federation, added up: per quarter and topic the figures, by label."""

    covenant: str
    partners: Mapping[Quarter, frozenset[str]]
    tables: Mapping[Quarter, Mapping[Topic, Mapping[str, Cell]]]

    @property
    def quarters(self) -> tuple[Quarter, ...]:
        """Oldest first."""
        return tuple(sorted(self.tables))

    def labels(self, topic: Topic) -> list[str]:
        """Every label that a table has in any quarter, in order."""
        return sorted({label for tables in self.tables.values() for label in tables[topic]})

    def cell(self, quarter: Quarter, topic: Topic, label: str) -> Cell:
        """One figure; nothing at all where no partner gave a line for it."""
        return self.tables[quarter][topic].get(label, Cell(0, 0))

    def total(self, quarter: Quarter, topic: Topic) -> Cell:
        """The sum of what stands there; `withheld` counts every figure that is not in it."""
        cells = self.tables[quarter][topic].values()
        return Cell(sum(one.count for one in cells), sum(one.withheld for one in cells))


def join(files: Sequence[Bulletin]) -> Joint:
    """Add partners' files up. Raises MalformedError: no files, two covenants, a partner twice in one quarter."""
    if len({one.covenant for one in files}) != 1:
        raise MalformedError("geef bulletins van één convenant, en ten minste één")
    partners: dict[Quarter, set[str]] = {}
    for one in files:
        known = partners.setdefault(Quarter.parse(one.quarter), set())
        if one.oin in known:
            raise MalformedError(f"van {one.oin} zijn er twee bulletins over {one.quarter}: geef er één")
        known.add(one.oin)
    tables = {
        quarter: {
            topic: _added(one.tables[topic.value] for one in files if one.quarter == str(quarter)) for topic in Topic
        }
        for quarter in partners
    }
    return Joint(files[0].covenant, {one: frozenset(who) for one, who in partners.items()}, tables)


def _added(rows: Iterable[Mapping[str, int | None]]) -> dict[str, Cell]:
    found: dict[str, Cell] = {}
    for row in rows:
        for label, count in row.items():
            before = found.get(label, Cell(0, 0))
            found[label] = Cell(before.count + (count or 0), before.withheld + (count is None))
    return found
