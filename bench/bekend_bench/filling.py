"""Stores and filters filled with random pseudonyms, through the node's own functions: what enrolment would leave.

A million persons take minutes to enrol. What a lookup, a disk and a process have to carry afterwards does not depend
on who they are, so a store may be filled with random group elements and a filter with random tags. Keys, canary, header
and signature are real: the node checks them when it starts, and answers as ever.
"""

import asyncio
import os
import secrets
from concurrent.futures import ProcessPoolExecutor
from datetime import datetime
from multiprocessing import get_context
from pathlib import Path

from bekend_broker import keys as broker_keys
from bekend_deploy.building import Built, NodeFiles
from bekend_deploy.partners import ZSM_LOCAL
from bekend_node import pseudonym_file
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.config import NodeConfig, load_config
from bekend_node.keys import NodeKeys
from bekend_node.schedule import interval_of, next_switch
from bekend_node.serving import FreshKey, filter_file, make_serving
from bekend_node.store import Store
from bekend_node.store_registers import Generation, Registers
from bekend_policy.model import Covenant
from bekend_proto.clock import day_of, epoch_of
from bekend_proto.filter import body_hash, pad_and_sort, size_class, tag
from bekend_proto.group import multiply, random_element
from bekend_proto.oprf import hash_identifier
from bekend_proto.secret_files import read_secret
from bekend_proto.v1 import signed_pb2

PURPOSE = ZSM_LOCAL
REGISTER = "veiligheid"
_END = pseudonym_file.NEVER_ENDS.to_bytes(2, "big")


def random_pseudonyms(count: int) -> list[bytes]:
    """Sorted records of random group elements, as a pseudonym file holds them. All cores; a second per 130,000."""
    cores = os.cpu_count() or 1
    share, rest = divmod(count, cores)
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        parts = pool.map(_random_records, [share + rest] + [share] * (cores - 1))
        joined = b"".join(parts)
    size = pseudonym_file.RECORD
    return sorted(joined[at : at + size] for at in range(0, len(joined), size))


def fill(built: Built, covenant: Covenant, node: NodeFiles, records: list[bytes], now: datetime) -> None:
    """Put these pseudonyms into the service of a node that does not run, with a filter of random tags."""
    config = load_config(node.config)
    keys = NodeKeys.load(config.keys, config.oin)
    epoch = epoch_of(now)
    canary = _canary(built, config, keys, epoch)
    registers = Registers.open(config.data)
    number = registers.next_file()
    persons = pseudonym_file.write(registers.file(number), records)
    generation = Generation(
        number, REGISTER, PURPOSE, epoch, day_of(now), int(now.timestamp()), persons, config.canary_identifier.kind
    )
    registers.switch(REGISTER, epoch, [generation], {PURPOSE: canary}, None)
    registers.close()
    _fill_filter(config, keys, covenant, generation, canary)


def _canary(built: Built, config: NodeConfig, keys: NodeKeys, epoch: str) -> bytes:
    """k * b * x of the canary, with both halves of the key: only the one who made the federation has them."""
    root = read_secret(broker_keys.evaluation_root(built.broker_config.parent / "keys", epoch))
    broker = broker_keys.evaluation_key(root, config.oin, PURPOSE, epoch)
    half = multiply(broker.secret, hash_identifier(config.canary_identifier))
    return multiply(keys.evaluation_key(PURPOSE, epoch).secret, half)


def _fill_filter(config: NodeConfig, keys: NodeKeys, covenant: Covenant, generation: Generation, canary: bytes) -> None:
    key = FreshKey.draw(keys.evaluation_key(PURPOSE, generation.epoch).secret)
    version, count = generation.imported_at, size_class(generation.persons + 1)
    found = tag(multiply(key.m, canary), config.oin, PURPOSE, version)
    body = pad_and_sort([found, secrets.token_bytes(8 * (count - 1))], count)
    interval = interval_of(count, covenant.interval_of(PURPOSE))
    header = signed_pb2.FilterHeader(
        protocol_version=1,
        source=config.oin,
        purpose=PURPOSE,
        epoch=generation.epoch,
        mode=signed_pb2.FILTER_MODE_AUTOMATIC,
        version=version,
        as_of=generation.as_of.isoformat(),
        kinds=[generation.kind],
        end=next_switch(config.oin, interval, version),
        tags=count,
        body_hash=body_hash(body),
        covenant_hash=covenant.hash,
    )
    tags = filter_file(_folder(config), FilterId(PURPOSE, CERTAIN), version, by_hand=False)
    tags.write_bytes(body)
    store = Store.open(config.data)
    serving = make_serving(header, key, tags, keys)
    asyncio.run(store.filters.keep(serving.row(keys)))
    store.close()


def _folder(config: NodeConfig) -> Path:
    folder = config.data / "filters"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _random_records(count: int) -> bytes:
    return b"".join(random_element() + _END for _ in range(count))
