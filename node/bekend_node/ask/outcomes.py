"""What an officer is told about one person at one partner, and the Dutch words for it.

The four outcomes are those of protocol section 2; `mogelijk bekend` is what a colleague at the source released after a
question by a combination, and is never taken for `bekend` (FG-24); `in behandeling` stands for one that is still to
come, where a colleague at the source decides (section 9). An outcome holds one bit about a person at the most: it has
no field for a role, a count, a type of case or the name of a worker (FG-11), and none may be added.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from bekend_proto.clock import AMSTERDAM
from bekend_proto.errors import BekendError, Code, DeadlineError
from bekend_proto.v1 import errors_pb2 as codes

PROVES_NOTHING: Final = "Geen uitsluitsel bewijst niets: de persoon kan hier toch bekend zijn."
"""Stands with every `geen uitsluitsel`, also in prints and exports (FG-27)."""

WITHDRAWN: Final = "De toestemming is ingetrokken. Wat er kwam, is vernietigd."
CORRECTED: Final = "Ingetrokken: gemeld als onterecht bekend. Gebruik wat er kwam niet meer."
_LATER: Final = "Dit zegt niets over de persoon. U ziet het antwoord met: bekend antwoorden."
ASK_THE_DESK: Final = "Neem contact op met het contactpunt van deze partner."
COMPARE: Final = (
    "Een collega daar vergeleek de gegevens: het kan dezelfde persoon zijn. Zeker is het niet. "
    "Stel met het contactpunt van deze partner vast om wie het gaat, voordat u iets met deze uitkomst doet."
)
OTHER_NUMBER: Final = "Ander nummer nodig: deze partner heeft zijn lijst niet met dit soort gegevens ingelezen."
"""The source's signed header does not name the kind that was asked by."""


