"""The decision: may this party ask that one, for this purpose, now?

One pure function of covenant, question and moment, evaluated by itself at the requester, the broker and the source,
so that a broker cannot widen what a source answers (protocol section 7). Deny by default: only a purpose that names
both sides allows. Every refusal names its rule, says why in Dutch, and what would have to be different.

    1 same covenant, in force         ander-convenant, niet-geldig
    2 a node's own canary             eigen-proef: before purposes, conditions and direction rules
    3 parties, signatures             onbekende-deelnemer, niet-ondertekend
    4 purpose, asker, principal       onbekend-doel, buiten-dienst, geen-vrager, namens
    5 source, direction rules         geen-bron, nooit, alleen-voor, kader, D1-D14, eigen-zvh, ongetoetst
    6 dates of purpose and mandate    einddatum, mandaat
    7 the question itself             personen, bronnen, identificatie
    8 what only the requester knows   rol, zaaknummer, afweging, motivering, motivering-persoon, voorwaarde

Steps 3 to 5 depend on the covenant alone and are remembered per combination.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from functools import cached_property
from typing import Final
from weakref import WeakKeyDictionary

from bekend_proto.clock import day_of
from bekend_proto.v1 import signed_pb2

from bekend_policy.conditions import Condition, stated, why_not
from bekend_policy.directions import DIRECTIONS, first_denial, frame_fits
from bekend_policy.justification import justification_fault, reasons_fault
from bekend_policy.model import Covenant, Ground, Purpose, Source
from bekend_policy.nearest import nearest
from bekend_policy.pairs import pairings
from bekend_policy.terms import CheckedBy, Frame, Kind, Mode

RULES: Final = (
    "ander-convenant",
    "niet-geldig",
    "eigen-proef",
    "onbekende-deelnemer",
    "niet-ondertekend",
    "onbekend-doel",
    "buiten-dienst",
    "geen-vrager",
    "namens",
    "geen-bron",
    "nooit",
    "alleen-voor",
    "kader",
    *(direction.id for direction in DIRECTIONS),
    "eigen-zvh",
    "ongetoetst",
    "einddatum",
    "mandaat",
    "personen",
    "bronnen",
    "identificatie",
    "rol",
    "zaaknummer",
    "afweging",
    "motivering",
    "motivering-persoon",
    "voorwaarde",
)
"""Every rule that refuses, in the order of the steps: what metrics may name."""

JUSTIFICATION = "motivering"
"""Condition id that a purpose with `motivering: ja` adds: the officer confirms that the file holds one.

Signing it attests the texts per person too, where the purpose asks them.
"""


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked, as far as the deciding party knows it.

    `kind_class` is the wire's KindClass. Role, kind, case reference, attested conditions and number of sources are
    known to the requester alone; at the broker and the source they are None: there, signing attested them. `reasons`
    are the texts per person, as far as there are any.
    """

    requester: str
    source: str
    purpose: str
    on_behalf_of: str | None
    persons: int
    kind_class: "signed_pb2.KindClass.ValueType"
    covenant_hash: bytes
    role: str | None = None
    kind: str | None = None
    case_reference: str | None = None
    attested: frozenset[str] | None = None
    sources: int | None = None
    justification: str | None = None
    reasons: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Decision:
    """Allowed or not, and why.

    `attests`: ids of the conditions that the requester's signature stands for. `article`: the law behind the rule.
    `reply_term`: how long a colleague at the source may take, None where no person ever decides; `lifetime`: how long
    the outcome may be kept. Mode and both terms are those of the question's kind class.
    `condition`: the condition that failed. `nearest`: on a refusal, the nearest thing that the covenant does allow.
    """

    allowed: bool
    mode: Mode | None
    rule: str
    reason: str
    remedy: str
    attests: tuple[str, ...] = ()
    article: str = ""
    condition: str = ""
    nearest: str = ""
    reply_term: timedelta | None = None
    lifetime: timedelta | None = None


_Key = tuple[str, str, str, str | None]
_routes: WeakKeyDictionary[Covenant, dict[_Key, Decision]] = WeakKeyDictionary()
_patterns: dict[str, re.Pattern[str]] = {}


def decide(covenant: Covenant, asked: Asked, now: datetime) -> Decision:
    """Decide by this covenant. `now` is aware. Never raises for what a peer may send."""
    return Decider(covenant, asked, now).about(asked.source)


