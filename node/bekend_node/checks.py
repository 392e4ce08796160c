"""`bekend node doctor`: from this machine's clock to the canary's way over the broker, one finding per thing.

It works beside a node in service and without one, and writes nothing but, per canary question, what a question always
writes.
"""

import asyncio
import os
from collections.abc import Iterator
from contextlib import closing
from datetime import datetime, timedelta
from typing import Any, Final

import grpc
import grpc.aio
from bekend_policy.faults import YamlFaults
from bekend_proto import machine_checks as machine
from bekend_proto.clock import Clock, next_epoch
from bekend_proto.epochs import enrolled_epochs, replaced
from bekend_proto.errors import BekendError, UnreachableError, from_rpc_error
from bekend_proto.findings import Finding, fail, look, ok, warn
from bekend_proto.interceptors import DATE
from bekend_proto.v1 import broker_pb2

from bekend_node.broker_link import BrokerLink, make_links, statement_of
from bekend_node.classes import CERTAIN, FilterId
from bekend_node.clock_beside import moment_of
from bekend_node.config import NodeConfig
from bekend_node.control_client import ControlClient
from bekend_node.enrol.mapping import load_mapping
from bekend_node.keys import NodeKeys
from bekend_node.proxy import ENVIRONMENT
from bekend_node.readiness import inputs_of
from bekend_node.rules import Rules, load_rules
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore
from bekend_node.store_registers import Registers

CALL_SECONDS = 30.0
"""The directory of a whole country, a megabyte and a half, comes over a slow line in a quarter of a minute."""
SOON: Final = timedelta(days=14)
"""How long beforehand the end of what the ondertekenaar signs is reported."""
COVENANT_SOON: Final = timedelta(days=30)
"""The same of the covenant, which every partner signs."""


def check_all(config: NodeConfig, clock: Clock, *, canary: bool) -> Iterator[Finding]:
    """Look at everything that can be looked at; with `canary` also ask the running node about itself per purpose."""
    now = clock.now()
    yield from machine.time_service()
    yield from machine.certificate(config.tls_files, config.oin, clock)
    yield from _sites(config, clock)
    yield from machine.folders(config.keys, config.data)
    yield machine.disk(config.data)
    yield from _databases(config)
    yield machine.backup(config.data, clock)
    rules: list[Rules] = []
    yield look("keys, covenant, manifest", lambda: _belong(config, clock, rules), YamlFaults)
    for name, register in sorted(config.registers.items()):
        yield look(
            f"mapping of {name}",
            lambda name=name, register=register: _mapping(config, name, register.mapping),  # type: ignore[misc]
            YamlFaults,
        )
    for one in rules:
        yield from _ends(one, now)
        yield from _epochs(config, one, now)
        yield from _decided(config, one, now)
    yield from asyncio.run(_brokers(config, clock))
    yield from _running(config, canary=canary)


def _sites(config: NodeConfig, clock: Clock) -> Iterator[Finding]:
    """What browsers and case systems see, and whom of the latter is believed."""
    for what, one in (("pages", config.web), ("facade for case systems", config.rest)):
        if one is not None and one.certificate is not None and one.key is not None:
            yield machine.site(f"certificate of the {what}", one.certificate, one.key, clock)
    if config.rest is not None and (lists := config.rest.revocation(clock)) is not None:
        yield machine.revoked("list of revoked certificates of case systems", lists, clock)


def _databases(config: NodeConfig) -> Iterator[Finding]:
    for name, opens in (("node.db", _node_database), ("desk.db", _desk_database), ("registers.db", _registers)):
        if (config.data / name).exists():
            yield look(f"database {name}", lambda opens=opens: opens(config))  # type: ignore[misc]
        else:
            yield ok(f"database {name}", "not there yet; made when it is needed")


def _node_database(config: NodeConfig) -> str:
    with closing(Store.open(config.data)) as store:
        store.database.check()
    return "whole"


def _desk_database(config: NodeConfig) -> str:
    with closing(DeskStore.open(config.data)) as desk:
        desk.check()
    return "whole"


