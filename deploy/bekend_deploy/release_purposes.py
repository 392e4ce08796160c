"""The purposes of the demo where colleagues decide, as a privacy officer would read them: Dutch, and complete.

They follow those of the example covenant, shortened: what is left out there are sources that the demo has no partner
for.
"""

from typing import Any

from bekend_deploy.partners import (
    CONFUSED,
    POLITIE,
    RADICAL,
    RECLASSERING,
    SOCIAL,
    VEILIG_THUIS,
    VT_TRIAGE,
    ZSM_CONSENT,
    ZVH,
)

_Tree = dict[str, Any]


def grounds(*laws: tuple[str, str]) -> list[_Tree]:
    """Grounds that no lawyer has tested."""
    return [{"wet": law, "artikel": article, "status": "te_toetsen"} for law, article in laws]


RELEASE_GROUNDS: dict[tuple[str, str], list[_Tree]] = {
    (SOCIAL, VEILIG_THUIS.oin): grounds(("Wmo 2015", "4.1.1(2)(d)")),
    (VT_TRIAGE, POLITIE.oin): grounds(("Bpg", "4:2(1)(i)")),
    (VT_TRIAGE, RECLASSERING.oin): grounds(("Wmo 2015", "5.2.6")),
    (VT_TRIAGE, ZVH.oin): grounds(("WGS", "1.7")),
    (CONFUSED, POLITIE.oin): grounds(("Wpg", "18(2)")),
    (RADICAL, POLITIE.oin): grounds(("Wpg", "20(4)")),
    (RADICAL, RECLASSERING.oin): grounds(("WG-PGA", "5(3)")),
}
MUNICIPAL_RELEASE_GROUNDS: dict[str, list[_Tree]] = {
    SOCIAL: grounds(("Wmo 2015", "5.1.1(4)")),
    RADICAL: grounds(("WG-PGA", "5(3)")),
    ZSM_CONSENT: grounds(("Wmo 2015", "5.1.1(4)")),
}


def release_purposes() -> list[_Tree]:
    """Each purpose, without what all of the demo have in common."""
    return [_social(), _vt_triage(), _confused(), _radical(), _zsm_consent()]


def _consent(text: str) -> _Tree:
    form = {"vorm": "toestemming", "maanden_terug": "3", "maanden_vooruit": "0"}
    return {"id": "toestemming", "tekst": text, "controle": "vrager"} | form


def _stated(name: str, text: str) -> _Tree:
    return {"id": name, "tekst": text, "controle": "vrager"}


def _case(pattern: str, text: str) -> _Tree:
    return {"patroon": pattern, "omschrijving": text}


def _social() -> _Tree:
    return {
        "doel": SOCIAL,
        "titel": "Wijkteam: wie is er al betrokken (demo)",
        "omschrijving": "Het college vraagt, met toestemming van de inwoner, welke hulpverlenende organisaties al "
        "betrokken zijn, om hulp af te stemmen.",
        "fase": "signaal",
        "kader": "sociaal_domein",
        "vrager": {"organisaties": ["college_bw"], "rollen": ["sociaal-werker"]},
        "grondslag_vrager": grounds(("Wmo 2015", "2.3.2, 5.1.1(1) en (4)"), ("Jeugdwet", "2.3, 7.4.0")),
        "bronnen": {},
        "voorwaarden": [_consent("de inwoner gaf toestemming om deze organisaties te vragen")],
        "zaaknummer": _case(r"SD-\d{4}-\d{5}", "Zaaknummer van het wijkteam, bijvoorbeeld SD-2026-00123"),
        "motivering": "ja",
        "max_personen": "1",
        "geldigheid_resultaat": "P14D",
        "informeren": "Vooraf, in een gesprek. Wie toestemming gaf, kan die altijd intrekken.",
    }


