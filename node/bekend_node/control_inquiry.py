"""What an officer typed, as a question: persons in their canonical form."""

from collections.abc import Sized
from datetime import date

from bekend_proto.errors import RefusedError
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from bekend_proto.names import PersonData, combine

from bekend_node.ask.ages import verified_birth
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.control_messages import AskRequest, DescribedPerson
from bekend_node.described import from_fields


def inquiry_of(request: AskRequest, officer: OfficerRef, today: date) -> Inquiry:
    """The question of an officer in a role. Raises RefusedError that says which person is wrong, without its value."""
    return Inquiry(
        purpose=request.purpose,
        persons=_persons(request),
        sources=tuple(request.sources),
        officer=officer,
        case_reference=request.case,
        attested=frozenset(request.attested),
        justification=request.justification,
        reasons=tuple(request.reasons),
        on_behalf_of=request.on_behalf_of,
        described=tuple(map(_described, request.described)),
        born=_born(request, today),
    )


def _persons(request: AskRequest) -> tuple[Identifier, ...]:
    named: list[str | DescribedPerson] = [*request.described, *request.identifiers]
    found = []
    for index, one in enumerate(named):
        try:
            if isinstance(one, str):
                found.append(parse_identifier(request.kind, one))
            else:
                found.append(combine(request.kind, _described(one)))
        except InvalidIdentifier as error:
            raise RefusedError("nummer", f"{_which(index, named)}{error}") from None
    return tuple(found)


def _born(request: AskRequest, today: date) -> tuple[date | None, ...]:
    found = []
    for index, text in enumerate(request.born):
        try:
            found.append(verified_birth(text, today) if text.strip() else None)
        except InvalidIdentifier as error:
            raise RefusedError("persoonsgegevens", f"{_which(index, request.born)}{error}") from None
    return tuple(found) if any(found) else ()


def _which(index: int, persons: Sized) -> str:
    return f"Persoon {index + 1}: " if len(persons) > 1 else ""


def _described(one: DescribedPerson) -> PersonData:
    return from_fields(one.model_dump())
