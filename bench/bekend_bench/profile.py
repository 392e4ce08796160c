"""Where the work of a lookup goes: `python -m bekend_bench.profile [--partners 6] [--stacks FOLDER]`.

Counted are instructions, by library, that the asking node, the broker and one source carry out for one lookup, under
valgrind's callgrind. Unlike times they hardly depend on what else the machine does, so that two versions can be
compared. Each party is counted for a minute of lookups, and for a minute without: what it does by the second and by the
minute is taken off. What the system's kernel does is not counted.

With `--stacks` py-spy also samples the same processes, without valgrind, while officers ask one after another; its
folded stacks go into that folder, and the share of each function, with what it calls, of the event loop's thread is
told.

Code 1 when something asked for is not installed, or a partner did not answer.
"""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from bekend_deploy.partners import Partner
from bekend_deploy.processes import BEKEND, Process
from bekend_proto.clock import SystemClock

from bekend_bench import machine
from bekend_bench.ground import FEW, GROUP, REQUESTER, Ground, ground, populate
from bekend_bench.lookups import SOURCE, Officer

ASKER, BROKER = "the requester", "the broker"
PARTIES = (ASKER, BROKER, SOURCE)
START_SECONDS = 600.0
"""How long a process may take to serve under valgrind."""
WARM = 3
COUNTED_SECONDS = 60.0
"""What a party does by itself, it does by the minute or oftener."""
SAMPLES_A_SECOND = 400
_SAMPLED_SECONDS = 15
RARE = 1000
"""Stacks of fewer samples than one in so many are not kept."""

_OURS = "(bekend_"
_LIBRARIES = {
    "libsodium": "libsodium, ristretto255",
    "_sodium": "libsodium in PyNaCl",
    "_rust": "cryptography (ML-KEM)",
    "libcrypto": "OpenSSL",
    "_message": "protobuf",
    "cygrpc": "gRPC",
    "libsqlite3": "SQLite",
    "libpython": "Python",
    "python3": "Python",
    "libc": "libc",
}
"""What the files of libraries are called in the table, by how their names begin."""


@dataclass(frozen=True)
class Counted:
    """Instructions of one party: for one lookup by library, and per second without any."""

    party: str
    lookup: Mapping[str, int]
    idle: int

    @property
    def total(self) -> int:
        """Instructions for one lookup."""
        return sum(self.lookup.values())


def count(partners: int) -> list[Counted]:
    """Instructions of each party of a lookup at so many partners."""
    return [_count_one(party, partners) for party in PARTIES]


