"""What an access request brings up: lines for the letter, what is postponed, what must be looked at first, breaches.

Deferrals are applied here. One that holds takes its line away, so that the letter is the very letter of somebody about
whom there is nothing more: every letter has the same sentence about what may be postponed. One that waits for a second
person, or whose review date has come, stops the letter: neither silence nor disclosure happens by forgetting.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Final, Literal

from bekend_policy.deferring import About, Deferral, State
from bekend_policy.model import Covenant
from bekend_policy.terms import Ground, Purpose
from bekend_proto.clock import AMSTERDAM, day_of, from_milliseconds
from bekend_proto.errors import RefusedError

from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.pending import Told
from bekend_node.classes import CERTAIN, KindClass
from bekend_node.records.opening import Asked, Fault
from bekend_node.records.own import OwnAnswers
from bekend_node.records.periods import Learned, Registration, learned

_UNKNOWN_PURPOSE: Final = "een doel uit een eerdere afspraak"

LAWS: Final = {
    "AVG": "Algemene verordening gegevensbescherming",
    "Bgs": "Besluit gegevensverwerking door samenwerkingsverbanden",
    "Bpg": "Besluit politiegegevens",
    "Pbw": "Penitentiaire beginselenwet",
    "RO": "Wet op de rechterlijke organisatie",
    "Sr": "Wetboek van Strafrecht",
    "Sv": "Wetboek van Strafvordering",
    "UAVG": "Uitvoeringswet AVG",
    "WG-PGA": "Wet gegevensverwerking persoonsgerichte aanpak radicalisering en terroristische activiteiten",
    "WGS": "Wet gegevensverwerking door samenwerkingsverbanden",
    "Wjsg": "Wet justitiële en strafvorderlijke gegevens",
    "Wmo 2015": "Wet maatschappelijke ondersteuning 2015",
    "Wpg": "Wet politiegegevens",
    "Wvggz": "Wet verplichte geestelijke gezondheidszorg",
}
"""Short form of a law in a covenant -> its name."""


@dataclass(frozen=True, slots=True)
class AskedOfUs:
    """Another organisation asked us about this person, and we answered."""

    moment: datetime
    requester: str
    on_behalf_of: str | None
    purpose: str
    grounds: tuple[str, ...]
    informing: str | None
    learned: Learned


@dataclass(frozen=True, slots=True)
class AskedByUs:
    """Our own officers asked about this person. `answers`: partner and outcome; the officer stands by role alone."""

    moment: datetime
    role: str
    on_behalf_of: str | None
    purpose: str
    grounds: tuple[str, ...]
    informing: str | None
    answers: tuple[tuple[str, OutcomeKind | Literal[Told.WITHDRAWN] | None], ...]


@dataclass(frozen=True)
class Findings:
    """Everything about one person. `postponed`: per deferral, what it took out; for the officer's own file alone."""

    asked_of_us: tuple[AskedOfUs, ...]
    asked_by_us: tuple[AskedByUs, ...]
    postponed: tuple[tuple[Deferral, str], ...] = ()
    faults: tuple[Fault, ...] = field(default=())


class Covenants:
    """The versions of the covenant that are at hand, by hash; the first is the one that serves now."""

    def __init__(self, versions: Sequence[Covenant]) -> None:
        self.now = versions[0]
        self._by_hash = {version.hash: version for version in versions}

    def of(self, covenant_hash: bytes, purpose: str) -> tuple[Covenant, Purpose | None]:
        """The version that a question names, else the present one; and the purpose in it."""
        version = self._by_hash.get(covenant_hash, self.now)
        return version, version.purposes.get(purpose)

    def name(self, oin: str) -> str:
        """What an organisation is called."""
        for version in self._by_hash.values():
            if oin in version.participants:
                return version.participants[oin].name
        return f"een organisatie die niet meer meedoet ({oin})"


def assemble(
    own_oin: str,
    covenants: Covenants,
    matches: Iterable[Asked],
    own: Iterable[OwnAnswers],
    *,
    registration: Registration | None,
    deferrals: Sequence[Deferral],
    faults: Iterable[Fault],
    today: date,
) -> Findings:
    """The findings about one person, in order of time.

    Raises RefusedError (rule `uitstel`) when a deferral that touches a line must be looked at first.
    """
    holding = _Deferrals(deferrals, today)
    of_us = [
        _asked_of_us(one, covenants, own_oin, registration)
        for one in sorted(matches, key=lambda one: (one.time, one.hash))
        if not holding.takes(About.QUESTION, [one.hash], one.purpose, f"vraag van {covenants.name(one.requester)}")
    ]
    by_us = [
        _asked_by_us(one, covenants)
        for one in own
        if not holding.takes(About.CASE, [one.case or ""], one.purpose, "eigen vraag")
        and not holding.takes(About.QUESTION, one.hashes, one.purpose, "eigen vraag")
    ]
    return Findings(tuple(of_us), tuple(by_us), tuple(holding.used), tuple(faults))


