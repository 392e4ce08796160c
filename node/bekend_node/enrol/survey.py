"""What an import would do: which purposes take what of a list, what the list holds, and what a guard would stop.

Nothing is sent or written here: `run.py` goes on from it, and a dry run ends with it.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from bekend_policy.model import Source as Terms
from bekend_proto.errors import RefusedError

from bekend_node.config import SHIELDED
from bekend_node.enrol import plan
from bekend_node.store_registers import Generation

SHRINK_PERCENT = 20
SHRINK_PERSONS = 10
KEPT_WINDOWS = 4
"""So many windows of persons stay in memory until they are sent, 10 MB each; a list that has more is read again."""
REFUSED_PERSONS = 10
"""So many refused rows never stop an import by themselves, however small the register."""

Answered = Mapping[str, Terms]
"""What the covenant says of this node as a source, per purpose that it answers."""


class GuardError(RefusedError):
    """A guard stopped the import: nothing was changed. The reason says how to go on."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule, reason)


@dataclass(frozen=True)
class Source:
    """Where the persons come from: windows that can be read twice, the same both times.

    `kinds`: those by which it names persons.
    """

    read: Callable[[plan.Report, plan.Selection], Iterator[plan.Window]]
    fingerprint: bytes
    changes: bool
    kinds: frozenset[str]
    labelled: bool = False
    """Whether it says on what ground each person is registered."""
    fingerprint_now: Callable[[], bytes] | None = None
    """Of what would be read now; None where nothing can change meanwhile."""


@dataclass(frozen=True)
class Read:
    """What was read of a list that counts, and its windows, to send."""

    selection: plan.Selection
    report: plan.Report
    windows: plan.Windows


@dataclass(frozen=True)
class Survey:
    """What a list holds, read once for each selection: in all, and per purpose what counts there."""

    in_all: Read
    read: Mapping[str, Read]

    @property
    def whole(self) -> plan.Report:
        """What was read for whichever purpose."""
        return self.in_all.report

    @property
    def parts(self) -> list[tuple[str, str]]:
        """Purpose and kind of identifier of every generation that is made, in a fixed order."""
        return parts({purpose: read.selection for purpose, read in self.read.items()})

    @property
    def counts(self) -> dict[tuple[str, str], int]:
        """Numbers per purpose and kind of identifier."""
        return {(purpose, kind): self.read[purpose].report.numbers[kind] for purpose, kind in self.parts}

    def merged_at_last(self, fresh: Sequence[Generation]) -> None:
        """Take off what was merged over windows, which is known when the files are written."""
        for one in fresh:
            report = self.read[one.purpose].report
            more = report.numbers[one.kind] - one.persons
            report.numbers[one.kind] = one.persons
            if len(self.read[one.purpose].selection.kinds) == 1:
                report.persons -= more
                report.merged += more


def selections_of(register: str, source: Source, answered: Answered) -> dict[str, plan.Selection]:
    """What of the list counts for each purpose that the register is enrolled for; `afgeschermd` counts for all.

    Raises GuardError where a purpose could take nothing of it, or not without labels (FG-39).
    """
    purposes = {
        purpose: terms
        for purpose, terms in sorted(answered.items())
        if register == SHIELDED or register in terms.registers
    }
    if not purposes:
        raise GuardError("register", f"no purpose that this node answers names the register {register!r}")
    found = {purpose: _selection(register, source, purpose, terms) for purpose, terms in purposes.items()}
    fitting = {purpose: selection for purpose, selection in found.items() if selection.kinds}
    for purpose in purposes:
        if purpose not in fitting and (register != SHIELDED or not fitting):
            named = ", ".join(sorted(source.kinds))
            raise GuardError("kind", f"{purpose} does not admit identifiers of kind {named}: see its covenant")
    return fitting


def _selection(register: str, source: Source, purpose: str, terms: Terms) -> plan.Selection:
    # Whoever is shielded needs no ground for that.
    labels = None if register == SHIELDED else terms.labels
    if labels is not None and not source.labelled:
        raise GuardError(
            "label",
            f"for {purpose} only persons labelled {', '.join(sorted(labels))} may be loaded, and the mapping of "
            f"{register} names no `label` column: have one added, and signed",
        )
    return plan.Selection(source.kinds & frozenset(map(str, terms.kinds)), labels)


