"""`bekend broker backup-keys` and `restore-keys`: the roots in the hands of two persons."""

import os
from pathlib import Path
from typing import Annotated

import typer
from bekend_proto.clock import SystemClock
from bekend_proto.errors import KeysError

from bekend_broker.config import load_config
from bekend_broker.key_backup import Passphrases, back_up, open_backup, restore
from bekend_broker.terminal import AsJson, Config, faults, say

FirstFile = Annotated[
    Path | None, typer.Option("--first-passphrase-file", help="File of mode 0600 of the first person; else asked for.")
]
SecondFile = Annotated[
    Path | None,
    typer.Option("--second-passphrase-file", help="File of mode 0600 of the second person; else asked for."),
]


def backup_keys(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="New file; nothing is ever overwritten.")],
    config: Config = Path("broker.yaml"),
    first: FirstFile = None,
    second: SecondFile = None,
    as_json: AsJson = False,
) -> None:
    """Back up every root and the signing key, so that two persons together can restore them, and neither alone.

    Make a new backup after every `init`, and destroy the one before: it holds roots that should be gone.
    """
    with faults(as_json):
        settings = load_config(config)
        passphrases = _both(first, second, new=True)
        names = back_up(settings.keys, out, settings.oin, SystemClock().now(), passphrases)
        say(
            as_json,
            {"backup": str(out), "keys": names},
            f"Backup of {len(names)} keys: {out}. Keep it away from the broker and from both persons.",
            "Destroy the backup before this one. Try it out: bekend broker restore-keys with another folder of keys.",
        )


def restore_keys(
    backup: Annotated[Path, typer.Argument(metavar="FILE", help="A backup.")],
    config: Config = Path("broker.yaml"),
    first: FirstFile = None,
    second: SecondFile = None,
    as_json: AsJson = False,
) -> None:
    """Put keys back that are missing. A file that holds another key stops it; nothing is ever overwritten."""
    with faults(as_json):
        settings = load_config(config)
        done = restore(settings.keys, open_backup(backup, settings.oin, _both(first, second, new=False)))
        say(
            as_json,
            {"written": [str(path) for path in done.written], "present": [str(path) for path in done.present]},
            *(f"restored {path}" for path in done.written),
            f"{len(done.present)} were there already. Look whether they fit: bekend broker doctor --config {config}",
        )


def _both(first: Path | None, second: Path | None, *, new: bool) -> Passphrases:
    return Passphrases(_passphrase(first, "First", new=new), _passphrase(second, "Second", new=new))


def _passphrase(file: Path | None, whose: str, *, new: bool) -> str:
    if file is None:
        return str(typer.prompt(f"{whose} passphrase", hide_input=True, confirmation_prompt=new, err=True))
    if os.stat(file).st_mode & 0o077:
        raise KeysError(f"{file} is readable by others: run `chmod 600 {file}`")
    return file.read_text("utf-8").split("\n", 1)[0]