def _registers(config: NodeConfig) -> str:
    with closing(Registers.open(config.data)) as registers:
        registers.check()
    return "whole, and so is every file of pseudonyms"


def _belong(config: NodeConfig, clock: Clock, found: list[Rules]) -> str:
    keys = NodeKeys.load(config.keys, config.oin)
    with closing(Store.open(config.data)) as store:
        rules = load_rules(config, keys, store, clock)
    found.append(rules)
    return (
        f"they belong together: {rules.covenant.id} version {rules.covenant.version}, signed by everybody it binds; "
        f"manifest {rules.manifest.number}"
    )


def _mapping(config: NodeConfig, name: str, mapping: Any) -> str:
    load_mapping(mapping, name, config.approvers)
    return "approved by two people"


def _ends(rules: Rules, now: datetime) -> Iterator[Finding]:
    """What was signed until a day: covenant, manifest, standing decisions."""
    covenant, manifest = rules.covenant, rules.manifest
    yield _end("end of the covenant", covenant.valid_until, COVENANT_SOON, now, "Have its next version signed.")
    remedy = "Run `bekend node manifest`, have the ondertekenaar sign it, put it in place and send SIGHUP."
    yield _end("end of the manifest", manifest.valid_until, SOON, now, remedy)
    for purpose, decision in sorted(rules.standing.items()):
        remedy = "Have the ondertekenaar sign the next one; without it a colleague decides on each question."
        yield _end(f"end of the standing decision for {purpose}", decision.valid_until, SOON, now, remedy)


def _end(what: str, until: datetime, soon: timedelta, now: datetime, remedy: str) -> Finding:
    told = f"{until:%Y-%m-%d}"
    return warn(what, told, remedy) if until - now < soon else ok(what, told)


def _epochs(config: NodeConfig, rules: Rules, now: datetime) -> Iterator[Finding]:
    """Keys of the present quarter, and of the next when it is near; with a key, the lists of each purpose."""
    keys = NodeKeys.load(config.keys, config.oin)
    announced = {epoch for _, _, epoch in rules.manifest.evaluation_keys}
    for epoch in enrolled_epochs(now, announced):
        if replaced([epoch], announced):
            continue
        missing = [p for p in rules.answered() if (config.oin, p, epoch) not in rules.manifest.evaluation_keys]
        what = f"keys of {epoch}"
        if epoch in keys.epochs() and not missing:
            yield ok(what, "at hand, and in the manifest")
            continue
        told = f"not in the manifest for {missing[0]}" if missing else "not at hand"
        remedy = "Run `bekend node manifest`, have the ondertekenaar sign it, put it in place and send SIGHUP."
        yield warn(what, told, remedy)
    with closing(Registers.open(config.data)) as registers:
        for id_ in rules.filters:
            yield look(
                f"lists for {id_}",
                lambda id_=id_: _lists(id_, rules, registers, keys, now),  # type: ignore[misc]
            )


def _lists(id_: FilterId, rules: Rules, registers: Registers, keys: NodeKeys, now: datetime) -> Finding | str:
    purpose, inputs = id_.purpose, inputs_of(id_, rules, registers, keys, now)
    told = f"of {inputs.epoch}, as of {inputs.as_of}"
    if not inputs.kinds:
        listed = ", ".join(sorted(rules.filters[id_].kinds_of(id_.kind_class)))
        remedy = f"Name the columns in the mapping and import every register: the covenant lists {listed}."
        return warn(f"lists for {id_}", f"{told}; no register holds a combination", remedy)
    coming = enrolled_epochs(now)[-1]
    here = {one.register for one in registers.generations() if (one.purpose, one.epoch) == (purpose, coming)}
    lacking = set(rules.answered()[purpose].registers) - here
    if lacking and coming == next_epoch(inputs.epoch):
        remedy = f"Import {', '.join(sorted(lacking))} with `bekend node enrol --epoch next` before it begins."
        return warn(f"lists for {purpose}", f"{told}; none of {coming} yet", remedy)
    return told


