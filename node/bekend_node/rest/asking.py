"""From a case system's message to a question of an officer, as the form of the pages makes one, and back.

No rule stands here: what the pages hold a form against, and what the covenant says, decides.
"""

import contextlib
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final

from bekend_policy.model import Covenant, Purpose
from bekend_proto.errors import RefusedError
from bekend_proto.identifiers import POSSIBLE_KINDS

from bekend_node.ask.asker import Asker
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.control_purposes import confirmed_by_officer, purposes_for, role_for
from bekend_node.rest.messages import (
    CaseReply,
    ConditionReply,
    DescribedBody,
    JustificationBody,
    LateOutcomeReply,
    LateReply,
    LatesReply,
    NumberBody,
    OutcomeReply,
    PartnerReply,
    PrincipalReply,
    PurposeReply,
    QuestionBody,
    QuestionReply,
)
from bekend_node.rest.problems import CONTENT, NOT_ALLOWED, RULE, WARNING, Fault, Problem
from bekend_node.rest.questions import Asked, Standing
from bekend_node.rest.tokens import Caller
from bekend_node.web.asking import Draft, combinations_of, marks_of, note_refusal, to_inquiry
from bekend_node.web.outcome_view import shown

_PLACES: Final[Mapping[str, str]] = {
    "zaak": "/zaak",
    "motivering": "/motivering",
    "partners": "/partners",
    "voorwaarden": "/bevestigd",
    "namens": "/namens",
    "soort": "/soort",
}
"""Field of the pages' form -> place in a message; another is about the whole."""

_OF_PERSON: Final[Mapping[str, str]] = {"persoon": "nummer", "geboren": "geboortedatum"}
"""The same, of one person; another has its own name."""
_PERSONS: Final = "/personen"
_OF_PERSONS: Final = frozenset({"personen", "persoonsgegevens", "motivering-persoon"})
"""Rules about the persons together, which the form shows elsewhere."""

Say = Callable[..., str]


def inquiry_of(body: QuestionBody, caller: Caller, asker: Asker, covenant: Covenant, say: Say) -> Inquiry:
    """The question. Raises Problem with all that is wrong, where the rules can be asked without asking a partner."""
    oin = asker.asking().oin
    purpose = covenant.purposes.get(body.purpose)
    if purpose is None:
        detail = "Dit doel staat niet in het convenant. Kies een doel uit de lijst."
        raise Problem(RULE, detail, rule="onbekend-doel", faults=[Fault("/doel", "bestaat niet")])
    role = role_for(covenant, oin, purpose.id, caller.person.roles)
    if role is None:
        raise Problem(NOT_ALLOWED, "U hebt geen rol waarin uw organisatie dit doel mag gebruiken.", rule="rol")
    _check_confirmed(body, purpose)
    _check_persons(body, purpose)
    draft = Draft(
        case=body.case.strip(),
        kind=body.kind,
        numbers=[one.number for one in body.persons if isinstance(one, NumberBody)],
        described=[one.data for one in body.persons if isinstance(one, DescribedBody)],
        births=[one.birth_date.strip() for one in body.persons if isinstance(one, NumberBody)],
        stated=dict(body.confirmed),
        texts=_texts(body, marks_of(purpose)),
        reasons=[one.reason.strip() for one in body.persons],
        partners=list(body.partners),
        on_behalf_of=body.on_behalf_of or "",
        seen=body.seen,
    )
    officer = OfficerRef(caller.person.user, caller.person.name, role)
    inquiry = to_inquiry(purpose, draft, officer, say, asker.today())
    if draft.faults or inquiry is None:
        if inquiry is not None:
            # What a rule refuses is on the record (FG-28), also where the form saw it first.
            with contextlib.suppress(RefusedError):
                asker.examine(inquiry)
        raise Problem(CONTENT, "De vraag is niet goed ingevuld.", faults=_faults(draft))
    if draft.warnings:
        detail = "Lees de motivering na. Klopt zij, stuur de vraag dan opnieuw met `gezien`."
        raise Problem(WARNING, detail, faults=[Fault("/motivering", one) for one in draft.warnings])
    _check_consents(body, asker)
    return inquiry


