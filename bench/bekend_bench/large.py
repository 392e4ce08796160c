"""One register of up to ten million persons: `bekend node enrol` as it is, watched, stopped and gone on with.

    python -m bekend_bench.large --persons 10000000 --folder /var/tmp/large [--json]

The folder keeps the federation, the register and what was measured so far. Ctrl-C stops the import wherever it is; the
same command goes on. At the end: the rate, the most memory that each process held, and the most disk that it took.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final, Self

import typer
from bekend_deploy import building
from bekend_deploy.processes import Process, ProcessFailed
from bekend_proto.clock import SystemClock

from bekend_bench import floor, machine
from bekend_bench.figures import Figure
from bekend_bench.filling import REGISTER
from bekend_bench.floor import Floor
from bekend_bench.ground import SETTINGS, layout
from bekend_bench.prescribed import PER_ENROLLED, bulk_seconds, work_seconds
from bekend_bench.report import Report
from bekend_bench.watching import Watch, import_role

PART: Final = "large"
READY_SECONDS: Final = 60.0
LOOK_SECONDS: Final = 5.0


@dataclass
class State:
    """What is known of an import that may have been stopped: where its parts are, and what it took so far.

    Seconds; octets. `disk` is the most that the node's data took at one moment.
    """

    persons: int
    began: str
    broker: str
    port: int
    node: str
    register: str
    runs: int = 0
    seconds: float = 0.0
    processor: float = 0.0
    disk: int = 0
    peaks: dict[str, int] = field(default_factory=dict)
    done: bool = False

    @classmethod
    def at(cls, folder: Path, persons: int) -> Self:
        """That of a folder, or of a federation that is built there now. Raises ValueError for another number."""
        file = folder / "large.json"
        if not file.exists():
            return cls._built(folder, persons)
        state = cls(**json.loads(file.read_text(encoding="utf-8")))
        if state.persons != persons:
            raise ValueError(f"{folder} holds an import of {state.persons:,} persons: choose another folder")
        return state

    @classmethod
    def _built(cls, folder: Path, persons: int) -> Self:
        folder.mkdir(parents=True, exist_ok=True)
        now = SystemClock().now()
        lay = layout({persons: 1}, now, registers=True)
        built = building.build(folder, lay.members, lay.pairs, lay.population, SETTINGS, now=now)
        (source,) = lay.placed[persons]
        node = built.nodes[source.oin]
        names = (os.path.relpath(path, folder) for path in (built.broker_config, node.config, node.imports[REGISTER]))
        broker, config, register = names
        state = cls(persons, now.isoformat(timespec="seconds"), broker, built.broker_port, config, register)
        state.keep(folder)
        return state

    def keep(self, folder: Path) -> None:
        """Write it, so that the next run goes on from here."""
        (folder / "large.json").write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")

    def data(self, folder: Path) -> Path:
        """Where the node keeps what it imported."""
        return (folder / self.node).parent / "data"


def go_on(folder: Path, state: State) -> None:
    """Import until it is done or stopped. Raises ProcessFailed, KeyboardInterrupt; what was measured is kept."""
    with _broker(folder, state) as broker, Watch(import_role) as watch:
        before, ended, began = machine.cpu_seconds(broker.pid), machine.cpu_of_ended(), time.monotonic()
        words = ["node", "enrol", "--config", str(folder / state.node), "--register", REGISTER]
        words += ["--file", str(folder / state.register)]
        process = Process("enrol", words, folder / "enrol.log")
        try:
            _look_on(folder, state, process)
        finally:
            process.stop()
            state.runs += 1
            state.seconds += time.monotonic() - began
            state.processor += machine.cpu_seconds(broker.pid) - before + machine.cpu_of_ended() - ended
            watch.look()
            for who, octets in watch.peaks.items():
                state.peaks[who] = max(state.peaks.get(who, 0), octets)
            state.keep(folder)
    if process.exit_code != 0:
        raise ProcessFailed(f"the import ended with {process.exit_code}\n{process.tail()}")
    state.done = True
    state.keep(folder)


def figures(state: State, base: Floor, cores: int) -> Iterator[Figure]:
    """What a whole import took, over all its runs."""
    name = f"{state.persons:,} persons"
    least = bulk_seconds(PER_ENROLLED, base, cores) * state.persons
    rate = state.persons / state.seconds
    yield Figure(PART, f"{name}, node and broker together", rate, "persons/s", least / state.seconds)
    if state.runs == 1:
        # What workers used that were stopped half-way, nobody counted.
        each = state.processor / state.persons
        ratio = work_seconds(PER_ENROLLED, base) / each
        yield Figure(PART, f"{name}, processor time of both", each * 1e6, "us/person", ratio)
    yield Figure(PART, f"{name}, in so many runs", state.runs, "runs")
    yield Figure(PART, f"{name}, most disk of the node", state.disk / state.persons, "octets/person")
    for who, octets in sorted(state.peaks.items()):
        yield Figure(PART, f"{name}, peak memory of {who}", octets / 1e6, "MB")


@contextlib.contextmanager
def _broker(folder: Path, state: State) -> Iterator[Process]:
    words = ("broker", "serve", "--config", str(folder / state.broker))
    process = Process("broker", words, folder / "broker.log")
    try:
        process.ready(lambda: _listens(state.port), READY_SECONDS)
        yield process
    finally:
        process.stop()


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _look_on(folder: Path, state: State, process: Process) -> None:
    said = time.monotonic()
    while process.alive:
        time.sleep(0.2)
        if time.monotonic() - said >= LOOK_SECONDS:
            said = time.monotonic()
            used = octets_of(state.data(folder))
            state.disk = max(state.disk, used)
            sys.stderr.write(f"  {used / 1e6:,.0f} MB of staged persons and files\n")
    state.disk = max(state.disk, octets_of(state.data(folder)))


def octets_of(folder: Path) -> int:
    """What the files of a folder take; one that goes away meanwhile takes nothing."""
    total = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(OSError):
            total += path.stat().st_size if path.is_file() else 0
    return total


def report(state: State, base: Floor, facts: Mapping[str, str | int | float]) -> Report:
    """As a report that the sizing page reads."""
    cores = os.cpu_count() or 1
    began = datetime.fromisoformat(state.began)
    return Report(began, facts, False, base, list(figures(state, base, cores)), state.seconds)


def main(
    folder: Annotated[Path, typer.Option(help="Where the import is kept; the same one goes on.")],
    persons: Annotated[int, typer.Option(min=1, max=10**8, help="Persons in the register.")] = 10_000_000,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Enrol one large register; Ctrl-C stops, and the same command goes on. Ten million: three quarters of an hour."""
    try:
        state = State.at(folder, persons)
        if not state.done:
            go_on(folder, state)
    except (ProcessFailed, ValueError) as fault:
        sys.stderr.write(f"large: {fault}\n")
        raise typer.Exit(1) from None
    except KeyboardInterrupt:
        sys.stderr.write(f"stopped; the same command goes on: {folder}\n")
        raise typer.Exit(130) from None
    made = report(state, floor.measure(), machine.describe())
    sys.stdout.write(json.dumps(made.to_json(), indent=1) + "\n" if as_json else made.markdown())


if __name__ == "__main__":
    typer.run(main)
