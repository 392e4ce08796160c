"""`bekend drill`: the options."""

import json
import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode="markdown", pretty_exceptions_show_locals=False)

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

EPILOG = """
**Examples**

    bekend drill                                  all of them, a quarter of an hour

    bekend drill --only node-killed               one

    bekend drill --write docs/drills.md           the table in that page is replaced

**Exit codes**: 0 every drill ended with right answers; 1 a wrong outcome, no recovery, or a process that failed;
130 Ctrl-C. A drill that failed stands below the table.
"""


@app.command(epilog=EPILOG)
def drill(
    *,
    only: Annotated[list[str] | None, typer.Option(metavar="NAME", help="This drill alone; may be repeated.")] = None,
    write: Annotated[Path | None, typer.Option(metavar="FILE", help="Page whose table is replaced.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of a table.")] = False,
) -> None:
    """Break a federation on this machine on purpose: what does an officer see, and how soon is it right again?

    Everything is synthetic and ends with the command. Keep the machine idle meanwhile.
    """
    from bekend_deploy.processes import ProcessFailed  # noqa: PLC0415 - gRPC loads only when a drill runs
    from bekend_proto.clock import SystemClock  # noqa: PLC0415

    from bekend_bench.drills import DrillFailedError, Stage, field_of, run  # noqa: PLC0415
    from bekend_bench.drills_machines import MACHINES  # noqa: PLC0415
    from bekend_bench.drills_processes import DRILLS, RESTORES  # noqa: PLC0415

    stages: list[Stage] = [(DRILLS, field_of), (RESTORES, field_of), (MACHINES, field_of)]
    try:
        from bekend_bench.drills_replicas import REPLICATED, binaries, replicated_field_of  # noqa: PLC0415
    except ImportError:
        has_postgres = False
    else:
        if has_postgres := binaries() is not None:
            stages.append((REPLICATED, replicated_field_of))
    if not has_postgres:
        sys.stderr.write("bekend drill: no replicas are tried: PostgreSQL or its driver is not installed\n")
    known = [one.name for drills, _ in stages for one in drills]
    if unknown := sorted(set(only or ()) - set(known)):
        raise typer.BadParameter(f"there is no drill {', '.join(unknown)}; there are: {', '.join(known)}")
    # Ctrl-C and a supervisor's SIGTERM both unwind, so that no process stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))

    def say(what: str) -> None:
        sys.stderr.write(f"{what}\n")

    try:
        table = run(only or known, SystemClock(), say, stages)
    except (DrillFailedError, ProcessFailed) as fault:
        sys.stderr.write(f"bekend drill: {fault}\n")
        raise typer.Exit(1) from None
    if write is not None:
        write.write_text(replaced(write.read_text(encoding="utf-8"), table.markdown()), encoding="utf-8")
    sys.stdout.write(json.dumps(table.to_json()) + "\n" if as_json else table.markdown())
    if table.failed:
        raise typer.Exit(1)


def replaced(page: str, table: str) -> str:
    """The page with this table between its two marks. Raises BadParameter when they are not there."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise typer.BadParameter(f"the page has no marks {BEGIN} and {END}")
    return f"{before}{BEGIN}\n{table}{END}{after}"
