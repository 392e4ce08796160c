"""The same job done by others, in the same run: one identifier, six partners, so many persons at each.

    python -m bekend_bench.peers [--persons 20000] [--json]

Beside bekend: `openmined-psi` from PyPI (private set intersection), in an environment of its own, and a plain table of
HMACs over gRPC as the unsafe lower bound. A package that does not install is left out, with the reason.
What each party learns stands in docs/peers.md: a figure says nothing about that.
"""

import asyncio
import contextlib
import json
import secrets
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_deploy.pki import Authority
from bekend_proto.clock import SystemClock

from bekend_bench import machine, peer_plain
from bekend_bench.figures import Figure, median, number
from bekend_bench.ground import GROUP, REQUESTER, Ground, ground
from bekend_bench.lookups import Officer
from bekend_bench.report import table

PART: Final = "peers"
PERSONS: Final = 20_000
PACKAGE: Final = "openmined-psi==2.0.6"
QUESTIONS: Final = 60
_INSTALL_SECONDS: Final = 300


@dataclass(frozen=True)
class Cost:
    """What one way costs. Seconds, octets; `change` is one person more at one partner, None where it was not measured.

    `holds` is what a requester must have received from all partners before it can ask.
    """

    way: str
    set_up: float
    change: float
    holds: int
    question: float
    travels: int
    counted: str


def bekend(persons: int) -> Cost:
    """The shipped commands and processes: enrolment, a change, a lookup as an officer makes it."""
    with ground({persons: GROUP}, SystemClock(), registers=True) as field:
        first, *others = field.sources
        set_up = field.federation.enrol(field.import_of(first)).seconds
        for one in others:
            field.federation.enrol(field.import_of(one))
        change = _changed(field)
        field.start([REQUESTER, *field.sources])
        held = sum(
            path.stat().st_size
            for one in field.sources
            for path in field.federation.built.nodes[one.oin].folder.glob("data/filters/*.tags")
        )
        officer = Officer(field.federation)
        for _ in range(5):
            officer.ask(field.sources)
        before = machine.loopback()
        times = [officer.ask(field.sources) for _ in range(QUESTIONS)]
        travelled = (machine.loopback() - before) // QUESTIONS
        officer.close()
    return Cost("bekend", set_up, change, held, median(times), travelled, "on the wire, TLS and TCP included")


def _changed(field: Ground) -> float:
    """One person more at one partner: the daily command, padded as the protocol says, until its generation is in."""
    work = field.import_of(field.sources[0])
    rows = work.path.read_text(encoding="utf-8").splitlines()
    changes = work.path.with_name("change.csv")
    column = "mutatie"
    fields = rows[1].split(";")
    fields[0] = str(10**11 + 10**9)
    changes.write_text(f"{rows[0]};{column}\n{';'.join(fields)};+\n", encoding="utf-8")
    return field.federation.enrol(type(work)(work.node, work.register, changes), "--changes").seconds


def plain(persons: int) -> Cost:
    """HMAC, SQLite, gRPC: nothing is hidden from anybody who is asked."""
    with tempfile.TemporaryDirectory(prefix="bekend-plain-") as name, contextlib.ExitStack() as stack:
        folder, key = Path(name), secrets.token_bytes(32)
        tls = _tls(folder)
        began = time.perf_counter()
        peer_plain.fill(folder / "0.db", key, (f"test:{10**11 + one}" for one in range(persons)))
        set_up = time.perf_counter() - began
        for partner in range(1, GROUP):
            (folder / f"{partner}.db").write_bytes((folder / "0.db").read_bytes())
        began = time.perf_counter()
        peer_plain.add(folder / "0.db", key, "test:999")
        change = time.perf_counter() - began
        ports = [stack.enter_context(_served(tls, folder / f"{partner}.db")) for partner in range(GROUP)]
        question, travelled = asyncio.run(_ask_plain(tls, ports, key))
    return Cost("HMAC and SQLite", set_up, change, 32, question, travelled, "on the wire, TLS and TCP included")


async def _ask_plain(tls: Path, ports: list[int], key: bytes) -> tuple[float, int]:
    requester = peer_plain.Requester(tls, ports)
    times = []
    for _ in range(5):
        await requester.ask(peer_plain.tag(key, "test:1"))
    before = machine.loopback()
    for asked in range(QUESTIONS):
        hit = asked % 2 == 0
        value = f"test:{10**11 + asked}" if hit else f"test:{9 * 10**11 + asked}"
        began = time.perf_counter()
        found = await requester.ask(peer_plain.tag(key, value))
        times.append(time.perf_counter() - began)
        if found != [hit] * GROUP:
            raise RuntimeError("a wrong answer: what was measured would be no figure")
    travelled = (machine.loopback() - before) // QUESTIONS
    await requester.close()
    return median(times), travelled


