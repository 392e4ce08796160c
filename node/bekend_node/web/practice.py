"""Practising: the fixed test persons of a demo, by what asking about them shows.

    GET  /oefenen       only where the covenant in force is a demo and node.yaml names a file

The file is strict YAML. It may name test numbers alone, so that no list of real people can come to stand on a page.
"""

from pathlib import Path
from typing import Annotated

from bekend_policy.scalars import rule_fault
from bekend_policy.strict_yaml import StrictModel, load_yaml
from bekend_proto.identifiers import InvalidIdentifier, parse_identifier
from pydantic import AfterValidator, Field, StringConstraints
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from bekend_node.web.pages import Pages


def _test_number(text: str) -> str:
    kind, _, value = text.partition(":")
    try:
        parse_identifier(kind, value)
    except InvalidIdentifier as fault:
        raise rule_fault(str(fault), "Write kind:value, for example bsn:999900006.") from None
    if kind != "test" and not value.startswith("9999"):
        raise rule_fault(f"{kind} {value} is no test number", "Take one from 999900000 on, which nobody ever gets.")
    return text


class TestPerson(StrictModel):
    """One fixed person: the number, and in Dutch what asking about it shows."""

    __test__ = False

    person: Annotated[str, AfterValidator(_test_number)]
    shows: Annotated[str, StringConstraints(min_length=1, max_length=300)]

    @property
    def number(self) -> str:
        """The number alone, as it is filled in."""
        return self.person.partition(":")[2]


class Practice(StrictModel):
    """The whole file."""

    persons: Annotated[tuple[TestPerson, ...], Field(min_length=1, max_length=50)]


class PracticePages:
    """The page. Raises the strict loader's fault list when the file cannot be used."""

    def __init__(self, pages: Pages, path: Path) -> None:
        self._pages = pages
        self._persons = load_yaml(path, Practice).persons

    def routes(self) -> list[Route]:
        """All routes of these pages."""
        return [Route("/oefenen", self.show, methods=["GET"])]

    async def show(self, request: Request) -> Response:
        """The list, for whoever is signed in."""
        self._pages.person(request)
        if not self._pages.site().practice:
            raise HTTPException(404)
        return self._pages.render(request, "oefenen.html.j2", persons=self._persons)
