"""Whether one export holds, under the keys that were given and nothing else.

1  one signature, of the log's own key, over every octet; every line in its one form
2  entries numbered without gaps, the period's borders shown
3  the root over all entries is that of the checkpoint, which the log's key signed
4  the checkpoints of the period, and their cosignatures, are of the same tree
5  no entry twice, none dated before an earlier one
6  what the owner saw of others, and what it was promised, is signed by those
7  each record is the Question that the log names, with its own sealed records (must-list 15)
"""

from collections.abc import Container, Iterator
from dataclasses import dataclass
from typing import Final

from bekend_proto.channel import LABEL_PROMISE, LABEL_QUESTION, open_signed, parse_strict, question_hash
from bekend_proto.checkpoint import cosigned_at, log_id, open_checkpoint
from bekend_proto.errors import BekendError, MalformedError, SignatureError
from bekend_proto.ledger.exported import Export, Record, checkpoint_of, read_export
from bekend_proto.ledger.findings import Finding, Kind
from bekend_proto.ledger.keys import Keys
from bekend_proto.note import open_note, parse_note, vkey_of
from bekend_proto.records import RECORD_LENGTH, seal_hash
from bekend_proto.v1.signed_pb2 import InclusionPromise, Question, Signed

SKEW: Final = 120_000
"""Milliseconds by which clocks and queues may disagree: twice the freshness of a message."""


@dataclass(frozen=True)
class Verified:
    """An export, and all that is wrong with it. `witnesses`: OINs whose cosignatures hold."""

    name: str
    export: Export | None
    findings: tuple[Finding, ...]
    witnesses: frozenset[str] = frozenset()


def verify(name: str, octets: bytes, keys: Keys) -> Verified:
    """Look at one file. Never raises for what stands in it. `name` is shown where the log's own name cannot be read."""
    try:
        export = read_export(octets)
    except BekendError as fault:
        return Verified(name, None, (Finding(Kind.UNREADABLE, name, "", fault.detail),))
    try:
        _check_signature(octets, export, keys)
    except BekendError as fault:
        return Verified(name, None, (Finding(Kind.SIGNATURE, export.log, "", fault.detail),))
    findings, witnesses = _check_tree(export, keys)
    findings += [*_borders(export), *_order(export), *_others(export, keys)]
    answered = {(e.hash, e.requester, e.source) for _, e in export.shown if e.kind == "answered"}
    findings += [finding for record in export.records for finding in _record(export, record, answered, keys)]
    return Verified(name, export, tuple(dict.fromkeys(findings)), witnesses)


def promise_of(signed: Signed, keys: Keys) -> InclusionPromise:
    """A promise, signed by the log that it names. Raises MalformedError or SignatureError."""
    named = parse_strict(InclusionPromise, signed.payload).log_id
    for origin, publics in keys.logs.items():
        if log_id(origin) == named:
            return open_signed(InclusionPromise, signed, LABEL_PROMISE, publics)
    raise SignatureError("it is of a log of which no key was given")


def _check_signature(octets: bytes, export: Export, keys: Keys) -> None:
    for public in keys.of_log(export.log):
        try:
            open_note(octets, vkey_of(export.log, public))
        except SignatureError:
            continue
        return
    raise SignatureError("the file was changed, or another key than those given signed it")


def _check_tree(export: Export, keys: Keys) -> tuple[list[Finding], frozenset[str]]:
    """3 and 4: every checkpoint of the own log against the entries."""
    findings: list[Finding] = []
    witnesses: set[str] = set()
    notes = [export.checkpoint, *export.held]
    try:
        heads = [open_checkpoint(note, keys.of_log(export.log)) for note in notes]
    except BekendError as fault:
        return [Finding(Kind.SIGNATURE, export.log, "", f"a checkpoint: {fault.detail}")], frozenset()
    try:
        roots = export.roots(head.size for head in heads)
    except BekendError as fault:
        return [Finding(Kind.ROOT, export.log, "", fault.detail)], frozenset()
    if heads[0].size != export.size:
        findings.append(Finding(Kind.ROOT, export.log, "", "the checkpoint is not over the size that is stated"))
    for head, note in zip(heads, notes, strict=True):
        if head.origin != export.log or roots.get(head.size) != head.root:
            kind = Kind.ROOT if note is export.checkpoint else Kind.REWRITTEN
            findings.append(Finding(kind, export.log, "", f"its checkpoint over {head.size} entries has another root"))
            continue
        parsed = parse_note(note)
        for oin, publics in keys.partners.items():
            if cosigned_at(parsed, oin, publics) is not None:
                witnesses.add(oin)
    return findings, frozenset(witnesses)


def _borders(export: Export) -> Iterator[Finding]:
    """2: one entry before the period, unless the log begins in it; one after, unless it ends in it."""
    entries = export.entries
    if export.first and not (entries and entries[0].at < export.since):
        yield Finding(Kind.GAP, export.log, "", "what came before the period is not shown: entries may be missing")
    if export.end < export.size and not (entries and entries[-1].at >= export.until):
        yield Finding(Kind.GAP, export.log, "", "what came after the period is not shown: entries may be missing")


def _order(export: Export) -> Iterator[Finding]:
    """5: an entry twice, or dated well before one that stands before it."""
    seen: set[tuple[str, bytes]] = set()
    latest = 0
    for index, entry in export.shown:
        name = entry.kind, entry.hash
        if name in seen:
            yield Finding(Kind.DUPLICATE, export.log, entry.hash.hex(), f"entry {index} stands there a second time")
        seen.add(name)
        if entry.at < latest - SKEW:
            late = (latest - entry.at) // 1000
            yield Finding(Kind.REORDERED, export.log, entry.hash.hex(), f"entry {index} is dated {late} s too early")
        latest = max(latest, entry.at)


def _others(export: Export, keys: Keys) -> Iterator[Finding]:
    """6: what others signed."""
    for note in export.seen:
        try:
            open_checkpoint(note, keys.of_log(checkpoint_of(note).origin))
        except BekendError as fault:
            yield Finding(Kind.SIGNATURE, export.log, "", f"a checkpoint that it saw: {fault.detail}")
    for signed in export.promises:
        try:
            promise = promise_of(signed, keys)
            if promise.requester != export.owner:
                raise MalformedError("it was made to another")
        except (BekendError, ValueError) as fault:
            yield Finding(Kind.SIGNATURE, export.log, "", f"a promise that it holds: {fault}")


def _record(
    export: Export, record: Record, answered: Container[tuple[bytes, str, str]], keys: Keys
) -> Iterator[Finding]:
    """7: the record is a Question that the log says was answered; its seals are those that the requester signed."""
    name = question_hash(record.question)
    try:
        claimed = parse_strict(Question, record.question.payload).requester
        question = open_signed(Question, record.question, LABEL_QUESTION, keys.partners.get(claimed, ()))
    except (BekendError, ValueError) as fault:
        yield Finding(Kind.RECORD, export.log, name.hex(), f"its Question does not hold: {fault}")
        return
    if (name, question.requester, question.source) not in answered:
        yield Finding(Kind.RECORD, export.log, name.hex(), "its Question is not in the log")
    hashes = [seal_hash(one) for one in record.sealed]
    if hashes != list(question.seal_hashes) or any(len(one) != RECORD_LENGTH for one in record.sealed):
        yield Finding(Kind.RECORD, export.log, name.hex(), "its sealed records are not those that the Question names")
