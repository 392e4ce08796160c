"""What a text in a YAML file means: the types that the models use. Only text comes in, only these conversions exist."""

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, PlainValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_DURATION = re.compile(r"P(?=.)(?:(\d{1,4})D)?(?:T(?=.)(?:(\d{1,5})H)?(?:(\d{1,5})M)?(?:(\d{1,5})S)?)?")
_OIN = re.compile(r"[0-9]{8}[0-9A-Z]{12}")
_SLUG = re.compile(r"[a-z0-9]+(?:[-_][a-z0-9]+)*")


def rule_fault(what: str, remedy: str, key: str | None = None) -> PydanticCustomError:
    """A fault that a validator of a model raises in its own words.

    The place is that of the validator, or of the key (as the file writes it) inside it.
    """
    return PydanticCustomError("rule", "{what}", {"what": what, "remedy": remedy, "key": key})


def _whole(value: Any) -> int:
    if isinstance(value, str) and re.fullmatch(r"[0-9]{1,12}", value):
        return int(value)
    raise PydanticCustomError("whole_number", "not a whole number")


def _ja_nee(value: Any) -> bool:
    if isinstance(value, str) and value in {"ja", "nee"}:
        return value == "ja"
    raise PydanticCustomError("ja_nee", "not ja or nee")


def _true_false(value: Any) -> bool:
    if isinstance(value, str) and value in {"true", "false"}:
        return value == "true"
    raise PydanticCustomError("true_false", "not true or false")


def _duration(value: Any) -> timedelta:
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("duration", "not a duration")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds)


def is_oin(text: str) -> bool:
    """Whether this has the form of an OIN: 20 positions, of which 8 of prefix (OIN-Stelsel 2026)."""
    return _OIN.fullmatch(text) is not None


def _oin(value: Any) -> str:
    if isinstance(value, str) and is_oin(value):
        return value
    raise PydanticCustomError("oin", "not an OIN")


def is_slug(text: str) -> bool:
    """Whether this is a name of lower case letters, digits, dashes and underscores, at most 48 long."""
    return len(text) <= 48 and _SLUG.fullmatch(text) is not None


def _slug(value: Any) -> str:
    if isinstance(value, str) and is_slug(value):
        return value
    raise PydanticCustomError("slug", "not a slug")


def _day(value: Any) -> date:
    try:
        if isinstance(value, str) and re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise PydanticCustomError("day", "not a date")


def _moment(value: Any) -> datetime:
    try:
        if isinstance(value, str):
            return datetime.strptime(value, "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC)
    except ValueError:
        pass
    raise PydanticCustomError("moment", "not a moment in UTC")


def _years(value: Any) -> int:
    found = re.fullmatch(r"P([0-9]{1,2})Y", value) if isinstance(value, str) else None
    if found is None:
        raise PydanticCustomError("years", "not a number of years")
    return int(found[1])


def _hex32(value: Any) -> bytes:
    if isinstance(value, str) and re.fullmatch(r"[0-9a-f]{64}", value):
        return bytes.fromhex(value)
    raise PydanticCustomError("hex32", "not 32 bytes in hex")


def _text(pattern: str) -> WithJsonSchema:
    """The form of the text, for the published JSON Schemas (`schemas.py`)."""
    return WithJsonSchema({"type": "string", "pattern": f"^(?:{pattern})$"})


# Editors read YAML 1.2, in which 40 is a number and everything else below is text.
Whole = Annotated[int, BeforeValidator(_whole), WithJsonSchema({"type": "integer", "minimum": 0})]
JaNee = Annotated[bool, PlainValidator(_ja_nee), WithJsonSchema({"enum": ["ja", "nee"]})]
TrueFalse = Annotated[bool, PlainValidator(_true_false), WithJsonSchema({"type": "boolean"})]
Duration = Annotated[timedelta, PlainValidator(_duration), _text(_DURATION.pattern)]
Oin = Annotated[str, PlainValidator(_oin), _text(_OIN.pattern)]
Slug = Annotated[str, PlainValidator(_slug), _text(_SLUG.pattern)]
Day = Annotated[date, PlainValidator(_day), _text("[0-9]{4}-[0-9]{2}-[0-9]{2}")]
Years = Annotated[int, PlainValidator(_years), _text("P[0-9]{1,2}Y")]
Text = Annotated[str, Field(max_length=4000)]
Moment = Annotated[datetime, PlainValidator(_moment), _text("[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")]
Hex32 = Annotated[bytes, PlainValidator(_hex32), _text("[0-9a-f]{64}")]
