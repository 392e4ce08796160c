"""Step 6 of a lookup (protocol section 7): each Question is checked by itself, logged, and only then evaluated.

The functions here are pure or take a connection; `lookup.py` runs them in their order.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final

from bekend_policy.decided import Judged
from bekend_policy.model import Covenant
from bekend_proto import log_table
from bekend_proto.decision_table import append_decision, replace_decision
from bekend_proto.dleq import prove
from bekend_proto.errors import BekendError, BudgetError, MalformedError, RatioError, RecordError, StaleError
from bekend_proto.group import decode_scalar, multiply
from bekend_proto.log_table import Entry
from bekend_proto.oprf import KeyPair
from bekend_proto.records import RECORD_LENGTH, seal_hash
from bekend_proto.shape import MAX_ASKED, MAX_SOURCES
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import EvaluatedQuestion, RoutedQuestion
from bekend_proto.v1.signed_pb2 import (
    KIND_CLASS_CERTAIN,
    KIND_CLASS_UNSPECIFIED,
    KindClass,
    PromisedEntry,
    Question,
)
from google.protobuf.message import DecodeError

from bekend_broker import decisions, log, quotas
from bekend_broker.admission import decided, open_from
from bekend_broker.begins import Opened, asked_of
from bekend_broker.directory import Directory
from bekend_broker.store import first_time
from bekend_broker.store_questions import OpenQuestion, keep_open_question

AFTER_TERM: Final = timedelta(hours=1)
"""How long after the end of its term a question's last collects may come."""

SPARE_COLLECTS: Final = 2
"""Beside those at the fixed moments: the first and last moments lie where they fall."""


@dataclass(frozen=True, slots=True)
class Checked:
    """A Question that may be logged and evaluated."""

    question_id: bytes
    source: str
    question: Question
    routed: RoutedQuestion = field(repr=False)
    key: KeyPair
    rule: str
    """The covenant's rule that allows it."""
    open: OpenQuestion | None = None
    """What is kept of it when a colleague at the source may decide."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A Question that gets no answer from here, and why. What it said is empty when it could not be believed."""

    question_id: bytes
    source: str
    fault: BekendError


Verdict = Checked | Refused


@dataclass(slots=True)
class Bundle:
    """The questions of one lookup, as one Ask after another brings them: what holds for all of them together."""

    opened: Opened
    since: datetime
    """The moment of its record."""
    names: set[bytes] = field(default_factory=set)
    sources: "dict[str, KindClass.ValueType]" = field(default_factory=dict)
    """Who was asked; with the class, where the question passed."""
    kind_class: "KindClass.ValueType" = KIND_CLASS_UNSPECIFIED
    """The one class, as far as any question could be believed."""
    judged: tuple[Judged, ...] = ()
    """What was decided and is on the record."""


def check_ask(
    directory: Directory, caller: str, bundle: Bundle, questions: Sequence[RoutedQuestion], now: datetime
) -> Iterator[Verdict]:
    """(6): a verdict on each question of an Ask, in order, worked out as it is taken. `bundle`: those before, and it.

    Raises MalformedError when questions cannot be told apart: too many, an id unreadable or twice.
    """
    opened, names = bundle.opened, [_name(routed) for routed in questions]
    total = len(bundle.names) + len(names)
    if total > MAX_SOURCES:
        raise MalformedError(f"a lookup holds at most {MAX_SOURCES} questions")
    if total * opened.persons > MAX_ASKED:
        raise MalformedError(f"a lookup is about at most {MAX_ASKED} persons, each counted once per source")
    bundle.names.update(names)
    if len(bundle.names) != total:
        raise MalformedError("two questions of one lookup have the same id")
    sources = bundle.sources
    for name, routed in zip(names, questions, strict=True):
        source = ""
        try:
            question = open_from(directory, caller, Question, routed.question, now)
            source = question.source
            bundle.kind_class = bundle.kind_class or question.kind_class
            _check_alike(question, sources)
            sources[source] = KIND_CLASS_UNSPECIFIED
            asked = replace(asked_of(opened.begin, source, question.kind_class), sources=total)
            rule = decided(directory.present, asked, now).rule
            key = _check(directory, opened, question, routed, now)
            late = _open(directory.present.under(question.covenant_hash), question)
        except BekendError as fault:
            yield Refused(name, source, fault)
        else:
            sources[source] = question.kind_class
            yield Checked(name, source, question, routed, key, rule, late)


@dataclass(frozen=True, slots=True)
class Admitted:
    """What came of an Ask: a verdict per question that was not refused before, and where those admitted are logged."""

    verdicts: list[Verdict]
    promised: list[PromisedEntry]
    judged: tuple[Judged, ...]
    """What is on the record of the lookup now."""


def admit(
    connection: Connection,
    bundle: Bundle,
    asked: Sequence[Verdict],
    *,
    more: bool,
    covenant: Covenant,
    now: datetime,
) -> Admitted:
    """(6): replay, the canary's budget, the log, and what was decided, for all questions of an Ask in one transaction.

    `asked`: the verdict on each so far; `more`: whether another Ask follows. What is refused is not logged.
    """
    opened, alone = bundle.opened, len(bundle.names) == 1 and not more
    checked = [one for one in asked if isinstance(one, Checked)]
    verdicts, promised = _log(connection, opened, checked, alone=alone, now=now)
    passed = {one.question_id for one in verdicts if isinstance(one, Checked)}
    judged = [
        Judged(one.source, True, one.rule, one.question_id if one.question_id in passed else b"") for one in checked
    ]
    refused = [(one, decisions.rule_of(one.fault)) for one in asked if isinstance(one, Refused)]
    judged += [Judged(one.source, False, rule) for one, rule in refused if rule is not None]
    if judged:
        kind_class = bundle.kind_class or KIND_CLASS_CERTAIN
        found = decisions.of_begin(covenant, opened.begin, [*bundle.judged, *judged], bundle.since, kind_class)
        keep = replace_decision if bundle.judged else append_decision
        keep(connection, found.row())
    return Admitted(verdicts, promised, (*bundle.judged, *judged))


