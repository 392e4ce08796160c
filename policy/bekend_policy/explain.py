"""`bekend policy explain`: one question, rule by rule, in the order in which `decide` tries them.

The verdicts are those of `decide` itself: what comes before the rule that refused was passed, what comes after it was
not looked at. Beside each stands what the covenant says about it, so that a reader can check the verdict.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from bekend_policy.decide import Asked, Decision, decide
from bekend_policy.directions import DIRECTIONS
from bekend_policy.model import Covenant, Purpose
from bekend_policy.routes import Route, as_if_signed
from bekend_policy.show import condition_text
from bekend_policy.wording import asker, count, ground, listed, on_day, party, wrapped


class Verdict(StrEnum):
    """What a rule said."""

    PASSED = "goed"
    REFUSED = "weigert"
    SKIPPED = "niet meer bekeken"
    UNKNOWN = "niet opgegeven"


@dataclass(frozen=True)
class Step:
    """One rule: its name, what it asks, its verdict, and what the covenant says about it."""

    rule: str
    question: str
    verdict: Verdict
    facts: str


@dataclass(frozen=True)
class Explanation:
    """All steps, and the decision."""

    steps: tuple[Step, ...]
    decision: Decision


@dataclass(frozen=True)
class _Case:
    covenant: Covenant
    asked: Asked
    purpose: Purpose | None


Facts = Callable[[_Case], str]


def _parties(case: _Case) -> str:
    who = asker(case.covenant, case.asked.requester, case.asked.on_behalf_of or "")
    return f"{who} vraagt {party(case.covenant, case.asked.source)}"


def _validity(case: _Case) -> str:
    agreement = case.covenant.agreement
    return f"geldt van {on_day(agreement.first_day)} tot en met {on_day(agreement.last_day)}"


def _members(case: _Case) -> str:
    return count(len(case.covenant.participants), "deelnemer", "deelnemers")


def _signed(case: _Case) -> str:
    covenant = case.covenant
    missing = [it.name for it in covenant.participants.values() if it.oin not in covenant.signed_by]
    return f"zonder handtekening: {listed(missing)}" if missing else "iedereen"


def _of_purpose(facts: Callable[[_Case, Purpose], str]) -> Facts:
    return lambda case: facts(case, case.purpose) if case.purpose is not None else ""


def _askers(case: _Case, purpose: Purpose) -> str:
    return f"vragen mogen: {listed(party(case.covenant, it) for it in purpose.asker.organisations)}"


def _mandates(case: _Case, purpose: Purpose) -> str:
    mandates = [asker(case.covenant, it.requester, it.principal) for it in purpose.asker.mandates]
    return f"mandaten: {listed(mandates)}" if mandates else "dit doel kent geen mandaten"


def _source(case: _Case, _purpose: Purpose) -> str:
    source = case.covenant.sources(case.asked.purpose).get(case.asked.source)
    return f"modus {source.mode}" if source is not None else "het doel noemt deze partner niet"


def _kinds(case: _Case, _purpose: Purpose) -> str:
    source = case.covenant.sources(case.asked.purpose).get(case.asked.source)
    if source is None:
        return ""
    by_hand = f"; met {listed(sorted(source.possible), 'of')} beslist een collega" if source.possible else ""
    return (listed(sorted(source.certain), "of") or "geen nummer") + by_hand


def _only_for(case: _Case, _purpose: Purpose) -> str:
    source = case.covenant.sources(case.asked.purpose).get(case.asked.source)
    only = sorted(source.only_for) if source is not None else []
    return f"antwoordt alleen aan {listed(party(case.covenant, it) for it in only)}" if only else "geen beperking"


def _grounds(case: _Case, purpose: Purpose) -> str:
    source = case.covenant.sources(case.asked.purpose).get(case.asked.source)
    grounds = [*purpose.requester_grounds, *(source.ground if source is not None else ())]
    return "; ".join(map(ground, grounds))


def _conditions(case: _Case, purpose: Purpose) -> str:
    source = case.covenant.sources(case.asked.purpose).get(case.asked.source)
    special = {id_ for terms in purpose.source_terms.values() for id_ in terms.conditions}
    own = source.conditions if source is not None else frozenset()
    return "; ".join(condition_text(it) for it in purpose.conditions if it.id not in special or it.id in own)


_BEFORE: tuple[tuple[str, str, Facts], ...] = (
    ("ander-convenant", "Gaan beide partijen uit van dezelfde versie?", lambda case: f"versie {case.covenant.version}"),
    ("niet-geldig", "Is het convenant nu van kracht?", _validity),
    ("eigen-proef", "Vraagt een organisatie een ander? (Zichzelf vraagt zij alleen haar proefpersoon.)", _parties),
    ("onbekende-deelnemer", "Doen alle partijen mee aan het convenant?", _members),
    ("niet-ondertekend", "Hebben alle partijen getekend?", _signed),
    ("onbekend-doel", "Bestaat het doel?", _of_purpose(lambda _, it: it.title)),
    ("buiten-dienst", "Is het doel in dienst?", _of_purpose(lambda _, it: "ja" if it.in_service else "nee")),
    ("geen-vrager", "Mag deze organisatie onder het doel vragen?", _of_purpose(_askers)),
    ("namens", "In eigen naam, of met een mandaat?", _of_purpose(_mandates)),
    ("geen-bron", "Noemt het doel deze partner als bron?", _of_purpose(_source)),
    ("nooit", "Is de modus iets anders dan 'nooit'?", _of_purpose(_source)),
    ("alleen-voor", "Antwoordt de bron aan deze vrager?", _of_purpose(_only_for)),
    ("kader", "Past het kader bij de grondslag van de vrager?", _of_purpose(lambda _, it: f"kader {it.frame}")),
)
_AFTER: tuple[tuple[str, str, Facts], ...] = (
    ("eigen-zvh", "Vraagt een Zorg- en Veiligheidshuis alleen een ander huis?", lambda _: "WGS 2.28(1)"),
    ("ongetoetst", "Zijn de grondslagen getoetst, of is het een proef met advies, DPIA en einddatum?",
     _of_purpose(_grounds)),
    ("einddatum", "Is de einddatum van het doel nog niet voorbij?",
     _of_purpose(lambda _, it: on_day(it.last_day) if it.last_day else "geen einddatum")),
    ("mandaat", "Loopt het mandaat nog?", _of_purpose(_mandates)),
    ("personen", "Niet te veel personen in één vraag?", _of_purpose(lambda _, it: f"ten hoogste {it.max_persons}")),
    ("bronnen", "Niet te veel partners in één vraag?", _of_purpose(lambda _, it: f"ten hoogste {it.max_sources}")),
    ("identificatie", "Mag deze bron met dit kenmerk worden gevraagd?", _of_purpose(_kinds)),
    ("rol", "Mag deze rol vragen?", _of_purpose(lambda _, it: listed(it.asker.roles, "of"))),
    ("zaaknummer", "Heeft het zaaknummer de juiste vorm?", _of_purpose(lambda _, it: it.case.description)),
    ("motivering", "Staat er geen nummer van een persoon in de motivering?", lambda _: ""),
    ("afweging", "Zegt de motivering waarom nodig, waarom zo en waarom niet met minder?",
     _of_purpose(lambda _, it: "verplicht" if it.weighing else "vraagt dit doel niet")),
    ("motivering-persoon", "Heeft elke volgende persoon een eigen motivering?",
     _of_purpose(lambda _, it: "verplicht" if it.own_reasons else "vraagt dit doel niet")),
    ("voorwaarde", "Zijn alle voorwaarden vervuld?", _of_purpose(_conditions)),
)  # fmt: skip
_ONLY_REQUESTER = {"bronnen": "sources", "rol": "role", "zaaknummer": "case_reference", "voorwaarde": "attested"}
_ONLY_REQUESTER |= {"motivering": "attested", "motivering-persoon": "attested", "afweging": "attested"}
_CANARY = 3


def rules() -> list[str]:
    """Every rule that can refuse, in order. (A question to oneself ends at `eigen-proef`.)"""
    names = [*(it[0] for it in _BEFORE), *(it.id for it in DIRECTIONS), *(it[0] for it in _AFTER)]
    return list(dict.fromkeys(names))


def explain(covenant: Covenant, asked: Asked, now: datetime) -> Explanation:
    """Decide, and say what every rule found."""
    decision = decide(covenant, asked, now)
    case = _Case(covenant, asked, covenant.purposes.get(asked.purpose))
    every = [
        *_BEFORE,
        *((it.id, f"{it.reason}.", _const(it.article)) for it in DIRECTIONS),
        *_AFTER,
    ]
    names = [name for name, _, _ in every]
    to_itself = asked.requester == asked.source
    last = _CANARY - 1 if to_itself and decision.rule == "eigen-proef" else len(every)
    refusing = names.index(decision.rule) if not decision.allowed else last
    steps = []
    for index, (name, question, facts) in enumerate(every):
        verdict = Verdict.PASSED
        if index == refusing and not decision.allowed:
            verdict = Verdict.REFUSED
        elif index > refusing:
            verdict = Verdict.SKIPPED
        elif name in _ONLY_REQUESTER and getattr(asked, _ONLY_REQUESTER[name]) is None:
            verdict = Verdict.UNKNOWN
        steps.append(Step(name, question, verdict, facts(case)))
    return Explanation(tuple(steps), decision)


def explain_draft(covenant: Covenant, asked: Asked, now: datetime) -> Explanation:
    """The same, as if everybody had signed."""
    return explain(as_if_signed(covenant), asked, now)


def _const(text: str) -> Facts:
    return lambda _: text


_SIGNS = {Verdict.PASSED: "  ok ", Verdict.REFUSED: "NEE  ", Verdict.SKIPPED: "  .  ", Verdict.UNKNOWN: "  ?  "}
_INDENT = " " * 26


def explain_lines(covenant: Covenant, asked: Asked, found: Explanation) -> Iterator[str]:
    """The explanation as Dutch text; the rules after the refusal in one line."""
    route = Route(asked.purpose, asked.requester, asked.on_behalf_of or "", asked.source)
    title = covenant.purposes[asked.purpose].title if asked.purpose in covenant.purposes else asked.purpose
    who = asker(covenant, route.requester, route.on_behalf_of)
    yield f"{who} vraagt {party(covenant, route.source)} onder '{title}'"
    yield ""
    for step in found.steps:
        if step.verdict is not Verdict.SKIPPED:
            unknown = " (niet opgegeven)" if step.verdict is Verdict.UNKNOWN else ""
            yield from wrapped(f"{_SIGNS[step.verdict]}{step.rule:<20} {step.question}{unknown}", hanging=_INDENT)
            yield from wrapped(step.facts, hanging=_INDENT, start=_INDENT)
    skipped = [step.rule for step in found.steps if step.verdict is Verdict.SKIPPED]
    if skipped:
        yield from wrapped(f"     Niet meer bekeken: {', '.join(skipped)}", hanging=" " * 7)
    decision = found.decision
    yield ""
    yield f"{'Mag' if decision.allowed else 'Mag niet'} ({decision.rule}). {decision.reason.rstrip('.')}."
    if decision.article not in decision.reason:  # "nooit" says why in the words of the file, article and all
        yield f"Artikel: {decision.article}."
    if decision.remedy:
        yield decision.remedy
    if decision.nearest:
        yield decision.nearest
    yield from (f"De vrager staat in voor: {it}" for it in decision.attests)
