"""`bekend node check`: from the configuration to the canary's way over the broker, one finding per thing."""

import asyncio
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime

import grpc
from bekend_policy.faults import YamlFaults
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, UnreachableError, from_rpc_error
from bekend_proto.v1 import broker_pb2

from bekend_node.app import check_certificate
from bekend_node.broker_link import BrokerLink, open_links
from bekend_node.config import NodeConfig
from bekend_node.control_client import ControlClient
from bekend_node.enrol.mapping import load_mapping
from bekend_node.keys import NodeKeys
from bekend_node.rules import Rules, load_rules
from bekend_node.store import Store
from bekend_node.store_registers import Registers

CALL_SECONDS = 5.0


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    detail: str


def check_all(config: NodeConfig, clock: Clock, *, canary: bool) -> Iterator[Finding]:
    """Look at everything that can be looked at; with `canary` also ask the running node about itself per purpose.

    It writes nothing but, per canary question, what a question always writes.
    """
    yield _try("certificate", lambda: check_certificate(config, clock), f"names {config.oin}")
    rules: list[Rules] = []
    yield _try("keys, covenant, manifest", lambda: rules.append(_rules(config, clock)), "they belong together")
    for name, register in sorted(config.registers.items()):
        yield _try(
            f"mapping of {name}",
            lambda name=name, register=register: load_mapping(register.mapping, name, config.approvers),  # type: ignore[misc]
            "approved by two people",
        )
    if rules:
        yield from _decided(rules[0], config, clock.now())
    yield _try("registers", lambda: _registers(config), "pseudonym files are whole")
    yield from asyncio.run(_brokers(config, clock))
    yield from _running(config, rules, canary=canary)


def _decided(rules: Rules, config: NodeConfig, now: datetime) -> Iterator[Finding]:
    """Who decides, under each purpose: a standing decision, or colleagues at the desk."""
    at_desk = {purpose for colleague in config.desk_staff for purpose in colleague.purposes}
    for purpose, source in rules.answered().items():
        if rules.by_machine(source, purpose, now):
            continue
        if source.mode.by_machine:
            detail = "none in force: a colleague decides on each question, until the ondertekenaar signs one"
            yield Finding(f"standing decision for {purpose}", False, detail)
        if purpose not in at_desk:
            yield Finding(
                f"desk for {purpose}", False, "nobody may decide: name colleagues under `desk_staff` in node.yaml"
            )


def _try(what: str, look: Callable[[], object], good: str) -> Finding:
    try:
        look()
    except (BekendError, YamlFaults, OSError) as fault:
        return Finding(what, False, str(fault))
    return Finding(what, True, good)


def _rules(config: NodeConfig, clock: Clock) -> Rules:
    keys = NodeKeys.load(config.keys, config.oin)
    store = Store.open(config.data)
    try:
        return load_rules(config, keys, store, clock)
    finally:
        store.close()


def _registers(config: NodeConfig) -> None:
    registers = Registers.open(config.data)
    try:
        registers.check()
    finally:
        registers.close()


async def _brokers(config: NodeConfig, clock: Clock) -> list[Finding]:
    findings = []
    try:
        links = open_links(config.brokers, config.tls_files, clock, config.proxy)
    except BekendError as fault:
        return [Finding("brokers", False, fault.detail)]
    for link in links:
        what = f"broker {link.address}"
        try:
            await link.stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=CALL_SECONDS)
            findings.append(Finding(what, True, "answers"))
        except grpc.RpcError as fault:
            error = from_rpc_error(fault)
            findings.append(
                Finding(what, False, await _why(link) if isinstance(error, UnreachableError) else error.detail)
            )
        await link.close()
    return findings


async def _why(link: BrokerLink) -> str:
    """What stands between, where something does: a proxy, TLS inspection, a certificate that does not fit."""
    found = await link.look()
    return found.detail if not found.good else "the broker answers, and not to this call: see the broker's log"


def _running(config: NodeConfig, rules: list[Rules], *, canary: bool) -> Iterator[Finding]:
    try:
        with ControlClient(config.socket) as client:
            status = client.call({"op": "status"})
            for broker, attached in status.get("brokers", {}).items():
                yield Finding(f"attached to {broker}", attached, "yes" if attached else "no: see the node's log")
            for purpose, facts in status.get("purposes", {}).items():
                yield Finding(f"filter for {purpose}", facts["ready"], facts["reason"] or "in service")
            for purpose, facts in status.get("purposes", {}).items() if canary else ():
                yield _canary(client, purpose, by_hand=facts["by_hand"])
    except UnreachableError as fault:
        yield Finding("running node", False, fault.detail)


def _canary(client: ControlClient, purpose: str, *, by_hand: bool | None) -> Finding:
    what = f"canary under {purpose}, over the broker"
    if by_hand:
        return Finding(what, True, "a colleague decides: looked for at each switch, and not over the broker")
    reply = client.call({"op": "canary", "purpose": purpose})
    if reply["type"] != "result":
        return Finding(what, False, str(reply.get("reason", reply["type"])))
    outcome = reply["outcome"]
    if outcome["outcome"] == "bekend":
        return Finding(what, True, "found")
    return Finding(what, False, f"{outcome['outcome']}: {outcome.get('reason') or 'this node misses people'}")
