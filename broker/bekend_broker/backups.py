"""Backups of the broker's data, and what a restore makes of them.

In a backup are broker.db and the versions of the covenant that were added. In none are roots or keys: those have a
backup of their own, which two persons open (key_backup.py).

A restored broker is behind what nodes saw of it. Its log is closed with the head that was put back and goes on under
another name, which the operator signs: witnesses have proved that nothing they saw before was changed, and say what is
lost. Nothing is evaluated within two minutes, so that no Begin or Question counts twice. Retention is applied before
anything is served.
"""

from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bekend_policy.versions import FOLDER
from bekend_proto import backup, log_table
from bekend_proto.backup import Backup, Source
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import day_of, milliseconds
from bekend_proto.errors import KeysError, LogError, StorageError
from bekend_proto.log_table import Closed
from bekend_proto.secret_files import read_secret
from bekend_proto.signing_files import announced
from nacl.signing import SigningKey

from bekend_broker.config import BrokerConfig
from bekend_broker.keys import signing_seed
from bekend_broker.store import Store

PARTY: Final = "broker"


@dataclass(frozen=True)
class Restored:
    """What was put back. `closed` is the head of the log that ended."""

    backup: Backup
    closed: Closed
    log: str


def bounded_keep(wanted: timedelta | None) -> timedelta:
    """How long backups are kept. Raises KeysError when that is longer than they may be."""
    if wanted is not None and wanted > backup.LONGEST:
        raise KeysError(f"a backup may be kept for {backup.LONGEST.days} days at most")
    return wanted or backup.LONGEST


def make_backup(config: BrokerConfig, into: Path, now: datetime) -> Backup:
    """Back up while the broker runs. Raises StorageError, KeysError; then no backup is left."""
    check_is_file(config)
    for folder in (config.keys, config.data):
        if into.resolve().is_relative_to(folder.resolve()):
            raise StorageError(f"{into} lies in {folder}: keep backups elsewhere, and apart from keys")
    shelf = config.data / FOLDER
    files = sorted(path for path in shelf.rglob("*") if path.is_file()) if shelf.is_dir() else []
    source = Source(
        {"broker.db": config.data / "broker.db"}, {path.relative_to(config.data).as_posix(): path for path in files}
    )
    key = SigningKey(read_secret(signing_seed(config.keys)))
    facts = {"log": log_origin(config.oin, config.log)}
    made = backup.make(into, PARTY, config.oin, source, taken=now, key=key, facts=facts)
    backup.note_success(config.data, now)
    return made


def check_is_file(config: BrokerConfig) -> None:
    """Raise StorageError for a broker whose database is a server's to back up."""
    if config.database is not None:
        raise StorageError("the configuration names a PostgreSQL database: its server makes and restores the backups")


def verify_backup(config: BrokerConfig, folder: Path, now: datetime, *, new_keys: bool) -> Backup:
    """Check every octet. Raises StorageError, SignatureError: it is then worth nothing here."""
    found = backup.verify(folder, None if new_keys else announced(config.keys, day_of(now)))
    if (found.party, found.oin) != (PARTY, config.oin):
        raise StorageError(f"{folder} is of the {found.party} of {found.oin}, not of this broker")
    return found


def restore(config: BrokerConfig, folder: Path, now: datetime, *, new_keys: bool = False) -> Restored:
    """Put a backup back in an empty data folder, as what it is: something older than others saw.

    Raises StorageError, SignatureError, LogError; then the data folder is as it was.
    """
    check_is_file(config)
    found = verify_backup(config, folder, now, new_keys=new_keys)
    if now - found.taken > backup.LONGEST:
        raise StorageError(f"{folder} is older than {backup.LONGEST.days} days: it has to be destroyed, not used")
    origin = str(found.facts["log"])
    if origin == log_origin(config.oin, config.log):
        raise LogError(
            f"nodes saw more of the log {origin} than this backup holds: give `log` in broker.yaml a name that was "
            "never used, such as main-2; its manifest is made and signed afterwards"
        )
    target = backup.put_back(found, config.data)
    with closing(Store.open(target)) as store:
        closed = store.database.write_sync(
            lambda c: log_table.close_log(c, origin, taken=milliseconds(found.taken), at=milliseconds(now))
        )
        store.database.truncate_wal()
    backup.put_in_place(target, config.data)
    return Restored(found, closed, config.log)


def closed_here(config: BrokerConfig) -> list[Closed]:
    """The logs of this replica that a restore ended, oldest first."""
    if not Store.is_there(config):
        return []
    with closing(Store.of(config)) as store:
        return store.read(log_table.closed)
