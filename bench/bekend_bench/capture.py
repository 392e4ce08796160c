"""A week of questions that colleagues decide on, and everything that the broker sees of them.

    python -m bekend_bench.capture [--questions 400] [--json]

Broker, requester and two sources are the real ones, in this process, over mutual TLS on loopback; the clock is steered,
so that a week takes minutes. Each question is about a person whom the source releases, refuses, does not know, shields,
or whose consent is withdrawn: as many of each, in an order that is drawn. Of every message that passes, the broker's
side notes the moment, the direction, both lengths, whether it failed, and how long the reply took. Then a classifier
(telling.py) tries to tell outcomes apart from that.
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from bekend_bench.release_traffic import HIDDEN, Came, Seen, Traffic
from bekend_bench.release_week import capture
from bekend_bench.telling import Verdict, tell

LEAKS: tuple[tuple[str, Callable[[Seen], Seen]], ...] = (
    ("replies of released 1 octet longer", lambda one: replace(one, replied=one.replied + 1)),
    *(
        (
            f"replies of released {1000 * late:g} ms later",
            partial(lambda late, one: replace(one, latency=one.latency + late), late),
        )
        for late in (0.005, 0.002, 0.001, 0.0005)
    ),
)
"""Planted in what was captured, one at a time: what the classifier would have found."""


def table(traffic: Traffic, shuffles: int = 999) -> dict[str, Verdict]:
    """What the classifier can tell, by what it was asked; then with leaks planted."""
    hidden = traffic.of(*HIDDEN)
    three = traffic.of(Came.RELEASED, Came.REFUSED, Came.UNKNOWN)
    asked = {
        "released, refused, unknown": three,
        "released, refused, unknown, shielded": hidden,
        "released, unknown": traffic.of(Came.RELEASED, Came.UNKNOWN),
        "withdrawn, released (seen by design)": traffic.of(Came.RELEASED, Came.WITHDRAWN),
        **{f"planted: {what}": three.changed(Came.RELEASED, leak) for what, leak in LEAKS},
    }
    return {what: tell(*found.rows(), shuffles=shuffles) for what, found in asked.items()}


def main(
    questions: Annotated[int, typer.Option(min=60, max=5_000, help="Questions in the week.")] = 400,
    seed: Annotated[int, typer.Option(help="The same seed draws the same traffic.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Capture a week of questions that colleagues decide on, and try to tell what came of each.

    **Exit codes**: 0 nothing was told apart that may not be, and every leak of 5 ms or an octet was found; 3 otherwise.
    """
    began = time.monotonic()

    def say(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {what}\n")

    with tempfile.TemporaryDirectory(prefix="bekend-") as name:
        traffic = capture(Path(name), questions, seed=seed, say=say)
    say("classifying")
    found = table(traffic)
    messages = sum(len(traffic.seen[one]) for one in traffic.came)
    if as_json:
        sys.stdout.write(json.dumps({"questions": len(traffic.came), "messages": messages,
                                     "found": {what: it.to_json() for what, it in found.items()}}) + "\n")  # fmt: skip
    else:
        sys.stdout.write(markdown(found, len(traffic.came), messages))
    raise typer.Exit(0 if holds(found) else 3)


SURE = 0.002
"""Below this share of shuffles, what was told apart was no luck."""


def holds(found: dict[str, Verdict]) -> bool:
    """Whether nothing that must look alike was told apart, and the plain leaks were found."""
    alike = [it for what, it in found.items() if not what.startswith("planted") and "design" not in what]
    leaks = [it for what, it in found.items() if "octet" in what or " 5 ms" in what]
    return all(it.p > SURE for it in alike) and all(it.p <= SURE for it in leaks)


def markdown(found: dict[str, Verdict], questions: int, messages: int) -> str:
    """The table, for docs."""
    lines = [
        f"{questions:,} questions, {messages:,} messages with their replies.\n",
        "| told apart | questions | chance | right | 95 % interval | p |",
        "|---|---|---|---|---|---|",
        *(
            f"| {what} | {it.questions} | {1 / it.classes:.0%} | {it.share:.1%} "
            f"| {it.low:.1%} to {it.high:.1%} | {it.p:.3f} |"
            for what, it in found.items()
        ),
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    typer.run(main)
