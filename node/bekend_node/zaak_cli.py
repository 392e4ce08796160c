"""`bekend zaak`: what became of a case, as far as the node must know it. In Dutch: an officer types it."""

import sys
from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.errors import UnreachableError

from bekend_node.config import load_config
from bekend_node.control_client import ControlClient
from bekend_node.terminal import REFUSED, AsJson, Config, faults, say

app = typer.Typer(
    name="zaak",
    help="Meld wat er van een zaak werd.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)


@app.callback()
def _zaak() -> None:
    """Meld wat er van een zaak werd."""


@app.command()
def vervallen(
    *,
    config: Config = Path("node.yaml"),
    zaak: Annotated[str, typer.Option(help="Het zaaknummer waaronder is gevraagd.")],
    as_json: AsJson = False,
) -> None:
    """De zaak is niet in behandeling genomen: vernietig wat de partners antwoordden. Dit is niet terug te draaien."""
    with faults(as_json):
        with ControlClient(load_config(config).socket) as client:
            found = client.call({"op": "lapse", "case": zaak})
        if found["type"] == "error":
            raise UnreachableError(str(found["reason"]))
        facts = {key: value for key, value in found.items() if key != "type"}
        if found["type"] == "refused":
            if as_json:
                say(True, {"refused": facts})
            else:
                sys.stderr.write(f"Geweigerd (regel {found['rule']}): {found['reason']}\n")
            raise typer.Exit(REFUSED)
        say(
            as_json,
            facts,
            f"Vragen onder deze zaak: {found['lookups']}.",
            f"Antwoorden die hier stonden of nog komen, zijn vernietigd: {found['questions']}.",
            "Vernietig ook zelf wat u overnam: aantekeningen, afdrukken en antwoordbewijzen.",
        )
