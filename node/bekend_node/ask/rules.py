"""Step (1): what the own rules say, before anything leaves this node.

Every chosen source gets its own decision from the one rule function (`decide`), with everything that only this node
knows: role, kind of identifier, case reference, what the officer attested, which consent is on record. A purpose, role,
case or mandate that fits no source at all is refused as a whole.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta

from bekend_policy.decide import JUSTIFICATION, Asked, Decider, Decision, decide
from bekend_policy.decided import Judged, judged
from bekend_policy.decision_log import SUSPENDED
from bekend_policy.model import Covenant, Purpose
from bekend_policy.suspension import Suspensions
from bekend_policy.words import Mode
from bekend_proto.clock import day_of
from bekend_proto.errors import RefusedError, SuspendedError
from bekend_proto.identifiers import Identifier, InvalidIdentifier
from bekend_proto.names import PersonData, birth_date, combine

from bekend_node.ask.ages import AgeRefusedError, age_conditions, held, with_ages
from bekend_node.ask.consent import RULE as CONSENT_RULE
from bekend_node.ask.consent import Consent, consent_conditions
from bekend_node.classes import CERTAIN, POSSIBLE, KindClass, wire_class

NOT_CHOSEN = "Niet gekozen: u hebt deze partner niet gevraagd."
NO_CONSENT = "Deze partner vraagt u alleen met toestemming, en bij deze zaak staat er geen die geldt"
RECORD_IT = "Leg haar vast met: bekend toestemming vastleggen."
ONE_PERSON = "Toestemming geldt voor een persoon: vraag per persoon, onder een eigen zaaknummer."
LONGEST_JUSTIFICATION = 4000
_WITH_REMEDY = frozenset({CONSENT_RULE, "identificatie"})
"""Rules about one partner of which the officer can mend the cause at once."""


@dataclass(frozen=True, slots=True)
class OfficerRef:
    """Who asks: the user of the operating system, with name and role from the node's configuration."""

    user: str
    name: str
    role: str


@dataclass(frozen=True, slots=True)
class Inquiry:
    """One question of an officer: these persons, to these sources, for this purpose and case.

    `attested` are ids of conditions that the officer confirmed; `sources` is an explicit list (FG-09). `second` agreed
    before it is asked; `emergency` is why nobody did yet (FG-37).
    """

    purpose: str
    persons: tuple[Identifier, ...] = field(repr=False)
    sources: tuple[str, ...]
    officer: OfficerRef
    case_reference: str | None = None
    attested: frozenset[str] = frozenset()
    justification: str | None = None
    on_behalf_of: str | None = None
    second: OfficerRef | None = None
    emergency: str = field(default="", repr=False)
    described: tuple[PersonData, ...] = field(default=(), repr=False)
    """Each person as typed, where is asked by a combination: what a colleague at the source compares."""
    reasons: tuple[str, ...] = field(default=(), repr=False)
    """Why each person is asked about; the first may be empty, since the justification is about that one."""
    born: tuple[date | None, ...] = field(default=(), repr=False)
    """The verified date of birth of each person, where is asked by a number and the covenant asks an age."""

    def about(self, places: Sequence[int], sources: tuple[str, ...]) -> "Inquiry":
        """The same about some of its persons, by their places, to these sources."""
        return replace(
            self,
            persons=tuple(self.persons[place] for place in places),
            described=tuple(self.described[place] for place in places) if self.described else (),
            reasons=tuple(self.reasons[place] for place in places) if self.reasons else (),
            born=tuple(self.born[place] for place in places) if self.born else (),
            sources=sources,
        )

    @property
    def births(self) -> tuple[date | None, ...]:
        """The date of birth of each person, also where it is part of what was typed to ask by."""
        return tuple(_birth_of(one) for one in self.described) if self.described else self.born

    def settled(self, purpose: Purpose, today: date) -> "Inquiry":
        """What is kept of it: with the ids of the ages that held, without a date of birth beside a number."""
        return replace(self, attested=held(purpose, self.attested, self.births, today), born=())

    def why(self, place: int) -> str:
        """Why this person is asked about: all that a colleague at a source reads, and nothing on the others."""
        own = self.reasons[place] if self.reasons else ""
        return own or self.justification or ""

    @property
    def texts(self) -> str:
        """Every justification in it, for who looks along."""
        own = [f"Persoon {place}: {text}" for place, text in enumerate(self.reasons, 1) if text]
        return "\n".join([*([self.justification] if self.justification else []), *own])

    @property
    def kind_class(self) -> KindClass:
        """By which class of identifier is asked."""
        return wire_class(self.persons[0].kind) if self.persons else CERTAIN


