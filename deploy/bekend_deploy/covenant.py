"""The demo covenant, written as the files that a privacy officer would read: Dutch, and complete.

What is written follows partners.py. The grounds are those of the real purposes and are as untested here as they are
there: a demo covenant binds nobody.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import yaml

from bekend_deploy.partners import (
    BROKER_OIN,
    COVENANT,
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    ZSM_CONTEXT,
    ZSM_LOCAL,
    ZVH,
    ZVH_WEIGHING,
    Pair,
    Partner,
)
from bekend_deploy.release_purposes import MUNICIPAL_RELEASE_GROUNDS, RELEASE_GROUNDS, grounds, release_purposes

PER_DAY = 5_000
"""Persons a day that one officer may ask about in the demo: enough not to stand in a newcomer's way."""

_LIFE = timedelta(days=90)
_POSSIBLE = {"levensduur": "PT72H"}
_SKN_HOLDERS = {OM.oin, POLITIE.oin, RECLASSERING.oin}

_Tree = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What differs between a demo, a test and a bench: identifier kind, persons a day, time between filter switches and
    between collects, persons and partners in a question, how long a colleague has to decide, and how old a list may be.

    `skn`: whether the criminal-law chain asks by SKN too, under `zsm-context`. `combinations`: by which names and
    dates every purpose may be asked, and every source.
    """

    kind: str = "bsn"
    per_officer: int = PER_DAY
    per_organisation: int = 4 * PER_DAY
    filter_interval: str | None = None
    max_persons: int = 4
    max_sources: int = 64
    reply_term: str = "P1D"
    collect_interval: str | None = None
    max_list_age: str | None = None
    skn: bool = False
    combinations: tuple[str, ...] = ()

    @property
    def limits(self) -> _Tree:
        """As the covenant writes limits."""
        return {"per_persoon": str(self.per_officer), "per_organisatie": str(self.per_organisation)}


def write(
    folder: Path,
    members: Sequence[Partner],
    pairs: Sequence[Pair],
    *,
    signers: Mapping[str, str],
    operator: str,
    today: date,
    settings: Settings,
) -> None:
    """Write afspraken.yaml, deelnemers/ and doelen/.

    `signers` is the vkey of each partner's ondertekenaar by OIN, `operator` that of the operator's beheerder.
    """
    _dump(folder / "afspraken.yaml", _agreement(members, operator, today, settings))
    for member in members:
        _dump(folder / "deelnemers" / f"{member.slug}.yaml", _participant(member, signers[member.oin]))
    by_hand = [purpose for purpose in release_purposes() if any(pair.purpose == purpose["doel"] for pair in pairs)]
    for purpose in (_zsm_context(), _zsm_local(), _zvh_weighing(settings), *by_hand):
        own = [pair for pair in pairs if pair.purpose == purpose["doel"]]
        whole = {
            **purpose,
            "bronnen": {pair.oin: _source(pair, settings) for pair in own} | purpose["bronnen"],
            **_common(settings),
            "identificatie": _kinds(settings, purpose["doel"]),
            "einddatum": (today + _LIFE).isoformat(),
        }
        _dump(folder / "doelen" / f"{purpose['doel'].partition('/')[2]}.yaml", whole)


def _agreement(members: Sequence[Partner], operator: str, today: date, settings: Settings) -> _Tree:
    tree = {
        "convenant": COVENANT,
        "naam": "Democonvenant bekend (alleen voor verzonnen personen)",
        "versie": "1",
        "geldig_vanaf": (today - timedelta(days=1)).isoformat(),
        "geldig_tot_en_met": (today + _LIFE).isoformat(),
        "demo": "ja",
        "quorum": str(len(members)),
        "mandaten": [{"van": "college_bw", "aan": "zvh", "grond": "Awb 10:3 (demo)"}],
        "beheerder": {"oin": BROKER_OIN, "naam": "Beheerder van de demo", "sleutel": operator},
        "totalen_per_dag": settings.limits,
    }
    if settings.combinations:
        tree["combinaties"] = list(settings.combinations)
    intervals = {"filter_interval": settings.filter_interval, "ophalen_elke": settings.collect_interval}
    return tree | {name: interval for name, interval in intervals.items() if interval}


def _participant(member: Partner, signer: str) -> _Tree:
    return {
        "oin": member.oin,
        "naam": member.name,
        "soort": member.kind,
        "ondertekenaar": signer,
    }


_GROUNDS: dict[tuple[str, str], list[_Tree]] = {
    (ZSM_CONTEXT, POLITIE.oin): grounds(("Wpg", "16(1)(a), 23(1)(a)")),
    (ZSM_CONTEXT, RECLASSERING.oin): grounds(("Reclasseringsregeling 1995", "hoofdstuk 3")),
    (ZSM_CONTEXT, VEILIG_THUIS.oin): grounds(("Wmo 2015", "4.1.1(2)(e)")),
    (ZSM_CONTEXT, ZVH.oin): grounds(("WGS", "1.7(1)")),
    (ZVH_WEIGHING, OM.oin): grounds(("WGS", "1.5"), ("Wjsg", "8b, 39fa, 51ca")),
    (ZVH_WEIGHING, RECLASSERING.oin): grounds(("WGS", "1.5(1), 2.27(2)(a), 2.31(3)")),
    (ZVH_WEIGHING, POLITIE.oin): grounds(("WGS", "1.5"), ("Wpg", "20(3)")),
    (ZVH_WEIGHING, VEILIG_THUIS.oin): grounds(("WGS", "2.27(2)(b)")),
}
_MUNICIPAL_GROUNDS: dict[str, list[_Tree]] = {
    ZSM_LOCAL: [
        {**ground, "toelichting": "Of dit de gemeente een eigen grond geeft tegenover het OM, is niet getoetst."}
        for ground in grounds(("Gemeentewet", "172"), ("Pbw", "18a(4)"), ("Leerplichtwet 1969", "16"))
    ],
    ZVH_WEIGHING: grounds(("WGS", "1.5(1), 2.27(1)(f)")),
}


def _source(pair: Pair, settings: Settings) -> _Tree:
    of_source, municipal = _GROUNDS | RELEASE_GROUNDS, _MUNICIPAL_GROUNDS | MUNICIPAL_RELEASE_GROUNDS
    return {
        "modus": pair.mode,
        "grondslag": of_source.get((pair.purpose, pair.oin)) or municipal[pair.purpose],
        "registers": list(pair.registers),
        **({"reactietermijn": settings.reply_term} if pair.by_hand else {}),
        **({"maximale_ouderdom_lijst": settings.max_list_age} if settings.max_list_age else {}),
        **({"identificatie": _kinds(settings, pair.purpose, pair.oin)} if settings.skn else {}),
    }


def _zsm_context() -> _Tree:
    return {
        "doel": ZSM_CONTEXT,
        "titel": "ZSM-contextcheck (demo)",
        "omschrijving": "Het OM stelt vast welke justitiepartners een aangehouden verdachte kennen, om de afdoening "
        "en de te betrekken partners te bepalen. Levert geen inhoud.",
        "fase": "signaal",
        "kader": "strafvordering",
        "vrager": {"organisaties": ["om"], "rollen": ["zsm-medewerker", "officier"]},
        "grondslag_vrager": grounds(("RO", "124"), ("Wpg", "16(1)(a)")),
        "bronnen": {
            "college_bw": {"modus": "nooit", "reden": "Wmo 5.2.1(2): gesloten lijst. Alleen in een ZVH-casus."},
        },
        "voorwaarden": [
            {"id": "verdachte", "tekst": "de persoon is aangehouden als verdachte in deze zaak", "controle": "vrager"},
        ],
        "zaaknummer": {"patroon": r"\d{2}/\d{6}-\d{2}", "omschrijving": "Parketnummer, bijvoorbeeld 01/234567-26"},
        "motivering": "ja",
        "max_personen": "1",
        "geldigheid_resultaat": "PT72H",
        "informeren": "Niet vooraf. Wel met een verzoek om inzage (Wjsg 39i), en in de processtukken.",
        "uitstel": {"grond": "Wjsg 21(2) en 39l(2)", "herbeoordeling": "P90D"},
    }


def _zsm_local() -> _Tree:
    return {
        "doel": ZSM_LOCAL,
        "titel": "ZSM: lokale context (demo, grondslag te toetsen)",
        "omschrijving": "Het OM stelt vast of een gemeente een aangehouden verdachte kent uit veiligheid, nazorg of "
        "leerplicht. Geen Wmo- of jeugddossiers. De grondslag is nog niet getoetst.",
        "fase": "signaal",
        "kader": "strafvordering",
        "vrager": {"organisaties": ["om"], "rollen": ["zsm-medewerker", "officier"]},
        "grondslag_vrager": grounds(("RO", "124"), ("Wjsg", "39f")),
        "bronnen": {},
        "voorwaarden": [
            {"id": "verdachte", "tekst": "de persoon is aangehouden als verdachte in deze zaak", "controle": "vrager"},
        ],
        "zaaknummer": {"patroon": r"\d{2}/\d{6}-\d{2}", "omschrijving": "Parketnummer, bijvoorbeeld 01/234567-26"},
        "motivering": "ja",
        "max_personen": "1",
        "geldigheid_resultaat": "PT72H",
        "informeren": "Niet vooraf. Wel met een verzoek om inzage (Wjsg 39i), en in de processtukken.",
        "uitstel": {"grond": "Wjsg 21(2) en 39l(2)", "herbeoordeling": "P90D"},
        "open_vraag": "Voor de lokale context vóór de ZSM-beoordeling is geen eigen grondslag gevonden: te toetsen.",
    }


def _zvh_weighing(settings: Settings) -> _Tree:
    return {
        "doel": ZVH_WEIGHING,
        "titel": "ZVH: welke deelnemers moeten worden betrokken (demo)",
        "omschrijving": "Na een positieve toets stelt het Zorg- en Veiligheidshuis, namens een deelnemer, vast welke "
        "deelnemers de betrokkene en zijn gezin kennen.",
        "fase": "triage",
        "kader": "zvh",
        "vrager": {
            "organisaties": ["college_bw"],
            "rollen": ["procesregisseur"],
            "namens": [
                {"vrager": ZVH.oin, "namens": HAARLEM.oin, "mandaat": "Mandaatbesluit demo, artikel 1"},
            ],
        },
        "grondslag_vrager": grounds(("WGS", "2.25, 2.31(3)-(4), 2.29(1)")),
        "bronnen": {},
        "voorwaarden": [
            {
                "id": "positieve-toets",
                "tekst": "de aanmelding is positief getoetst (WGS 2.31(2)) en de datum ligt vast",
                "controle": "vrager",
            },
            {"id": "bgs-2-20", "tekst": "vastgelegd is dat aan Bgs 2.20(1) is voldaan", "controle": "vrager"},
        ],
        "zaaknummer": {"patroon": r"ZVH-\d{4}-\d{4}", "omschrijving": "Zaaknummer, bijvoorbeeld ZVH-2026-0042"},
        "motivering": "ja",
        "max_personen": str(settings.max_persons),
        "geldigheid_resultaat": "P28D",
        "informeren": "Wie aanmeldt, vertelt het vooraf, tenzij de veiligheid dat verbiedt. Daarnaast is er het "
        "contactpunt.",
        "uitstel": {"grond": "AVG 14(5)(b), UAVG 41", "herbeoordeling": "P90D"},
    }


def _kinds(settings: Settings, purpose: str, source: str | None = None) -> list[str]:
    """What a purpose lists, or one of its sources: the SKN is of the criminal-law chain alone."""
    skn = settings.skn and purpose == ZSM_CONTEXT and source in {None, *_SKN_HOLDERS}
    return [settings.kind, *(["skn"] if skn else []), *settings.combinations]


def _common(settings: Settings) -> _Tree:
    return {
        "max_bronnen": str(settings.max_sources),
        "max_per_dag": settings.limits,
        **({"mogelijk": _POSSIBLE | {"reactietermijn": settings.reply_term}} if settings.combinations else {}),
        "vier_ogen": "nee",
        "dpia": "DEMO: verzonnen verwijzing, er is geen DPIA",
        "rac_advies": "DEMO: verzonnen verwijzing, er is geen advies",
    }


# libyaml writes the same text several times faster; every wheel of PyYAML carries it.
_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


class _Plain(_DUMPER):  # type: ignore[misc]
    """Without anchors: the covenant's loader refuses them."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write everything out."""
        return True


def _dump(path: Path, tree: _Tree) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    text = yaml.dump(tree, Dumper=_Plain, allow_unicode=True, sort_keys=False, width=110)
    path.write_text(text, encoding="utf-8")