def survey(source: Source, selections: Mapping[str, plan.Selection], progress: Callable[[int], None]) -> Survey:
    """Read everything once for each selection. `progress` hears how many rows were read. Raises ImportFaultError."""
    every = _together(selections)
    read = {one: _read(source, one, progress) for one in {every, *selections.values()}}
    return Survey(read[every], {purpose: read[one] for purpose, one in selections.items()})


def _read(source: Source, selection: plan.Selection, progress: Callable[[int], None]) -> Read:
    """The windows to send come from memory when a few hold all of them."""
    report = plan.Report()
    kept: list[plan.Window] | None = []
    for window in source.read(report, selection):
        kept = [*kept, window] if kept is not None and len(kept) < KEPT_WINDOWS else None
        progress(report.rows)
    again = partial(source.read, plan.Report(), selection) if kept is None else partial(iter, kept)
    return Read(selection, report, again)


def guard_refused(report: plan.Report, max_refused_percent: float) -> None:
    """Raise GuardError when too many rows cannot be used: is this the right list?"""
    limit = max(REFUSED_PERSONS, report.rows * max_refused_percent / 100)
    if report.refused > limit:
        raise GuardError(
            "refused",
            f"{report.refused} of {report.rows} rows are refused, more than {limit:.0f}: "
            + "; ".join(f"line {one.line}: {one.reason}" for one in report.lines[:5]),
        )


def guard_shrinking(
    register: str, generations: Sequence[Generation], counts: Mapping[tuple[str, str], int], answered: Answered
) -> None:
    """Raise GuardError when a list would lose many persons: is the export complete?

    `counts`: persons per purpose and kind of identifier; of a kind that is not among them there are none.
    """
    for purpose in sorted({purpose for purpose, _ in counts}):
        for old in _newest([g for g in generations if (g.register, g.purpose) == (register, purpose)]):
            persons = counts.get((purpose, old.kind), 0)
            allowed = max(old.persons * SHRINK_PERCENT // 100, SHRINK_PERSONS)
            if old.persons - persons > allowed and old.kind in answered[purpose].kinds:
                raise GuardError(
                    "shrink",
                    f"the register {register} would shrink from {old.persons} to {persons} persons by {old.kind}: "
                    "is the export complete? If it is, run again with --confirm-shrink",
                )


def guard_empty(register: str, generations: Sequence[Generation], counts: Mapping[tuple[str, str], int]) -> None:
    """Raise GuardError when a full list holds nobody, for any purpose: an export that failed looks like that.

    `afgeschermd` may begin empty. A list that is empty already may stay so.
    """
    if any(counts.values()):
        return
    known = _newest([g for g in generations if g.register == register])
    if any(g.persons for g in known) or (not known and register != SHIELDED):
        raise GuardError(
            "empty",
            f"the list of {register} holds nobody for any purpose, and everybody on it would be missed: is the export "
            "complete? If nobody is on it, run again with --confirm-shrink",
        )


def parts(selections: Mapping[str, plan.Selection]) -> list[tuple[str, str]]:
    """Purpose and kind of identifier of every generation that an import makes, in a fixed order."""
    return [(purpose, kind) for purpose in sorted(selections) for kind in sorted(selections[purpose].kinds)]


def _together(selections: Mapping[str, plan.Selection]) -> plan.Selection:
    """What counts for whichever purpose."""
    labels = [one.labels for one in selections.values() if one.labels is not None]
    return plan.Selection(
        frozenset(kind for _, kind in parts(selections)),
        frozenset().union(*labels) if len(labels) == len(selections) else None,
    )


def _newest(generations: Sequence[Generation]) -> list[Generation]:
    """Those of the epoch that was imported last: one per kind of identifier."""
    epoch = max(generations, key=lambda g: g.imported_at).epoch if generations else ""
    return [g for g in generations if g.epoch == epoch]