@dataclass(frozen=True, slots=True)
class Plan:
    """Whom to ask, and why not the others. All in the covenant's order; the reasons are Dutch."""

    purpose: Purpose
    ask: tuple[str, ...]
    not_asked: Mapping[str, str]
    suspended: Mapping[str, str] = field(default_factory=dict)
    """Sources that would be asked, were it not for a signed note."""
    judged: tuple[Judged, ...] = ()
    """The decision about each source that was chosen, for the record."""
    consents: Mapping[str, Consent] = field(default_factory=dict)
    """The standing consent of the case, for partners who are asked with one."""
    kind_class: KindClass = CERTAIN

    @property
    def lifetime(self) -> timedelta:
        """How long what comes of it may be kept."""
        return lifetime_of(self.purpose, self.kind_class)


def lifetime_of(purpose: Purpose, kind_class: KindClass) -> timedelta:
    """How long an outcome may be kept: what may be about another person, as briefly as the covenant says."""
    if kind_class == POSSIBLE and purpose.possible is not None:
        return min(purpose.possible.lifetime, purpose.result_lifetime)
    return purpose.result_lifetime


def plan(covenant: Covenant, own: str, inquiry: Inquiry, now: datetime, consents: Mapping[str, Consent]) -> Plan:
    """Decide for each source of the purpose. `consents` are the standing ones of the case, per partner.

    Raises RefusedError (rule, Dutch reason) when nothing may be asked so.
    """
    purpose = covenant.purposes.get(inquiry.purpose)
    if purpose is None:
        raise _unknown_purpose()
    # (1): role, purpose, case and the own rules, for each source.
    _check_choice(covenant, own, purpose, inquiry, day_of(now))
    sources = [oin for oin in covenant.sources(purpose.id) if oin != own]
    decide_on = _decider(covenant, own, inquiry, now=now, consents=consents)
    decisions = {oin: decide_on(oin) for oin in dict.fromkeys([*sources, *inquiry.sources])}
    _refuse_whole(decisions, inquiry.sources, [one.id for one in age_conditions(purpose)])
    chosen = frozenset(inquiry.sources)
    reasons = {oin: _why_not(oin, decision, chosen) for oin, decision in decisions.items()}
    return Plan(
        purpose,
        ask=tuple(oin for oin, reason in reasons.items() if reason is None),
        not_asked={oin: reason for oin, reason in reasons.items() if reason is not None},
        judged=tuple(judged(oin, decisions[oin]) for oin in inquiry.sources),
        consents=consents,
        kind_class=inquiry.kind_class,
    )


def judge(
    covenant: Covenant, own: str, source: str, inquiry: Inquiry, *, now: datetime, consents: Mapping[str, Consent]
) -> Judged:
    """The decision about one source, for the record of a refusal."""
    return judged(source, _decider(covenant, own, inquiry, now=now, consents=consents)(source))


def plan_canary(covenant: Covenant, own: str, inquiry: Inquiry, now: datetime, kind_class: KindClass) -> Plan:
    """The one question that a node may ask itself, under either of its filters: the canary stands in both.

    Raises RefusedError when the fixed rule does not admit it.
    """
    purpose = covenant.purposes.get(inquiry.purpose)
    if purpose is None:
        raise _unknown_purpose()
    asked = replace(_asked(covenant, own, own, inquiry), kind_class=kind_class)
    decision = decide(covenant, asked, now)
    if not decision.allowed:
        raise _refused(decision)
    return Plan(purpose, ask=(own,), not_asked={}, judged=(judged(own, decision),), kind_class=kind_class)


def without_suspended(
    plan_: Plan, suspensions: Suspensions, covenant: Covenant, own: str, *, on_behalf_of: str | None, now: datetime
) -> Plan:
    """The plan without what is suspended now. Raises RefusedError, with what the note says, when that is all of it."""
    _check_suspended(suspensions, covenant, plan_.purpose.id, own, on_behalf_of=on_behalf_of, now=now)
    found: dict[str, str] = {}
    for source in plan_.ask:
        try:
            suspensions.check(covenant, plan_.purpose.id, now, requester=own, source=source, principal=on_behalf_of)
        except SuspendedError as fault:
            found[source] = fault.reason
    return replace(
        plan_,
        ask=tuple(source for source in plan_.ask if source not in found),
        suspended=found,
        judged=tuple(Judged(it.source, False, SUSPENDED) if it.source in found else it for it in plan_.judged),
    )


def _check_suspended(
    suspensions: Suspensions, covenant: Covenant, purpose: str, own: str, *, on_behalf_of: str | None, now: datetime
) -> None:
    try:
        suspensions.check(covenant, purpose, now, requester=own, principal=on_behalf_of)
    except SuspendedError as fault:
        raise RefusedError(SUSPENDED, f"{fault.reason}.") from None


