"""A backup of one party's data: a folder that is whole, or is no backup.

    node-00000099000000001000-20261126T043000Z/
      backup.note            written last, signed: whose, when taken, and per file its octets, SHA-256 and schema
      node.db, registers.db  each database as one unchanging snapshot, by SQLite's backup API, while it is written to
      pseudonyms/, ...       files that are never changed once they are there

It is made under another name, synced, and renamed; whatever stops that leaves a name that nothing takes for a backup.
The signature is of the party's own key of that moment, so nobody who keeps backups can make one. No key is in it: the
caller names what goes in, and keys lie in another folder. What it holds is held longer than its owner holds it, so
backups end: `prune` destroys them by the clock.
"""

import hashlib
import json
import os
import re
import shutil
import sqlite3
import stat
from collections.abc import Collection, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

from nacl.signing import SigningKey

from bekend_proto.disk import sync
from bekend_proto.errors import BekendError, SignatureError, StorageError
from bekend_proto.note import note_name, parse_note, sign_note, verify_note, vkey_of

KIND: Final = "bekend/1 backup"
NOTE: Final = "backup.note"
ROLE: Final = "backup"
"""Under this name the party's signing key signs its backups."""
LONGEST: Final = timedelta(days=7)
"""A backup never lives longer, whatever the covenant's terms."""
LAST: Final = "last-backup"
"""In the data folder: when a backup last succeeded, seconds since 1970."""

_NAME: Final = re.compile(r"(node|broker)-([0-9]{8}[0-9A-Z]{12})-([0-9]{8}T[0-9]{6}Z)")
_MOMENT: Final = "%Y%m%dT%H%M%SZ"
_PARTIAL: Final = ".partial"
_PIECE: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class File:
    """One file of a backup. `schema`: number of the last migration of a database, 0 for other files."""

    name: str
    octets: int
    sha256: str
    schema: int = 0


@dataclass(frozen=True, slots=True)
class Backup:
    """What stands in `backup.note`. `facts` are the party's own, such as the head of its log."""

    folder: Path
    party: str
    oin: str
    taken: datetime
    files: tuple[File, ...]
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def octets(self) -> int:
        """Size of all files."""
        return sum(file.octets for file in self.files)

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "backup": str(self.folder),
            "party": self.party,
            "oin": self.oin,
            "taken": self.taken.isoformat(),
            "files": len(self.files),
            "octets": self.octets,
            "facts": dict(self.facts),
        }


@dataclass(frozen=True, slots=True)
class Source:
    """What goes into a backup, by its name in it. Databases are copied as one snapshot, files as they are."""

    databases: Mapping[str, Path]
    files: Mapping[str, Path] = field(default_factory=dict)


def make(
    into: Path, party: str, oin: str, source: Source, *, taken: datetime, key: SigningKey, facts: Mapping[str, Any]
) -> Backup:
    """Write a whole backup in the folder `into`, durable when this returns.

    Raises StorageError when the disk fails or a database is damaged; then no backup is left.
    """
    folder = into / f"{party}-{oin}-{taken.astimezone(UTC).strftime(_MOMENT)}"
    partial = folder.with_name(folder.name + _PARTIAL)
    try:
        into.mkdir(mode=0o700, parents=True, exist_ok=True)
        if folder.exists():
            raise StorageError(f"{folder} exists: a backup of this second was made already")
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700)
        schemas = {name: _snapshot(path, partial / name) for name, path in source.databases.items()}
        for name, path in source.files.items():
            _copy(path, partial / name)
        files = tuple(_described(partial, name, schemas.get(name, 0)) for name in (*schemas, *source.files))
        made = Backup(folder, party, oin, taken.replace(microsecond=0), files, facts)
        _write(partial / NOTE, sign_note(_text(made), note_name(oin, ROLE), bytes(key)))
        for inner in sorted({(partial / file.name).parent for file in files} | {partial}):
            sync(inner)
        partial.replace(folder)
        sync(into)
    except (OSError, sqlite3.Error) as fault:
        shutil.rmtree(partial, ignore_errors=True)
        reason = getattr(fault, "sqlite_errorname", None) or getattr(fault, "strerror", None) or type(fault).__name__
        raise StorageError(f"no backup was made in {into} ({reason}): make room there, or name another disk") from fault
    except BekendError:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    return made