def _decided(config: NodeConfig, rules: Rules, now: datetime) -> Iterator[Finding]:
    """Who decides, under each purpose: a standing decision, or colleagues at the desk."""
    at_desk = {purpose for colleague in config.desk_staff for purpose in colleague.purposes}
    for id_, source in rules.filters.items():
        purpose = id_.purpose
        if rules.by_machine(source, id_, now):
            continue
        if id_.kind_class == CERTAIN and source.mode.by_machine:
            detail = "none in force: a colleague decides on each question, until the ondertekenaar signs one"
            yield warn(f"standing decision for {purpose}", detail)
        if purpose not in at_desk:
            yield fail(f"desk for {id_}", "nobody may decide: name colleagues under `desk_staff` in node.yaml")


async def _brokers(config: NodeConfig, clock: Clock) -> list[Finding]:
    """Every replica: the way to it step by step, then a call, then its clock beside the own."""
    findings = []
    named = next((name for name in ENVIRONMENT if os.environ.get(name)), None)
    if named and config.proxy is None:
        remedy = "Write it under `proxy` in node.yaml: the node uses no credentials of the environment's."
        findings.append(warn("proxy", f"gRPC takes the one that the environment names under `{named}`", remedy))
    for link in make_links(config.brokers, config.tls_files, clock, config.proxy, statement_of(config)):
        what = f"broker {link.address}"
        try:
            await link.open()
        except BekendError as fault:
            findings.append(fail(what, fault.detail))
        else:
            findings += await _call(link, what, clock)
        await link.close()
    return findings


async def _call(link: BrokerLink, what: str, clock: Clock) -> list[Finding]:
    call = link.stub.GetDirectory(broker_pb2.GetDirectoryRequest(), timeout=CALL_SECONDS)
    try:
        await call
    except grpc.RpcError as fault:
        return [fail(what, from_rpc_error(fault).detail, "Ask its operator; the broker's log says why.")]
    findings = [ok(what, "answers, and knows this organisation")]
    theirs = moment_of(dict(await call.trailing_metadata() or ()).get(DATE))
    if theirs is not None:
        findings.append(machine.clock_against(link.address, theirs, clock.now()))
    return findings


def _running(config: NodeConfig, *, canary: bool) -> Iterator[Finding]:
    try:
        with ControlClient(config.socket) as client:
            status = client.call({"op": "status"})
            yield ok("running node", "answers on its socket")
            yield from _logs(status)
            for broker, attached in status.get("brokers", {}).items():
                yield _attached(broker, attached=attached)
            for purpose, facts in status.get("purposes", {}).items():
                what = f"filter for {purpose}"
                yield ok(what, "in service") if facts["ready"] else fail(what, facts["reason"])
            for purpose, facts in status.get("purposes", {}).items() if canary else ():
                yield _canary(client, purpose, by_hand=facts["by_hand"])
    except UnreachableError as fault:
        yield warn("running node", fault.detail, "Start it; then run this again, which looks at what only it can show.")


def _attached(broker: str, *, attached: bool) -> Finding:
    what = f"attached to {broker}"
    return ok(what, "yes") if attached else fail(what, "no", "Its log says why, under `attach-lost`.")


def _logs(status: dict[str, Any]) -> Iterator[Finding]:
    """Alarms about logs: nothing that an operator clears without asking."""
    for alarm in status["log"]["alarms"]:
        remedy = "Run `bekend node alarm list`; ask another partner what it saw, and the broker's operator why."
        yield fail(f"log of {alarm['origin']}", alarm["detail"], remedy)


def _canary(client: ControlClient, purpose: str, *, by_hand: bool | None) -> Finding:
    what = f"canary under {purpose}, over the broker"
    if by_hand:
        return ok(what, "a colleague decides: looked for at each switch, and not over the broker")
    reply = client.call({"op": "canary", "purpose": purpose})
    if reply["type"] != "result":
        return fail(what, str(reply.get("reason", reply["type"])))
    outcome = reply["outcome"]
    if outcome["outcome"] == "bekend":
        return ok(what, "found")
    return fail(what, f"{outcome['outcome']}: {outcome.get('reason') or 'this node misses people'}")