class Decider:
    """Decides about one question to hundreds of sources, one by one: what is the same for all is worked out once."""

    def __init__(self, covenant: Covenant, asked: Asked, now: datetime) -> None:
        """`asked`: the question, whichever source it names; the rest as `decide`."""
        self._covenant = covenant
        self._asked = asked
        self._now = now
        self._today = day_of(now)
        self._own: dict[tuple[str, ...], Decision | None] = {}

    def about(self, source: str) -> Decision:
        """The decision about asking this source."""
        covenant, asked = self._covenant, self._asked
        if asked.covenant_hash != covenant.hash:
            return _OTHER_COVENANT
        if not covenant.valid_from <= self._now < covenant.valid_until:
            return _NOT_IN_FORCE
        if asked.requester == source:
            return _canary(covenant, asked, source)
        route = self._route(source)
        return self._by(route, source) if route.allowed else route

    def _route(self, source: str) -> Decision:
        """Steps 3 to 5, remembered."""
        covenant, asked = self._covenant, self._asked
        key = (asked.purpose, asked.requester, source, asked.on_behalf_of or None)
        routes = _routes.setdefault(covenant, {})
        route = routes.get(key)
        if route is None:
            one = asked if asked.source == source else replace(asked, source=source)
            route = _route(covenant, one)
            # Only what the covenant itself names is remembered: a peer cannot fill the memory with inventions.
            if asked.purpose in covenant.purposes and covenant.participants.keys() >= set(_named(one)):
                routes[key] = route
        return route

    def _by(self, route: Decision, source: str) -> Decision:
        """Steps 6 to 8, where the covenant lets the source be asked."""
        if self._alike is not None:
            return self._alike
        asked, purpose = self._asked, self._covenant.purposes[self._asked.purpose]
        named = _identified(self._covenant, asked, route, source)
        if not named.allowed:
            return named
        # What a source demands of the question are the conditions that it names, and these are mostly the same.
        if route.attests not in self._own:
            self._own[route.attests] = _own_question(purpose, asked, route.attests, self._today)
        return self._own[route.attests] or named

    @cached_property
    def _alike(self) -> Decision | None:
        """Why the question goes to no source: of a purpose that the covenant has."""
        purpose = self._covenant.purposes[self._asked.purpose]
        return _dates(purpose, self._asked, self._today) or _numbers(purpose, self._asked)


def _canary(covenant: Covenant, asked: Asked, own: str) -> Decision:
    """Step 2: a node asks itself, about one person; its own code admits only its canary (protocol section 7)."""
    source = covenant.sources(asked.purpose).get(own)
    is_source = source is not None and source.mode is not Mode.NEVER and source.kinds_of(asked.kind_class)
    if source is None or not is_source or asked.persons != 1 or asked.on_behalf_of:
        return _deny(
            "eigen-proef",
            "Een organisatie vraagt zichzelf alleen haar eigen proefpersoon, onder een doel waarvoor zij bron is",
            "Zoek de persoon op in uw eigen systeem.",
        )
    mode = source.mode_of(asked.kind_class)
    return Decision(True, mode, "eigen-proef", "Proefvraag van de organisatie aan zichzelf.", "")


def _route(covenant: Covenant, asked: Asked) -> Decision:
    """Steps 3 to 5: everything that the covenant alone decides."""
    refused = _parties(covenant, asked) or _asker(covenant, asked) or _source(covenant, asked)
    if refused is None:
        return _allow(covenant, asked)
    return replace(refused, nearest=nearest(covenant, asked.purpose, asked.requester, asked.source))


def _named(asked: Asked) -> list[str]:
    return [asked.requester, asked.source, *([asked.on_behalf_of] if asked.on_behalf_of else [])]


def _parties(covenant: Covenant, asked: Asked) -> Decision | None:
    parties = _named(asked)
    for oin in parties:
        if oin not in covenant.participants:
            return _deny(
                "onbekende-deelnemer",
                "Deze organisatie neemt niet deel aan het convenant",
                "Controleer het OIN, of laat de organisatie toetreden met een nieuwe versie.",
            )
    for oin in parties:
        if not covenant.covers(oin, asked.purpose, parties):
            before = " voor dit doel en deze partner" if oin in covenant.signed_before else ""
            return _deny(
                "niet-ondertekend",
                f"{covenant.participants[oin].name} heeft deze versie van het convenant niet ondertekend{before}",
                "Vraag de ondertekenaar van die organisatie om te tekenen.",
            )
    return None


