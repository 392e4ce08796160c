"""The versions of a covenant that one party holds, and how a version travels: as the exact bytes of its files.

    <covenant of the configuration>/       put there by hand
    <data>/covenants/<hash, 64 hex>/       versions that were added (broker) or accepted (node)

Two versions overlap during a change-over. Whoever goes on to a newer version keeps the one that served before in
<data>/covenants, on purpose; any other version that is older than one that served is refused (FG-05). The newest one
is what the party itself goes by; an older one only judges messages that name it, until its end or until it is removed.
"""

import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from bekend_proto.disk import sync
from bekend_proto.errors import CovenantError, MalformedError

from bekend_policy.load import SIGNATURES, load_covenant
from bekend_policy.model import Covenant
from bekend_policy.sign import verify_covenant, write_atomic

FOLDER = "covenants"
MAX_FILE = 1 << 20
"""Bytes of one file."""
MAX_TOTAL = 1 << 26
"""Bytes of a whole version: with 400 partners, each of 400 notes holds 1,200 lines."""
MAX_FILES = 2000

_PART = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,120}")
_NAME = re.compile(r"[0-9a-f]{64}")

Files = Sequence[tuple[str, bytes]]
"""Path in the folder and exact bytes."""


@dataclass(frozen=True)
class Version:
    """A version that holds, and where its files are."""

    covenant: Covenant
    folder: Path


def files_of(version: Version) -> Files:
    """Every file of a version, signatures included. Raises CovenantError when the folder changed since it was read."""
    lines = frozenset(version.covenant.manifest.splitlines())
    found = []
    for path in sorted(path for path in version.folder.rglob("*") if path.is_file()):
        name, content = path.relative_to(version.folder).as_posix(), path.read_bytes()
        if not name.startswith(f"{SIGNATURES}/") and f"{hashlib.sha256(content).hexdigest()}  {name}" not in lines:
            raise CovenantError(f"{path} is not what was signed: put the folder back, or load its new version")
        found.append((name, content))
    return found


def unpack(files: Files, into: Path) -> Covenant:
    """Write files into a folder that is not there yet, and read them; nothing is verified but their form.

    Raises MalformedError for paths or sizes that no covenant has, CovenantFaults for what they say.
    """
    if len(files) > MAX_FILES or sum(len(content) for _, content in files) > MAX_TOTAL:
        raise MalformedError("the covenant is too large")
    if len({path for path, _ in files}) != len(files):
        raise MalformedError("the covenant has a file twice")
    into.mkdir(mode=0o700, parents=True)
    for path, content in files:
        parts = path.split("/")
        if len(parts) > 2 or not all(map(_PART.fullmatch, parts)) or len(content) > MAX_FILE:
            raise MalformedError("the covenant has a file with an impossible path or size")
        target = into / path
        target.parent.mkdir(exist_ok=True)
        write_atomic(target, content)
    return load_covenant(into)


def keep(files: Files, shelf: Path, digest: bytes) -> Path:
    """Keep a version under its hash, in one step; of one that is there already only the signatures are renewed.

    Raises CovenantError when the files have another hash, else as `unpack`.
    """
    target, part = shelf / digest.hex(), shelf / f".part-{digest.hex()}"
    if part.exists():
        shutil.rmtree(part)
    try:
        if unpack(files, part).hash != digest:
            raise CovenantError("these files are not the covenant of this hash")
        if target.is_dir():
            for path, content in files:
                if path.startswith(f"{SIGNATURES}/"):
                    write_atomic(target / path, content)
        else:
            part.replace(target)
            sync(shelf)
    finally:
        if part.exists():
            shutil.rmtree(part)
    return target


def drop(shelf: Path, digest: bytes) -> None:
    """Hold a version no longer, in one step."""
    gone = shelf / f".gone-{digest.hex()}"
    (shelf / digest.hex()).replace(gone)
    shutil.rmtree(gone)


