"""The one command, `bekend`, above all rooms.

A group is imported when it is used, not before: `bekend --help` and shell completion of the first word
load neither gRPC nor libsodium.
"""

import contextlib
import gc
import importlib
import sys
from dataclasses import dataclass
from importlib.metadata import version
from typing import Annotated, Any

import typer
import typer.core
import typer.main


@dataclass(frozen=True)
class Part:
    """One word after `bekend`: where its Typer app lives, and its line in the help."""

    module: str
    help: str


PARTS: dict[str, Part] = {
    "demo": Part("bekend_deploy.demo_cli", "A whole federation on this machine, with synthetic people. Start here."),
    "lookup": Part("bekend_node.lookup_cli", "Ask which partners know a person."),
    "vierogen": Part("bekend_node.eyes_cli", "Look along with a colleague's question, and ask what was looked at."),
    "antwoorden": Part("bekend_node.late_cli", "See answers that came after a lookup had ended."),
    "toestemming": Part("bekend_node.consent_cli", "Record, show and withdraw a consent."),
    "node": Part("bekend_node.cli", "Set up, fill and run the node of one partner."),
    "broker": Part("bekend_broker.cli", "Set up and run the broker of a federation."),
    "policy": Part("bekend_policy.cli", "Check, sign and verify the covenant."),
    "zaak": Part("bekend_node.zaak_cli", "Tell the node what became of a case: not taken in, or a decision changed."),
    "bulletin": Part("bekend_node.bulletin_cli", "Figures per quarter that point at nobody; join those of partners."),
    "log": Part("bekend_deploy.log_cli", "Read, export, verify and compare the logs of broker and nodes."),
    "receipt": Part("bekend_node.receipt_cli", "Check an answer receipt, off line."),
    "inzage": Part("bekend_node.records.cli", "Answer a citizen's access request; defer informing (privacy officer)."),
    "audit": Part("bekend_node.audit.cli", "The audit by sample (privacy officer, auditor)."),
    "drill": Part("bekend_bench.drill_cli", "Break a federation on this machine on purpose, and time how it mends."),
    "bench": Part("bekend_bench.cli", "Measure this machine against the floor of the protocol."),
}

EPILOG = """
**Examples**

    bekend demo                                        see it work, in under a minute

    bekend policy verify convenant                     is this covenant signed by everybody it binds?

    bekend node serve --config node.yaml               run the node of a partner

    bekend lookup --config node.yaml --doel zsm/zsm-context --zaak 01/234567-26

**Exit codes**

    0   done, and everything as it should be

    1   a fault: configuration, keys, network, storage; the message says which and what to do

    2   wrong use of the command line

    3   done, but not as it should be: a check failed, an outcome differs, a partner did not answer

    4   refused by the covenant or a guard; nothing was changed

    5   `bekend lookup`, `antwoorden`, `toestemming`, `vierogen`: the node cannot be reached, or cannot ask now

    6   `doctor`: nothing fails, and something wants attention soon

    7   `bekend lookup`: a second officer has to look first; nothing was asked

    130 stopped with Ctrl-C

`bekend GROUP --help` says more, and so does docs/exit-codes.md.
"""


def load(name: str) -> Any:
    """The Typer command behind one word, importing its room now."""
    # Nothing that an import makes is garbage: looking for some among it, over and over, is an eighth of its time.
    gc.disable()
    try:
        app: typer.Typer = importlib.import_module(PARTS[name].module).app
    finally:
        gc.freeze()
        gc.enable()
    command = typer.main.get_command(app)
    command.name = name
    return command


class LazyGroup(typer.core.TyperGroup):
    """Shows the words from PARTS and imports the one that is used."""

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The real command in the place of the line that the help shows."""
        name, command, rest = super().resolve_command(ctx, args)
        return (name, load(name), rest) if name in PARTS else (name, command, rest)


app = typer.Typer(
    name="bekend",
    cls=LazyGroup,
    help="Which partners know this person? One question, one bit per partner, and nothing else.",
    epilog=EPILOG,
    no_args_is_help=True,
    rich_markup_mode="markdown",
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"bekend {version('bekend')}\n")
        raise typer.Exit


@app.callback()
def _bekend(
    _: Annotated[
        bool, typer.Option("--version", is_eager=True, callback=_show_version, help="Show the version and stop.")
    ] = False,
) -> None:
    """Which partners know this person? One question, one bit per partner, and nothing else."""


def _line(name: str, text: str) -> None:
    """Register the line that `bekend --help` shows; LazyGroup puts the real command in its place."""
    app.command(name, help=text)(lambda: None)


for _name, _part in PARTS.items():
    _line(_name, _part.help)


def main() -> None:
    """Entry point. A fault is one line on stderr and an exit code; of one that nobody foresaw, its class and place.

    Never a traceback: the text of an exception might quote what the command was given (must-list 12).
    """
    _leave_no_core()
    command = typer.main.get_command(app)
    try:
        command(prog_name="bekend")
    except Exception as fault:
        sys.stderr.write(f"bekend: {_told(fault)}\n")
        sys.exit(1)


def _told(fault: Exception) -> str:
    from bekend_proto.errors import BekendError  # noqa: PLC0415 - loads gRPC, so only when needed
    from bekend_proto.logs import place_of  # noqa: PLC0415

    if isinstance(fault, BekendError):
        return fault.detail
    place = place_of(fault.__traceback__)
    return f"a fault that nobody foresaw ({type(fault).__name__} at {place}): please report it, with what you did"


def _leave_no_core() -> None:
    """No file of this process's memory when it crashes: keys and identifiers stand in it (must-list 12).

    One octet, not none: a program that cores are piped to (apport, abrt) is started whatever the limit is, but for one
    (Linux, fs/coredump.c).
    """
    # Windows has neither the module nor the files. Who was started with a lower limit cannot raise it.
    with contextlib.suppress(ImportError, ValueError):
        import resource  # noqa: PLC0415

        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


if __name__ == "__main__":
    main()
