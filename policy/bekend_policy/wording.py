"""How the tools say things in Dutch: lists, durations, names of people who ask for others, kinds of organisation."""

import textwrap
from collections.abc import Iterable
from datetime import date, timedelta

from bekend_policy.model import Covenant, Mode
from bekend_policy.scalars import is_oin
from bekend_policy.terms import Ground, Kind, Limits
from bekend_policy.words import GroundStatus, IdentifierKind

WIDTH = 100

KINDS: dict[Kind, str] = {
    Kind.OM: "Openbaar Ministerie",
    Kind.POLITIE: "politie",
    Kind.RECLASSERING: "reclassering",
    Kind.RVDK: "Raad voor de Kinderbescherming",
    Kind.DJI: "DJI",
    Kind.CJIB: "CJIB",
    Kind.HALT: "Halt",
    Kind.GI: "gecertificeerde instelling",
    Kind.GI_JEUGDRECLASSERING: "jeugdreclassering (gecertificeerde instelling)",
    Kind.COLLEGE_BW: "college van B en W",
    Kind.BURGEMEESTER: "burgemeester",
    Kind.WIJKTEAM: "wijkteam",
    Kind.SCHULDHULP: "schuldhulp",
    Kind.WMO_AANBIEDER: "Wmo-aanbieder",
    Kind.JEUGDHULP: "jeugdhulp",
    Kind.GGD: "GGD",
    Kind.GGZ: "GGZ",
    Kind.VEILIG_THUIS: "Veilig Thuis",
    Kind.ZVH: "Zorg- en Veiligheidshuis",
    Kind.CASUSOVERLEG_PGA: "casusoverleg radicalisering",
    Kind.SLACHTOFFERHULP: "Slachtofferhulp",
    Kind.WONINGCORPORATIE: "woningcorporatie",
}
MODES: dict[Mode, str] = {
    Mode.AUTOMATIC: "het systeem van de partner antwoordt meteen",
    Mode.STANDING: "antwoordt meteen, zolang een getekend besluit van de partner geldt",
    Mode.MANUAL: "een collega bij de partner beslist",
    Mode.CONSENT: "alleen met toestemming van de persoon, en dan beslist een collega",
    Mode.NEVER: "wordt niet gevraagd",
}
NUMBERS: dict[IdentifierKind, str] = {
    IdentifierKind.BSN: "uw BSN",
    IdentifierKind.SKN: "uw nummer in de strafrechtketen (SKN)",
    IdentifierKind.V_NUMMER: "uw vreemdelingennummer",
}
"""What citizens are told about a number; nobody has one of kind `test`."""
STATUSES: dict[GroundStatus | None, str] = {
    GroundStatus.TESTED: "getoetst",
    GroundStatus.TO_TEST: "nog te toetsen",
    GroundStatus.DISPUTED: "omstreden",
    None: "status ontbreekt",
}
_MONTHS = [
    "januari",
    "februari",
    "maart",
    "april",
    "mei",
    "juni",
    "juli",
    "augustus",
    "september",
    "oktober",
    "november",
    "december",
]


def listed(parts: Iterable[str], word: str = "en") -> str:
    """a, b en c."""
    *first, last = [*parts] or [""]
    return f"{', '.join(first)} {word} {last}" if first else last


def count(number: int, one: str, more: str) -> str:
    """1 persoon, 2 personen."""
    return f"{number} {one if number == 1 else more}"


def term(value: timedelta) -> str:
    """A duration in the largest units that fit: 3 dagen, 72 uur, 15 minuten."""
    seconds = int(value.total_seconds())
    parts: list[str] = []
    days, seconds = divmod(seconds, 86400)
    for number, one, more in (
        (days, "dag", "dagen"),
        (seconds // 3600, "uur", "uur"),
        (seconds % 3600 // 60, "minuut", "minuten"),
        (seconds % 60, "seconde", "seconden"),
    ):
        if number:
            parts.append(count(number, one, more))
    return listed(parts) if parts else "0 seconden"


def on_day(day: date) -> str:
    """1 november 2026."""
    return f"{day.day} {_MONTHS[day.month - 1]} {day.year}"


def limits(value: Limits) -> str:
    """Persons a day, for who reads."""
    return f"{value.per_officer} personen per dag per medewerker, {value.per_organisation} per organisatie"


def ground(value: Ground) -> str:
    """A ground with version and status, as it must stand on every page."""
    version = f", versie {value.version}" if value.version else ""
    note = f" ({value.note})" if value.note else ""
    return f"{value}{version} [{STATUSES[value.status]}]{note}"


def party(covenant: Covenant, value: str) -> str:
    """A kind of organisation, or the participant with this OIN."""
    if is_oin(value):
        return covenant.participants[value].name if value in covenant.participants else f"OIN {value}"
    return KINDS.get(Kind(value), value)


def asker(covenant: Covenant, requester: str, on_behalf_of: str) -> str:
    """Who asks, and in whose name."""
    behalf = f" namens {party(covenant, on_behalf_of)}" if on_behalf_of else ""
    return party(covenant, requester) + behalf


def wrapped(text: str, *, start: str = "", hanging: str = "") -> list[str]:
    """Lines for a terminal; names, OINs and article numbers stay whole. None for an empty text."""
    return textwrap.wrap(
        text,
        WIDTH,
        initial_indent=start,
        subsequent_indent=hanging,
        break_long_words=False,
        break_on_hyphens=False,
        drop_whitespace=True,
    )
