"""`bekend broker rotate`: the command."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.findings import show

from bekend_broker.config import load_config
from bekend_broker.rotation import rotate as do_rotate
from bekend_broker.rotation import rotate_signing
from bekend_broker.terminal import AsJson, Config, faults


def rotate(
    config: Config = Path("broker.yaml"),
    emergency: Annotated[
        bool, typer.Option("--emergency", help="After a theft: other roots within the present quarter.")
    ] = False,
    signing: Annotated[
        bool, typer.Option("--signing", help="The key that signs, in place of the matching keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring other keys into service without a pause: what is done, which partners have enrolled, and what comes next.

    Run it again after each step, as often as you like: it makes what is missing, destroys what is over, and says what
    somebody has to do. With --signing it is about the key that signs.

    Exit code 0: nothing waits; 6: something waits; 1: a fault.
    """
    with faults(as_json):
        turn = rotate_signing if signing else do_rotate
        code = show(turn(load_config(config), SystemClock(), emergency=emergency), as_json=as_json)
    raise typer.Exit(code)
