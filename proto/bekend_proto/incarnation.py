"""Which machine is a node: of several that hold its keys, one may speak to the broker, and it says which (fencing).

    bekend/1 incarnation
    00000099000000001000        the node
    1795668518123               when it took over, milliseconds since 1970; 0 for a first installation
    5f0c...                     16 random octets of this installation, in hex

    — bekend/00000099000000001000/incarnation ...     signed with a signing key of the node's manifest

It goes with every call as metadata. The broker keeps the highest that ever attached; a lower one, or another of the
same moment, is refused, whatever it asks. So a machine that comes back after another took its place, with keys, data
and certificate in order, does nothing any more, and no budget, log or replay memory goes on in two places.
"""

import contextlib
import json
import os
import re
import secrets
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from bekend_proto.clock import milliseconds
from bekend_proto.errors import BekendError, MalformedError, SignatureError, StorageError
from bekend_proto.note import note_name, parse_note, sign_note, verify_note, vkey_of

METADATA: Final = "bekend-incarnation-bin"
"""Name of the metadata of each call."""
KIND: Final = "bekend/1 incarnation"
ROLE: Final = "incarnation"
FILE: Final = "incarnation.json"
"""In the data folder, and in no backup: what is restored is another one."""
LIMIT: Final = 1024
"""Octets of a statement at most."""

_TEXT: Final = re.compile(
    rf"{KIND}\n(?P<oin>[0-9]{{8}}[0-9A-Z]{{12}})\n(?P<number>0|[1-9][0-9]{{0,15}})\n(?P<instance>[0-9a-f]{{32}})\n"
)


@dataclass(frozen=True, slots=True, order=True)
class Incarnation:
    """One installation of a node. They are ordered by when they took over."""

    number: int
    instance: str
    oin: str = ""
    signed: bytes = field(default=b"", repr=False, compare=False)

    def is_fenced_by(self, other: "Incarnation") -> bool:
        """Whether another one stands in its place."""
        return (self.number, self.instance) != (other.number, other.instance) and self.number <= other.number

    def statement(self, key: SigningKey) -> bytes:
        """What the node sends with each call."""
        text = f"{KIND}\n{self.oin}\n{self.number}\n{self.instance}\n"
        return sign_note(text, note_name(self.oin, ROLE), bytes(key))


NOBODY: Final = Incarnation(0, "")
"""Whoever says nothing."""


@lru_cache(maxsize=1024)
def parse(octets: bytes, oin: str) -> Incarnation:
    """What a caller states; nothing is verified yet. Raises MalformedError."""
    # Every call states it, in the same octets.
    if not octets:
        return NOBODY
    if len(octets) > LIMIT:
        raise MalformedError(f"an incarnation has at most {LIMIT} octets")
    found = _TEXT.fullmatch(parse_note(octets).text)
    if found is None or found["oin"] != oin:
        raise MalformedError("this is no incarnation of the caller")
    return Incarnation(int(found["number"]), found["instance"], oin, octets)


def check(stated: Incarnation, keys: tuple[bytes, ...]) -> None:
    """Raise SignatureError unless one of these keys, of the node's manifest, signed it."""
    note = parse_note(stated.signed)
    if not any(verify_note(note, vkey_of(note_name(stated.oin, ROLE), key)) for key in keys):
        raise SignatureError(f"no key of {stated.oin} signed this incarnation")


def own(data: Path, oin: str) -> Incarnation:
    """That of this installation; made at its first use. Raises StorageError when the file cannot be read or written."""
    path = data / FILE
    try:
        if not path.exists():
            _write(path, Incarnation(0, secrets.token_hex(16), oin), replace=False)
        facts = json.loads(path.read_text(encoding="ascii"))
        return Incarnation(int(facts["number"]), str(facts["instance"]), oin)
    except (OSError, ValueError, KeyError, BekendError) as fault:
        raise StorageError(f"{path} cannot be used: see `bekend node takeover` for what it is") from fault


def take_over(data: Path, oin: str, now: datetime) -> Incarnation:
    """From here on this installation is the node: every other is refused once it attached. Raises StorageError."""
    fresh = Incarnation(milliseconds(now), secrets.token_hex(16), oin)
    try:
        _write(data / FILE, fresh, replace=True)
    except OSError as fault:
        raise StorageError(f"{data / FILE} could not be written ({fault.strerror})") from fault
    return fresh


def _write(path: Path, it: Incarnation, *, replace: bool) -> None:
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        json.dump({"number": it.number, "instance": it.instance}, file)
        file.flush()
        os.fsync(file.fileno())
    if replace:
        part.replace(path)
    else:
        # Two processes at once: the first one's stays.
        with contextlib.suppress(FileExistsError):
            os.link(part, path)
        part.unlink()
