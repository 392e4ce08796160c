"""`bekend policy schema`: JSON Schemas of the covenant's files, for editors that complete and underline.

They are made from the models that read the files, so they cannot say anything else; what files say about each other,
only `bekend policy check` knows. Editors find one by the first line of a file:

    # yaml-language-server: $schema=../../../schemas/doel.schema.json
"""

import json
from pathlib import Path
from typing import Any, get_args

from pydantic import BaseModel

from bekend_policy.schema_texts import FILES, KEYS
from bekend_policy.strict_yaml import StrictModel
from bekend_policy.terms import Agreement, Participant, Purpose
from bekend_policy.trial import Case, Given, Table
from bekend_policy.words import Kind

MODELS: dict[str, type[StrictModel]] = {
    "afspraken": Agreement,
    "deelnemer": Participant,
    "doel": Purpose,
    "toets": Table,
}
_PARTIES = {"organisaties", "alleen_voor", "wie", "aan"}
_OIN = "^[0-9]{8}[0-9A-Z]{12}$"


def schemas() -> dict[str, str]:
    """File name -> its text, for every kind of file of a covenant."""
    return {
        f"{name}.schema.json": json.dumps(_schema(name, model), ensure_ascii=False, indent=2) + "\n"
        for name, model in MODELS.items()
    }


def write_schemas(folder: Path) -> list[Path]:
    """Write them all; returns the paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name, text in schemas().items():
        path = folder / name
        path.write_text(text, "utf-8", newline="\n")
        paths.append(path)
    return paths


def _schema(name: str, model: type[StrictModel]) -> dict[str, Any]:
    raw = model.model_json_schema(by_alias=True)
    found = {one.__name__: one for one in _models(model)}
    definitions = {
        title: _object(found[title], part) if title in found else _words(part)
        for title, part in raw.get("$defs", {}).items()
    }
    head = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": name,
        "description": FILES[name],
    }
    return {**head, **_object(model, raw), "$defs": definitions}


def _models(model: type[BaseModel]) -> list[type[BaseModel]]:
    """The model and every model inside it."""
    found: dict[type[BaseModel], None] = {}

    def visit(annotation: Any) -> None:
        if isinstance(annotation, type) and issubclass(annotation, BaseModel) and annotation not in found:
            found[annotation] = None
            for info in annotation.model_fields.values():
                visit(info.annotation)
        for part in get_args(annotation):
            visit(part)

    visit(model)
    return list(found)


def _object(model: type[BaseModel], part: dict[str, Any]) -> dict[str, Any]:
    """An object of this model, with the Dutch descriptions in the place of docstrings."""
    texts = KEYS[Given.__name__] | KEYS[Case.__name__] if model is Case else KEYS[model.__name__]
    bounds = {info.alias or field: _bounds(info) for field, info in model.model_fields.items()}
    properties = {
        key: {"description": texts[key], **_clean(value, key), **bounds[key]}
        for key, value in part["properties"].items()
    }
    required = {"required": part["required"]} if "required" in part else {}
    return {"type": "object", "additionalProperties": False, "properties": properties, **required}


def _bounds(info: Any) -> dict[str, int]:
    """Bounds of a number; pydantic leaves them out beside a schema of our own."""
    found: dict[str, int] = {}
    places = [*info.metadata, *(it for part in get_args(info.annotation) for it in get_args(part))]
    for place in places:
        for name, key in (("ge", "minimum"), ("le", "maximum")):
            value = getattr(place, name, None)
            if isinstance(value, int):
                found[key] = value
    return found


def _clean(value: dict[str, Any], key: str) -> dict[str, Any]:
    """Without titles, defaults and null: a key without a value is refused, so it is left out instead."""
    kept = {name: it for name, it in value.items() if name not in {"title", "default", "description"}}
    choices = [it for it in kept.pop("anyOf", ()) if it != {"type": "null"}]
    if len(choices) == 1:
        kept |= _clean(choices[0], key)
    elif choices:
        kept["anyOf"] = choices
    party = {"anyOf": [{"enum": [str(kind) for kind in Kind]}, {"type": "string", "pattern": _OIN}]}
    if key in _PARTIES:
        kept["items"] = party
    if key == "bronnen" and "additionalProperties" in kept:
        kept["propertyNames"] = party
    return kept


def _words(part: dict[str, Any]) -> dict[str, Any]:
    return {"type": "string", "enum": part["enum"]}
