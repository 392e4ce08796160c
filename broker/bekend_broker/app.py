"""The composition root: the only place where a broker is wired, started, reloaded and stopped."""

import asyncio
import contextlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from bekend_policy.faults import YamlFaults
from bekend_policy.versions import Awaited
from bekend_proto import log_table, logs
from bekend_proto.certificates import Certificates
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import Clock, day_of
from bekend_proto.errors import BekendError, KeysError
from bekend_proto.integrity import Check
from bekend_proto.locks import SERVE, locked
from bekend_proto.process import serve
from bekend_proto.serve import RunningServer, start_server
from bekend_proto.signing_files import Renewal
from bekend_proto.telemetry import MetricsServer, start_metrics
from bekend_proto.v1.broker_pb2_grpc import add_BrokerServiceServicer_to_server
from prometheus_client import CollectorRegistry

from bekend_broker.access import Accesses
from bekend_broker.checkpoints import Checkpoints
from bekend_broker.config import BrokerConfig
from bekend_broker.directory import Directory
from bekend_broker.enrolment import Enrolments
from bekend_broker.following import Following
from bekend_broker.log_head import LogHead
from bekend_broker.lookup import Lookups
from bekend_broker.metrics import Metrics
from bekend_broker.present import Present, load_present, shelf_of
from bekend_broker.quotas import shares
from bekend_broker.register import Register
from bekend_broker.releases import Releases
from bekend_broker.retention import Retention
from bekend_broker.service import BrokerService
from bekend_broker.store import Store
from bekend_broker.store_retention import RetentionStore
from bekend_broker.suspending import LOOK_SECONDS, Inbox
from bekend_broker.transfer import Transfers

MEASURE_SECONDS = 5.0
SERVICE = "bekend_proto.v1.BrokerService"
"""Name of the service, for health and reflection."""


