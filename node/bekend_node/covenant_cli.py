"""`bekend node covenant`: a new version of the covenant, from the broker to this node."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock

from bekend_node import covenants
from bekend_node.config import load_config
from bekend_node.terminal import AsJson, Config, faults, say

app = typer.Typer(
    name="covenant",
    help="Versions of the covenant: fetch, list, accept.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.command()
def fetch(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Fetch what the broker has and this node does not hold, and show what it changes. Nothing comes into force."""
    with faults(as_json):
        offers = asyncio.run(covenants.fetch(load_config(config), SystemClock()))
        rows = [
            {
                "version": it.covenant.version,
                "hash": it.covenant.hash.hex(),
                "fault": it.fault,
                "changes": list(it.changes),
            }
            for it in offers
        ]
        lines: list[str] = []
        for it in offers:
            lines += [f"Version {it.covenant.version}  {it.covenant.hash.hex()}", *it.changes]
            lines.append(
                f"It cannot be accepted: {it.fault}"
                if it.fault
                else f"Accept it with:  bekend node covenant accept {it.covenant.hash.hex()[:16]} --config {config}"
            )
        say(as_json, {"offers": rows}, *(lines or ["Nothing new: this node holds every version in service."]))


@app.command("list")
def list_(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """The versions that this node holds, newest first. It asks under the newest, and answers under each."""
    with faults(as_json):
        found = [version.covenant for version in covenants.present(load_config(config), SystemClock().now())]
        rows = [{"version": it.version, "hash": it.hash.hex(), "until": f"{it.valid_until:%Y-%m-%d}"} for it in found]
        say(as_json, {"versions": rows}, *(f"version {it['version']} until {it['until']}  {it['hash']}" for it in rows))


@app.command()
def accept(
    version: Annotated[str, typer.Argument(help="Number, or at least 8 digits of the hash, of a fetched version.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Accept a fetched version: in force from the next SIGHUP. The present one goes on beside it until it ends."""
    with faults(as_json):
        now = SystemClock().now()
        covenant = covenants.accept(load_config(config), version, now)
        lines = [f"{covenant.id} version {covenant.version} accepted: send the node SIGHUP."]
        if covenant.valid_from > now:
            lines.append(f"It holds from {covenant.valid_from:%Y-%m-%d %H:%M} UTC, by itself if the node runs then.")
        say(as_json, {"version": covenant.version, "hash": covenant.hash.hex()}, *lines)
