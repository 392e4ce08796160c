"""What the covenant's files may say: Dutch keys on the outside, English names inside.

`afspraken.yaml` is an Agreement, each `deelnemers/*.yaml` a Participant, each `doelen/*.yaml` a Purpose. Whatever a
file says beyond these fields is a fault. What files say about each other is checked in `check.py`.
"""

import re
from datetime import date, timedelta
from typing import Annotated, Literal

from bekend_proto.shape import MAX_ASKED, MAX_PERSONS, MAX_SOURCES
from pydantic import AfterValidator, Field, model_validator

from bekend_policy.conditions import Condition
from bekend_policy.scalars import Day, Duration, Hex32, JaNee, Oin, Slug, Text, Whole, Years, is_oin, rule_fault
from bekend_policy.strict_yaml import StrictModel
from bekend_policy.words import CheckedBy, Frame, GroundStatus, IdentifierKind, Kind, Mode

__all__ = [
    "SHIELDED_REGISTER",
    "Agreement",
    "AskerTerms",
    "CaseTerms",
    "CheckedBy",
    "Condition",
    "DeferralTerms",
    "Frame",
    "General",
    "Ground",
    "GroundStatus",
    "IdentifierKind",
    "Kind",
    "Limits",
    "Mandate",
    "MandateRule",
    "Mode",
    "Operator",
    "Participant",
    "Party",
    "PossibleTerms",
    "Purpose",
    "RaiseTerms",
    "SourceTerms",
    "Text",
]

SHIELDED_REGISTER = "afgeschermd"
"""The reserved register of a partner's shielded clients: always subtracted, never named in a covenant."""

DEFAULT_REPLY_TERM = timedelta(days=3)
"""Term of a `standaardbesluit` that states none, for when it falls back to `handmatig`."""

LONGEST_POSSIBLE = timedelta(hours=72)
"""How long an outcome may live that may be about another person."""

COLLECT_INTERVAL = timedelta(minutes=15)
"""How often a requester collects late answers (protocol section 9)."""


def _party(value: str) -> str:
    if value in set(Kind) or is_oin(value):
        return value
    raise rule_fault(f"'{value}' is geen soort deelnemer en geen OIN", f"Kies uit {', '.join(Kind)}, of geef een OIN.")


Party = Annotated[str, AfterValidator(_party)]
"""A kind of participant, or the OIN of one."""

# A case pattern is a row of characters, \d and [classes], each with an optional ? or {n} or {n,m}. No groups, no *
# and no +, so that no covenant can keep a node busy.
_CASE_PATTERN = re.compile(
    r"(?:(?:[A-Za-z0-9 /_:-]|\\[d./-]|\[(?:[^\[\]\\]|\\[./-])+\])(?:\?|\{\d{1,2}(?:,\d{1,2})?\})?)+"
)


def _case_pattern(value: str) -> str:
    if len(value) <= 80 and _CASE_PATTERN.fullmatch(value):
        try:
            re.compile(value)
        except re.error:
            pass
        else:
            return value
    raise rule_fault(
        "het patroon van het zaaknummer is te vrij of klopt niet",
        r"Gebruik tekens, \d en [reeksen], elk met {aantal}: \d{2}/\d{6}-\d{2}. Geen groepen, geen * en geen +.",
    )


class Ground(StrictModel):
    """A legal ground: an article of a law."""

    law: str = Field(alias="wet", max_length=80)
    article: str = Field(alias="artikel", max_length=120)
    version: Day | None = Field(default=None, alias="versie")
    status: GroundStatus | None = Field(default=None, alias="status")
    note: Text | None = Field(default=None, alias="toelichting")

    def __str__(self) -> str:
        return f"{self.law} {self.article}"

    @property
    def tested(self) -> bool:
        """Whether a lawyer has tested it."""
        return self.status is GroundStatus.TESTED


class Limits(StrictModel):
    """Persons a day."""

    per_officer: Annotated[Whole, Field(ge=1)] = Field(alias="per_persoon")
    per_organisation: Annotated[Whole, Field(ge=1)] = Field(alias="per_organisatie")

    @model_validator(mode="after")
    def _officer_within_organisation(self) -> "Limits":
        if self.per_officer > self.per_organisation:
            raise rule_fault("per_persoon is hoger dan per_organisatie", "Verlaag per_persoon.", "per_persoon")
        return self


