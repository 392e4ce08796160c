"""Drills: a fault is made on purpose in a federation of real processes, while an officer goes on asking.

    fault made ---------- geen antwoord ---------- mended ---- geen antwoord ---- right again
                     what users see              |<-------- time to recover -------->|

One source breaks (the police), another does not (the reclassering), and one officer (OM) asks both, over and over,
about two persons: one whom both know and one whom nobody knows. A wrong outcome at any moment, of either, ends the
drill as failed: a fault may cost an answer and never make one. What mends itself is timed from the fault on.

To add a drill: a function of a `Field` that makes the fault, says `field.mended()` once everything was done that people
do, and puts everything back; name it in `DRILLS`.
"""

import contextlib
import resource
import shutil
import signal
import sqlite3
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

import yaml
from bekend_deploy import restoring
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, ZSM_CONTEXT
from bekend_deploy.processes import Process, ProcessFailed
from bekend_node.control_client import ControlClient
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError

from bekend_bench import machine

HIT, MISS, FAULT = "bekend", "geen_uitsluitsel", "geen_antwoord"
TRUTH: Final = (HIT, MISS)
"""Of the two persons that are asked about."""
SOURCES: Final = (POLITIE.oin, RECLASSERING.oin)
RIGHT: Final = dict.fromkeys(SOURCES, HIT)
PERSONS: Final = 200
READY: Final = 300.0
"""Seconds within which everything has to be right again, at most."""
PAUSE: Final = 0.05
BROKEN: Final = 6.0
"""Seconds that a fault lasts which people have to end."""

Say = Callable[[str], None]


class DrillFailedError(Exception):
    """A wrong outcome, or no recovery."""


@dataclass(frozen=True)
class Seen:
    """Both lookups: when they ended, and what the officer saw of each source: every answer (HIT) or not (FAULT).

    No outcomes: the own node could not ask.
    """

    at: float
    outcomes: Mapping[str, str] | None


@dataclass(frozen=True)
class Result:
    """What a drill showed. `seconds` from when it was mended, or from the fault where it mends itself."""

    name: str
    fault: str
    mend: str
    sees: str
    seconds: float
    asked: int
    without: int
    """Lookups in which at least one source gave no answer."""


