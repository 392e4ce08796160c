"""The files of a party's Ed25519 signing key, and how it goes over to the next one without a pause.

    signing.key         seed of the key that signs now
    signing-next.key    seed of the one after it: the manifest names it too, and it signs nothing yet
    signing-before.txt  public halves of those before: each with the day that it went, and the first day on which no
                        manifest names it any more

A manifest names at most four (protocol section 4). What a key signed is verified for as long as a manifest names it;
its seed is destroyed at once when the next one takes its place.
"""

import os
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Final

from nacl.signing import SigningKey

from bekend_proto.clock import Clock, day_of
from bekend_proto.disk import sync
from bekend_proto.errors import KeysError
from bekend_proto.secret_files import read_secret

PRESENT: Final = "signing.key"
NEXT: Final = "signing-next.key"
BEFORE: Final = "signing-before.txt"
MOST: Final = 4
"""Signing keys that a manifest names at most."""
KNOWN_AFTER: Final = timedelta(minutes=3)
"""How long a manifest is in service before a key that it brings signs: parties fetch manifests every minute."""
RECENT: Final = timedelta(days=7)
"""So long after a key went over no other one is begun."""

_GONE: Final = "signing-gone.key"
_LINE: Final = re.compile(r"([0-9a-f]{64}) ([0-9]{4}-[0-9]{2}-[0-9]{2}) ([0-9]{4}-[0-9]{2}-[0-9]{2})")


@dataclass(frozen=True)
class Before:
    """A key that signs no more. `until`: the first day on which no manifest has to name it."""

    public: bytes
    gone: date
    until: date


def before(folder: Path) -> tuple[Before, ...]:
    """The keys before the present one, oldest first. Raises KeysError when the file is not as it was written."""
    path = folder / BEFORE
    try:
        lines = path.read_text(encoding="ascii").splitlines()
    except FileNotFoundError:
        return ()
    except (OSError, UnicodeDecodeError) as fault:
        raise KeysError(f"{path} cannot be read: restore it, or remove it and have a new manifest signed") from fault
    return tuple(_parsed(path, line) for line in lines)


def announced(folder: Path, today: date) -> tuple[bytes, ...]:
    """Public halves that the next manifest names: the present key, the next one, those before. Raises KeysError."""
    seeds = [folder / PRESENT, *([folder / NEXT] if (folder / NEXT).exists() else [])]
    found = [bytes(SigningKey(read_secret(path)).verify_key) for path in seeds]
    return tuple(dict.fromkeys([*found, *(one.public for one in before(folder) if one.until > today)]))


def next_public(folder: Path) -> bytes | None:
    """The public half of the next key; None while there is none. Raises KeysError."""
    path = folder / NEXT
    return bytes(SigningKey(read_secret(path)).verify_key) if path.exists() else None


def go_over(folder: Path, today: date, until: date) -> None:
    """The next key takes the place of the present one, whose seed is destroyed. Raises KeysError.

    After a power cut between the steps it may be called again; the party signs with one of two keys that its manifest
    names at any moment.
    """
    public = bytes(SigningKey(read_secret(folder / PRESENT)).verify_key)
    kept = [one for one in before(folder) if one.until > today and one.public != public]
    _write(folder / BEFORE, [*kept, Before(public, today, until)])
    gone = folder / _GONE
    try:
        gone.unlink(missing_ok=True)
        os.link(folder / PRESENT, gone)
        (folder / NEXT).replace(folder / PRESENT)
        sync(folder)
    except OSError as fault:
        raise KeysError(f"the signing key did not go over in {folder} ({fault.strerror}): run this again") from fault
    destroy_gone(folder)


def destroy_gone(folder: Path) -> None:
    """Overwrite and remove the seed that signs no more, if it is still there. Raises KeysError."""
    path = folder / _GONE
    if not path.exists():
        return
    try:
        if not path.samefile(folder / PRESENT):
            with path.open("r+b") as file:
                file.write(b"0" * 64)
                file.flush()
                os.fsync(file.fileno())
        path.unlink()
    except OSError as fault:
        raise KeysError(f"{path} signs no more and was not destroyed ({fault.strerror}): remove it by hand") from fault


class Renewal:
    """Lets the next key sign once a manifest that names it was in service long enough; one per running party."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        self._folder = folder
        self._clock = clock
        self._known: tuple[bytes, datetime] | None = None

    def look(self, named: Collection[bytes], until: datetime) -> bool:
        """Whether the next key took its place now: read `signing.key` again then.

        `named`: signing keys of the manifest in service; `until`: its end. Raises KeysError.
        """
        public, now = next_public(self._folder), self._clock.now()
        if public is None or public not in named:
            self._known = None
            return False
        if self._known is None or self._known[0] != public:
            self._known = public, now
        if now - self._known[1] < KNOWN_AFTER:
            return False
        go_over(self._folder, day_of(now), day_of(until) + timedelta(days=1))
        return True


def went_over(folder: Path, today: date) -> date | None:
    """The day on which the present key took its place, if that was lately. Raises KeysError."""
    days = [one.gone for one in before(folder)]
    return days[-1] if days and today - days[-1] < RECENT else None


def forget_before(folder: Path) -> None:
    """No manifest names the keys before any more: somebody else may hold one. Raises KeysError."""
    _write(folder / BEFORE, [Before(one.public, one.gone, one.gone) for one in before(folder)])


def _parsed(path: Path, line: str) -> Before:
    match = _LINE.fullmatch(line)
    if match is None:
        raise KeysError(f"{path} is not as it was written: restore it, or remove it and have a new manifest signed")
    return Before(bytes.fromhex(match[1]), date.fromisoformat(match[2]), date.fromisoformat(match[3]))


def _write(path: Path, keys: Iterable[Before]) -> None:
    part = path.with_suffix(".part")
    text = "".join(f"{one.public.hex()} {one.gone.isoformat()} {one.until.isoformat()}\n" for one in keys)
    with os.fdopen(os.open(part, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="ascii") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