def openable(
    covenant: Covenant,
    own: str,
    purpose: str,
    *,
    sources: Sequence[str],
    on_behalf_of: str | None,
    role: str,
    now: datetime,
) -> tuple[str, ...]:
    """Those of these sources whose filter may be fetched with this role, before there is a case or a person.

    Raises RefusedError when the purpose admits this organisation, mandate or role to no source at all.
    """
    named = covenant.sources(purpose) or dict.fromkeys(covenant.participants)
    decisions = {
        oin: _by_either(covenant, Asked(own, oin, purpose, on_behalf_of, 1, CERTAIN, covenant.hash, role=role), now)
        for oin in named
        if oin != own
    }
    _refuse_whole(decisions, tuple(decisions))
    return tuple(oin for oin in dict.fromkeys(sources) if oin in decisions and decisions[oin].allowed)


def _by_either(covenant: Covenant, asked: Asked, now: datetime) -> Decision:
    """The decision by a number; by a combination where a number is not asked by there."""
    found = decide(covenant, asked, now)
    return found if found.allowed else decide(covenant, replace(asked, kind_class=POSSIBLE), now)


def _check_choice(covenant: Covenant, own: str, purpose: Purpose, inquiry: Inquiry, today: date) -> None:
    if not inquiry.sources:
        raise RefusedError("FG-09", f"Kies zelf welke partners u wilt vragen. {_choice(covenant, own, purpose)}")
    unknown = [oin for oin in inquiry.sources if oin not in covenant.participants]
    if unknown:
        choice = _choice(covenant, own, purpose)
        raise RefusedError("partner-onbekend", f"{', '.join(unknown)} doet niet mee aan het convenant. {choice}")
    if own in inquiry.sources:
        raise RefusedError("eigen-organisatie", "U vraagt uw eigen organisatie. Zoek dat op in uw eigen systeem.")
    if len(set(inquiry.sources)) != len(inquiry.sources):
        raise RefusedError("partner-dubbel", "U noemt een partner twee keer. Noem elke partner een keer.")
    if not inquiry.persons or len(set(inquiry.persons)) != len(inquiry.persons):
        raise RefusedError("persoon-dubbel", "Vul minstens een persoon in, en elke persoon een keer.")
    if len({person.kind for person in inquiry.persons}) != 1:
        raise RefusedError("soort-gemengd", "Gebruik in een bevraging een soort nummer.")
    _check_described(inquiry)
    _check_births(purpose, inquiry, today)
    if len(inquiry.reasons) not in {0, len(inquiry.persons)}:
        raise RefusedError(
            "motivering-persoon", "Geef bij elke persoon een motivering; bij de eerste mag zij leeg zijn."
        )
    if len(inquiry.justification or "") > LONGEST_JUSTIFICATION:
        raise RefusedError("te-lang", f"De motivering heeft hoogstens {LONGEST_JUSTIFICATION} tekens.")


def _choice(covenant: Covenant, own: str, purpose: Purpose) -> str:
    partners = (f"{oin} ({_name(covenant, oin)})" for oin in covenant.sources(purpose.id) if oin != own)
    return f"U kunt kiezen uit: {', '.join(partners)}."


def _check_described(inquiry: Inquiry) -> None:
    """By a combination, each person is described in full, and the combination is made of just that."""
    if inquiry.kind_class == CERTAIN:
        if inquiry.described:
            raise RefusedError("persoonsgegevens", "Bij een nummer horen geen andere gegevens. Laat ze weg.")
        return
    if len(inquiry.described) != len(inquiry.persons):
        raise RefusedError("persoonsgegevens", "Vul van elke persoon alle gegevens in.")
    for person, data in zip(inquiry.persons, inquiry.described, strict=True):
        try:
            fits = combine(person.kind, data) == person
        except InvalidIdentifier:
            fits = False
        if not fits:
            raise RefusedError("persoonsgegevens", "De gegevens van een persoon passen niet bij wat gevraagd wordt.")


def _check_births(purpose: Purpose, inquiry: Inquiry, today: date) -> None:
    """Dates of birth are given where an age is asked, one for each person, and no day to come."""
    if inquiry.born and not age_conditions(purpose):
        raise RefusedError("persoonsgegevens", "Dit doel vraagt geen leeftijd. Laat de geboortedatum weg.")
    if len(inquiry.born) not in {0, len(inquiry.persons)}:
        raise RefusedError("persoonsgegevens", "Geef van elke persoon de geboortedatum, of van niemand.")
    if age_conditions(purpose) and any(one is not None and one > today for one in inquiry.births):
        raise RefusedError("persoonsgegevens", "Een geboortedatum ligt in de toekomst. Controleer dag, maand en jaar.")