class RaiseTerms(StrictModel):
    """How far a second person may raise an officer's limit, for 24 hours, on the record (see `raising.py`)."""

    per_officer: Annotated[Whole, Field(ge=1)] = Field(alias="per_persoon")
    roles: tuple[Slug, ...] = Field(alias="rollen", min_length=1)
    """Who may raise it: never the officer whose limit it is."""


class DeferralTerms(StrictModel):
    """When informing the person may wait, and until when that stands without another look (FG-34)."""

    ground: Text = Field(alias="grond")
    review: Duration | None = Field(default=None, alias="herbeoordeling")


class Mandate(StrictModel):
    """One organisation may ask in the name of another."""

    requester: Oin = Field(alias="vrager")
    principal: Oin = Field(alias="namens")
    decision: Text = Field(alias="mandaat")
    last_day: Day | None = Field(default=None, alias="tot_en_met")

    def runs_on(self, day: date) -> bool:
        """Whether it holds on this day."""
        return self.last_day is None or day <= self.last_day


class MandateRule(StrictModel):
    """Which kind of organisation may have itself represented by which other kind."""

    principal: Kind = Field(alias="van")
    requester: Kind = Field(alias="aan")
    article: Text = Field(alias="grond")


class AskerTerms(StrictModel):
    """Who may ask: organisations, roles, and who asks in whose name."""

    organisations: tuple[Party, ...] = Field(alias="organisaties", min_length=1)
    roles: tuple[Slug, ...] = Field(alias="rollen", min_length=1)
    mandates: tuple[Mandate, ...] = Field(default=(), alias="namens")


class SourceTerms(StrictModel):
    """How a kind of participant, or one of them, answers for a purpose."""

    mode: Mode = Field(alias="modus")
    grounds: tuple[Ground, ...] = Field(default=(), alias="grondslag")
    registers: tuple[Slug, ...] = Field(default=())
    max_list_age: Duration = Field(default=timedelta(days=3), alias="maximale_ouderdom_lijst")
    own_reply_term: Duration | None = Field(default=None, alias="reactietermijn")
    conditions: tuple[Slug, ...] = Field(default=(), alias="mits")
    own_kinds: Annotated[tuple[IdentifierKind, ...], Field(min_length=1)] | None = Field(
        default=None, alias="identificatie"
    )
    """The kinds of the purpose that this source may use; None: all of them."""
    labels: Annotated[tuple[Slug, ...], Field(min_length=1)] | None = None
    """What the source's system must say of a person before the person is read in (FG-39); None: nothing."""
    only_for: tuple[Party, ...] = Field(default=(), alias="alleen_voor")
    """Askers that this source answers; empty: all of the purpose. Who asks in another's name is named itself too."""
    alternative: Text | None = Field(default=None, alias="alternatief")
    reason: Text | None = Field(default=None, alias="reden")

    @property
    def reply_term(self) -> timedelta | None:
        """How long a colleague at the source may take; None where no person ever decides.

        A `standaardbesluit` has one too: without a valid decision the source answers by hand (protocol section 9).
        """
        if self.own_reply_term is None and self.mode is Mode.STANDING:
            return DEFAULT_REPLY_TERM
        return self.own_reply_term

    @model_validator(mode="after")
    def _complete(self) -> "SourceTerms":
        if self.mode is Mode.NEVER:
            if self.reason is None:
                raise rule_fault("bij modus nooit ontbreekt de reden", "Voeg 'reden:' toe.")
            return self
        if not self.grounds:
            raise rule_fault("de grondslag van de bron ontbreekt", "Voeg 'grondslag:' toe: wet en artikel (FG-03).")
        if not self.registers:
            raise rule_fault("geen enkel register genoemd", "Voeg 'registers:' toe.")
        if SHIELDED_REGISTER in self.registers:
            raise rule_fault(f"register '{SHIELDED_REGISTER}' antwoordt nooit", "Haal het uit de lijst.", "registers")
        if self.max_list_age <= timedelta(0):
            raise rule_fault(
                "maximale_ouderdom_lijst moet langer dan nul zijn", "Bijvoorbeeld P3D.", "maximale_ouderdom_lijst"
            )
        return self


