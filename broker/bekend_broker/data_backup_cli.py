"""`bekend broker backup`, `verify-backup` and `restore`: the data; the keys have commands of their own."""

from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from bekend_proto import backup as backups
from bekend_proto.clock import SystemClock

from bekend_broker.backups import PARTY, bounded_keep, make_backup
from bekend_broker.backups import restore as put_back
from bekend_broker.backups import verify_backup as verified
from bekend_broker.config import load_config
from bekend_broker.terminal import AsJson, Config, faults, say

NewKeys = Annotated[
    bool, typer.Option("--new-keys", help="The signing key was lost as well: believe the backup without it.")
]


def backup(
    folder: Annotated[Path, typer.Argument(help="Where backups are kept: another disk, encrypted, apart from keys.")],
    config: Config = Path("broker.yaml"),
    keep: Annotated[
        int | None,
        typer.Option(metavar="HOURS", min=1, max=10_000, help="Destroy older ones; at most, and unless given, a week."),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up the data while the broker runs, and destroy backups past their term. No key is in it.

    It is whole, checked and synced when this ends; anything else leaves no backup.
    """
    with faults(as_json):
        settings, now = load_config(config), SystemClock().now()
        term = bounded_keep(None if keep is None else timedelta(hours=keep))
        made = make_backup(settings, folder, now)
        gone = backups.prune(folder, PARTY, settings.oin, now - term)
        say(
            as_json,
            made.to_json() | {"destroyed": [str(path) for path in gone]},
            f"{made.folder}: {len(made.files)} files, {made.octets} octets",
            *(f"destroyed {path}, which is past its term" for path in gone),
        )


def verify_backup(
    folder: Annotated[Path, typer.Argument(help="One backup.")],
    config: Config = Path("broker.yaml"),
    new_keys: NewKeys = False,
    as_json: AsJson = False,
) -> None:
    """Is this backup whole? Signature, every octet, every database."""
    with faults(as_json):
        found = verified(load_config(config), folder, SystemClock().now(), new_keys=new_keys)
        say(as_json, found.to_json(), f"{folder}: whole, of {found.oin}, taken {found.taken:%Y-%m-%d %H:%M:%S} UTC")


def restore(
    folder: Annotated[Path, typer.Argument(help="One backup.")],
    config: Config = Path("broker.yaml"),
    new_keys: NewKeys = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back in an empty data folder.

    Set `log` in the configuration to a name that was never used: nodes saw more of the log than the backup holds.
    """
    with faults(as_json):
        done = put_back(load_config(config), folder, SystemClock().now(), new_keys=new_keys)
        closed = done.closed
        say(
            as_json,
            {"taken": done.backup.taken.isoformat(), "log": done.log}
            | {"closed": {"log": closed.origin, "size": closed.size, "root": closed.root.hex()}},
            f"Put back as of {done.backup.taken:%Y-%m-%d %H:%M:%S} UTC. {closed.origin} is closed at {closed.size} "
            f"entries; the log goes on as {done.log}.",
            f"Now: bekend broker manifest --config {config}; the operator signs it; start the broker; tell the "
            "partners. Retire again which versions of the covenant were retired since.",
        )