@dataclass
class Field:
    """The federation, and the officer who asks all the time."""

    federation: Federation
    folder: Path
    _seen: list[Seen] = field(default_factory=list)
    _began: float | None = None
    _mended: float | None = None
    _wrong: str = ""

    @property
    def persons(self) -> tuple[str, str]:
        """Known to both sources; known to nobody."""
        fixed = self.federation.population.fixed
        return fixed.everywhere, fixed.nowhere

    def ask(self) -> Mapping[str, str] | None:
        """Both persons, one after the other; what the officer saw of each source."""
        outcomes = dict.fromkeys(SOURCES, HIT)
        for person, truth in zip(self.persons, TRUTH, strict=True):
            try:
                told = self.federation.lookup(OM, ZSM_CONTEXT, [person], sources=SOURCES)
            except (BekendError, ProcessFailed, OSError):
                return None
            for oin in SOURCES:
                outcome = told.outcome(oin)
                if outcome == FAULT:
                    outcomes[oin] = FAULT
                elif outcome != truth:
                    self._wrong = f"an officer was told {outcome} where the truth is {truth}"
        return outcomes

    def begins(self) -> None:
        """What was done so far prepared the fault, and belongs to none. Waits until all is right."""
        began = time.monotonic()
        self.until(lambda seen: seen.outcomes == RIGHT, "it did not begin with right answers", began)
        self._began = time.monotonic()

    def mended(self) -> None:
        """Everything that people do was done: from here on the time runs."""
        self._mended = time.monotonic()

    def broken(self, seconds: float = BROKEN) -> None:
        """Leave it broken until the fault was seen, and for so long in all."""
        began = time.monotonic()
        self.until(lambda seen: seen.outcomes is None or FAULT in seen.outcomes.values(), "the fault was not seen")
        time.sleep(max(0.0, seconds - (time.monotonic() - began)))

    def until(self, right: Callable[[Seen], bool], what: str, since: float | None = None) -> Seen:
        """The first lookup from now on that is as wanted. Raises DrillFailedError when none is in time."""
        start = time.monotonic() if since is None else since
        while time.monotonic() - start < READY:
            for seen in list(self._seen):
                if seen.at >= start and right(seen):
                    return seen
            if self._wrong:
                raise DrillFailedError(self._wrong)
            time.sleep(PAUSE)
        raise DrillFailedError(f"after {READY:.0f} s: {what}")

    @contextlib.contextmanager
    def asking(self) -> Iterator[None]:
        """The officer asks, over and over, while this lasts."""
        self._seen.clear()
        ended = threading.Event()

        def ask() -> None:
            while not ended.is_set():
                outcomes = self.ask()
                self._seen.append(Seen(time.monotonic(), outcomes))
                ended.wait(PAUSE)

        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    def run(self, drill: "Drill") -> Result:
        """One drill, from right answers to right answers."""
        self._mended = None
        with self.asking():
            self.begins()
            drill.make(self)
            assert self._began is not None
            began = self._began
            since = began if self._mended is None else self._mended
            ended = self.until(lambda seen: seen.outcomes == RIGHT, "no right answers again", since)
        if self._wrong:
            raise DrillFailedError(f"{drill.name}: {self._wrong}")
        during = [seen for seen in self._seen if began <= seen.at <= ended.at]
        without = [seen for seen in during if seen.outcomes != RIGHT]
        return Result(
            drill.name, drill.fault, drill.mend, _sees(without), round(ended.at - since, 2), len(during), len(without)
        )

    # --- hands

    def process(self, oin: str | None = POLITIE.oin) -> Process:
        """A node's process; the broker's for None."""
        found = self.federation.broker if oin is None else self.federation.nodes[oin]
        assert found is not None
        return found

    def start(self, oin: str | None = POLITIE.oin) -> None:
        """Start what ended; returns when it serves."""
        if oin is None:
            self.federation.start_broker()
        else:
            self.federation.nodes.pop(oin, None)
            self.federation.start_node(oin)

    def config(self, oin: str | None = POLITIE.oin) -> Path:
        """A party's configuration."""
        return self.federation.built.broker_config if oin is None else self.federation.config_of(oin)


@dataclass(frozen=True)
class Drill:
    """`mend`: what people do; empty where it mends itself."""

    name: str
    fault: str
    mend: str
    make: Callable[[Field], None]


def _sees(without: Collection[Seen]) -> str:
    """In words, what the officer saw while it was not right."""
    if not without:
        return "nothing: every answer came"
    if any(seen.outcomes is None for seen in without):
        return "the own node cannot ask"
    who = {oin for seen in without for oin, told in (seen.outcomes or {}).items() if told == FAULT}
    if who == {POLITIE.oin}:
        return "`geen antwoord` of that partner; the others answer"
    return "`geen antwoord` of every partner"


# --- the drills


def kill_node(it: Field) -> None:
    """SIGKILL, and a supervisor that starts it again at once."""
    it.process().kill()
    it.start()


def kill_broker(it: Field) -> None:
    """The same for the broker: nodes dial again by themselves."""
    it.process(None).kill()
    it.start(None)


def still_broker(it: Field) -> None:
    """The broker stands still: connections stay open and nothing comes, as when a network is cut."""
    it.process(None).signal(signal.SIGSTOP)
    try:
        it.broken()
    finally:
        it.process(None).signal(signal.SIGCONT)
    it.mended()


def still_node(it: Field) -> None:
    """The same for a node."""
    it.process().signal(signal.SIGSTOP)
    try:
        it.broken()
    finally:
        it.process().signal(signal.SIGCONT)
    it.mended()