def read(folder: Path) -> Backup:
    """What a backup says of itself; nothing is verified. Raises StorageError when there is no backup here."""
    try:
        text = parse_note((folder / NOTE).read_bytes()).text
        head, _, rest = text.partition("\n")
        facts = json.loads(rest)
        files = tuple(File(**file) for file in facts["files"])
        taken = datetime.fromisoformat(facts["taken"])
        found = Backup(folder, facts["party"], facts["oin"], taken, files, facts["facts"])
    except (OSError, BekendError, ValueError, KeyError, TypeError) as fault:
        raise StorageError(f"{folder} is no whole backup: take another one") from fault
    if head != KIND or _text(found) != text:
        raise StorageError(f"{folder} is no backup of this kind: take another one")
    return found


def verify(folder: Path, keys: Collection[bytes] | None = None) -> Backup:
    """The backup, once every octet of it was checked: signature (unless `keys` is None), hashes, databases.

    Raises StorageError, SignatureError: it is then worth nothing.
    """
    found = read(folder)
    if keys is not None:
        note = parse_note((folder / NOTE).read_bytes())
        if not any(verify_note(note, vkey_of(note_name(found.oin, ROLE), key)) for key in keys):
            raise SignatureError(f"{folder} was signed by no key of {found.oin} that is known here")
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    if there != {NOTE, *(file.name for file in found.files)}:
        raise StorageError(f"{folder} has other files than it had when it was made: take another backup")
    for file in found.files:
        if _described(folder, file.name, file.schema) != file:
            raise StorageError(f"{folder / file.name} changed since it was backed up: take another backup")
        if file.schema:
            _check(folder / file.name)
    return found


def present(into: Path, party: str, oin: str) -> list[Backup]:
    """The backups of one party in a folder, oldest first; half-written ones and those of others are none of these.

    Their notes say which was taken when: a name tells what somebody called it.
    """
    if not into.is_dir():
        return []
    found = []
    for path in sorted(into.iterdir()):
        match = _NAME.fullmatch(path.name)
        if match and (match[1], match[2]) == (party, oin) and (path / NOTE).is_file():
            found.append(read(path))
    return sorted(found, key=lambda one: one.taken)


def prune(into: Path, party: str, oin: str, before: datetime) -> list[Path]:
    """Destroy the backups of one party that were taken before a moment, and what was left half-written; gives them.

    The name tells the moment, so that one that cannot be read goes too. Raises StorageError when one stays.
    """
    gone = []
    for path in sorted(into.iterdir()) if into.is_dir() else ():
        match = _NAME.fullmatch(path.name.removesuffix(_PARTIAL))
        if match is None or (match[1], match[2]) != (party, oin):
            continue
        taken = datetime.strptime(match[3], _MOMENT).replace(tzinfo=UTC)
        if taken < before or path.name.endswith(_PARTIAL):
            destroy(path)
            gone.append(path)
    return gone


def destroy(folder: Path) -> None:
    """Overwrite every file of a backup with zeros, and remove it. The note goes first: half of it is no backup.

    A link is removed and leads nowhere: others may write where backups are kept. Raises StorageError.
    """
    try:
        if folder.is_symlink():
            folder.unlink()
            return
        (folder / NOTE).unlink(missing_ok=True)
        for _, _, names, opened in os.fwalk(folder):
            for name in names:
                _overwrite(name, opened)
        shutil.rmtree(folder)
    except OSError as fault:
        raise StorageError(f"{folder} could not be destroyed ({fault.strerror}): remove it by hand") from fault


