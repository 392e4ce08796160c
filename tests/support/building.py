"""Covenants put together in memory, past the loader and its checks: for what no file may say."""

from collections.abc import Iterable, Mapping
from typing import Any

from bekend_policy.model import Agreement, Covenant, Participant, Purpose
from bekend_policy.terms import Condition

HASH = bytes(range(32))
GROUND = {"wet": "Wmo 2015", "artikel": "5.1", "versie": "2026-07-01", "status": "getoetst"}


def participant(number: int, kind: str, **more: Any) -> Participant:
    """A participant with OIN 00000099 and this number."""
    oin = oin_of(number)
    return Participant.model_validate(
        {
            "oin": oin,
            "naam": f"{kind} {number}",
            "soort": kind,
            "ondertekenaar": f"sleutel {number}",
            **more,
        }
    )


def oin_of(number: int) -> str:
    """The OIN of a participant that was made here."""
    return f"00000099{number:012d}"


def condition(id_: str, **more: Any) -> dict[str, Any]:
    """A condition that the requester confirms."""
    return {"id": id_, "tekst": id_, "controle": "vrager", **more}


def purpose(name: str, askers: Iterable[str], sources: Mapping[str, Mapping[str, Any]], **more: Any) -> Purpose:
    """A purpose with everything filled in that a test does not speak of."""
    base: dict[str, Any] = {
        "doel": f"bouw/{name}",
        "titel": name,
        "omschrijving": "x",
        "kader": "sociaal_domein",
        "vrager": {"organisaties": list(askers), "rollen": ["rol-een"], "namens": more.pop("namens", [])},
        "grondslag_vrager": [GROUND],
        "bronnen": {party: source(**terms) for party, terms in sources.items()},
        "zaaknummer": {"patroon": r"Z-\d{4}", "omschrijving": "x"},
        "motivering": "nee",
        "max_personen": "2",
        "max_bronnen": "3",
        "max_per_dag": {"per_persoon": "5", "per_organisatie": "10"},
        "geldigheid_resultaat": "P1D",
        "identificatie": ["bsn"],
        "vier_ogen": "nee",
        "informeren": "x",
        "dpia": "x",
        "rac_advies": "x",
    }
    return Purpose.model_validate(base | more)


def source(modus: str = "handmatig", **more: Any) -> dict[str, Any]:
    """Terms of a source."""
    if modus == "nooit":
        return {"modus": modus, "reden": "x"}
    return {"modus": modus, "grondslag": [GROUND], "registers": ["clienten"], **more}


def covenant(
    participants: Iterable[Participant], purposes: Iterable[Purpose], signed: Iterable[str] | None = None
) -> Covenant:
    """A covenant of these, in force in 2026 and 2027, signed by everybody or by these alone."""
    members = {one.oin: one for one in participants}
    agreement = Agreement.model_validate(
        {
            "convenant": "bouw",
            "naam": "Bouw",
            "versie": "1",
            "geldig_vanaf": "2026-11-01",
            "geldig_tot_en_met": "2027-10-31",
            "quorum": "1",
            "beheerder": {"oin": oin_of(999), "naam": "beheer", "sleutel": "x"},
            "totalen_per_dag": {"per_persoon": "50", "per_organisatie": "100"},
        }
    )
    return Covenant(
        agreement=agreement,
        participants=members,
        purposes={one.id: one for one in purposes},
        manifest="",
        hash=HASH,
        signed_by=frozenset(members if signed is None else signed),
    )


def conditions(*rows: Mapping[str, Any]) -> tuple[Condition, ...]:
    """Conditions from rows as a file would hold them."""
    return tuple(Condition.model_validate(row) for row in rows)