def _full(it: Field, oin: str | None) -> None:
    """No file of the process can grow: what the kernel answers as on a full disk, for each write."""
    pid = it.process(oin).pid
    soft, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, hard))
    try:
        it.broken()
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (soft, hard))
    it.mended()


def full_node(it: Field) -> None:
    """A node's disk is full, and gets room."""
    _full(it, POLITIE.oin)


def full_broker(it: Field) -> None:
    """The broker's disk is full, and gets room."""
    _full(it, None)


def expired_certificate(it: Field) -> None:
    """A node that starts with a certificate that ended; a new one is put in its place."""
    built, node = it.federation.built, it.federation.built.nodes[POLITIE.oin]
    paths = (node.tls.certificate, node.tls.key)
    kept = [path.read_bytes() for path in paths]
    it.process().kill()
    now = datetime.now().astimezone()
    over = built.authority.issue(
        "ended", POLITIE.name, POLITIE.oin, valid_from=now - timedelta(days=2), valid_until=now - timedelta(days=1)
    )
    for path, other in zip(paths, (over.certificate, over.key), strict=True):
        path.write_bytes(other.read_bytes())
    with contextlib.suppress(ProcessFailed):
        it.start()
        raise DrillFailedError("a node served with a certificate that ended")
    it.broken()
    for path, octets in zip(paths, kept, strict=True):
        path.write_bytes(octets)
    it.mended()
    it.start()


def missing_register(it: Field) -> None:
    """A register has no list: the node says which, and answers nothing; the list is imported."""
    it.process().kill()
    with contextlib.closing(sqlite3.connect(it.config().parent / "data" / "registers.db")) as registers:
        registers.execute("DELETE FROM generation")
        registers.commit()
    it.start()
    it.broken()
    it.mended()
    _import(it)


def restore_node(it: Field) -> None:
    """A node loses its data folder, and comes back from a backup: restore, signature, start, imports, two minutes."""
    backup = restoring.backup_node(it.federation, POLITIE.oin, it.folder)
    it.process().kill()
    shutil.rmtree(it.config().parent / "data")
    it.broken(0)
    it.mended()
    restoring.restore_node(it.federation, POLITIE.oin, backup, "node-restored")
    it.start()
    restoring.enrol_again(it.federation, POLITIE.oin, it.federation.population.fixed.nowhere)


def restore_broker(it: Field) -> None:
    """The broker loses its data folder, and comes back from a backup: restore, signature, start, two minutes."""
    backup = restoring.backup_broker(it.federation, it.folder)
    it.process(None).kill()
    shutil.rmtree(it.config(None).parent / "data")
    it.broken(0)
    it.mended()
    restoring.restore_broker(it.federation, backup, "restored")
    it.start(None)


def _import(it: Field) -> None:
    for work in it.federation.imports():
        if work.node.partner.oin == POLITIE.oin:
            it.federation.enrol(work)


DRILLS: Final = (
    Drill("node-killed", "a node is killed", "a supervisor starts it", kill_node),
    Drill("broker-killed", "the broker is killed", "a supervisor starts it", kill_broker),
    Drill("node-still", "a node stands still, as a machine that hangs", "it goes on", still_node),
    Drill("network-cut", "the broker stands still, as when the network is cut", "it goes on", still_broker),
    Drill("node-disk", "the disk of a node is full", "room is made", full_node),
    Drill("broker-disk", "the disk of the broker is full", "room is made", full_broker),
    Drill("certificate", "a node's certificate has expired", "a new one, and a start", expired_certificate),
    Drill("register", "a register is missing", "the list is imported", missing_register),
)
RESTORES: Final = (
    Drill("restore-node", "a node's data is lost", "restore, signature, start, imports", restore_node),
    Drill("restore-broker", "the broker's data is lost", "restore, signature, start", restore_broker),
)
"""In a federation of their own: a register takes two full imports a month, and a drill before has used one."""


