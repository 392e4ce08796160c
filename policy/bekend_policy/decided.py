"""What a party decided about a bundle of questions: the facts that `decide` went by, and what came of them.

    one bundle    a lookup of one requester under one purpose about so many persons, at requester and broker
                  one Question or one order for a filter, at the source
    per source    allowed or not, under which rule, and the question id if a Question went out

It is kept as one row (`decision_table`), from which the logs of the standards are made (`decision_log`,
`processing_log`). It never holds an identifier, a text that an officer typed (case reference, justification, what a
condition's answer says), or an outcome: at the requester those stand sealed in its own record, under the same id.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from bekend_proto.decision_table import DecisionRow
from bekend_proto.v1 import signed_pb2

from bekend_policy.decide import JUSTIFICATION, Decision
from bekend_policy.terms import Purpose


class About(StrEnum):
    """What was asked for."""

    LOOKUP = "lookup"
    FILTER = "filter"


@dataclass(frozen=True, slots=True)
class Judged:
    """The decision about one source. `question_id` is empty when no Question went out, or none was received."""

    source: str
    allowed: bool
    rule: str
    question_id: bytes = b""


@dataclass(frozen=True, slots=True)
class Stated:
    """What only the requester knows, as far as it is kept in the clear.

    `attested`: ids of the conditions that the officer confirmed, without what was filled in. `chosen`: number of
    sources that the officer chose. `case`: a keyed hash of the case reference, under a key that this node alone has.
    `second`: the officer who agreed before it was asked; empty where nobody had to.
    """

    user: str
    role: str
    kind: str
    attested: tuple[str, ...]
    chosen: int
    case: str = ""
    second: str = ""


@dataclass(frozen=True, slots=True)
class Decided:
    """One bundle. `trace`: 16 octets; `at` in milliseconds; `covenant_hash`: the version that was gone by."""

    trace: bytes
    at: int
    about: About
    requester: str
    purpose: str
    on_behalf_of: str | None
    persons: int
    kind_class: "signed_pb2.KindClass.ValueType"
    covenant_hash: bytes
    judged: tuple[Judged, ...]
    stated: Stated | None = None

    def row(self) -> DecisionRow:
        """As it is kept."""
        facts: dict[str, Any] = {
            "about": self.about.value,
            "persons": self.persons,
            "class": self.kind_class,
            "covenant": self.covenant_hash.hex(),
            "sources": [[one.source, int(one.allowed), one.rule, one.question_id.hex()] for one in self.judged],
        }
        if self.on_behalf_of:
            facts["on_behalf_of"] = self.on_behalf_of
        if self.stated is not None:
            said = self.stated
            facts["stated"] = [said.user, said.role, said.kind, said.attested, said.chosen, said.case]
            if said.second:
                facts["stated"].append(said.second)
        refused = not any(one.allowed for one in self.judged)
        text = json.dumps(facts, ensure_ascii=False, separators=(",", ":"))
        return DecisionRow(self.at, self.trace, self.requester, self.purpose, refused, text)

    @classmethod
    def of(cls, row: DecisionRow) -> "Decided":
        """From a row that `row` made."""
        facts = json.loads(row.facts)
        said = facts.get("stated")
        return cls(
            trace=row.trace,
            at=row.at,
            about=About(facts["about"]),
            requester=row.requester,
            purpose=row.purpose,
            on_behalf_of=facts.get("on_behalf_of"),
            persons=facts["persons"],
            kind_class=facts["class"],
            covenant_hash=bytes.fromhex(facts["covenant"]),
            judged=tuple(Judged(it[0], bool(it[1]), it[2], bytes.fromhex(it[3])) for it in facts["sources"]),
            stated=None if said is None else Stated(said[0], said[1], said[2], tuple(said[3]), *said[4:]),
        )


def attested_ids(purpose: Purpose | None, attested: Iterable[str]) -> tuple[str, ...]:
    """The ids of attested conditions that the purpose knows, without what was filled in behind `=`.

    What an officer typed there may say something of the person.
    """
    known = {JUSTIFICATION, *(condition.id for condition in purpose.conditions)} if purpose else set()
    return tuple(sorted(known & {one.partition("=")[0] for one in attested}))


def judged(source: str, decision: Decision) -> Judged:
    """A decision about one source, for the record."""
    return Judged(source, decision.allowed, decision.rule)
