"""What case systems say and hear: one strict model per message, Dutch names on the wire, every length bounded."""

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final

from bekend_proto.identifiers import KINDS
from bekend_proto.names import PersonData
from bekend_proto.shape import MAX_SOURCES
from pydantic import (
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Discriminator,
    Field,
    StringConstraints,
    Tag,
    ValidationError,
)
from pydantic.config import JsonDict

from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.described import LONGEST, from_fields
from bekend_node.rest.problems import CONTENT, UNREADABLE, Fault, Problem
from bekend_node.rest.questions import State

Oin = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}[0-9A-Z]{12}$")]
PurposeId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_-]{1,60}/[a-z0-9_-]{1,60}$")]
ConditionId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9-]{1,100}$")]
Text = Annotated[str, StringConstraints(max_length=4000)]
MOST_PERSONS: Final = 8


class _Said(BaseModel):
    """What comes in. hide_input_in_errors: a fault must never quote an identifier."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class _Person(_Said):
    reason: Text = Field(
        "",
        alias="motivering",
        repr=False,
        description="Waarom ook deze persoon, waar het doel dat vraagt (`motiveringPerPersoon`); niet bij de eerste.",
    )


class NumberBody(_Person):
    """Een persoon naar wie met een nummer wordt gevraagd."""

    number: Annotated[str, StringConstraints(min_length=1, max_length=40)] = Field(
        alias="nummer", repr=False, description="Het nummer, van de soort die de vraag noemt."
    )
    birth_date: Annotated[str, StringConstraints(max_length=LONGEST)] = Field(
        "",
        alias="geboortedatum",
        repr=False,
        description="Gecontroleerd, JJJJ-MM-DD of DD-MM-JJJJ: alleen waar een gekozen partner een leeftijd vraagt "
        "(`leeftijden`). Zij wordt niet bewaard en niet verstuurd.",
    )


_Typed = Annotated[str, StringConstraints(max_length=LONGEST)]


class DescribedBody(_Person):
    """Een persoon zonder nummer, met de gegevens die de combinatie vraagt, zoals in de BRP.

    Zo gaan ze naar de collega die vergelijkt.
    """

    surname: Annotated[str, StringConstraints(min_length=1, max_length=LONGEST)] = Field(
        alias="geslachtsnaam", repr=False, description="De eigen achternaam, van de geboorte."
    )
    prefix: _Typed = Field("", alias="voorvoegsel", repr=False)
    given_names: _Typed = Field("", alias="voornamen", repr=False)
    birth_date: _Typed = Field("", alias="geboortedatum", repr=False, description="JJJJ-MM-DD of DD-MM-JJJJ.")
    postcode: _Typed = Field("", repr=False)
    house_number: _Typed = Field("", alias="huisnummer", repr=False)

    @property
    def data(self) -> PersonData:
        """What was typed."""
        return from_fields(self.model_dump(by_alias=True))


def _form_of(value: object) -> str:
    known = isinstance(value, NumberBody) or (isinstance(value, Mapping) and "nummer" in value)
    return _NUMBER if known else _DESCRIBED


_NUMBER, _DESCRIBED = "nummer-vorm", "gegevens-vorm"
PersonBody = Annotated[
    Annotated[NumberBody, Tag(_NUMBER)] | Annotated[DescribedBody, Tag(_DESCRIBED)], Discriminator(_form_of)
]
"""Een persoon: met een nummer, of met gegevens."""


class JustificationBody(_Said):
    """De afweging in drie delen, waar het doel die vraagt."""

    needed: Text = Field("", alias="nodig", repr=False, description="Waarom dit nodig is.")
    means: Text = Field("", alias="middel", repr=False, description="Waarom met dit middel.")
    less: Text = Field("", alias="minder", repr=False, description="Waarom het niet met minder kan.")


_EXAMPLE: Final[JsonDict] = {
    "doel": "kennemerland/zvh-weging-betrokkenheid",
    "zaak": "ZVH-2026-0123",
    "soort": "bsn",
    "personen": [{"nummer": "999990019"}],
    "partners": ["00000099000000004000"],
    "bevestigd": {"positieve-toets": "ja", "bgs-2-20": "ja"},
    "motivering": "overlast in het trappenhuis, drie meldingen",
}


class QuestionBody(_Said):
    """Een vraag van een medewerker: welke van deze partners kennen deze personen?"""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    purpose: PurposeId = Field(alias="doel", description="Id van het doel, uit /doelen.")
    case: Annotated[str, StringConstraints(min_length=1, max_length=200)] = Field(
        alias="zaak", description="Zaaknummer in de vorm die het doel vraagt; nooit een naam of BSN."
    )
    kind: Annotated[str, StringConstraints(pattern=r"^[a-z-]{1,40}$")] = Field(
        "bsn", alias="soort", description=f"Waarmee de personen worden aangeduid: {', '.join(sorted(KINDS))}."
    )
    persons: Annotated[tuple[PersonBody, ...], Field(min_length=1, max_length=MOST_PERSONS, strict=False)] = Field(
        alias="personen", repr=False
    )
    partners: Annotated[tuple[Oin, ...], Field(min_length=1, max_length=MAX_SOURCES, strict=False)] = Field(
        description="OIN's van de partners die worden gevraagd: een eigen keuze (FG-09)."
    )
    confirmed: Annotated[dict[ConditionId, Annotated[str, StringConstraints(max_length=100)]], Field(max_length=64)] = (
        Field(
            {},
            alias="bevestigd",
            description="Voorwaarde -> wat de medewerker bevestigt: ja, of de waarde waar het doel er een vraagt.",
        )
    )
    justification: Text | JustificationBody = Field("", alias="motivering", repr=False)
    on_behalf_of: Oin | None = Field(None, alias="namens", description="OIN van de organisatie namens wie u vraagt.")
    consents: Annotated[
        tuple[Annotated[str, StringConstraints(pattern=r"^T-[0-9]{1,12}$")], ...],
        Field(max_length=MAX_SOURCES, strict=False),
    ] = Field(
        (),
        alias="toestemmingen",
        description="Kenmerken van toestemmingen waarop de vraag steunt. Elke staat vast bij deze zaak en geldt nog.",
    )
    seen: bool = Field(
        False, alias="gezien", description="De medewerker keek naar de waarschuwingen over de motivering."
    )


class _Reply(BaseModel):
    """What goes out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    def to_json(self) -> dict[str, Any]:
        """As it stands on the wire: what is not known is left out."""
        return self.model_dump(mode="json", by_alias=True, exclude_none=True)