@contextlib.contextmanager
def _served(tls: Path, database: Path) -> Iterator[int]:
    words = [sys.executable, "-m", "bekend_bench.peer_plain", str(tls), str(database)]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603 - words of our own
        try:
            assert process.stdout is not None
            yield int(process.stdout.readline())
        finally:
            process.terminate()


def _tls(folder: Path) -> Path:
    files = Authority(folder / "pki", datetime.now(UTC)).issue("plain", "localhost", "00000099000000000001")
    for name, path in (("key", files.key), ("certificate", files.certificate), ("authorities", files.authorities)):
        (folder / f"{name}.pem").write_bytes(path.read_bytes())
    return folder


def psi(persons: int) -> Cost | str:
    """`openmined-psi`, or why it is left out."""
    with tempfile.TemporaryDirectory(prefix="bekend-psi-") as name:
        venv.create(name, with_pip=True)
        python = str(Path(name) / "bin" / "python")
        try:
            _run(python, "-m", "pip", "install", "-q", "--only-binary=:all:", PACKAGE)
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as fault:
            return f"{PACKAGE} did not install: {_last_line(fault)}"
        worker = Path(__file__).with_name("peer_psi.py")
        found: dict[str, Any] = json.loads(_run(python, str(worker), str(persons), str(QUESTIONS)))
    # The key may stay, but a set with one person more is compressed, sent and read anew; six partners are six of all.
    return Cost(
        "openmined-psi",
        found["set_up"],
        found["set_up"],
        GROUP * found["set_up_octets"],
        GROUP * found["question"],
        GROUP * found["question_octets"],
        "messages only, no network",
    )


def _run(*words: str) -> str:
    done = subprocess.run(  # noqa: S603 - words of our own
        words, capture_output=True, text=True, timeout=_INSTALL_SECONDS, check=True
    )
    return done.stdout


def _last_line(fault: subprocess.SubprocessError) -> str:
    said = str(getattr(fault, "stderr", "") or fault).strip().splitlines()
    return said[-1] if said else type(fault).__name__


def markdown(costs: list[Cost], left_out: str | None, persons: int) -> str:
    """The table, best first in no column: each way is good at something."""
    ours = costs[0]
    rows = [
        (
            one.way,
            f"{number(one.set_up)} s",
            f"{number(one.change)} s",
            f"{one.holds:,} octets",
            f"{number(one.question * 1e3)} ms",
            f"{ours.question / one.question:.2f}",
            f"{one.travels:,} octets",
            one.counted,
        )
        for one in costs
    ]
    head = (
        "way",
        f"set-up, one partner of {persons:,}",
        "one person more",
        "requester holds, 6 partners",
        "a question, p50",
        "bekend takes as long, times",
        "travels per question",
        "counted",
    )
    facts = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
    lines = [f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC: {facts}.", "", *table(head, rows)]
    return "\n".join([*lines, *(["", f"Left out: {left_out}"] if left_out else []), ""])


def measure(say: Callable[[str], None], persons: int = PERSONS) -> Iterator[Figure]:
    """All ways as figures of a report: what a peer does, under the same words."""
    costs, left_out = measure_all(persons)
    if left_out:
        say(f"  left out: {left_out}")
    for one in costs:
        yield Figure(PART, f"{one.way}: set up, persons a second", persons / one.set_up, "persons/s")
        yield Figure(PART, f"{one.way}: one person more", one.change, "s")
        yield Figure(PART, f"{one.way}: a question", one.question * 1e3, "ms")
        yield Figure(PART, f"{one.way}: travels per question", one.travels, "octets")
        yield Figure(PART, f"{one.way}: requester holds, {GROUP} partners of {persons:,}", one.holds, "octets")


def measure_all(persons: int) -> tuple[list[Cost], str | None]:
    """Every way, bekend first, and why one is left out."""
    costs = [bekend(persons), plain(persons)]
    found = psi(persons)
    return ([*costs, found], None) if isinstance(found, Cost) else (costs, found)


def main(
    persons: Annotated[int, typer.Option(help="Persons at each of the six partners.")] = PERSONS,
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Measure bekend beside its peers."""
    costs, left_out = measure_all(persons)
    if as_json:
        sys.stdout.write(json.dumps({"costs": [asdict(one) for one in costs], "left_out": left_out}) + "\n")
    else:
        sys.stdout.write(markdown(costs, left_out, persons))


if __name__ == "__main__":
    typer.run(main)
