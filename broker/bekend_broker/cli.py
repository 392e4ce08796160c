"""`bekend broker`: set up, run and look after the broker of a federation."""

import asyncio
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Final

import typer
from bekend_policy.sign import write_atomic
from bekend_policy.suspension import open_suspension
from bekend_proto.clock import SystemClock
from bekend_proto.errors import InternalError
from bekend_proto.findings import FAILED, show

from bekend_broker import app as composition
from bekend_broker import (
    backup_cli,
    breach_cli,
    covenants,
    data_backup_cli,
    database_cli,
    log_export_cli,
    retention_cli,
    rotate_cli,
)
from bekend_broker.checks import check_all
from bekend_broker.config import BrokerConfig, load_config
from bekend_broker.keys import create_missing, destroy_over
from bekend_broker.rotation import make_draft
from bekend_broker.status import Status, read_status
from bekend_broker.suspending import hand_over
from bekend_broker.terminal import AsJson, Config, faults, say

NOT_GOOD: Final = FAILED

EPILOG = """
**Examples**

    bekend broker init --config broker/broker.yaml        a commented configuration, and keys

    bekend broker manifest --config broker/broker.yaml    what the operator signs off line

    bekend broker doctor --config broker/broker.yaml      is everything there, and does it fit?

    bekend broker serve --config broker/broker.yaml       run; SIGTERM drains, SIGHUP reloads

    bekend broker covenant add convenant-2 --config ...   a new version beside the present one

    bekend broker backup /backup --config ...             the data, while it runs; restore puts it back

    bekend broker backup-keys keys.backup --config ...    the roots, for two persons together

    bekend broker suspend stil.note --config ...          the kill switch, in force within a second

**Exit codes**

    0   done, and everything as it should be

    1   a fault: configuration, keys, network, storage; the message says which and what to do

    2   wrong use of the command line

    3   `doctor` found something that does not work; `suspend`: no running broker took the note

    6   `doctor` found nothing that fails, and something that wants attention soon
"""