@dataclass(frozen=True)
class Table:
    """The results of one run, with machine and moment."""

    began: datetime
    machine: Mapping[str, str | int | float]
    results: tuple[Result, ...]
    failed: tuple[str, ...] = ()
    """Drills that ended with a wrong outcome or no recovery, each with the reason; what came after it was not tried."""

    def to_json(self) -> dict[str, Any]:
        """Everything."""
        return {
            "began": self.began.isoformat(timespec="seconds"),
            "machine": dict(self.machine),
            "drills": [asdict(one) for one in self.results],
            "failed": list(self.failed),
        }

    def markdown(self) -> str:
        """The table, and where it was measured."""
        facts = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        rows = [
            f"| {one.fault} | {one.sees} | {one.mend} | {one.seconds:.1f} s | {one.without} of {one.asked} |"
            for one in self.results
        ]
        head = "| fault | an officer sees meanwhile | mended by | right again after | lookups without all answers |"
        failed = [f"\n**Failed:** {one}" for one in self.failed]
        began = f"Measured {self.began:%Y-%m-%d %H:%M} UTC: {facts}."
        return "\n".join((began, "", head, "|---|---|---|---|---|", *rows, *failed, ""))


Stage = tuple[Sequence[Drill], Callable[[Clock], contextlib.AbstractContextManager[Field]]]
"""Drills, and the federation that they need."""


def run(names: Collection[str], clock: Clock, say: Say, stages: Sequence[Stage]) -> Table:
    """Run these drills, one after the other, each stage in one federation; the first that fails ends its stage.

    Raises DrillFailedError, ProcessFailed when a federation does not come up.
    """
    began = clock.now()
    results, failed = [], []
    for drills, made in stages:
        wanted = [drill for drill in drills if drill.name in names]
        if not wanted:
            continue
        with made(clock) as it:
            for drill in wanted:
                say(drill.fault)
                try:
                    results.append(it.run(drill))
                except (DrillFailedError, ProcessFailed) as fault:
                    say(f"  failed: {fault}")
                    failed.append(f"{drill.fault}: {str(fault).splitlines()[0]}")
                    break
                say(f"  right again after {results[-1].seconds:.1f} s")
    return Table(began, machine.describe(), tuple(results), tuple(failed))


@contextlib.contextmanager
def field_of(clock: Clock) -> Iterator[Field]:
    """Broker, OM, police and reclassering as processes, enrolled, with their filters at hand; gone on leaving."""
    # Filters switch every minute here, so that a drill need not wait for a quarter of an hour.
    settings = Settings(per_officer=10_000_000, per_organisation=10_000_000, filter_interval="PT1M")
    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        folder = Path(name)
        (folder / "federation").mkdir()
        built = Federation.build(
            folder / "federation", partners=7, persons=PERSONS, seed=7, settings=settings, clock=clock
        )
        given = yaml.safe_load(built.built.broker_config.read_text(encoding="utf-8"))
        given["tls"]["crl"] = str(built.built.authority.write_revoked(clock.now(), clock.now() + timedelta(days=7)))
        built.built.broker_config.write_text(yaml.safe_dump(given), encoding="utf-8")
        with built as federation:
            federation.start_broker()
            for one in (OM, POLITIE, RECLASSERING):
                federation.start_node(one.oin)
            for work in federation.imports():
                if work.node.partner.oin in SOURCES:
                    federation.enrol(work)
            await_filters(federation)
            yield Field(federation, folder / "backups")


def await_filters(federation: Federation) -> None:
    """Wait until the officer has both filters at hand."""
    request = {"op": "open", "purpose": ZSM_CONTEXT, "sources": list(SOURCES)}

    def ready() -> bool:
        with contextlib.suppress(BekendError), ControlClient(federation.built.nodes[OM.oin].socket) as client:
            filters = client.call(request).get("filters", {})
            return bool(filters) and all(state == "ok" for state in filters.values())
        return False

    federation.nodes[OM.oin].ready(ready, READY)
