"""`bekend policy test`: tables that privacy officers write, and what the covenant really decides.

A table (`toetsen/*.yaml`) names a purpose and cases: who asks, whom, under which conditions, and what must come out.
Tables are signed along with the covenant, so who signs also signs the examples.

    toets: "ZSM-contextcheck"
    doel: kennemerland/zsm-context
    standaard: {rol: officier, kenmerk: bsn, zaaknummer: "15/234567-26", voorwaarden: [verdachte, motivering]}
    gevallen:
      - {wie: [om], aan: [politie], verwacht: automatisch}
      - {wie: [om], aan: [ggz], verwacht: geweigerd, regel: nooit}

`wie` and `aan` are kinds of organisation or OINs; a kind means every participant of that kind, and all must come out
the same. A case says only what differs from `standaard`. What neither says, is not given: as at the source.
"""

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field, model_validator

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.faults import CovenantFaults, Fault
from bekend_policy.model import Covenant, Purpose
from bekend_policy.routes import as_if_signed, noon
from bekend_policy.scalars import Day, Oin, Slug, Text, Whole, is_oin, rule_fault
from bekend_policy.strict_yaml import Document, StrictModel, parse_yaml, validate
from bekend_policy.terms import CheckedBy, Party
from bekend_policy.wording import asker, count, party
from bekend_policy.words import IdentifierKind, class_of_kind

FOLDER = "toetsen"


class Expected(StrEnum):
    """What must come out: a mode, or a refusal."""

    AUTOMATIC = "automatisch"
    STANDING = "standaardbesluit"
    MANUAL = "handmatig"
    CONSENT = "toestemming"
    REFUSED = "geweigerd"


class Given(StrictModel):
    """What a question states beyond who asks whom. What is left out, is not given."""

    role: str | None = Field(default=None, alias="rol", max_length=48)
    kind: str | None = Field(default=None, alias="kenmerk", max_length=32)
    case_reference: str | None = Field(default=None, alias="zaaknummer", max_length=200)
    attested: tuple[Annotated[str, Field(max_length=120)], ...] | None = Field(default=None, alias="voorwaarden")
    justification: Text | None = Field(default=None, alias="motivering")
    reasons: tuple[Text, ...] = Field(default=(), alias="per_persoon")
    persons: Whole | None = Field(default=None, alias="personen")
    sources: Whole | None = Field(default=None, alias="bronnen")
    day: Day | None = Field(default=None, alias="op")


class Case(Given):
    """One line of a table."""

    who: tuple[Party, ...] = Field(alias="wie", min_length=1)
    on_behalf_of: Oin | None = Field(default=None, alias="namens")
    whom: tuple[Party, ...] = Field(alias="aan", min_length=1)
    without: tuple[Slug, ...] = Field(default=(), alias="zonder")
    """Conditions of `standaard` that are not stated here."""
    expected: Expected = Field(alias="verwacht")
    rule: str | None = Field(default=None, alias="regel", max_length=60)
    note: Text | None = Field(default=None, alias="toelichting")

    @model_validator(mode="after")
    def _rule_where_refused(self) -> "Case":
        if self.expected is Expected.REFUSED and self.rule is None:
            raise rule_fault("bij 'geweigerd' ontbreekt de regel", "Voeg 'regel:' toe, bijvoorbeeld nooit of D6.")
        return self


class Table(StrictModel):
    """One file in `toetsen/`."""

    title: Text = Field(alias="toets")
    purpose: str = Field(alias="doel", max_length=100)
    given: Given = Field(default=Given(), alias="standaard")
    cases: tuple[Case, ...] = Field(alias="gevallen", min_length=1)


@dataclass(frozen=True)
class Result:
    """One case, tried for one pair."""

    file: str
    line: int
    asked: Asked
    expected: str
    decision: Decision
    case: Case

    @property
    def good(self) -> bool:
        """Whether it came out as the table says."""
        if self.case.expected is Expected.REFUSED:
            return not self.decision.allowed and self.decision.rule == self.case.rule
        rule = self.case.rule in {None, self.decision.rule}
        return self.decision.allowed and self.decision.mode == self.case.expected.value and rule


@dataclass(frozen=True)
class Trial:
    """All results, and the rules of the covenant that the tables touch, and those that they do not."""

    results: tuple[Result, ...]
    covered: frozenset[str]
    rules: tuple[str, ...]

    @property
    def failures(self) -> tuple[Result, ...]:
        """What came out otherwise."""
        return tuple(it for it in self.results if not it.good)

    @property
    def missing(self) -> tuple[str, ...]:
        """Rules that no table touches."""
        return tuple(it for it in self.rules if it not in self.covered)


