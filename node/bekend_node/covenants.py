"""Versions of the covenant: fetched from the broker, looked at, accepted. The running node reads them at SIGHUP.

    <data>/covenants/offered/<hash>/   fetched; counts for nothing
    <data>/covenants/<hash>/           accepted

The broker only carries them. What is accepted holds by itself: the signatures that it demands, under the one key that
this node was given by hand, and a version newer than every one that it went by.
"""

import shutil
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path

import grpc
from bekend_policy.diff import compare, diff_lines
from bekend_policy.load import load_covenant
from bekend_policy.model import Covenant
from bekend_policy.sign import verify_covenant
from bekend_policy.signatures import Signature, signatures
from bekend_policy.versions import (
    FOLDER,
    MAX_FILES,
    MAX_TOTAL,
    Files,
    Version,
    check_newer,
    drop,
    files_of,
    held,
    keep,
)
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, CovenantError, MalformedError, UnreachableError, from_rpc_error
from bekend_proto.v1 import broker_pb2

from bekend_node.broker_link import BrokerLink, make_links, open_all, statement_of
from bekend_node.config import NodeConfig
from bekend_node.rules import check_own, load_covenants_in_force
from bekend_node.store import Store

CALL_SECONDS = 30.0
MOST_VERSIONS = 8
"""Versions that a broker may offer at once."""


@dataclass(frozen=True)
class Offer:
    """A version that was fetched. `fault`: why it cannot be accepted, or None. `changes`: in Dutch."""

    covenant: Covenant
    fault: str | None
    changes: tuple[str, ...]


def present(config: NodeConfig, now: datetime) -> tuple[Version, ...]:
    """The versions that this node holds, newest first. Raises as `load_covenants_in_force`."""
    store = Store.open(config.data)
    try:
        return load_covenants_in_force(config, store, now)
    finally:
        store.close()


async def fetch(config: NodeConfig, clock: Clock) -> list[Offer]:
    """Fetch what the broker has and this node does not hold, newest version first.

    Raises UnreachableError when no replica answers, and for what it sends: MalformedError, CovenantError.
    """
    now = clock.now()
    versions = present(config, now)
    links = make_links(config.brokers, config.tls_files, clock, config.proxy, statement_of(config))
    try:
        await open_all(links)
        fetched = await _fetch(links, {version.covenant.hash for version in versions})
    finally:
        for link in links:
            await link.close()
    offered = _offered(config)
    offered.mkdir(mode=0o700, parents=True, exist_ok=True)
    for digest, files in fetched.items():
        if digest in held(offered):
            drop(offered, digest)
        keep(files, offered, digest)
    return [_offer(config, load_covenant(offered / digest.hex()), versions, now) for digest in fetched]


@dataclass(frozen=True)
class Proposed:
    """A version that is not in force yet. `accepted`: it comes into force by itself on its first day.

    `fault`: why it cannot be accepted as it is; None when it was, or can be. `changes`: against the version in force.
    """

    covenant: Covenant
    accepted: bool
    fault: str | None
    changes: tuple[str, ...]
    signatures: tuple[Signature, ...]


def waiting(config: NodeConfig, present: Collection[bytes]) -> int:
    """How many versions are here beside those in force, by their hashes: nothing of them is read."""
    return len({*held(_offered(config)), *held(config.data / FOLDER)} - set(present))


def proposed(config: NodeConfig, now: datetime) -> list[Proposed]:
    """The versions that were fetched, and those that wait for their first day, newest first. Raises as `present`."""
    versions = present(config, now)
    old = versions[0].covenant
    found: dict[bytes, Proposed] = {}
    for digest, folder in held(_offered(config)).items():
        offer = _offer(config, load_covenant(folder), versions, now)
        found[digest] = _proposed(offer.covenant, offer.fault, offer.changes, accepted=False)
    for digest, folder in held(config.data / FOLDER).items():
        read = load_covenant(folder)
        if read.valid_from > now and read.id == old.id:
            found[digest] = _proposed(read, None, _changes(old, read, day_of(now)), accepted=True)
    return sorted(found.values(), key=lambda one: one.covenant.version, reverse=True)


