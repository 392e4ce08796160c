"""What the covenant's files may say: Dutch keys on the outside, English names inside.

`afspraken.yaml` is an Agreement, each `deelnemers/*.yaml` a Participant, each `doelen/*.yaml` a Purpose. Whatever a
file says beyond these fields is a fault. What files say about each other is checked in `check.py`.
"""

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

from pydantic import AfterValidator, Field, model_validator

from bekend_policy.scalars import Day, Duration, JaNee, Oin, Slug, Whole, is_oin, rule_fault
from bekend_policy.strict_yaml import StrictModel

SHIELDED_REGISTER = "afgeschermd"
"""The reserved register of a partner's shielded clients: always subtracted, never named in a covenant."""


class Kind(StrEnum):
    """What sort of organisation a participant is (`soort`). Direction rules speak of these."""

    OM = "om"
    POLITIE = "politie"
    RECLASSERING = "reclassering"
    RVDK = "rvdk"
    DJI = "dji"
    CJIB = "cjib"
    HALT = "halt"
    GI = "gi"
    GI_JEUGDRECLASSERING = "gi_jeugdreclassering"
    COLLEGE_BW = "college_bw"
    BURGEMEESTER = "burgemeester"
    WIJKTEAM = "wijkteam"
    SCHULDHULP = "schuldhulp"
    WMO_AANBIEDER = "wmo_aanbieder"
    JEUGDHULP = "jeugdhulp"
    GGD = "ggd"
    GGZ = "ggz"
    VEILIG_THUIS = "veilig_thuis"
    ZVH = "zvh"
    SLACHTOFFERHULP = "slachtofferhulp"
    WONINGCORPORATIE = "woningcorporatie"
    # Named so that they can be refused by name: direction rule D10.
    ZORGVERZEKERAAR = "zorgverzekeraar"
    WERKGEVER = "werkgever"
    SCHOOL = "school"
    VERHUURDER = "verhuurder"
    COMMERCIEEL = "commercieel"


class Mode(StrEnum):
    """How a source answers for a purpose (protocol section 9)."""

    AUTOMATIC = "automatisch"
    STANDING = "standaardbesluit"
    MANUAL = "handmatig"
    CONSENT = "toestemming"
    NEVER = "nooit"

    @property
    def by_machine(self) -> bool:
        """Whether the node answers without a person deciding at that moment."""
        return self in {Mode.AUTOMATIC, Mode.STANDING}


class Frame(StrEnum):
    """The legal frame of a purpose (`kader`); `directions.py` ties each to the laws that open it."""

    STRAFVORDERING = "strafvordering"
    SOCIAAL_DOMEIN = "sociaal_domein"
    VEILIG_THUIS = "veilig_thuis"
    ZVH = "zvh"
    NAZORG = "nazorg"
    VERWARD_GEDRAG = "verward_gedrag"
    RADICALISERING = "radicalisering"


class GroundStatus(StrEnum):
    """How far a ground has been tested by a lawyer."""

    TESTED = "getoetst"
    TO_TEST = "te_toetsen"
    DISPUTED = "omstreden"


class CheckedBy(StrEnum):
    """Who can check a condition: every party from the Question, or the requester, who attests it by signing."""

    QUESTION = "vraag"
    REQUESTER = "vrager"


class IdentifierKind(StrEnum):
    """Kinds of identifier that a purpose admits. `test` is for demo covenants only."""

    BSN = "bsn"
    TEST = "test"


def _party(value: str) -> str:
    if value in set(Kind) or is_oin(value):
        return value
    raise rule_fault(f"'{value}' is geen soort deelnemer en geen OIN", f"Kies uit {', '.join(Kind)}, of geef een OIN.")


Text = Annotated[str, Field(max_length=4000)]
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


