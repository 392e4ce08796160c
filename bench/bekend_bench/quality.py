"""How good keys of names are: who is found, who is missed, and who is taken for somebody else.

    python -m bekend_bench.quality [--seeds 3] [--write]

Counts collisions in a generated country, precision and recall on FEBRL and on Dutch persons written down twice, and
slips in numbers. `--write` puts the figures into `bench/results/identifiers/quality.json`, and from them
`docs/identifiers-quality.md` and its plots. Under two minutes of one core, 2.5 GB of memory.
"""

import json
import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_policy.load import load_covenant
from bekend_proto.identifiers import BSN, NAME_BIRTH, NAME_DAY_MONTH, SKN, V_NUMMER

from bekend_bench import linkage, machine
from bekend_bench.country import Country, Keys, Rules, Wrong, generate, keys_of, plain, shipped, without_new_year, wrong
from bekend_bench.mistyped import mistyped
from bekend_bench.origins import ORIGINS
from bekend_bench.quality_page import page, plots

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


def collisions(seeds: int, scale: float, say: Callable[[str], None]) -> tuple[list[Rate], float]:
    """The rate of each kind as it is shipped and, to compare, with 1 January; and who of those asked is enrolled."""
    found: dict[str, list[Wrong]] = {}
    known: list[float] = []
    rules = shipped()
    for seed in range(1, seeds + 1):
        say(f"country {seed} of {seeds}")
        country = generate(seed, rules, scale=scale, enrolled=ENROLLED)
        known.append(float(country.asked[country.enrolled].sum() / country.asked.sum()))
        for what, keys in _ways(country):
            found.setdefault(what, []).append(wrong(country, keys))
    return [rate(what, rates) for what, rates in found.items()], statistics.fmean(known)


def _ways(country: Country) -> list[tuple[str, Keys]]:
    ways = []
    for kind in linkage.KINDS:
        keys = keys_of(country, kind)
        if kind in (NAME_BIRTH, NAME_DAY_MONTH):
            ways.append((f"{kind}, 1 January too", keys))
            keys = without_new_year(country, keys)
        ways.append((kind, keys))
    return ways


def without_rules(scale: float, say: Callable[[str], None]) -> Rate:
    """Of one country: surname with its voorvoegsel, given name and date, letters alone."""
    say("the same without rules")
    rules: Rules = plain()
    country = generate(1, rules, scale=scale, enrolled=ENROLLED)
    return rate("letters alone, no rules", [wrong(country, keys_of(country, NAME_BIRTH))])


def measure(seeds: int, scale: float, persons: int, say: Callable[[str], None]) -> dict[str, Any]:
    """Everything, as it is written down."""
    began, started = datetime.now(UTC), time.process_time()
    year = volume()
    rates, known = collisions(seeds, scale, say)
    say("persons written down twice")
    pairs = linkage.dutch(1, persons)
    found = linkage.febrl()
    sets: dict[str, Any] = {"dutch": linkage.couples(pairs)}
    if not isinstance(found, str):
        sets["febrl"] = found
    say("who is found")
    recall = {
        name: [asdict(linkage.measured(kind, linkage.key_of(kind), couples)) for kind in linkage.KINDS]
        + [asdict(linkage.measured("letters alone, no rules", linkage.plain_key, couples))]
        for name, couples in sets.items()
    }
    of_origin = {
        one.name: {
            kind: linkage.measured(
                kind, linkage.key_of(kind), linkage.couples(pair for pair in pairs if pair.origin is one)
            ).recall
            for kind in linkage.KINDS
        }
        for one in ORIGINS
    }
    tree = {
        "began": began.isoformat(timespec="seconds"),
        "machine": machine.describe(),
        "seeds": seeds,
        "scale": scale,
        "persons_written": len(pairs),
        "enrolled": round(ENROLLED * scale),
        "volume": asdict(year) | {"persons": year.persons, "questions": year.questions},
        "known": known,
        "rates": [asdict(one) for one in [*rates, without_rules(scale, say)]],
        "numbers": [asdict(one) | {"each": one.each} for one in map(mistyped, (BSN, SKN, V_NUMMER))],
        "recall": recall,
        "recall_by_origin": of_origin,
        "missed": linkage.missed_by(NAME_BIRTH, pairs)[:12],
        "left_out": found if isinstance(found, str) else None,
        "allowed": allowed(rates, year),
    }
    return tree | {"processor_seconds": round(time.process_time() - started, 1)}


def allowed(rates: list[Rate], year: Volume) -> list[str]:
    """The kinds that a default covenant may hold: the upper end of the interval stays within MOST_WRONG a year."""
    return sorted(one.what for one in rates if one.what in linkage.KINDS and one.most * year.questions <= MOST_WRONG)


def load(root: Path = ROOT) -> Mapping[str, Any]:
    """What was measured last."""
    tree: Mapping[str, Any] = json.loads((root / RESULTS).read_text(encoding="utf-8"))
    return tree


def _say(what: str) -> None:
    sys.stderr.write(f"{what}\n")


def main(
    seeds: Annotated[int, typer.Option(min=1, help="Generated countries; more make the intervals narrower.")] = 3,
    scale: Annotated[float, typer.Option(min=0.01, max=1, help="Size of a country, to try out.")] = 1.0,
    persons: Annotated[int, typer.Option(min=100, help="Persons written down twice.")] = 40_000,
    *,
    write: Annotated[bool, typer.Option("--write", help="Write results, page and plots instead of the page.")] = False,
    root: Annotated[Path, typer.Option(help="The checkout.")] = ROOT,
) -> None:
    """Measure keys of names: who is found, who is missed, who is taken for somebody else."""
    if write and scale < 1:
        raise typer.BadParameter("what is written down is of the whole country: leave --scale out")
    tree = measure(seeds, scale, persons, _say)
    if not write:
        sys.stdout.write(page(tree))
        return
    (root / RESULTS).parent.mkdir(parents=True, exist_ok=True)
    (root / RESULTS).write_text(json.dumps(tree, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    (root / PAGE).write_text(page(tree), encoding="utf-8")
    plots(tree, root / PAGE.parent / PAGE.stem)


if __name__ == "__main__":
    typer.run(main)