def put_back(found: Backup, data: Path) -> Path:
    """Copy a verified backup beside the data folder `data`, durable; the caller makes it ready, then renames it there.

    Raises StorageError when there is data already, when the backup changed since it was verified, or the disk fails.
    """
    if data.exists() and any(data.iterdir()):
        raise StorageError(f"{data} is not empty: move it away first; nothing is ever overwritten")
    target = data.with_name(f"{data.name}{_PARTIAL}")
    try:
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700, parents=True)
        for file in found.files:
            _copy(found.folder / file.name, target / file.name)
            if _described(target, file.name, file.schema) != file:
                raise StorageError(f"{found.folder / file.name} changed since it was verified: take another backup")
    except OSError as fault:
        shutil.rmtree(target, ignore_errors=True)
        raise StorageError(f"{target} could not be written ({fault.strerror}): make room and run again") from fault
    except StorageError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    return target


def put_in_place(target: Path, data: Path) -> None:
    """Give what `put_back` wrote its name. Raises StorageError."""
    try:
        if data.exists():
            data.rmdir()
        target.rename(data)
        sync(data.parent)
    except OSError as fault:
        raise StorageError(f"{data} could not be put in place ({fault.strerror}): run it again") from fault


def note_success(data: Path, taken: datetime) -> None:
    """Leave word for the service that a backup succeeded."""
    part = data / f"{LAST}{_PARTIAL}"
    _write(part, f"{taken.timestamp():.0f}\n".encode())
    part.replace(data / LAST)


def last_success(data: Path) -> float:
    """When a backup of this data last succeeded, seconds since 1970; 0 when none did."""
    try:
        return float((data / LAST).read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 0.0


def _text(backup: Backup) -> str:
    facts = {
        "party": backup.party,
        "oin": backup.oin,
        "taken": backup.taken.isoformat(),
        "facts": dict(backup.facts),
        "files": [
            {"name": file.name, "octets": file.octets, "sha256": file.sha256, "schema": file.schema}
            for file in backup.files
        ],
    }
    return f"{KIND}\n{json.dumps(facts, indent=1, ensure_ascii=True)}\n"


def _snapshot(path: Path, copy: Path) -> int:
    """Copy a database while others write to it, and check the copy; gives the number of its last migration."""
    if not path.is_file():
        raise StorageError(f"{path} is not there: has this service ever run with this configuration?")
    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    os.close(os.open(copy, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    with closing(_open(path)) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        # One file alone: nothing of the copy stands in a -wal beside it.
        target.execute("PRAGMA journal_mode=DELETE").fetchall()
    sync(copy)
    return _check(copy)


def _check(path: Path) -> int:
    """The number of the last migration of a whole database. Raises StorageError for one that is damaged."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            verdict = connection.execute("PRAGMA integrity_check(1)").fetchone()[0]
            row = connection.execute("SELECT max(number) FROM migrations").fetchone()
    except sqlite3.Error as fault:
        raise StorageError(f"{path} is damaged: take another backup") from fault
    if verdict != "ok":
        raise StorageError(f"{path} is damaged: take another backup")
    return int(row[0])


def _open(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, timeout=10)
    connection.execute("PRAGMA query_only=ON")
    return connection


def _described(folder: Path, name: str, schema: int) -> File:
    digest = hashlib.sha256()
    with (folder / name).open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
        return File(name, file.tell(), digest.hexdigest(), schema)


def _copy(path: Path, copy: Path) -> None:
    copy.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with path.open("rb") as source, os.fdopen(os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        shutil.copyfileobj(source, file, _PIECE)
        file.flush()
        os.fsync(file.fileno())


def _write(path: Path, data: bytes) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def _overwrite(name: str, folder: int) -> None:
    """Write zeros over a file in an open folder; what is no file is left."""
    if not stat.S_ISREG(os.stat(name, dir_fd=folder, follow_symlinks=False).st_mode):
        return
    with os.fdopen(os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=folder), "r+b") as file:
        left = os.fstat(file.fileno()).st_size
        while left > 0:
            left -= file.write(bytes(min(left, _PIECE)))
        file.flush()
        os.fsync(file.fileno())
