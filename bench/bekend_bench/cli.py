"""`bekend bench`: the options."""

import json
import signal
import sys
import time
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_show_locals=False)

EPILOG = """
**Examples**

    bekend bench                          a quarter of an hour on two cores

    bekend bench --only rebuild           one part, beside the floor; many, broker and attached only when named

    bekend bench --only attached --attached-minutes 10      400 nodes on one broker for ten minutes

    bekend bench --json > bench.json      one object, for scripts and plots

    bekend bench --against bench/results/before.json      the table before and after, with the peers

**Exit codes**: 0 everything was measured, also where a bar is missed; 1 a process failed or a partner did not answer;
130 Ctrl-C.
"""


class Part(StrEnum):
    """The parts that can be measured by themselves."""

    ENROLMENT = "enrolment"
    REBUILD = "rebuild"
    SWITCHING = "switching"
    LOOKUPS = "lookups"
    STORAGE = "storage"
    RECORDS = "records"
    RECOVERY = "recovery"
    RELEASE = "release"
    PAGE = "page"
    PEERS = "peers"
    MANY = "many"
    BROKER = "broker"
    ATTACHED = "attached"


BY_NAME = frozenset({Part.MANY, Part.BROKER, Part.ATTACHED})
"""Measured only when they are named: each takes minutes."""


@app.command(epilog=EPILOG)
def bench(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    full: Annotated[
        bool, typer.Option(help="Enrol a million persons at each large source instead of filling its store: an hour.")
    ] = False,
    against: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A report of before (--json): print before and after.")
    ] = None,
    only: Annotated[list[Part] | None, typer.Option(help="Measure this part alone; may be repeated.")] = None,
    attached_minutes: Annotated[
        float, typer.Option(min=0.05, max=120, help="How long all nodes of the part `attached` stay.")
    ] = 1.0,
) -> None:
    """Measure this machine against the floor of the protocol: enrolment, filters, lookups, storage, release, pages.

    The floor is every operation that the protocol prescribes, at the raw speed of its library, measured in the same
    run. Keep the machine idle meanwhile: what else runs is measured along.
    """
    # gRPC and libsodium load only when a bench runs.
    from bekend_bench import compare, results  # noqa: PLC0415
    from bekend_bench.run import Failed, run  # noqa: PLC0415

    try:
        before = results.load(against) if against else None
    except (OSError, ValueError) as fault:
        sys.stderr.write(f"bekend bench: {fault}\n")
        raise typer.Exit(1) from None
    # Ctrl-C and a supervisor's SIGTERM both unwind, so that no process stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    began = time.monotonic()

    def say(what: str) -> None:
        sys.stderr.write(f"{time.monotonic() - began:6.1f} s  {what}\n")

    try:
        report = run(
            [part.value for part in only or set(Part) - BY_NAME], say, full=full, attached_minutes=attached_minutes
        )
    except Failed as fault:
        sys.stderr.write(f"bekend bench: {fault}\n")
        raise typer.Exit(1) from None
    if as_json:
        sys.stdout.write(json.dumps(report.to_json(), indent=1) + "\n")
    else:
        sys.stdout.write(compare.markdown(before, results.of_report(report)) if before else report.markdown())
