"""The own records of lookups, opened: what the own officers asked about a person, and what came (section 8).

A lookup's seed gives again every octet that left: `A0` for the broker, `A_i` and `E_i` for each source (must-list 22).
"""

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from bekend_proto import dleq
from bekend_proto.channel import parse_strict
from bekend_proto.clock import milliseconds
from bekend_proto.errors import BekendError, MalformedError, ProofError
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.exceptions import CryptoError
from nacl.public import PrivateKey, SealedBox

from bekend_node.ask import blinds
from bekend_node.ask.own_record import KIND_LAPSED, KIND_LATE, KIND_LOOKUP, KIND_OUTCOMES, committed_officers
from bekend_node.classes import CERTAIN, KindClass, wire_class
from bekend_node.records.opening import Breach, Fault, spread
from bekend_node.store_export import Export, ExportedRecord, Progress


@dataclass(frozen=True)
class OwnLookup:
    """One lookup as its own record keeps it. `time` in milliseconds. Shows no identifier, seed or salt."""

    begin_id: bytes
    time: int
    officer: str = field(repr=False)
    role: str
    case: str | None
    purpose: str
    on_behalf_of: str | None
    covenant_hash: bytes
    identifiers: tuple[Identifier, ...] = field(repr=False)
    seed: bytes = field(repr=False)
    begin: signed_pb2.Begin
    signed: signed_pb2.Signed
    """Begin as it was sent."""
    begun: broker_pb2.Begun
    questions: Mapping[str, tuple[bytes, str]]
    """Source -> question id, and hash of the Question in hex."""
    salts: Mapping[str, bytes] = field(repr=False)
    """Source -> salt of the commitment to case and officer."""
    second: str | None = field(default=None, repr=False)
    """Who agreed before it was asked, where somebody had to."""

    @property
    def committed(self) -> str:
        """Who stands in the commitments."""
        return committed_officers(self.officer, self.second)


@dataclass(frozen=True)
class OwnAnswers:
    """A lookup in which this person was asked about: at which place, and what each source answered.

    `outcomes`: source -> outcome as the record spells it; None when none was recorded.
    """

    lookup_time: int
    role: str
    case: str | None
    purpose: str
    on_behalf_of: str | None
    covenant_hash: bytes
    hashes: tuple[str, ...]
    outcomes: Mapping[str, str | None]
    kind_class: KindClass = CERTAIN


@dataclass(frozen=True)
class Reproduced:
    """What a seed gives again."""

    begin_elements: tuple[bytes, ...]
    u_values: tuple[bytes, ...] = field(repr=False)
    elements: Mapping[str, tuple[bytes, ...]]
    sealed: Mapping[str, tuple[bytes, ...]]


def own_answers(
    path: Path, keys: Sequence[PrivateKey], person: Identifier, progress: Progress, workers: int = 0
) -> tuple[list[OwnAnswers], list[Fault]]:
    """Every lookup of the own organisation about a person, and own records that do not open or do not fit."""
    with Export.open(path) as export:
        total = export.own_records()
    found: list[OwnAnswers] = []
    faults: list[Fault] = []
    secrets = tuple(bytes(key) for key in keys)
    for some, wrong in spread(total, workers, progress, own_part, path, secrets, person.canonical):
        found += some
        faults += wrong
    return sorted(found, key=lambda one: one.lookup_time), faults


def own_part(
    path: Path, keys: tuple[bytes, ...], canonical: bytes, first: int, last: int
) -> tuple[list[OwnAnswers], list[Fault]]:
    """Those among the own records numbered from `first` to `last`."""
    boxes = [SealedBox(PrivateKey(key)) for key in keys]
    found: list[OwnAnswers] = []
    faults: list[Fault] = []
    with Export.open(path) as export:
        for record in export.read_own(KIND_LOOKUP, first, last):
            try:
                lookup = open_lookup(record, boxes)
                places = [j for j, one in enumerate(lookup.identifiers) if one.canonical == canonical]
                if places:
                    reproduce(lookup, {})
                    found.append(_answers(lookup, places[0], export, boxes))
            except MalformedError:
                faults.append(Fault(Breach.DOES_NOT_OPEN, record.id.hex(), time=record.at))
            except BekendError:
                faults.append(Fault(Breach.NOT_REPRODUCED, record.id.hex(), time=record.at))
    return found, faults


def open_lookup(record: ExportedRecord, boxes: Sequence["SealedBox[PrivateKey]"]) -> OwnLookup:
    """A lookup's own record. Raises MalformedError when no key opens it, or it is none."""
    return parse_lookup(content_of(record, boxes, KIND_LOOKUP))


