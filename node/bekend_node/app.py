"""The composition root: the only place where a node is put together, started, reloaded and stopped.

Its sides are in `wiring/`; here they are made in the order in which they stand on each other.
"""

import asyncio
import contextlib
import signal
from collections.abc import Coroutine, Sequence
from typing import TYPE_CHECKING, Any

from bekend_policy.faults import YamlFaults
from bekend_policy.versions import FOLDER, Awaited
from bekend_proto import logs
from bekend_proto.certificates import Certificates
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, FencedError, KeysError, UnknownPartnerError
from bekend_proto.identity import TlsFilesError, read_tls
from bekend_proto.integrity import Check
from bekend_proto.locks import SERVE, locked
from bekend_proto.logs import log
from bekend_proto.process import serve
from bekend_proto.telemetry import MetricsServer, start_metrics

from bekend_node.broker_link import open_all
from bekend_node.config import NodeConfig
from bekend_node.databases import Databases
from bekend_node.keys import NodeKeys
from bekend_node.parts import Parts
from bekend_node.rules import Rules, load_rules
from bekend_node.signing_renewal import SigningRenewal
from bekend_node.status import measure, standing_of, status_of
from bekend_node.wiring.core import Core
from bekend_node.wiring.entrances import control_of, facade_of, pages_of
from bekend_node.wiring.oversight import Oversight
from bekend_node.wiring.requester import Requester
from bekend_node.wiring.source import Source

if TYPE_CHECKING:
    from bekend_node.web.server import WebServer

DRAIN_SECONDS = 10.0
LOOK_SECONDS = 5.0
"""How often files that may have changed, and what was to begin at a moment, are looked at."""
MEASURE_SECONDS = 15.0
"""As often as Prometheus asks, in the configuration that comes with bekend."""


