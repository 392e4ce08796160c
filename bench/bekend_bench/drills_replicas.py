"""Drills with two replicas of the broker on one PostgreSQL database: one of them, or the database, is lost.

An officer asks over whichever replica answers. Nobody mends anything when a replica is gone: the time runs from the
fault. A database has to be started again by somebody: the time runs from when it takes connections.
"""

import contextlib
import signal
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, POLITIE, RECLASSERING
from bekend_deploy.postgres_server import PostgresServer, binaries
from bekend_deploy.replicas import Replica, configure
from bekend_proto.clock import Clock

from bekend_bench.drills import PERSONS, SOURCES, Drill, DrillFailedError, Field, await_filters

__all__ = ["REPLICATED", "binaries", "replicated_field_of"]

HANGS: Final = 10.0
"""Seconds that a replica hangs: longer than a lookup waits for it."""


@dataclass
class Replicated(Field):
    """A federation with replicas, and the server that holds their database."""

    replicas: list[Replica] = field(default_factory=list)
    server: PostgresServer | None = None

    @property
    def database(self) -> PostgresServer:
        """The server."""
        assert self.server is not None
        return self.server

    def busy(self) -> Replica:
        """The replica over which the officer asks now."""
        served = {one.name: one.metric("bekend_broker_lookup_seconds_count") for one in self.replicas}
        time.sleep(1)
        return max(self.replicas, key=lambda one: one.metric("bekend_broker_lookup_seconds_count") - served[one.name])


def _of(it: Field) -> Replicated:
    assert isinstance(it, Replicated)
    return it


def kill_replica(it: Field) -> None:
    """SIGKILL of the replica over which the officer asks; afterwards it is put back."""
    made = _of(it)
    lost = made.busy()
    lost.running.kill()
    made.mended()
    made.until(lambda _: True, "nothing was asked any more")
    lost.start()
    made.federation.wait_until_attached()


def still_replica(it: Field) -> None:
    """It stands still instead: lines stay open and nothing comes."""
    made = _of(it)
    lost = made.busy()
    lost.running.signal(signal.SIGSTOP)
    try:
        made.mended()
        time.sleep(HANGS)
    finally:
        lost.running.signal(signal.SIGCONT)
    made.federation.wait_until_attached()


def kill_database(it: Field) -> None:
    """SIGKILL of every process of the database, and a start."""
    made = _of(it)
    made.database.kill()
    made.broken()
    made.database.start()
    made.mended()


REPLICATED: Final = (
    Drill("replica-killed", "one of two replicas of the broker is killed", "nobody", kill_replica),
    Drill("replica-still", "one of two replicas of the broker hangs", "nobody", still_replica),
    Drill("database-killed", "the database of the replicas is killed", "it is started again", kill_database),
)


@contextlib.contextmanager
def replicated_field_of(clock: Clock) -> Iterator[Field]:
    """Two replicas on a database of their own, OM, police and reclassering; gone on leaving.

    Raises DrillFailedError where PostgreSQL is not installed.
    """
    found = binaries()
    if found is None:
        raise DrillFailedError("PostgreSQL is not installed: apt-get install postgresql")
    settings = Settings(per_officer=10_000_000, per_organisation=10_000_000)
    with tempfile.TemporaryDirectory(prefix="bekend-") as name, PostgresServer.running(found) as server:
        folder = Path(name)
        (folder / "federation").mkdir()
        built = Federation.build(
            folder / "federation", partners=7, persons=PERSONS, seed=7, settings=settings, clock=clock
        )
        with built as federation:
            replicas = configure(federation.built, server)
            try:
                for one in replicas:
                    one.start()
                for partner in (OM, POLITIE, RECLASSERING):
                    federation.start_node(partner.oin)
                for work in federation.imports():
                    if work.node.partner.oin in SOURCES:
                        federation.enrol(work)
                await_filters(federation)
                yield Replicated(federation, folder / "backups", replicas=replicas, server=server)
            finally:
                for one in replicas:
                    if one.process is not None:
                        one.process.stop()
