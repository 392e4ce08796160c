"""Strict YAML: every scalar is text, nothing is guessed, and every fault is named with its line.

PyYAML's safe loader turns an OIN into a number, 0344 into 228, 12:30 into 750, NO into false, and keeps the last
of two equal keys. So the parser's events are read here, all scalars stay text, and a pydantic model says what each
text means. Refused: duplicate keys, anchors, aliases, tags, merge keys, tabs, a byte order mark, text that is not
NFC, invisible characters, empty values, empty files, a second document.

The covenant is Dutch (`language="nl"`), configuration is English.
"""

import types
import typing
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from bekend_policy.faults import Fault, YamlFaults
from bekend_policy.yaml_texts import Language, text_of

__all__ = ["Document", "Language", "StrictModel", "YamlFaults", "load_yaml", "parse_yaml", "validate"]

Value: TypeAlias = "str | list[Value] | dict[str, Value] | None"
Place: TypeAlias = tuple[str | int, ...]
Model = TypeVar("Model", bound=BaseModel)

MAX_BYTES = 4 * 1024 * 1024
MAX_DEPTH = 16

_SYNTAX = {
    "could not find expected ':'": "syntax_colon",
    "mapping values are not allowed in this context": "syntax_stray_colon",
    "did not find expected key": "syntax_misplaced",
    "did not find expected '-' indicator": "syntax_list",
    "found unexpected end of stream": "syntax_quote",
    "did not find expected ',' or ']'": "syntax_bracket",
    "did not find expected ',' or '}'": "syntax_brace",
    "found character that cannot start any token": "syntax_start",
    "found unknown escape character": "syntax_escape",
    "did not find expected hexdecimal number": "syntax_escape",
    "block sequence entries are not allowed in this context": "syntax_dash",
}
"""libyaml's reasons that people meet, and what we call them."""
_FROM_ITS_BEGINNING = {"syntax_colon", "syntax_quote", "syntax_bracket", "syntax_brace"}
"""Noticed only further on: what is to be mended is where it began."""
_BLANK = "\u115f\u1160\u2800\u3164\uffa0"
"""Letters and symbols without ink."""

# libyaml reads the same language ten times faster; every wheel of PyYAML carries it.
_LOADER: Any = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


