"""What a broker holds for each node that is attached, and whether that grows: memory with 0, 100 and 400 of them, and
400 for minutes with a lookup now and then.
"""

import random
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bekend_bench import crowd
from bekend_bench.figures import Figure, at_most
from bekend_bench.ground import GROUP, REQUESTER, Ground
from bekend_bench.lookups import Officer, Say
from bekend_bench.machine import cpu_seconds, resident

PART = "attached"
PROCESSES = 2
"""That are started for each number of nodes, beside those of the numbers before."""


@dataclass(frozen=True)
class Stay:
    """How many nodes, and how long all of them stay."""

    counts: Sequence[int] = (100, 400)
    minutes: float = 1.0
    every: float = 2.0
    """Seconds between two lookups."""


def measure(field: Ground, stay: Stay, say: Say) -> Iterator[Figure]:
    """Attach more and more, then let all of them stay. Raises ProcessFailed when one breaks."""
    federation = field.federation
    assert federation.broker is not None
    broker = federation.broker.pid
    members = field.sources[: max(stay.counts) - 1]
    crowd.publish(federation, [REQUESTER, *members])
    empty = resident(broker)
    yield Figure(PART, "memory of the broker, nobody attached", empty / 1e6, "MB")
    field.start([REQUESTER])
    try:
        for count in stay.counts:
            say(f"  {count} attached")
            crowd.host(field, [one for one in members[: count - 1] if one.oin not in field.hosts], PROCESSES)
            held = resident(broker)
            yield Figure(PART, f"memory of the broker, {count} attached", held / 1e6, "MB")
            yield Figure(PART, f"memory of the broker for each of {count}", (held - empty) / count / 1e3, "KB/node")
        per_node = sum(map(resident, field.pids(members))) / len(members)
        yield Figure(PART, f"memory of a node, of {-(-len(members) // PROCESSES)} in a process", per_node / 1e6, "MB")
        field.await_filters([one.oin for one in members])
        yield from _stay(field, stay, say)
    finally:
        crowd.stop(field)


def _stay(field: Ground, stay: Stay, say: Say) -> Iterator[Figure]:
    assert field.federation.broker is not None
    broker, count = field.federation.broker.pid, max(stay.counts)
    say(f"  {count} attached for {stay.minutes:g} minutes")
    draw = random.Random()  # noqa: S311 - whom to ask, no keys
    officer = Officer(field.federation)
    before, began, used = _attaches(field), time.monotonic(), cpu_seconds(broker)
    early = began + min(60.0, stay.minutes * 60 / 2)
    held, asked = 0, 0
    while (now := time.monotonic()) < began + stay.minutes * 60:
        if not held and now >= early:
            held = resident(broker)
        officer.ask(draw.sample(field.sources[: count - 1], min(GROUP, count - 1)))
        asked += 1
        time.sleep(stay.every)
    officer.close()
    passed, spent, late = time.monotonic() - began, cpu_seconds(broker) - used, resident(broker)
    held = held or late
    minute = (early - began) / 60
    what = f"{count} attached"
    yield Figure(PART, f"{what}, lookups meanwhile", asked, "lookups")
    yield Figure(PART, f"{what}, memory of the broker after {minute:.2g} min", held / 1e6, "MB")
    yield Figure(PART, f"{what}, memory of the broker after {passed / 60:.2g} min", late / 1e6, "MB")
    yield Figure(PART, f"{what}, of a core for all that", spent / passed * 100, "%")
    yield Figure(PART, f"{what}, reconnects", _attaches(field) - before, "times", None, at_most(0))


def _attaches(field: Ground) -> int:
    """How often a node has attached so far, by the broker's log."""
    assert field.federation.broker is not None
    log = field.federation.broker.log
    return sum('"source-attached"' in line for line in log.read_text(encoding="utf-8", errors="replace").splitlines())