class PossibleTerms(StrictModel):
    """How a question by a combination is answered: by hand, and for a short time."""

    reply_term: Duration = Field(alias="reactietermijn")
    lifetime: Duration = Field(alias="levensduur")

    @model_validator(mode="after")
    def _short(self) -> "PossibleTerms":
        if not timedelta(0) < self.lifetime <= LONGEST_POSSIBLE:
            raise rule_fault(
                "een uitkomst 'mogelijk bekend' leeft langer dan nul en ten hoogste 72 uur",
                "Kies ten hoogste PT72H.",
                "levensduur",
            )
        if not timedelta(0) < self.reply_term <= self.lifetime:
            raise rule_fault(
                "de reactietermijn moet langer dan nul zijn, en niet langer dan de levensduur",
                "Een collega beslist terwijl de uitkomst nog geldt: bijvoorbeeld PT24H.",
                "reactietermijn",
            )
        return self


class CaseTerms(StrictModel):
    """Which case reference a question needs."""

    pattern: Annotated[str, AfterValidator(_case_pattern)] = Field(alias="patroon")
    description: Text = Field(alias="omschrijving")
    example: str | None = Field(default=None, alias="voorbeeld", max_length=64)

    @model_validator(mode="after")
    def _example_fits(self) -> "CaseTerms":
        if self.example is not None and not re.fullmatch(self.pattern, self.example, re.ASCII):
            raise rule_fault("het voorbeeld past niet bij het patroon", "Verbeter één van de twee.", "voorbeeld")
        return self


class Purpose(StrictModel):
    """One purpose: who may ask whom, on what ground, under which conditions and limits."""

    id: str = Field(alias="doel", max_length=100)
    title: Text = Field(alias="titel")
    description: Text = Field(alias="omschrijving")
    phase: Slug | None = Field(default=None, alias="fase")
    frame: Frame = Field(alias="kader")
    asker: AskerTerms = Field(alias="vrager")
    requester_grounds: tuple[Ground, ...] = Field(alias="grondslag_vrager", min_length=1)
    source_terms: dict[Party, SourceTerms] = Field(alias="bronnen", min_length=1)
    conditions: tuple[Condition, ...] = Field(default=(), alias="voorwaarden")
    case: CaseTerms = Field(alias="zaaknummer")
    justification: JaNee = Field(alias="motivering")
    weighing: JaNee = Field(default=False, alias="afweging")
    """Three short texts: why needed, why this means, why not with less (FG-08)."""
    own_reasons: JaNee = Field(default=False, alias="motivering_per_persoon")
    """Whether each further person in a question needs a text of its own (Bgs 2.19)."""
    max_persons: Annotated[Whole, Field(ge=1, le=MAX_PERSONS)] = Field(alias="max_personen")
    max_sources: Annotated[Whole, Field(ge=1, le=MAX_SOURCES)] = Field(alias="max_bronnen")
    persons: Text | None = Field(default=None, alias="personen")
    limits: Limits = Field(alias="max_per_dag")
    raised: RaiseTerms | None = Field(default=None, alias="verhoging")
    result_lifetime: Duration = Field(alias="geldigheid_resultaat")
    log_years: Years | None = Field(default=None, alias="bewaartermijn_log")
    kinds: frozenset[IdentifierKind] = Field(alias="identificatie", min_length=1)
    possible: PossibleTerms | None = Field(default=None, alias="mogelijk")
    """There where one of the kinds is a combination."""
    four_eyes: JaNee = Field(alias="vier_ogen")
    emergency: Text | None = Field(default=None, alias="noodgreep")
    """When an officer may ask before a second one has looked, who then does so within 24 hours; none: never."""
    informing: Text = Field(alias="informeren")
    deferral: DeferralTerms | None = Field(default=None, alias="uitstel")
    minors: Text | None = Field(default=None, alias="minderjarigen")
    visibility: Text | None = Field(default=None, alias="zichtbaarheid")
    exceptions: tuple[Text, ...] = Field(default=(), alias="uitzonderingen")
    source_records: tuple[Text, ...] = Field(default=(), alias="bron_legt_vast")
    next_step: Text | None = Field(default=None, alias="vervolgstap")
    notice: Text | None = Field(default=None, alias="let_op")
    dpia: Text | None = None
    advice: Text | None = Field(default=None, alias="rac_advies")
    last_day: Day | None = Field(default=None, alias="einddatum")
    """Last day on which it may be used; needed as long as one of its grounds is not `getoetst`."""
    open_question: Text | None = Field(default=None, alias="open_vraag")
    in_service: JaNee = Field(default=True, alias="in_dienst")
    filter_interval: Duration | None = None

    @property
    def case_pattern(self) -> str:
        """The pattern that the whole case reference must match (a regular expression)."""
        return self.case.pattern

    def kinds_of(self, terms: SourceTerms) -> frozenset[IdentifierKind]:
        """The kinds of identifier by which a source with these terms may be asked."""
        return self.kinds if terms.own_kinds is None else self.kinds & set(terms.own_kinds)

    @property
    def grounds(self) -> tuple[Ground, ...]:
        """All grounds: the requester's and those of every source."""
        return (*self.requester_grounds, *(ground for terms in self.source_terms.values() for ground in terms.grounds))

    @property
    def untested(self) -> tuple[Ground, ...]:
        """The grounds that no lawyer has tested yet, or that are disputed: shown wherever the purpose is."""
        return tuple(ground for ground in self.grounds if not ground.tested)

    @model_validator(mode="after")
    def _whole(self) -> "Purpose":
        if self.result_lifetime <= timedelta(0):
            raise rule_fault(
                "geldigheid_resultaat moet langer dan nul zijn", "Bijvoorbeeld PT72H.", "geldigheid_resultaat"
            )
        if self.max_persons * self.max_sources > MAX_ASKED:
            most = MAX_ASKED // self.max_persons
            raise rule_fault(
                f"max_personen maal max_bronnen is meer dan {MAX_ASKED}",
                f"Met max_personen {self.max_persons} is max_bronnen ten hoogste {most}.",
                "max_bronnen",
            )
        _check_interval(self.filter_interval)
        return self


