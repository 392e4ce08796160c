"""`bekend policy report` and `matrix --html`: one page that needs nothing else, to read, to print and to sign."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

from bekend_policy import report_annexes as annexes
from bekend_policy.matrix import Grid, grids
from bekend_policy.model import Covenant, Mode, Purpose, Source, source_of
from bekend_policy.pages import environment
from bekend_policy.show import condition_text, limits_text
from bekend_policy.signatures import operator_signed, signatures
from bekend_policy.terms import CheckedBy
from bekend_policy.wording import KINDS, STATUSES, asker, count, limits, party
from bekend_policy.words import GroundStatus

_CLASSES = {
    Mode.AUTOMATIC: "a",
    Mode.STANDING: "s",
    Mode.MANUAL: "h",
    Mode.CONSENT: "t",
    Mode.NEVER: "n",
}


@dataclass(frozen=True)
class SourceRow:
    """One line of `bronnen`, and who that is in this covenant."""

    party: str
    members: tuple[str, ...]
    source: Source


def report_page(covenant: Covenant, day: date) -> str:
    """The whole covenant as one page. `day`: the day on which the matrix decides."""
    own_grids = {grid.purpose.id: grid for grid in grids(covenant, day)}
    return _page(
        "report.html.j2",
        covenant,
        day=day,
        grids=own_grids,
        purposes=list(covenant.purposes.values()),
        sources={purpose.id: list(_sources(covenant, purpose)) for purpose in covenant.purposes.values()},
        signatures=list(signatures(covenant)),
        operator_signed=operator_signed(covenant),
        register=[annexes.processing(covenant, purpose) for purpose in covenant.purposes.values()],
        untested=sum(len(purpose.untested) for purpose in covenant.purposes.values()),
    )


def matrix_page(covenant: Covenant, day: date) -> str:
    """The matrix alone, as one page."""
    return _page("matrix.html.j2", covenant, day=day, grids={grid.purpose.id: grid for grid in grids(covenant, day)})


def _sources(covenant: Covenant, purpose: Purpose) -> Iterator[SourceRow]:
    for name, terms in purpose.source_terms.items():
        members = (
            it for it in covenant.participants.values() if it.kind == name and it.oin not in purpose.source_terms
        )
        yield SourceRow(party(covenant, name), tuple(it.name for it in members), source_of(name, purpose, terms))


def _page(template: str, covenant: Covenant, **values: object) -> str:
    made = environment(covenant)
    made.globals.update(
        annexes=annexes,
        asker=lambda column: asker(covenant, *column),
        by_question=CheckedBy.QUESTION,
        classes=_CLASSES,
        condition_text=condition_text,
        count=count,
        disputed=GroundStatus.DISPUTED,
        kinds=KINDS,
        limits=limits,
        limits_text=lambda purpose: limits_text(covenant, purpose),
        never=Mode.NEVER,
        standing=Mode.STANDING,
        statuses=STATUSES,
        tick=_tick,
    )
    return made.get_template(template).render(covenant=covenant, **values)


def _tick(grid: Grid, source: str, column: tuple[str, str]) -> dict[str, str]:
    """What a cell shows: a letter, a class for its look, and the whole word for who listens or points at it."""
    decision = grid.cells.get((source, *column))
    if decision is None:
        return {"letter": grid.letter(source, column), "class": "self", "word": "zichzelf"}
    if decision.mode is None:
        return {"letter": grid.letter(source, column), "class": "no", "word": f"niet toegestaan: {decision.reason}"}
    return {"letter": grid.letter(source, column), "class": _CLASSES[decision.mode], "word": str(decision.mode)}