class Limits(StrictModel):
    """Persons a day."""

    per_officer: Annotated[Whole, Field(ge=1)] = Field(alias="per_persoon")
    per_organisation: Annotated[Whole, Field(ge=1)] = Field(alias="per_organisatie")

    @model_validator(mode="after")
    def _officer_within_organisation(self) -> "Limits":
        if self.per_officer > self.per_organisation:
            raise rule_fault("per_persoon is hoger dan per_organisatie", "Verlaag per_persoon.", "per_persoon")
        return self


class Condition(StrictModel):
    """A condition on a purpose, and who can check it."""

    id: Slug
    text: Text = Field(alias="tekst")
    checked_by: CheckedBy = Field(alias="controle")


class Mandate(StrictModel):
    """One organisation may ask in the name of another."""

    requester: Oin = Field(alias="vrager")
    principal: Oin = Field(alias="namens")
    decision: Text = Field(alias="mandaat")


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
    reply_term: Duration | None = Field(default=None, alias="reactietermijn")
    conditions: tuple[Slug, ...] = Field(default=(), alias="mits")
    reason: Text | None = Field(default=None, alias="reden")

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


class CaseTerms(StrictModel):
    """Which case reference a question needs."""

    pattern: Annotated[str, AfterValidator(_case_pattern)] = Field(alias="patroon")
    description: Text = Field(alias="omschrijving")


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
    max_persons: Annotated[Whole, Field(ge=1, le=8)] = Field(alias="max_personen")
    max_sources: Annotated[Whole, Field(ge=1, le=64)] = Field(alias="max_bronnen")
    limits: Limits = Field(alias="max_per_dag")
    result_lifetime: Duration = Field(alias="geldigheid_resultaat")
    kinds: frozenset[IdentifierKind] = Field(alias="identificatie", min_length=1)
    four_eyes: JaNee = Field(alias="vier_ogen")
    informing: Text = Field(alias="informeren")
    deferral: Text | None = Field(default=None, alias="uitstel")
    dpia: Text | None = None
    advice: Text | None = Field(default=None, alias="rac_advies")
    open_question: Text | None = Field(default=None, alias="open_vraag")
    filter_interval: Duration | None = None

    @property
    def case_pattern(self) -> str:
        """The pattern that the whole case reference must match (a regular expression)."""
        return self.case.pattern

    @model_validator(mode="after")
    def _whole(self) -> "Purpose":
        if self.result_lifetime <= timedelta(0):
            raise rule_fault(
                "geldigheid_resultaat moet langer dan nul zijn", "Bijvoorbeeld PT72H.", "geldigheid_resultaat"
            )
        _check_interval(self.filter_interval)
        return self


class Participant(StrictModel):
    """A partner of the covenant."""

    oin: Oin
    name: str = Field(alias="naam", max_length=120)
    kind: Kind = Field(alias="soort")
    signer: str = Field(alias="ondertekenaar", max_length=200)
    desk: Text = Field(alias="loket")
    houses: tuple[Oin, ...] = Field(default=(), alias="zvh")
    """Zorg- en Veiligheidshuizen in which it takes part; empty: those of this covenant."""


class Operator(StrictModel):
    """Who runs the broker, and the key of its `beheerder`."""

    oin: Oin
    name: str = Field(alias="naam", max_length=120)
    key: str = Field(alias="sleutel", max_length=200)


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
    totals: Limits = Field(alias="totalen_per_dag")
    filter_interval: Duration | None = None

    @model_validator(mode="after")
    def _whole(self) -> "Agreement":
        if self.last_day < self.first_day:
            raise rule_fault("geldig_tot_en_met ligt voor geldig_vanaf", "Verbeter de datums.", "geldig_tot_en_met")
        _check_interval(self.filter_interval)
        return self


def _check_interval(interval: timedelta | None) -> None:
    if interval is not None and not timedelta(minutes=1) <= interval <= timedelta(days=1):
        raise rule_fault("filter_interval moet tussen PT1M en P1D liggen", "Bijvoorbeeld PT15M.", "filter_interval")