class Participant(StrictModel):
    """A partner of the covenant."""

    oin: Oin
    name: str = Field(alias="naam", max_length=120)
    kind: Kind = Field(alias="soort")
    parent: Oin | None = Field(default=None, alias="hoort_bij")
    """The organisation whose SubOIN this is: college and burgemeester are two controllers under one OIN."""
    region: Text | None = Field(default=None, alias="werkgebied")
    houses: tuple[Oin, ...] = Field(default=(), alias="zvh")
    """Zorg- en Veiligheidshuizen in which it takes part; empty: those of this covenant."""
    signer: str = Field(alias="ondertekenaar", max_length=200)
    lawyer: str | None = Field(default=None, alias="jurist", max_length=200)
    """Key of the lawyer (or RAC) whose line stands beside that of the ondertekenaar (FG-05)."""
    former_keys: tuple[Annotated[str, Field(max_length=200)], ...] = Field(default=(), alias="vervangt", max_length=4)
    """Keys that these replace: each signs once more, so that partners who signed before can see who renewed."""
    privacy_officer: Text | None = None
    privacy_deputy: Text | None = Field(default=None, alias="privacy_officer_vervanger")

    @property
    def keys(self) -> tuple[str, ...]:
        """The keys whose lines make its signature: the ondertekenaar's and, where there is one, the jurist's."""
        return (self.signer,) if self.lawyer is None else (self.signer, self.lawyer)


class Operator(StrictModel):
    """Who runs the broker, and the key of its `beheerder`."""

    oin: Oin
    name: str = Field(alias="naam", max_length=120)
    key: str = Field(alias="sleutel", max_length=200)


class General(StrictModel):
    """What holds for every purpose, for who reads: nothing here widens a rule."""

    identity: Text = Field(alias="vergewissen")
    outcome: tuple[Slug, ...] = Field(alias="inhoud_antwoord", min_length=1)
    never: tuple[Text, ...] = Field(alias="altijd_uitgezonderd", min_length=1)
    not_taken_in: Text = Field(alias="resultaat_bij_niet_in_behandeling")
    own_staff: Text = Field(alias="eigen_medewerker_of_vip")
    minors: Text = Field(alias="minderjarigen")
    region: Text = Field(alias="regio")
    decisions: Text = Field(alias="besluit_over_persoon")
    log_use: tuple[Text, ...] = Field(alias="gebruik_log", min_length=1)

    @model_validator(mode="after")
    def _outcome_only(self) -> "General":
        if set(self.outcome) != {"naam_partner", "functioneel_contact"}:
            raise rule_fault(
                "een antwoord bevat de naam van de partner en een functioneel contact, niets anders (FG-11)",
                "Schrijf [naam_partner, functioneel_contact].",
                "inhoud_antwoord",
            )
        return self