def _proposed(read: Covenant, fault: str | None, changes: tuple[str, ...], *, accepted: bool) -> Proposed:
    return Proposed(read, accepted, fault, changes, tuple(signatures(read)))


def accept(config: NodeConfig, chosen: str, now: datetime) -> Covenant:
    """Accept a fetched version by its number or the beginning of its hash; the present one stays beside it.

    Raises CovenantFaults with every reason why it does not hold, CovenantError when it was not fetched or is not newer.
    """
    offered = _offered(config)
    found = {
        digest: folder
        for digest, folder in held(offered).items()
        if (len(chosen) >= 8 and digest.hex().startswith(chosen)) or str(load_covenant(folder).version) == chosen
    }
    if len(found) != 1:
        raise CovenantError(
            f"{len(found)} fetched versions fit {chosen!r}: run `bekend node covenant fetch`, give a hash"
        )
    (digest, folder), versions = next(iter(found.items())), present(config, now)
    read = load_covenant(folder)
    covenant = _verified(config, read, folder, versions, now)
    shelf = config.data / FOLDER
    # The present one first: from the moment that the new one is there, it is the older of two that were kept.
    for version in (versions[0], Version(covenant, folder)):
        keep(files_of(version), shelf, version.covenant.hash)
    kept = {versions[0].covenant.hash, digest}
    for other in held(shelf).keys() - kept:
        drop(shelf, other)
    shutil.rmtree(folder)
    return covenant


def _verified(config: NodeConfig, read: Covenant, folder: Path, versions: Sequence[Version], now: datetime) -> Covenant:
    store = Store.open(config.data)
    try:
        seen = store.covenant_version(read.id)
    finally:
        store.close()
    check_newer(read, [version.covenant for version in versions], seen)
    # It may be accepted before its first day.
    covenant = verify_covenant(read, config.anchor, max(now, read.valid_from), newest_seen=seen)
    check_own(config, Version(covenant, folder))
    newest = versions[0].covenant
    if (covenant.id, covenant.broker_oin) != (newest.id, newest.broker_oin):
        raise CovenantError(f"this is {covenant.id} of broker {covenant.broker_oin}, not a version of {newest.id}")
    return covenant


def _offer(config: NodeConfig, read: Covenant, versions: Sequence[Version], now: datetime) -> Offer:
    old = versions[0].covenant
    fault: str | None = None
    try:
        _verified(config, read, _offered(config) / read.hash.hex(), versions, now)
    except BekendError as error:
        fault = error.detail
    return Offer(read, fault, _changes(old, read, day_of(now)) if read.id == old.id else ())


_COMPARED: dict[tuple[bytes, bytes, date], tuple[str, ...]] = {}


def _changes(old: Covenant, new: Covenant, day: date) -> tuple[str, ...]:
    """What differs, in Dutch. Everything is decided twice for it, so it is done once a day for two versions."""
    key = old.hash, new.hash, day
    if key not in _COMPARED:
        _COMPARED.clear()
        _COMPARED[key] = tuple(diff_lines(old, new, compare(old, new, day)))
    return _COMPARED[key]


async def _fetch(links: Sequence[BrokerLink], known: set[bytes]) -> dict[bytes, Files]:
    last: BekendError = UnreachableError("no broker is configured")
    for link in links:
        try:
            directory = await link.stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=CALL_SECONDS)
            wanted = [digest for digest in directory.covenant_hashes[:MOST_VERSIONS] if digest not in known]
            return {digest: await _bundle(link, digest) for digest in wanted}
        except grpc.RpcError as fault:
            last = from_rpc_error(fault)
    raise last


async def _bundle(link: BrokerLink, digest: bytes) -> Files:
    if len(digest) != 32:
        raise MalformedError("the broker names a covenant with a hash of another length")
    files: list[tuple[str, bytes]] = []
    size = 0
    call = link.stub.GetCovenant(broker_pb2.GetCovenantRequest(hash=digest), timeout=CALL_SECONDS)
    async for message in call:
        size += len(message.content)
        if size > MAX_TOTAL or len(files) >= MAX_FILES:
            call.cancel()
            raise MalformedError("the broker sends a covenant that is too large")
        files.append((message.path, message.content))
    return files


def _offered(config: NodeConfig) -> Path:
    return config.data / FOLDER / "offered"
