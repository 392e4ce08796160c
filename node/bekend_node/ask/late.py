"""Answers that came, or are to come, after their lookup had ended: by case reference, never by person.

Told from the pending questions alone, so a result that has had its lifetime is not told any more.
"""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from bekend_proto.clock import from_milliseconds, milliseconds
from bekend_proto.errors import BekendError

from bekend_node import receipt
from bekend_node.ask.asking import Asking
from bekend_node.ask.outcomes import (
    Outcome,
    corrected,
    inconclusive,
    known,
    pending_until,
    possibly_known,
    unanswered,
    withdrawn,
)
from bekend_node.ask.pending import PendingQuestion, Told, open_pending

_NOT_SIGNED = frozenset({Told.DESTROYED, Told.CORRECTED})
"""What a receipt says nothing of any more; one that was given out says what came then."""


@dataclass(frozen=True, slots=True)
class LateAnswers:
    """What came of the questions of one lookup where colleagues decide."""

    questions: tuple[PendingQuestion, ...] = field(repr=False)
    outcomes: tuple[Outcome, ...]

    @property
    def first(self) -> PendingQuestion:
        """Case, purpose and moment are the same for all questions of a lookup."""
        return self.questions[0]

    def to_json(self) -> dict[str, Any]:
        """The fields as JSON values."""
        return {
            "case": self.first.case,
            "purpose": self.first.purpose,
            "on_behalf_of": self.first.on_behalf_of,
            "officer": self.first.officer,
            "asked": _iso(self.first.asked),
            "persons": len(self.first.told),
            "outcomes": [
                {**outcome.to_json(), "expires": _iso(_expires(question, outcome.person))}
                for question in self.questions
                for outcome in self.outcomes
                if outcome.oin == question.source
            ],
        }


async def late_answers(asking: Asking, wanted: Callable[[PendingQuestion], bool]) -> list[LateAnswers]:
    """What there is of the wanted questions, oldest lookup first. Raises StorageError."""
    found = await asyncio.to_thread(_read, asking, wanted)
    contacts = {oin: await _contact(asking, oin) for oin in {one.source for one in found}}
    answers = []
    for _, group in groupby(sorted(found, key=lambda one: (one.asked, one.begin_id, one.source)), _lookup_of):
        questions = tuple(group)
        outcomes = tuple(outcome for one in questions for outcome in _outcomes(asking, one, contacts[one.source]))
        if outcomes:
            answers.append(LateAnswers(questions, outcomes))
    return answers


def late_receipt(asking: Asking, one: LateAnswers) -> receipt.ReceiptFile:
    """A receipt of what is known now; who is still to answer stands in it as `in_behandeling`.

    It is dated on the question, or on the present manifest where that is newer: no manifest signs for a moment before
    it was issued.
    """
    first = one.first
    whole = [it for it in one.questions if all(told not in _NOT_SIGNED for told, _ in it.told)]
    sources = {it.source for it in whole}
    facts = receipt.Facts(
        requester=asking.oin,
        on_behalf_of=first.on_behalf_of,
        purpose=first.purpose,
        covenant_hash=first.covenant_hash,
        manifest_number=asking.manifest.number,
        time=max(first.asked, milliseconds(asking.manifest.issued)),
        expires=max(_expires(it, person) for it in one.questions for person in range(len(it.told))),
        persons=len(first.told),
    )
    hashes = {it.source: it.question_hash for it in whole}
    outcomes = [outcome for outcome in one.outcomes if outcome.oin in sources]
    return receipt.issue(asking.key, asking.manifest_note, facts, hashes, outcomes)


def _read(asking: Asking, wanted: Callable[[PendingQuestion], bool]) -> list[PendingQuestion]:
    now = milliseconds(asking.clock.now())
    opened = (open_pending(asking.state, row).without_expired(now) for row in asking.store.pending.all())
    return [one for one in opened if wanted(one)]


def _outcomes(asking: Asking, one: PendingQuestion, contact: str | None) -> Iterator[Outcome]:
    oin = one.source
    partner = asking.covenant.participants.get(oin)
    name = partner.name if partner is not None else oin
    until = from_milliseconds(one.until)
    for person, (told, _) in enumerate(one.told):
        if told is Told.NOTHING_YET:
            yield pending_until(person, oin, name, until)
        elif told is Told.KNOWN:
            yield known(person, oin, name, None, contact)
        elif told is Told.POSSIBLE:
            yield possibly_known(person, oin, name, contact)
        elif told is Told.CLOSED:
            yield inconclusive(person, oin, name, None)
        elif told is Told.UNANSWERED:
            yield unanswered(person, oin, name)
        elif told is Told.WITHDRAWN:
            yield withdrawn(person, oin, name)
        elif told is Told.CORRECTED:
            yield corrected(person, oin, name)


async def _contact(asking: Asking, oin: str) -> str | None:
    try:
        return (await asking.manifest_of(oin)).contact
    except BekendError:
        return None


def _expires(one: PendingQuestion, person: int) -> int:
    told, moment = one.told[person]
    return one.expires(one.until if told is Told.NOTHING_YET else moment)


def _lookup_of(one: PendingQuestion) -> tuple[int, bytes]:
    return one.asked, one.begin_id


def _iso(moment: int) -> str:
    return from_milliseconds(moment).isoformat(timespec="seconds")
