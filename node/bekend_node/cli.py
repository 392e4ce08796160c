"""`bekend node`: set up, fill and run the node of one partner."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, Final

import typer
from bekend_policy.sign import write_atomic
from bekend_policy.suspension import parse_suspension
from bekend_proto.clock import SystemClock
from bekend_proto.errors import KeysError, MalformedError
from bekend_proto.findings import FAILED, show
from bekend_proto.note import parse_note, parse_vkey
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn

from bekend_node import (
    alarm_cli,
    backup_cli,
    breach_cli,
    colleagues_cli,
    covenant_cli,
    desk_cli,
    inbox_cli,
    leave_cli,
    questions_cli,
    raise_cli,
    retention_cli,
    rotate_cli,
    signals_cli,
)
from bekend_node.alarm_cli import alarm_line
from bekend_node.config import NodeConfig, load_config
from bekend_node.control_client import ControlClient
from bekend_node.enrol.command import enrol_file, make_executor, shield_persons
from bekend_node.enrol.dry_run import dry_run
from bekend_node.enrol.lists import Wanted, no_register, size_of
from bekend_node.enrol.shield import still_found_by
from bekend_node.enrol_view import dry_facts, dry_lines, facts_of, lines_of
from bekend_node.keys import NodeKeys
from bekend_node.setup import configuration, draw_canary, for_partner, make_draft, with_approvers
from bekend_node.store_registers import Registers
from bekend_node.terminal import REFUSED, AsJson, Config, faults, read_persons, say

NOT_GOOD: Final = FAILED

EPILOG = """
**Examples**

    bekend node init --config node.yaml --oin 00000099000000000002     keys, and a commented configuration

    bekend node manifest --config node.yaml                            what the ondertekenaar signs off line

    bekend node enrol --config node.yaml --register nazorg --file clients.csv

    bekend node serve --config node.yaml                               run; SIGTERM drains, SIGHUP reloads

    bekend node suspend stil.note --config node.yaml                   the kill switch; resume lifts it

    bekend node covenant fetch --config node.yaml                      a new version of the covenant, and what changes

    bekend node desk list                                              what a colleague here is to decide on

    bekend node colleagues add --config node.yaml                      about whom a second officer always looks

    bekend node backup /backup --config node.yaml                      while it runs; restore puts it back

    bekend node doctor --config node.yaml                              everything, up to the canary over the broker

    bekend node shield --config node.yaml                              asks for the number; never on the command line

**Exit codes**

    0   done, and everything as it should be

    1   a fault: file, configuration, keys, network, storage; the message says which and what to do

    2   wrong use of the command line

    3   `doctor` found something that does not work; `status`: a purpose cannot be answered, or an alarm;
        `suspend`, `resume`: a replica of the broker does not know of it yet

    4   a guard stopped it (shrinking, nobody on the list, too many refused rows, mapping), or a rule (raise, desk):
        nothing was changed

    6   `doctor` found nothing that fails, and something that wants attention soon
"""

app = typer.Typer(
    name="node",
    help="Set up, fill and run the node of one partner.",
    epilog=EPILOG,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_show_locals=False,
)

app.add_typer(covenant_cli.app)
app.command("inbox")(inbox_cli.inbox)
app.command("leave")(leave_cli.leave)
app.command("raise")(raise_cli.raise_limit)
app.command("signals")(signals_cli.signals)
app.add_typer(questions_cli.app)
app.add_typer(retention_cli.app)
app.command("breach")(breach_cli.breach)
app.command("backup")(backup_cli.backup)
app.command("verify-backup")(backup_cli.verify_backup)
app.command("restore")(backup_cli.restore)
app.command("standby")(backup_cli.standby)
app.command("promote")(backup_cli.promote)
app.command("takeover")(backup_cli.takeover)
app.command("rotate")(rotate_cli.rotate)
app.add_typer(alarm_cli.app)
app.add_typer(desk_cli.app)
app.add_typer(colleagues_cli.app)


@app.command()
def init(  # noqa: PLR0917 - options have names on the command line
    config: Config = Path("node.yaml"),
    oin: Annotated[str | None, typer.Option(help="OIN of this partner, 20 positions.")] = None,
    anchor: Annotated[str | None, typer.Option(help="Public key of the own ondertekenaar, or a file with it.")] = None,
    broker: Annotated[str | None, typer.Option(help="host:port of the broker.")] = None,
    covenant: Annotated[str | None, typer.Option(help="Folder of the covenant.")] = None,
    approver: Annotated[
        list[str] | None, typer.Option(help="Public key of who approves mappings, or a file with it. Twice.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Write a commented configuration, and make the keys. Nothing is ever overwritten.

    With the covenant's folder it names the registers and the purposes that the covenant gives this partner.
    """
    with faults(as_json):
        is_new = not config.exists()
        if is_new:
            answers = {"oin": oin, "anchor": _vkey("--anchor", anchor), "address": broker, "covenant": covenant}
            answers["canary"] = draw_canary()
            text = configuration({key: value for key, value in answers.items() if value})
            text = with_approvers(text, [key for value in approver or () if (key := _vkey("--approver", value))])
            if oin and covenant:
                text = for_partner(text, oin, config.resolve().parent / covenant)
            config.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(config, text.encode())
        elif any((oin, anchor, broker, covenant, approver)):
            raise KeysError(f"{config} is there already, and is never overwritten: edit it, or leave the options out")
        try:
            settings = load_config(config)
            if (settings.keys / "signing.key").exists():
                raise KeysError(f"{settings.keys} holds keys already: they are created once and never overwritten")
            NodeKeys.create(settings.keys, settings.oin, SystemClock().now())
        except BaseException:
            if is_new:
                # With it there, the options of the next try would count for nothing.
                config.unlink()
            raise
        made = [config, settings.keys] if is_new else [settings.keys]
        say(
            as_json,
            {"made": [str(path) for path in made]},
            *(f"made {path}" for path in made),
            f"Fill in {config}, then run: bekend node manifest --config {config}",
        )