class Broker:
    """A broker in service. Made by `start_broker`; stop it with `await stop()`."""

    def __init__(self, config: BrokerConfig, clock: Clock, store: Store, metrics: Metrics, present: Present) -> None:
        self.config = config
        self._clock = clock
        self.store = store
        self._metrics = metrics
        self._enrol_threads = ThreadPoolExecutor(config.worker_count, "enrol")
        limits = config.limits
        self._directory = Directory(store, clock, present)
        metrics.watch_disk(config.data)
        self._register = Register(self._directory, metrics, limits.hello_seconds)
        self._checkpoints = Checkpoints(
            directory=self._directory,
            database=store,
            clock=clock,
            metrics=metrics,
            log=config.log,
            seconds=limits.checkpoint_seconds,
            head=LogHead(config.data) if config.database is not None else None,
        )
        self._lookups = Lookups(
            directory=self._directory,
            register=self._register,
            database=store,
            clock=clock,
            metrics=metrics,
            limits=limits,
            checkpoints=self._checkpoints,
        )
        self._transfers = Transfers(
            directory=self._directory,
            register=self._register,
            database=store,
            clock=clock,
            metrics=metrics,
            limits=limits,
        )
        self._enrolments = Enrolments(
            directory=self._directory,
            database=store,
            clock=clock,
            metrics=metrics,
            limits=limits,
            threads=self._enrol_threads,
        )
        self._releases = Releases(
            directory=self._directory,
            register=self._register,
            database=store,
            clock=clock,
            metrics=metrics,
            limits=limits,
        )
        self._accesses = Accesses(self._directory, store, clock, metrics)
        self._inbox = Inbox(config.data, self._directory, self._register)
        self.retention = Retention(
            RetentionStore(store.database),
            config.keys,
            lambda: self._directory.present.covenants,
            clock,
            self.reload,
        )
        self._following = Following(self._directory, self._register, self.reload, metrics, clock)
        self._watching: asyncio.Future[list[None]] | None = None
        self._awaited = Awaited(shelf_of(config))
        self._renewal = Renewal(config.keys, clock)
        self._certificates = Certificates(
            {"tls": config.tls.certificate, "authorities": config.tls.authorities},
            config.tls_files.revocation(clock),
            metrics.certificates,
        )
        self._server: RunningServer | None = None
        self._metrics_server: MetricsServer | None = None

    @property
    def port(self) -> int:
        """The port on which nodes are served."""
        assert self._server is not None
        return self._server.port

    @property
    def registry(self) -> CollectorRegistry:
        """What the metrics port shows."""
        return self._metrics.registry

    @property
    def metrics_port(self) -> int | None:
        """The port of the metrics, if any."""
        return self._metrics_server.port if self._metrics_server else None

    def log_entries(self) -> int:
        """How many entries the log has now."""
        return self.store.log_entries()

    @property
    def checks(self) -> Sequence[Check]:
        """Reads its database whole."""
        return (self.store.check,)

    async def work(self) -> None:
        """Go through everything that an answer needs here: this loop, and the thread that writes the log."""
        await self.store.write(lambda _: None)

    def standing(self) -> str:
        """How the broker stands, in a line for systemd."""
        return f"{len(self._register.attached)} partners attached, {self._lookups.running} lookups running"

    async def open(self) -> None:
        """Put everything into service."""
        await self._put(self._directory.present)
        # Before anything is served: a backup that was put back holds what was destroyed since.
        await self.retention.try_tidy()
        await self._inbox.empty()
        await self._releases.forget_over()
        await self._checkpoints.make()
        await self._following.look()
        self._watching = asyncio.gather(
            self._inbox.watch(),
            self._await_versions(),
            self._releases.watch(),
            self._checkpoints.watch(),
            self.retention.run(),
            self._following.watch(),
            self._watch_callers(),
            self._measure(),
        )
        if self.config.metrics is not None:
            self._metrics_server = start_metrics(
                self.config.metrics, self._metrics.registry, self.config.tls_files, self._clock
            )
        service = BrokerService(
            directory=self._directory,
            register=self._register,
            lookups=self._lookups,
            transfers=self._transfers,
            enrolments=self._enrolments,
            releases=self._releases,
            checkpoints=self._checkpoints,
            accesses=self._accesses,
        )
        self._server = await start_server(
            [lambda server: add_BrokerServiceServicer_to_server(service, server)],
            self.config.listen,
            self.config.tls_files,
            clock=self._clock,
            registry=self._metrics.registry,
            admit=self._directory.admit,
            names=(SERVICE,),
            reflection=self.config.reflection,
        )
        present = self._directory.present
        logs.log(
            logs.BROKER_STARTED,
            oin=self.config.oin,
            port=self.port,
            metrics_port=self.metrics_port,
            covenant=present.covenant.hash.hex(),
            manifest=present.manifest.number,
            log_entries=self.store.log_entries(),
        )

    async def reload(self) -> bool:
        """Read covenant, manifest and keys again; what cannot be used is logged and the present ones stay.

        Certificates need no reload: the server follows their files. Says whether the new ones are in service.
        """
        self._awaited.look(self._clock.now())
        try:
            present = await asyncio.to_thread(load_present, self.config, self._clock.now(), self.store.newest_covenant)
            await self._put(present)
        except (BekendError, YamlFaults) as fault:
            logs.log(logs.BROKER_RELOAD_REFUSED, detail=str(fault))
            return False
        except Exception as fault:
            # A folder that cannot be read, say: whoever waits for the next signal must go on waiting.
            detail = f"{type(fault).__name__} at {logs.place_of(fault.__traceback__)}"
            logs.log(logs.BROKER_RELOAD_REFUSED, detail=detail)
            return False
        logs.log(logs.BROKER_RELOADED, covenant=present.covenant.hash.hex(), manifest=present.manifest.number)
        return True

    async def _watch_callers(self) -> None:
        """Look again and again at who is connected, and at the own certificates."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if self._server is not None:
                self._server.recheck()
            if self._certificates.measure() and self._metrics_server is not None:
                self._metrics_server.renew()

    async def _measure(self) -> None:
        """Bring up to date what no event tells of."""
        while True:
            with contextlib.suppress(BekendError):
                spent = await asyncio.to_thread(self.store.spent_on, day_of(self._clock.now()))
                self._metrics.quotas(shares(spent, self._directory.present.covenant))
            await asyncio.sleep(MEASURE_SECONDS)

    async def _await_versions(self) -> None:
        """Versions that were added beforehand serve from their first day; the next signing key once nodes know it."""
        while True:
            if self._awaited.is_due(self._clock.now()):
                await self.reload()
            with contextlib.suppress(KeysError):
                if self._go_over():
                    await self.reload()
            await asyncio.sleep(LOOK_SECONDS)

    def _go_over(self) -> bool:
        """Whether the next signing key took its place: once nodes had the time to fetch who it is. Raises KeysError."""
        manifest = self._directory.present.manifest
        if not self._renewal.look(manifest.signing_keys, manifest.valid_until):
            return False
        logs.log(logs.SIGNING_KEY_RENEWED, oin=self.config.oin)
        return True

    async def stop(self, grace: float | None = None) -> None:
        """Take no new calls, let what runs end (within `grace` seconds), send the sources away, close."""
        seconds = self.config.limits.grace_seconds if grace is None else grace
        logs.log(logs.BROKER_STOPPING, lookups=self._lookups.running, exchanges=self._releases.running)
        if self._watching is not None:
            self._watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watching
        if self._server is not None:
            # Health says NOT_SERVING and new calls are refused from here on; running ones go on.
            stopping = asyncio.create_task(self._server.stop(seconds))
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._lookups.wait_idle()
                    await self._releases.wait_idle()
            self._register.end_all()
            await stopping
        if self._metrics_server is not None:
            await asyncio.to_thread(self._metrics_server.stop)
        self._enrol_threads.shutdown()
        self.store.close()
        logs.log(logs.BROKER_STOPPED, oin=self.config.oin)

    async def _put(self, present: Present) -> None:
        await self._directory.replace(present)
        self._register.end_other_covenants({covenant.hash for covenant in present.covenants})
        self._register.directory_changed()
        self._metrics.use(present.covenant, present.manifest)
        self._metrics.attachments(self._register.attached)


async def start_broker(config: BrokerConfig, clock: Clock) -> Broker:
    """Start a broker of this configuration; it serves when this returns.

    Raises CovenantFaults, KeysError, LogError, SignatureError, StorageError, TlsFilesError, AddressError: each names
    the remedy, and nothing is left running.
    """
    store = Store.of(config)
    try:
        store.database.quick_check()
        store.read(lambda c: log_table.check_origin(c, log_origin(config.oin, config.log)))
        present = load_present(config, clock.now(), store.newest_covenant)
        broker = Broker(config, clock, store, Metrics(), present)
    except BaseException:
        store.close()
        raise
    try:
        await broker.open()
    except BaseException:
        await broker.stop(0)
        raise
    return broker


async def run(config: BrokerConfig, clock: Clock | None = None) -> None:
    """Serve until SIGTERM or SIGINT, which drain; SIGHUP reloads covenant, manifest and keys.

    Raises as `start_broker` does, StorageError when another broker serves from this file, and DamagedError when that
    was why it ended. Replicas share a database of PostgreSQL, which keeps them apart itself.
    """
    alone = contextlib.nullcontext() if config.database is not None else locked(config.data, SERVE, wait=False)
    with alone:
        await serve(lambda chosen: start_broker(config, chosen), clock)