def _decider(
    covenant: Covenant, own: str, inquiry: Inquiry, *, now: datetime, consents: Mapping[str, Consent]
) -> Callable[[str], Decision]:
    """Decides about one source after another; what is the same for hundreds of them is worked out once."""
    purpose = covenant.purposes.get(inquiry.purpose)
    forms = _consent_forms(purpose) if purpose is not None else ()
    if purpose is not None:
        # FG-38: an age rests on dates of birth, and not on what an officer types.
        inquiry = replace(inquiry, attested=with_ages(purpose, inquiry.attested, inquiry.births, day_of(now)))
    plain = Decider(covenant, _asked(covenant, own, own, _on_record(inquiry, forms, None)), now)

    def decide_on(source: str) -> Decision:
        # A consent is one person's.
        consent = consents.get(source) if len(inquiry.persons) == 1 else None
        if consent is None:
            return _without_consent(inquiry, forms, plain.about(source))
        return decide(covenant, _asked(covenant, own, source, _on_record(inquiry, forms, consent)), now)

    return decide_on


def _on_record(inquiry: Inquiry, forms: Collection[str], consent: Consent | None) -> Inquiry:
    """FG-10: what rests on consent rests on the record of it, and not on what an officer types.

    `forms`: the purpose's conditions that a consent fulfils.
    """
    typed = {one for one in inquiry.attested if one.partition("=")[0] in forms}
    recorded = {f"{id_}={consent.day}" for id_ in forms} if consent is not None else set()
    return replace(inquiry, attested=inquiry.attested - typed | recorded)


def _without_consent(inquiry: Inquiry, forms: Collection[str], decision: Decision) -> Decision:
    """The decision about a source for which no consent stands on record."""
    by_mode = decision.allowed and decision.mode is Mode.CONSENT
    if not by_mode and decision.condition not in forms:
        return decision
    several = f" {ONE_PERSON}" if len(inquiry.persons) > 1 else ""
    return replace(decision, allowed=False, rule=CONSENT_RULE, reason=NO_CONSENT, remedy=f"{RECORD_IT}{several}")


def _consent_forms(purpose: Purpose) -> tuple[str, ...]:
    return consent_conditions(purpose, (one.id for one in purpose.conditions))


def _birth_of(data: PersonData) -> date | None:
    try:
        return birth_date(data.geboortedatum)
    except InvalidIdentifier:
        return None


def _asked(covenant: Covenant, own: str, source: str, inquiry: Inquiry) -> Asked:
    return Asked(
        requester=own,
        source=source,
        purpose=inquiry.purpose,
        on_behalf_of=inquiry.on_behalf_of,
        persons=len(inquiry.persons),
        kind_class=inquiry.kind_class,
        covenant_hash=covenant.hash,
        role=inquiry.officer.role,
        kind=inquiry.persons[0].kind,
        # Empty and not None: None would mean that this party cannot know it.
        case_reference=inquiry.case_reference or "",
        # Who writes the justification down here has confirmed that there is one.
        attested=inquiry.attested | ({JUSTIFICATION} if (inquiry.justification or "").strip() else frozenset()),
        sources=len(inquiry.sources),
        justification=inquiry.justification or "",
        reasons=inquiry.reasons,
    )


def _refuse_whole(decisions: Mapping[str, Decision], chosen: Sequence[str], ages: Collection[str] = ()) -> None:
    """No source may be asked in this way, so it is not about a source: role, case, kind, mandate or purpose."""
    if any(decision.allowed for decision in decisions.values()):
        return
    raise _refused(decisions[chosen[0]], ages)


def _why_not(oin: str, decision: Decision, chosen: Collection[str]) -> str | None:
    if not decision.allowed:
        remedy = f" {decision.remedy}" if decision.rule in _WITH_REMEDY else ""
        return f"{decision.reason} (regel {decision.rule}).{remedy}"
    return None if oin in chosen else NOT_CHOSEN


def _refused(decision: Decision, ages: Collection[str] = ()) -> RefusedError:
    kind = AgeRefusedError if decision.condition in ages else RefusedError
    return kind(decision.rule, f"{decision.reason}. {decision.remedy}".strip())


def _unknown_purpose() -> RefusedError:
    return RefusedError("onbekend-doel", "Dit doel staat niet in het convenant. Kies een doel van uw organisatie.")


def _name(covenant: Covenant, oin: str) -> str:
    return covenant.participants[oin].name
