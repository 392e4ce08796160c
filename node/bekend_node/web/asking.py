"""What an officer fills in, read from a form into an Inquiry; and what is wrong with it, field by field.

The rules are those of the covenant, decided where a command's are decided too. Here is only what a form needs on top:
which field a refusal belongs to, and a second look at texts that may name somebody.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from typing import Final

from bekend_policy.decide import JUSTIFICATION, case_fits
from bekend_policy.justification import PARTS, justification_fault, warnings
from bekend_policy.model import Purpose
from bekend_proto.errors import RefusedError
from bekend_proto.identifiers import POSSIBLE_KINDS, Identifier, InvalidIdentifier, parse_identifier
from bekend_proto.names import PersonData, combine
from starlette.datastructures import FormData

from bekend_node.ask.ages import AgeRefusedError, age_conditions, verified_birth
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.control_purposes import confirmed_by_officer
from bekend_node.described import FIELDS, faults_of, from_fields, to_fields
from bekend_node.web.pages import typed

_FIELD_OF_RULE: Final[Mapping[str, str]] = {
    "zaaknummer": "zaak",
    "motivering": "motivering",
    "motivering-persoon": "soort",
    "afweging": "motivering",
    "te-lang": "motivering",
    "FG-09": "partners",
    "bronnen": "partners",
    "partner-onbekend": "partners",
    "partner-dubbel": "partners",
    "geen-bron": "partners",
    "nooit": "partners",
    "alleen-voor": "partners",
    "persoon-dubbel": "persoon-1",
    "personen": "soort",
    "identificatie": "soort",
    "persoonsgegevens": "soort",
    "voorwaarde": "voorwaarden",
    "namens": "namens",
    "mandaat": "namens",
    "onbekende-deelnemer": "namens",
    "werklijst-zaak": "zaak",
    "werklijst-motivering": "motivering",
}
"""Field of the form under which a refusal is shown, by its rule; other rules are shown above the form."""

LONGEST_SEARCH: Final = 100
LONGEST: Final = 250
"""Characters of a field about a person that are read: what is longer than it may be is still seen to be so."""

Say = Callable[..., str]
"""A sentence of the pages by its key, with its values filled in."""


@dataclass(slots=True)
class Draft:
    """A form as it was filled in. It is shown again with what is wrong, to the same person, and then forgotten."""

    case: str = ""
    kind: str = ""
    numbers: list[str] = field(default_factory=list, repr=False)
    described: list[PersonData] = field(default_factory=list, repr=False)
    """Each person as typed, where is asked without a number."""
    births: list[str] = field(default_factory=list, repr=False)
    """The verified date of birth beside each number, where the purpose asks an age."""
    stated: dict[str, str] = field(default_factory=dict)
    texts: dict[str, str] = field(default_factory=dict, repr=False)
    reasons: list[str] = field(default_factory=list, repr=False)
    """Per person why that one, where the purpose asks it."""
    partners: list[str] = field(default_factory=list)
    on_behalf_of: str = ""
    wanted: str = ""
    """Words in the name of a partner that is looked for."""
    town: str = ""
    """OIN of the municipality where the person lives, to put it first: in this form alone, and in no question."""
    seen: bool = False
    """Whether the officer looked at the warnings about the texts."""
    faults: dict[str, str] = field(default_factory=dict)
    """Field -> what is wrong with it, in Dutch; "" for what belongs to no field."""
    warnings: list[str] = field(default_factory=list)


def marks_of(purpose: Purpose) -> tuple[str, ...]:
    """The marks of the texts that a purpose asks; one text under "" where it asks no three."""
    if purpose.weighing:
        return tuple(PARTS)
    return ("",) if purpose.justification else ()


def read_form(purpose: Purpose, form: FormData) -> Draft:
    """What was filled in. Nothing is judged yet; a value that no such form sends is left out."""

    text = partial(typed, form)
    conditions = [one.id for one in confirmed_by_officer(purpose)]
    return Draft(
        case=text("zaak"),
        kind=text("soort") or _only_kind(purpose),
        numbers=[text(f"persoon-{n}") for n in range(1, purpose.max_persons + 1)],
        described=_described(purpose, text),
        births=[text(f"geboren-{n}")[:LONGEST] for n in range(1, purpose.max_persons + 1)]
        if age_conditions(purpose)
        else [],
        stated={id_: text(f"voorwaarde-{id_}") for id_ in conditions},
        texts={mark: text(f"motivering-{mark}") for mark in marks_of(purpose)},
        reasons=[text(f"waarom-{n}") for n in range(1, purpose.max_persons + 1)] if purpose.own_reasons else [],
        partners=[value for value in form.getlist("partner") if isinstance(value, str)],
        on_behalf_of=text("namens"),
        wanted=text("zoek")[:LONGEST_SEARCH],
        town=text("woongemeente"),
        seen=text("gezien") == "ja",
    )


def to_inquiry(purpose: Purpose, draft: Draft, officer: OfficerRef, say: Say, today: date) -> Inquiry | None:
    """The question as it was filled in, with the draft's faults and warnings: only without those may it be asked.

    `today` is in Europe/Amsterdam: no date of birth lies after it.
    None when a number is none, or a field is empty that the purpose asks: there is nothing yet to hold against a rule.
    """
    described = _without_number(purpose, draft, say, today)
    born = _born(draft, today) if described is None else ()
    persons = _combined(draft, described) if described is not None else _persons(draft, say)
    justification = _justification(draft)
    whole = not draft.faults and draft.case and draft.partners and (justification or not purpose.justification)
    _look_at_the_rest(purpose, draft, say)
    if not draft.seen:
        draft.warnings = warnings(" ".join([justification or "", *draft.reasons]))
    if not whole:
        return None
    return Inquiry(
        purpose=purpose.id,
        persons=persons,
        sources=tuple(draft.partners),
        officer=officer,
        case_reference=draft.case or None,
        attested=_attested(purpose, draft),
        justification=justification,
        on_behalf_of=draft.on_behalf_of or None,
        described=tuple(described or ()),
        reasons=_reasons(purpose, draft),
        born=born,
    )


def note_refusal(draft: Draft, refusal: RefusedError, say: Say) -> None:
    """Put a refusal of the rules under the field that it is about."""
    where = _FIELD_OF_RULE.get(refusal.rule, "")
    if isinstance(refusal, AgeRefusedError):
        where = "geboortedatum-1" if draft.kind in POSSIBLE_KINDS else "geboren-1"
    draft.faults[where] = say("fout.regel", reden=refusal.reason, regel=refusal.rule)


def _only_kind(purpose: Purpose) -> str:
    kinds = sorted(str(kind) for kind in purpose.kinds)
    return "bsn" if "bsn" in kinds else kinds[0]


def combinations_of(purpose: Purpose) -> list[str]:
    """The combinations by which this purpose lets somebody be asked about, in their order on the form."""
    return sorted(str(kind) for kind in purpose.kinds if kind.possible)


def _described(purpose: Purpose, text: Callable[[str], str]) -> list[PersonData]:
    if not combinations_of(purpose):
        return []
    return [
        from_fields({name: text(f"{name}-{n}")[:LONGEST] for name in FIELDS}) for n in range(1, purpose.max_persons + 1)
    ]


def _born(draft: Draft, today: date) -> tuple[date | None, ...]:
    """The dates of birth of who is asked about by a number; a fault at its field for what is none."""
    found: list[date | None] = []
    for index, (text, number) in enumerate(zip(draft.births, draft.numbers, strict=False), 1):
        if not number:
            continue
        try:
            found.append(verified_birth(text, today) if text else None)
        except InvalidIdentifier as fault:
            draft.faults[f"geboren-{index}"] = str(fault)
    return tuple(found) if any(found) else ()


def _without_number(purpose: Purpose, draft: Draft, say: Say, today: date) -> list[PersonData] | None:
    """The persons that were described, where is asked by a combination; None where is asked by a number."""
    if draft.kind not in combinations_of(purpose):
        return None
    found = []
    for index, data in enumerate(draft.described, 1):
        if not to_fields(data):
            continue
        found.append(data)
        draft.faults |= {f"{name}-{index}": fault for name, fault in faults_of(draft.kind, data).items()}
        if age_conditions(purpose):
            try:
                verified_birth(data.geboortedatum, today)
            except InvalidIdentifier as fault:
                draft.faults[f"geboortedatum-{index}"] = str(fault)
    if not found:
        draft.faults[f"{FIELDS[0]}-1"] = say("bevragen.geen_naam")
    return found


def _combined(draft: Draft, described: list[PersonData]) -> tuple[Identifier, ...]:
    return () if draft.faults else tuple(combine(draft.kind, data) for data in described)


def _persons(draft: Draft, say: Say) -> tuple[Identifier, ...]:
    found = []
    for index, number in enumerate(draft.numbers, 1):
        if not number:
            continue
        try:
            found.append(parse_identifier(draft.kind, number))
        except InvalidIdentifier as fault:
            draft.faults[f"persoon-{index}"] = str(fault)
    if not found and not draft.faults:
        draft.faults["persoon-1"] = say("bevragen.geen_persoon")
    return tuple(found)


def _reasons(purpose: Purpose, draft: Draft) -> tuple[str, ...]:
    """The text of each person that was filled in."""
    if not any(draft.reasons) and not purpose.own_reasons:
        return ()
    by_name = draft.kind in combinations_of(purpose)
    filled = [bool(to_fields(data)) for data in draft.described] if by_name else [bool(it) for it in draft.numbers]
    return tuple(text for text, there in zip(draft.reasons, filled, strict=True) if there)


def _look_at_the_rest(purpose: Purpose, draft: Draft, say: Say) -> None:
    """What can be wrong whoever the person is, so that all of it is said at once."""
    if not case_fits(purpose.case_pattern, draft.case):
        draft.faults["zaak"] = say("bevragen.geen_zaak", vorm=purpose.case.description)
    if not draft.partners:
        draft.faults["partners"] = say("bevragen.geen_partner")
    text = _justification(draft)
    fault = justification_fault(purpose, text)
    if purpose.justification and not text:
        draft.faults["motivering"] = say("bevragen.geen_motivering")
    elif fault is not None:
        draft.faults["motivering"] = say("fout.regel", reden=f"{fault[1]}. {fault[2]}", regel=fault[0])


def _justification(draft: Draft) -> str | None:
    texts = {mark: text for mark, text in draft.texts.items() if text}
    if not texts:
        return None
    return " ".join(f"{mark}: {text}" if mark else text for mark, text in texts.items())


def _attested(purpose: Purpose, draft: Draft) -> frozenset[str]:
    """What was confirmed, as decide() reads it: an id, or `id=value` where the covenant asks a value."""
    found = set()
    for one in purpose.conditions:
        if value := draft.stated.get(one.id):
            found.add(f"{one.id}={value}" if one.example else one.id)
    if draft.texts and any(draft.texts.values()):
        found.add(JUSTIFICATION)
    return frozenset(found)
