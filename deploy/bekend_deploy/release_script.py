"""What the colleagues of the demo decide, and what the officers are told first and later.

As for the questions by machine, the expected outcomes come from the table of agreements, the rows of the registers and
this script alone.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum

from bekend_deploy.partners import (
    CONFUSED,
    HAARLEM,
    OM,
    POLITIE,
    RADICAL,
    RECLASSERING,
    SOCIAL,
    VEILIG_THUIS,
    VELSEN,
    VT_TRIAGE,
    ZSM_CONSENT,
    ZSM_CONTEXT,
    ZVH,
    Pair,
)
from bekend_deploy.questions import INCONCLUSIVE, KNOWN, NO_ANSWER, NOT_ASKED, PENDING, Question, Truth

BY_CONSENT = frozenset({SOCIAL, ZSM_CONSENT})
"""Purposes under which a partner is asked with a consent on record only."""


class Act(StrEnum):
    """What the colleague at a source does about everybody in a question whom it knows."""

    RELEASE = "releases"
    REFUSE = "refuses"
    RECONSIDER = "reconsiders"
    """Refuses, undoes that, releases."""
    HAND_OVER = "hands over"
    """To a colleague; then it is released."""
    LEAVE = "does nothing"

    @property
    def releases(self) -> bool:
        """Whether the requester is told in the end."""
        return self in {Act.RELEASE, Act.RECONSIDER, Act.HAND_OVER}


@dataclass(frozen=True)
class ByHand:
    """One lookup, and what comes of it where colleagues decide.

    `acts` per source; a source that is not in it and answers by hand is not asked. `consents` are the partners for
    whom there is one on record. `withdrawn`: the consent, after `bekend`. `stops`: a source that is gone before the end
    of its term.
    """

    question: Question
    case: str
    acts: Mapping[str, Act]
    consents: frozenset[str] = frozenset()
    withdrawn: bool = False
    stops: str | None = None

    def sources(self, truth: Truth) -> list[str]:
        """Whom the officer chooses: those of `acts`, and everybody where no colleague would have to decide."""
        return [*truth.chosen(self.question.requester, self.question.purpose), *self.acts]

    def first(self, truth: Truth) -> dict[tuple[int, str], str]:
        """What the officer is told at the end of the lookup, per person (from 0) and source."""
        return {
            (person, oin): self._first(truth, oin, number)
            for oin in truth.sources(self.question.requester)
            for person, number in enumerate(self.question.persons)
        }

    def later(self, truth: Truth) -> dict[tuple[int, str], str]:
        """What it is told in the end, where a colleague decided."""
        return {
            (person, oin): self._later(truth, oin, self.question.persons[person])
            for (person, oin), told in self.first(truth).items()
            if told == PENDING
        }

    def items(self, truth: Truth) -> int:
        """How many persons reach a desk where something is done about them."""
        return sum(
            number in _clients(truth, truth.pair(self.question.purpose, oin))
            for oin, act in self.acts.items()
            for number in self.question.persons
            if act is not Act.LEAVE
        )

    def _first(self, truth: Truth, oin: str, number: str) -> str:
        pair = truth.pair(self.question.purpose, oin)
        has_consent = self.question.purpose not in BY_CONSENT or oin in self.consents
        if pair is None or not has_consent or (pair.by_hand and oin not in self.acts):
            return NOT_ASKED
        if pair.by_hand:
            return PENDING
        return KNOWN if number in _clients(truth, pair) else INCONCLUSIVE

    def _later(self, truth: Truth, oin: str, number: str) -> str:
        if oin == self.stops:
            return NO_ANSWER
        is_known = number in _clients(truth, truth.pair(self.question.purpose, oin))
        return KNOWN if is_known and self.acts[oin].releases and not self.withdrawn else INCONCLUSIVE


def script(truth: Truth) -> list[ByHand]:
    """Every outcome: released, refused, reconsidered, handed over, left, unknown, withdrawn, a source that is gone."""
    fixed = truth.population.fixed
    family = (fixed.everywhere, fixed.nowhere, fixed.expired)
    return [
        ByHand(
            Question("By machine and by hand in one lookup", ZSM_CONTEXT, OM, (fixed.everywhere,)),
            "01/100001-26",
            {VEILIG_THUIS.oin: Act.RELEASE, ZVH.oin: Act.REFUSE},
        ),
        ByHand(
            Question("A family, after a report to Veilig Thuis", VT_TRIAGE, VEILIG_THUIS, family),
            "VT-2026-001234",
            {POLITIE.oin: Act.RELEASE, RECLASSERING.oin: Act.RECONSIDER, ZVH.oin: Act.LEAVE},
        ),
        ByHand(
            Question("A neighbourhood team, with consent; one partner is gone", SOCIAL, HAARLEM, (fixed.everywhere,)),
            "SD-2026-00123",
            {VEILIG_THUIS.oin: Act.HAND_OVER, VELSEN.oin: Act.LEAVE},
            consents=frozenset({VEILIG_THUIS.oin, VELSEN.oin}),
            stops=VELSEN.oin,
        ),
        ByHand(
            Question("Somebody whom the source does not know", CONFUSED, HAARLEM, (fixed.nowhere,)),
            "MVG-2026-00042",
            {POLITIE.oin: Act.RELEASE},
        ),
        ByHand(
            Question("Radicalisation: one tells, one does not", RADICAL, OM, (fixed.everywhere,)),
            "PGA-2026-007",
            {POLITIE.oin: Act.RELEASE, HAARLEM.oin: Act.REFUSE},
        ),
        ByHand(
            Question("Consent for one municipality, withdrawn later", ZSM_CONSENT, OM, (fixed.everywhere,)),
            "15/234567-26",
            {HAARLEM.oin: Act.RELEASE, VELSEN.oin: Act.LEAVE},
            consents=frozenset({HAARLEM.oin}),
            withdrawn=True,
        ),
    ]


def _clients(truth: Truth, pair: Pair | None) -> set[str]:
    registers: Iterable[str] = pair.registers if pair else ()
    return truth.population.known(pair.oin, registers) if pair else set()
