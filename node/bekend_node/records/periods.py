"""When a person was registered at the source, and so what a question was answered (protocol section 8).

A sealed record says that a question was answered, not what. That follows from the source's own system: the privacy
officer looks up when this person stood in which register, and writes that down in strict YAML, without name or number:

    soort: bekend/1 registratie
    geregistreerd: ja
    registers:
      - {register: clienten, van: 2024-03-01, tot: 2025-06-30}
      - {register: clienten, van: 2026-01-15}
    afgeschermd:
      - {van: 2026-05-01}

`tot` is the last day; without it the registration goes on. A list reaches the node later than the system, so around the
beginning and the end of a registration the answer is not certain, and the letter says so.
"""

from collections.abc import Iterable
from datetime import date, timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from bekend_policy.model import Source
from bekend_policy.scalars import Day, JaNee, Slug, rule_fault
from bekend_policy.strict_yaml import StrictModel, load_yaml
from bekend_proto.clock import add_months, month_start
from bekend_proto.errors import MalformedError
from pydantic import Field, model_validator

from bekend_node.classes import CERTAIN, KindClass

KIND: Final = "bekend/1 registratie"


class Learned(Enum):
    """What the requester learned of one answered question."""

    KNOWN = "bekend"
    NOTHING = "niets"
    UNKNOWN = "onbekend"
    PERHAPS = "mogelijk"
    """Asked by a combination: `mogelijk bekend`, or nothing."""


class Period(StrictModel):
    """From the first day to the last one, both included; without a last one: up to now."""

    first: Day = Field(alias="van")
    last: Day | None = Field(default=None, alias="tot")

    @model_validator(mode="after")
    def _in_order(self) -> "Period":
        if self.last is not None and self.last < self.first:
            raise rule_fault("'tot' ligt voor 'van'", "Controleer de twee datums.", "tot")
        return self

    def holds(self, first: date, last: date) -> bool:
        """Whether it covers all these days."""
        return self.first <= first and (self.last is None or last <= self.last)

    def touches(self, first: date, last: date) -> bool:
        """Whether it covers one of these days."""
        return self.first <= last and (self.last is None or first <= self.last)


class RegisterPeriod(Period):
    """A registration in one register."""

    register_name: Slug = Field(alias="register")


class Registration(StrictModel):
    """All registrations of one person, as the source's own system has them."""

    kind: str = Field(alias="soort")
    registered: JaNee = Field(alias="geregistreerd")
    registers: tuple[RegisterPeriod, ...] = ()
    shielded: tuple[Period, ...] = Field(default=(), alias="afgeschermd")

    @model_validator(mode="after")
    def _whole(self) -> "Registration":
        if self.registered is not bool(self.registers):
            raise rule_fault(
                "'geregistreerd' en 'registers' spreken elkaar tegen",
                "Bij 'ja' noemt u de registers; bij 'nee' laat u ze weg.",
                "geregistreerd",
            )
        return self


def load_registration(path: Path) -> Registration:
    """Read the file. Raises YamlFaults with file and line, MalformedError for another kind of file."""
    found = load_yaml(path, Registration, language="nl")
    if found.kind != KIND:
        raise MalformedError(f"{path}: de eerste regel moet 'soort: {KIND}' zijn")
    return found


def learned(
    registration: Registration | None, source: Source | None, day: date, kind_class: KindClass = CERTAIN
) -> Learned:
    """What a question on this day was answered, by these registrations and the covenant's terms for this source.

    Not certain: within the age that a list may have, to the end of the month in which a registration ended, and
    wherever a person at the source decided.
    """
    unsure = Learned.UNKNOWN if kind_class == CERTAIN else Learned.PERHAPS
    if registration is None or source is None:
        return unsure
    earliest, until = day - source.max_list_age - timedelta(days=1), day
    periods = [one for one in registration.registers if one.register_name in source.registers]
    if not any(_may_be_in_a_list(one, earliest, until) for one in periods):
        return Learned.NOTHING
    if any(one.holds(earliest, until) for one in registration.shielded):
        return Learned.NOTHING
    certain = any(one.holds(earliest, until) for one in periods)
    by_machine = source.mode_of(kind_class).by_machine
    if not certain or not by_machine or _touched(registration.shielded, earliest, until):
        return unsure
    return Learned.KNOWN


def _may_be_in_a_list(one: RegisterPeriod, first: date, last: date) -> bool:
    """Whether a list of these days could hold it: an ended registration stays to the end of its month."""
    return one.first <= last and (one.last is None or _month_end(one.last) >= first)


def _month_end(day: date) -> date:
    month = f"{day.year:04}-{day.month:02}"
    return month_start(add_months(month, 1)).date() - timedelta(days=1)


def _touched(periods: Iterable[Period], first: date, last: date) -> bool:
    return any(one.touches(first, last) for one in periods)
