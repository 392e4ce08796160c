"""Drills: a fault is made on purpose in a federation of real processes, while an officer goes on asking.

    fault made ---------- geen antwoord ---------- mended ---- geen antwoord ---- right again
                     what users see              |<-------- time to recover -------->|

One source breaks (the police), another does not (the reclassering), and one officer (OM) asks both, over and over,
about two persons: one whom both know and one whom nobody knows. A wrong outcome at any moment, of either, ends the
drill as failed: a fault may cost an answer and never make one. What mends itself is timed from the fault on.

To add a drill: in one of the `drills_*.py` a function of a `Field` that makes the fault, says `field.mended()` once
everything was done that people do, and puts everything back; name it in the list at the end of that module.
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import yaml
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, ZSM_CONTEXT
from bekend_deploy.processes import Process, ProcessFailed
from bekend_node.control_client import ControlClient
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError

from bekend_bench import machine
from bekend_bench.drill_table import Result, Table

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
