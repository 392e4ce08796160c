"""Exports of the logs of a broker or a node, and the public keys under which others verify them."""

import asyncio
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime
from pathlib import Path

from bekend_broker.config import load_config as load_broker
from bekend_broker.keys import signing_seed
from bekend_broker.present import read_manifest
from bekend_broker.store import Store as BrokerStore
from bekend_node.config import load_config as load_node
from bekend_node.keys import NodeKeys
from bekend_node.store import Store as NodeStore
from bekend_policy.load import load_covenant
from bekend_policy.log_keys import log_keys
from bekend_policy.manifest import open_manifest
from bekend_policy.model import Covenant
from bekend_policy.sign import verify_covenant
from bekend_proto import log_table
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import milliseconds
from bekend_proto.errors import BekendError
from bekend_proto.ledger.exported import Record
from bekend_proto.ledger.exporting import make_export
from bekend_proto.ledger.reconcile import MARGIN
from bekend_proto.log_table import Entry
from bekend_proto.octets import blake, i2osp
from bekend_proto.secret_files import read_secret
from bekend_proto.v1.signed_pb2 import Signed
from nacl.signing import SigningKey


def export_broker(path: Path, since: datetime, until: datetime, now: datetime) -> bytes:
    """The log of the replica with this configuration. Raises the faults of configuration, keys and storage."""
    config = load_broker(path)
    key = SigningKey(read_secret(signing_seed(config.keys)))
    first, end = milliseconds(since), milliseconds(until)
    origin = log_origin(config.oin, config.log)
    with closing(BrokerStore.of(config)) as store:
        asyncio.run(store.write(lambda c: log_table.append(c, [_reading(first, end, now)])))
        made = store.read(lambda c: make_export(c, origin, key, since=first, until=end, made=milliseconds(now)))
    return made.to_bytes(key)


def export_node(path: Path, since: datetime, until: datetime, now: datetime, *, records: bool = False) -> bytes:
    """The log of the node with this configuration, with the promises that it holds.

    `records`: with the Questions that it answered and their sealed records, for who may see them.
    """
    config = load_node(path)
    key = NodeKeys.load(config.keys, config.oin).signing
    first, end = milliseconds(since), milliseconds(until)
    origin = log_origin(config.oin, config.log)
    with closing(NodeStore.open(config.data)) as store:
        asyncio.run(store.write(lambda c: log_table.append(c, [_reading(first, end, now, records=records)])))
        kept = store.answered_records(first, end) if records else []
        promises = store.promises_between(first - MARGIN, end + MARGIN)
        made = store.read(
            lambda c: make_export(
                c,
                origin,
                key,
                since=first,
                until=end,
                made=milliseconds(now),
                promises=promises,
                records=[Record(Signed(payload=p, signature=s), tuple(sealed)) for p, s, sealed in kept],
            )
        )
    return made.to_bytes(key)


def _reading(since: int, until: int, now: datetime, *, records: bool = False) -> Entry:
    """Whoever reads a log stands in it: the period, and whether records came along."""
    at = milliseconds(now)
    facts = i2osp(since, 8) + i2osp(until, 8) + i2osp(at, 8) + i2osp(records, 1)
    return Entry("exported", blake(32, b"bekend1-export", facts), at)


def keys_of_broker(path: Path, now: datetime) -> list[str]:
    """Verification keys of every log and witness, from the manifests that the broker of this configuration holds."""
    config = load_broker(path)
    covenant = verify_covenant(load_covenant(config.covenant), config.anchor, now)
    with closing(BrokerStore.of(config)) as store:
        notes = {oin: note for oin, (_, note) in store.manifests().items()}
    return list(_vkeys(covenant, {**notes, config.oin: read_manifest(config.manifest)}, now))


def keys_of_node(path: Path, now: datetime) -> list[str]:
    """The same, from the manifests that a node holds."""
    config = load_node(path)
    covenant = verify_covenant(load_covenant(config.covenant), config.anchor, now)
    with closing(NodeStore.open(config.data)) as store:
        notes = {oin: note for oin, (_, note) in store.manifests().items()}
    return list(_vkeys(covenant, {**notes, config.oin: config.manifest.read_bytes()}, now))


def _vkeys(covenant: Covenant, notes: dict[str, bytes], now: datetime) -> Iterator[str]:
    """Keys of manifests that their owners' ondertekenaar signed; the others are named as missing."""
    signers = {oin: one.signer for oin, one in covenant.participants.items()}
    signers[covenant.broker_oin] = covenant.operator_key
    for oin, signer in sorted(signers.items()):
        try:
            manifest = open_manifest(notes[oin], signer, now)
        except KeyError:
            yield f"# {oin}: no key manifest is at hand"
        except BekendError as fault:
            yield f"# {oin}: {fault.detail}"
        else:
            yield from log_keys(manifest, is_broker=oin == covenant.broker_oin)
