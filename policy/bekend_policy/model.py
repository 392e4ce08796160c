"""A covenant as the program uses it: who takes part, for which purposes, and who answers whom how.

`load.py` makes one from a folder; `sign.py` says who signed it; `decide.py` decides by it.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType

from bekend_proto.clock import day_end, day_start
from bekend_proto.note import Note
from bekend_proto.v1 import signed_pb2

from bekend_policy.terms import (
    Agreement,
    Condition,
    Frame,
    Ground,
    IdentifierKind,
    Kind,
    Limits,
    Mode,
    Participant,
    Purpose,
    SourceTerms,
)

__all__ = [
    "Agreement",
    "Condition",
    "Covenant",
    "Frame",
    "Ground",
    "Kind",
    "Limits",
    "Mode",
    "Participant",
    "Purpose",
    "Requester",
    "Source",
]


RULES = "afspraken.yaml#regels"
ROLE = "#rol"
KEYS = "#sleutels"
"""Lines of the manifest on parts of files (see `load.manifest_text`)."""


@dataclass(frozen=True, slots=True)
class Source:
    """How one participant answers for one purpose."""

    oin: str
    mode: Mode
    registers: tuple[str, ...]
    max_list_age: timedelta
    ground: tuple[Ground, ...]
    reason: str | None
    conditions: frozenset[str] = frozenset()
    """Ids of conditions that hold for this source only (`mits`)."""
    reply_term: timedelta | None = None
    """How long a colleague may take; None for `nooit` and `automatisch` only."""
    alternative: str | None = None
    only_for: frozenset[str] = frozenset()
    """Kinds and OINs that it answers; empty: every asker of the purpose."""
    certain: frozenset[IdentifierKind] = frozenset()
    """Kinds by which it may be asked that name one person."""
    possible: frozenset[IdentifierKind] = frozenset()
    """Combinations by which it may be asked."""
    possible_term: timedelta | None = None
    """How long a colleague may take over a question by a combination; None where there is none."""
    labels: frozenset[str] | None = None
    """What its system must say of a person before the person is read in; None: nothing (FG-39)."""

    @property
    def kinds(self) -> frozenset[IdentifierKind]:
        """Every kind of identifier by which it may be asked."""
        return self.certain | self.possible

    def kinds_of(self, kind_class: "signed_pb2.KindClass.ValueType") -> frozenset[IdentifierKind]:
        """The kinds of one class; none for a class that does not exist."""
        if kind_class == signed_pb2.KIND_CLASS_CERTAIN:
            return self.certain
        return self.possible if kind_class == signed_pb2.KIND_CLASS_POSSIBLE else frozenset()

    def mode_of(self, kind_class: "signed_pb2.KindClass.ValueType") -> Mode:
        """How it answers questions of this class: of a combination no machine decides whom it names."""
        if kind_class == signed_pb2.KIND_CLASS_POSSIBLE and self.mode.by_machine:
            return Mode.MANUAL
        return self.mode

    def term_of(self, kind_class: "signed_pb2.KindClass.ValueType") -> timedelta | None:
        """How long a colleague may take over a question of this class; None where no person ever decides."""
        return self.possible_term if kind_class == signed_pb2.KIND_CLASS_POSSIBLE else self.reply_term

    def answers(self, participant: Participant) -> bool:
        """Whether it answers this asker (or principal) at all."""
        return not self.only_for or bool(self.only_for & {participant.oin, participant.kind.value})


@dataclass(frozen=True, slots=True)
class Requester:
    """Who may ask for one purpose: for itself, in the name of others, or both."""

    oin: str
    roles: frozenset[str]
    on_behalf_of: frozenset[str]
    for_itself: bool


@dataclass(frozen=True, eq=False)
class Covenant:
    """One version of a covenant. Immutable: a new version or new signatures make a new object."""

    agreement: Agreement
    participants: Mapping[str, Participant]
    purposes: Mapping[str, Purpose]
    manifest: str
    """The text that is signed: one line per file (see `sign.py`)."""
    hash: bytes
    """SHA-256 of the manifest, 32 bytes: the covenant hash of the protocol."""
    notes: Mapping[str, Note | None] = field(default_factory=dict, repr=False)
    """File name in handtekeningen/ -> signed note, not yet verified; None for what is no note."""
    paths: Mapping[str, str] = field(default_factory=dict, repr=False)
    """OIN of a participant, or id of a purpose -> its file's path."""
    signed_by: frozenset[str] = frozenset()
    """OINs of the participants whose signature on this version was verified."""
    signed_before: Mapping[str, frozenset[str]] = field(default_factory=dict, repr=False)
    """OIN -> paths of the manifest that its verified signature on an earlier version covers as they are now."""

    @property
    def id(self) -> str:
        """The covenant's slug; purpose ids start with it."""
        return self.agreement.id

    @property
    def name(self) -> str:
        """The covenant's name for people."""
        return self.agreement.name

    @property
    def version(self) -> int:
        """Version number, from 1."""
        return self.agreement.version

    @cached_property
    def valid_from(self) -> datetime:
        """First moment (UTC) at which it holds."""
        return day_start(self.agreement.first_day)

    @cached_property
    def valid_until(self) -> datetime:
        """First moment (UTC) at which it holds no more."""
        return day_end(self.agreement.last_day)

    @property
    def operator_key(self) -> str:
        """Verification key of the operator's `beheerder`."""
        return self.agreement.operator.key

    @property
    def broker_oin(self) -> str:
        """OIN of the broker."""
        return self.agreement.operator.oin

    @property
    def demo(self) -> bool:
        """Whether this covenant is for trials: only then is the identifier kind `test` admitted."""
        return self.agreement.demo

    @property
    def totals(self) -> Limits:
        """Persons a day over all purposes together."""
        return self.agreement.totals

    @property
    def filter_interval(self) -> timedelta | None:
        """Time between two switches of a filter, where the covenant sets one."""
        return self.agreement.filter_interval

    @property
    def collect_interval(self) -> timedelta:
        """Time between two rounds in which a requester collects late answers: 15 minutes, but in a demo."""
        return self.agreement.collect_interval

    def covers(self, oin: str, purpose_id: str, parties: Iterable[str]) -> bool:
        """Whether this partner's signature stands for a purpose between these parties (itself among them).

        A signature on this version stands for everything; one on an earlier version for what did not change since:
        the general rules, the purpose's file, and who each of the parties is.
        """
        if oin in self.signed_by:
            return True
        lines = self.signed_before.get(oin)
        purpose = self.paths.get(purpose_id)
        if lines is None or purpose is None or {RULES, purpose} - lines:
            return False
        return all(f"{self.paths.get(party)}{ROLE}" in lines for party in parties)

    def sources(self, purpose_id: str) -> Mapping[str, Source]:
        """Every participant that the purpose names as a source, `nooit` included; empty for an unknown purpose."""
        return self._sources.get(purpose_id, {})

    def requesters(self, purpose_id: str) -> Mapping[str, Requester]:
        """Every participant that may ask for this purpose; empty for an unknown purpose."""
        return self._requesters.get(purpose_id, {})

    def served_by(self, oin: str) -> list[tuple[str, Source]]:
        """The purposes for which this participant is a source, but for `nooit`."""
        return [
            (purpose_id, sources[oin])
            for purpose_id, sources in self._sources.items()
            if oin in sources and sources[oin].mode is not Mode.NEVER
        ]

    def interval_of(self, purpose_id: str) -> timedelta | None:
        """The filter interval of a purpose: its own, else the covenant's, else None (the protocol's default)."""
        return self.purposes[purpose_id].filter_interval or self.filter_interval

    @cached_property
    def _sources(self) -> dict[str, Mapping[str, Source]]:
        return {
            purpose.id: MappingProxyType(dict(_resolve_sources(purpose, self.participants.values())))
            for purpose in self.purposes.values()
        }

    @cached_property
    def _requesters(self) -> dict[str, Mapping[str, Requester]]:
        return {
            purpose.id: MappingProxyType(dict(_resolve_requesters(purpose, self.participants.values())))
            for purpose in self.purposes.values()
        }


