"""The facade, described: OpenAPI 3.1, made of the same models that read and write its messages.

python -m bekend_node.rest.description > docs/openapi.json
"""

import json
import sys
from collections.abc import Mapping
from functools import cache
from typing import Any, Final

from pydantic.json_schema import GenerateJsonSchema, models_json_schema

from bekend_node.rest.messages import LatesReply, PurposesReply, QuestionBody, QuestionReply, TestPersonsReply
from bekend_node.rest.problems import (
    BROKEN,
    CONTENT,
    FULL,
    GONE,
    KINDS,
    MACHINE,
    MEDIA,
    METHOD,
    NO_KEY,
    NO_PROOF,
    NOT_FOUND,
    NOT_YET,
    PROVIDER,
    TOO_LARGE,
    TOO_SLOW,
    Kind,
)

VERSION: Final = "1.0.0"
"""Semantic version of the interface: the first part stands in every address."""

_REF: Final = "#/components/schemas/{model}"
_ALWAYS: Final = (NO_PROOF, MACHINE, METHOD, BROKEN, PROVIDER)
_ABOUT_ONE: Final = (NOT_FOUND, GONE)


@cache
def described() -> bytes:
    """The description as it is served at /v1/openapi.json."""
    return json.dumps(describe(), ensure_ascii=False).encode()


def describe() -> dict[str, Any]:
    """The same as JSON values."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "bekend: vragen vanuit een zaaksysteem",
            "version": VERSION,
            "description": (
                "Welke partners kennen deze persoon? Een medewerker vraagt het in het eigen zaaksysteem, onder "
                "dezelfde regels als op de bladzijden van bekend. Zie docs/rest.md."
            ),
            "license": {"name": "EUPL-1.2", "identifier": "EUPL-1.2"},
            "contact": {"name": "Beheerder van deze node"},
        },
        "servers": [{"url": "/v1"}],
        "security": [{"dpop": []}, {"certificaat": []}],
        "tags": [
            {"name": "doelen", "description": "Waarvoor een medewerker mag vragen."},
            {"name": "vragen", "description": "Vragen van een medewerker, en wat er kwam."},
        ],
        "paths": _paths(),
        "components": {
            "schemas": _schemas(),
            "responses": {_name(kind): _problem(kind) for kind in _by_status()},
            "headers": _HEADERS,
            "parameters": {
                "id": {
                    "name": "id",
                    "in": "path",
                    "required": True,
                    "description": "Willekeurig; zegt niets over persoon of zaak.",
                    "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{22}$"},
                },
                "sleutel": {
                    "name": "Idempotency-Key",
                    "in": "header",
                    "required": True,
                    "description": "Voor elke vraag een nieuwe. Dezelfde sleutel vraagt niet opnieuw.",
                    "schema": {"type": "string", "pattern": '^"?[A-Za-z0-9._~-]{16,100}"?$'},
                },
            },
            "securitySchemes": {
                "dpop": {
                    "type": "http",
                    "scheme": "DPoP",
                    "description": "Token van de medewerker (RFC 9068), gebonden aan een sleutel van het zaaksysteem "
                    "(RFC 9449). Bij elk verzoek hoort een nieuw bewijs in DPoP, met de nonce uit DPoP-Nonce.",
                },
                "certificaat": {
                    "type": "http",
                    "scheme": "bearer",
                    "bearerFormat": "JWT",
                    "description": "Token van de medewerker, gebonden aan het eigen certificaat (RFC 8705).",
                },
            },
        },
    }


def _paths() -> dict[str, Any]:
    one = {"parameters": [{"$ref": "#/components/parameters/id"}]}
    body = {"required": True, "content": {"application/json": {"schema": _ref(QuestionBody)}}}
    key = [{"$ref": "#/components/parameters/sleutel"}]
    asked = {"Location": _header("Location"), "Retry-After": _header("Retry-After")}
    sending = (NO_KEY, TOO_SLOW, GONE, TOO_LARGE, MEDIA, CONTENT, FULL)
    return {
        "/doelen": {
            "get": _operation("doelen", "Doelen van de eigen rollen", _done(200, "De doelen.", PurposesReply)),
        },
        "/antwoorden": {
            "get": _operation(
                "antwoorden",
                "Wat er later kwam van eigen vragen, ook van voor een herstart",
                _done(200, "De antwoorden.", LatesReply),
            )
        },
        "/testpersonen": {
            "get": _operation(
                "testpersonen",
                "Testpersonen, alleen in een proefopstelling",
                _done(200, "De testpersonen.", TestPersonsReply),
                NOT_FOUND,
                tag="doelen",
            )
        },
        "/vragen": {
            "post": {
                **_operation(
                    "vraag-stellen",
                    "Een vraag stellen",
                    _done(201, "De vraag staat er; volg Location.", QuestionReply, asked),
                    *sending,
                ),
                "parameters": key,
                "requestBody": body,
            }
        },
        "/vragen/{id}": {
            **one,
            "get": _operation(
                "vraag",
                "Hoe het staat, en wat er kwam",
                _done(200, "De vraag.", QuestionReply, {"Retry-After": _header("Retry-After")}),
                *_ABOUT_ONE,
            ),
            "delete": _operation(
                "vraag-wissen", "De zaak is niet in behandeling genomen", {"204": _empty()}, *_ABOUT_ONE
            ),
        },
        "/vragen/{id}/verzending": {
            **one,
            "post": _operation(
                "verzending",
                "Versturen waarmee een tweede collega akkoord is",
                _done(201, "De vraag is verstuurd.", QuestionReply, asked),
                *_ABOUT_ONE,
                NOT_YET,
                CONTENT,
            ),
        },
        "/vragen/{id}/bewijs": {**one, "get": _receipt("bewijs", "Het ondertekende ontvangstbewijs")},
        "/vragen/{id}/later-bewijs": {
            **one,
            "get": _receipt("later-bewijs", "Het ontvangstbewijs van wat collega's bij partners beslisten"),
        },
    }


def _operation(id_: str, summary: str, done: Mapping[str, Any], *kinds: Kind, tag: str = "") -> dict[str, Any]:
    problems = {str(kind.status): {"$ref": f"#/components/responses/{_name(kind)}"} for kind in (*_ALWAYS, *kinds)}
    return {
        "operationId": id_,
        "summary": summary,
        "tags": [tag or ("doelen" if id_ == "doelen" else "vragen")],
        "responses": {**done, **dict(sorted(problems.items()))},
    }


def _receipt(id_: str, summary: str) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Ontvangstbewijs"}}}
    done = {"200": {"description": "Het bewijs, voor het dossier.", "headers": _always(), "content": content}}
    return _operation(id_, summary, done, *_ABOUT_ONE, NOT_YET)


def _done(status: int, text: str, model: type, headers: Mapping[str, Any] | None = None) -> dict[str, Any]:
    content = {"application/json": {"schema": _ref(model)}}
    return {str(status): {"description": text, "headers": {**_always(), **(headers or {})}, "content": content}}


def _empty() -> dict[str, Any]:
    return {"description": "Wat er kwam, is vernietigd.", "headers": _always()}


def _problem(kind: Kind) -> dict[str, Any]:
    headers = _always()
    if kind is NO_PROOF:
        headers["WWW-Authenticate"] = _header("WWW-Authenticate")
    titles = ". ".join(one.title for one in KINDS if one.status == kind.status)
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Probleem"}}}
    return {"description": f"{titles}.", "headers": headers, "content": content}


def _schemas() -> dict[str, Any]:
    _, found = models_json_schema(
        [
            (QuestionBody, "validation"),
            (QuestionReply, "serialization"),
            (LatesReply, "serialization"),
            (PurposesReply, "serialization"),
            (TestPersonsReply, "serialization"),
        ],
        by_alias=True,
        ref_template=_REF,
        schema_generator=_Untitled,
    )
    schemas = {name: _known_fields(schema) for name, schema in found["$defs"].items()}
    for name, text in _ENUMS.items():
        schemas[name]["description"] = text
    return {**schemas, "Probleem": _PROBLEM, "Ontvangstbewijs": _RECEIPT}


class _Untitled(GenerateJsonSchema):
    """Schemas without titles: a field's is its own name again."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        """Never."""
        return False