def _vt_triage() -> _Tree:
    return {
        "doel": VT_TRIAGE,
        "titel": "Veilig Thuis: triage na melding (demo)",
        "omschrijving": "Veilig Thuis stelt na een melding vast welke organisaties de betrokkenen kennen, voor de "
        "veiligheidsbeoordeling.",
        "fase": "signaal",
        "kader": "veilig_thuis",
        "vrager": {"organisaties": ["veilig_thuis"], "rollen": ["triagist"]},
        "grondslag_vrager": grounds(("Wmo 2015", "4.1.1(2)(a)-(c), 5.1.6(2), 5.2.9(2)")),
        "bronnen": {
            "college_bw": {"modus": "nooit", "reden": "Het college als geheel heeft geen taak in de triage."},
        },
        "voorwaarden": [
            _stated("vermoeden-uit-melding", "uit de melding blijkt een vermoeden van huiselijk geweld"),
            _stated("alleen-betrokkenen", "elke gevraagde persoon is betrokkene bij deze melding; nooit de melder"),
        ],
        "zaaknummer": _case(r"VT-\d{4}-\d{6}", "Meldingnummer, bijvoorbeeld VT-2026-001234"),
        "motivering": "ja",
        "max_personen": "4",
        "geldigheid_resultaat": "P7D",
        "informeren": "Achteraf, door Veilig Thuis, zodra de veiligheid het toelaat.",
        "uitstel": {"grond": "UAVG 41(1)(d) of (i)", "herbeoordeling": "P28D"},
    }


def _confused() -> _Tree:
    return {
        "doel": CONFUSED,
        "titel": "Melding van een persoon met verward gedrag (demo)",
        "omschrijving": "Het college stelt na een melding vast wie de persoon kent, voor het verkennend onderzoek.",
        "fase": "signaal",
        "kader": "verward_gedrag",
        "vrager": {"organisaties": ["college_bw"], "rollen": ["meldpunt-medewerker"]},
        "grondslag_vrager": grounds(("Wvggz", "5:1, 5:2"), ("Wmo 2015", "2.1.1(1)")),
        "bronnen": {},
        "voorwaarden": [_stated("melding", "er is een melding over deze persoon")],
        "zaaknummer": _case(r"MVG-\d{4}-\d{5}", "Meldingnummer, bijvoorbeeld MVG-2026-00042"),
        "motivering": "ja",
        "max_personen": "1",
        "geldigheid_resultaat": "P14D",
        "informeren": "Zo mogelijk vooraf, en anders bij het eerste contact.",
    }


def _radical() -> _Tree:
    return {
        "doel": RADICAL,
        "titel": "Radicalisering: beoordeling van een aanmelding (demo)",
        "omschrijving": "Het OM stelt bij de gezamenlijke weging van een aanmelding vast wie de persoon kent.",
        "fase": "weging",
        "kader": "radicalisering",
        "vrager": {"organisaties": ["om"], "rollen": ["lid-weegteam"]},
        "grondslag_vrager": grounds(("WG-PGA", "5(1), 5(3)")),
        "bronnen": {},
        "voorwaarden": [
            _stated("aanmelding", "er is een aanmelding volgens artikel 5(1)"),
            _stated("gezamenlijke-weging", "politie, OM en burgemeester wegen samen"),
        ],
        "zaaknummer": _case(r"PGA-\d{4}-\d{3}", "Zaaknummer van het weegteam, bijvoorbeeld PGA-2026-007"),
        "motivering": "ja",
        "max_personen": "1",
        "geldigheid_resultaat": "P14D",
        "informeren": "De persoon hoort het, tenzij dat is uitgesteld.",
        "uitstel": {"grond": "WG-PGA 11", "herbeoordeling": "P90D"},
    }


def _zsm_consent() -> _Tree:
    return {
        "doel": ZSM_CONSENT,
        "titel": "ZSM: lokale context met toestemming (demo)",
        "omschrijving": "Met uitdrukkelijke toestemming van de verdachte stelt het OM vast of de gemeente hem kent uit "
        "de Wmo. Een medewerker van de gemeente beslist per geval.",
        "fase": "signaal",
        "kader": "strafvordering",
        "vrager": {"organisaties": ["om"], "rollen": ["zsm-medewerker"]},
        "grondslag_vrager": grounds(("RO", "124"), ("Wjsg", "39f")),
        "bronnen": {},
        "voorwaarden": [
            _stated("verdachte", "de persoon is aangehouden als verdachte in deze zaak"),
            _consent("de verdachte gaf uitdrukkelijk toestemming om deze gemeente te vragen"),
        ],
        "zaaknummer": _case(r"\d{2}/\d{6}-\d{2}", "Parketnummer, bijvoorbeeld 15/234567-26"),
        "motivering": "ja",
        "max_personen": "1",
        "geldigheid_resultaat": "PT72H",
        "informeren": "Vooraf, in het gesprek waarin toestemming wordt gevraagd. Wie toestemming gaf, kan die altijd "
        "intrekken.",
        "open_vraag": "Kan een aangehouden verdachte vrij toestemmen (AVG 7)?",
    }
