"""`bekend policy matrix`: who may ask whom for what, and in which mode. Every pair, decided, none inferred.

A row is a source, a column is who asks (for itself or in a name), a cell is one letter with a meaning of its own:
nobody needs a colour to read it.
"""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any

from bekend_policy.decide import Decision
from bekend_policy.model import Covenant, Mode, Purpose
from bekend_policy.routes import Route, outcomes
from bekend_policy.wording import asker, party

LETTERS: dict[Mode, str] = {
    Mode.AUTOMATIC: "A",
    Mode.STANDING: "S",
    Mode.MANUAL: "H",
    Mode.CONSENT: "T",
    Mode.NEVER: "×",
}
REFUSED, SELF = "-", "·"
BY_NAME = "n"
LEGEND = (
    "A automatisch   S standaardbesluit   H handmatig   T toestemming   × nooit   - niet toegestaan   · zichzelf   "
    "n ook met naam en datum, dan beslist een collega"
)


@dataclass(frozen=True)
class Grid:
    """The matrix of one purpose. Columns are (requester, in whose name); only who may ask anybody has one."""

    purpose: Purpose
    columns: tuple[tuple[str, str], ...]
    rows: tuple[str, ...]
    cells: dict[tuple[str, str, str], Decision]
    """(source, requester, in whose name) -> decision; a pair of one and the same is absent."""
    by_name: frozenset[str]
    """The sources that may be asked by a combination of name and date."""

    def letter(self, source: str, column: tuple[str, str]) -> str:
        """What stands in a cell."""
        decision = self.cells.get((source, *column))
        if decision is None:
            return SELF
        mark = BY_NAME if decision.allowed and source in self.by_name else ""
        return LETTERS[decision.mode] + mark if decision.mode is not None else REFUSED


def grids(covenant: Covenant, day: date) -> list[Grid]:
    """One matrix per purpose, as if everybody had signed. Sources that the purpose does not name are left out."""
    decided = outcomes(covenant, day)
    return [_grid(covenant, purpose, decided) for purpose in covenant.purposes.values()]


def _grid(covenant: Covenant, purpose: Purpose, decided: dict[Route, Decision]) -> Grid:
    own = {route: decision for route, decision in decided.items() if route.purpose == purpose.id}
    asking = {(route.requester, route.on_behalf_of) for route, decision in own.items() if decision.allowed}
    names = list(covenant.participants)
    named = set(covenant.sources(purpose.id))
    return Grid(
        purpose=purpose,
        columns=tuple(sorted(asking, key=lambda it: (names.index(it[0]), it[1]))),
        rows=tuple(oin for oin in names if oin in named),
        cells={(it.source, it.requester, it.on_behalf_of): decision for it, decision in own.items()},
        by_name=frozenset(it.oin for it in covenant.sources(purpose.id).values() if it.possible),
    )


def matrix_facts(covenant: Covenant, day: date) -> list[dict[str, Any]]:
    """Every route with its outcome, for machines."""
    return [_fact(covenant, route, decision) for route, decision in sorted(outcomes(covenant, day).items())]


def _fact(covenant: Covenant, route: Route, decision: Decision) -> dict[str, Any]:
    return {
        "purpose": route.purpose,
        "requester": route.requester,
        "requester_name": party(covenant, route.requester),
        "on_behalf_of": route.on_behalf_of or None,
        "source": route.source,
        "source_name": party(covenant, route.source),
        "allowed": decision.allowed,
        "mode": decision.mode,
        "rule": decision.rule,
        "reason": decision.reason,
        "kinds": sorted(covenant.sources(route.purpose)[route.source].kinds) if decision.allowed else [],
    }


_COLUMNS = (
    "doel",
    "vrager_oin",
    "vrager",
    "namens_oin",
    "bron_oin",
    "bron",
    "mag",
    "modus",
    "kenmerken",
    "regel",
    "reden",
)


def matrix_csv(covenant: Covenant, day: date) -> str:
    """The same as a table with one row per route, for a spreadsheet (UTF-8 with BOM, semicolons, as Dutch ones ask)."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(_COLUMNS)
    for fact in matrix_facts(covenant, day):
        row = (
            fact["purpose"],
            fact["requester"],
            fact["requester_name"],
            fact["on_behalf_of"] or "",
            fact["source"],
            fact["source_name"],
            "ja" if fact["allowed"] else "nee",
            fact["mode"] or "",
            " ".join(fact["kinds"]),
            fact["rule"],
            fact["reason"],
        )
        writer.writerow(_not_a_formula(str(value)) for value in row)
    return "\ufeff" + text.getvalue()


def _not_a_formula(value: str) -> str:
    """A spreadsheet calculates what starts like this; a name in a covenant must stay a name."""
    return f"'{value}" if value.startswith(("=", "+", "-", "@", "\t", "\r")) else value


def matrix_lines(covenant: Covenant, day: date) -> Iterator[str]:
    """For a terminal: numbered columns, the numbers explained below the purpose."""
    yield LEGEND
    for grid in grids(covenant, day):
        yield ""
        untested = "  [grondslag te toetsen]" if grid.purpose.untested else ""
        yield f"{grid.purpose.title} ({grid.purpose.id}){untested}"
        if not grid.columns:
            yield "  Niemand mag hier iets vragen."
            continue
        width = min(48, max(len(party(covenant, oin)) for oin in grid.rows))
        yield " " * (width + 2) + "".join(f"{number:>4}" for number in range(1, len(grid.columns) + 1))
        for source in grid.rows:
            letters = "".join(f"{grid.letter(source, column):>4}" for column in grid.columns)
            yield f"  {party(covenant, source)[:width]:<{width}}{letters}"
        yield "  Vragers: " + "; ".join(
            f"{number} {asker(covenant, *column)}" for number, column in enumerate(grid.columns, 1)
        )