def _known_fields(schema: dict[str, Any]) -> dict[str, Any]:
    """A message holds what is described and nothing else; its title is its name again."""
    found = {name: value for name, value in schema.items() if name != "title"}
    return {**found, "additionalProperties": False} if schema.get("type") == "object" else found


_ENUMS: Final = {
    "OutcomeKind": "Wat een partner over een persoon zegt. Geen ervan zegt dat iemand daar onbekend is.",
    "State": "Hoe het met een vraag staat.",
}
_PROBLEM: Final = {
    "type": "object",
    "description": "Wat er misging (RFC 9457). Herhaalt nooit wat er is gestuurd.",
    "required": ["type", "title", "status", "detail"],
    "additionalProperties": False,
    "properties": {
        "type": {"enum": [f"urn:bekend:probleem:{one.name}" for one in KINDS]},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "Voor de medewerker, in gewoon Nederlands."},
        "regel": {"type": "string", "description": "De regel die het niet toelaat."},
        "fouten": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["plaats", "reden"],
                "additionalProperties": False,
                "properties": {
                    "plaats": {"type": "string", "description": "Plaats in het bericht (RFC 6901)."},
                    "reden": {"type": "string"},
                },
            },
        },
    },
}
_RECEIPT: Final = {
    "type": "object",
    "description": "Te controleren met `bekend receipt verify`.",
    "required": ["kind", "receipt", "manifest", "openings"],
    "properties": {
        "kind": {"type": "string"},
        "receipt": {"type": "string", "contentEncoding": "base64"},
        "manifest": {"type": "string", "contentEncoding": "base64"},
        "openings": {"type": "array", "items": {"type": "object"}},
    },
}
_HEADERS: Final = {
    "API-Version": {"description": "De versie van deze beschrijving.", "required": True, "schema": {"const": VERSION}},
    "DPoP-Nonce": {
        "description": "De nonce voor het volgende bewijs.",
        "required": True,
        "schema": {"type": "string", "minLength": 1},
    },
    "Location": {
        "description": "Het adres van de vraag.",
        "required": True,
        "schema": {"type": "string", "pattern": "^/v1/vragen/[A-Za-z0-9_-]{22}$"},
    },
    "Retry-After": {
        "description": "Na zoveel seconden opnieuw kijken; ontbreekt als er niets meer komt.",
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {
        "description": "Wat er aan het bewijs ontbreekt.",
        "required": True,
        "schema": {"type": "string"},
    },
}


def _by_status() -> list[Kind]:
    """One kind per status: the first of each."""
    found: dict[int, Kind] = {}
    for one in KINDS:
        found.setdefault(one.status, one)
    return list(found.values())


def _name(kind: Kind) -> str:
    return f"{kind.status}"


def _header(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/headers/{name}"}


def _always() -> dict[str, Any]:
    return {name: _header(name) for name in ("API-Version", "DPoP-Nonce")}


def _ref(model: type) -> dict[str, str]:
    return {"$ref": _REF.format(model=model.__name__)}


if __name__ == "__main__":
    sys.stdout.write(json.dumps(describe(), indent=2, ensure_ascii=False) + "\n")
