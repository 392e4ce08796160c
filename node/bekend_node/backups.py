"""Backups of a node's data, and what a restore makes of them.

In a backup are node.db, registers.db, the pseudonym files in service and the versions of the covenant. In none are
keys, desk.db (what was erased there must be gone), filters and their m (made anew).

A restored node is behind what others saw of it, and says so:

    its machine      takes the place of every other one of this node: those are refused from then on
    its log          is closed with the head that was put back, and goes on under another name
    its registers    answer nothing until they are imported anew: who came, left or was shielded since is not in them
    filters          are made anew, with later versions than any that a requester saw
    questions        are not answered within two minutes, so that none is answered twice
    consents         count as withdrawn, and answers still to come are let go: what others ended stays ended
    retention        is applied before anything is served
"""

import asyncio
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bekend_policy.load import load_covenant
from bekend_policy.versions import FOLDER
from bekend_proto import backup, incarnation
from bekend_proto.backup import Backup, Source
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import Clock, day_of, milliseconds
from bekend_proto.errors import BekendError, KeysError, LogError, RefusedError, StorageError
from bekend_proto.identity import read_tls
from bekend_proto.locks import locked
from bekend_proto.log_table import Closed
from bekend_proto.signing_files import announced

from bekend_node import store_restore
from bekend_node.ask.case_reference import case_key
from bekend_node.ask.consent import ConsentBook
from bekend_node.config import NodeConfig
from bekend_node.keys import NodeKeys
from bekend_node.locks import SWITCH
from bekend_node.rules import load_manifest
from bekend_node.store import Store
from bekend_node.store_registers import Registers

PARTY: Final = "node"


@dataclass(frozen=True)
class Restored:
    """What was put back. `closed` is the head of the log that ended, `consents` how many count as withdrawn."""

    backup: Backup
    closed: Closed
    log: str
    consents: int


def longest_keep(config: NodeConfig) -> timedelta:
    """How long a backup may be kept: no longer than any result lives, and a week at most."""
    purposes = load_covenant(config.covenant).purposes.values()
    return min((backup.LONGEST, *(purpose.result_lifetime for purpose in purposes)))


def _days(span: timedelta) -> str:
    return f"{span / timedelta(days=1):g} days"


def bounded_keep(config: NodeConfig, wanted: timedelta | None) -> timedelta:
    """How long backups are kept. Raises RefusedError when that is longer than they may be."""
    longest = longest_keep(config)
    if wanted is not None and wanted > longest:
        raise RefusedError(
            "keep",
            f"a backup may be kept for {_days(longest)} at most: results live no longer, and a copy must not either",
        )
    return wanted or longest


def make_backup(config: NodeConfig, into: Path, now: datetime) -> Backup:
    """Back up while the node runs. Raises StorageError, KeysError; then no backup is left.

    No import switches meanwhile: registers.db and the pseudonym files belong together.
    """
    key = NodeKeys.load(config.keys, config.oin).signing
    data = config.data
    _check_apart(config, into)
    with locked(data, SWITCH):
        with closing(Registers.open(data)) as registers:
            files = {f"pseudonyms/{g.id}.pseudonyms": registers.file(g.id) for g in registers.generations()}
        files |= {path.relative_to(data).as_posix(): path for path in _covenants(data)}
        source = Source({name: data / name for name in ("node.db", "registers.db")}, files)
        facts = {"log": log_origin(config.oin, config.log)}
        made = backup.make(into, PARTY, config.oin, source, taken=now, key=key, facts=facts)
    backup.note_success(data, now)
    return made


