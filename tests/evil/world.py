"""A small federation on disk, of which the tests hold every key: what a court would need, and no party has.

Broker and asking nodes are the real ones, in this process, over real mutual TLS on loopback. The clock is steered;
certificates are dated from the same moment.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

from bekend_broker import keys as broker_keys
from bekend_broker.app import Broker
from bekend_broker.config import BrokerConfig, Limits
from bekend_broker.config import load_config as load_broker
from bekend_broker.metrics import Metrics
from bekend_broker.present import load_present
from bekend_broker.store import Store as BrokerStore
from bekend_deploy import building
from bekend_deploy.covenant import Settings
from bekend_deploy.partners import OM, POLITIE, SEVEN, Pair, Partner, agreements
from bekend_deploy.population import Population, generate
from bekend_deploy.questions import CASES, CONDITIONS, ROLES
from bekend_node import pseudonym_file
from bekend_node.app import Node, start_node
from bekend_node.ask.outcomes import Outcome
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.broker_link import _Calls
from bekend_node.config import SHIELDED, BrokerAddress, NodeConfig
from bekend_node.config import load_config as load_node
from bekend_node.keys import NodeKeys
from bekend_node.pseudonym_file import NEVER_ENDS
from bekend_node.store_registers import Generation, Registers
from bekend_policy.load import load_covenant
from bekend_policy.manifest import KeyManifest, open_manifest
from bekend_policy.model import Covenant
from bekend_policy.sign import verify_covenant
from bekend_proto import incarnation
from bekend_proto.clock import Clock, day_of, epoch_of, month_of
from bekend_proto.group import multiply
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.identity import TlsFiles, channel_to, pinned_keys
from bekend_proto.note import sign_note
from bekend_proto.oprf import KeyPair, hash_identifier
from bekend_proto.secret_files import read_secret
from bekend_proto.v1 import broker_pb2_grpc
from nacl.public import PrivateKey
from nacl.signing import SigningKey

from tests.support.clocks import SteeredClock

PERSONS = 8


@dataclass(frozen=True)
class World:
    """Everything that stands on disk, and every secret in it."""

    built: building.Built
    covenant: Covenant
    population: Population
    pairs: tuple[Pair, ...]
    clock: SteeredClock

    @classmethod
    def build(
        cls,
        folder: Path,
        *,
        members: tuple[Partner, ...] = SEVEN,
        settings: Settings | None = None,
        persons: int = PERSONS,
    ) -> "World":
        """Certificates, keys, a signed covenant and registers, dated now."""
        now = datetime.now(UTC).replace(microsecond=0)
        pairs = tuple(pair for pair in agreements(members) if pair.oin in {member.oin for member in members})
        population = generate([member.clients for member in members], persons, 1, day_of(now))
        folder.mkdir(parents=True, exist_ok=True)
        built = building.build(folder, members, pairs, population, settings or Settings(), now=now)
        covenant = verify_covenant(load_covenant(built.covenant), built.operator.vkey, now)
        return cls(built, covenant, population, pairs, SteeredClock(now))

    @property
    def epoch(self) -> str:
        return epoch_of(self.clock.now())

    @property
    def month(self) -> str:
        return month_of(self.clock.now())

    def person(self, number: str) -> Identifier:
        return parse_identifier(self.population.kind, number)

    @property
    def somebody(self) -> Identifier:
        """Known to every partner."""
        return self.person(self.population.fixed.everywhere)

    @property
    def nobody(self) -> Identifier:
        """Known to no partner."""
        return self.person(self.population.fixed.nowhere)

    def known(self, source: str, purpose: str) -> set[Identifier]:
        """Whom a source knows for a purpose."""
        registers = self.covenant.sources(purpose)[source].registers
        return {self.person(number) for number in self.population.known(source, registers)}

    # --- keys

    def b(self, source: str, purpose: str, epoch: str | None = None) -> KeyPair:
        """The broker's half for a source."""
        epoch = epoch or self.epoch
        root = read_secret(broker_keys.evaluation_root(self.broker_keys, epoch))
        return broker_keys.evaluation_key(root, source, purpose, epoch)

    def u(self, month: str | None = None) -> KeyPair:
        """The broker's key that binds the records of a month."""
        month = month or self.month
        root = read_secret(broker_keys.record_root(self.broker_keys, month))
        return broker_keys.record_key(root, self.covenant.broker_oin, month)

    def k(self, source: str, purpose: str, epoch: str | None = None) -> KeyPair:
        """A node's half."""
        return self.keys_of(source).evaluation_key(purpose, epoch or self.epoch)

    def pseudonym(self, source: str, purpose: str, person: Identifier) -> bytes:
        """P = k*b*x."""
        once = multiply(self.b(source, purpose).secret, hash_identifier(person))
        return multiply(self.k(source, purpose).secret, once)

    @property
    def broker_keys(self) -> Path:
        return self.built.broker_config.parent / "keys"

    def keys_of(self, oin: str) -> NodeKeys:
        return NodeKeys.load(self.built.nodes[oin].folder / "keys", oin)

    def signing(self, oin: str) -> SigningKey:
        return self.keys_of(oin).signing

    def privacy_officer(self, oin: str) -> PrivateKey:
        return self.built.nodes[oin].off_line.privacy_officer.opening

    def note(self, oin: str) -> bytes:
        return (self.built.nodes[oin].folder / "manifest.note").read_bytes()

    def renumbered(self, oin: str, number: int, **changes: Any) -> bytes:
        """A partner's manifest under another number, signed by its ondertekenaar."""
        signer = self.built.nodes[oin].off_line.signer
        return sign_note(replace(self.manifest(oin), number=number, **changes).text(), signer.name, signer.seed)

    def manifest(self, oin: str) -> KeyManifest:
        return open_manifest(self.note(oin), self.covenant.participants[oin].signer, self.clock.now())

    def tls(self, oin: str) -> TlsFiles:
        paths = self.built.nodes[oin].tls
        return TlsFiles(paths.certificate, paths.key, paths.authorities)

    # --- the real parties

    def broker_config(self, data: Path, **limits: float) -> BrokerConfig:
        return load_broker(self.built.broker_config).model_copy(
            update={"listen": "127.0.0.1:0", "metrics": None, "data": data, "limits": Limits(**limits), "workers": 1}  # type: ignore[arg-type]
        )

    def node_config(self, oin: str, data: Path, port: int) -> NodeConfig:
        return load_node(self.built.nodes[oin].config).model_copy(
            update={
                "brokers": (BrokerAddress(address=f"localhost:{port}"),),
                "metrics": None,
                "data": data,
                "socket": data / "node.sock",
                "workers": 1,
            }
        )

    @asynccontextmanager
    async def stub(
        self, port: int, tls: TlsFiles, machine: bytes = b""
    ) -> AsyncIterator["broker_pb2_grpc.BrokerServiceAsyncStub"]:
        """A line to a broker with these certificates, saying that it is this machine."""
        async with channel_to(f"localhost:{port}", tls, self.clock) as channel:
            yield cast("broker_pb2_grpc.BrokerServiceAsyncStub", _Calls(channel, ((incarnation.METADATA, machine),)))


