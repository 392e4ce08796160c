"""The composition root: the only place where a node is wired, started, reloaded and stopped. Both sides of it.

source      attach -> answer -> store, filters <- registers (written by the enrolling process)
desk        answer -> desk store -> comparing (a process of its own) -> control socket -> a colleague decides
requester   control socket -> ask -> broker, store
shared      covenant, manifests and standing decisions (rules), keys, directory, links to the broker
"""

import asyncio
import contextlib
import signal
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from bekend_policy.faults import YamlFaults
from bekend_policy.versions import FOLDER, Awaited
from bekend_proto import log_table, logs
from bekend_proto.certificates import Certificates
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, FencedError, KeysError, UnknownPartnerError
from bekend_proto.identity import TlsFilesError, read_tls
from bekend_proto.incarnation import own
from bekend_proto.integrity import Check
from bekend_proto.logs import log
from bekend_proto.process import serve
from bekend_proto.telemetry import MetricsServer, make_registry, start_metrics

from bekend_node import covenants
from bekend_node.answer.answerer import Answerer
from bekend_node.answer.collects import Collects
from bekend_node.answer.exchange import Exchanges
from bekend_node.answer.intake import Intake
from bekend_node.answer.push import Pusher
from bekend_node.ask.asker import Asker
from bekend_node.ask.asking import Asking
from bekend_node.ask.broker_line import GrpcLine
from bekend_node.ask.case_reference import case_key
from bekend_node.ask.signals import Signals
from bekend_node.ask.team import Team
from bekend_node.attach import Attachment
from bekend_node.audit.requests import AuditDesk
from bekend_node.broker_link import make_links, open_all
from bekend_node.canary import Canaries
from bekend_node.clock_beside import ClockBeside
from bekend_node.config import NodeConfig
from bekend_node.control import ControlServer
from bekend_node.databases import Databases
from bekend_node.desk.comparing import Comparing
from bekend_node.desk.decisions import Desk
from bekend_node.desk.keeping import Keeping
from bekend_node.desk.matters import Matters
from bekend_node.directory import Directory
from bekend_node.filters import Filters
from bekend_node.halting import Halting
from bekend_node.hook import Hook
from bekend_node.housekeeping import Housekeeping
from bekend_node.keys import NodeKeys
from bekend_node.locks import SERVE, locked
from bekend_node.log_health import LogHealth, log_health, own_log
from bekend_node.log_reading import LogReading
from bekend_node.mail import MailServer, Notices
from bekend_node.metrics import NodeMetrics
from bekend_node.parts import Parts
from bekend_node.records.desk import RecordsDesk
from bekend_node.records.relay import Relay
from bekend_node.retention import Retention
from bekend_node.rules import Rules, RulesInForce, load_rules
from bekend_node.signal_reading import SignalReading
from bekend_node.signing_renewal import SigningRenewal
from bekend_node.status import measure, standing_of, status_of
from bekend_node.store_audits import Audits
from bekend_node.store_colleagues import Colleagues
from bekend_node.store_decisions import Decisions
from bekend_node.store_deferrals import Deferrals
from bekend_node.store_retention import RetentionStore
from bekend_node.store_signals import SignalStore
from bekend_node.suspending import Suspending
from bekend_node.witness import Witness

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
        self.config = config
        self.clock = clock
        self.keys = keys
        self.databases = databases
        self.store = store = databases.store
        self.desk_store = desk = databases.desk
        self.registers = registers = databases.registers
        self.rules = RulesInForce(rules)
        self._registry = make_registry()
        self.metrics = NodeMetrics(self._registry)
        self.links = make_links(
            config.brokers,
            config.tls_files,
            clock,
            config.proxy,
            own(config.data, config.oin).statement(keys.signing),
        )
        self.suspending = Suspending(self.rules.covenants, store, self.links)
        self.directory = Directory(
            self.rules.covenant,
            store,
            self.links,
            clock,
            older=self.rules.older,
            exchange=self.suspending.exchange,
            heard=ClockBeside(self.metrics).look,
        )
        self.directory.guard(self.links)
        self.filters = Filters(
            config,
            keys=keys,
            rules=self.rules,
            registers=registers,
            store=store,
            desk=desk,
            clock=clock,
            quiet_until=store.read(log_table.quiet_until),
        )
        self.hook = Hook(config.desk_hook, logs.DESK_HOOK_FAILED)
        self.late_hook = Hook(config.late_hook, logs.LATE_HOOK_FAILED)
        self.team = Team(self._asking, config.officers)
        self.notices = Notices(MailServer(config.mail, clock) if config.mail else None, self.team)
        matters = self.matters = Matters(desk, keys)
        self.keeping = Keeping(store, desk, matters, clock)
        self.comparing = Comparing(
            config,
            keys=keys,
            rules=self.rules,
            filters=self.filters,
            registers=registers,
            store=store,
            desk=desk,
            matters=matters,
            clock=clock,
            waiting=self.hook.waiting,
            canary_asked=self.metrics.canary_asked,
        )
        self.desk = Desk(
            config.desk_staff,
            keys=keys,
            rules=self.rules,
            registers=registers,
            store=store,
            desk=desk,
            matters=matters,
            clock=clock,
        )
        self.witness = Witness(
            oin=config.oin,
            key=keys.signing,
            broker=self.directory.broker,
            store=store,
            links=self.links,
            clock=clock,
            metrics=self.metrics,
            seconds=config.checkpoint_seconds,
            log=config.log,
        )
        self.attachments = self._answering()
        lines = [
            GrpcLine(link, attachment.settled, partial(self.directory.attached_to, link))
            for link, attachment in zip(self.links, self.attachments, strict=True)
        ]
        kept = SignalStore(store.database, case_key(keys.state), keys.state_box)
        self.signals = Signals(kept, config.signals, clock, self.metrics.misuse)
        self.asker = Asker(
            self._asking,
            lines,
            config.canary_identifiers,
            clock,
            self._something_came,
            signals=self.signals,
            listed=Colleagues(store.database, keys.colleagues).include,
            measures=self.metrics,
        )
        self.canaries = Canaries(
            self.asker, self.rules, self.filters, self.metrics, clock, every=timedelta(hours=config.canary_hours)
        )
        self.deferrals = Deferrals(store.database)
        self.log_reading = LogReading(
            Decisions(store.database),
            registers,
            self.rules.covenant,
            config.oin,
            readers=config.log_readers,
            clock=clock,
        )
        self.halting = Halting(self.filters, store.filters, lambda: self.rules.now, clock)
        self.records = RecordsDesk(
            config.oin,
            Relay(lambda: self.rules.now.manifest, self.links, store, clock),
            self.deferrals,
            self.rules.covenant,
            clock,
        )
        self.signal_reading = SignalReading(
            kept, Decisions(store.database), self.rules.covenant, readers=config.log_readers, clock=clock
        )
        self.audits = AuditDesk(
            Audits(store.database), self.rules.covenant, self.directory.get, oin=config.oin, clock=clock
        )
        self.control = ControlServer(
            self.asker,
            config.officers,
            self.rules.covenant,
            config.oin,
            self.status,
            rows=self.rows,
            install=self.suspending.install,
            clear_alarm=self.witness.clear,
            log_reading=self.log_reading,
            records=self.records,
            desk=self.desk,
            halting=self.halting,
            signals=self.signal_reading,
            team=self.team,
            waiting=self.notices.waiting,
        )
        self.web, self.rest = self._pages(config, dev=dev), self._facade(config)
        self.retention = Retention(RetentionStore(store.database), registers, self.rules.covenant, config.oin, clock)
        self.housekeeping = Housekeeping(
            keys=keys,
            rules=self.rules,
            registers=registers,
            store=store,
            retention=self.retention,
            team=self.team,
            signals=self.signals,
            asker=self.asker,
            metrics=self.metrics,
            clock=clock,
        )
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
        self._lock.enter_context(locked(self.config.data, SERVE, wait=False))
        self.metrics.watch_disk(self.config.data)
        self.suspending.restore()
        self.witness.restore()
        self.directory.restore()
        await self.filters.restore()
        await self.housekeeping.keep()
        if self.config.metrics is not None:
            self._metrics_server = start_metrics(self.config.metrics, self._registry, self.config.tls_files, self.clock)
        for work in (
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
        ):
            self._parts.run(work)
        await open_all(self.links)
        for link, attachment in zip(self.links, self.attachments, strict=True):
            self._parts.run(attachment.run())
            self._parts.run(link.run(attachment.again))
        await self.control.start(self.config.socket, self.config.socket_group)
        for listener in self._listeners:
            await listener.start()
        rules = self.rules.now
        log(
            logs.NODE_STARTED,
            oin=self.config.oin,
            covenant=rules.covenant.hash.hex(),
            manifest=rules.manifest.number,
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

    async def rows(self) -> dict[str, int]:
        """Rows per table that grows: counted beside the event loop, since there may be millions."""
        return await asyncio.to_thread(self.store.counts)

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

    def _answering(self) -> tuple[Attachment, ...]:
        """The source side: what comes over each line to a replica, and who takes it."""
        keys, rules, store, clock, metrics = self.keys, self.rules, self.store, self.clock, self.metrics
        held, heads = self.suspending.held, self.witness.heads
        answerer = Answerer(keys, rules, self.directory, self.filters, store, clock, metrics, held, heads)
        pusher = Pusher(rules, self.directory, self.filters, store, clock, held, heads)
        exchanges = Exchanges(keys, rules, store, clock, metrics, held, heads)
        intake = Intake(exchanges, self.directory, self.filters, self.matters, self.comparing.named)
        collects = Collects(exchanges, self.matters, self.registers, self.filters)
        return tuple(
            Attachment(
                link,
                rules,
                answerer,
                pusher,
                intake,
                collects,
                metrics,
                self.directory.changed,
                fenced=self._fence,
            )
            for link in self.links
        )

    def _pages(self, config: NodeConfig, *, dev: bool) -> "WebServer | None":
        if config.web is None:
            return None
        from bekend_node.web.site import Inside, pages_of  # noqa: PLC0415 - a node without pages needs no web server

        return pages_of(
            config.web,
            oin=config.oin,
            asker=self.asker,
            covenant=self.rules.covenant,
            officers=config.officers,
            contact=self._contact,
            status=self.status,
            rows=self.rows,
            team=self.team,
            notices=self.notices,
            clock=self.clock,
            dev=dev,
            inside=Inside(
                lambda: self.rules.now,
                self.suspending.held,
                self.desk,
                config.desk_staff,
                self.suspending.install,
                self.log_reading,
                self.records,
                self.halting,
                self.audits,
                self.signal_reading,
                proposed=lambda: asyncio.to_thread(covenants.proposed, config, self.clock.now()),
                fetch=lambda: covenants.fetch(config, self.clock),
                versions=lambda: covenants.waiting(config, [one.hash for one in self.rules.covenants()]),
                logs=self._logs,
                own_log=lambda: own_log(self.witness),
            ),
        )

    def _facade(self, config: NodeConfig) -> "WebServer | None":
        if config.rest is None:
            return None
        from bekend_node.rest.app import facade_of  # noqa: PLC0415 - likewise

        return facade_of(config.rest, asker=self.asker, team=self.team, covenant=self.rules.covenant, clock=self.clock)

    @property
    def _listeners(self) -> list["WebServer"]:
        """What people and case systems of this organisation reach."""
        return [one for one in (self.web, self.rest) if one is not None]

    async def _logs(self) -> list[LogHealth]:
        """How the broker's logs stand now."""
        await self.witness.round()
        return log_health(self.witness, self.rules.covenant(), self.directory.get)

    def _contact(self, oin: str) -> str | None:
        """The desk of a partner, as its own manifest names it; None while none was seen."""
        with contextlib.suppress(BekendError):
            return self.directory.get(oin).contact
        return None

    def _something_came(self) -> None:
        self.late_hook.waiting()
        self.notices.waiting()

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

    def _asking(self) -> Asking:
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