class OutcomeReply(_Reply):
    """De uitkomst over een persoon bij een partner. `geen_uitsluitsel` en `geen_antwoord` bewijzen niets.

    `mogelijk_bekend` is geen `bekend`: een collega vergeleek gegevens, en het kan om iemand anders gaan.
    """

    person: int = Field(serialization_alias="persoon", ge=1, description="Plaats van de persoon in de vraag, vanaf 1.")
    oin: Oin
    name: str = Field(serialization_alias="naam")
    outcome: OutcomeKind = Field(serialization_alias="uitkomst")
    as_of: str | None = Field(
        None, serialization_alias="peildatum", description="Datum van de oudste lijst achter het antwoord."
    )
    reason: str = Field(serialization_alias="toelichting")
    desk: str | None = Field(None, serialization_alias="contactpunt")
    until: AwareDatetime | None = Field(
        None, serialization_alias="uiterlijk", description="Tot wanneer een collega kan beslissen."
    )


class QuestionReply(_Reply):
    """Een gestelde vraag, zonder nummers van personen."""

    id: str
    purpose: PurposeId = Field(serialization_alias="doel")
    case: str = Field(serialization_alias="zaak")
    kind: str = Field(serialization_alias="soort")
    state: State = Field(serialization_alias="status")
    remark: str | None = Field(None, serialization_alias="toelichting")
    asked: AwareDatetime = Field(serialization_alias="gesteld")
    expires: AwareDatetime = Field(serialization_alias="vervalt", description="Daarna is alles gewist: dan 410.")
    persons: int = Field(serialization_alias="personen", ge=1)
    outcomes: tuple[OutcomeReply, ...] = Field((), serialization_alias="uitkomsten")
    steps: tuple[tuple[str, ...], ...] = Field(
        (),
        serialization_alias="vervolg",
        description="Per persoon een suggestie voor de volgende stap; leeg zonder antwoord. Een mens beslist.",
    )


class LateOutcomeReply(OutcomeReply):
    """Een uitkomst die later kwam of nog komt, met het moment waarop zij wordt gewist."""

    expires: AwareDatetime = Field(serialization_alias="vervalt")


class LateReply(_Reply):
    """Wat er later kwam, of nog komt, van een eigen vraag: ook nadat de node opnieuw is gestart."""

    purpose: PurposeId = Field(serialization_alias="doel")
    case: str = Field(serialization_alias="zaak")
    asked: AwareDatetime = Field(serialization_alias="gesteld")
    persons: int = Field(serialization_alias="personen", ge=1)
    outcomes: tuple[LateOutcomeReply, ...] = Field(serialization_alias="uitkomsten")


class LatesReply(_Reply):
    """De eigen vragen waarover een collega bij een partner beslist, de oudste eerst."""

    answers: tuple[LateReply, ...] = Field(serialization_alias="antwoorden")


class PartnerReply(_Reply):
    """Een partner die onder een doel kan worden gevraagd."""

    oin: Oin
    name: str = Field(serialization_alias="naam")
    mode: str = Field(serialization_alias="wijze")
    automatic: bool = Field(
        serialization_alias="direct", description="Of de partner meteen antwoordt; anders beslist een collega."
    )
    consent: bool = Field(serialization_alias="toestemming", description="Of er een vastgelegde toestemming nodig is.")
    ages: tuple[str, ...] = Field(
        serialization_alias="leeftijden",
        description="Voorwaarden aan de leeftijd, die de node uitrekent uit de geboortedatum van elke persoon.",
    )
    reply_seconds: int | None = Field(
        None, serialization_alias="reactietijd", description="Seconden die een collega daar heeft."
    )
    kinds: tuple[str, ...] = Field(
        serialization_alias="soorten",
        description="Waarmee deze partner kan worden gevraagd; bij een combinatie beslist altijd een collega.",
    )