def _asker(covenant: Covenant, asked: Asked) -> Decision | None:
    purpose = covenant.purposes.get(asked.purpose)
    if purpose is None:
        return _deny("onbekend-doel", "Dit doel staat niet in het convenant", "Kies een doel van het convenant.")
    if not purpose.in_service:
        return _deny("buiten-dienst", f"Het doel '{purpose.title}' is buiten dienst gesteld", "Kies een ander doel.")
    requesters = covenant.requesters(asked.purpose)
    requester = requesters.get(asked.requester)
    if requester is None:
        return _deny(
            "geen-vrager",
            f"{covenant.participants[asked.requester].name} mag onder het doel '{purpose.title}' niet vragen",
            "Kies een doel waaronder uw organisatie mag vragen.",
            article=_articles(purpose.requester_grounds),
        )
    if not asked.on_behalf_of and not requester.for_itself:
        return _deny("namens", "Onder dit doel vraagt u alleen namens een ander", "Noem namens wie u vraagt.")
    if asked.on_behalf_of:
        principal = requesters.get(asked.on_behalf_of)
        if asked.on_behalf_of not in requester.on_behalf_of or principal is None or not principal.for_itself:
            return _deny(
                "namens",
                f"Er is geen mandaat om namens {covenant.participants[asked.on_behalf_of].name} te vragen",
                "Vraag in eigen naam, of laat het mandaat in het convenant opnemen.",
            )
    return None


def _source(covenant: Covenant, asked: Asked) -> Decision | None:
    purpose = covenant.purposes[asked.purpose]
    name = covenant.participants[asked.source].name
    source = covenant.sources(asked.purpose).get(asked.source)
    if source is None:
        return _deny(
            "geen-bron",
            f"Het doel '{purpose.title}' noemt {name} niet als bron: wat niet is toegestaan, is geweigerd",
            "Kies een partner die het doel noemt.",
            article=_articles(purpose.requester_grounds),
        )
    if source.mode is Mode.NEVER:
        reason = f"{name} wordt onder dit doel nooit bevraagd: {source.reason}"
        return _deny("nooit", reason, "Kies een andere partner.", Mode.NEVER, source.reason or "")
    for oin in _named(asked):
        if oin != asked.source and not source.answers(covenant.participants[oin]):
            return _deny(
                "alleen-voor",
                f"{name} antwoordt onder dit doel niet aan {covenant.participants[oin].name}",
                "Laat een organisatie vragen die het doel bij deze bron noemt.",
                article=_articles(source.ground),
            )
    return _lawful(covenant, purpose, asked, source)


def _lawful(covenant: Covenant, purpose: Purpose, asked: Asked, source: Source) -> Decision | None:
    """Whatever the file says: the frame, the direction rules, the grounds."""
    if not frame_fits(purpose.frame, purpose.requester_grounds):
        reason = f"De grondslag van de vrager past niet bij het kader '{purpose.frame}'"
        return _deny("kader", reason, "Laat kader en grondslag van het doel verbeteren.")
    for pairing in pairings(covenant, purpose, asked.requester, asked.on_behalf_of, source):
        if direction := first_denial(pairing):
            reason = f"{direction.reason} ({direction.article})"
            return _deny(direction.id, reason, direction.remedy, article=direction.article)
        if pairing.frame is Frame.ZVH and pairing.source is Kind.ZVH and pairing.same_house:
            reason = "Binnen het Zorg- en Veiligheidshuis vraagt u alleen een ander Zorg- en Veiligheidshuis"
            return _deny(
                "eigen-zvh", reason, "Zoek dit op in uw eigen Zorg- en Veiligheidshuis.", article="WGS 2.28(1)"
            )
    return _untested(purpose, source)


def _untested(purpose: Purpose, source: Source) -> Decision | None:
    """A ground that no lawyer has tested runs on trial only: with advice, a DPIA and a last day."""
    untested = next((ground for ground in (*purpose.requester_grounds, *source.ground) if not ground.tested), None)
    if untested is None or (purpose.dpia and purpose.advice and purpose.last_day):
        return None
    return _deny(
        "ongetoetst",
        f"De grondslag {untested} is niet getoetst, en advies, DPIA of einddatum ontbreekt",
        "Laat de grondslag toetsen, of het doel op proef stellen.",
        article=str(untested),
    )


