"""`bekend node rotate`: the command."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.findings import show

from bekend_node.config import load_config
from bekend_node.rotation import rotate as do_rotate
from bekend_node.rotation import rotate_signing
from bekend_node.terminal import AsJson, Config, faults


def rotate(
    config: Config = Path("node.yaml"),
    emergency: Annotated[
        bool, typer.Option("--emergency", help="After a theft: other keys within the present quarter.")
    ] = False,
    signing: Annotated[
        bool, typer.Option("--signing", help="The key that signs, in place of the matching keys.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Bring other keys into service without a pause: what is done, what waits, and what comes next.

    Run it again after each step, as often as you like: it does what can be done and says what somebody has to do.
    Within two weeks before a quarter begins it is about the next quarter; with --emergency, or once a renewal is under
    way at the broker, about the present one. With --signing it is about the key that signs.

    Exit code 0: nothing waits; 6: something waits; 1: a fault.
    """
    with faults(as_json):
        turn = rotate_signing if signing else do_rotate
        code = show(turn(load_config(config), SystemClock(), emergency=emergency), as_json=as_json)
    raise typer.Exit(code)
