"""What `bekend node enrol` and `shield` open before they import, and close afterwards. A process of its own."""

import multiprocessing
import signal
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import datetime

import grpc
from bekend_policy.manifest import KeyManifest
from bekend_proto.clock import Clock, day_of, epoch_of, next_epoch
from bekend_proto.epochs import enrolled_epochs, is_enrolled, quarter_of
from bekend_proto.errors import BekendError, KeysError, UnreachableError, from_rpc_error
from bekend_proto.identifiers import Identifier
from bekend_proto.incarnation import own
from bekend_proto.v1 import broker_pb2

from bekend_node.broker_link import BrokerLink, make_links, open_all
from bekend_node.config import SHIELDED, NodeConfig
from bekend_node.directory import Directory
from bekend_node.enrol.lists import Wanted, approved_mapping, open_list, row_rules
from bekend_node.enrol.plan import Report
from bekend_node.enrol.run import Enroller, Progress, Task, check_as_of, list_source
from bekend_node.enrol.shield import shield_source
from bekend_node.enrol.survey import GuardError
from bekend_node.keys import NodeKeys
from bekend_node.rules import Rules, load_rules
from bekend_node.store import Store
from bekend_node.store_registers import Registers

SMALL_FILE = 200_000
"""Bytes below which starting worker processes costs more than they save."""
PUBLISH_SECONDS = 10.0


def make_executor(config: NodeConfig, size: int) -> Executor:
    """Workers for the bulk of the computing, for a file of `size` bytes.

    Call it before anything opens a thread or connection: the workers are forked from this process as it is now.
    """
    if size < SMALL_FILE or config.worker_count == 1:
        return ThreadPoolExecutor(config.worker_count, "enrol")
    # Ctrl-C is for the process that asked for the work: it lets go of the workers itself.
    pool = ProcessPoolExecutor(
        config.worker_count,
        mp_context=multiprocessing.get_context("fork"),
        initializer=signal.signal,
        initargs=(signal.SIGINT, signal.SIG_IGN),
    )
    # All workers are forked at the first piece of work.
    pool.submit(int).result()
    return pool


async def enrol_file(
    config: NodeConfig, wanted: Wanted, clock: Clock, executor: Executor, progress: Progress
) -> Report:
    """Import a register. Raises BekendErrors that name list, line and remedy; YamlFaults for the mapping."""
    approved = approved_mapping(config, wanted)
    now = clock.now()
    with open_list(config, wanted, approved.mapping, Registers.peek(config.data), now) as listing:
        rules = row_rules(config, wanted, approved.mapping, check_as_of(wanted.as_of or listing.made, now))
        async with opened(config, clock, executor, progress) as enroller:
            source = list_source(
                listing,
                rules,
                approved.digest,
                keys=enroller.keys,
                canaries=b"".join(one.canonical for one in config.canary_identifiers),
                now=now,
            )
            epoch = _epoch(wanted, now, enroller)
            return await enroller.run(Task(wanted.register, epoch, rules.as_of, wanted.confirm_shrink), source)


async def shield_persons(
    config: NodeConfig,
    persons: Sequence[Identifier],
    clock: Clock,
    executor: Executor,
    *,
    lift: bool,
    whole: bool = False,
) -> tuple[str, ...]:
    """Shield persons (or lift it) in every epoch that has keys; returns the epochs in which it is done.

    `whole`: these are all who are to be shielded. An epoch without a list is left out otherwise: a list that began with
    some of them would make the others known. Raises GuardError when that is the present epoch.
    """
    now = clock.now()
    async with opened(config, clock, executor, lambda *_: None) as enroller:
        purposes = enroller.rules.purposes_of(SHIELDED)
        announced = {epoch for _, _, epoch in enroller.rules.manifest.evaluation_keys}
        known = {epoch for _, _, epoch in enroller.broker.evaluation_keys}
        epochs = tuple(epoch for epoch in enrolled_epochs(now, announced) if epoch in announced & known)
        if not purposes or not epochs:
            raise KeysError("the manifests of node and broker share no epoch: have a new manifest signed")
        # Asked before the first of these epochs has a list.
        begins = whole or not enroller.registers.is_shielding()
        done: list[str] = []
        for epoch in epochs:
            task = Task(SHIELDED, epoch, day_of(now), confirm_shrink=True, whole=begins)
            try:
                # As changes, so that nothing that is sent tells how many are shielded.
                await enroller.run(task, shield_source(persons, lift=lift))
            except GuardError as fault:
                if fault.rule != "changes" or not done:
                    raise
                continue
            done.append(epoch)
        return tuple(done)


@asynccontextmanager
async def opened(config: NodeConfig, clock: Clock, executor: Executor, progress: Progress) -> AsyncIterator[Enroller]:
    """Keys, rules, registers and a line to a broker that has this node's manifest. Raises BekendErrors."""
    keys = NodeKeys.load(config.keys, config.oin)
    store = Store.open(config.data)
    registers = Registers.open(config.data)
    try:
        rules = load_rules(config, keys, store, clock)
        machine = own(config.data, config.oin).statement(keys.signing)
        links = make_links(config.brokers, config.tls_files, clock, config.proxy, machine)
        directory = Directory(lambda: rules.covenant, store, links, clock)
        try:
            directory.guard(links)
            directory.restore()
            await open_all(links)
            link = await _reachable(links, rules)
            await directory.fetch()
            broker: KeyManifest = directory.broker()
            yield Enroller(config, keys, rules, broker, registers, link.stub, executor, clock, progress)
        finally:
            await directory.close()
            for link in links:
                await link.close()
    finally:
        registers.close()
        store.close()


async def _reachable(links: Sequence[BrokerLink], rules: Rules) -> BrokerLink:
    """The first replica that takes (or has) this node's manifest. Raises UnreachableError."""
    last: BekendError = UnreachableError("no broker is configured")
    for link in links:
        request = broker_pb2.PublishManifestRequest(manifest=rules.manifest_note)
        try:
            await link.stub.PublishManifest(request, timeout=PUBLISH_SECONDS)
        except (grpc.RpcError, BekendError) as fault:
            last = fault if isinstance(fault, BekendError) else from_rpc_error(fault)
            if isinstance(last, UnreachableError):
                last = UnreachableError(f"{link.address}: {last.detail}")
                continue
            raise last from fault
        return link
    raise last


def _epoch(wanted: Wanted, now: datetime, enroller: Enroller) -> str:
    """The epoch that is meant. `current`: of the present quarter the newest that both manifests name.

    Changes go to the newest in which the register has a list: they would begin none. Raises GuardError.
    """
    own, broker = (manifest.evaluation_keys for manifest in (enroller.rules.manifest, enroller.broker))
    both = {epoch for _, _, epoch in own} & {epoch for _, _, epoch in broker}
    present = epoch_of(now)
    current = [epoch for epoch in enrolled_epochs(now, both) if epoch in both and quarter_of(epoch) == present]
    if wanted.changes:
        listed = {one.epoch for one in enroller.registers.generations() if one.register == wanted.register}
        current = [epoch for epoch in current if epoch in listed]
    named = {"current": current[-1] if current else present, "next": next_epoch(present)}
    epoch = named.get(wanted.epoch, wanted.epoch)
    if not is_enrolled(epoch, now):
        raise GuardError("epoch", f"{epoch} cannot be enrolled now: the next quarter opens 14 days before it starts")
    return epoch
