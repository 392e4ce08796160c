"""`bekend broker rotate`: the command."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.findings import show

from bekend_broker.config import load_config
from bekend_broker.rotation import rotate as do_rotate
from bekend_broker.terminal import AsJson, Config, faults


def rotate(
    config: Config = Path("broker.yaml"),
    emergency: Annotated[
        bool, typer.Option("--emergency", help="After a theft: other roots within the present quarter.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring other keys into service without a pause: what is done, which partners have enrolled, and what comes next.

    Run it again after each step, as often as you like: it makes what is missing, destroys what is over, and says what
    somebody has to do. Exit code 0: nothing waits; 6: something waits; 1: a fault.
    """
    with faults(as_json):
        code = show(do_rotate(load_config(config), SystemClock(), emergency=emergency), as_json=as_json)
    raise typer.Exit(code)