def _resolve_sources(purpose: Purpose, participants: Iterable[Participant]) -> Iterable[tuple[str, Source]]:
    for participant in participants:
        terms = purpose.source_terms.get(participant.oin) or purpose.source_terms.get(participant.kind)
        if terms is not None:
            yield participant.oin, source_of(participant.oin, purpose, terms)


def source_of(oin: str, purpose: Purpose, terms: SourceTerms) -> Source:
    """These terms of a purpose, for one participant."""
    kinds = frozenset() if terms.mode is Mode.NEVER else purpose.kinds_of(terms)
    agreed = purpose.possible
    certain = frozenset(kind for kind in kinds if not kind.possible)
    possible = kinds - certain if agreed is not None else frozenset()
    return Source(
        oin=oin,
        mode=terms.mode,
        registers=terms.registers,
        max_list_age=terms.max_list_age,
        ground=terms.grounds,
        reason=terms.reason,
        conditions=frozenset(terms.conditions),
        reply_term=terms.reply_term,
        alternative=terms.alternative,
        only_for=frozenset(map(str, terms.only_for)),
        certain=certain,
        possible=possible,
        possible_term=agreed.reply_term if possible and agreed is not None else None,
        labels=None if terms.labels is None else frozenset(terms.labels),
    )


def _resolve_requesters(purpose: Purpose, participants: Iterable[Participant]) -> Iterable[tuple[str, Requester]]:
    asker = purpose.asker
    for participant in participants:
        oin = participant.oin
        principals = frozenset(mandate.principal for mandate in asker.mandates if mandate.requester == oin)
        for_itself = bool({oin, participant.kind.value} & set(asker.organisations))
        if for_itself or principals:
            yield oin, Requester(oin, frozenset(asker.roles), principals, for_itself)
