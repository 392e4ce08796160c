"""`bekend broker database`: the tables of a PostgreSQL database that replicas share, by who owns them.

prepare     before the first start, and before each upgrade
move        once: from one broker with a file to replicas
restored    after the server was put back to an older state
"""

from pathlib import Path
from types import ModuleType
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.errors import StorageError

from bekend_broker.config import BrokerConfig, DatabaseServer, load_config
from bekend_broker.store import FILE
from bekend_broker.terminal import AsJson, Config, faults, say

app = typer.Typer(
    name="database",
    help="PostgreSQL for several replicas: make and renew its tables, move a file into them, close its log after a "
    "restore.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


@app.callback()
def database() -> None:
    """PostgreSQL for several replicas."""


Owner = Annotated[str, typer.Option("--owner", help="Role that owns the tables, or comes to own them.")]
Password = Annotated[
    Path | None, typer.Option("--password-file", help="File with the owner's password, if it has one.")
]


@app.command()
def prepare(
    owner: Owner,
    config: Config = Path("broker.yaml"),
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """Make the tables of this release, or add what is new in it, and grant the running broker what it needs.

    Run it before the first start and before each upgrade. Replicas of the release before go on meanwhile. The running
    broker's own role (`user`) owns nothing and cannot change the log; the server's administrator makes both roles.
    """
    with faults(as_json):
        settings = load_config(config)
        server = _database(settings)
        done = _postgres().prepare(_as(server, owner, password), server.user, settings.oin, settings.log)
        say(as_json, {"done": done}, *done)


@app.command()
def move(
    owner: Owner,
    config: Config = Path("broker.yaml"),
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """Move what broker.db holds into the empty PostgreSQL database that the configuration names.

    Stop the broker, add `database` to its configuration, and run `prepare` first. Everything goes over in one
    transaction, and is read back and compared before it counts: whatever fails, the database stays empty and this may
    be run again. The log stays the same log. broker.db is only read, once it has the tables of this release; afterwards
    no broker serves from it.
    """
    with faults(as_json):
        settings = load_config(config)
        server = _database(
            settings,
            f"{config} names no `database` yet: add the empty PostgreSQL database to it, leave `oin`, `log` and `data` "
            "as they are, run `bekend broker database prepare`, and this again",
        )
        _postgres()
        from bekend_broker import store_move  # noqa: PLC0415 - it needs the driver

        done = store_move.move(_as(server, owner, password), server.user, settings.oin, settings.log, settings.data)
        head, rows = done.head, sum(done.rows.values())
        say(
            as_json,
            {"log": {"origin": head.origin, "size": head.size, "root": head.root.hex()}, "rows": done.rows},
            f"Moved to {server.shown}: {rows} rows of {len(done.rows)} tables, each read back and compared.",
            f"{head.origin} goes on at {head.size} entries, with the same root; no manifest has to be signed.",
            f"Now: start the broker with {config}. Every further replica gets the same `database`, `oin`, `log`, "
            "`logs`, `covenant`, `manifest` and `keys`, and its own `listen`, `tls` and `data`.",
            f"No broker serves from {settings.data / FILE} any more: destroy it within a week, as any backup.",
        )


@app.command()
def restored(
    owner: Owner,
    config: Config = Path("broker.yaml"),
    password: Password = None,
    as_json: AsJson = False,
) -> None:
    """After the server was put back to an older state: close the log there, which goes on under another name.

    Stop every replica first, and set `log` in their configuration to a name that was never used: nodes saw more of the
    log than the database holds now. Before this was run no replica starts that knows of more.
    """
    with faults(as_json):
        settings = load_config(config)
        server, now = _database(settings), SystemClock().now()
        found = _postgres().close_log(_as(server, owner, password), server.user, settings.oin, settings.log, now)
        say(
            as_json,
            {"log": settings.log, "closed": {"log": found.origin, "size": found.size, "root": found.root.hex()}},
            f"{found.origin} is closed at {found.size} entries; the log goes on as {settings.log}.",
            f"Now: bekend broker manifest --config {config}; the operator signs it; start the replicas; tell the "
            "partners. Retire again which versions of the covenant were retired since.",
        )


def _database(
    settings: BrokerConfig,
    otherwise: str = "the configuration names no `database`: with SQLite there is nothing to prepare or to close",
) -> DatabaseServer:
    """What the configuration names. Raises StorageError, which says so, for a broker with a file."""
    if settings.database is None:
        raise StorageError(otherwise)
    return settings.database


def _as(server: DatabaseServer, owner: str, password: Path | None) -> DatabaseServer:
    """The same database, for the owner of its tables."""
    return server.model_copy(update={"user": owner, "password": password})


def _postgres() -> ModuleType:
    """The driver's module. Raises StorageError where it cannot be loaded."""
    try:
        from bekend_broker import store_postgres  # noqa: PLC0415 - a broker with SQLite needs none
    except ImportError as fault:
        raise StorageError(
            f"the driver for PostgreSQL cannot be loaded ({fault}): pip install 'bekend[postgres]'"
        ) from None
    return store_postgres
