"""Questions per second against one broker with a file, and against replicas on PostgreSQL; where that ends, and why.

Officers of several organisations ask all sources at once, each organisation over another replica first. Everything is
on this machine, so what is full first is the machine. What a broker with a core of its own carries follows from its
processor time per question, and the server's statistics say how much of the time goes into waiting for the disk.
"""

import contextlib
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from bekend_deploy import building
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, Partner, demo_oin
from bekend_deploy.postgres_server import PostgresServer, binaries
from bekend_deploy.questions import Truth
from bekend_deploy.replicas import configure
from bekend_proto.clock import Clock

from bekend_bench import crowd
from bekend_bench.figures import Figure
from bekend_bench.ground import FEW, SETTINGS, Ground, layout, populate
from bekend_bench.lookups import Officer, Say, press

PART = "broker"
_NAMES = ("a", "b", "c", "d")
_FURTHER = tuple(
    Partner(demo_oin(900 + n), f"OM {n} (demo)", "om", f"om-{n}", ("zaken",)) for n in range(1, len(_NAMES))
)
REQUESTERS = (OM, *_FURTHER)


@dataclass(frozen=True)
class Load:
    """How hard, for how long, and against which numbers of replicas on PostgreSQL; 0 is the broker with a file."""

    replicas: Sequence[int] = (0, 1, 2, 4)
    sources: int = 6
    officers: int = 8
    """Of each requester."""
    seconds: float = 8.0
    settle: float = 32.0
    """Until a node takes every replica for one that stands: before that it may prefer the first one that did."""


@dataclass
class _Stage:
    """A federation that serves, and the processes of each kind."""

    ground: Ground
    brokers: Collection[int]
    server: PostgresServer | None = None

    @property
    def database(self) -> Collection[int]:
        """Processes of the server, but for those that come and go."""
        if self.server is None:
            return ()
        lines = {pid: Path(f"/proc/{pid}/cmdline").read_bytes() for pid in self.server.processes()}
        return [pid for pid, line in lines.items() if b"autovacuum worker" not in line]


def measure(load: Load, clock: Clock, cores: int, say: Say) -> Iterator[Figure]:
    """One setting after another, each with a federation of its own."""
    found = binaries()
    for count in load.replicas:
        what = f"{count} replica{'s' if count > 1 else ''}, PostgreSQL" if count else "1 broker, SQLite"
        if count and found is None:
            say(f"  {what}: skipped, this machine has no PostgreSQL server")
            continue
        say(f"  {what}")
        with contextlib.ExitStack() as opened:
            server = None
            if count:
                assert found is not None
                server = opened.enter_context(PostgresServer.running(found, track_wal_io_timing="on"))
            stage = opened.enter_context(_stage(load, clock, server, _NAMES[:count]))
            yield from _figures(stage, load, what, cores)


@contextlib.contextmanager
def _stage(load: Load, clock: Clock, server: PostgresServer | None, names: Sequence[str]) -> Iterator[_Stage]:
    lay = layout({FEW: load.sources}, clock.now(), registers=False, further=_FURTHER)
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        built = building.build(Path(name), lay.members, lay.pairs, lay.population, SETTINGS, now=clock.now())
        with (
            Federation(built, Truth(lay.members, lay.pairs, lay.population)) as federation,
            contextlib.ExitStack() as end,
        ):
            it = Ground(federation, lay.placed)
            populate(it, clock, enrol=False)
            if server is None:
                federation.start_broker()
                assert federation.broker is not None
                brokers = [federation.broker.pid]
            else:
                replicas = configure(built, server, names)
                for place, requester in enumerate(REQUESTERS):
                    _prefer(built.nodes[requester.oin].config, place)
                for one in replicas:
                    one.start()
                    end.callback(one.running.stop)
                brokers = [one.running.pid for one in replicas]
            end.callback(crowd.stop, it)
            crowd.host(it, it.sources, 1)
            crowd.host(it, REQUESTERS, 1)
            for requester in REQUESTERS:
                it.await_filters([one.oin for one in it.sources], requester)
            if len(names) > 1:
                time.sleep(load.settle)
            yield _Stage(it, brokers, server)


def _figures(stage: _Stage, load: Load, what: str, cores: int) -> Iterator[Figure]:
    it = stage.ground
    # So that every connection to the database is there.
    press([partial(Officer, it.federation, one) for one in REQUESTERS], it.sources, load.seconds / 4, {})
    parties = {
        "the broker": stage.brokers,
        "the database": stage.database,
        "the requesters": it.pids(REQUESTERS),
        "the sources": it.pids(it.sources),
    }
    officers = [partial(Officer, it.federation, one) for one in REQUESTERS for _ in range(load.officers)]
    before = _disk(stage)
    lookups, passed, used = press(officers, it.sources, load.seconds, parties)
    after = _disk(stage)
    questions = lookups * len(it.sources)
    yield Figure(PART, f"{what}, questions", questions / passed, "questions/s")
    for who, spent in used.items():
        if parties[who]:
            yield Figure(PART, f"{what}, processor time of {who}", spent / questions * 1e3, "ms/question")
    yield Figure(PART, f"{what}, a broker with a core of its own", questions / used["the broker"], "questions/s")
    yield Figure(PART, f"{what}, cores at work for them", sum(used.values()) / passed / cores * 100, "%")
    if stage.server is not None:
        yield Figure(PART, f"{what}, commits", (after.commits - before.commits) / questions, "per question")
        yield Figure(
            PART, f"{what}, waiting for the disk", (after.waited - before.waited) / passed * 100, "% of the time"
        )


@dataclass(frozen=True)
class _Disk:
    commits: int = 0
    waited: float = 0.0
    """Seconds in fsync of the write-ahead log."""


def _disk(stage: _Stage) -> _Disk:
    if stage.server is None:
        return _Disk()
    with stage.server.admin() as connection:
        commits = connection.execute("SELECT sum(xact_commit) FROM pg_stat_database").fetchone()
        waited = connection.execute("SELECT wal_sync_time FROM pg_stat_wal").fetchone()
    assert commits is not None
    assert waited is not None
    return _Disk(int(str(commits[0])), float(str(waited[0])) / 1e3)


def _prefer(config: Path, place: int) -> None:
    """Let a node name another replica first: of those that stand alike it takes the first."""
    tree: dict[str, Any] = yaml.safe_load(config.read_text(encoding="utf-8"))
    brokers = tree["brokers"]
    tree["brokers"] = [*brokers[place % len(brokers) :], *brokers[: place % len(brokers)]]
    config.write_text(yaml.safe_dump(tree), encoding="utf-8")
