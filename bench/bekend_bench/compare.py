"""The table before and after: each row with its ratio to the floor, and beside the best of the peers where one does it.

A peer does three things that bekend does too: it sets a partner up, takes one change, and answers a question to six
partners. What else is measured here has no counterpart there.
"""

import re
from collections.abc import Mapping

from bekend_bench.figures import Figure, number
from bekend_bench.provenance import floor, parts_table
from bekend_bench.report import table
from bekend_bench.results import Results

PEERS = "peers"
_SAME_JOB = (
    (re.compile(r"^[\d,]+ persons, node and broker together$"), "set up, persons a second"),
    (re.compile(r"^the smallest file of changes"), "one person more"),
    (re.compile(r"^6 partners, p50$"), "a question"),
)
HEAD = ("part", "what", "before", "after", "better by", "of floor, before", "of floor, after", "bar", "", "best peer")


def rows(before: Mapping[tuple[str, str], Figure], after: Results) -> list[tuple[str, ...]]:
    """One row per figure that was measured now."""
    return [_row(before.get(name), one, after) for name, one in after.figures.items() if one.part != PEERS]


def markdown(before: Results, after: Results) -> str:
    """The whole table, when and on what each part was measured, and the floor."""
    compared = table(HEAD, rows(before.figures, after))
    return "\n".join((*parts_table(after), "", *compared, "", *floor(after.newest), ""))


def rises(unit: str) -> bool:
    """Whether more of it is better: rates are, times and sizes are not."""
    return unit.endswith("/s")


def better(before: Figure, after: Figure) -> float | None:
    """How many times better it became; None where one of them is nothing."""
    if not before.value or not after.value or before.unit != after.unit:
        return None
    return after.value / before.value if rises(after.unit) else before.value / after.value


def best_peer(one: Figure, after: Results) -> tuple[str, float] | None:
    """Which peer does the same job best, and how many times bekend's cost its own is contained in it."""
    for pattern, job in _SAME_JOB:
        if pattern.match(one.what):
            theirs = [peer for peer in after.of(PEERS) if peer.what.endswith(f": {job}") and "bekend" not in peer.what]
            if theirs:
                best = (max if rises(one.unit) else min)(theirs, key=lambda peer: peer.value)
                times = best.value / one.value if rises(one.unit) else one.value / best.value
                return best.what.partition(":")[0], times
    return None


def _row(before: Figure | None, one: Figure, after: Results) -> tuple[str, ...]:
    gain = better(before, one) if before else None
    peer = best_peer(one, after)
    return (
        one.part,
        one.what,
        f"{number(before.value)} {before.unit}" if before else "",
        f"{number(one.value)} {one.unit}",
        f"{gain:.2f} times" if gain else "",
        _share(before),
        _share(one),
        one.bar.words(one.unit) if one.bar else "",
        {True: "met", False: "MISSED", None: ""}[one.met],
        f"{number(peer[1])} times the time of {peer[0]}" if peer else "",
    )


def _share(one: Figure | None) -> str:
    return f"{one.ratio:.0%}" if one is not None and one.ratio is not None else ""
