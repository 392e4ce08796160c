"""What a lookup costs: asked as an officer's command does, over the Unix socket of a running node.

The node that asks, the broker and every partner are processes of their own, with mutual TLS between them; the time is
that from the first octet written to the socket until the receipt is read. An outcome other than those that a sound
answer can give stops the bench: a fast fault would be no figure.
"""

import contextlib
import random
import statistics
import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bekend_deploy.federation import Federation
from bekend_deploy.partners import Partner
from bekend_deploy.questions import CASES, CONDITIONS
from bekend_node.control_client import ControlClient

from bekend_bench.figures import Figure, at_least, at_most, median, percentile
from bekend_bench.filling import PURPOSE
from bekend_bench.floor import Floor
from bekend_bench.ground import GROUP, LARGE, MEDIUM, REQUESTER, SMALL, SOURCES, Ground, a_person
from bekend_bench.machine import cpu_seconds
from bekend_bench.placing import one_core_each
from bekend_bench.prescribed import bulk_seconds, lookup, seconds, work_seconds

PART = "lookups"
ASKERS = 32
"""Officers at once, where lookups per second are counted: enough that both cores always have work."""
ROUNDS = 4
"""Of lookups one after another, free and kept on one core by turns, so that both meet the same noise."""
SOURCE = "each source"
_SOUND = {"bekend", "geen_uitsluitsel"}

Say = Callable[[str], None]


class WrongOutcomeError(RuntimeError):
    """A partner did not answer as it should: what was measured would be a fault."""


@dataclass(frozen=True)
class Effort:
    """How long to measure: lookups one after another per figure, seconds of lookups at once, cold starts."""

    sequential: int = 200
    concurrent: float = 6.0
    cold: int = 3


class Officer:
    """One officer at the asking node, with a connection of their own."""

    def __init__(self, federation: Federation, requester: Partner = REQUESTER) -> None:
        self._client = ControlClient(federation.built.nodes[requester.oin].socket)
        self._draw = random.Random()  # noqa: S311 - persons, not keys

    def ask(self, sources: Sequence[Partner]) -> float:
        """One lookup about somebody new; returns its seconds. Raises WrongOutcomeError."""
        return self.watch(sources)[1]

    def watch(self, sources: Sequence[Partner]) -> tuple[float, float]:
        """As `ask`: seconds until the first outcome of a partner that was asked, and until the receipt."""
        request = {
            "op": "ask",
            "purpose": PURPOSE,
            "sources": [one.oin for one in sources],
            "kind": "test",
            "identifiers": [a_person(self._draw)],
            "case": CASES[PURPOSE],
            "attested": list(CONDITIONS[PURPOSE]),
        }
        began = time.perf_counter()
        outcomes: list[dict[str, Any]] = []
        seen = 0.0
        for reply in self._client.ask(request):
            seen = seen or (time.perf_counter() - began if reply.get("outcome") in _SOUND else 0.0)
            outcomes.append(reply)
        passed, receipt = time.perf_counter() - began, outcomes.pop()
        asked = [one for one in outcomes if one["outcome"] != "niet_bevraagd"]
        wrong = {str(one["reason"]) for one in asked if one["outcome"] not in _SOUND}
        if receipt["type"] != "receipt" or len(asked) != len(sources) or wrong:
            raise WrongOutcomeError(f"{len(asked)} of {len(sources)} partners were asked: {wrong or receipt}")
        return seen, passed

    def close(self) -> None:
        """Hang up."""
        self._client.close()


def measure_few(field: Ground, floor: Floor, cores: int, effort: Effort, say: Say) -> Iterator[Figure]:
    """One and six partners, in a federation that has no more."""
    for count in (1, GROUP):
        say(f"  {count} partners")
        sources = field.sources[:count]
        field.start([REQUESTER, *sources])
        yield from _warm(field, sources, floor, cores, effort)


def measure_many(field: Ground, floor: Floor, cores: int, effort: Effort, say: Say) -> Iterator[Figure]:
    """Large stores against small ones, cold filters, and all 35 partners."""
    small, medium, large = (field.groups[size] for size in (SMALL, MEDIUM, LARGE))
    say("  1,000,000 pseudonyms")
    field.start([REQUESTER, *small, *large])
    yield _by_size(field, small, large, effort)
    say("  cold filters")
    field.start(medium)
    yield from _cold(field, effort, small, medium, large)
    say(f"  {SOURCES} partners")
    field.start(field.sources)
    yield from _warm(field, field.sources, floor, cores, effort)