class StrictModel(BaseModel):
    """Base of everything that is read from YAML: frozen, and an unknown key is a fault."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


@dataclass
class Document:
    """One parsed file: its value, the line of every place in it, and what is wrong so far."""

    file: str
    language: Language
    value: Value = None
    lines: dict[Place, int] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)

    def line(self, place: Sequence[str | int]) -> int:
        """Line of this place, or of the nearest one around it."""
        for end in range(len(place), -1, -1):
            found = self.lines.get(tuple(place[:end]))
            if found is not None:
                return found
        return 1

    def fault(self, line: int, key: str, /, **values: object) -> None:
        """Add a fault from the table of texts."""
        what, remedy = text_of(key, self.language, values)
        self.faults.append(Fault(self.file, line, what, remedy))


def load_yaml(source: Path | str, model: type[Model], *, language: Language = "en", name: str | None = None) -> Model:
    """Read a file (Path) or text (str) into the model.

    Raises YamlFaults with every fault at once. `name` is how faults call the file.
    """
    document = parse_yaml(source, language=language, name=name)
    loaded = validate(document, model)
    if loaded is None or document.faults:
        raise YamlFaults(sorted(document.faults))
    return loaded


def parse_yaml(source: Path | str | bytes, *, language: Language = "en", name: str | None = None) -> Document:
    """Parse a file or text; faults are collected in the document, never raised."""
    document = Document(name or (str(source) if isinstance(source, Path) else "text"), language)
    data = _read(source, document) if isinstance(source, Path) else source
    text = _decode(data, document) if isinstance(data, bytes) else data
    if text is None or not _text_is_plain(text, document):
        return document
    try:
        _Builder(document).build(text)
    except yaml.MarkedYAMLError as error:
        kind = _SYNTAX.get(error.problem or "", "syntax")
        marks = (error.problem_mark, error.context_mark)
        mark = next(filter(None, reversed(marks) if kind in _FROM_ITS_BEGINNING else marks), None)
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document.fault(line, kind, problem=error.problem or "?", column=column)
        document.value = None
    except _TooDeepError as error:
        document.fault(error.line, "too_deep", depth=MAX_DEPTH)
        document.value = None
    except yaml.YAMLError as error:
        document.fault(1, "syntax", problem=str(error).splitlines()[0], column=1)
        document.value = None
    return document


def validate(document: Document, model: type[Model]) -> Model | None:
    """The model of a parsed document, or None after adding the reasons to `document.faults`."""
    if document.value is None:
        return None
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        for detail in error.errors(include_url=False):
            if not _follows(detail):
                _explain(document, model, detail)
        return None


# --- reading ---------------------------------------------------------------------------------------------------


def _read(path: Path, document: Document) -> bytes | None:
    try:
        with path.open("rb") as file:
            return file.read(MAX_BYTES + 1)
    except FileNotFoundError:
        document.fault(0, "absent")
        return None
    except IsADirectoryError:
        document.fault(0, "a_folder")
        return None
    except OSError as error:
        document.fault(0, "unreadable", problem=error.strerror or type(error).__name__)
        return None


def _decode(data: bytes, document: Document) -> str | None:
    if len(data) > MAX_BYTES:
        document.fault(0, "too_big", bytes=MAX_BYTES)
        return None
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        document.fault(data[: error.start].count(b"\n") + 1, "not_utf8")
        return None


def _text_is_plain(text: str, document: Document) -> bool:
    """Whether what a reader sees is what is there: a signature is put on the bytes."""
    before = len(document.faults)
    if text.startswith("\ufeff"):
        document.fault(1, "bom")
        text = text[1:]
    for number, line in enumerate(text.split("\n"), start=1):
        plain = line.removesuffix("\r")
        if plain.isascii() and plain.isprintable():
            # Nearly every line: nothing below is of such a one.
            continue
        if "\t" in plain:
            document.fault(number, "tab", column=plain.index("\t") + 1)
        _check_seen(plain, number, document, allowed="\t")
    return len(document.faults) == before


def _check_seen(text: str, line: int, document: Document, *, allowed: str) -> None:
    """A fault where something is not seen, or changes how the rest is seen, or is seen alike and is another."""
    if text.isascii() and text.isprintable():
        return
    hidden = {"Cc", "Cf", "Zl", "Zp", "Co", "Cs"}
    if any(unicodedata.category(char) in hidden or char in _BLANK for char in text if char not in allowed):
        document.fault(line, "invisible")
    if not unicodedata.is_normalized("NFC", text):
        document.fault(line, "not_nfc")


class _TooDeepError(Exception):
    def __init__(self, line: int) -> None:
        self.line = line


def _line_of(event: yaml.Event) -> int:
    return event.start_mark.line + 1 if event.start_mark else 1


class _Builder:
    """Turns the parser's events into plain values, with a line for every place."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._events: Iterator[yaml.Event] = iter(())

    def build(self, text: str) -> None:
        self._events = yaml.parse(text, Loader=_LOADER)
        for event in self._events:
            if isinstance(event, yaml.DocumentStartEvent):
                self._start(event)
            elif isinstance(event, yaml.NodeEvent):
                value = self._node(event, (), 0)
                if self._document.value is None:
                    self._document.value = value
        if self._document.value is None and not self._document.faults:
            self._document.fault(1, "empty_file")

    def _start(self, event: yaml.DocumentStartEvent) -> None:
        line = _line_of(event)
        if self._document.value is not None:
            self._document.fault(line, "second_document")
        if event.version or event.tags:
            self._document.fault(line, "directive")

    def _node(self, event: yaml.Event, place: Place, depth: int) -> Value:
        line = _line_of(event)
        self._document.lines.setdefault(place, line)
        if depth > MAX_DEPTH:
            raise _TooDeepError(line)
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            self._document.fault(line, "anchor")
        if getattr(event, "tag", None):
            self._document.fault(line, "tag")
        if isinstance(event, yaml.ScalarEvent):
            return self._scalar(event, place, line)
        if isinstance(event, yaml.SequenceStartEvent):
            return self._sequence(place, depth)
        if isinstance(event, yaml.MappingStartEvent):
            return self._mapping(place, depth)
        return "?"  # an alias: its fault is noted above

    def _scalar(self, event: yaml.ScalarEvent, place: Place, line: int) -> str:
        value: str = event.value
        # Between double quotes an escape can stand for what may not stand in the file itself.
        _check_seen(value, line, self._document, allowed="\n")
        if not value.strip() and place:
            self._document.fault(line, "empty_value", name=_name(place, self._document))
        return value

    def _sequence(self, place: Place, depth: int) -> list[Value]:
        values: list[Value] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            values.append(self._node(event, (*place, len(values)), depth + 1))
        return values

    def _mapping(self, place: Place, depth: int) -> dict[str, Value]:
        values: dict[str, Value] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, place, depth)
            line = _line_of(event)
            if key in values:
                self._document.fault(line, "duplicate_key", name=key, first=self._document.line((*place, key)))
                self._node(next(self._events), (*place, f"{key} again"), depth + 1)
                continue
            self._document.lines[(*place, key)] = line
            values[key] = self._node(next(self._events), (*place, key), depth + 1)
        return values

    def _key(self, event: yaml.Event, place: Place, depth: int) -> str:
        line = _line_of(event)
        if not isinstance(event, yaml.ScalarEvent):
            self._document.fault(line, "key_not_text")
            self._node(event, (*place, "?"), depth + 1)
            return f"?{line}"
        if event.anchor:
            self._document.fault(line, "anchor")
        if event.tag:
            self._document.fault(line, "tag")
        _check_seen(event.value, line, self._document, allowed="\n")
        if event.value == "<<":
            self._document.fault(line, "merge_key")
        return str(event.value)


