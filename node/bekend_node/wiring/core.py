"""What both sides of a node stand on: rules, keys, databases, the lines to the broker, what is known of the others."""

import asyncio
import contextlib

from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError
from bekend_proto.incarnation import own
from bekend_proto.telemetry import make_registry

from bekend_node.ask.asking import Asking
from bekend_node.ask.case_reference import case_key
from bekend_node.broker_link import make_links
from bekend_node.clock_beside import ClockBeside
from bekend_node.config import NodeConfig
from bekend_node.databases import Databases
from bekend_node.directory import Directory
from bekend_node.keys import NodeKeys
from bekend_node.metrics import NodeMetrics
from bekend_node.rules import Rules, RulesInForce
from bekend_node.suspending import Suspending
from bekend_node.witness import Witness


class Core:
    """Wired first; nothing here knows of asking or answering."""

    def __init__(self, config: NodeConfig, *, clock: Clock, keys: NodeKeys, databases: Databases, rules: Rules) -> None:
        self.config = config
        self.clock = clock
        self.keys = keys
        self.databases = databases
        self.store, self.desk_store, self.registers = databases.store, databases.desk, databases.registers
        self.rules = RulesInForce(rules)
        self.registry = make_registry()
        self.metrics = NodeMetrics(self.registry)
        self.links = make_links(
            config.brokers,
            config.tls_files,
            clock,
            config.proxy,
            own(config.data, config.oin).statement(keys.signing),
        )
        self.suspending = Suspending(self.rules.covenants, self.store, self.links, clock)
        self.beside = ClockBeside(self.metrics)
        self.directory = Directory(
            self.rules.covenant,
            self.store,
            self.links,
            clock,
            older=self.rules.older,
            exchange=self.suspending.exchange,
            heard=self.beside.look,
        )
        self.directory.guard(self.links)
        self.witness = Witness(
            oin=config.oin,
            key=keys.signing,
            broker=self.directory.broker,
            store=self.store,
            links=self.links,
            clock=clock,
            metrics=self.metrics,
            seconds=config.checkpoint_seconds,
            log=config.log,
        )

    def asking(self) -> Asking:
        """What a lookup that begins now asks by."""
        rules = self.rules.now
        return Asking(
            oin=self.config.oin,
            key=self.keys.signing,
            state=self.keys.state_box,
            manifest=rules.manifest,
            manifest_note=rules.manifest_note,
            covenant=rules.covenant,
            manifest_of=self.directory.require,
            manifest_at_hand=self.directory.at_hand,
            store=self.store,
            clock=self.clock,
            case_key=case_key(self.keys.state),
            suspensions=self.suspending.held,
            heads=self.witness.heads,
        )

    def contact(self, oin: str) -> str | None:
        """The desk of a partner, as its own manifest names it; None while none was seen."""
        with contextlib.suppress(BekendError):
            return self.directory.get(oin).contact
        return None

    async def rows(self) -> dict[str, int]:
        """Rows per table that grows: counted beside the event loop, since there may be millions."""
        return await asyncio.to_thread(self.store.counts)