class Node:
    """A node in service. Made by `start_node`; stop it with `await stop()`."""

    fenced: FencedError | None = None
    """Why it ends for good: another machine took its place."""

    def __init__(
        self,
        config: NodeConfig,
        *,
        clock: Clock,
        keys: NodeKeys,
        databases: Databases,
        rules: Rules,
        dev: bool = False,
    ) -> None:
        core = Core(config, clock=clock, keys=keys, databases=databases, rules=rules)
        source = Source(core, self._fence)
        requester = Requester(core, source)
        oversight = Oversight(core, requester)
        self.config, self.clock, self.keys, self.databases = config, clock, keys, databases
        self.store, self.desk_store, self.registers = core.store, core.desk_store, core.registers
        self.rules, self.links, self.directory = core.rules, core.links, core.directory
        self.suspending, self.witness, self.metrics = core.suspending, core.witness, core.metrics
        self.filters, self.halting, self.attachments = source.filters, source.halting, source.attachments
        self.desk, self.matters = source.desk, source.matters
        self.comparing, self.keeping = source.comparing, source.keeping
        self.asker, self.canaries, self.team = requester.asker, requester.canaries, requester.team
        self.hook, self.late_hook, self.notices = source.hook, requester.late_hook, requester.notices
        self.deferrals, self.log_reading = oversight.deferrals, oversight.log_reading
        self.retention, self.housekeeping = oversight.retention, oversight.housekeeping
        self._registry = core.registry
        self.control = control_of(core, source, requester, oversight, status=self.status)
        self.web = pages_of(core, source, requester, oversight, status=self.status, dev=dev)
        self.rest = facade_of(core, requester)
        self._renewal = SigningRenewal(
            config,
            keys=keys,
            rules=self.rules,
            witness=self.witness,
            links=self.links,
            attachments=self.attachments,
            clock=clock,
        )
        self._awaited = Awaited(config.data / FOLDER)
        self._certificates = Certificates(
            config.certificates, config.tls_files.revocation(clock), self.metrics.certificates
        )
        self._metrics_server: MetricsServer | None = None
        self._lock = contextlib.ExitStack()
        self._parts = Parts()

    async def open(self) -> None:
        """Put everything into service: filters first, so that what comes in can be answered.

        Raises StorageError when another node serves from this data folder.
        """
        config = self.config
        self._lock.enter_context(locked(config.data, SERVE, wait=False))
        self.metrics.watch_disk(config.data)
        self.suspending.restore()
        self.witness.restore()
        self.directory.restore()
        await self.filters.restore()
        await self.housekeeping.keep()
        if config.metrics is not None:
            self._metrics_server = start_metrics(config.metrics, self._registry, config.tls_files, self.clock)
        for work in self._work():
            self._parts.run(work)
        await open_all(self.links)
        for attachment in self.attachments:
            self._parts.run(attachment.run())
            self._parts.run(attachment.link.run(attachment.again))
        await self.control.start(config.socket, config.socket_group)
        for listener in self._listeners:
            await listener.start()
        rules = self.rules.now
        log(logs.NODE_STARTED, oin=config.oin, covenant=rules.covenant.hash.hex(), manifest=rules.manifest.number)

    def _work(self) -> Sequence[Coroutine[Any, Any, None]]:
        """What goes on for as long as the node serves, the lines to the broker apart."""
        return (
            self.directory.keep_fresh(),
            self.filters.run(),
            self.asker.collector.run(),
            self.canaries.run(),
            self.housekeeping.run(),
            self._keep_current(),
            self._measuring(),
            self._witness(),
            self.comparing.run(),
            self.keeping.run(),
            self.hook.run(),
            self.late_hook.run(),
            self.notices.run(),
        )

    @property
    def checks(self) -> Sequence[Check]:
        """Reads each of its databases whole."""
        return self.databases.checks

    async def work(self) -> None:
        """Go through everything that an answer needs here: this loop, and the thread that writes the log."""
        await self.store.database.write(lambda _: None)

    def standing(self) -> str:
        """How the node stands, in a line for systemd."""
        return standing_of(self.rules.now, self.filters, self.attachments)

    def status(self) -> dict[str, Any]:
        """How the node stands, for `bekend node status`."""
        return status_of(
            self.rules.now,
            filters=self.filters,
            registers=self.registers,
            attachments=self.attachments,
            suspensions=self.suspending.held,
            witness=self.witness,
            deferrals=self.deferrals.tally(day_of(self.clock.now())),
            emergencies=self.asker.emergencies.tally(),
            retention_waits=self.retention.waiting_rows,
            canaries=self.canaries.told(),
            now=self.clock.now(),
        )

    async def reload(self) -> bool:
        """Read covenant, manifest, standing decisions and certificates again, and dial anew.

        What cannot be used is logged, and what was in force stays. Says whether the new ones are in force.
        """
        self._awaited.look(self.clock.now())
        try:
            check_certificate(self.config, self.clock)
            for listener in self._listeners:
                listener.renew()
            self.rules.reload(self.config, self.keys, self.store, self.clock)
        except (BekendError, YamlFaults) as fault:
            log(logs.NODE_RELOAD_REFUSED, detail=str(fault))
            return False
        except Exception as fault:
            # A folder that cannot be read, say: whoever waits for the next signal must go on waiting.
            log(logs.NODE_RELOAD_REFUSED, detail=f"{type(fault).__name__} at {logs.place_of(fault.__traceback__)}")
            return False
        try:
            self._renewal.look()
        except KeysError as fault:
            log(logs.NODE_RELOAD_REFUSED, detail=fault.detail)
        self.directory.recheck()
        await open_all(self.links)
        for attachment in self.attachments:
            attachment.again()
        await self.directory.changed()
        with contextlib.suppress(BekendError):
            # A manifest that names certain keys no more is what they were kept for.
            await self.housekeeping.keep()
        rules = self.rules.now
        log(logs.NODE_RELOADED, covenant=rules.covenant.hash.hex(), manifest=rules.manifest.number)
        return True

    async def stop(self, grace: float = DRAIN_SECONDS) -> None:
        """Take no new work, let questions and lookups under way end (within `grace` seconds), close."""
        log(logs.NODE_STOPPING)
        for listener in self._listeners:
            await listener.stop()
        await self.control.stop()
        await asyncio.gather(*(attachment.drain(grace) for attachment in self.attachments))
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self.asker.close(), grace)
        await self._parts.stop()
        await self.directory.close()
        await asyncio.gather(*(link.close() for link in self.links))
        if self._metrics_server is not None:
            await asyncio.to_thread(self._metrics_server.stop)
        self.databases.close()
        self._lock.close()
        log(logs.NODE_STOPPED, oin=self.config.oin)

    @property
    def _listeners(self) -> list["WebServer"]:
        """What people and case systems of this organisation reach."""
        return [one for one in (self.web, self.rest) if one is not None]

    def _look_at_certificates(self) -> None:
        """Files that changed are shown from now on; the links look after themselves."""
        if not self._certificates.measure():
            return
        if self._metrics_server is not None:
            self._metrics_server.renew()
        for listener in self._listeners:
            try:
                listener.renew()
            except TlsFilesError as fault:
                log(logs.TLS_FILES_KEPT, reason=fault.detail)

    async def _witness(self) -> None:
        """The broker's keys are known once the directory was fetched."""
        await self.directory.wait()
        await self.witness.watch()

    async def _keep_current(self) -> None:
        while True:
            self._look_at_certificates()
            if self._awaited.is_due(self.clock.now()):
                await self.reload()
            with contextlib.suppress(KeysError):
                self._renewal.look()
            await asyncio.sleep(LOOK_SECONDS)

    async def _measuring(self) -> None:
        while True:
            self.measure()
            await asyncio.sleep(MEASURE_SECONDS)

    def measure(self) -> None:
        """Bring the gauges up to date."""
        now = self.clock.now()
        measure(self.rules.now, self.filters, self.registers, store=self.store, metrics=self.metrics, now=now)
        self.metrics.deferrals(self.deferrals.tally(day_of(now)))
        self.metrics.emergencies(self.asker.emergencies.tally())

    def _fence(self, broker: str, fault: FencedError) -> None:
        """Another machine is this node now: here everything ends, and does not begin again by itself."""
        detail = f"another machine took the place of this node, says {broker}: if it should not, see docs/backup.md"
        self.fenced = FencedError(detail)
        log(logs.NODE_FENCED, broker=broker, detail=fault.detail)
        signal.raise_signal(signal.SIGTERM)


