"""`bekend demo`: the options."""

import signal
import sys
from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(add_completion=False, rich_markup_mode="markdown")

EPILOG = """
**Examples**

    bekend demo                          a minute, seven partners, 2,000 synthetic people each

    bekend demo --serve --keep ./trial   stay up, and show how to ask by hand

    bekend demo --with-release           also the purposes where a colleague at the partner decides

    bekend demo --json > demo.json       one object, for scripts

**Exit codes**: 0 every outcome was right; 1 a process failed; 3 an outcome differs from the truth; 130 Ctrl-C.
"""


@app.command(epilog=EPILOG)
def demo(
    *,
    partners: Annotated[int, typer.Option(min=7, max=60, help="Partners; past seven, further municipalities.")] = 7,
    persons: Annotated[int, typer.Option(min=8, max=1_000_000, help="People that each partner knows.")] = 2_000,
    seed: Annotated[int, typer.Option(help="The same seed gives the same people.")] = 1,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of tables.")] = False,
    keep: Annotated[Path | None, typer.Option(help="Leave keys, databases and logs in this new folder.")] = None,
    with_release: Annotated[
        bool, typer.Option("--with-release", help="Also purposes where colleagues decide, who are played here.")
    ] = False,
    serve: Annotated[bool, typer.Option(help="Stay up afterwards and show how to ask.")] = False,
) -> None:
    """A whole federation on this machine: a broker and seven partners as processes, asked about synthetic people.

    It makes a throw-away PKI, signs a demo covenant, enrols everybody's clients, asks, checks every outcome against
    the truth, and shows who holds what afterwards.
    """
    if keep is not None and keep.exists():
        raise typer.BadParameter(f"{keep} exists: name a folder that does not.", param_hint="--keep")
    from bekend_deploy.demo import Options, run  # noqa: PLC0415 - gRPC and libsodium load only when a demo runs
    from bekend_deploy.processes import ProcessFailed  # noqa: PLC0415

    # Ctrl-C and a supervisor's SIGTERM both unwind, so that no process stays behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        code = run(Options(partners, persons, seed, as_json, keep, serve, with_release))
    except ProcessFailed as fault:
        typer.echo(str(fault), err=True)
        code = 1
    raise typer.Exit(code)