def refusal_of(refusal: RefusedError, say: Say) -> Problem:
    """What a rule says, with the field that it is about."""
    draft = Draft()
    note_refusal(draft, refusal, say)
    (field,) = draft.faults
    places = [Fault(_PERSONS if refusal.rule in _OF_PERSONS else _place(field), refusal.reason)] if field else []
    return Problem(RULE, refusal.reason, rule=refusal.rule, faults=places)


def purposes_of(caller: Caller, asker: Asker, covenant: Covenant) -> tuple[PurposeReply, ...]:
    """The purposes of an officer's roles, each once."""
    oin = asker.asking().oin
    found = {one["id"]: one for role in caller.person.roles for one in purposes_for(covenant, oin, role)}
    return tuple(_purpose(one, caller, asker, covenant) for one in found.values())


def reply_of(asked: Asked, standing: Standing, covenant: Covenant, *, now: datetime) -> QuestionReply:
    """What an officer is told of a question."""
    running = asked.running
    whole = running is not None and running.done and not running.failure and now < running.expires
    return QuestionReply(
        id=asked.id,
        purpose=asked.purpose,
        case=asked.case,
        kind=asked.kind,
        state=standing.state,
        remark=standing.remark or None,
        asked=asked.at,
        expires=standing.ends,
        persons=asked.persons,
        outcomes=tuple(_outcome(one) for one in standing.outcomes),
        steps=tuple(lines for _, lines in shown(covenant, running)["hints"]) if running is not None and whole else (),
    )


def lates_of(answers: Iterable[Mapping[str, Any]]) -> LatesReply:
    """What came later of an officer's questions, from what answers `bekend antwoorden`."""
    return LatesReply(
        answers=tuple(
            LateReply(
                purpose=one["purpose"],
                case=one["case"],
                asked=datetime.fromisoformat(one["asked"]),
                persons=one["persons"],
                outcomes=tuple(
                    LateOutcomeReply(**_told(it), expires=datetime.fromisoformat(it["expires"]))
                    for it in one["outcomes"]
                ),
            )
            for one in answers
        )
    )


def _outcome(one: Outcome) -> OutcomeReply:
    return OutcomeReply(**_told(one.to_json()))


def _told(one: Mapping[str, Any]) -> dict[str, Any]:
    """An outcome with its persons counted from 1, as people do."""
    return {
        "person": one["person"] + 1,
        "oin": one["oin"],
        "name": one["name"],
        "outcome": OutcomeKind(one["outcome"]),
        "as_of": one["as_of"],
        "reason": one["reason"],
        "desk": one["desk"],
        "until": datetime.fromisoformat(one["until"]) if one["until"] else None,
    }


def _purpose(one: Mapping[str, Any], caller: Caller, asker: Asker, covenant: Covenant) -> PurposeReply:
    budget = asker.budget(caller.person.user, one["id"])
    sources = covenant.sources(one["id"])
    return PurposeReply(
        id=one["id"],
        title=one["title"],
        description=one["description"],
        kinds=tuple(one["kinds"]),
        max_persons=one["max_persons"],
        own_reasons=one["own_reasons"],
        max_sources=one["max_sources"],
        left_today=max(0, budget.limit - budget.used),
        case=CaseReply(pattern=one["case"]["pattern"], description=one["case"]["description"]),
        confirm=tuple(
            ConditionReply(id=it.id, text=it.text, value=it.example or None)
            for it in confirmed_by_officer(covenant.purposes[one["id"]])
        ),
        justification=tuple(mark or "tekst" for mark in marks_of(covenant.purposes[one["id"]])),
        four_eyes=one["four_eyes"],
        for_itself=one["for_itself"],
        on_behalf_of=tuple(PrincipalReply(oin=it["oin"], name=it["name"]) for it in one["on_behalf_of"]),
        partners=tuple(
            PartnerReply(
                oin=it["oin"],
                name=it["name"],
                mode=it["mode"],
                automatic=it["automatic"],
                consent=it["consent"],
                ages=tuple(it["ages"]),
                reply_seconds=it["reply_seconds"],
                kinds=tuple(sorted(map(str, sources[it["oin"]].kinds))),
            )
            for it in one["sources"]
        ),
    )


