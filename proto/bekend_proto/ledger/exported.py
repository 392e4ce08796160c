"""An export of a log: one file, a signed note whose text is a JSON object a line.

    {"kind":"bekend/1 log export","log":...,"size":...,"first":...,"end":...,"since":...,"until":...,"made":...}
    {"checkpoint":"..."}                 the log as it stood when this was made, a signed note
    {"left":["..."],"right":["..."]}     hashes of the subtrees before and after the entries
    {"i":0,"kind":"question","requester":"...","source":"...","hash":"...","at":...}
    {"i":1,"leaf":"...","at":...}        an entry that is nobody else's business: its leaf's hash alone
    {"held":"..."}                       an own checkpoint of the period, with its cosignatures
    {"seen":"..."}                       the last checkpoint that this party saw of another log
    {"promise":"...","signature":"..."}  what the broker promised this party
    {"record":"...","signature":"...","sealed":["..."]}   an answered Question, with its sealed records

    — bekend/<oin>/log/<name> ...

The signature covers every octet before it. That is the exporter's word; that the entries are those of the log, the
checkpoint shows, and that the checkpoint is the one of others, their exports show.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Final

from nacl.signing import SigningKey

from bekend_proto import merkle
from bekend_proto.checkpoint import Checkpoint, is_node_log, owner_of
from bekend_proto.errors import MalformedError
from bekend_proto.log_table import Entry
from bekend_proto.note import parse_note, sign_note
from bekend_proto.v1.signed_pb2 import Signed

KIND: Final = "bekend/1 log export"
_HEADER: Final = ("kind", "log", "size", "first", "end", "since", "until", "made")
_ENTRY: Final = ("i", "kind", "requester", "source", "hash", "at")
_MASKED: Final = ("i", "leaf", "at")
_LONGEST_NAME: Final = 64
"""Characters of a kind of entry, or of an OIN, with room."""
SHOWN: Final = frozenset({"question", "asked", "told", "answered", "begin", "fetch", "enrolment", "restored"})
"""Kinds of entry that an export shows. What else a party logs, such as the work at a desk, could tell of an answer."""


@dataclass(frozen=True, slots=True)
class Masked:
    """An entry of which an export shows the leaf's hash alone, and the time as the exporter states it."""

    hash: bytes
    at: int

    def leaf(self) -> bytes:
        """The hash of the leaf."""
        return self.hash


@dataclass(frozen=True)
class Record:
    """An answered Question as its source keeps it, with the sealed records that came with it."""

    question: Signed
    sealed: tuple[bytes, ...]


@dataclass(frozen=True)
class Export:
    """Entries [first, end) of a log of `size` entries, and what its owner holds of others. Times in milliseconds.

    `since`, `until`: the period that was asked for; the entries around it show that nothing of it was left out.
    """

    log: str
    size: int
    first: int
    since: int
    until: int
    made: int
    checkpoint: bytes
    left: tuple[bytes, ...]
    right: tuple[bytes, ...]
    entries: tuple[Entry | Masked, ...] = field(repr=False)
    held: tuple[bytes, ...] = ()
    seen: tuple[bytes, ...] = ()
    promises: tuple[Signed, ...] = ()
    records: tuple[Record, ...] = ()

    @property
    def end(self) -> int:
        """Number of the first entry that is not here."""
        return self.first + len(self.entries)

    @property
    def owner(self) -> str:
        """OIN of whose log it is."""
        return owner_of(self.log)

    @property
    def is_node(self) -> bool:
        """Whether it is the log of a node; else of a replica of the broker."""
        return is_node_log(self.log)

    @property
    def shown(self) -> list[tuple[int, Entry]]:
        """Number and text of the entries that are shown."""
        return [(n, one) for n, one in enumerate(self.entries, self.first) if isinstance(one, Entry)]

    @cached_property
    def leaves(self) -> tuple[bytes, ...]:
        """The hash of each entry."""
        return tuple(entry.leaf() for entry in self.entries)

    def roots(self, sizes: Iterable[int]) -> dict[int, bytes]:
        """The root at each of these sizes, where the entries reach."""
        wanted = set(sizes)
        found = {}
        frontier = merkle.Frontier(self._aligned(0, self.first, self.left))
        for size, leaf in enumerate((*self.leaves, b""), self.first):
            if size in wanted:
                found[size] = frontier.root()
            if size < self.end:
                frontier.add(0, leaf)
        for level, value in self._aligned(self.end, self.size, self.right):
            frontier.add(level, value)
        if self.size in wanted:
            found[self.size] = frontier.root()
        return found

    @staticmethod
    def _aligned(first: int, end: int, hashes: tuple[bytes, ...]) -> list[tuple[int, bytes]]:
        places = merkle.subtrees(first, end)
        if len(places) != len(hashes):
            raise MalformedError("another number of hashes than the entries call for")
        return [(level, value) for (level, _), value in zip(places, hashes, strict=True)]

    def to_bytes(self, key: SigningKey) -> bytes:
        """The file, signed by the log's owner."""
        text = "".join(f"{_line(one)}\n" for one in self._objects())
        return sign_note(text, self.log, bytes(key))

    def _objects(self) -> Iterator[dict[str, Any]]:
        head = (KIND, self.log, self.size, self.first, self.end, self.since, self.until, self.made)
        yield dict(zip(_HEADER, head, strict=True))
        yield {"checkpoint": self.checkpoint.decode()}
        yield {"left": [one.hex() for one in self.left], "right": [one.hex() for one in self.right]}
        for index, e in enumerate(self.entries, self.first):
            if isinstance(e, Masked):
                yield dict(zip(_MASKED, (index, e.hash.hex(), e.at), strict=True))
                continue
            yield dict(zip(_ENTRY, (index, e.kind, e.requester, e.source, e.hash.hex(), e.at), strict=True))
        for note in self.held:
            yield {"held": note.decode()}
        for note in self.seen:
            yield {"seen": note.decode()}
        for one in self.promises:
            yield {"promise": _base64(one.payload), "signature": _base64(one.signature)}
        for record in self.records:
            yield {
                "record": _base64(record.question.payload),
                "signature": _base64(record.question.signature),
                "sealed": [_base64(one) for one in record.sealed],
            }


