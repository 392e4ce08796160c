"""The questions of the demo, the people they are about, and what every outcome has to be.

The expected outcome comes from the table of agreements and the rows of the registers alone (partners.py,
population.py), so that a mistake in the federation cannot hide in it.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field

from bekend_deploy.partners import (
    CONFUSED,
    HAARLEM,
    OM,
    POLITIE,
    RADICAL,
    RECLASSERING,
    SOCIAL,
    VELSEN,
    VT_TRIAGE,
    ZSM_CONSENT,
    ZSM_CONTEXT,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
    Pair,
    Partner,
)
from bekend_deploy.population import Population

KNOWN, INCONCLUSIVE, NO_ANSWER, NOT_ASKED = "bekend", "geen_uitsluitsel", "geen_antwoord", "niet_bevraagd"
PENDING = "in_behandeling"
OUTCOMES = (KNOWN, INCONCLUSIVE, NO_ANSWER, NOT_ASKED)

CASES = {
    ZSM_CONTEXT: "01/234567-26",
    ZSM_LOCAL: "01/234567-26",
    ZVH_WEIGHING: "ZVH-2026-0042",
    SOCIAL: "SD-2026-00123",
    VT_TRIAGE: "VT-2026-001234",
    CONFUSED: "MVG-2026-00042",
    RADICAL: "PGA-2026-007",
    ZSM_CONSENT: "15/234567-26",
}
"""A case reference that fits each purpose."""

CONDITIONS = {
    ZSM_CONTEXT: ("verdachte", "motivering"),
    ZSM_LOCAL: ("verdachte", "motivering"),
    ZVH_WEIGHING: ("positieve-toets", "bgs-2-20", "motivering"),
    SOCIAL: ("motivering",),
    VT_TRIAGE: ("vermoeden-uit-melding", "alleen-betrokkenen", "motivering"),
    CONFUSED: ("melding", "motivering"),
    RADICAL: ("aanmelding", "gezamenlijke-weging", "motivering"),
    ZSM_CONSENT: ("verdachte", "motivering"),
}
"""What the officer confirms under each purpose."""

ROLES = {"om": "zsm-medewerker", "zvh": "procesregisseur", "college_bw": "procesregisseur"}
"""The role of the officer at each kind of partner; elsewhere nobody may ask."""

RELEASE_ROLES = {
    "om": ("lid-weegteam",),
    "veilig_thuis": ("triagist",),
    "college_bw": ("sociaal-werker", "meldpunt-medewerker"),
}
"""The further roles of that officer, under the purposes where colleagues decide."""


@dataclass(frozen=True)
class Question:
    """One lookup: who asks whom about which people. `down` are partners that are away while it runs."""

    title: str
    purpose: str
    requester: Partner
    persons: tuple[str, ...] = field(repr=False)
    on_behalf_of: Partner | None = None
    down: frozenset[str] = frozenset()
    refused: bool = False


@dataclass(frozen=True)
class Truth:
    """What is so: agreements and registers."""

    members: Sequence[Partner]
    pairs: Sequence[Pair]
    population: Population

    def sources(self, requester: Partner) -> tuple[str, ...]:
        """Everybody but the requester: the demo shows what the covenant makes of each."""
        return tuple(member.oin for member in self.members if member.oin != requester.oin)

    def chosen(self, requester: Partner, purpose: str) -> tuple[str, ...]:
        """Those whom the demo asks: not where a colleague would have to decide."""
        by_hand = {pair.oin for pair in self.pairs if pair.purpose == purpose and pair.by_hand}
        return tuple(oin for oin in self.sources(requester) if oin not in by_hand)

    def knows(self, purpose: str, oin: str) -> set[str]:
        """Whom a source knows through the registers that count for this purpose."""
        pair = self.pair(purpose, oin)
        return self.population.known(oin, pair.registers) if pair and pair.answers else set()

    def expected(self, question: Question) -> dict[tuple[int, str], str]:
        """The outcome for each person (counted from 0) and source."""
        return {
            (index, oin): self._outcome(question.purpose, oin, person, question.down, refused=question.refused)
            for oin in self.sources(question.requester)
            for index, person in enumerate(question.persons)
        }

    def _outcome(self, purpose: str, oin: str, person: str, down: Collection[str], *, refused: bool) -> str:
        pair = self.pair(purpose, oin)
        if refused or pair is None or not pair.answers:
            return NOT_ASKED
        if oin in down:
            return NO_ANSWER
        return KNOWN if person in self.knows(purpose, oin) else INCONCLUSIVE

    def pair(self, purpose: str, oin: str) -> Pair | None:
        """What was agreed of this source under this purpose."""
        return next((pair for pair in self.pairs if (pair.purpose, pair.oin) == (purpose, oin)), None)


def questions(truth: Truth) -> list[Question]:
    """What the demo asks while everybody is there."""
    fixed = truth.population.fixed
    only_one = _known_to_one(truth, ZSM_CONTEXT, (POLITIE.oin, RECLASSERING.oin))
    local = _known_to_one(truth, ZSM_LOCAL, (HAARLEM.oin, VELSEN.oin))
    return [
        Question("Somebody whom every partner knows", ZSM_CONTEXT, OM, (fixed.everywhere,)),
        Question("Somebody whom nobody knows", ZSM_CONTEXT, OM, (fixed.nowhere,)),
        *(Question("Known to one of two", ZSM_CONTEXT, OM, (person,)) for person in only_one),
        Question("A registration that ended: no longer known", ZSM_CONTEXT, OM, (fixed.expired,)),
        *(Question("Another purpose, other registers", ZSM_LOCAL, OM, (person,)) for person in local),
        Question("A family at once, in the name of Haarlem", ZVH_WEIGHING, ZVH, _family(truth), on_behalf_of=HAARLEM),
        Question("Haarlem asks for itself", ZVH_WEIGHING, HAARLEM, (fixed.everywhere, fixed.nowhere)),
    ]


def broken_question(truth: Truth) -> Question:
    """Asked while one partner is stopped: a fault is `geen antwoord`, never a silent miss."""
    person = truth.population.fixed.everywhere
    return Question("A partner stops in mid-flight", ZSM_LOCAL, OM, (person,), down=frozenset({VELSEN.oin}))


def refused_question(truth: Truth) -> Question:
    """The probation service has no place among the requesters of this purpose."""
    person = truth.population.fixed.everywhere
    return Question("The covenant refuses", ZSM_CONTEXT, RECLASSERING, (person,), refused=True)


def _known_to_one(truth: Truth, purpose: str, oins: tuple[str, str]) -> Iterator[str]:
    """A person known to the first and not to the second, and the other way round, where there are such people."""
    first, second = (truth.knows(purpose, oin) for oin in oins)
    for people in (first - second, second - first):
        yield from sorted(people)[:1]


def _family(truth: Truth) -> tuple[str, ...]:
    """A household of several members of whom somebody is known somewhere and somebody is not."""
    known = set().union(*(truth.knows(ZVH_WEIGHING, member.oin) for member in truth.members))
    families = [family for family in truth.population.households if 3 <= len(family) <= 4]
    mixed = [family for family in families if 0 < len(known & set(family)) < len(family)]
    return (mixed or families or [truth.population.households[-1]])[0]
