"""The letter to a partner's desk about somebody who was wrongly `bekend`: one HTML page to fill in, print and send.

B1 Dutch. It names the questions and why, never the person: that is typed into the page before it is printed, and kept
nowhere.
"""

from dataclasses import dataclass
from datetime import datetime

from bekend_policy.wording import on_day
from bekend_proto.clock import AMSTERDAM
from jinja2 import Environment, PackageLoader, StrictUndefined

from bekend_node.records.letter import moment


@dataclass(frozen=True)
class AskedThen:
    """One question to the partner. `question`: its id in hex, under which the partner keeps it."""

    at: datetime
    purpose: str
    question: str


@dataclass(frozen=True)
class LetterFacts:
    """What the letter says. `person`: which of several persons, counted from 1."""

    organisation: str
    own_desk: str | None
    partner: str
    partner_desk: str | None
    number: int
    written: datetime
    reason: str
    person: int | None
    asked: tuple[AskedThen, ...]


def correction_letter(facts: LetterFacts) -> bytes:
    """The page. It needs nothing else, runs nothing and asks for nothing."""
    environment = Environment(
        loader=PackageLoader("bekend_node.records", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        day=lambda at: on_day(at.astimezone(AMSTERDAM).date()), moment=lambda at: moment(at.astimezone(AMSTERDAM))
    )
    return environment.get_template("correction.html.j2").render(facts=facts).encode()
