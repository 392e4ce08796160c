"""`bekend node alarm`: what the broker's log said against itself, and the operator's word that it was looked into."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.errors import KeysError

from bekend_node.config import load_config
from bekend_node.control_client import ControlClient
from bekend_node.terminal import AsJson, Config, faults, say

NOT_GOOD = 3

app = typer.Typer(
    name="alarm",
    help="Alarms about logs: list them, and clear one that was looked into.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command("list")
def list_alarms(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Open alarms. One that stops this node says so: until it is cleared nothing is asked or answered."""
    with faults(as_json):
        with ControlClient(load_config(config).socket) as client:
            found = client.call({"op": "status"})["log"]["alarms"]
        lines = [alarm_line(one) for one in found]
        say(as_json, {"alarms": found}, *(lines or ["no open alarm"]))
    raise typer.Exit(NOT_GOOD if found else 0)


@app.command("clear")
def clear_alarm(
    number: Annotated[int, typer.Argument(help="Its number, as `list` shows it.")],
    reason: Annotated[str, typer.Option(help="What was found. It is kept, and its hash is in this node's log.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Put on the record that an alarm was looked into: it stops nothing any more, its evidence stays.

    What was seen of that log is forgotten: the next checkpoint is taken as the broker shows it. Ask another partner
    first whether it was shown the same.
    """
    with faults(as_json):
        with ControlClient(load_config(config).socket) as client:
            found = client.call({"op": "clear_alarm", "number": number, "reason": reason})
        if found["type"] != "result":
            raise KeysError(str(found.get("reason", found["type"])))
        say(as_json, {"cleared": number}, f"Alarm {number} cleared: {reason}")


def alarm_line(alarm: dict[str, object]) -> str:
    """One alarm, for people."""
    at = datetime.fromisoformat(str(alarm["at"])).astimezone(UTC)
    stops = " STOPS THIS NODE" if alarm["stops"] else ""
    return f"ALARM {alarm['number']}{stops}, {at:%Y-%m-%d %H:%M} UTC, {alarm['origin']}: {alarm['detail']}"
