"""A case that is not taken in: what came of its questions is destroyed at once (Bgs 1.16(1)(b), FG-32).

What a lookup showed is held nowhere by then. What waits for answers of colleagues is: what came is destroyed, what
still comes is dropped unseen, and collecting goes on to its end, so that nobody sees from the traffic that the case
lapsed. What had come stays sealed to the own privacy officer, for the audit and the person's right of access.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import timedelta

from bekend_proto import logs
from bekend_proto.clock import milliseconds
from bekend_proto.errors import RefusedError

from bekend_node.ask.asking import Asking
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.own_record import KIND_LAPSED, late_record, officer_box
from bekend_node.ask.pending import Told, open_sealed, seal_pending
from bekend_node.store_decisions import Decisions
from bekend_node.store_pending import Change

LOOKS_BACK = timedelta(days=366)
"""How far back lookups of a case are looked for: longer than any result lives."""


@dataclass(frozen=True, slots=True)
class Lapsed:
    """How many lookups the case had, and of how many questions something was held or still to come."""

    lookups: int
    questions: int


async def lapse(asking: Asking, decisions: Decisions, case: str, by: str, purposes: Collection[str]) -> Lapsed:
    """Destroy what came of the questions of a case, and put that on the record.

    `purposes`: those that this officer may use. Raises RefusedError when no lookup of this case under one of them is
    known, StorageError; then nothing was changed.
    """
    now = asking.clock.now()
    reference = case.strip()
    tag = case_tag(asking.case_key, reference)
    lookups = decisions.of_case(tag, milliseconds(now - LOOKS_BACK)) if tag else []
    opened = [open_sealed(asking.state, row.question_id, row.sealed) for row in asking.store.pending.all()]
    waiting = [one for one in opened if one.case.strip() == reference]
    if {*(one.purpose for one in lookups), *(one.purpose for one in waiting)}.isdisjoint(purposes):
        raise RefusedError("zaak-onbekend", "Onder dit zaaknummer is hier geen vraag gesteld. Controleer het nummer.")
    for one in waiting:
        await asking.store.pending.change(one.question_id, _destroying(asking, one.question_id), now)
    await asking.store.pending.empty_wal()
    await asking.store.team.forget_case(tag)
    await decisions.keep_lapse(tag, by, len(lookups), milliseconds(now))
    logs.log(logs.CASE_LAPSED, by=by, lookups=len(lookups), questions=len(waiting))
    return Lapsed(len(lookups), len(waiting))


def _destroying(asking: Asking, question_id: bytes) -> Callable[[bytes], Change]:
    at = milliseconds(asking.clock.now())

    def work(sealed: bytes) -> Change:
        one = open_sealed(asking.state, question_id, sealed)
        gone = replace(one, told=((Told.DESTROYED, at),) * len(one.told))
        if all(told is Told.DESTROYED for told, _ in one.told):
            return Change(sealed)  # lapsed before
        record = late_record(officer_box(asking.manifest), one, KIND_LAPSED)
        return Change(seal_pending(asking.state, gone) if one.open else None, records=(record,))

    return work
