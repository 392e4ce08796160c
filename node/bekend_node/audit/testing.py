"""The auditor's side: what was drawn, made again octet for octet (protocol section 8; must-list 15 and 22).

For each lookup that is shown:

    1  Begin is signed by the requester and stands in the broker's log
    2  A0 follows from person and seed; u*A0 in Begun is proved under the month key of the broker's manifest: hence U

and for each Question of it that is drawn:

    3  the source keeps the signed Question with this hash, and the facts in it are those of the lookup
    4  A_i follows from person and seed
    5  E_i follows from person, seed and U: it has the hash in the Question, and is what the source keeps
    6  the commitment to case and officer opens with its salt

What is drawn and not shown, or shown and something else, is a breach. A Question that the source did not answer told
nobody anything: 1 and 2 alone are looked at.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from bekend_policy.audited import Audited
from bekend_policy.manifest import KeyManifest, open_manifest, parse_manifest
from bekend_policy.model import Covenant
from bekend_proto.channel import LABEL_BEGIN, begin_hash, case_commitment, parse_strict, question_hash, verify
from bekend_proto.clock import FRESHNESS, from_milliseconds
from bekend_proto.errors import BekendError, InternalError, KeysError, MalformedError, ProofError
from bekend_proto.ledger.exported import Export
from bekend_proto.ledger.sample import Selected
from bekend_proto.note import parse_note
from bekend_proto.records import seal_hash
from bekend_proto.v1 import signed_pb2

from bekend_node.audit.basis import Basis
from bekend_node.audit.opening import Opening, check_signature
from bekend_node.audit.showing import Case, cases_of
from bekend_node.records.own import OwnLookup, Reproduced, parse_lookup, reproduce
from bekend_node.store_export import Progress

EVERY: Final = 50
"""Lookups between two reports of progress."""


class Breach(StrEnum):
    """What is wrong with a Question that was drawn, in words for the auditor."""

    NOT_SHOWN = "niet geopend: er is geen eigen vastlegging van getoond"
    MALFORMED = "wat is getoond, is niet goed opgebouwd"
    BEGIN = "het begin dat is getoond, heeft de makelaar niet vastgelegd, of de vrager tekende het niet"
    NOT_REPRODUCED = "uit persoon en zaad volgt niet wat de makelaar kreeg, of zijn bewijs klopt niet"
    QUESTION = "de getekende vraag zegt iets anders dan wat is getoond"
    ELEMENTS = "uit persoon en zaad volgen andere elementen dan die van de vraag"
    RECORD = "de verzegelde aantekening bij de bron is een andere dan uit persoon en zaad volgt"
    CASE = "zaak en medewerker zijn niet die waarvoor is getekend"


class Untested(StrEnum):
    """Why a Question could not be looked at: what the auditor still has to ask for."""

    NO_EXPORT = "geef de export van de bron over deze periode"
    NO_RECORDS = "maak de export van de bron met --records"
    NO_MANIFEST = "geef het sleuteloverzicht van de bron van toen, met --overzicht"


@dataclass(frozen=True, order=True)
class Judged:
    """A Question that is drawn, and what is wrong with it or lacks."""

    question: str
    requester: str
    source: str
    what: Breach | Untested


@dataclass(frozen=True)
class Report:
    """What came of an audit of one requester."""

    audited: Audited
    breaches: tuple[Judged, ...]
    untested: tuple[Judged, ...]
    cases: tuple[Case, ...]


@dataclass
class Evidence:
    """What the logs and the sources hold."""

    begins: set[bytes]
    questions: Mapping[bytes, tuple[signed_pb2.Question, tuple[bytes, ...]]] = field(repr=False)
    answered: set[bytes]
    covered: set[str]
    """Sources whose export covers the period."""
    manifests: Mapping[str, Sequence[bytes]] = field(repr=False)
    """OIN -> its manifests, signed notes, not verified."""

    @classmethod
    def of(cls, basis: Basis, manifests: Sequence[bytes]) -> "Evidence":
        """From verified exports, and manifests of whoever brought them."""
        first, end = basis.days.span
        named: dict[str, list[bytes]] = {}
        for note in manifests:
            named.setdefault(parse_manifest(parse_note(note).text).oin, []).append(note)
        nodes = basis.nodes()
        return cls(
            begins={one.hash for export in basis.brokers() for _, one in export.shown if one.kind == "begin"},
            questions=dict(_records(nodes)),
            answered={one.hash for export in nodes for _, one in export.shown if one.kind == "answered"},
            covered={one.owner for one in nodes if one.since <= first and one.until >= end},
            manifests=named,
        )


class _StopError(Exception):
    """Ends the look at a lookup or a Question."""

    def __init__(self, what: Breach | Untested) -> None:
        super().__init__(what)
        self.what = what


def judge(
    opening: Opening, signed: tuple[bytes, bytes], basis: Basis, covenant: Covenant, now: datetime, *,
    manifests: Sequence[bytes] = (), progress: Progress = lambda *_: None,
) -> Report:  # fmt: skip
    """Look at everything that is drawn of one requester. `signed`: signature and octets of the opening.

    Raises KeysError, SignatureError, MalformedError when the opening is not one of this requester, period and draw.
    """
    requester = covenant.participants.get(opening.oin)
    if requester is None:
        raise KeysError(f"het convenant noemt geen deelnemer {opening.oin}: is dit het goede convenant?")
    own = open_manifest(opening.own_manifest, requester.signer, now)
    check_signature(*signed, own.privacy_officer_signing)
    _check_draw(opening, basis)
    broker = open_manifest(opening.broker_manifest, covenant.operator_key, now)
    evidence = Evidence.of(basis, [*opening.manifests, opening.own_manifest, *manifests])
    tester = _Tester(opening.oin, basis, evidence, covenant, broker)
    selected = {one.hash.hex(): one for one in basis.of(opening.oin)}
    judged: dict[str, Breach | Untested | None] = {}
    for number, content in enumerate(opening.lookups, 1):
        judged |= tester.look(content, selected)
        if number % EVERY == 0 or number == len(opening.lookups):
            progress(number, len(opening.lookups))
    told = {hash_: judged.get(hash_, Breach.NOT_SHOWN) for hash_ in selected}
    return _report(opening, basis, told, selected)


class _Tester:
    """Makes lookups again and holds them against the evidence."""

    def __init__(
        self, requester: str, basis: Basis, evidence: Evidence, covenant: Covenant, broker: KeyManifest
    ) -> None:
        self._requester = requester
        self._basis = basis
        self._evidence = evidence
        self._covenant = covenant
        self._record_keys = broker.record_keys
        self._opened: dict[bytes, KeyManifest | None] = {}

    def look(self, content: dict[str, Any], selected: Mapping[str, Selected]) -> dict[str, Breach | Untested | None]:
        """Of each Question of a lookup that is drawn, what is wrong with it; None when all is well."""
        hashes = [one for one in (it["question_hash"] for it in content["questions"]) if one in selected]
        try:
            lookup = parse_lookup(content)
            self._check_begin(lookup)
        except (MalformedError, InternalError, ValueError):
            return dict.fromkeys(hashes, Breach.MALFORMED)
        except _StopError as fault:
            return dict.fromkeys(hashes, fault.what)
        by_hash = {hash_: source for source, (_, hash_) in lookup.questions.items()}
        return {hash_: self._judge(lookup, by_hash[hash_], selected[hash_]) for hash_ in hashes if hash_ in by_hash}

    def _judge(self, lookup: OwnLookup, source: str, one: Selected) -> Breach | Untested | None:
        try:
            if source != one.source:
                raise _StopError(Breach.QUESTION)
            self._check_question(lookup, one)
        except _StopError as fault:
            return fault.what
        except (MalformedError, InternalError, ValueError):
            return Breach.MALFORMED
        return None

    def _check_begin(self, lookup: OwnLookup) -> None:
        """1 and 2."""
        try:
            verify(lookup.signed, LABEL_BEGIN, self._basis.keys.partners.get(self._requester, ()))
        except BekendError:
            raise _StopError(Breach.BEGIN) from None
        begin = lookup.begin
        if begin_hash(lookup.signed) not in self._evidence.begins or begin.requester != self._requester:
            raise _StopError(Breach.BEGIN)
        self._make(lookup, {})

    def _make(self, lookup: OwnLookup, officers: Mapping[str, bytes]) -> Reproduced:
        key = self._record_keys.get(lookup.begin.record_month)
        if key is None:
            raise KeysError(f"het sleuteloverzicht van de makelaar noemt geen sleutel voor {lookup.begin.record_month}")
        try:
            return reproduce(lookup, officers, key)
        except ProofError:
            raise _StopError(Breach.NOT_REPRODUCED) from None

    def _check_question(self, lookup: OwnLookup, one: Selected) -> None:
        """3 to 6."""
        if one.hash not in self._evidence.questions:
            self._check_unanswered(one)
            return
        question, kept = self._evidence.questions[one.hash]
        if not _is_of(question, lookup, one.source):
            raise _StopError(Breach.QUESTION)
        salt = lookup.salts[one.source]
        if len(salt) != 32 or question.case_commitment != case_commitment(salt, lookup.case or "", lookup.committed):
            raise _StopError(Breach.CASE)
        exact, candidates = self._officers(question)
        for officer in candidates:
            made = self._make(lookup, {one.source: officer})
            if list(question.elements) != list(made.elements[one.source]):
                raise _StopError(Breach.ELEMENTS)
            sealed = made.sealed[one.source]
            if sealed == kept and list(question.seal_hashes) == [seal_hash(record) for record in sealed]:
                return
        raise _StopError(Breach.RECORD if exact else Untested.NO_MANIFEST)

    def _check_unanswered(self, one: Selected) -> None:
        if one.hash in self._evidence.answered:
            raise _StopError(Untested.NO_RECORDS)
        if one.source not in self._evidence.covered:
            raise _StopError(Untested.NO_EXPORT)

    def _officers(self, question: signed_pb2.Question) -> tuple[bool, list[bytes]]:
        """Keys of the source's privacy officer: of the manifest that the Question names, else of others of its own."""
        at = from_milliseconds(question.time)
        opened = [self._open(note, question.source) for note in self._evidence.manifests.get(question.source, ())]
        found = [one for one in opened if one is not None and one.issued - FRESHNESS <= at < one.valid_until]
        exact = [one for one in found if one.number == question.source_manifest]
        return bool(exact), [one.privacy_officer for one in exact or found if one.privacy_officer is not None]

    def _open(self, note: bytes, oin: str) -> KeyManifest | None:
        """A manifest that its owner's ondertekenaar signed, whenever it was in force."""
        if note not in self._opened:
            try:
                issued = parse_manifest(parse_note(note).text).issued
                self._opened[note] = open_manifest(note, self._covenant.participants[oin].signer, issued)
            except (BekendError, KeyError):
                self._opened[note] = None
        return self._opened[note]