class _Deferrals:
    """Deferrals looked up by what they name."""

    def __init__(self, deferrals: Sequence[Deferral], today: date) -> None:
        self._today = today
        self.used: list[tuple[Deferral, str]] = []
        self._open: dict[tuple[About, str, str], list[Deferral]] = {}
        for one in deferrals:
            if one.state(today) is not State.ENDED:
                self._open.setdefault((one.about, one.reference, one.purpose), []).append(one)

    def takes(self, about: About, references: Iterable[str], purpose: str, what: str) -> bool:
        """Whether a deferral in force takes this line out. Raises RefusedError when one must be looked at first."""
        found = [one for reference in references for one in self._open.get((about, reference, purpose), ())]
        states = {one.state(self._today): one for one in found}
        if in_force := states.get(State.IN_FORCE):
            self.used.append((in_force, what))
            return True
        if waiting := states.get(State.DUE) or states.get(State.PENDING):
            raise RefusedError(
                "uitstel",
                f"uitstel {waiting.number} raakt deze brief en {waiting.state(self._today)}. Er is geen brief "
                "geschreven. Beslis eerst (bekend inzage uitstel), maak een nieuwe export en probeer het opnieuw.",
            )
        return False


def _asked_of_us(one: Asked, covenants: Covenants, own: str, registration: Registration | None) -> AskedOfUs:
    version, purpose = covenants.of(one.covenant_hash, one.purpose)
    source = version.sources(one.purpose).get(own)
    grounds = (*(purpose.requester_grounds if purpose else ()), *(source.ground if source else ()))
    moment = from_milliseconds(one.time)
    return AskedOfUs(
        moment=moment.astimezone(AMSTERDAM),
        requester=covenants.name(one.requester),
        on_behalf_of=covenants.name(one.on_behalf_of) if one.on_behalf_of else None,
        purpose=purpose.title if purpose else _UNKNOWN_PURPOSE,
        grounds=in_full(grounds),
        informing=purpose.informing if purpose else None,
        learned=learned(registration, source, day_of(moment), one.kind_class),
    )


def _asked_by_us(one: OwnAnswers, covenants: Covenants) -> AskedByUs:
    version, purpose = covenants.of(one.covenant_hash, one.purpose)
    answers: Mapping[str, str | None] = one.outcomes
    sources = [version.sources(one.purpose).get(oin) for oin in answers]
    grounds = (
        *(purpose.requester_grounds if purpose else ()),
        *(ground for source in sources if source for ground in source.ground),
    )
    return AskedByUs(
        moment=from_milliseconds(one.lookup_time).astimezone(AMSTERDAM),
        role=one.role,
        on_behalf_of=covenants.name(one.on_behalf_of) if one.on_behalf_of else None,
        purpose=purpose.title if purpose else _UNKNOWN_PURPOSE,
        grounds=in_full(grounds),
        informing=purpose.informing if purpose else None,
        answers=tuple(
            sorted((covenants.name(oin), _kind(outcome, one.kind_class)) for oin, outcome in answers.items())
        ),
    )


def in_full(grounds: Iterable[Ground]) -> tuple[str, ...]:
    """Grounds as a citizen can look them up: a line per law, by its name where the covenant has its short form."""
    articles: dict[str, list[str]] = {}
    for ground in grounds:
        articles.setdefault(ground.law, []).extend(ground.article.split(", "))
    return tuple(
        f"{f'{LAWS[law]} ({law})' if law in LAWS else law}: {', '.join(dict.fromkeys(found))}"
        for law, found in articles.items()
    )


def _kind(outcome: str | None, kind_class: KindClass) -> OutcomeKind | Literal[Told.WITHDRAWN] | None:
    if outcome == Told.WITHDRAWN:
        # What came was destroyed with the consent, and may have been a release.
        return Told.WITHDRAWN
    if outcome == Told.CORRECTED:
        # What came was a release, whatever was found out afterwards.
        return OutcomeKind.KNOWN if kind_class == CERTAIN else OutcomeKind.POSSIBLE
    try:
        return OutcomeKind(outcome) if outcome else None
    except ValueError:
        return None
