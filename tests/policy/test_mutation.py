"""Every rule of the shipped covenant, dropped, flipped, doubled or moved by one: the shipped tables or Cedar notice."""

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import date
from functools import cache

import pytest
from bekend_policy.decide import Decision
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant, Purpose
from bekend_policy.routes import Route, outcomes
from bekend_policy.strict_yaml import Document
from bekend_policy.terms import CheckedBy, Condition, IdentifierKind, Mode, SourceTerms
from bekend_policy.trial import Result, Table, read_tables, run_tables

from tests.policy.test_oracle import by_decide, every_question, every_route
from tests.support.cedar import Oracle, Put
from tests.support.covenants import CATALOGUE

TODAY = date(2026, 12, 1)
LOADED = load_covenant(CATALOGUE)
COVENANT = replace(LOADED, signed_by=frozenset(LOADED.participants))
TABLES = read_tables(CATALOGUE, COVENANT)
Mutant = tuple[str, Purpose]
"""What was done, and the purpose that came of it."""


def mutants(one: Purpose) -> Iterator[Mutant]:
    yield from _askers(one)
    yield from _sources(one)
    yield from _conditions(one)
    yield from _own(one)


def _askers(one: Purpose) -> Iterator[Mutant]:
    asker = one.asker

    def changed(**values: object) -> Purpose:
        return one.model_copy(update={"asker": asker.model_copy(update=values)})

    for it in asker.organisations:
        yield f"drop asker {it}", changed(organisations=tuple(x for x in asker.organisations if x != it))
    for kind in sorted({p.kind.value for p in COVENANT.participants.values()} - set(asker.organisations)):
        yield f"double an asker as {kind}", changed(organisations=(*asker.organisations, kind))
    for it in asker.roles:
        yield f"drop role {it}", changed(roles=tuple(x for x in asker.roles if x != it))
    for mandate in asker.mandates:
        yield "drop mandate", changed(mandates=tuple(x for x in asker.mandates if x != mandate))
        other = "00000099000000005000"
        yield "double mandate", changed(mandates=(*asker.mandates, mandate.model_copy(update={"principal": other})))


def _sources(one: Purpose) -> Iterator[Mutant]:
    def changed(terms: dict[str, SourceTerms]) -> Purpose:
        return one.model_copy(update={"source_terms": terms})

    present = {it.kind.value for it in COVENANT.participants.values()}
    for party, terms in one.source_terms.items():
        if party not in present:
            continue
        rest = {name: it for name, it in one.source_terms.items() if name != party}
        yield f"drop source {party}", changed(rest)
        for mode in set(Mode) - {terms.mode}:
            flipped = terms.model_copy(update={"mode": mode, "reason": "x"})
            yield f"flip source {party} to {mode}", changed(rest | {party: flipped})
        if terms.conditions:
            yield f"drop mits of {party}", changed(rest | {party: terms.model_copy(update={"conditions": ()})})
        if terms.own_kinds:
            yield (
                f"drop identificatie of {party}",
                changed(rest | {party: terms.model_copy(update={"own_kinds": None})}),
            )
            for own in terms.own_kinds:
                fewer = tuple(it for it in terms.own_kinds if it != own)
                narrowed = terms.model_copy(update={"own_kinds": fewer or ("v-nummer",)})
                yield f"drop {own} of {party}", changed(rest | {party: narrowed})
        if terms.only_for:
            yield f"drop alleen_voor of {party}", changed(rest | {party: terms.model_copy(update={"only_for": ()})})
    first = next(it for it in one.source_terms.values() if it.mode is not Mode.NEVER)
    for kind in sorted(present - one.source_terms.keys()):
        yield f"double a source as {kind}", changed({**one.source_terms, kind: first})


def _conditions(one: Purpose) -> Iterator[Mutant]:
    for index, it in enumerate(one.conditions):
        if it.checked_by is not CheckedBy.REQUESTER:
            continue
        before, after = one.conditions[:index], one.conditions[index + 1 :]
        yield f"drop condition {it.id}", one.model_copy(update={"conditions": (*before, *after)})
        for name, changed in _moved(it):
            yield f"{name} of {it.id}", one.model_copy(update={"conditions": (*before, changed, *after)})


def _moved(it: Condition) -> Iterator[tuple[str, Condition]]:
    yield "flip who checks", it.model_copy(update={"checked_by": CheckedBy.SOURCE})
    for name in ("months_back", "months_ahead", "from_age", "to_age"):
        value = getattr(it, name)
        if value is not None:
            yield f"raise {name}", it.model_copy(update={name: value + 1})
            if value:
                yield f"lower {name}", it.model_copy(update={name: value - 1})
    for value in it.values:
        yield f"drop value {value}", it.model_copy(update={"values": tuple(x for x in it.values if x != value)})