def parse_lookup(content: Mapping[str, Any]) -> OwnLookup:
    """What the own record of a lookup says. Raises MalformedError, which quotes nothing of it."""
    try:
        signed = parse_strict(signed_pb2.Signed, _octets(content["begin"]))
        return OwnLookup(
            begin_id=bytes.fromhex(content["begin_id"]),
            time=milliseconds(datetime.fromisoformat(content["time"])),
            officer=content["officer"],
            role=content["role"],
            case=content["case"],
            purpose=content["purpose"],
            on_behalf_of=content["on_behalf_of"],
            covenant_hash=bytes.fromhex(content["covenant_hash"]),
            identifiers=tuple(parse_identifier(one["kind"], one["value"]) for one in content["identifiers"]),
            seed=bytes.fromhex(content["seed"]),
            begin=parse_strict(signed_pb2.Begin, signed.payload),
            signed=signed,
            begun=parse_strict(broker_pb2.Begun, _octets(content["begun"])),
            questions={
                one["source"]: (bytes.fromhex(one["question_id"]), one["question_hash"]) for one in content["questions"]
            },
            salts={one["source"]: bytes.fromhex(one["case_salt"]) for one in content["questions"]},
            second=content.get("second"),
        )
    except (KeyError, TypeError, ValueError, InvalidIdentifier):
        raise MalformedError("an own record that is not built as they are") from None


def reproduce(lookup: OwnLookup, officers: Mapping[str, bytes], record_key: bytes | None = None) -> Reproduced:
    """Make every octet of a lookup again from its seed (must-list 22).

    `officers`: source -> X25519 key of its privacy officer at the time, for the sources whose records are wanted.
    `record_key`: `u * G` of the month, under which the broker's proof is then verified too. Raises ProofError when the
    Begin that was sent does not follow from the seed, or the proof does not hold.
    """
    secret = blinds.derive(lookup.seed, lookup.identifiers, lookup.questions)
    if list(lookup.begin.elements) != list(secret.begin_elements):
        raise ProofError("the Begin of this lookup does not follow from its seed")
    if len(lookup.begun.evaluated) != len(secret.begin_elements):
        raise ProofError("the reply to Begin is about another number of persons")
    if record_key is not None:
        dleq.verify(record_key, secret.begin_elements, list(lookup.begun.evaluated), lookup.begun.proof)
    values = secret.finalize(list(lookup.begun.evaluated))
    return Reproduced(
        begin_elements=secret.begin_elements,
        u_values=values,
        elements={source: secret.source(source).elements for source in lookup.questions},
        sealed={
            source: tuple(
                secret.sealed_records(
                    values,
                    requester=lookup.begin.requester,
                    source=source,
                    purpose=lookup.purpose,
                    question_id=lookup.questions[source][0],
                    privacy_officer=officer,
                )
            )
            for source, officer in officers.items()
        },
    )


def _answers(lookup: OwnLookup, person: int, export: Export, boxes: Sequence["SealedBox[PrivateKey]"]) -> OwnAnswers:
    told: dict[str, str | None] = dict.fromkeys(lookup.questions)
    record = export.own_record(lookup.begin_id, KIND_OUTCOMES)
    try:
        if record is not None:
            told |= {
                str(one["source"]): str(one["outcome"]).strip()
                for one in content_of(record, boxes, KIND_OUTCOMES)["outcomes"]
                if one["person"] == person and one["source"] in told
            }
        # What a colleague at the source decided came later, per Question; of a case that lapsed, what came before that.
        for source, (question_id, _) in lookup.questions.items():
            for kind in (KIND_LATE, KIND_LAPSED):
                late = export.own_record(question_id, kind)
                lines = content_of(late, boxes, kind)["outcomes"] if late is not None else ()
                for one in lines:
                    if one["person"] == person:
                        told[source] = str(one["outcome"]).strip()
    except (KeyError, TypeError):
        raise MalformedError("a record of outcomes that is not built as they are") from None
    return OwnAnswers(
        lookup_time=lookup.time,
        role=lookup.role,
        case=lookup.case,
        purpose=lookup.purpose,
        on_behalf_of=lookup.on_behalf_of,
        covenant_hash=lookup.covenant_hash,
        hashes=tuple(hash_ for _, hash_ in lookup.questions.values()),
        outcomes=told,
        kind_class=wire_class(lookup.identifiers[person].kind),
    )


def content_of(record: ExportedRecord, boxes: Sequence["SealedBox[PrivateKey]"], kind: str) -> dict[str, Any]:
    """The content of an own record of this kind. Raises MalformedError when no key opens it, or it is another."""
    for box in boxes:
        try:
            content = json.loads(box.decrypt(record.sealed))
        except (CryptoError, ValueError):
            continue
        if isinstance(content, dict) and content.get("kind") == f"bekend/1 {kind}":
            return content
    raise MalformedError("an own record that no key opens")


def _octets(text: str) -> bytes:
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise MalformedError("not base64") from None