def _warm(field: Ground, sources: Sequence[Partner], floor: Floor, cores: int, effort: Effort) -> Iterator[Figure]:
    count = len(sources)
    name = f"{count} partner{'s' if count > 1 else ''}"
    alone = seconds(lookup(count), floor)
    bars = (at_most(25), at_most(150), at_least(0.35)) if count == GROUP else (None, None, None)
    times, held = list[float](), list[float]()
    for _ in range(ROUNDS):
        times += _one_by_one(field, sources, max(60, effort.sequential // (1 + count // GROUP)) // ROUNDS)
        if count == GROUP:
            with one_core_each(_processes(field, sources)):
                held += _one_by_one(field, sources, effort.sequential // ROUNDS)
    yield Figure(PART, f"{name}, p50", median(times) * 1e3, "ms", alone / median(times), bars[0])
    yield Figure(PART, f"{name}, p99", percentile(times, 0.99) * 1e3, "ms", None, bars[1])
    if held:
        what = f"{name}, each party kept on one core, p50"
        yield Figure(PART, what, median(held) * 1e3, "ms", alone / median(held), at_most(25))
    rate, costs = at_once(field, sources, effort.concurrent)
    yield Figure(PART, f"{name}, at once", rate, "lookups/s", bulk_seconds(lookup(count), floor, cores) * rate, bars[2])
    every = sum(cost * (count if who == SOURCE else 1) for who, cost in costs.items())
    least = work_seconds(lookup(count), floor)
    yield Figure(PART, f"{name}, processor time of all", every * 1e3, "ms/lookup", least / every)
    for who, cost in costs.items():
        yield Figure(PART, f"{name}, processor time of {who}", cost * 1e3, "ms/lookup")


def _one_by_one(field: Ground, sources: Sequence[Partner], times: int) -> list[float]:
    officer = Officer(field.federation)
    for _ in range(5):
        officer.ask(sources)
    found = [officer.ask(sources) for _ in range(times)]
    officer.close()
    return found


def _processes(field: Ground, sources: Sequence[Partner]) -> list[int]:
    """The asking node, the broker and the partners, by the ids of their processes."""
    federation = field.federation
    assert federation.broker is not None
    return [federation.nodes[REQUESTER.oin].pid, federation.broker.pid, *sorted(field.pids(sources))]


def press(
    officers: Sequence[Callable[[], Officer]],
    sources: Sequence[Partner],
    duration: float,
    parties: Mapping[str, Collection[int]],
) -> tuple[int, float, dict[str, float]]:
    """Let all of these officers ask at once, one lookup after another each, for so many seconds.

    Returns how many lookups that were, how long it took, and the processor time of each party's processes. Raises
    WrongOutcomeError.
    """
    begin = threading.Barrier(len(officers) + 1)
    done: list[int] = []
    faults: list[BaseException] = []

    def work(make: Callable[[], Officer]) -> None:
        try:
            officer = make()
            officer.ask(sources)
            begin.wait()
            deadline, count = time.perf_counter() + duration, 0
            while time.perf_counter() < deadline:
                officer.ask(sources)
                count += 1
            done.append(count)
            officer.close()
        except BaseException as fault:
            faults.append(fault)
            begin.abort()

    threads = [threading.Thread(target=work, args=(make,)) for make in officers]
    for thread in threads:
        thread.start()
    with contextlib.suppress(threading.BrokenBarrierError):
        begin.wait()
    before, began = {who: sum(map(cpu_seconds, pids)) for who, pids in parties.items()}, time.perf_counter()
    for thread in threads:
        thread.join()
    passed = time.perf_counter() - began
    if faults:
        raise faults[0]
    used = {who: sum(map(cpu_seconds, pids)) - before[who] for who, pids in parties.items()}
    return sum(done), passed, used


def at_once(
    field: Ground, sources: Sequence[Partner], duration: float, askers: int = ASKERS
) -> tuple[float, dict[str, float]]:
    """Lookups per second of many officers, and the processor time that one lookup takes, by party."""
    federation = field.federation
    assert federation.broker is not None
    parties = {
        "the requester": {federation.nodes[REQUESTER.oin].pid},
        "the broker": {federation.broker.pid},
        SOURCE: field.pids(sources),
    }
    officers = [lambda: Officer(federation)] * askers
    total, passed, used = press(officers, sources, duration, parties)
    return total / passed, {who: cost / total / (len(sources) if who == SOURCE else 1) for who, cost in used.items()}


def _by_size(field: Ground, small: Sequence[Partner], large: Sequence[Partner], effort: Effort) -> Figure:
    """The same question to small and large sources by turns, so that both meet the same noise."""
    officer = Officer(field.federation)
    pairs = [(officer.ask(small), officer.ask(large)) for _ in range(5 + effort.sequential // 2)][5:]
    officer.close()
    factor = median([pair[1] for pair in pairs]) / median([pair[0] for pair in pairs])
    return Figure(PART, "1,000,000 pseudonyms against 10,000, p50", factor, "times", None, at_most(1.5))


def _cold(
    field: Ground, effort: Effort, small: Sequence[Partner], medium: Sequence[Partner], large: Sequence[Partner]
) -> Iterator[Figure]:
    """The asking node starts anew and holds no filter: it fetches six of them within the lookup."""
    extra: dict[int, list[float]] = {MEDIUM: [], LARGE: []}
    for _ in range(effort.cold):
        field.stop([REQUESTER])
        field.start([REQUESTER])
        officer = Officer(field.federation)
        for _ in range(5):
            officer.ask(small)
        for size, sources in ((MEDIUM, medium), (LARGE, large)):
            cold = officer.ask(sources)
            extra[size].append(cold - statistics.fmean(officer.ask(sources) for _ in range(5)))
        officer.close()
    for size, limit in ((MEDIUM, 200), (LARGE, 2000)):
        more = median(extra[size]) * 1e3
        yield Figure(
            PART, f"6 partners, cold filters of {size:,} tags: more than warm", more, "ms", None, at_most(limit)
        )