def _own(one: Purpose) -> Iterator[Mutant]:
    yield "more persons", one.model_copy(update={"max_persons": one.max_persons + 1})
    if one.max_persons > 1:
        yield "fewer persons", one.model_copy(update={"max_persons": one.max_persons - 1})
    yield "more sources", one.model_copy(update={"max_sources": one.max_sources + 1})
    yield (
        "any case number",
        one.model_copy(update={"case": one.case.model_copy(update={"pattern": "[A-Za-z0-9/-]{1,30}"})}),
    )
    for kind in one.kinds:
        yield f"drop kind {kind}", one.model_copy(update={"kinds": one.kinds - {kind}})
    for kind in set(IdentifierKind) - one.kinds:
        if one.possible is not None or not kind.possible:
            yield f"more kinds: {kind}", one.model_copy(update={"kinds": one.kinds | {kind}})
    if one.possible is not None:
        yield "drop mogelijk", one.model_copy(update={"possible": None})
    yield "flip motivering", one.model_copy(update={"justification": not one.justification})
    if one.max_persons > 1:
        yield "flip motivering_per_persoon", one.model_copy(update={"own_reasons": not one.own_reasons})
    yield "flip afweging", one.model_copy(update={"weighing": not one.weighing})
    yield "flip in_dienst", one.model_copy(update={"in_service": False})
    yield "end earlier", one.model_copy(update={"last_day": date(2026, 11, 30)})
    yield "drop dpia", one.model_copy(update={"dpia": None})


def with_purpose(one: Purpose) -> Covenant:
    return replace(COVENANT, purposes={**COVENANT.purposes, one.id: one})


def tables_of(purpose_id: str) -> list[tuple[Document, Table]]:
    return [(document, table) for document, table in TABLES if table.purpose == purpose_id]


@cache
def by_cedar(purpose_id: str) -> tuple[list[Put], list[str | None]]:
    """What Cedar says of the covenant as it is, over every route and question of this purpose."""
    only = replace(COVENANT, purposes={purpose_id: COVENANT.purposes[purpose_id]})
    questions = [*every_route(only), *every_question(only)]
    return questions, Oracle(only).ask(questions)


def noticed(mutant: Purpose) -> str:
    """Who notices: `tables`, `cedar`, or nobody (empty)."""
    changed = with_purpose(mutant)
    if run_tables(changed, tables_of(mutant.id), TODAY).failures:
        return "tables"
    questions, answers = by_cedar(mutant.id)
    differs = any(by_decide(changed, one) != answer for one, answer in zip(questions, answers, strict=True))
    return "cedar" if differs else ""


@cache
def unchanged() -> dict[Route, Decision]:
    """What the covenant as it is decides on every route."""
    return outcomes(COVENANT, TODAY)


@cache
def failures() -> tuple[Result, ...]:
    """What the tables find wrong in the covenant as it is."""
    return run_tables(COVENANT, TABLES, TODAY).failures


def stopped_by_law(mutant: Purpose) -> bool:
    """Whether all that the mutant adds is refused by a direction rule, which no file can lift, or has no source."""
    changed = with_purpose(mutant)
    before, after = unchanged(), outcomes(changed, TODAY)
    rules = {after[route].rule for route in after if route not in before or after[route].rule != before[route].rule}
    return all(re.fullmatch(r"D\d+|eigen-zvh|geen-bron|nooit", rule) for rule in rules)


@pytest.mark.parametrize("purpose_id", COVENANT.purposes, ids=lambda it: it.partition("/")[2])
def test_every_mutant_of_a_rule_is_noticed(purpose_id: str) -> None:
    every = list(mutants(COVENANT.purposes[purpose_id]))
    assert len(every) > 20
    found = {name: noticed(mutant) for name, mutant in every}
    for name, mutant in every:
        assert found[name] or (name.startswith("double") and stopped_by_law(mutant)), name
    # The tables of the privacy officers notice by themselves what widens or narrows who may ask whom.
    assert sum(by == "tables" for by in found.values()) >= 0.4 * len(found)


@pytest.mark.parametrize("oin", [it.oin for it in COVENANT.participants.values()])
def test_a_signature_that_is_missing_is_noticed(oin: str) -> None:
    without = replace(COVENANT, signed_by=COVENANT.signed_by - {oin})
    assert failures() == ()
    assert any(
        by_decide(without, one) != by_decide(COVENANT, one)
        for one in every_route(COVENANT)
        if oin in {one.requester, one.source}
    )