app = typer.Typer(
    name="broker",
    help="Set up and run the broker of a federation.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)

covenant_app = typer.Typer(
    name="covenant",
    help="The covenant's versions in service: add one, list them, retire an older one.",
    no_args_is_help=True,
    rich_markup_mode="markdown",
)
app.add_typer(covenant_app)
app.add_typer(log_export_cli.app)
app.add_typer(retention_cli.app)
app.add_typer(database_cli.app)
app.command("backup-keys")(backup_cli.backup_keys)
app.command("restore-keys")(backup_cli.restore_keys)
app.command("backup")(data_backup_cli.backup)
app.command("verify-backup")(data_backup_cli.verify_backup)
app.command("restore")(data_backup_cli.restore)
app.command("breach")(breach_cli.breach)
app.command("rotate")(rotate_cli.rotate)


@app.command()
def init(
    config: Config = Path("broker.yaml"),
    as_json: AsJson = False,
) -> None:
    """Write a commented configuration and make the keys that are missing. What is in use is never overwritten.

    Run it again before each quarter, and a week after it began: it makes the roots of this and the next quarter and
    month, and destroys those of quarters that are over. Then make a manifest.
    """
    with faults(as_json):
        made: list[Path] = []
        if not config.exists():
            config.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(config, sample_config())
            made.append(config)
            keys = config.resolve().parent / "keys"
        else:
            keys = load_config(config).keys
        now = SystemClock().now()
        made += create_missing(keys, now)
        gone = destroy_over(keys, now)
        lines = [f"made {path}" for path in made] + [f"destroyed {path}, which is over" for path in gone]
        lines = lines or ["everything is there already"]
        if config in made:
            lines.append(f"Fill in {config}, then run: bekend broker manifest --config {config}")
        say(as_json, {"made": [str(path) for path in made], "destroyed": [str(path) for path in gone]}, *lines)


@app.command()
def manifest(config: Config = Path("broker.yaml"), as_json: AsJson = False) -> None:
    """Write the key manifest that the operator signs off line: the public half of every key, with a new number."""
    with faults(as_json):
        settings = load_config(config)
        draft = make_draft(settings, SystemClock().now())
        number = draft.number
        path = settings.manifest.with_name(f"manifest-{number}")
        write_atomic(path, draft.text().encode())
        say(
            as_json,
            {"manifest": str(path), "number": number, "keys": len(draft.evaluation_keys) + len(draft.record_keys)},
            f"Manifest {number}: {path}",
            f"The operator signs it off line:  bekend policy sign {path.name} --sleutel beheerder.key",
            f"Then put {path.name}.note in the place of {settings.manifest} and send the broker SIGHUP.",
        )


@app.command()
def serve(config: Config = Path("broker.yaml")) -> None:
    """Run until SIGTERM, which lets what runs end. SIGHUP reads covenant, manifest and keys again."""
    with faults(False):
        asyncio.run(composition.run(load_config(config)))


@app.command()
def doctor(config: Config = Path("broker.yaml"), as_json: AsJson = False) -> None:
    """Is everything there, and does it fit? Each line with its remedy.

    Clock, certificate, files, disk, database, covenant, signatures, keys, manifest, and the broker in service if one
    runs. It changes nothing.
    """
    with faults(as_json):
        code = show(check_all(load_config(config), SystemClock()), as_json=as_json)
    raise typer.Exit(code)


# Its name before it looked at the machine too.
app.command("check", hidden=True)(doctor)


@app.command()
def status(config: Config = Path("broker.yaml"), as_json: AsJson = False) -> None:
    """What the running broker says of itself on its metrics port."""
    with faults(as_json):
        found = read_status(_with_metrics(load_config(config)))
        say(as_json, found.to_json(), *_status_lines(found))


@app.command("suspend")
def suspend_command(
    note: Annotated[Path, typer.Argument(help="Note of the beheerder, or of whom afspraken.yaml names.")],
    config: Config = Path("broker.yaml"),
    as_json: AsJson = False,
) -> None:
    """Suspend the federation, a purpose or a node, or lift that: put a signed note into force, within a second.

    The note is made with `bekend policy sign` from a text of kind `bekend/1 stilzetting`.
    """
    with faults(as_json):
        settings = load_config(config)
        raw = note.read_bytes()
        versions = covenants.in_service(settings, SystemClock().now())
        found = open_suspension(raw, [version.covenant for version in versions])
        taken = hand_over(settings.data, raw)
        what, ahead = f"{found.what} {found.about}".strip(), found.ahead(SystemClock().now())
        say(
            as_json,
            {"number": found.number, "what": found.what, "about": found.about, "lifted": found.lifted, "taken": taken},
            f"{'Lifted' if found.lifted else 'Suspended'}: {what} (number {found.number}){ahead}."
            if taken
            else "No broker took it within 5 s: it comes into force when the broker runs. See its log.",
        )
    raise typer.Exit(0 if taken else NOT_GOOD)


@covenant_app.command("add")
def covenant_add(
    folder: Annotated[Path, typer.Argument(help="Folder of the new version, signed.")],
    config: Config = Path("broker.yaml"),
    as_json: AsJson = False,
) -> None:
    """Put a new version beside the one in service: nodes fetch it from here, and both count until one is retired.

    New purposes need new keys: run `bekend broker manifest` too.
    """
    with faults(as_json):
        added = covenants.add(load_config(config), folder, SystemClock().now())
        lines = [f"{added.id} version {added.version} added: send the broker SIGHUP."]
        if added.valid_from > SystemClock().now():
            lines.append(f"It holds from {added.valid_from:%Y-%m-%d %H:%M} UTC, by itself if the broker runs then.")
        say(as_json, {"version": added.version, "hash": added.hash.hex()}, *lines)


@covenant_app.command("list")
def covenant_list(config: Config = Path("broker.yaml"), as_json: AsJson = False) -> None:
    """The versions that count at this broker, newest first."""
    with faults(as_json):
        found = [version.covenant for version in covenants.in_service(load_config(config), SystemClock().now())]
        rows = [
            {"version": one.version, "hash": one.hash.hex(), "until": f"{one.valid_until:%Y-%m-%d}"} for one in found
        ]
        say(
            as_json,
            {"versions": rows},
            *(f"version {row['version']} until {row['until']}  {row['hash']}" for row in rows),
        )


@covenant_app.command("retire")
def covenant_retire(
    version: Annotated[int, typer.Argument(help="Number of the older version.")],
    config: Config = Path("broker.yaml"),
    as_json: AsJson = False,
) -> None:
    """End the change-over: an older version counts no more from the next SIGHUP. The newest one stays."""
    with faults(as_json):
        covenants.retire(load_config(config), version, SystemClock().now())
        say(as_json, {"retired": version}, f"Version {version} retired: send the broker SIGHUP.")


def sample_config() -> bytes:
    """The commented sample configuration that `init` writes."""
    return files("bekend_broker").joinpath("broker.example.yaml").read_bytes()


def _with_metrics(config: BrokerConfig) -> BrokerConfig:
    if config.metrics is None:
        raise InternalError("the configuration names no `metrics` address: add one, and status can be read there")
    return config


def _status_lines(found: Status) -> Iterator[str]:
    yield f"covenant {found.covenant} version {found.covenant_version}, until {found.covenant_until}"
    yield f"key manifest until {found.manifest_until}"
    yield f"{found.attached} partners attached, {found.lookups} lookups running"
    yield f"{found.questions} questions admitted, {found.refused} refused, since the start"
    yield f"{found.open_questions} questions that a colleague may still decide about"
    yield f"{found.log_entries} entries in the log"
    yield f"database {found.database}, which last answered at {found.database_at}"
    if found.log_alarms:
        yield f"ALARM: {found.log_alarms} logs of nodes do not go on from what they were; see `log-alarm` in the log"
    if found.storage_faults:
        yield f"{found.storage_faults} writes failed: nothing was answered then; look at the disk"