@asynccontextmanager
async def broker_of(world: World, data: Path, made: type[Broker] = Broker, **limits: float) -> AsyncIterator[Broker]:
    """A broker in this process, with every partner's manifest in its directory. `made` may be a hostile one."""
    config = world.broker_config(data, **limits)
    store = BrokerStore.open(config.data)
    broker = made(config, world.clock, store, Metrics(), load_present(config, world.clock.now(), store.newest_covenant))
    await broker.open()
    try:
        for oin in world.built.nodes:
            await broker._directory.publish(oin, world.note(oin), pinned_keys([world.tls(oin).certificate])[0])
        yield broker
    finally:
        await broker.stop(0)


def enrol(
    world: World,
    oin: str,
    data: Path,
    purposes: Iterable[str],
    people: Iterable[Identifier] | None = None,
    *,
    registers: Iterable[str] | None = None,
    shielded: Iterable[Identifier] | None = None,
    end_month: int = NEVER_ENDS,
) -> None:
    """Write what an import leaves: a generation per register, purpose and kind, and the canary's pseudonyms.

    `people` and `registers` are what the population and the covenant say, unless given.
    """
    store = Registers.open(data)
    for purpose in purposes:
        for register in registers or world.covenant.sources(purpose)[oin].registers:
            known = people if people is not None else map(world.person, world.population.known(oin, [register]))
            _generation(world, store, oin, purpose, register, known, end_month)
        if shielded is not None:
            _generation(world, store, oin, purpose, SHIELDED, shielded, NEVER_ENDS)
    store.close()


