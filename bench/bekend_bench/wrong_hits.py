"""Wrong hits: rates of false matches, what they come to in a year, and which kinds a default covenant may hold.

What was measured last lies in `bench/results/identifiers/quality.json`; a test holds the shipped covenant to it.
"""

import json
import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from bekend_policy.load import load_covenant
from bekend_proto.identifiers import POSSIBLE_KINDS

from bekend_bench.origins import ORIGINS

ROOT: Final = Path(__file__).parents[2]
RESULTS: Final = Path("bench/results/identifiers/quality.json")
PAGE: Final = Path("docs/identifiers-quality.md")
COVENANT: Final = Path("policy/convenant/kennemerland")

ENROLLED: Final = 3_000_000
REPORTS: Final = 120_000
"""Reports to Veilig Thuis a year, in the whole country."""
PERSONS_PER_REPORT: Final = 2
LARGEST: Final = "kennemerland/vt-triage"
WITHOUT_BSN: Final = 0.05
"""Share of persons asked about whose BSN is not known: an estimate, no source counts it."""
MOST_WRONG: Final = 1.0
"""Expected wrong hits a year, in the country, that a combination of the default covenant may have."""

_STUDENT: Final = (12.71, 4.30, 3.18, 2.78, 2.57, 2.45, 2.36, 2.31, 2.26)
"""97.5th percentile of Student's t for 1 to 9 degrees of freedom."""


@dataclass(frozen=True)
class Wrong:
    """Expected number of others with the same key among the enrolled, per question; and by origin of the person.

    `each` is the same per comparison with one enrolled person. `unaskable` is the share of questions without a key.
    `persons` is how many equally weighty persons those are who may be asked about (Kish).
    """

    per_question: float
    each: float
    unaskable: float
    persons: float
    by_origin: tuple[float, ...]


@dataclass(frozen=True)
class Volume:
    """Questions by a combination in the country in a year, and how that number comes about."""

    reports: int
    persons_per_report: int
    all_purposes: float
    without_bsn: float

    @property
    def persons(self) -> float:
        """Persons asked about."""
        return self.reports * self.persons_per_report * self.all_purposes

    @property
    def questions(self) -> float:
        """Of them, those by a combination."""
        return self.persons * self.without_bsn


@dataclass(frozen=True)
class Rate:
    """False matches of one kind: mean over the seeds, with a 95 % interval. `most` is its upper end per question."""

    what: str
    per_question: float
    most: float
    each: float
    unaskable: float
    by_origin: tuple[float, ...]


def volume(root: Path = ROOT) -> Volume:
    """From the number of reports, scaled by the ceilings of the shipped covenant to all of its purposes."""
    ceilings = {one.id: one.limits.per_organisation for one in load_covenant(root / COVENANT).purposes.values()}
    return Volume(REPORTS, PERSONS_PER_REPORT, sum(ceilings.values()) / ceilings[LARGEST], WITHOUT_BSN)


def rate(what: str, found: list[Wrong]) -> Rate:
    """Several countries' counts as one rate.

    The interval is Student's over the countries, and never below what none or few collisions leave open: three
    events more than were counted (the rule of three), of persons as weighty as these.
    """
    rates = [one.per_question for one in found]
    mean = statistics.fmean(rates)
    spread = statistics.stdev(rates) / math.sqrt(len(rates)) if len(rates) > 1 else mean
    student = _STUDENT[min(len(rates) - 1, len(_STUDENT)) - 1] if len(rates) > 1 else 1.0
    least_open = 3 / sum(one.persons for one in found)
    return Rate(
        what,
        mean,
        mean + max(student * spread, least_open),
        statistics.fmean(one.each for one in found),
        statistics.fmean(one.unaskable for one in found),
        tuple(statistics.fmean(one.by_origin[number] for one in found) for number in range(len(ORIGINS))),
    )


def allowed(rates: list[Rate], year: Volume) -> list[str]:
    """The kinds that a default covenant may hold: the upper end of the interval stays within MOST_WRONG a year."""
    return sorted(one.what for one in rates if one.what in POSSIBLE_KINDS and one.most * year.questions <= MOST_WRONG)


def load(root: Path = ROOT) -> Mapping[str, Any]:
    """What was measured last."""
    tree: Mapping[str, Any] = json.loads((root / RESULTS).read_text(encoding="utf-8"))
    return tree