def _records(nodes: Sequence[Export]) -> Iterator[tuple[bytes, tuple[signed_pb2.Question, tuple[bytes, ...]]]]:
    """The Questions that sources keep, with their sealed records. `bekend log verify` looked at their signatures."""
    for export in nodes:
        for record in export.records:
            question = parse_strict(signed_pb2.Question, record.question.payload)
            if question.source == export.owner:
                yield question_hash(record.question), (question, record.sealed)


def _is_of(question: signed_pb2.Question, lookup: OwnLookup, source: str) -> bool:
    """Whether the facts that are no one's secret are the same in the signed Question, the Begin and the record."""
    begin = lookup.begin
    return (
        (question.requester, question.source, question.question_id)
        == (begin.requester, source, lookup.questions[source][0])
        and question.purpose == begin.purpose == lookup.purpose
        and question.on_behalf_of == begin.on_behalf_of == (lookup.on_behalf_of or "")
        and question.covenant_hash == begin.covenant_hash
        and question.record_month == begin.record_month
    )


def _check_draw(opening: Opening, basis: Basis) -> None:
    """An opening of another draw shows other Questions: the officer chose nothing, and neither does who brings it."""
    if (opening.first, opening.last) != (basis.days.first, basis.days.last):
        raise MalformedError(f"de opening gaat over {opening.first} tot en met {opening.last}: geef dezelfde dagen")
    if opening.draw != basis.draw_hash:
        raise MalformedError("de opening is bij een ander controlepunt gemaakt: vraag een nieuwe, bij dit controlepunt")


def _report(
    opening: Opening, basis: Basis, told: Mapping[str, Breach | Untested | None], selected: Mapping[str, Selected]
) -> Report:
    rows = [
        Judged(hash_, opening.oin, selected[hash_].source, what)
        for hash_, what in sorted(told.items())
        if what is not None
    ]
    breaches = tuple(one for one in rows if isinstance(one.what, Breach))
    untested = tuple(one for one in rows if isinstance(one.what, Untested))
    well = [selected[hash_] for hash_, what in told.items() if what is None]
    answered = {one.hash for one in well} & _held(basis)
    audited = Audited(
        by=opening.oin,
        first=opening.first,
        last=opening.last,
        draw=basis.draw_hash,
        absent=basis.absent,
        questions=basis.count[opening.oin],
        drawn=len(selected),
        tested=len(answered),
        unanswered=len(well) - len(answered),
        untested=len(untested),
        breaches=len(breaches),
    )
    return Report(audited, breaches, untested, tuple(cases_of(opening.lookups, dict(selected))))


def _held(basis: Basis) -> set[bytes]:
    return {question_hash(record.question) for export in basis.nodes() for record in export.records}
