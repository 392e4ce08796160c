"""A backup of the broker's roots that two persons open together, and neither alone.

    backup = Argon2id(second passphrase) over ( Argon2id(first passphrase) over ( every key file, as JSON ) )

Without the roots of an epoch every partner enrols all its registers again; without a month's root no access request
can look back to that month, ever. So the backup is worth as much as the keys themselves: keep it away from them, one
passphrase with each of two persons, neither of whom keeps the file. A root that is destroyed at the end of its epoch
lives on in a backup that holds it: make a new one then, and destroy the old.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from bekend_policy.passphrase import MEMORY, MIN_PASSPHRASE, OPERATIONS, Wrapped, wrap, write_new
from bekend_policy.scalars import Moment, Oin
from bekend_policy.strict_yaml import YamlFaults, load_yaml
from bekend_proto.disk import sync
from bekend_proto.errors import KeysError
from bekend_proto.secret_files import read_secret

from bekend_broker.keys import over

KIND: Final = "bekend/1 broker-key-backup"
_KEY_FILE = re.compile(r"(?:signing(?:-next)?|b-[0-9]{4}[Q-Z][1-4]|u-[0-9]{4}-(?:0[1-9]|1[0-2]))\.key")


class _BackupFile(Wrapped):
    kind: str
    oin: Oin
    made: Moment


@dataclass(frozen=True)
class Restored:
    """What came of a restore: files written, and files that were there already with the same key."""

    written: tuple[Path, ...]
    present: tuple[Path, ...]


@dataclass(frozen=True)
class Passphrases:
    """Of two persons."""

    first: str = field(repr=False)
    second: str = field(repr=False)

    def check(self) -> None:
        """Raises KeysError unless both are long enough, and different: one person must not be enough."""
        if min(len(self.first), len(self.second)) < MIN_PASSPHRASE:
            raise KeysError(f"each passphrase has at least {MIN_PASSPHRASE} characters: choose a longer one")
        if self.first == self.second:
            raise KeysError("the two passphrases are the same: two persons choose one each")


def back_up(
    folder: Path, out: Path, oin: str, now: datetime, passphrases: Passphrases, *,
    operations: int = OPERATIONS, memory: int = MEMORY,
) -> list[str]:  # fmt: skip
    """Write every key that is still needed to a new file of mode 0600; gives their names.

    Roots of epochs that are over are left out. Raises KeysError: a key file that cannot be read, a passphrase, a file
    that exists.
    """
    passphrases.check()
    gone = set(over(folder, now))
    paths = [path for path in sorted(folder.iterdir()) if _KEY_FILE.fullmatch(path.name) and path not in gone]
    if not paths:
        raise KeysError(f"{folder} holds no keys: there is nothing to back up")
    files = {path.name: read_secret(path).hex() for path in paths}
    inner = wrap(json.dumps(files).encode(), passphrases.first, operations=operations, memory=memory)
    text = (
        "# Backup of a broker's keys. Two persons open it together: bekend broker restore-keys.\n"
        f"kind: {KIND}\n"
        f'oin: "{oin}"\n'
        f"made: {now.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}\n"
        f"{wrap(inner.encode(), passphrases.second, operations=operations, memory=memory)}"
    )
    try:
        write_new(out, text.encode())
    except OSError as fault:
        raise KeysError(
            f"{out} cannot be written ({fault.strerror}): choose a new name in a folder that exists"
        ) from fault
    return list(files)


def open_backup(path: Path, oin: str, passphrases: Passphrases) -> dict[str, bytes]:
    """The keys in a backup, by file name. Raises KeysError: another broker's, damaged, or a wrong passphrase."""
    try:
        file = load_yaml(path, _BackupFile)
    except YamlFaults as fault:
        raise KeysError(f"{path} is no backup of a broker's keys: {fault}") from fault
    if file.kind != KIND or file.oin != oin:
        raise KeysError(f"{path} is no backup of the keys of broker {oin}")
    inner = file.unwrap(passphrases.second)
    if inner is None:
        raise KeysError("the second passphrase does not open this backup: who holds it types it again")
    try:
        payload = load_yaml(inner.decode(), Wrapped).unwrap(passphrases.first)
        if payload is None:
            raise KeysError("the first passphrase does not open this backup: who holds it types it again")
        keys = {name: bytes.fromhex(value) for name, value in json.loads(payload).items()}
    except (YamlFaults, ValueError, AttributeError) as fault:
        raise KeysError(f"{path} is damaged: use another copy") from fault
    if not all(_KEY_FILE.fullmatch(name) and len(key) == 32 for name, key in keys.items()):
        raise KeysError(f"{path} is damaged: use another copy")
    return keys


def restore(folder: Path, keys: Mapping[str, bytes]) -> Restored:
    """Put keys back where they are missing, all or none; what stands there is never overwritten.

    Raises KeysError, with nothing changed, when a file there holds another key.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    there = {name for name in keys if (folder / name).exists()}
    other = sorted(name for name in there if read_secret(folder / name) != keys[name])
    if other:
        raise KeysError(
            f"{folder} holds other keys under {', '.join(other)}: move them away first, nothing was changed"
        )
    written: list[Path] = []
    try:
        for name in sorted(keys.keys() - there):
            write_new(folder / name, (keys[name].hex() + "\n").encode())
            written.append(folder / name)
    except OSError as fault:
        for path in written:
            path.unlink()
        raise KeysError(f"{folder} cannot be written ({fault.strerror}): nothing was restored") from fault
    sync(folder)
    return Restored(tuple(written), tuple(folder / name for name in sorted(there)))
