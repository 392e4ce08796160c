"""Dutch texts that somebody signs in a note: strict YAML whose first line says of which kind it is."""

from typing import TypeVar

from bekend_proto.errors import KeysError
from pydantic import Field

from bekend_policy.strict_yaml import StrictModel, YamlFaults, load_yaml


class SignedText(StrictModel):
    """Base of what such a text holds."""

    kind: str = Field(alias="soort")


Text = TypeVar("Text", bound=SignedText)


def load_signed(text: str, model: type[Text], kind: str) -> Text:
    """Read a text of this kind (`bekend/1 ...`). Raises KeysError, in Dutch, with every fault."""
    name = kind.removeprefix("bekend/1 ")
    try:
        found = load_yaml(text, model, language="nl", name=name)
    except YamlFaults as error:
        raise KeysError(str(error)) from error
    if found.kind != kind:
        raise KeysError(f"{name}: de eerste regel moet 'soort: {kind}' zijn")
    return found
