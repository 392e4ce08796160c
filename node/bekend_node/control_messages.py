"""What may be said to the control socket: one strict model per operation, every length bounded."""

import json
from typing import Annotated, Literal

from bekend_proto.errors import MalformedError
from bekend_proto.shape import MAX_PERSONS, MAX_SOURCES
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, model_validator

from bekend_node.described import LONGEST

Oin = Annotated[str, StringConstraints(pattern=r"^[0-9]{8}[0-9A-Z]{12}$")]
Case = Annotated[str, StringConstraints(min_length=1, max_length=200)]
Purpose = Annotated[str, StringConstraints(min_length=1, max_length=100)]
Day = Annotated[str, StringConstraints(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$")]
PersonText = Annotated[str, StringConstraints(max_length=LONGEST), Field(repr=False)]
LONGEST_USER = 100


class _Request(BaseModel):
    # hide_input_in_errors: a fault must never quote an identifier.
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, hide_input_in_errors=True)


class PurposesRequest(_Request):
    """What may this officer ask?"""

    op: Literal["purposes"]


class OpenRequest(_Request):
    """Fetch the filters of these sources."""

    op: Literal["open"]
    purpose: Purpose
    sources: Annotated[list[Oin], Field(max_length=MAX_SOURCES)]
    on_behalf_of: Oin | None = None


class DescribedPerson(_Request):
    """A person as typed, where is asked by a combination."""

    geslachtsnaam: PersonText = ""
    voorvoegsel: PersonText = ""
    voornamen: PersonText = ""
    geboortedatum: PersonText = ""
    postcode: PersonText = ""
    huisnummer: PersonText = ""


class AskRequest(_Request):
    """One lookup: by numbers, or by combinations of what is said of each person."""

    op: Literal["ask"]
    purpose: Purpose
    sources: Annotated[list[Oin], Field(max_length=MAX_SOURCES)]
    kind: Annotated[str, StringConstraints(max_length=40)] = "bsn"
    identifiers: Annotated[
        list[Annotated[str, StringConstraints(max_length=40)]], Field(max_length=MAX_PERSONS, repr=False)
    ] = []
    described: Annotated[list[DescribedPerson], Field(max_length=MAX_PERSONS, repr=False)] = []
    born: Annotated[
        list[Annotated[str, StringConstraints(max_length=LONGEST)]], Field(max_length=MAX_PERSONS, repr=False)
    ] = []
    """The verified date of birth beside each number, where an age is asked; empty where there is none."""
    case: Annotated[str, StringConstraints(max_length=200)] | None = None
    attested: Annotated[list[Annotated[str, StringConstraints(max_length=100)]], Field(max_length=64)] = []
    justification: Annotated[str, StringConstraints(max_length=4000)] | None = None
    reasons: Annotated[
        list[Annotated[str, StringConstraints(max_length=4000)]], Field(max_length=MAX_PERSONS, repr=False)
    ] = []
    on_behalf_of: Oin | None = None

    @model_validator(mode="after")
    def _one_way(self) -> "AskRequest":
        if bool(self.identifiers) == bool(self.described):
            raise ValueError("numbers, or what is said of each person: one of the two")
        if len(self.born) not in {0, len(self.identifiers)}:
            raise ValueError("a date of birth beside each number, or beside none")
        return self


class RaiseRequest(_Request):
    """Raise another officer's limit under a purpose for 24 hours."""

    op: Literal["raise"]
    officer: Annotated[str, StringConstraints(min_length=1, max_length=100)]
    purpose: Purpose
    extra: Annotated[int, Field(ge=1, le=1_000_000)]
    reason: Annotated[str, StringConstraints(max_length=4000)]


class EyesRequest(_Request):
    """A second officer looks along, or the first asks what was looked at."""

    op: Literal["eyes"]
    act: Literal["list", "show", "agree", "refuse", "withdraw", "ask", "emergency", "review"]
    id: Annotated[str, StringConstraints(max_length=40)] = ""
    number: Annotated[int, Field(ge=0)] = 0
    agreed: bool = False
    reason: Annotated[str, StringConstraints(max_length=4000)] = ""


class CanaryRequest(_Request):
    """Ask this node about its own canary."""

    op: Literal["canary"]
    purpose: Purpose


class DeskRequest(_Request):
    """A colleague at the release desk looks, or decides. One operation: what was done stands in no log."""

    op: Literal["desk"]
    act: Literal["list", "show", "release", "refuse", "ask", "undo"]
    item: Annotated[str, StringConstraints(max_length=20)] = ""
    ground: Annotated[str, StringConstraints(max_length=40)] | None = None
    text: Annotated[str, StringConstraints(max_length=4000)] = ""
    to: Annotated[str, StringConstraints(max_length=100)] | None = None
    absent: bool = False
    compared: bool = False
    page: Annotated[int, Field(ge=1, le=1_000_000)] = 1
    """Of the list."""


class StatusRequest(_Request):
    """How is this node doing?"""

    op: Literal["status"]


class SuspendRequest(_Request):
    """Put a signed note into force that suspends, or lifts a suspension."""

    op: Literal["suspend"]
    note: Annotated[str, StringConstraints(min_length=1, max_length=16384)]


class HaltRequest(_Request):
    """Stop a purpose until its next switch, to shield somebody at once."""

    op: Literal["halt"]
    purpose: Purpose
    reason: Annotated[str, StringConstraints(max_length=4000)]


class ClearAlarmRequest(_Request):
    """An alarm about a log was looked into."""

    op: Literal["clear_alarm"]
    number: Annotated[int, Field(ge=1)]
    reason: Annotated[str, StringConstraints(min_length=10, max_length=1000)]


class LapseRequest(_Request):
    """A case was not taken in: destroy what came of its questions."""

    op: Literal["lapse"]
    case: Annotated[str, StringConstraints(min_length=1, max_length=200)]


class CorrectRequest(_Request):
    """A partner was wrongly `bekend` in a case."""

    op: Literal["correct"]
    case: Case
    partner: Oin
    person: Annotated[int, Field(ge=1, le=8)] | None = None
    reason: Annotated[str, StringConstraints(max_length=4000)]


class ConsequenceRequest(_Request):
    """Whether what came changed what was decided in a case."""

    op: Literal["consequence"]
    case: Case
    changed: bool


class BulletinRequest(_Request):
    """The protected counts of a quarter."""

    op: Literal["bulletin"]
    quarter: Annotated[str, StringConstraints(max_length=10)]


class LogRequest(_Request):
    """Read the log of processing or decisions, day by day."""

    op: Literal["log"]
    form: Literal["ldv", "adl", "reads"]
    first: Day
    last: Day
    used_for: Annotated[str, StringConstraints(max_length=100)]
    trace_id: Annotated[str, StringConstraints(pattern=r"^([0-9a-f]{32})?$")] = ""


class SignalsRequest(_Request):
    """Read the misuse signals of these days."""

    op: Literal["signals"]
    first: Day
    last: Day


class AccessRelayRequest(_Request):
    """Relay the privacy officer's access request: a Signed SubjectAccess, in base64."""

    op: Literal["access"]
    request: Annotated[str, StringConstraints(min_length=1, max_length=4096)]


class DeferRequest(_Request):
    """Record that informing is deferred, about a case or an answered question."""

    op: Literal["defer"]
    about: Literal["zaak", "vraag"]
    reference: Annotated[str, StringConstraints(min_length=1, max_length=200)]
    purpose: Purpose
    ground: Annotated[str, StringConstraints(max_length=4000)]
    review_on: Annotated[str, StringConstraints(max_length=10)]


class DeferApproveRequest(_Request):
    """Approve another person's deferral."""

    op: Literal["defer-approve"]
    number: Annotated[int, Field(ge=1)]


class DeferEndRequest(_Request):
    """End a deferral."""

    op: Literal["defer-end"]
    number: Annotated[int, Field(ge=1)]
    reason: Annotated[str, StringConstraints(min_length=1, max_length=600)]


class DeferListRequest(_Request):
    """Every deferral, and how it stands."""

    op: Literal["defer-list"]


class AnswersRequest(_Request):
    """What came after a lookup had ended: of the officer's own questions, or of a case."""

    op: Literal["answers"]
    case: Case | None = None
    receipts: bool = False


class ColleagueRequest(_Request):
    """A colleague works on a case too (`add`), or no longer (`remove`); neither: who does, and who may."""

    op: Literal["colleague"]
    case: Case
    add: Annotated[str, StringConstraints(max_length=LONGEST_USER)] = ""
    remove: Annotated[str, StringConstraints(max_length=LONGEST_USER)] = ""


class ConsentRequest(_Request):
    """Put a consent on record. The date of birth is for the check of who may consent, and is kept nowhere."""

    op: Literal["consent"]
    purpose: Purpose
    case: Case
    partners: Annotated[list[Oin], Field(min_length=1, max_length=MAX_SOURCES)]
    giver: Literal["zelf", "vertegenwoordiger", "beiden"]
    date: Day
    scope: Annotated[str, StringConstraints(max_length=2000)]
    born: Annotated[Day, Field(repr=False)]


class ConsentsRequest(_Request):
    """The consents of a case."""

    op: Literal["consents"]
    case: Case


class WithdrawRequest(_Request):
    """Withdraw the consents of a case, for these partners or (none named) for all."""

    op: Literal["withdraw"]
    case: Case
    partners: Annotated[list[Oin], Field(max_length=MAX_SOURCES)] = []


LateRequest = AnswersRequest | ColleagueRequest | ConsentRequest | ConsentsRequest | WithdrawRequest
RecordsRequest = AccessRelayRequest | DeferRequest | DeferApproveRequest | DeferEndRequest | DeferListRequest
OfficerRequest = (
    PurposesRequest | OpenRequest | RaiseRequest | LapseRequest | CorrectRequest | ConsequenceRequest | LateRequest
)
OperatorRequest = CanaryRequest | StatusRequest | SuspendRequest | HaltRequest | ClearAlarmRequest | RecordsRequest
DrawnRequest = SignalsRequest | BulletinRequest
Request = AskRequest | EyesRequest | OfficerRequest | OperatorRequest | DeskRequest | LogRequest | DrawnRequest
_ADAPTER: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="op")])


def parse_request(line: bytes) -> Request:
    """The request in a line. Raises MalformedError that names the fields at fault, never what stood in them."""
    try:
        return _ADAPTER.validate_python(_strict_json(line))
    except ValidationError as error:
        faults = error.errors(include_input=False, include_url=False, include_context=False)
        fields = sorted({".".join(str(part) for part in fault["loc"][1:] if isinstance(part, str)) for fault in faults})
        raise MalformedError(f"a request with a wrong or missing field: {', '.join(fields) or 'op'}"[:300]) from None
    except (ValueError, RecursionError):
        raise MalformedError("a request is one JSON object on one line, no name twice") from None


def _strict_json(line: bytes) -> object:
    return json.loads(line, object_pairs_hook=_no_doubles)


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