def read_tables(folder: Path, covenant: Covenant) -> list[tuple[Document, Table]]:
    """Every table in `toetsen/`, as it was when the covenant was read.

    Raises CovenantFaults with every fault: a table, a purpose that does not exist, a kind that nobody has.
    """
    tables: list[tuple[Document, Table]] = []
    faults: list[Fault] = []
    for path in sorted((folder / FOLDER).glob("*.yaml")):
        raw = path.read_bytes()
        name = f"{FOLDER}/{path.name}"
        document = parse_yaml(raw, language="nl", name=name)
        table = validate(document, Table)
        faults += document.faults
        if f"{hashlib.sha256(raw).hexdigest()}  {name}\n" not in covenant.manifest:
            faults.append(Fault(name, 0, "is tijdens het lezen gewijzigd", "Probeer het opnieuw."))
        if table is not None:
            faults += _table_faults(document, table, covenant)
            tables.append((document, table))
    if faults:
        raise CovenantFaults(sorted(set(faults)))
    return tables


def _table_faults(document: Document, table: Table, covenant: Covenant) -> Iterator[Fault]:
    if table.purpose not in covenant.purposes:
        yield Fault(
            document.file, document.line(("doel",)), f"doel '{table.purpose}' bestaat niet", "Verbeter de naam."
        )
    for index, case in enumerate(table.cases):
        for key, parties in (("wie", case.who), ("aan", case.whom)):
            for one in parties:
                if not _members(covenant, one):
                    line = document.line(("gevallen", index, key))
                    remedy = "Toets alleen wie deelneemt; of noem het OIN van een onbekende."
                    yield Fault(document.file, line, f"er is geen deelnemer van de soort '{one}'", remedy)


def _members(covenant: Covenant, value: str) -> list[str]:
    if is_oin(value):
        return [value]
    return [it.oin for it in covenant.participants.values() if it.kind == value]


def run_tables(covenant: Covenant, tables: Iterable[tuple[Document, Table]], today: date) -> Trial:
    """Decide every case, as if everybody had signed, on the case's own day or today."""
    signed = as_if_signed(covenant)
    results = [
        result
        for document, table in tables
        for index in range(len(table.cases))
        for result in _run(signed, document, table, index, today)
    ]
    covered = frozenset(rule for result in results if result.good for rule in _touched(signed, result))
    return Trial(tuple(results), covered, tuple(rules_of(covenant)))


def _run(covenant: Covenant, document: Document, table: Table, index: int, today: date) -> Iterator[Result]:
    case = table.cases[index]
    given = table.given.model_copy(update=case.model_dump(include=set(Given.model_fields), exclude_unset=True))
    attested = None if given.attested is None else frozenset(it for it in given.attested if _id(it) not in case.without)
    pairs = product(
        (oin for it in case.who for oin in _members(covenant, it)),
        (oin for it in case.whom for oin in _members(covenant, it)),
    )
    for requester, source in pairs:
        if requester == source and requester not in case.whom:
            continue  # a kind that asks its own kind: everybody but itself
        asked = Asked(
            requester=requester,
            source=source,
            purpose=table.purpose,
            on_behalf_of=case.on_behalf_of,
            persons=1 if given.persons is None else given.persons,
            kind_class=class_of_kind(given.kind or IdentifierKind.BSN),
            covenant_hash=covenant.hash,
            role=given.role,
            kind=given.kind,
            case_reference=given.case_reference,
            attested=attested,
            sources=given.sources,
            justification=given.justification,
            reasons=given.reasons,
        )
        decision = decide(covenant, asked, noon(given.day or today))
        expected = f"{case.expected}" + (f" ({case.rule})" if case.rule else "")
        yield Result(document.file, document.line(("gevallen", index)), asked, expected, decision, case)


def _id(statement: str) -> str:
    return statement.partition("=")[0]


# --- coverage --------------------------------------------------------------------------------------------------


def rules_of(covenant: Covenant) -> Iterator[str]:
    """Every rule of the covenant that a table can touch, each under one name. What nobody has a part in, is none."""
    for purpose in covenant.purposes.values():
        if purpose.in_service:
            own = (*_asker_rules(covenant, purpose), *_own_rules(covenant, purpose))
            yield from (f"{purpose.id}: {rule}" for rule in own)