def check_certificate(config: NodeConfig, clock: Clock) -> None:
    """The own certificate is usable and names the own OIN. Raises TlsFilesError, UnknownPartnerError."""
    named = read_tls(config.tls_files, clock).oin
    if named != config.oin:
        raise UnknownPartnerError(
            f"{config.tls.certificate} names {named}, the configuration says {config.oin}: use the own certificate"
        )


async def start_node(config: NodeConfig, clock: Clock, *, dev: bool = False) -> Node:
    """Start a node of this configuration; it serves when this returns, attached or still dialling.

    Raises CovenantFaults, KeysError, SignatureError, StorageError, TlsFilesError, ... : each names the remedy, and
    nothing is left running.
    """
    check_certificate(config, clock)
    keys = NodeKeys.load(config.keys, config.oin)
    databases = Databases.open(config.data)
    try:
        rules = load_rules(config, keys, databases.store, clock)
        node = Node(config, clock=clock, keys=keys, databases=databases, rules=rules, dev=dev)
    except BaseException:
        databases.close()
        raise
    try:
        await node.open()
    except BaseException:
        await node.stop(0)
        raise
    return node


async def run(config: NodeConfig, clock: Clock | None = None, *, dev: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, which drain; SIGHUP reloads covenant, standing decisions and certificates.

    Raises as `start_node` does, and DamagedError or FencedError when that was why it ended.
    """
    node = await serve(lambda chosen: start_node(config, chosen, dev=dev), clock)
    if node.fenced is not None:
        raise node.fenced