class OutcomeKind(StrEnum):
    """The outcomes per person and partner, as the wire of the control socket and `--json` spell them."""

    KNOWN = "bekend"
    POSSIBLE = "mogelijk_bekend"
    INCONCLUSIVE = "geen_uitsluitsel"
    NO_ANSWER = "geen_antwoord"
    NOT_ASKED = "niet_bevraagd"
    PENDING = "in_behandeling"

    @property
    def words(self) -> str:
        """The outcome as people read it: `geen uitsluitsel`."""
        return self.value.replace("_", " ")


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome for one person at one partner.

    `person` counts from 0 in the order of the question. `as_of` is the date (YYYY-MM-DD) of the oldest list behind the
    answer, present only where the partner answered. `reason` is Dutch, for the officer. `desk` is the partner's
    contact, present only with `bekend` and `mogelijk_bekend`. `until` is the end of the partner's term (ISO 8601,
    UTC), present only with `in_behandeling`.
    """

    person: int
    oin: str
    name: str
    outcome: OutcomeKind
    as_of: str | None
    reason: str
    desk: str | None = None
    until: str | None = None

    def to_json(self) -> dict[str, str | int | None]:
        """The fields as JSON values, in a fixed order."""
        return {
            "person": self.person,
            "oin": self.oin,
            "name": self.name,
            "outcome": self.outcome.value,
            "as_of": self.as_of,
            "reason": self.reason,
            "desk": self.desk,
            "until": self.until,
        }


RELEASED: Final = frozenset({OutcomeKind.KNOWN, OutcomeKind.POSSIBLE})
"""After these the partner is called; nothing else is the same about them."""

PARTNER: Final = "De partner"
BROKER: Final = "De centrale"
OWN: Final = "Deze node"
_NOTHING_SAID: Final = " Dit zegt niets over de persoon. Vraag het later opnieuw."

_REASONS: dict[Code, str] = {
    codes.ERROR_CODE_UNKNOWN_PARTNER: "{who} herkent een van de organisaties niet. Meld dit aan uw beheerder.",
    codes.ERROR_CODE_MALFORMED: "{who} stuurde een bericht dat niet goed is opgebouwd. Het is weggegooid.",
    codes.ERROR_CODE_VERSION: "{who} spreekt een andere versie van het protocol.",
    codes.ERROR_CODE_SIGNATURE: "Een handtekening klopt niet. Het bericht is weggegooid.",
    codes.ERROR_CODE_REFUSED: "{who} weigert deze vraag volgens de eigen afspraken.",
    codes.ERROR_CODE_COVENANT: "{who} werkt met een andere versie van het convenant.",
    codes.ERROR_CODE_KEYS: "{who} heeft geen sleutels die bij deze vraag passen.",
    codes.ERROR_CODE_STALE: "De vraag of het antwoord was te oud, of de klok van een computer loopt niet goed.",
    codes.ERROR_CODE_BUDGET: "Het aantal vragen dat {who} vandaag toelaat, is op.",
    codes.ERROR_CODE_PROOF: "{who} stuurde een bewijs dat niet klopt. Het antwoord is weggegooid.",
    codes.ERROR_CODE_RECORD: "{who} kon de vraag niet vastleggen zoals afgesproken.",
    codes.ERROR_CODE_RATIO: "{who} vond dat de vraag niet bij het begin van de bevraging past.",
    codes.ERROR_CODE_UNREACHABLE: "{who} is niet bereikbaar.",
    codes.ERROR_CODE_DEADLINE: "{who} antwoordde niet op tijd.",
    codes.ERROR_CODE_NOT_READY: "{who} kan nu niet antwoorden: een lijst ontbreekt of is te oud.",
    codes.ERROR_CODE_STORAGE: "De vraag kon niet worden vastgelegd. Zonder vastlegging komt er geen antwoord.",
    codes.ERROR_CODE_INTERNAL: "Er ging iets mis bij het verwerken.",
    codes.ERROR_CODE_SUSPENDED: "Deze bevraging is stilgezet.",
    codes.ERROR_CODE_LOG: "Het logboek van de makelaar klopt niet. {who} antwoordt niet, totdat dat is uitgezocht.",
}


def reason_for(code: Code, who: str = PARTNER) -> str:
    """The Dutch reason of a `geen antwoord` with this code, by `who`: PARTNER, BROKER or OWN."""
    text = _REASONS.get(code, _REASONS[codes.ERROR_CODE_INTERNAL])
    if not text.startswith("{who}"):
        who = who[0].lower() + who[1:]
    return text.format(who=who) + _NOTHING_SAID


def known(person: int, oin: str, name: str, as_of: str | None, desk: str | None) -> Outcome:
    """A verified answer that matches, or a colleague at the source who released it."""
    return Outcome(person, oin, name, OutcomeKind.KNOWN, as_of, ASK_THE_DESK, desk)


def possibly_known(person: int, oin: str, name: str, desk: str | None) -> Outcome:
    """A colleague at the source released a question by a combination: it may be another person."""
    return Outcome(person, oin, name, OutcomeKind.POSSIBLE, None, COMPARE, desk)


def inconclusive(person: int, oin: str, name: str, as_of: str | None) -> Outcome:
    """A verified answer that does not match, or an authenticated end of the term: proves nothing."""
    return Outcome(person, oin, name, OutcomeKind.INCONCLUSIVE, as_of, PROVES_NOTHING)


def no_answer(person: int, oin: str, name: str, error: BekendError, who: str = PARTNER) -> Outcome:
    """A fault, whichever: never a miss. `who` says whose fault it is."""
    return Outcome(person, oin, name, OutcomeKind.NO_ANSWER, None, reason_for(error.code, who))


def not_asked(person: int, oin: str, name: str, reason: str) -> Outcome:
    """The covenant does not let this source be asked, or the officer did not choose it."""
    return Outcome(person, oin, name, OutcomeKind.NOT_ASKED, None, reason)


def suspended(person: int, oin: str, name: str, reason: str) -> Outcome:
    """A signed note suspends this: a fault like another, with what the note says."""
    return Outcome(person, oin, name, OutcomeKind.NO_ANSWER, None, f"{reason}.{_NOTHING_SAID}")


def pending_until(person: int, oin: str, name: str, until: datetime) -> Outcome:
    """A colleague at the source is to decide: the same whoever the person is."""
    moment = until.astimezone(AMSTERDAM)
    reason = f"Een collega bij deze partner beslist, uiterlijk {moment:%d-%m-%Y %H:%M}. {_LATER}"
    return Outcome(person, oin, name, OutcomeKind.PENDING, None, reason, until=until.isoformat(timespec="seconds"))


def unanswered(person: int, oin: str, name: str) -> Outcome:
    """The term ended without an authenticated word of the source: a fault, never a miss."""
    return no_answer(person, oin, name, DeadlineError("no authenticated end of the term"))


def withdrawn(person: int, oin: str, name: str) -> Outcome:
    """The consent was withdrawn; what came before is destroyed."""
    return Outcome(person, oin, name, OutcomeKind.INCONCLUSIVE, None, f"{WITHDRAWN} {PROVES_NOTHING}")


def corrected(person: int, oin: str, name: str) -> Outcome:
    """A `bekend` that was reported to be wrong (FG-26): it is destroyed, and nothing may be taken from it."""
    return Outcome(person, oin, name, OutcomeKind.INCONCLUSIVE, None, f"{CORRECTED} {PROVES_NOTHING}")