def _log(
    connection: Connection, opened: Opened, checked: Sequence[Checked], *, alone: bool, now: datetime
) -> tuple[list[Verdict], list[PromisedEntry]]:
    """(6): replay, the canary's budget, the log and what stays open. `alone`: whether the lookup is one question."""
    begin = opened.begin
    verdicts: list[Verdict] = []
    entries: list[Entry] = []
    for one in checked:
        own = one.source == begin.requester
        try:
            if not first_time(connection, b"q", one.question_id, now):
                raise StaleError("this question id was seen before")
            if own and not opened.canary_only:
                quotas.charge_canary(connection, opened.asker, opened.persons)
                if alone:
                    quotas.return_begin(connection, opened.asker, opened.persons)
        except (StaleError, BudgetError) as fault:
            verdicts.append(Refused(one.question_id, one.source, fault))
            continue
        question = one.routed.question
        entries.append(log.entry(log.QUESTION, question, now, requester=begin.requester, source=one.source))
        if one.open is not None:
            keep_open_question(connection, one.question_id, one.open)
        verdicts.append(one)
    first = log_table.append(connection, entries)
    promised = [
        PromisedEntry(question_hash=entry.hash, source=entry.source, index=index)
        for index, entry in enumerate(entries, first)
    ]
    return verdicts, promised


def evaluate(one: Checked) -> EvaluatedQuestion:
    """(6): b[i,p,e] * A_ij for each person and one proof over them. The ratios stay here."""
    elements = list(one.question.elements)
    evaluated = [multiply(one.key.secret, element) for element in elements]
    return EvaluatedQuestion(
        question=one.routed.question,
        sealed_records=one.routed.sealed_records,
        evaluated=evaluated,
        proof=prove(one.key.secret, one.key.public, elements, evaluated),
    )


def _name(routed: RoutedQuestion) -> bytes:
    """The id under which a question is answered or refused, before anything of it is believed."""
    try:
        name = Question.FromString(routed.question.payload).question_id
    except DecodeError:
        name = b""
    if len(name) != 16:
        raise MalformedError("a question without an id of 16 octets")
    return name


def _check(directory: Directory, opened: Opened, question: Question, routed: RoutedQuestion, now: datetime) -> KeyPair:
    begin = opened.begin
    present = directory.present
    if _facts(question) != _facts(begin) or len(question.elements) != opened.persons:
        raise RatioError("the question is not one of its Begin: purpose, principal, covenant, month or persons differ")
    if opened.canary_only and question.source != begin.requester:
        raise BudgetError("this Begin was admitted for a question to its own canary only")
    directory.check_number(present.manifest.oin, question.broker_manifest)
    directory.check_number(question.source, question.source_manifest)
    key = present.keys.for_questions(question.source, question.purpose, question.epoch, now)
    _check_records(question, routed)
    _check_ratios(opened, question, routed)
    return key


def _check_alike(question: Question, sources: "Mapping[str, KindClass.ValueType]") -> None:
    """Held against those before it: a source is asked once about the persons of a Begin, and all by one class.

    `sources`: who was asked; with the class, where the question passed.
    """
    if question.source in sources:
        raise RatioError("each source is asked about each person of a Begin once")
    if not {KIND_CLASS_UNSPECIFIED, question.kind_class}.issuperset(sources.values()):
        raise RatioError("the questions of one Begin are all by a number, or all by a combination")


def _open(covenant: Covenant, question: Question) -> OpenQuestion | None:
    """What is kept of a question that a colleague may decide about; None where the source answers by machine only."""
    term = covenant.sources(question.purpose)[question.source].term_of(question.kind_class)
    if term is None:
        return None
    open_for = term + AFTER_TERM
    return OpenQuestion(
        requester=question.requester,
        source=question.source,
        purpose=question.purpose,
        principal=question.on_behalf_of,
        persons=len(question.elements),
        until=question.time + open_for // timedelta(milliseconds=1),
        collects=open_for // covenant.collect_interval + SPARE_COLLECTS,
    )


def _facts(message: Question | object) -> tuple[object, ...]:
    names = ("protocol_version", "on_behalf_of", "purpose", "covenant_hash", "record_month")
    return tuple(getattr(message, name) for name in names)


def _check_records(question: Question, routed: RoutedQuestion) -> None:
    """Every E_ij is there, with its exact length and the hash that the signed Question names."""
    if len(routed.sealed_records) != len(question.elements) or len(question.seal_hashes) != len(question.elements):
        raise RecordError("a question carries one sealed record per person")
    for sealed, named in zip(routed.sealed_records, question.seal_hashes, strict=True):
        if len(sealed) != RECORD_LENGTH or seal_hash(sealed) != named:
            raise RecordError("a sealed record has another length or hash than its question names")


def _check_ratios(opened: Opened, question: Question, routed: RoutedQuestion) -> None:
    """s_ij * A0_j == A_ij: the persons of the Begin, each in its own place, and nobody else.

    A sum of persons is no multiple of one element that its sender knows (protocol section 12, item 19). What comes out
    of `multiply` is an element, so A_ij is decoded with it.
    """
    if len(routed.ratios) != len(question.elements):
        raise RatioError("a question carries one ratio per person")
    for ratio, first, element in zip(routed.ratios, opened.begin.elements, question.elements, strict=True):
        if multiply(decode_scalar(ratio), first) != element:
            raise RatioError("an element of the question is not about its person of Begin")