def _generation(
    world: World, store: Registers, oin: str, purpose: str, register: str, people: Iterable[Identifier], month: int
) -> None:
    persons = list(people)
    moment, fresh = world.clock.now(), []
    for kind in {world.population.kind} | {one.kind for one in persons}:
        found = (world.pseudonym(oin, purpose, one) for one in persons if one.kind == kind)
        number = store.next_file()
        count = pseudonym_file.write(store.file(number), sorted(pseudonym_file.record(one, month) for one in found))
        fresh.append(
            Generation(number, register, purpose, world.epoch, day_of(moment), int(moment.timestamp()), count, kind)
        )
    canary = load_node(world.built.nodes[oin].config).canary_identifier
    store.switch(register, world.epoch, fresh, {purpose: world.pseudonym(oin, purpose, canary)}, None)


def one_machine(oin: str, data: Path) -> None:
    """Nodes of one partner that a test starts with other data are one machine to the broker, as if data had changed."""
    path = data / incarnation.FILE
    if not path.exists():
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.write_text(json.dumps({"number": 0, "instance": _instance(oin)}), encoding="ascii")


def statement(world: World, oin: str) -> bytes:
    """What that machine says with each call."""
    return incarnation.Incarnation(0, _instance(oin), oin).statement(world.signing(oin))


def _instance(oin: str) -> str:
    return oin.rjust(32, "0").lower()


@asynccontextmanager
async def real_node(
    world: World, oin: str, data: Path, port: int, purposes: Iterable[str] = (), *, clock: Clock | None = None
) -> AsyncIterator[Node]:
    """The whole node of a partner, attached, with filters for these purposes (enrolled when `data` is new)."""
    wanted = tuple(purposes)
    if wanted and not data.exists():
        enrol(world, oin, data, wanted)
    one_machine(oin, data)
    node = await start_node(world.node_config(oin, data, port), clock or world.clock)
    try:
        await asyncio.gather(*(attachment.attached.wait() for attachment in node.attachments))
        await node.directory.refresh()
        await node.filters.tick()
        await node.filters.settle()
        yield node
    finally:
        await node.stop(0)


async def ask(
    node: Node,
    world: World,
    purpose: str,
    persons: Iterable[Identifier],
    sources: Iterable[str],
    namens: str | None = None,
) -> list[Outcome]:
    """What an officer of this node is told, in order of person and source."""
    chosen = tuple(sources)
    kind = world.covenant.participants[node.config.oin].kind.value
    inquiry = Inquiry(
        purpose=purpose,
        persons=tuple(persons),
        sources=chosen,
        officer=OfficerRef("officer", "Test-medewerker", ROLES[kind]),
        case_reference=CASES[purpose],
        attested=frozenset(CONDITIONS[purpose]),
        on_behalf_of=namens,
    )
    outcomes = [outcome async for outcome in node.asker.ask(inquiry)]
    asked = [outcome for outcome in outcomes if outcome.oin in chosen]
    return sorted(asked, key=lambda one: (one.person, chosen.index(one.oin)))


async def told(node: Node, world: World, purpose: str, person: Identifier, *sources: str) -> list[str]:
    """The outcomes about one person, in the order of the sources."""
    return [str(one.outcome) for one in await ask(node, world, purpose, [person], sources)]


async def asked_and_witnessed(world: World, purpose: str, persons: Sequence[Identifier]) -> None:
    """The OM asks the police about each of these, over a broker whose log both nodes look at afterwards."""
    om, politie = (load_node(world.built.nodes[one.oin].config) for one in (OM, POLITIE))
    async with (
        broker_of(world, load_broker(world.built.broker_config).data) as broker,
        real_node(world, POLITIE.oin, politie.data, broker.port, [purpose]) as source,
        real_node(world, OM.oin, om.data, broker.port) as requester,
    ):
        await requester.asker.open_purpose(purpose, [POLITIE.oin])
        for person in persons:
            await told(requester, world, purpose, person, POLITIE.oin)
        await broker._checkpoints.make()
        for node in (requester, source):
            await node.witness.round()
