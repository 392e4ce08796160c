"""`bekend broker database`: the tables of a PostgreSQL database that replicas share, made by who owns them."""

from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.errors import StorageError

from bekend_broker.config import load_config
from bekend_broker.terminal import AsJson, Config, faults, say

app = typer.Typer(
    name="database",
    help="PostgreSQL for several replicas: make and renew its tables.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def database() -> None:
    """PostgreSQL for several replicas."""


@app.command()
def prepare(
    owner: Annotated[str, typer.Option("--owner", help="Role that owns the tables, or comes to own them.")],
    config: Config = Path("broker.yaml"),
    password: Annotated[
        Path | None, typer.Option("--password-file", help="File with the owner's password, if it has one.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Make the tables of this release, or add what is new in it, and grant the running broker what it needs.

    Run it before the first start and before each upgrade. Replicas of the release before go on meanwhile. The running
    broker's own role (`user`) owns nothing and cannot change the log; the server's administrator makes both roles.
    """
    with faults(as_json):
        settings = load_config(config)
        if settings.database is None:
            raise StorageError("the configuration names no `database`: with SQLite there is nothing to prepare")
        try:
            from bekend_broker.store_postgres import prepare as make  # noqa: PLC0415 - a broker with SQLite needs none
        except ImportError as fault:
            raise StorageError(
                f"the driver for PostgreSQL cannot be loaded ({fault}): pip install 'bekend[postgres]'"
            ) from None
        server = settings.database.model_copy(update={"user": owner, "password": password})
        done = make(server, settings.database.user, settings.oin, settings.log)
        say(as_json, {"done": done}, *done)