def _asker_rules(covenant: Covenant, purpose: Purpose) -> Iterator[str]:
    asker_terms = purpose.asker
    yield from (f"vrager {it}" for it in asker_terms.organisations if _members(covenant, it))
    yield "een ander vraagt niet"
    yield from (f"rol {role}" for role in asker_terms.roles)
    yield "een andere rol vraagt niet"
    yield from (f"{it.requester} namens {it.principal}" for it in asker_terms.mandates)
    present = [(it, terms) for it, terms in purpose.source_terms.items() if _members(covenant, it)]
    yield from (f"bron {it} {terms.mode}" for it, terms in present)
    yield from (f"bron {it} niet met elk kenmerk" for it, terms in present if purpose.kinds_of(terms) != purpose.kinds)
    yield from (f"kenmerk {it}" for it in sorted(purpose.kinds - {IdentifierKind.TEST}))
    yield "een ander kenmerk vraagt niet"


def _own_rules(covenant: Covenant, purpose: Purpose) -> Iterator[str]:
    yield from (f"voorwaarde {it.id}" for it in purpose.conditions if it.checked_by is CheckedBy.REQUESTER)
    yield "zaaknummer"
    yield f"ten hoogste {purpose.max_persons} personen"
    ends_before = purpose.last_day is not None and purpose.last_day < covenant.agreement.last_day
    if purpose.own_reasons:
        yield "motivering-persoon"
    switches = {"motivering": purpose.justification, "afweging": purpose.weighing, "einddatum": ends_before}
    yield from (name for name, there in switches.items() if there)


def _touched(covenant: Covenant, result: Result) -> Iterator[str]:
    """The rules that this result shows to work."""
    asked, decision = result.asked, result.decision
    purpose = covenant.purposes[asked.purpose]
    if decision.allowed or decision.rule == "nooit":
        line = _line_of(covenant, purpose, asked.source)
        yield f"{purpose.id}: bron {line} {purpose.source_terms[line].mode}"
    if decision.allowed:
        yield from _askers(covenant, purpose, asked)
        yield f"{purpose.id}: kenmerk {asked.kind}"
        return
    narrowed = f"bron {_line_of(covenant, purpose, asked.source)} niet met elk kenmerk"
    yield f"{purpose.id}: " + {
        "identificatie": narrowed if asked.kind in purpose.kinds else "een ander kenmerk vraagt niet",
        "geen-vrager": "een ander vraagt niet",
        "rol": "een andere rol vraagt niet",
        "voorwaarde": "motivering" if decision.condition == "motivering" else f"voorwaarde {decision.condition}",
        "personen": f"ten hoogste {purpose.max_persons} personen",
    }.get(decision.rule, decision.rule)


def _line_of(covenant: Covenant, purpose: Purpose, source: str) -> str:
    """The line of `bronnen` that is about this source: its own, or that of its kind."""
    return source if source in purpose.source_terms else covenant.participants[source].kind.value


def _askers(covenant: Covenant, purpose: Purpose, asked: Asked) -> Iterator[str]:
    if asked.on_behalf_of:
        yield f"{purpose.id}: {asked.requester} namens {asked.on_behalf_of}"
    else:
        kind = covenant.participants[asked.requester].kind
        yield from (f"{purpose.id}: vrager {it}" for it in purpose.asker.organisations if it in {asked.requester, kind})
    if asked.role is not None:
        yield f"{purpose.id}: rol {asked.role}"


# --- for who reads ---------------------------------------------------------------------------------------------


def trial_lines(covenant: Covenant, found: Trial) -> Iterator[str]:
    """Failures, then coverage, as Dutch text."""
    for it in found.failures:
        who = asker(covenant, it.asked.requester, it.asked.on_behalf_of or "")
        got = str(it.decision.mode) if it.decision.allowed else f"geweigerd ({it.decision.rule})"
        yield f"{it.file}:{it.line}: {who} aan {party(covenant, it.asked.source)}: verwacht {it.expected}, kreeg {got}"
        yield f"    {it.decision.reason}"
    good = len(found.results) - len(found.failures)
    yield f"{count(len(found.results), 'toets', 'toetsen')}: {good} goed, {len(found.failures)} fout."
    if not found.rules:
        return
    share = 100 * (len(found.rules) - len(found.missing)) // len(found.rules)
    yield f"Geraakt: {len(found.rules) - len(found.missing)} van {len(found.rules)} regels ({share}%)."
    yield from (f"  niet geraakt: {it}" for it in found.missing)


def by_table(found: Trial) -> dict[str, tuple[int, int]]:
    """File -> (cases tried, of which failed)."""
    tables: dict[str, tuple[int, int]] = {}
    for it in found.results:
        tried, failed = tables.get(it.file, (0, 0))
        tables[it.file] = tried + 1, failed + (not it.good)
    return tables
