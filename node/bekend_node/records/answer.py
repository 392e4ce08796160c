"""From reply, export and periods to a letter: the whole of `bekend inzage answer`, off line (protocol section 8)."""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from bekend_policy.deferring import Deferral
from bekend_policy.load import load_covenant
from bekend_policy.manifest import open_manifest
from bekend_policy.model import Covenant
from bekend_policy.officer_key import OfficerKey
from bekend_policy.retention import shortest_term, years_before
from bekend_policy.sign import verify_covenant
from bekend_proto.clock import day_of, milliseconds, month_start
from bekend_proto.errors import KeysError, ProofError

from bekend_node.records.findings import Covenants, Findings, assemble
from bekend_node.records.letter import Facts
from bekend_node.records.opening import Part, open_all
from bekend_node.records.own import own_answers
from bekend_node.records.periods import Registration
from bekend_node.records.reply import finish
from bekend_node.records.request import Asked, open_secret
from bekend_node.store_export import Export, Progress

_MARGIN: Final = timedelta(days=1)
"""Retention runs by the hour: what is a day short of its term must still be there."""


@dataclass(frozen=True)
class Given:
    """What the privacy officer brings: keys (the present one first), files, and what the own system says."""

    keys: Sequence[OfficerKey]
    secret: bytes
    reply: bytes
    export: Path
    covenants: Sequence[Path]
    anchor: str
    registration: Registration | None = None
    workers: int = 0


@dataclass(frozen=True)
class Opened:
    """What was opened, and what the export says besides. `since`: the first day of the oldest month in the reply."""

    covenants: Covenants
    asked: Asked
    part: Part
    deferrals: Sequence[Deferral]
    desk: str | None
    since: date


def answer(given: Given, now: datetime, progress: Callable[[str], Progress]) -> tuple[Facts, Findings]:
    """What the letter says.

    `progress` gives, for a stage (`vragen`, `eigen`), a function that shows how far it is. Raises CovenantFaults,
    KeysError, MalformedError, SignatureError, ProofError, and RefusedError when a deferral must be looked at first.
    """
    opened = open_records(given, now, progress("vragen"))
    covenants, asked, part = opened.covenants, opened.asked, opened.part
    own, faults = own_answers(
        given.export, [key.opening for key in given.keys], asked.identifier, progress("eigen"), given.workers
    )
    today = day_of(now)
    findings = assemble(
        asked.oin,
        covenants,
        part.matches,
        own,
        registration=given.registration,
        deferrals=opened.deferrals,
        faults=(*part.faults, *faults),
        today=today,
    )
    facts = Facts(
        organisation=covenants.now.participants[asked.oin],
        desk=opened.desk,
        asked_on=day_of(asked.made),
        written_on=today,
        since=opened.since,
        registration_given=given.registration is not None,
    )
    return facts, findings


def open_records(given: Given, now: datetime, progress: Progress) -> Opened:
    """What others asked about the person of a request: every sealed record of the export, opened and compared.

    Raises as `answer`.
    """
    covenants = _covenants(given, now)
    covenant = covenants.now
    asked = _open_asked(given)
    with Export.open(given.export) as export:
        _check_owner(export, asked.oin, covenant)
        broker = open_manifest(export.meta("broker_manifest"), covenant.operator_key, now)
        own_manifest = open_manifest(export.meta("manifest"), covenant.participants[asked.oin].signer, now)
        deferrals = export.deferrals()
    values = finish(asked, given.reply, broker.record_keys)
    openers = [key.opening for key in given.keys]
    part = open_all(
        given.export,
        openers,
        values,
        asked.oin,
        kept_since=milliseconds(years_before(now, shortest_term(covenant)) + _MARGIN),
        progress=progress,
        workers=given.workers,
    )
    _check_months(part, broker.record_keys.keys())
    return Opened(covenants, asked, part, deferrals, own_manifest.desk, month_start(min(values)).date())


def _open_asked(given: Given) -> Asked:
    """The request, with the key that it was made with: the present one, or one from before."""
    first: KeysError | None = None
    for key in given.keys:
        try:
            return open_secret(given.secret, key)
        except KeysError as fault:
            first = first or fault
    raise first or KeysError("geef een sleutel met --sleutel")


def _covenants(given: Given, now: datetime) -> Covenants:
    """The version that serves now, its signatures verified; beside it older ones, which questions name by hash."""
    now_serving = verify_covenant(load_covenant(given.covenants[0]), given.anchor, now)
    return Covenants([now_serving, *(load_covenant(folder) for folder in given.covenants[1:])])


def _check_owner(export: Export, oin: str, covenant: Covenant) -> None:
    if export.meta("oin").decode("ascii", "replace") != oin:
        raise KeysError("de export is van een andere organisatie dan het verzoek: neem de export van uw eigen node")
    if oin not in covenant.participants:
        raise KeysError("uw organisatie staat niet in dit convenant: controleer --convenant")


def _check_months(part: Part, known: Collection[str]) -> None:
    """A month that the broker still has but left out would make a letter that is not whole."""
    left_out = sorted(month for month in part.lacking if month in known)
    if left_out:
        raise ProofError(
            f"in het antwoord ontbreekt {', '.join(left_out)}: de brief zou niet volledig zijn. Maak een nieuw verzoek"
        )