def _dates(purpose: Purpose, asked: Asked, today: date) -> Decision | None:
    """Step 6: what ends while the covenant goes on."""
    if purpose.last_day is not None and today > purpose.last_day:
        return _deny(
            "einddatum",
            f"Het doel '{purpose.title}' gold op proef tot en met {purpose.last_day}",
            "Laat de grondslagen toetsen en een nieuwe versie tekenen.",
            article=_articles(purpose.untested[:1]),
        )
    if asked.on_behalf_of and not any(
        (it.requester, it.principal) == (asked.requester, asked.on_behalf_of) and it.runs_on(today)
        for it in purpose.asker.mandates
    ):
        return _deny("mandaat", "Het mandaat om namens die organisatie te vragen is afgelopen", "Laat het verlengen.")
    return None


def _articles(grounds: Iterable[Ground]) -> str:
    return "; ".join(map(str, grounds))


def _allow(covenant: Covenant, asked: Asked) -> Decision:
    purpose = covenant.purposes[asked.purpose]
    source = covenant.sources(asked.purpose)[asked.source]
    reason = f"{covenant.participants[asked.source].name} antwoordt onder '{purpose.title}': {source.mode}."
    if not source.mode.by_machine:
        reason = _by_hand(covenant, asked.source, source.mode)
    return Decision(
        True,
        source.mode,
        f"{purpose.id}:{source.mode}",
        reason,
        "",
        attested_by(purpose, source),
        _articles((*purpose.requester_grounds, *source.ground)),
        reply_term=source.reply_term,
        lifetime=purpose.result_lifetime,
    )


def _by_hand(covenant: Covenant, source: str, mode: Mode) -> str:
    return f"{covenant.participants[source].name} antwoordt nadat een collega daar beslist: {mode}."


def attested_by(purpose: Purpose, source: Source) -> tuple[str, ...]:
    """Ids of what signing a Question to this source attests: general conditions, its own `mits`, the justification."""
    special = {id_ for terms in purpose.source_terms.values() for id_ in terms.conditions}
    attests = [
        condition.id
        for condition in purpose.conditions
        if condition.checked_by is CheckedBy.REQUESTER
        and (condition.id not in special or condition.id in source.conditions)
    ]
    if purpose.justification and JUSTIFICATION not in attests:
        attests.append(JUSTIFICATION)
    return tuple(attests)


def _numbers(purpose: Purpose, asked: Asked) -> Decision | None:
    """Step 7: how many persons and partners."""
    if not 1 <= asked.persons <= purpose.max_persons:
        return _deny(
            "personen",
            f"Onder dit doel vraagt u naar ten hoogste {purpose.max_persons} persoon of personen tegelijk",
            "Stel de vraag per persoon, elk met een eigen motivering.",
        )
    if asked.sources is not None and not 1 <= asked.sources <= purpose.max_sources:
        return _deny("bronnen", f"U kiest ten hoogste {purpose.max_sources} partners per vraag", "Kies er minder.")
    return None


def _identified(covenant: Covenant, asked: Asked, route: Decision, oin: str) -> Decision:
    """Step 7: by a kind of identifier that the covenant lists for this source; a combination goes by hand."""
    purpose, source = covenant.purposes[asked.purpose], covenant.sources(asked.purpose)[oin]
    kinds = source.kinds_of(asked.kind_class)
    if not kinds or (asked.kind is not None and asked.kind not in kinds):
        return _other_identifier(asked, source, covenant.participants[oin].name)
    if asked.kind_class == signed_pb2.KIND_CLASS_CERTAIN or purpose.possible is None:
        return route
    mode = source.mode_of(asked.kind_class)
    return replace(
        route,
        mode=mode,
        rule=f"{purpose.id}:{mode}",
        reason=_by_hand(covenant, oin, mode),
        reply_term=source.possible_term,
        lifetime=purpose.possible.lifetime,
    )


