"""`bekend bulletin`: figures per quarter that point at nobody. In Dutch: a privacy officer makes it."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_policy.bulletin_cli import join_files
from bekend_policy.sign import write_atomic

from bekend_node.calling import called
from bekend_node.terminal import AsJson, Config, faults, say

EPILOG = """
**Voorbeelden**

    bekend bulletin maken --kwartaal 2026-K3 bulletin-2026-K3.json      bij elke partner, na het kwartaal

    bekend bulletin samen bulletins/*.json --convenant convenant --uit bulletin     wie ze samenvoegt

**Uitgangscodes**

    0   gedaan

    1   een fout; de tekst zegt welke en wat te doen

    2   verkeerd gebruik van het commando

    4   geweigerd: het kwartaal is niet voorbij, of u leest het logboek hier niet
"""

app = typer.Typer(
    name="bulletin",
    help="Cijfers per kwartaal die niemand aanwijzen.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.command("samen")(join_files)


@app.command()
def maken(
    file: Annotated[Path, typer.Argument(metavar="BESTAND", help="Het bestand om te schrijven.")],
    *,
    quarter: Annotated[str, typer.Option("--kwartaal", metavar="JJJJ-Kn", help="Een kwartaal dat voorbij is.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Tel een kwartaal bij de draaiende node. Dat u telde, wordt zelf vastgelegd; het logboek zelf blijft hier."""
    with faults(as_json):
        made = called(config, {"op": "bulletin", "quarter": quarter}, as_json=as_json)["bulletin"]
        write_atomic(file, made.encode())
        say(
            as_json,
            {"file": str(file), "quarter": quarter},
            f"Geschreven: {file}",
            "Aantallen onder de 10 staan er niet in; de andere zijn afgerond op 5.",
        )
