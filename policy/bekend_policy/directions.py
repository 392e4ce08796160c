"""Direction rules D1-D14: who never asks whom, whatever a covenant says.

Each rule is one function over a Pairing and one row of DIRECTIONS, with the article that it rests on. They are
applied when a covenant is loaded and again at every decision: at the requester, the broker and the source.
A rule holds for the organisation that asks and for the one in whose name it asks.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from bekend_policy.terms import Frame, Ground, Kind, Mode

MUNICIPAL_CARE = {Kind.WIJKTEAM, Kind.COLLEGE_BW}
JUSTICE = {Kind.OM, Kind.POLITIE, Kind.RECLASSERING, Kind.DJI}
CARE_SECRET = {Kind.GGZ, Kind.JEUGDHULP}
MUNICIPALITY = {Kind.COLLEGE_BW, Kind.BURGEMEESTER, Kind.SCHULDHULP}
CARE_FILES = {Kind.WIJKTEAM, Kind.WMO_AANBIEDER, Kind.JEUGDHULP}
UNCONNECTED = {Kind.ZORGVERZEKERAAR, Kind.WERKGEVER, Kind.SCHOOL, Kind.VERHUURDER, Kind.COMMERCIEEL}
PGA_OUTSIDERS = {Kind.GGZ, Kind.VEILIG_THUIS, Kind.GI, Kind.GI_JEUGDRECLASSERING, Kind.HALT, Kind.WIJKTEAM}
ZVH_OUTSIDERS = {Kind.HALT, Kind.SLACHTOFFERHULP, Kind.WONINGCORPORATIE}
# WGS 2.27(1): the public participants. A ZVH is no participant itself: it asks in the name of one.
ZVH_PUBLIC = {Kind.OM, Kind.POLITIE, Kind.RVDK, Kind.DJI, Kind.BURGEMEESTER, Kind.COLLEGE_BW, Kind.GGD}
# Registers of a municipality that are no Wmo or youth care files. Any other register counts as one.
OPEN_REGISTERS = {"veiligheid", "nazorg", "leerplicht"}

_NO_LAW = re.compile(
    r"\bwams\b|meervoudige problematiek|36295|convenant|samenwerkingsovereenkomst|samenwerkingsafspra|protocol|handvat",
    re.IGNORECASE,
)
_CLOSED_POLICE = re.compile(r"(?:art(?:\.|ikel)?\s*)?(?:9|10)\b", re.IGNORECASE)
_CLOSED_PART = re.compile(r"(?:art|artikel|wpg)?(?:9|10)")

# WGS (samenwerkingsverbanden) and Wgs (schuldhulp) differ in their capitals alone.
_LAW_NAMES = {
    "wet gegevensverwerking door samenwerkingsverbanden": "wgs",
    "wet gemeentelijke schuldhulpverlening": "wgs-schuldhulp",
    "wet gegevensverwerking persoonsgerichte aanpak radicalisering en terroristische activiteiten": "wg-pga",
    "wet politiegegevens": "wpg",
    "wet justitiële en strafvorderlijke gegevens": "wjsg",
    "wetboek van strafvordering": "sv",
    "wet op de rechterlijke organisatie": "ro",
    "wet maatschappelijke ondersteuning 2015": "wmo",
    "wmo 2015": "wmo",
    "penitentiaire beginselenwet": "pbw",
    "wet verplichte geestelijke gezondheidszorg": "wvggz",
}


def law_of(ground: Ground) -> str:
    """The law of a ground under one short name, whichever way the file spells it."""
    if ground.law == "Wgs":
        return "wgs-schuldhulp"
    name = " ".join(ground.law.casefold().split())
    return _LAW_NAMES.get(name, name)


@dataclass(frozen=True, slots=True)
class Pairing:
    """One asker (or the one in whose name is asked), one source, under one purpose."""

    asker: Kind
    other_asker: Kind | None
    """The principal, when `asker` is who asks in its name; and the other way round."""
    source: Kind
    mode: Mode
    registers: tuple[str, ...]
    frame: Frame
    requester_grounds: tuple[Ground, ...]
    source_grounds: tuple[Ground, ...]
    same_house: bool
    """Whether source and asker belong to one Zorg- en Veiligheidshuis."""


def _d1(p: Pairing) -> bool:
    justice = p.source in {Kind.OM, Kind.RECLASSERING, Kind.DJI, Kind.HALT}
    lawful = p.frame in {Frame.ZVH, Frame.RADICALISERING} or (p.frame is Frame.NAZORG and p.asker is Kind.COLLEGE_BW)
    return p.asker in MUNICIPAL_CARE and justice and not lawful


def _d2(p: Pairing) -> bool:
    if p.asker not in MUNICIPAL_CARE or p.source is not Kind.POLITIE or p.frame in {Frame.ZVH, Frame.RADICALISERING}:
        return False
    youth = any(
        law_of(ground) == "jeugdwet" and re.match(r"2\.[34]\b", ground.article) for ground in p.requester_grounds
    )
    open_to_college = youth or p.frame is Frame.VERWARD_GEDRAG
    return not (p.asker is Kind.COLLEGE_BW and p.mode is Mode.MANUAL and open_to_college)


def _d3(p: Pairing) -> bool:
    if p.asker not in JUSTICE or p.mode is Mode.CONSENT or p.frame is Frame.ZVH:
        return False
    municipal_file = p.source in MUNICIPALITY and not OPEN_REGISTERS.issuperset(p.registers)
    return p.source in CARE_FILES or municipal_file


def _d4(p: Pairing) -> bool:
    return p.mode.by_machine and (p.source in CARE_SECRET or bool({"ggz", "jeugdhulp"} & set(p.registers)))


def _d5(p: Pairing) -> bool:
    return p.mode.by_machine and p.source is Kind.VEILIG_THUIS


def _d6(p: Pairing) -> bool:
    return p.mode.by_machine and p.source is Kind.POLITIE and p.asker is not Kind.OM


def _d7(p: Pairing) -> bool:
    closed_ground = any(law_of(ground) == "wpg" and _CLOSED_POLICE.match(ground.article) for ground in p.source_grounds)
    return closed_ground or any(_is_closed_register(register, p.source) for register in p.registers)


def _d8(p: Pairing) -> bool:
    return p.frame is Frame.RADICALISERING and not PGA_OUTSIDERS.isdisjoint({p.asker, p.source})


def _d9(p: Pairing) -> bool:
    return p.frame is Frame.ZVH and not ZVH_OUTSIDERS.isdisjoint({p.asker, p.source})


def _d10(p: Pairing) -> bool:
    return not UNCONNECTED.isdisjoint({p.asker, p.source})


def _d11(p: Pairing) -> bool:
    if p.frame is not Frame.ZVH or p.asker in ZVH_PUBLIC:
        return False
    return not (p.asker is Kind.ZVH and p.other_asker in ZVH_PUBLIC)


def _d12(p: Pairing) -> bool:
    through_house = Kind.ZVH in {p.asker, p.other_asker} or p.frame is Frame.ZVH
    return through_house and p.source is not Kind.ZVH and not p.same_house


def _d13(p: Pairing) -> bool:
    return any(is_no_law(ground) for ground in (*p.requester_grounds, *p.source_grounds))


def _d14(p: Pairing) -> bool:
    return p.asker is Kind.GGZ and p.source in JUSTICE | {Kind.HALT, Kind.RVDK, Kind.CJIB, Kind.GI_JEUGDRECLASSERING}


def _is_closed_register(register: str, source: Kind) -> bool:
    parts = re.split(r"[-_]", register)
    police = source is Kind.POLITIE or not {"wpg", "politie"}.isdisjoint(parts)
    numbered = any(_CLOSED_PART.fullmatch(part) for part in parts)
    return not {"wvggz", "wzd"}.isdisjoint(parts) or (police and numbered)


def is_no_law(ground: Ground) -> bool:
    """Whether this ground is a bill or an agreement between partners (D13)."""
    return _NO_LAW.search(f"{ground.law} {ground.article}") is not None


@dataclass(frozen=True, slots=True)
class Direction:
    """One hard denial."""

    id: str
    denies: Callable[[Pairing], bool]
    reason: str
    article: str
    remedy: str


DIRECTIONS: tuple[Direction, ...] = (
    Direction(
        "D1",
        _d1,
        "Een wijkteam, of het college onder de Wmo, bevraagt OM, reclassering, DJI en Halt niet",
        "geen grondslag buiten een WGS-casus; nazorg heeft een eigen doel (Pbw 18a)",
        "Vraag binnen een ZVH-casus of onder het nazorgdoel.",
    ),
    Direction(
        "D2",
        _d2,
        "Een wijkteam, of het college onder de Wmo, bevraagt de politie niet",
        "Bpg 4:2(1)(i); alleen het college, handmatig, voor Jeugdwet 2.3 of 2.4 of na een melding (Wvggz 5:2)",
        "Zet de modus op handmatig en noem Jeugdwet 2.3 of 2.4 als grondslag van het college.",
    ),
    Direction(
        "D3",
        _d3,
        "OM, politie, reclassering en DJI bevragen geen Wmo- of jeugddossiers en geen jeugdhulp",
        "Wmo 5.2.1(2), gesloten lijst; Jeugdwet 7.3.11",
        "Kies modus toestemming, vraag binnen een ZVH-casus, of noem alleen veiligheid, nazorg of leerplicht.",
    ),
    Direction(
        "D4",
        _d4,
        "GGZ en jeugdhulp antwoorden nooit vanzelf",
        "BW 7:457, Wet BIG 88, Jeugdwet 7.3.11, WGS 2.29(2)",
        "Kies modus toestemming of handmatig.",
    ),
    Direction(
        "D5",
        _d5,
        "Veilig Thuis antwoordt nooit vanzelf",
        "Wmo 4.1.1(2)(d)-(e): Veilig Thuis beslist per geval; veiligheid van slachtoffers",
        "Kies modus handmatig.",
    ),
    Direction(
        "D6",
        _d6,
        "De politie antwoordt alleen aan het OM vanzelf",
        "Wpg 23, Bpg 4:6",
        "Kies modus handmatig.",
    ),
    Direction(
        "D7",
        _d7,
        "Politiegegevens van artikel 9 en 10 en Wvggz- en Wzd-gegevens worden nooit bevraagd",
        "WGS 2.30(1)(a), Bpg 4:5, Bgs 1.10(2), Wvggz 8:34, Wzd 18c(4)",
        "Haal het register of de grondslag weg.",
    ),
    Direction(
        "D8",
        _d8,
        "GGZ, Veilig Thuis, GI, Halt en wijkteams doen niet mee in de aanpak van radicalisering",
        "WG-PGA 5: geen deelnemer",
        "Haal deze organisatie uit het doel.",
    ),
    Direction(
        "D9",
        _d9,
        "Halt, Slachtofferhulp en woningcorporaties doen niet mee in een doel van het Zorg- en Veiligheidshuis",
        "WGS 2.27, 2.31(9), Bgs 2.21(3): derde, zonder toegang tot systemen",
        "Haal deze organisatie uit het doel.",
    ),
    Direction(
        "D10",
        _d10,
        "Zorgverzekeraar, werkgever, school, verhuurder en commerciële partijen zijn niet aangesloten",
        "geen wet noemt hen",
        "Haal deze organisatie uit het convenant.",
    ),
    Direction(
        "D11",
        _d11,
        "Alleen deelnemers van het eerste lid vragen binnen het Zorg- en Veiligheidshuis",
        "WGS 2.28, 2.31(2)-(4): private deelnemers (tweede lid) vragen niet",
        "Laat een deelnemer van het eerste lid vragen, of het Zorg- en Veiligheidshuis namens hem.",
    ),
    Direction(
        "D12",
        _d12,
        "Een Zorg- en Veiligheidshuis bevraagt niet de partners van een ander Zorg- en Veiligheidshuis",
        "WGS 2.28: alleen het andere Zorg- en Veiligheidshuis",
        "Vraag het andere Zorg- en Veiligheidshuis.",
    ),
    Direction(
        "D13",
        _d13,
        "De Wams en een convenant zijn geen grondslag",
        "Wams is een wetsvoorstel (Kamerstuk 36295); een afspraak is geen wet",
        "Noem het artikel van de geldende wet.",
    ),
    Direction(
        "D14",
        _d14,
        "GGZ vraagt niet naar betrokkenheid van justitie",
        "geen grondslag gevonden",
        "Haal GGZ uit de vragers van dit doel.",
    ),
)

# Which law opens a frame: at least one ground of the requester must name one of these, and no purpose outside the
# frame may rest on the law that is its own. So a purpose cannot escape a rule by its label.
FRAME_LAWS: dict[Frame, frozenset[str]] = {
    Frame.STRAFVORDERING: frozenset({"ro", "sv", "wpg", "wjsg"}),
    Frame.SOCIAAL_DOMEIN: frozenset({"wmo", "jeugdwet"}),
    Frame.VEILIG_THUIS: frozenset({"wmo"}),
    Frame.ZVH: frozenset({"wgs"}),
    Frame.NAZORG: frozenset({"pbw"}),
    Frame.VERWARD_GEDRAG: frozenset({"wvggz"}),
    Frame.RADICALISERING: frozenset({"wg-pga"}),
}
OWN_LAW = {Frame.ZVH: "wgs", Frame.RADICALISERING: "wg-pga"}


def frame_fits(frame: Frame, requester_grounds: Iterable[Ground]) -> bool:
    """Whether the grounds of the requester open this frame, and rest on no other frame's own law."""
    laws = {law_of(ground) for ground in requester_grounds}
    foreign = {law for other, law in OWN_LAW.items() if other is not frame}
    return not laws.isdisjoint(FRAME_LAWS[frame]) and laws.isdisjoint(foreign)


def denials(pairing: Pairing) -> Iterator[Direction]:
    """Every direction rule that forbids this pairing. `nooit` is never forbidden: nothing is asked."""
    if pairing.mode is not Mode.NEVER:
        yield from (direction for direction in DIRECTIONS if direction.denies(pairing))


def first_denial(pairing: Pairing) -> Direction | None:
    """The first direction rule that forbids this pairing, or None."""
    return next(denials(pairing), None)