def held(shelf: Path) -> dict[bytes, Path]:
    """Hash -> folder of what was kept."""
    if not shelf.is_dir():
        return {}
    return {bytes.fromhex(path.name): path for path in sorted(shelf.iterdir()) if _NAME.fullmatch(path.name)}


def load_versions(
    primary: Path,
    shelf: Path,
    anchor: str,
    now: datetime,
    *,
    newest_seen: Callable[[str], int],
    skipped: Callable[[Path, str], None],
) -> tuple[Version, ...]:
    """The versions that hold now, newest first: that of the configuration, and those that were kept.

    One that does not hold is told to `skipped`, as long as another does. Raises CovenantFaults with every reason why
    none does, CovenantError when the newest is older than one that served before.
    """
    found: dict[bytes, Version] = {}
    for digest, folder in held(shelf).items():
        try:
            read = load_covenant(folder)
            if read.hash != digest:
                raise CovenantError("the files are not those of this hash")
            found[digest] = Version(verify_covenant(read, anchor, now), folder)
        except CovenantError as fault:
            skipped(folder, str(fault))
    try:
        read = load_covenant(primary)
        # One that was kept for the change-over may be older than the newest; no other may.
        seen = 0 if read.hash in found else newest_seen(read.id)
        found.setdefault(read.hash, Version(verify_covenant(read, anchor, now, newest_seen=seen), primary))
    except CovenantError as fault:
        if not found:
            raise
        skipped(primary, str(fault))
    newest = max(found.values(), key=lambda one: one.covenant.version)
    if newest.covenant.version < newest_seen(newest.covenant.id):
        raise CovenantError(
            f"version {newest.covenant.version} of {newest.covenant.id} is older than one that served before: "
            "put the newer one back, or take a version with a higher number"
        )
    return _of_one(newest, found.values(), skipped)


class Awaited:
    """The versions in a shelf whose first day has not come: they come into service by themselves on that day."""

    def __init__(self, shelf: Path) -> None:
        self._shelf = shelf
        self._begins: dict[bytes, datetime] = {}
        self._waits: set[bytes] = set()

    def look(self, now: datetime) -> None:
        """Take note of what was kept since. What is met after its first day waits for its operator."""
        for digest, folder in held(self._shelf).items():
            if digest not in self._begins:
                try:
                    self._begins[digest] = load_covenant(folder).valid_from
                except CovenantError:
                    self._begins[digest] = now
                if self._begins[digest] > now:
                    self._waits.add(digest)

    def is_due(self, now: datetime) -> bool:
        """Whether the first day of one has come since the last look; true once for each."""
        due = {digest for digest in self._waits if self._begins[digest] <= now}
        self._waits -= due
        self.look(now)
        return bool(due)


def check_newer(covenant: Covenant, present: Iterable[Covenant], newest_seen: int) -> None:
    """Raise CovenantError unless this is a newer version than all that served, or one of those held, again."""
    if any(covenant.hash == one.hash for one in present):
        return
    highest = max([newest_seen, *(one.version for one in present if one.id == covenant.id)])
    if covenant.version <= highest:
        raise CovenantError(
            f"version {covenant.version} of {covenant.id} is not newer than {highest}, which served here: "
            "nothing goes back; a change gets a higher number"
        )


def _of_one(newest: Version, versions: Iterable[Version], skipped: Callable[[Path, str], None]) -> tuple[Version, ...]:
    """The versions of the newest's covenant, each number once."""
    kept: dict[int, Version] = {newest.covenant.version: newest}
    for one in versions:
        if one.covenant.id != newest.covenant.id:
            skipped(one.folder, f"another covenant than {newest.covenant.id}")
        elif kept.setdefault(one.covenant.version, one) is not one:
            skipped(one.folder, f"another text of version {one.covenant.version}")
    return tuple(kept[number] for number in sorted(kept, reverse=True))
