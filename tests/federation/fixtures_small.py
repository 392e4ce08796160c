"""A federation of four processes, started by the tests' own launcher: broker, OM, police, reclassering."""

import os
import resource
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import grpc
from bekend_deploy import processes
from bekend_deploy.answered import Answered
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, ZSM_CONTEXT, Partner
from bekend_deploy.pki import TlsPaths
from bekend_node.control_client import ControlClient
from bekend_policy.load import load_covenant
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError
from bekend_proto.v1.broker_pb2 import AttachRequest, Hello
from bekend_proto.v1.broker_pb2_grpc import BrokerServiceStub

from tests.federation.launch import CLOCK_SHIFT, DIE_AT

ROOT = Path(__file__).parents[2]
LAUNCHER = (sys.executable, "-m", "tests.federation.launch")
SOURCES = (POLITIE.oin, RECLASSERING.oin)
TRIO = (OM, POLITIE, RECLASSERING)
PERSONS = 30


class Small:
    """The federation, and hands to trouble it with."""

    def __init__(self, federation: Federation) -> None:
        self.federation = federation
        self.built = federation.built

    @property
    def somebody(self) -> str:
        return self.federation.population.fixed.everywhere

    @property
    def nobody(self) -> str:
        return self.federation.population.fixed.nowhere

    def ask(self, person: str | None = None) -> Answered:
        """OM asks both sources."""
        return self.federation.lookup(OM, ZSM_CONTEXT, [person or self.somebody], sources=SOURCES)

    def told(self, person: str | None = None) -> dict[str, str]:
        """Outcome per source."""
        answered = self.ask(person)
        return {oin: answered.outcome(oin) for oin in SOURCES}

    def open(self) -> None:
        """Wait until both filters are at hand, as an officer who opens the purpose finds them."""
        request = {"op": "open", "purpose": ZSM_CONTEXT, "sources": list(SOURCES)}

        def ready() -> bool:
            try:
                with ControlClient(self.built.nodes[OM.oin].socket) as client:
                    filters = client.call(request).get("filters", {})
            except BekendError:
                return False
            return bool(filters) and all(state == "ok" for state in filters.values())

        self.process(OM).ready(ready)

    def process(self, partner: Partner | None) -> processes.Process:
        """A partner's process; the broker's for None."""
        if partner is not None:
            return self.federation.nodes[partner.oin]
        assert self.federation.broker is not None
        return self.federation.broker

    def folder(self, partner: Partner | None) -> Path:
        return self.built.folder / "broker" if partner is None else self.built.nodes[partner.oin].folder

    def start(self, partner: Partner | None) -> None:
        """Start what ended; returns when everybody is attached again."""
        if partner is None:
            self.federation.start_broker()
        else:
            self.federation.nodes.pop(partner.oin, None)
            self.federation.start_node(partner.oin)
        self.federation.wait_until_attached()
        self.open()

    # --- troubles

    def shift_clock(self, seconds: float, *partners: Partner | None) -> None:
        """Set the clocks of these (all when none is named) ahead."""
        for partner in partners or (None, *TRIO):
            path = self.folder(partner) / CLOCK_SHIFT
            part = path.with_suffix(".part")
            part.write_text(str(seconds), encoding="ascii")
            part.replace(path)

    def die_at(self, step: str, partner: Partner | None) -> None:
        """Let a process kill itself when it comes to a step."""
        (self.folder(partner) / DIE_AT).write_text(step, encoding="ascii")

    @contextmanager
    def full_disk(self, partner: Partner | None) -> Iterator[None]:
        """No file of this process can grow: what the kernel answers as on a full disk, for each write."""
        pid = self.process(partner).pid
        soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        # Python ignores SIGXFSZ, so a write fails with EFBIG.
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
        try:
            yield
        finally:
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))

    @contextmanager
    def calls(self, tls: TlsPaths | None) -> Iterator[Any]:
        """A line to the broker with these certificates, or with none of its own."""
        authorities = self.built.authority.path.read_bytes()
        own = (tls.key.read_bytes(), tls.certificate.read_bytes()) if tls else (None, None)
        credentials = grpc.ssl_channel_credentials(authorities, *own)
        with grpc.secure_channel(f"localhost:{self.built.broker_port}", credentials) as channel:
            yield BrokerServiceStub(channel)

    @contextmanager
    def attach_as(self, partner: Partner) -> Iterator[Any]:
        """An Attach with a partner's certificate, beside the one of its node."""
        covenant = load_covenant(self.built.covenant)
        hello = Hello(protocol_versions=[1], covenant_hash=covenant.hash, manifest=1)
        ended = threading.Event()

        def says() -> Iterator[AttachRequest]:
            yield AttachRequest(hello=hello)
            ended.wait()

        with self.calls(self.built.nodes[partner.oin].tls) as stub:
            try:
                yield stub.Attach(says())
            finally:
                ended.set()

    def filters(self) -> set[str]:
        """Filters in service, each by purpose and version."""
        folders = (self.folder(partner) / "data" / "filters" for partner in (POLITIE, RECLASSERING))
        return {path.name for folder in folders for path in folder.glob("*.tags")}

    def rows(self, partner: Partner | None, table: str) -> int:
        """Rows of a table of a party's database."""
        name = "data/broker.db" if partner is None else "data/node.db"
        with sqlite3.connect(f"file:{self.folder(partner) / name}?mode=ro", uri=True, timeout=10) as connection:
            return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


@contextmanager
def small_federation(
    folder: Path,
    settings: Settings | None = None,
    prepare: Callable[[Federation], None] = lambda _: None,
    clock: Clock | None = None,
) -> Iterator[Small]:
    """Broker, OM, police and reclassering as processes, enrolled, with their filters at hand.

    `prepare` changes what stands on disk before anything starts; `clock` says when the papers were made.
    """
    environment = {"PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])}
    with (
        patch.object(processes, "BEKEND", LAUNCHER),
        patch.dict(os.environ, environment),
        Federation.build(folder, persons=PERSONS, seed=3, settings=settings, clock=clock) as federation,
    ):
        small = Small(federation)
        prepare(federation)
        federation.start_broker()
        for partner in TRIO:
            federation._launch(partner.oin)
        federation.wait_until_attached()
        for work in federation.imports():
            if work.node.partner in (POLITIE, RECLASSERING):
                federation.enrol(work)
        small.open()
        yield small
