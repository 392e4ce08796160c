"""`bekend log`: the logs, for who may read them."""

import typer
from bekend_node import log_export_cli

app = typer.Typer(
    name="log",
    help="Lees en controleer de logboeken.",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)
app.add_typer(log_export_cli.ldv)
app.add_typer(log_export_cli.adl)
app.command("lezers")(log_export_cli.readings)