# --- explaining ------------------------------------------------------------------------------------------------


def _follows(detail: ErrorDetails) -> bool:
    """Whether a list is too short only because some of its elements are wrong: those are told by themselves."""
    return detail["type"] == "too_short" and len(detail["input"]) >= detail["ctx"]["min_length"]


def _name(place: Place, document: Document) -> str:
    """How a reader calls this place: its key, or that of the list it is in."""
    return next((part for part in reversed(place) if isinstance(part, str)), document.file)


def _explain(document: Document, model: type[BaseModel], detail: ErrorDetails) -> None:
    place = tuple(part for part in detail["loc"] if part != "[key]")
    name = _name(place, document)
    values: dict[str, object] = {**detail.get("ctx", {}), "name": name, "message": detail["msg"]}
    if values.get("key"):
        place = (*place, str(values["key"]))
    if document.language == "nl" and "expected" in values:  # pydantic joins a list of choices in English
        values["expected"] = " of ".join(str(values["expected"]).rsplit(" or ", 1))
    kind = detail["type"]
    if kind == "extra_forbidden":
        known = _known_keys(model, place[:-1])
        near = get_close_matches(name, known, n=1)
        values["known"] = ", ".join(known)
        values["near"] = near[0] if near else ""
        kind = "unknown_key_near" if near else "unknown_key"
    document.fault(document.line(place), kind, **values)


def _known_keys(model: type[BaseModel], place: Place) -> list[str]:
    """The keys that the model knows at this place, as they are written in the file."""
    here: Any = model
    for part in place:
        here = _inside(here, part)
    if not _is_model(here):
        return []
    return [info.alias or key for key, info in here.model_fields.items()]


def _inside(annotation: Any, part: str | int) -> Any:
    """The annotation of the field or element `part`: of a model, `dict[str, X]`, `tuple[X, ...]` or `X | None`."""
    if _is_model(annotation):
        fields = {info.alias or key: info.annotation for key, info in annotation.model_fields.items()}
        return _without_none(fields.get(str(part)))
    arguments = typing.get_args(annotation)
    if not arguments:
        return None
    return _without_none(arguments[-1] if typing.get_origin(annotation) is dict else arguments[0])


def _without_none(annotation: Any) -> Any:
    if typing.get_origin(annotation) in {typing.Union, types.UnionType}:
        return next(part for part in typing.get_args(annotation) if part is not types.NoneType)
    return annotation


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and typing.get_origin(annotation) is None and issubclass(annotation, BaseModel)