class Agreement(StrictModel):
    """What holds for the whole covenant: `afspraken.yaml`."""

    id: Slug = Field(alias="convenant")
    name: str = Field(alias="naam", max_length=200)
    version: Annotated[Whole, Field(ge=1)] = Field(alias="versie")
    first_day: Day = Field(alias="geldig_vanaf")
    last_day: Day = Field(alias="geldig_tot_en_met")
    demo: JaNee = False
    quorum: Annotated[Whole, Field(ge=1)]
    operator: Operator = Field(alias="beheerder")
    auditor: Text | None = None
    auditor_key: Hex32 | None = Field(default=None, alias="auditor_sleutel")
    """X25519: what the auditor alone may read is sealed to it (protocol section 8)."""
    auditor_signer: str | None = Field(default=None, alias="auditor_ondertekent", max_length=200)
    """Ed25519: the auditor signs what came of an audit."""
    route_map: Annotated[str, Field(pattern=r"^https://[!-~]+$", max_length=200)] | None = Field(
        default=None, alias="routekaart"
    )
    """Link to the region's own route map to the Zorg- en Veiligheidshuis (AVE)."""
    mandate_rules: tuple[MandateRule, ...] = Field(default=(), alias="mandaten")
    general: General | None = Field(default=None, alias="algemeen")
    log_years: Years = Field(default=5, alias="bewaartermijn_log")
    combinations: tuple[IdentifierKind, ...] = Field(default=(), alias="combinaties")
    """The combinations that the partners agreed on: a purpose lists no other."""
    signatures_from: Annotated[Whole, Field(ge=1)] | None = Field(default=None, alias="handtekeningen_vanaf")
    """Oldest version on which a signature may still count; without it, the version before this one."""
    totals: Limits = Field(alias="totalen_per_dag")
    filter_interval: Duration | None = None
    collect_interval: Duration = Field(default=COLLECT_INTERVAL, alias="ophalen_elke")
    suspenders: dict[Literal["knooppunt", "doel", "federatie"], tuple[Oin, ...]] = Field(
        default_factory=dict, alias="stilzetten"
    )
    """Who may suspend, beside the operator and each partner its own node and source roles."""

    @model_validator(mode="after")
    def _whole(self) -> "Agreement":
        if self.last_day < self.first_day:
            raise rule_fault("geldig_tot_en_met ligt voor geldig_vanaf", "Verbeter de datums.", "geldig_tot_en_met")
        _check_interval(self.filter_interval)
        self._check_collecting()
        if not all(kind.possible for kind in self.combinations):
            remedy = f"Kies uit {', '.join(kind for kind in IdentifierKind if kind.possible)}."
            raise rule_fault("een van de combinaties is geen combinatie maar een nummer", remedy, "combinaties")
        if self.auditor is None and (self.auditor_key or self.auditor_signer):
            raise rule_fault("er staat een sleutel van een auditor, en geen auditor", "Vul 'auditor:' in.", "auditor")
        return self

    def _check_collecting(self) -> None:
        """When late answers are fetched must tell nothing: one interval for everybody, but in a demo."""
        if not self.demo and self.collect_interval != COLLECT_INTERVAL:
            raise rule_fault("ophalen_elke is PT15M; alleen een demo kan sneller", "Laat de regel weg.", "ophalen_elke")
        if not timedelta(seconds=1) <= self.collect_interval <= COLLECT_INTERVAL:
            raise rule_fault("ophalen_elke moet tussen PT1S en PT15M liggen", "Bijvoorbeeld PT15M.", "ophalen_elke")


def _check_interval(interval: timedelta | None) -> None:
    if interval is not None and not timedelta(minutes=1) <= interval <= timedelta(days=1):
        raise rule_fault("filter_interval moet tussen PT1M en P1D liggen", "Bijvoorbeeld PT15M.", "filter_interval")
