"""`bekend node backup`, `verify-backup` and `restore`."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated

import typer
from bekend_proto import backup as backups
from bekend_proto.clock import SystemClock

from bekend_node.backups import PARTY, bounded_keep, make_backup
from bekend_node.backups import restore as put_back
from bekend_node.config import load_config
from bekend_node.keys import NodeKeys
from bekend_node.terminal import AsJson, Config, faults, say

NewKeys = Annotated[
    bool, typer.Option("--new-keys", help="The signing key was lost as well: believe the backup without it.")
]


def backup(
    folder: Annotated[Path, typer.Argument(help="Where backups are kept: another disk, encrypted, apart from keys.")],
    config: Config = Path("node.yaml"),
    keep: Annotated[
        int | None, typer.Option(metavar="HOURS", help="Destroy older ones; at most, and unless given, the legal term.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Back up the data while the node runs, and destroy backups past their term. No key is in it.

    It is whole, checked and synced when this ends; anything else leaves no backup.
    """
    with faults(as_json):
        settings, now = load_config(config), SystemClock().now()
        term = bounded_keep(settings, None if keep is None else timedelta(hours=keep))
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
    config: Config = Path("node.yaml"),
    new_keys: NewKeys = False,
    as_json: AsJson = False,
) -> None:
    """Is this backup whole? Signature, every octet, every database."""
    with faults(as_json):
        settings = load_config(config)
        public = None if new_keys else bytes(NodeKeys.load(settings.keys, settings.oin).signing.verify_key)
        found = backups.verify(folder, public)
        say(as_json, found.to_json(), f"{folder}: whole, of {found.oin}, taken {found.taken:%Y-%m-%d %H:%M:%S} UTC")


def restore(
    folder: Annotated[Path, typer.Argument(help="One backup.")],
    config: Config = Path("node.yaml"),
    new_keys: NewKeys = False,
    as_json: AsJson = False,
) -> None:
    """Put a backup back in an empty data folder. The node answers nothing before its registers are imported anew.

    Set `log` in the configuration to a name that was never used: others saw more of the log than the backup holds.
    """
    with faults(as_json):
        done = asyncio.run(put_back(load_config(config), folder, SystemClock().now(), new_keys=new_keys))
        closed = done.closed
        say(
            as_json,
            {"taken": done.backup.taken.isoformat(), "consents": done.consents, "log": done.log}
            | {"closed": {"log": closed.origin, "size": closed.size, "root": closed.root.hex()}},
            f"Put back as of {done.backup.taken:%Y-%m-%d %H:%M:%S} UTC. {closed.origin} is closed at {closed.size} "
            f"entries; the log goes on as {done.log}.",
            f"{done.consents} consents count as withdrawn: which of them still stand is asked anew.",
            f"Now: bekend node manifest --config {config}; have it signed; start the node; import every register, "
            "afgeschermd too.",
        )