def _count_one(party: str, partners: int) -> Counted:
    # One party at a time: under valgrind it takes fifty times as long, and the others must not wait for each other.
    with _field(partners) as field:
        sources = field.sources
        pid = _under_valgrind(field, party, sources)
        officer = Officer(field.federation)
        for _ in range(WARM):
            officer.ask(sources)
        out = field.federation.built.folder / "callgrind.out"
        _control(pid, "--instr=on")
        began, lookups = time.perf_counter(), 0
        while (passed := time.perf_counter() - began) < COUNTED_SECONDS:
            officer.ask(sources)
            lookups += 1
        asked = _dumped(pid, out, 1)
        time.sleep(passed)
        idle = _dumped(pid, out, 2)
        _control(pid, "--instr=off")
        officer.close()
    found = {name: max(0, asked[name] - idle[name]) // lookups for name in asked}
    return Counted(party, dict(sorted(found.items(), key=lambda one: -one[1])), round(idle.total() / passed))


@contextmanager
def _field(partners: int) -> Iterator[Ground]:
    clock = SystemClock()
    with ground({FEW: partners}, clock, registers=False) as field:
        populate(field, clock, enrol=False)
        field.start([REQUESTER, *field.sources])
        yield field


def _under_valgrind(field: Ground, party: str, sources: Sequence[Partner]) -> int:
    """Start this party's process again under valgrind, which counts nothing yet; its number."""
    federation = field.federation
    out = federation.built.folder / "callgrind.out"
    command = (
        "valgrind", "--tool=callgrind", "--instr-atstart=no", "--dump-line=no", f"--callgrind-out-file={out}", *BEKEND,
    )  # fmt: skip
    if party == BROKER:
        assert federation.broker is not None
        federation.broker.stop()
        words = ("broker", "serve", "--config", str(federation.built.broker_config))
        process = federation.broker = Process("broker", words, federation.built.folder / "profile.log", command=command)
    else:
        oin = REQUESTER.oin if party == ASKER else sources[0].oin
        federation.stop_node(oin)
        words = ("node", "serve", "--config", str(federation.built.nodes[oin].config))
        process = federation.nodes[oin] = Process(
            party, words, federation.built.folder / "profile.log", command=command
        )
    process.ready(lambda: _answers(field, sources), START_SECONDS)
    return process.pid


def _answers(field: Ground, sources: Sequence[Partner]) -> bool:
    """Whether a lookup gets its answers: the surest sign that every line stands again."""
    try:
        officer = Officer(field.federation)
        officer.ask(sources)
        officer.close()
    except Exception:
        time.sleep(0.5)
        return False
    return True


def _control(pid: int, *words: str) -> None:
    subprocess.run(["callgrind_control", *words, str(pid)], check=True, capture_output=True)  # noqa: S603, S607 - ours


def _dumped(pid: int, out: Path, number: int) -> Counter[str]:
    """Instructions since the last dump, by library."""
    _control(pid, "--dump")
    file = out.with_name(f"{out.name}.{number}")
    deadline = time.monotonic() + START_SECONDS
    while not (file.exists() and "totals:" in file.read_text(encoding="utf-8")):
        if time.monotonic() > deadline:
            raise TimeoutError("valgrind wrote no dump")
        time.sleep(0.1)
    return by_library(file.read_text(encoding="utf-8"))


def by_library(dump: str) -> Counter[str]:
    """Own instructions of each library in a dump of callgrind; its file format names a library once, then by number."""
    found: Counter[str] = Counter()
    names: dict[str, str] = {}
    library, skip = "", False
    for line in dump.splitlines():
        if line.startswith(("ob=", "cob=")):
            number, _, name = line.partition("=")[2].partition(" ")
            if name:
                names[number] = _library(name)
            library = names[number] if line.startswith("ob=") else library
        elif line.startswith("calls="):
            skip = True  # the next line tells what the called function cost, which counts there
        elif line and line[0] in "0123456789+-*":
            if not skip:
                found[library] += int(line.split()[1])
            skip = False
    return found


def _library(path: str) -> str:
    name = Path(path).name
    return next((told for start, told in _LIBRARIES.items() if name.startswith(start)), "other")


def sample(partners: int, folder: Path) -> dict[str, dict[str, float]]:
    """Folded stacks of each party into `folder`; the share of each function of ours, with what it calls."""
    folder.mkdir(parents=True, exist_ok=True)
    with _field(partners) as field:
        federation = field.federation
        assert federation.broker is not None
        pids = {
            ASKER: federation.nodes[REQUESTER.oin].pid,
            BROKER: federation.broker.pid,
            SOURCE: federation.nodes[field.sources[0].oin].pid,
        }
        officer = Officer(federation)
        for _ in range(WARM):
            officer.ask(field.sources)
        files = {party: folder / f"{party.split()[-1]}.folded" for party in pids}
        sampling = [
            subprocess.Popen(  # noqa: S603 - a fixed command
                ["py-spy", "record", "--pid", str(pid), "--duration", str(_SAMPLED_SECONDS), "--nonblocking",  # noqa: S607
                 "--rate", str(SAMPLES_A_SECOND), "--format", "raw", "--output", str(files[party])],
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
            for party, pid in pids.items()
        ]  # fmt: skip
        while any(one.poll() is None for one in sampling):
            officer.ask(field.sources)
        officer.close()
    shares = {}
    for party, file in files.items():
        stacks = folded(file.read_text(encoding="utf-8"))
        least = stacks.total() / RARE
        kept = [f"{stack} {times}\n" for stack, times in stacks.most_common() if times >= least]
        file.write_text("".join(kept), encoding="utf-8")
        shares[party] = shares_of(stacks)
    return shares


def folded(raw: str) -> Counter[str]:
    """Stacks of the event loop's thread at work: the functions of this project, and the innermost, without lines."""
    found: Counter[str] = Counter()
    for line in raw.splitlines():
        stack, _, times = line.rpartition(" ")
        frames = [re.sub(r":\d+\)$", ")", frame) for frame in stack.split(";")]
        if not any("_run_once" in frame for frame in frames) or "select (selectors" in frames[-1]:
            continue
        inside = next(at for at, frame in enumerate(frames) if "_run_once" in frame)
        ours = [frame for frame in frames[inside:-1] if _OURS in frame]
        found[";".join([*ours, frames[-1]])] += int(times)
    return found


def shares_of(stacks: Mapping[str, int], most: int = 40) -> dict[str, float]:
    """The functions of this project that take most, with all that they call, as a share of all samples."""
    total = sum(stacks.values()) or 1
    found: Counter[str] = Counter()
    for stack, times in stacks.items():
        for frame in {one for one in stack.split(";") if _OURS in one}:
            found[frame] += times
    return {frame: round(times / total, 3) for frame, times in found.most_common(most)}


def _missing(*commands: str) -> str | None:
    return next((one for one in commands if shutil.which(one) is None), None)


def _table(found: Sequence[Counted]) -> str:
    names = list(dict.fromkeys(name for one in found for name in one.lookup))
    rows = [[name, *(f"{one.lookup.get(name, 0) / 1e6:.2f}" for one in found)] for name in names]
    rows.append(["all", *(f"{one.total / 1e6:.2f}" for one in found)])
    rows.append(["per second, without lookups", *(f"{one.idle / 1e6:.2f}" for one in found)])
    head = ["millions of instructions for one lookup", *(one.party for one in found)]
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(words: Sequence[str]) -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m bekend_bench.profile")
    parser.add_argument("--partners", type=int, default=GROUP)
    parser.add_argument("--stacks", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(words)
    needed = ("valgrind", "callgrind_control", *(("py-spy",) if options.stacks else ()))
    if (missing := _missing(*needed)) is not None:
        sys.stderr.write(f"{missing} is not installed\n")
        return 1
    found = count(options.partners)
    shares = sample(options.partners, options.stacks) if options.stacks else {}
    if options.json:
        counted = [{**asdict(one), "total": one.total} for one in found]
        report = {"machine": machine.describe(), "partners": options.partners, "counted": counted, "shares": shares}
        sys.stdout.write(json.dumps(report, indent=2) + "\n")
        return 0
    told = ", ".join(f"{name} {value}" for name, value in machine.describe().items())
    lines = [
        f"Measured {datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {options.partners} partners: {told}.",
        "",
        _table(found),
    ]
    for party, parts in shares.items():
        lines += ["", f"{party}, share of the samples of its event loop:", ""]
        lines += [f"{share:6.1%}  {frame}" for frame, share in parts.items()]
    sys.stdout.write("\n".join(lines) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