def _vkey(option: str, value: str | None) -> str | None:
    """A public key as it was given, or from the file that holds it. Raises MalformedError for what is none, OSError."""
    if value is None:
        return None
    found = value if "+" in value else Path(value).read_text(encoding="utf-8", errors="replace").strip()
    try:
        parse_vkey(found)
    except MalformedError as fault:
        raise MalformedError(f"{option}: {fault.detail}: give the line that `bekend policy keygen` wrote") from None
    return found


@app.command()
def manifest(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """Write the key manifest that the ondertekenaar signs off line: the public half of every key, with a new number.

    Run it again within two weeks before each quarter: it makes the next quarter's keys.
    """
    with faults(as_json):
        settings = load_config(config)
        draft = make_draft(settings, SystemClock().now())
        path = settings.manifest.with_name(f"manifest-{draft.number}")
        write_atomic(path, draft.text().encode())
        say(
            as_json,
            {"manifest": str(path), "number": draft.number, "keys": len(draft.evaluation_keys)},
            f"Manifest {draft.number}: {path}",
            f"The ondertekenaar signs it off line:  bekend policy sign {path.name} --sleutel ondertekenaar.key",
            f"Then put {path.name}.note in the place of {settings.manifest} and send the node SIGHUP.",
        )


@app.command()
def enrol(  # noqa: PLR0917 - options have names on the command line
    register: Annotated[str, typer.Option(help="Register, as node.yaml and the covenant name it.")],
    file: Annotated[
        Path | None,
        typer.Option(help="CSV or .xlsx with a first line of column names; none: the mapping names a database."),
    ] = None,
    config: Config = Path("node.yaml"),
    changes: Annotated[bool, typer.Option("--changes", help="The file holds additions (+) and removals (-).")] = False,
    as_of: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="Date of the list; else the file's own.")
    ] = None,
    epoch: Annotated[str, typer.Option(help="current, next, or a quarter such as 2027Q1.")] = "current",
    confirm_shrink: Annotated[
        bool, typer.Option("--confirm-shrink", help="Yes, the register became smaller, or holds nobody.")
    ] = False,
    mapping: Annotated[
        str | None, typer.Option(metavar="HASH", help="Stop unless the mapping has this hash: for timers.")
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Read everything, say what would be enrolled, send and write nothing.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import a register: pseudonyms come in, the file's numbers go nowhere.

    What is stopped half-way goes on when it is run again. Nothing is in service before all of it is.
    """
    with faults(as_json):
        settings = load_config(config)
        if register not in settings.registers:
            # A word that was typed wrong: no guard looked at a list.
            raise typer.BadParameter(no_register(settings, register), param_hint="--register")
        wanted = Wanted(
            register=register,
            file=file,
            changes=changes,
            as_of=as_of.date() if as_of else None,
            epoch=epoch,
            confirm_shrink=confirm_shrink,
            pinned=mapping,
        )
        if dry:
            done = dry_run(settings, wanted, SystemClock())
            say(as_json, dry_facts(done), *dry_lines(done))
            raise typer.Exit(REFUSED if done.stopped else 0)
        # Before anything else: the workers are forked from a process with one thread.
        with make_executor(settings, size_of(settings, wanted)) as executor, _bars() as bars:
            report = asyncio.run(enrol_file(settings, wanted, SystemClock(), executor, bars))
        say(as_json, facts_of(register, report), *lines_of(register, report))


@app.command()
def shield(  # noqa: PLR0917 - options have names on the command line
    config: Config = Path("node.yaml"),
    lift: Annotated[bool, typer.Option("--lift", help="No longer shield.")] = False,
    whole: Annotated[bool, typer.Option("--all", help="These are all: begins the list of a quarter.")] = False,
    kind: Annotated[str, typer.Option(help="Kind of the numbers.")] = "bsn",
    now: Annotated[
        list[str] | None,
        typer.Option("--nu", metavar="PURPOSE", help="Stop this purpose here and now, until its next switch. Often."),
    ] = None,
    reason: Annotated[str, typer.Option("--reden", help="Why, with `--nu`. In Dutch, without names or numbers.")] = "",
    as_json: AsJson = False,
) -> None:
    """Never answer `bekend` about a person. Asks for the numbers, or reads them from standard input, one a line.

    It holds from the next fixed switch: `bekend node status` says when that is. Is that too late? `--nu` has the
    running node answer nothing under a purpose until then. A quarter, and a purpose that is new, begin without a list:
    once somebody is shielded, the list of those begins with all who are (`--all`).
    """
    with faults(as_json):
        settings = load_config(config)
        persons = read_persons(kind)
        _halt(settings, now or [], reason)
        with make_executor(settings, 0) as executor:
            epochs = asyncio.run(shield_persons(settings, persons, SystemClock(), executor, lift=lift, whole=whole))
        # Once more: a filter that was being built meanwhile may not know of it.
        until = _halt(settings, now or [], reason)
        what = "no longer shielded" if lift else "shielded"
        others = [] if lift else still_found_by(Registers.peek(settings.data), {one.kind for one in persons})
        say(
            as_json,
            {"persons": len(persons), "epochs": epochs, "lifted": lift, "halted": until, "still_found_by": others},
            f"{len(persons)} person(s) {what} in {', '.join(epochs)}, from the next switch (see bekend node status).",
            *(f"STILL FOUND by {one}: this node is asked by it too, and it was not given." for one in others),
            *(f"{purpose} answers nothing until {moment or 'its first filter'}." for purpose, moment in until.items()),
        )


def _halt(settings: NodeConfig, purposes: Sequence[str], reason: str) -> dict[str, str | None]:
    """Stop purposes at the running node; until when each. Raises KeysError with the node's own words."""
    if not purposes:
        return {}
    until = {}
    with ControlClient(settings.socket) as client:
        for purpose in purposes:
            found = client.call({"op": "halt", "purpose": purpose, "reason": reason})
            if found["type"] != "result":
                raise KeysError(str(found.get("reason", found["type"])))
            until[purpose] = found["until"]
    return until


@app.command()
def serve(
    config: Config = Path("node.yaml"),
    dev: Annotated[
        bool, typer.Option("--dev", help="For trials: pages without sign-in, on loopback only, with a banner.")
    ] = False,
) -> None:
    """Run until SIGTERM, which drains. SIGHUP reads covenant, manifest, standing decisions and certificates again."""
    from bekend_node.app import run  # noqa: PLC0415 - half a second that only this command needs

    with faults(False):
        asyncio.run(run(load_config(config), dev=dev))


@app.command()
def status(config: Config = Path("node.yaml"), as_json: AsJson = False) -> None:
    """How the running node stands: per purpose the mode, the standing decision's end, the filter, the lists."""
    with faults(as_json), ControlClient(load_config(config).socket) as client:
        found = client.call({"op": "status"})
        say(as_json, {key: value for key, value in found.items() if key != "type"}, *_status_lines(found))
        ready = all(facts["ready"] for facts in found.get("purposes", {}).values()) and not found["log"]["alarms"]
    raise typer.Exit(0 if ready else NOT_GOOD)


@app.command()
def suspend(
    note: Annotated[Path, typer.Argument(help="Signed note of kind `bekend/1 stilzetting`.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Suspend this node, a purpose that it answers, or what else its signer may: here at once, elsewhere in seconds."""
    _install(config, note, as_json, lifts=False)


@app.command()
def resume(
    note: Annotated[Path, typer.Argument(help="Signed note with `intrekking: ja` and a higher number.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Lift a suspension with the signed withdrawal of who suspended."""
    _install(config, note, as_json, lifts=True)


def _install(config: Path, note: Path, as_json: bool, *, lifts: bool) -> None:
    with faults(as_json):
        text = note.read_bytes().decode("utf-8", "replace")
        parsed = parse_suspension(parse_note(text.encode()).text)
        if parsed.lifted is not lifts:
            raise MalformedError(
                "this note lifts a suspension: use `bekend node resume`"
                if not lifts
                else "this note suspends: use `bekend node suspend`"
            )
        with ControlClient(load_config(config).socket) as client:
            found = client.call({"op": "suspend", "note": text})
        if found["type"] != "result":
            raise KeysError(str(found.get("reason", found["type"])))
        what, ahead = f"{found['what']} {found['about']}".strip(), parsed.ahead(SystemClock().now())
        lacking = [address for address, has in found["brokers"].items() if not has]
        say(
            as_json,
            {key: value for key, value in found.items() if key != "type"},
            f"{'Lifted' if lifts else 'Suspended'} here: {what} (number {found['number']}){ahead}.",
            *(f"NOT known to {address} yet: it is told again as soon as it can be reached." for address in lacking),
        )
    raise typer.Exit(NOT_GOOD if lacking else 0)


@app.command()
def doctor(
    config: Config = Path("node.yaml"),
    canary: Annotated[bool, typer.Option(help="Ask the running node about its own canary, over the broker.")] = True,
    as_json: AsJson = False,
) -> None:
    """Is everything there, does it fit, and is the canary found all the way over the broker? Each line with its remedy.

    Clock, certificate, files, disk, databases, covenant, keys, lists, the way to every broker: with the node running or
    without it. The canary may be asked 24 times a day per purpose.
    """
    from bekend_node.checks import check_all  # noqa: PLC0415 - loads the whole node

    with faults(as_json):
        code = show(list(check_all(load_config(config), SystemClock(), canary=canary)), as_json=as_json)
    raise typer.Exit(code)


# Its name before it looked at the machine too.
app.command("check", hidden=True)(doctor)


def _purpose_lines(purpose: str, facts: dict[str, Any]) -> Iterator[str]:
    yield f"{purpose}: {facts['mode']}" + ("" if facts["ready"] else f": cannot be answered: {facts['reason']}")
    if facts["by_hand"]:
        yield "  a colleague decides on each question: bekend node desk list"
    if facts["standing_decision_until"]:
        yield f"  standing decision until {facts['standing_decision_until']}"
    if facts["filter_version"]:
        yield f"  filter {facts['filter_version']} ({facts['epoch']}), lists as of {facts['as_of']}"
        yield f"  asked by {', '.join(facts['kinds']) or 'no combination: no register holds one'}"
    if facts["next_switch"]:
        yield f"  next switch {facts['next_switch']}"


def _status_lines(found: dict[str, Any]) -> Iterator[str]:
    yield f"{found['oin']}, covenant {found['covenant']['id']} version {found['covenant']['version']}"
    for one in found["covenants"][1:]:
        yield f"  beside it version {one['version']}, until {one['until']}"
    for one in found["suspensions"]:
        span = "".join(f" {word} {one[word]}" for word in ("since", "until") if one[word])
        yield f"  SUSPENDED{span}: {one['what']} {one['about']} by {one['by']}: {one['reason']}"
    yield from map(alarm_line, found["log"]["alarms"])
    for origin, size in found["log"]["seen"].items():
        yield f"  log {origin}: {size} entries, proved"
    for broker, attached in found["brokers"].items():
        yield f"  {'attached to' if attached else 'NOT attached to'} {broker}"
    for purpose, facts in found["purposes"].items():
        yield from _purpose_lines(purpose, facts)
    yield from _waiting(found["deferrals"])
    if count := found["emergencies"]["open"]:
        late = found["emergencies"]["overdue"]
        yield f"{count} noodgreep(en) wait for a second officer, {late} longer than 24 hours: bekend vierogen lijst"
    if rows := found["retention_waits"]:
        yield f"{rows} rows past their term wait for an audit, or for a claim: bekend node retention show"
    for one in found["registers"]:
        yield f"register {one['register']} for {one['purpose']} in {one['epoch']}: as of {one['as_of']}"


def _waiting(deferrals: dict[str, int]) -> Iterator[str]:
    if count := deferrals["due"] + deferrals["pending"]:
        yield f"{count} deferral(s) of informing wait for a person: bekend inzage uitstel list"


class _Bars:
    """Progress on a terminal: one bar per stage."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._tasks: dict[str, TaskID] = {}

    def __call__(self, stage: str, done: int, total: int) -> None:
        if stage not in self._tasks:
            self._tasks[stage] = self._progress.add_task(_STAGES[stage], total=total or None)
        self._progress.update(self._tasks[stage], completed=done, total=total or None)


_STAGES = {"check": "Check rows", "send": "Pseudonymise (chunks)", "store": "Store (purposes)"}


@contextmanager
def _bars() -> Iterator[_Bars]:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        yield _Bars(progress)
