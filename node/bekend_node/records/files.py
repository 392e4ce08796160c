"""Small JSON files that travel by hand: strictly read, written once, never half.

Faults are in Dutch: a privacy officer reads them.
"""

import base64
import binascii
import json
import os
from pathlib import Path
from typing import Any, Final, TypeVar

from bekend_policy.passphrase import write_new
from bekend_proto.errors import MalformedError, StorageError
from pydantic import BaseModel, ConfigDict, ValidationError

MAXIMUM: Final = 1 << 20
"""Octets of such a file: a reply over ten years takes a hundredth of it."""


class StrictFile(BaseModel):
    """Base of the files: frozen, typed strictly, an unknown name is a fault, and no fault quotes what stood there."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


Model = TypeVar("Model", bound=StrictFile)


def parse_file(data: bytes, model: type[Model], kind: str) -> Model:
    """The file of this `kind`. Raises MalformedError, which never quotes the content."""
    if len(data) > MAXIMUM:
        raise MalformedError(f"het bestand is te groot om een '{kind}' te zijn")
    try:
        value = json.loads(data.decode("utf-8"), object_pairs_hook=_no_doubles)
        if not isinstance(value, dict) or value.pop("kind", None) != kind:
            raise ValueError("another kind")
        return model.model_validate(value)
    except ValidationError:
        raise MalformedError(f"een veld van dit bestand ('{kind}') ontbreekt, is onbekend of klopt niet") from None
    except (ValueError, RecursionError):
        raise MalformedError(f"dit bestand is geen '{kind}': controleer of u het goede bestand gaf") from None


def file_bytes(kind: str, **fields: Any) -> bytes:
    """The octets of a file of this kind."""
    return (json.dumps({"kind": kind, **fields}, ensure_ascii=False, indent=1) + "\n").encode()


def read_file(path: Path, *, whole: bool = False) -> bytes:
    """The octets of a file, at most one more than is allowed, or all of them. Raises MalformedError."""
    try:
        with path.open("rb") as file:
            return file.read(-1 if whole else MAXIMUM + 1)
    except OSError as error:
        raise MalformedError(f"{path} kan niet worden gelezen ({error.strerror}): controleer het pad") from error


def write_together(files: dict[Path, bytes]) -> None:
    """Write new files of mode 0600: all of them, or none. Raises StorageError."""
    made: list[Path] = []
    try:
        for path, data in files.items():
            part = path.with_name(f".{path.name}.{os.getpid()}.part")
            write_new(part, data)
            made.append(part)
        for path in files:
            # A link fails where something stands already; a rename would take its place.
            os.link(path.with_name(f".{path.name}.{os.getpid()}.part"), path)
            made.append(path)
    except OSError as error:
        for path in made:
            path.unlink(missing_ok=True)
        reason = "bestaat al" if isinstance(error, FileExistsError) else error.strerror
        raise StorageError(f"er is niets geschreven, want {path} {reason}: kies een nieuwe naam of map") from error
    for path in files:
        path.with_name(f".{path.name}.{os.getpid()}.part").unlink(missing_ok=True)


def to_base64(data: bytes) -> str:
    """In the one form of base64."""
    return base64.b64encode(data).decode("ascii")


def from_base64(text: str) -> bytes:
    """Its octets. Raises MalformedError for anything but the one form."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        data = None
    if data is None or to_base64(data) != text:
        raise MalformedError("een veld van dit bestand is geen base64: het bestand is beschadigd of veranderd")
    return data


def _no_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice")
    return found
