"""`bekend node backup`, `verify-backup` and `restore`; `standby`, `promote` and `takeover`."""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Final

import typer
from bekend_proto import backup as backups
from bekend_proto import incarnation
from bekend_proto.clock import SystemClock

from bekend_node.backups import PARTY, Restored, bounded_keep, check_standby, known_keys, make_backup, newest
from bekend_node.backups import restore as put_back
from bekend_node.config import load_config
from bekend_node.terminal import AsJson, Config, faults, say

NOT_GOOD: Final = 3

NewKeys = Annotated[
    bool, typer.Option("--new-keys", help="The signing key was lost as well: believe the backup without it.")
]


def backup(
    folder: Annotated[Path, typer.Argument(help="Where backups are kept: another disk, encrypted, apart from keys.")],
    config: Config = Path("node.yaml"),
    keep: Annotated[
        int | None,
        typer.Option(
            metavar="HOURS", min=1, max=10_000, help="Destroy older ones; at most, unless given, the legal term."
        ),
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
        found = backups.verify(folder, None if new_keys else known_keys(settings, SystemClock().now()))
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
        _told(config, done, as_json)


def standby(
    folder: Annotated[Path, typer.Argument(help="Where the backups of the machine that serves arrive.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Can this machine take over with one command? It serves nothing, and changes nothing."""
    with faults(as_json):
        looked = check_standby(load_config(config), folder, SystemClock())
        good = not any(fault for _, fault in looked)
        rows = [{"what": what, "good": not fault, "detail": fault} for what, fault in looked]
        say(
            as_json,
            {"good": good, "checks": rows},
            *(f"{'FAULT' if fault else 'ok   '} {what}{': ' if fault else ''}{fault}" for what, fault in looked),
        )
    raise typer.Exit(0 if good else NOT_GOOD)


def promote(
    folder: Annotated[Path, typer.Argument(help="Where the backups of the machine that serves arrived.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Take over from the machine that serves: its newest backup is put back here, and it is refused from then on.

    Start the node afterwards. The other machine stops by itself when it meets the broker, whatever it still can do.
    """
    with faults(as_json):
        settings = load_config(config)
        found = newest(settings, folder, SystemClock().now())
        _told(config, asyncio.run(put_back(settings, found.folder, SystemClock().now())), as_json)


def takeover(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Take over with the data as it is here, or with none: every other machine of this node is refused from then on.

    For a node that begins empty after a loss without a backup. With a backup use `restore` or `promote`.
    """
    with faults(as_json):
        settings = load_config(config)
        taken = incarnation.take_over(settings.data, settings.oin, SystemClock().now())
        say(as_json, {"number": taken.number}, "From the next start on this machine is the node, and no other.")


def _told(config: Path, done: Restored, as_json: bool) -> None:
    closed = done.closed
    say(
        as_json,
        {"taken": done.backup.taken.isoformat(), "consents": done.consents, "log": done.log}
        | {"closed": {"log": closed.origin, "size": closed.size, "root": closed.root.hex()}},
        f"Put back as of {done.backup.taken:%Y-%m-%d %H:%M:%S} UTC. {closed.origin} is closed at {closed.size} "
        f"entries; the log goes on as {done.log}.",
        f"{done.consents} consents count as withdrawn: which of them still stand is asked anew.",
        f"Unless the manifest names this log already: bekend node manifest --config {config}, and have it signed. "
        "Then start the node and import every register, afgeschermd too.",
    )
