"""Decisions per second on one core, with a generated catalogue of 500 rules: `python -m bekend_bench.decisions`.

A rule is one line of `bronnen`: one kind of source under one purpose, with mode, grounds and conditions. Measured is
`decide` as the broker and the source call it, and as the requester does (role, case number, conditions), over questions
in shuffled order, allowed and refused ones; and how long the very first decision on each combination takes.
"""

import itertools
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from bekend_policy.decide import Asked, decide
from bekend_policy.directions import UNCONNECTED
from bekend_policy.model import Agreement, Covenant, Participant, Purpose
from bekend_policy.words import Kind
from bekend_proto.v1 import signed_pb2

RULES, SOURCES_EACH = 500, 10
WANTED = 100_000
"""Decisions per second on one core."""
ROUNDS = 5
NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
_HASH = bytes(32)
_GROUND = {"wet": "Wmo 2015", "artikel": "5.1", "versie": "2026-07-01", "status": "getoetst"}
_KINDS = [kind for kind in Kind if kind not in UNCONNECTED]


@dataclass(frozen=True)
class Figure:
    """Decisions per second: the middle of the rounds."""

    name: str
    per_second: float
    decisions: int


def catalogue(rules: int = RULES) -> Covenant:
    """A covenant with this many lines of `bronnen`, two participants of every kind."""
    members = {}
    for number, kind in enumerate(_KINDS * 2, 1):
        row = {"oin": f"00000099{number:012d}", "naam": f"{kind} {number}", "soort": kind.value, "ondertekenaar": "x"}
        one = Participant.model_validate(row)
        members[one.oin] = one
    purposes = [_purpose(number) for number in range(rules // SOURCES_EACH)]
    return Covenant(
        agreement=_agreement(),
        participants=members,
        purposes={one.id: one for one in purposes},
        manifest="",
        hash=_HASH,
        signed_by=frozenset(members),
    )


def _agreement() -> Agreement:
    return Agreement.model_validate(
        {
            "convenant": "bench",
            "naam": "bench",
            "versie": "1",
            "geldig_vanaf": "2026-11-01",
            "geldig_tot_en_met": "2027-10-31",
            "quorum": "1",
            "beheerder": {"oin": "00000099000000009000", "naam": "x", "sleutel": "x"},
            "totalen_per_dag": {"per_persoon": "50", "per_organisatie": "100"},
        }
    )


def _purpose(number: int) -> Purpose:
    kinds = [_KINDS[(number + step) % len(_KINDS)] for step in range(SOURCES_EACH)]
    return Purpose.model_validate(
        {
            "doel": f"bench/doel-{number}",
            "titel": f"doel {number}",
            "omschrijving": "x",
            "kader": "sociaal_domein",
            "vrager": {"organisaties": [_KINDS[number % len(_KINDS)].value, "burgemeester"], "rollen": ["rol"]},
            "grondslag_vrager": [_GROUND],
            "bronnen": {
                kind.value: {"modus": "handmatig", "grondslag": [_GROUND], "registers": ["clienten"]} for kind in kinds
            },
            "voorwaarden": [{"id": "datum", "tekst": "x", "controle": "vrager", "vorm": "datum",
                             "maanden_terug": "6", "maanden_vooruit": "0"},
                            {"id": "verdachte", "tekst": "x", "controle": "vrager"}],
            "zaaknummer": {"patroon": r"Z-\d{4}", "omschrijving": "x"},
            "motivering": "ja",
            "max_personen": "4",
            "max_bronnen": "8",
            "max_per_dag": {"per_persoon": "5", "per_organisatie": "10"},
            "geldigheid_resultaat": "P1D",
            "identificatie": ["bsn"],
            "vier_ogen": "nee",
            "informeren": "x",
            "einddatum": "2027-10-31",
            "dpia": "x",
            "rac_advies": "x",
        }
    )  # fmt: skip


def questions(covenant: Covenant, *, own: bool) -> list[Asked]:
    """Every pair under every purpose, shuffled; `own`: with what only the requester knows."""
    certain = signed_pb2.KIND_CLASS_CERTAIN
    known = {
        "role": "rol",
        "kind": "bsn",
        "case_reference": "Z-2026",
        "attested": frozenset({"datum=2026-11-20", "verdachte", "motivering"}),
        "sources": 3,
    }
    more: dict[str, object] = known if own else {}
    every = [
        Asked(one, other, purpose, None, 1, certain, _HASH, **more)  # type: ignore[arg-type]
        for purpose, one, other in itertools.product(covenant.purposes, covenant.participants, covenant.participants)
        if one != other
    ]
    random.Random(1).shuffle(every)  # noqa: S311 - the same order every time
    return every


def measure(covenant: Covenant) -> list[Figure]:
    """First decisions, then decisions as broker and source make them, then as the requester does."""
    seen = questions(covenant, own=False)
    allowed = [asked for asked in seen if decide(covenant, asked, NOW).allowed]
    asking = [asked for asked in questions(covenant, own=True) if decide(covenant, asked, NOW).allowed]
    return [
        Figure("first decision on a combination", _rate(catalogue, seen, 1), len(seen)),
        Figure("broker or source, every combination", _rate(lambda: covenant, seen, ROUNDS), len(seen)),
        Figure("broker or source, allowed alone", _rate(lambda: covenant, allowed, ROUNDS), len(allowed)),
        Figure("requester, allowed alone", _rate(lambda: covenant, asking, ROUNDS), len(asking)),
    ]


def _rate(covenant: Callable[[], Covenant], asked: list[Asked], rounds: int) -> float:
    rates = []
    for _ in range(rounds):
        given = covenant()
        began = time.process_time()
        for one in asked:
            decide(given, one, NOW)
        rates.append(len(asked) / (time.process_time() - began))
    return sorted(rates)[len(rates) // 2]


def main() -> int:
    """Print the figures; code 3 when a remembered decision is slower than it must be."""
    covenant = catalogue()
    rules = sum(len(one.source_terms) for one in covenant.purposes.values())
    figures = measure(covenant)
    if "--json" in sys.argv:
        rows = [{"name": it.name, "per_second": round(it.per_second), "decisions": it.decisions} for it in figures]
        sys.stdout.write(json.dumps({"rules": rules, "wanted": WANTED, "figures": rows}, indent=2) + "\n")
    else:
        sys.stdout.write(f"{rules} rules, {len(covenant.participants)} participants, one core\n")
        for it in figures:
            sys.stdout.write(f"  {it.name:<40} {it.per_second:>12,.0f} per second ({it.decisions} combinations)\n")
    return 0 if all(it.per_second >= WANTED for it in figures if not it.name.startswith("first")) else 3


if __name__ == "__main__":
    raise SystemExit(main())
