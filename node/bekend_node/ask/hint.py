"""What a set of hits may suggest, and the next lawful step: Dutch text for the officer, and nothing else.

Computed at the requester from outcomes that it lawfully received, for the screen alone: never stored, never sent, no
figure, no colour, no order. Hits say only, and weakly, that several domains are involved (Bgs 2.20(1)(d)); nothing
about the person. So two hits of one domain and five give the same text. A human decides.
"""

from collections.abc import Collection, Mapping
from typing import Final

SECTORS: Final[Mapping[str, frozenset[str]]] = {
    "straf": frozenset({"politie", "om", "reclassering", "dji", "halt", "gi_jeugdreclassering", "cjib"}),
    "zorg": frozenset({"ggz", "ggd", "jeugdhulp"}),
    "bestuur": frozenset({"burgemeester"}),
    "sociaal": frozenset({"college_bw", "wijkteam", "schuldhulp", "wmo_aanbieder"}),
    "bescherming": frozenset({"veilig_thuis", "rvdk", "gi"}),
}
"""Sector of each kind of partner. A ZVH or casusoverleg is a table of partners, no sector."""

NOTHING: Final = "Geen uitsluitsel. Dit betekent niet dat niemand betrokken is."
ONE_SECTOR: Final = "Eerst afstemmen binnen deze sector. Opschalen ligt niet voor de hand."
TABLE: Final = "De persoon is bekend bij een samenwerkingsverband. Stem eerst daarmee af."
SEVERAL: Final = "Afstemming tussen genoemde partners; bespreek met betrokkene."
COMPLEX: Final = "Mogelijk samenwerking uit meerdere domeinen nodig (Bgs 2.20(1)(d)). Toets zelf a, b en c:"
CRITERIA: Final = (
    "  a. Zijn er problemen van de persoon of het gezin?",
    "  b. Op verschillende leefgebieden, met criminogene factoren?",
    "  c. Leidden of leiden die tot ernstige overlast, criminaliteit of onveiligheid?",
)
TO_HOUSE: Final = (
    "Is het drie keer ja? Meld de casus aan bij het Zorg- en Veiligheidshuis en leg de toets vast (Bgs 2.20(3)).",
    "Gaat het om een gebied en niet om een persoon? Gebruik deze dienst dan niet.",
)
ROUTING: Final = "Overleg over de afdoening met de partners die de persoon kennen, via hun contactpunt."
HOUSE_CASE: Final = (
    "Nodig voor het casusoverleg alleen uit wie nodig is. Wordt de casus niet in behandeling genomen: vernietig de "
    "uitkomst direct (Bgs 1.16(1)(b))."
)
RADICAL: Final = "Niet via ZVH: aanmelden bij politie, OM of burgemeester (WGS 2.31(13), WG-PGA 5(1))."
SUSPICION: Final = f"Vermoedt u radicalisering? {RADICAL}"
DECIDES: Final = "Dit is geen oordeel over de persoon. U beslist en motiveert zelf; deze tekst wordt niet bewaard."


def next_step(frame: str, found: Collection[tuple[str, str]], route_map: str | None = None) -> tuple[str, ...]:
    """Lines for one person, of `found`: per partner that was asked about this person its sort, and its outcome.

    Empty where nobody answered yet or ever: that says nothing about the person, and must not read as an answer. Empty
    too where `mogelijk bekend` is all: it may be about somebody else and counts in no hint (FG-24).
    """
    kinds = {sort for sort, outcome in found if outcome == "bekend"}
    outcomes = {outcome for _, outcome in found}
    if not kinds and ("geen_uitsluitsel" not in outcomes or "mogelijk_bekend" in outcomes):
        return ()
    return hint(frame, kinds, route_map)


def hint(frame: str, kinds: Collection[str], route_map: str | None = None) -> tuple[str, ...]:
    """Lines for one person: `frame` is the purpose's `kader`, `kinds` the sorts of partner that answered `bekend`.

    `kinds` holds certain hits only, still valid. `route_map`: the region's own route map to the ZVH (AVE).
    """
    if frame == "radicalisering":
        return (RADICAL, DECIDES)
    if not kinds:
        return (NOTHING,)
    if frame == "strafvordering":
        return (ROUTING, SUSPICION, DECIDES)
    return (*_by_sector(frame, kinds, route_map), DECIDES)


def _by_sector(frame: str, kinds: Collection[str], route_map: str | None) -> tuple[str, ...]:
    sectors = {name for name, members in SECTORS.items() if not members.isdisjoint(kinds)}
    if "straf" in sectors and not sectors.isdisjoint({"zorg", "sociaal", "bescherming"}):
        if frame == "zvh":
            return (HOUSE_CASE, SUSPICION)
        way = (f"De route in deze regio: {route_map}",) if route_map else ()
        return (COMPLEX, *CRITERIA, *TO_HOUSE, *way, SUSPICION)
    if not sectors:
        return (TABLE,)
    return (SEVERAL,) if len(sectors) > 1 else (ONE_SECTOR,)
