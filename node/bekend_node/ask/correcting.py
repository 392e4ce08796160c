"""A partner that was wrongly `bekend` (FG-26): what came is taken back here, and a letter says so to its desk.

    officer          this node                                         the partner's desk
      | case, partner, |                                                  |
      | why ---------->| on the record; every `bekend` of that partner    |
      |                | under that case is destroyed here                |
      |<-- letter -----|                                                  |
      | fills in who --------------------- by a way of its own ---------->| looks, corrects its list

Nothing of it travels through the service: a report about a person would be a message about a person, and the broker
would see that one came. The letter names the questions, which the partner finds in its own log, and not the person.
What had come stays sealed to the own privacy officer, and receipts that were given out stay what they are.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from bekend_policy.decided import Decided
from bekend_policy.justification import check_reason
from bekend_proto import logs
from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.errors import BekendError, RefusedError

from bekend_node.ask.asking import Asking
from bekend_node.ask.case_reference import case_tag
from bekend_node.ask.lapsing import LOOKS_BACK
from bekend_node.ask.pending import open_sealed, seal_pending
from bekend_node.records.correction_letter import AskedThen, LetterFacts, correction_letter
from bekend_node.store_corrections import Correction, Corrections
from bekend_node.store_decisions import Decisions
from bekend_node.store_pending import Change

_RULE = "onterecht"


@dataclass(frozen=True, slots=True)
class Reported:
    """What was recorded, the questions of which something was held here, and the letter (HTML)."""

    number: int
    questions: int
    letter: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """What somebody reports. `person` counts from 1 as pages do; None: all persons of that case."""

    case: str
    source: str
    reason: str
    by: str
    person: int | None = None


async def correct(asking: Asking, report: Report, purposes: Collection[str] | None) -> Reported:
    """Take back what a partner answered in a case, put that on the record, and write the letter.

    `purposes`: those that the reporter may use, None for the privacy officer. Raises RefusedError (rule, Dutch reason)
    when this partner was not asked in this case, StorageError.
    """
    reason = check_reason(report.reason, _RULE)
    now = asking.clock.now()
    tag = case_tag(asking.case_key, report.case)
    lookups = _lookups(asking, tag, report, purposes, now)
    if not lookups:
        raise RefusedError(
            _RULE, "In deze zaak is deze partner hier niet gevraagd. Kijk het zaaknummer en de partner na."
        )
    if report.person is not None and not 1 <= report.person <= max(one.persons for one in lookups):
        raise RefusedError(_RULE, "Zoveel personen had deze vraag niet. Kijk het nummer van de persoon na.")
    questions = await _take_back(asking, report)
    made = Correction(0, now, tag, report.source, report.person, report.by, reason)
    number = await Corrections(asking.store.database).record(made)
    logs.log(logs.CASE_CORRECTED, by=report.by, source=report.source, number=number, questions=questions)
    return Reported(number, questions, await _letter(asking, report, lookups, number, reason))


def corrections_of(asking: Asking, case: str, since: datetime) -> list[Correction]:
    """What was reported about a case since a moment."""
    tag = case_tag(asking.case_key, case)
    return Corrections(asking.store.database).of_case(tag, since) if tag else []


def _lookups(
    asking: Asking, tag: str, report: Report, purposes: Collection[str] | None, now: datetime
) -> list[Decided]:
    """The lookups of the case in which a Question went out to the partner."""
    found = Decisions(asking.store.database).of_case(tag, milliseconds(now - LOOKS_BACK)) if tag else []
    return [
        one
        for one in found
        if (purposes is None or one.purpose in purposes) and _question_of(one, report.source) is not None
    ]


def _question_of(one: Decided, source: str) -> bytes | None:
    return next((it.question_id for it in one.judged if it.source == source and it.question_id), None)


async def _take_back(asking: Asking, report: Report) -> int:
    """Destroy what is held of that partner's `bekend`; of how many questions that was. Collecting goes on alike."""
    case = report.case.strip()
    waiting = [
        row.question_id
        for row in asking.store.pending.all()
        if (one := open_sealed(asking.state, row.question_id, row.sealed)).case.strip() == case
        and one.source == report.source
    ]
    for question_id in waiting:
        await asking.store.pending.change(question_id, _correcting(asking, question_id, report), asking.clock.now())
    if waiting:
        await asking.store.pending.empty_wal()
    return len(waiting)


def _correcting(asking: Asking, question_id: bytes, report: Report) -> Callable[[bytes], Change]:
    place = None if report.person is None else report.person - 1

    def work(sealed: bytes) -> Change:
        return Change(seal_pending(asking.state, open_sealed(asking.state, question_id, sealed).corrected(place)))

    return work


async def _letter(asking: Asking, report: Report, lookups: Sequence[Decided], number: int, reason: str) -> bytes:
    covenant = asking.covenant
    partner = covenant.participants.get(report.source)
    try:
        desk = (await asking.manifest_of(report.source)).contact
    except BekendError:
        desk = None
    asked = [
        AskedThen(
            from_milliseconds(one.at),
            covenant.purposes[one.purpose].title if one.purpose in covenant.purposes else one.purpose,
            (_question_of(one, report.source) or b"").hex(),
        )
        for one in lookups
    ]
    return correction_letter(
        LetterFacts(
            organisation=covenant.participants[asking.oin].name,
            own_desk=asking.manifest.contact,
            partner=partner.name if partner is not None else report.source,
            partner_desk=desk,
            number=number,
            written=asking.clock.now(),
            reason=reason,
            person=report.person,
            asked=tuple(asked),
        )
    )