class ConditionReply(_Reply):
    """Wat de medewerker bevestigt."""

    id: str
    text: str = Field(serialization_alias="tekst")
    value: str | None = Field(
        None, serialization_alias="voorbeeld", description="Voorbeeld van de waarde, waar die wordt gevraagd."
    )


class CaseReply(_Reply):
    """De vorm van het zaaknummer."""

    pattern: str = Field(serialization_alias="patroon")
    description: str = Field(serialization_alias="omschrijving")


class PrincipalReply(_Reply):
    """Een organisatie namens wie mag worden gevraagd."""

    oin: Oin
    name: str = Field(serialization_alias="naam")


class PurposeReply(_Reply):
    """Een doel waaronder deze medewerker mag vragen, met wat het convenant daarvoor vraagt."""

    id: PurposeId
    title: str = Field(serialization_alias="titel")
    description: str = Field(serialization_alias="omschrijving")
    kinds: tuple[str, ...] = Field(serialization_alias="soorten")
    max_persons: int = Field(serialization_alias="maxPersonen")
    own_reasons: bool = Field(
        serialization_alias="motiveringPerPersoon", description="Of elke volgende persoon een eigen motivering heeft."
    )
    max_sources: int = Field(serialization_alias="maxPartners")
    left_today: int = Field(
        serialization_alias="vandaagOver", description="Personen naar wie de medewerker vandaag nog kan vragen."
    )
    case: CaseReply = Field(serialization_alias="zaaknummer")
    confirm: tuple[ConditionReply, ...] = Field(serialization_alias="bevestigen")
    justification: tuple[str, ...] = Field(
        serialization_alias="motivering", description="Delen die de motivering heeft; leeg: geen."
    )
    four_eyes: bool = Field(serialization_alias="vierOgen")
    for_itself: bool = Field(serialization_alias="voorZichzelf")
    on_behalf_of: tuple[PrincipalReply, ...] = Field(serialization_alias="namens")
    partners: tuple[PartnerReply, ...]


class PurposesReply(_Reply):
    """De doelen van de rollen van deze medewerker."""

    purposes: tuple[PurposeReply, ...] = Field(serialization_alias="doelen")


class TestPersonReply(_Reply):
    """Een vaste testpersoon van de proefopstelling: niemand heeft dit nummer."""

    __test__ = False

    kind: str = Field(serialization_alias="soort")
    number: str = Field(serialization_alias="nummer")
    shows: str = Field(serialization_alias="toont")


class TestPersonsReply(_Reply):
    """De personen naar wie in de proefopstelling kan worden gevraagd."""

    __test__ = False

    persons: tuple[TestPersonReply, ...] = Field(serialization_alias="testpersonen")


def read_question(body: bytes) -> QuestionBody:
    """The question in a body. Raises Problem: no JSON, or another form than the one described."""
    try:
        found = json.loads(body, object_pairs_hook=_once, parse_constant=_not_json)
    except (ValueError, RecursionError):
        raise Problem(UNREADABLE, "Het bericht is geen JSON, of noemt een veld twee keer.") from None
    try:
        return QuestionBody.model_validate(found)
    except ValidationError as fault:
        raise Problem(CONTENT, "De vraag heeft niet de vorm die is afgesproken.", faults=_faults(fault)) from None


def _faults(fault: ValidationError) -> list[Fault]:
    """Where and what, in the words of the checks; a name that was sent and is no field of ours is not repeated."""
    return [
        Fault(_place(one["loc"], unknown=one["type"] == "extra_forbidden"), _REASONS.get(one["type"], "past niet"))
        for one in fault.errors(include_url=False, include_context=False, include_input=False)
    ]


_FIELDS: Final = frozenset(
    str(field.alias or name)
    for model in (QuestionBody, NumberBody, DescribedBody, JustificationBody)
    for name, field in model.model_fields.items()
)
_REASONS: Final = {
    "missing": "ontbreekt",
    "extra_forbidden": "bestaat niet",
    "string_too_long": "is te lang",
    "string_too_short": "is leeg",
    "string_pattern_mismatch": "heeft niet de goede vorm",
    "too_long": "heeft te veel onderdelen",
    "too_short": "is leeg",
}


def _place(where: tuple[int | str, ...], *, unknown: bool) -> str:
    """A JSON Pointer of our own names and of numbers."""
    named = where[:-1] if unknown else where
    return "".join(f"/{one}" for one in named if isinstance(one, int) or one in _FIELDS) or "/"


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError
    return found


def _not_json(_: str) -> None:
    raise ValueError