def _other_identifier(asked: Asked, source: Source, name: str) -> Decision:
    kinds = sorted(source.kinds)
    if asked.kind is not None:
        reason = f"{name} wordt onder dit doel niet gevraagd met '{asked.kind}'"
    elif asked.kind_class == signed_pb2.KIND_CLASS_POSSIBLE:
        reason = f"{name} wordt onder dit doel niet gevraagd met een naam: die kan meer personen aanwijzen"
    else:
        reason = f"{name} wordt onder dit doel niet gevraagd met een nummer"
    return _deny("identificatie", reason, f"Ander nummer nodig: gebruik {' of '.join(kinds)}.")


def _own_question(purpose: Purpose, asked: Asked, attests: tuple[str, ...], today: date) -> Decision | None:
    """Step 8, at the requester; `attests`: the conditions that it has to meet."""
    if asked.role is not None and asked.role not in purpose.asker.roles:
        return _deny(
            "rol",
            f"De rol '{asked.role}' mag onder dit doel niet vragen",
            f"Toegestane rollen: {', '.join(purpose.asker.roles)}.",
        )
    if asked.case_reference is not None and not case_fits(purpose.case_pattern, asked.case_reference):
        return _deny(
            "zaaknummer",
            f"Het zaaknummer ontbreekt of heeft niet de vorm die dit doel vraagt: {purpose.case.description}",
            "Neem het nummer over uit het dossier.",
        )
    if asked.attested is None:
        return None
    return _justified(purpose, asked) or _conditions(purpose, asked.attested, attests, today)


def _justified(purpose: Purpose, asked: Asked) -> Decision | None:
    """FG-08: three short texts where the purpose asks for them, one per further person, and never a BSN in a text."""
    fault = justification_fault(purpose, asked.justification) or reasons_fault(
        purpose, asked.persons, asked.justification, asked.reasons
    )
    return None if fault is None else _deny(*fault, article="AVG 5(1)(c), 6")


def _conditions(purpose: Purpose, attested: frozenset[str], attests: tuple[str, ...], today: date) -> Decision | None:
    statements, conditions = stated(attested), {it.id: it for it in purpose.conditions}
    failing = [
        (id_, why)
        for id_ in attests
        if (why := _condition_fails(conditions.get(id_), id_, statements, today)) is not None
    ]
    if not failing:
        return None
    # An age may rest on the date of another condition: what is wrong with that one is said first.
    failing.sort(key=lambda one: one[0] in conditions and conditions[one[0]].by_birth)
    first, why = failing[0]
    condition = conditions.get(first)
    text = condition.text if condition is not None else "de motivering staat in het dossier"
    by_birth = {it for it, _ in failing if it in conditions and conditions[it].by_birth}
    forms = [
        f"{it}={conditions[it].example}" if it in conditions and conditions[it].example else it
        for it, _ in failing
        if it not in by_birth
    ]
    remedy = [f"Bevestig: {', '.join(forms)}."] if forms else []
    remedy += [_AGE_REMEDY] if by_birth else []
    return replace(
        _deny("voorwaarde", f"Een voorwaarde is niet vervuld ({why}): {text}", " ".join(remedy)),
        condition=first,
        article=(condition.article if condition is not None else None) or _articles(purpose.requester_grounds),
    )


_AGE_REMEDY: Final = (
    "Geef van elke persoon de gecontroleerde geboortedatum. Past de leeftijd niet, vraag dan een andere partner."
)


def _condition_fails(
    condition: Condition | None, id_: str, statements: dict[str, list[str]], today: date
) -> str | None:
    if condition is not None:
        return why_not(condition, statements, today)
    return None if id_ in statements else "niet bevestigd"


def case_fits(pattern: str, reference: str) -> bool:
    """Whether a case reference has the form that a purpose asks."""
    compiled = _patterns.get(pattern) or _patterns.setdefault(pattern, re.compile(pattern, re.ASCII))
    return len(reference) <= 64 and compiled.fullmatch(reference) is not None


def _deny(rule: str, reason: str, remedy: str, mode: Mode | None = None, article: str = "") -> Decision:
    return Decision(False, mode, rule, reason, remedy, article=article)


_OTHER_COVENANT = _deny(
    "ander-convenant",
    "De vraag gaat uit van een andere versie van het convenant",
    "Zorg dat beide partijen dezelfde versie gebruiken.",
)
_NOT_IN_FORCE = _deny(
    "niet-geldig", "Het convenant is niet van kracht op dit moment", "Laat een nieuwe versie tekenen."
)