def _texts(body: QuestionBody, marks: tuple[str, ...]) -> dict[str, str]:
    """The justification under the marks that the purpose asks; another form is filled in nowhere, and so refused."""
    given = body.justification
    if isinstance(given, JustificationBody):
        said = {"nodig": given.needed, "middel": given.means, "minder": given.less}
    else:
        said = {"": given}
    wrong = [mark for mark, text in said.items() if text and mark not in marks]
    if wrong:
        form = "in drie delen" if len(marks) > 1 else "als een tekst" if marks else "niet"
        raise Problem(
            CONTENT, f"Dit doel vraagt de motivering {form}.", faults=[Fault("/motivering", "heeft niet de goede vorm")]
        )
    return {mark: said.get(mark, "").strip() for mark in marks}


def _check_confirmed(body: QuestionBody, purpose: Purpose) -> None:
    """What is confirmed is a condition of the purpose, and confirmed indeed. Raises Problem."""
    conditions = {one.id: one for one in confirmed_by_officer(purpose)}
    wrong = [
        Fault(f"/bevestigd/{id_}", "schrijf ja, of laat het weg")
        for id_, value in body.confirmed.items()
        if id_ in conditions and not conditions[id_].example and value != "ja"
    ]
    if not body.confirmed.keys() <= conditions.keys():
        wrong.append(Fault("/bevestigd", "noemt wat dit doel niet vraagt"))
    if wrong:
        raise Problem(CONTENT, "Wat de medewerker bevestigt, past niet bij dit doel.", faults=wrong)


def _check_persons(body: QuestionBody, purpose: Purpose) -> None:
    """Everybody is named in the way that the kind asks, so that nobody is left out. Raises Problem."""
    if body.kind in POSSIBLE_KINDS and body.kind not in combinations_of(purpose):
        detail = "Met deze gegevens vraagt u onder dit doel niet. Kies een soort uit de lijst van het doel."
        raise Problem(RULE, detail, rule="identificatie", faults=[Fault("/soort", "past niet bij dit doel")])
    form = DescribedBody if body.kind in POSSIBLE_KINDS else NumberBody
    wrong = [
        Fault(f"/personen/{n}", "is leeg, of past niet bij de soort van de vraag")
        for n, one in enumerate(body.persons)
        if not isinstance(one, form) or not (one.number if isinstance(one, NumberBody) else one.surname).strip()
    ]
    if wrong:
        raise Problem(CONTENT, "Noem elke persoon met wat de soort van de vraag vraagt.", faults=wrong)


def _check_consents(body: QuestionBody, asker: Asker) -> None:
    """Each consent that the question names stands on record for its case and purpose. Raises Problem."""
    standing = {one.reference for one in asker.cases.consents.standing(body.case.strip(), body.purpose).values()}
    missing = [n for n, one in enumerate(body.consents) if one not in standing]
    if missing:
        detail = "Een toestemming waarop de vraag steunt, staat niet bij deze zaak of geldt niet meer."
        faults = [Fault(f"/toestemmingen/{n}", "geldt hier niet") for n in missing]
        raise Problem(RULE, detail, rule="toestemming", faults=faults)


def _faults(draft: Draft) -> list[Fault]:
    return [Fault(_place(field), reason) for field, reason in draft.faults.items()]


def _place(field: str) -> str:
    name, _, number = field.rpartition("-")
    if number.isdecimal():
        return f"/personen/{int(number) - 1}/{_OF_PERSON.get(name, name)}"
    return _PLACES.get(field, "/")
