"""`bekend log ldv` and `bekend log adl`: the log of processing and of decisions, from the running node.

In Dutch: who reads a log is a privacy officer, an FG or an auditor.
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer
from bekend_policy.log_output import days_of, write_records
from bekend_policy.replay_cli import replay_file
from bekend_proto.errors import UnreachableError

from bekend_node.config import load_config
from bekend_node.control_client import ControlClient
from bekend_node.terminal import REFUSED, Config, faults

ldv = typer.Typer(
    name="ldv", help="Logboek Dataverwerkingen: wat hier over personen is verwerkt.", no_args_is_help=True
)
adl = typer.Typer(
    name="adl",
    help="Authorization Decision Log: wat hier is besloten, en dat nog eens besluiten.",
    no_args_is_help=True,
)

First = Annotated[str, typer.Option("--from", metavar="DAG", help="Eerste dag, jjjj-mm-dd.")]
Last = Annotated[str, typer.Option("--to", metavar="DAG", help="Laatste dag.")]
UsedFor = Annotated[
    str, typer.Option("--gebruik", help="Waarvoor u leest, zoals het convenant het noemt onder 'gebruik_log'.")
]
Jsonl = Annotated[bool, typer.Option("--jsonl", help="Eén JSON-object per regel, zoals de standaard het wil.")]
Trace = Annotated[str, typer.Option("--trace", help="Alleen deze trace: 32 tekens.")]


@ldv.command("export")
def export_ldv(  # noqa: PLR0917 - options have names on the command line
    first: First, last: Last, used_for: UsedFor, config: Config = Path("node.yaml"), trace: Trace = "",
    jsonl: Jsonl = False,
) -> None:  # fmt: skip
    """Schrijf de verwerkingen van deze dagen. Dat u las, en waarvoor, wordt zelf vastgelegd."""
    _export("ldv", first, last, used_for, config=config, trace=trace, jsonl=jsonl)


@adl.command("export")
def export_adl(  # noqa: PLR0917 - options have names on the command line
    first: First, last: Last, used_for: UsedFor, config: Config = Path("node.yaml"), trace: Trace = "",
    jsonl: Jsonl = False,
) -> None:  # fmt: skip
    """Schrijf de besluiten van deze dagen. Dat u las, en waarvoor, wordt zelf vastgelegd."""
    _export("adl", first, last, used_for, config=config, trace=trace, jsonl=jsonl)


adl.command("replay")(replay_file)


def readings(
    first: First, last: Last, used_for: UsedFor, config: Config = Path("node.yaml"), jsonl: Jsonl = False
) -> None:
    """Toon wie het logboek las, wanneer en waarvoor. Ook dit wordt vastgelegd."""
    _export("reads", first, last, used_for, config=config, trace="", jsonl=jsonl)


def _export(form: str, first: str, last: str, used_for: str, *, config: Path, trace: str, jsonl: bool) -> None:
    days = days_of(first, last)
    request = {
        "op": "log",
        "form": form,
        "first": days.first.isoformat(),
        "last": days.last.isoformat(),
        "used_for": used_for,
        "trace_id": trace,
    }
    with faults(as_json=False), ControlClient(load_config(config).socket) as client:
        write_records(_records(client, request), jsonl=jsonl)


def _records(client: ControlClient, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for reply in client.stream(request):
        if reply["type"] == "records":
            yield from reply["records"]
        elif reply["type"] == "refused":
            sys.stderr.write(f"Geweigerd (regel {reply['rule']}): {reply['reason']}\n")
            raise typer.Exit(REFUSED)
        elif reply["type"] == "error":
            raise UnreachableError(str(reply["reason"]))