async def restore(config: NodeConfig, folder: Path, now: datetime, *, new_keys: bool = False) -> Restored:
    """Put a backup back in an empty data folder, as what it is: something older than others saw.

    `new_keys`: the signing key was lost too, so the backup's own signature cannot be verified. Raises StorageError,
    SignatureError, LogError, RefusedError; then the data folder is as it was.
    """
    keys = NodeKeys.load(config.keys, config.oin)
    found = backup.verify(folder, None if new_keys else known_keys(config, now))
    if (found.party, found.oin) != (PARTY, config.oin):
        raise StorageError(f"{folder} is of the {found.party} of {found.oin}, not of this node")
    if now - found.taken > longest_keep(config):
        raise RefusedError(
            "keep", f"{folder} is older than {_days(longest_keep(config))}: it has to be destroyed, not used"
        )
    origin = str(found.facts["log"])
    if origin == log_origin(config.oin, config.log):
        raise LogError(
            f"others saw more of the log {origin} than this backup holds: give `log` in node.yaml a name that was "
            "never used, such as node-2; its manifest is made and signed afterwards"
        )
    target = backup.put_back(found, config.data)
    incarnation.take_over(target, config.oin, now)
    closed, consents = await _settle(target, keys, origin, found.taken, now)
    backup.put_in_place(target, config.data)
    return Restored(found, closed, config.log, consents)


def known_keys(config: NodeConfig, now: datetime) -> tuple[bytes, ...]:
    """Keys that may have signed a backup of this node. Raises KeysError."""
    return announced(config.keys, day_of(now))


def newest(config: NodeConfig, folder: Path, now: datetime) -> Backup:
    """The newest backup of this node in a folder, every octet verified. Raises StorageError, SignatureError."""
    found = backup.present(folder, PARTY, config.oin)
    if not found:
        raise StorageError(f"{folder} holds no backup of {config.oin}: copy the newest one here")
    return backup.verify(found[-1].folder, known_keys(config, now))


def check_standby(config: NodeConfig, folder: Path, clock: Clock) -> list[tuple[str, str]]:
    """What keeps this machine from taking over with one command: per thing, what is wrong; empty where nothing is."""

    def manifest() -> None:
        found, _ = load_manifest(config, clock.now())
        if config.log not in found.log_names:
            raise KeysError(f"the manifest does not name log {config.log}: name it under `logs` there, and sign anew")

    def backup_at_hand() -> None:
        found = newest(config, folder, clock.now())
        if clock.now() - found.taken > longest_keep(config):
            raise StorageError(f"the newest is of {found.taken:%Y-%m-%d %H:%M} UTC: too old to be used")
        if found.facts["log"] == log_origin(config.oin, config.log):
            raise LogError(f"`log` is {config.log} on the machine that serves: give this one another name")

    def empty() -> None:
        if config.data.exists() and any(config.data.iterdir()):
            raise StorageError(f"{config.data} is not empty: a standby has no data of its own")

    looks: tuple[tuple[str, Callable[[], object]], ...] = (
        ("certificate", lambda: read_tls(config.tls_files, clock)),
        ("keys", lambda: NodeKeys.load(config.keys, config.oin)),
        ("manifest", manifest),
        ("backup", backup_at_hand),
        ("data folder", empty),
    )
    return [(what, _fault_of(look)) for what, look in looks]


def _fault_of(look: Callable[[], object]) -> str:
    try:
        look()
    except BekendError as fault:
        return fault.detail
    return ""


async def _settle(data: Path, keys: NodeKeys, origin: str, taken: datetime, now: datetime) -> tuple[Closed, int]:
    with closing(Store.open(data)) as store:
        consents = await ConsentBook(store.consents, case_key(keys.state), keys.state_box).end_all(now, "herstel")
        closed = await store.write(
            lambda c: store_restore.settle(c, origin, taken=milliseconds(taken), at=milliseconds(now))
        )
        await asyncio.to_thread(store.database.scrub)
    with closing(Registers.open(data)) as registers:
        registers.mark_restored()
    return closed, consents


def _covenants(data: Path) -> list[Path]:
    """Files of the versions that were accepted; what was only offered can be fetched again."""
    shelf = data / FOLDER
    versions = [path for path in shelf.iterdir() if len(path.name) == 64] if shelf.is_dir() else []
    return sorted(path for version in versions for path in version.rglob("*") if path.is_file())


def _check_apart(config: NodeConfig, into: Path) -> None:
    inside = into.resolve()
    for folder in (config.keys, config.data):
        if inside.is_relative_to(folder.resolve()):
            raise StorageError(f"{into} lies in {folder}: keep backups elsewhere, and apart from keys")
