"""The published JSON Schemas: as the models are, in Dutch, and true of the shipped catalogue."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_policy.schema_texts import KEYS
from bekend_policy.schemas import MODELS, schemas
from jsonschema import Draft202012Validator

from tests.support.covenants import CATALOGUE, EVIL

PUBLISHED = Path(__file__).parents[2] / "policy" / "schemas"


class Yaml12(yaml.SafeLoader):
    """As an editor reads YAML 1.2: dates and OINs are text, only plain whole numbers are numbers."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag == "tag:yaml.org,2002:int"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def kind_of(path: Path) -> str:
    return {"deelnemers": "deelnemer", "doelen": "doel", "toetsen": "toets"}.get(path.parent.name, "afspraken")


def faults(path: Path) -> list[str]:
    schema = json.loads(schemas()[f"{kind_of(path)}.schema.json"])
    content = yaml.load(path.read_text("utf-8"), Yaml12)
    return [error.message for error in Draft202012Validator(schema).iter_errors(content)]


def test_the_published_schemas_are_those_of_the_models() -> None:
    published = {path.name: path.read_text("utf-8") for path in PUBLISHED.iterdir()}
    assert published == schemas(), "run: bekend policy schema policy/schemas"


@pytest.mark.parametrize("name", MODELS)
def test_a_schema_is_well_formed_and_every_key_is_described_in_dutch(name: str) -> None:
    schema = json.loads(schemas()[f"{name}.schema.json"])
    Draft202012Validator.check_schema(schema)
    for part in (schema, *schema["$defs"].values()):
        for value in part.get("properties", {}).values():
            assert value["description"].endswith(".")
    assert "docstring" not in json.dumps(schema)


def test_no_description_is_left_of_a_key_that_is_gone() -> None:
    known: dict[str, set[str]] = {}
    for text in schemas().values():
        schema: dict[str, Any] = json.loads(text)
        for title, part in schema["$defs"].items():
            known[title] = set(part.get("properties", {}))
    for name, model in MODELS.items():
        known[model.__name__] = set(json.loads(schemas()[f"{name}.schema.json"])["properties"])
    assert {title: set(keys) - known[title] for title, keys in KEYS.items()} == {title: set() for title in KEYS}


@pytest.mark.parametrize("path", sorted(CATALOGUE.rglob("*.yaml")), ids=lambda path: path.stem)
def test_the_shipped_catalogue_fits_its_schemas(path: Path) -> None:
    assert faults(path) == []


@pytest.mark.parametrize(
    "evil", ["onbekende-sleutel", "onbekende-modus", "onbekende-soort", "negen-personen", "oin-als-getal"]
)
def test_an_editor_underlines_what_the_loader_refuses(evil: str) -> None:
    assert any(faults(path) for path in (EVIL / evil).rglob("*.yaml"))


def test_every_shipped_file_names_its_schema() -> None:
    for path in sorted(CATALOGUE.rglob("*.yaml")):
        first = path.read_text("utf-8").splitlines()[0]
        marker, _, target = first.partition("$schema=")
        assert marker == "# yaml-language-server: ", path
        assert (path.parent / target).resolve() == PUBLISHED / f"{kind_of(path)}.schema.json"
