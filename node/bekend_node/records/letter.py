"""The letter that answers an access request: one HTML page to print (its PDF is the browser's), and the same as JSON.

B1 Dutch. It says what was asked, by whom, when, for what and on what ground, and what came; and what is not known. It
has no count and no number from which somebody could tell that a line was left out, nothing about another person, no
case reference, no name of an officer, and not the number of the person whom it is for: name and address are typed in
the page before it is printed.
"""

import json
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final

from bekend_policy.terms import Kind, Participant
from bekend_policy.wording import listed, on_day
from jinja2 import Environment, PackageLoader, StrictUndefined

from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.pending import Told
from bekend_node.records.findings import AskedByUs, AskedOfUs, Findings
from bekend_node.records.periods import Learned

LEARNED: Final = {
    Learned.KNOWN: "Bekend. De organisatie hoorde dat u bij ons bekend was. Meer hoorde zij niet.",
    Learned.NOTHING: "Niets. De organisatie hoorde niet dat u bij ons bekend was.",
    Learned.PERHAPS: "Dat kunnen wij niet met zekerheid zeggen. Het was 'mogelijk bekend', of niets.",
    Learned.UNKNOWN: "Dat kunnen wij niet met zekerheid zeggen. Het was 'bekend', of niets.",
}
OUTCOMES: Final = {
    OutcomeKind.KNOWN: "Bekend. U was bij deze organisatie bekend. Meer hoorden wij niet.",
    OutcomeKind.POSSIBLE: (
        "Mogelijk bekend. Wij vroegen met een naam, zonder nummer. Bij deze organisatie was iemand bekend die u kan "
        "zijn. Meer hoorden wij niet."
    ),
    OutcomeKind.INCONCLUSIVE: "Niets. Dit zegt niet of u bij deze organisatie bekend was.",
    OutcomeKind.NO_ANSWER: "Er kwam geen antwoord.",
    OutcomeKind.NOT_ASKED: "Niet gevraagd.",
    OutcomeKind.PENDING: "Daar moest een medewerker nog beslissen. Wij hebben geen antwoord vastgelegd.",
    Told.WITHDRAWN: "De toestemming is ingetrokken. Kwam er al een antwoord, dan is dat vernietigd.",
    None: "Wij hebben niet vastgelegd wat er terugkwam.",
}
_WPG: Final = "artikel 25 van de Wet politiegegevens"
_WJSG: Final = "artikel 39i van de Wet justitiële en strafvorderlijke gegevens"
_RIGHTS: Final = {Kind.POLITIE: _WPG, Kind.OM: _WJSG, Kind.CJIB: _WJSG}
"""Law under which this kind of organisation is asked besides the AVG; a lawyer has to look at it per organisation."""


@dataclass(frozen=True)
class Facts:
    """What the letter says besides the findings. `asked_on`: the day on which the request was made."""

    organisation: Participant
    desk: str | None
    asked_on: date
    written_on: date
    since: date
    registration_given: bool


def letter_html(facts: Facts, findings: Findings) -> bytes:
    """The page. It needs nothing else, runs nothing and asks for nothing."""
    environment = Environment(
        loader=PackageLoader("bekend_node.records", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(day=on_day, listed=listed, moment=moment)
    page = environment.get_template("letter.html.j2").render(
        facts=facts,
        law=_RIGHTS.get(facts.organisation.kind),
        asked_of_us=findings.asked_of_us,
        asked_by_us=findings.asked_by_us,
        informing=_informing(findings),
        learned=LEARNED,
        outcomes=OUTCOMES,
    )
    return page.encode()


def letter_json(facts: Facts, findings: Findings) -> bytes:
    """The same for a machine: what the letter says, and nothing that it does not say."""
    content = {
        "kind": "bekend/1 access-letter",
        "organisation": {"oin": facts.organisation.oin, "name": facts.organisation.name},
        "asked_on": facts.asked_on.isoformat(),
        "written_on": facts.written_on.isoformat(),
        "since": facts.since.isoformat(),
        "asked_of_us": [_of_us(one) for one in findings.asked_of_us],
        "asked_by_us": [_by_us(one) for one in findings.asked_by_us],
        "note": "Soms mogen of moeten organisaties informatie nog niet geven. Dat ziet u niet aan dit bestand.",
    }
    return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode()


def moment(value: datetime) -> str:
    """22 november 2026, 13.05 uur."""
    return f"{on_day(value.date())}, {value:%H.%M} uur"


def _informing(findings: Findings) -> list[tuple[str, str]]:
    """Per purpose in this letter, what the covenant says about informing the person."""
    lines: tuple[AskedOfUs | AskedByUs, ...] = (*findings.asked_of_us, *findings.asked_by_us)
    return sorted({(one.purpose, one.informing) for one in lines if one.informing})


def _of_us(one: AskedOfUs) -> dict[str, Any]:
    return {
        "moment": one.moment.isoformat(timespec="seconds"),
        "requester": one.requester,
        "on_behalf_of": one.on_behalf_of,
        "purpose": one.purpose,
        "grounds": list(one.grounds),
        "learned": one.learned.value,
    }


def _by_us(one: AskedByUs) -> dict[str, Any]:
    return {
        "moment": one.moment.isoformat(timespec="seconds"),
        "role": one.role,
        "on_behalf_of": one.on_behalf_of,
        "purpose": one.purpose,
        "grounds": list(one.grounds),
        "answers": [
            {"partner": partner, "outcome": outcome.value if outcome else None} for partner, outcome in one.answers
        ],
    }