def read_export(octets: bytes) -> Export:
    """The export in a file; nothing in it is verified yet. Raises MalformedError for anything but its one form."""
    note = parse_note(octets)
    objects = [_parse(line) for line in note.text[:-1].split("\n")]
    if len(note.signatures) != 1 or len(objects) < 3:
        raise MalformedError("an export has a header, a checkpoint, hashes, entries, and one signature")
    try:
        return _build(objects)
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise MalformedError(f"a line of the export is not of its one form ({type(fault).__name__})") from None


def _build(objects: list[dict[str, Any]]) -> Export:
    head, checkpoint, hashes = objects[:3]
    if tuple(head) != _HEADER or head["kind"] != KIND or tuple(checkpoint) != ("checkpoint",):
        raise MalformedError("this is no export of a log")
    if any(type(head[name]) is not int or not 0 <= head[name] < 2**63 for name in _HEADER[2:]):
        raise MalformedError("a number of the header is none")
    owner_of(head["log"])
    rest = objects[3:]
    count = head["end"] - head["first"]
    export = Export(
        log=head["log"],
        size=head["size"],
        first=head["first"],
        since=head["since"],
        until=head["until"],
        made=head["made"],
        checkpoint=checkpoint["checkpoint"].encode(),
        left=tuple(map(_hash, hashes["left"])),
        right=tuple(map(_hash, hashes["right"])),
        entries=tuple(_entry(head["first"] + n, one) for n, one in enumerate(rest[: max(count, 0)])),
        **_others(rest[max(count, 0) :]),
    )
    if export.end != head["end"] or not head["first"] <= head["end"] <= head["size"]:
        raise MalformedError("the entries are not those that the header announces")
    return export


def _entry(index: int, one: dict[str, Any]) -> Entry | Masked:
    if tuple(one) not in {_ENTRY, _MASKED} or one["i"] != index or type(one["i"]) is not int:
        raise MalformedError(f"entry {index} is missing, or not of its one form")
    if type(one["at"]) is not int or not 0 <= one["at"] < 2**63:
        raise MalformedError(f"entry {index} has no time")
    if "leaf" in one:
        return Masked(_hash(one["leaf"]), one["at"])
    names = [one[name] for name in ("kind", "requester", "source")]
    if not all(type(name) is str and name.isascii() and len(name) <= _LONGEST_NAME for name in names):
        raise MalformedError(f"entry {index} names no kind of message, or no parties")
    return Entry(one["kind"], _hash(one["hash"]), one["at"], one["requester"], one["source"])


def _others(objects: list[dict[str, Any]]) -> dict[str, Any]:
    """What follows the entries, in this order: held, seen, promises, records."""
    found: dict[str, list[Any]] = {"held": [], "seen": [], "promises": [], "records": []}
    order = list(found)
    reached = 0
    for one in objects:
        names = tuple(one)
        if names in {("held",), ("seen",)}:
            kind, value = names[0], one[names[0]].encode()
        elif names == ("promise", "signature"):
            kind, value = "promises", Signed(payload=_octets(one["promise"]), signature=_octets(one["signature"]))
        elif names == ("record", "signature", "sealed"):
            question = Signed(payload=_octets(one["record"]), signature=_octets(one["signature"]))
            kind, value = "records", Record(question, tuple(map(_octets, one["sealed"])))
        else:
            raise MalformedError("a line of the export is of no known kind")
        if order.index(kind) < reached:
            raise MalformedError("the lines of the export are not in their order")
        reached = order.index(kind)
        found[kind].append(value)
    return {name: tuple(values) for name, values in found.items()}


def checkpoint_of(note: bytes) -> Checkpoint:
    """The checkpoint in a note, not verified. Raises MalformedError."""
    return Checkpoint.parse(parse_note(note).text)


def _line(one: dict[str, Any]) -> str:
    return json.dumps(one, separators=(",", ":"))


def _parse(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        raise MalformedError("a line of the export is no JSON") from None
    if not isinstance(found, dict) or _line(found) != line:
        raise MalformedError("a line of the export is no JSON object in its one form")
    return found


def _hash(text: str) -> bytes:
    value = bytes.fromhex(text)
    if len(value) != 32 or value.hex() != text:
        raise MalformedError("a hash is 64 hex digits")
    return value


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _octets(text: str) -> bytes:
    data = base64.b64decode(text, validate=True)
    if _base64(data) != text:
        raise MalformedError("not in the one form of base64")
    return data
