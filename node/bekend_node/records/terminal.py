"""What the commands of `bekend inzage` share: options, passphrases, numbers of persons, exit codes. In Dutch."""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from bekend_policy.officer_key import OfficerKey, open_officer_key
from bekend_policy.passphrase import open_to_others
from bekend_policy.terminal import AsJson, faults_shown, say
from bekend_proto.errors import KeysError, RefusedError, UnreachableError
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from bekend_node.store_export import Progress as Report

USAGE: Final = 2
NOT_GOOD: Final = 3
REFUSED: Final = 4

Config = Annotated[Path, typer.Option("--config", metavar="BESTAND", help="Configuratie van de node.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--wachtwoordbestand", help="Bestand met het wachtwoord (mode 0600); anders wordt het gevraagd."),
]
__all__ = ["AsJson", "Config", "PassphraseFile", "anchor_of", "bars", "called", "faults", "officer_keys", "passphrase",
           "person", "say", "stop"]  # fmt: skip


@contextmanager
def faults(as_json: bool) -> Iterator[None]:
    """Turn every expected fault into text and an exit code: 4 for a refusal, 1 for what is wrong."""
    with faults_shown(as_json):
        try:
            yield
        except RefusedError as error:
            if as_json:
                say(True, {"refused": {"rule": error.rule, "reason": error.reason}})
            else:
                sys.stderr.write(f"Geweigerd (regel {error.rule}): {error.reason}\n")
            raise typer.Exit(REFUSED) from None


def called(reply: dict[str, Any]) -> dict[str, Any]:
    """The facts of a reply of the node. Raises RefusedError, or UnreachableError with the node's reason."""
    if reply["type"] == "refused":
        raise RefusedError(str(reply["rule"]), str(reply["reason"]))
    if reply["type"] != "result":
        raise UnreachableError(str(reply.get("reason", "De node gaf een onbekend antwoord.")))
    return {key: value for key, value in reply.items() if key != "type"}


def passphrase(file: Path | None, question: str = "Wachtwoord", *, new: bool = False) -> str:
    """A passphrase from a file of mode 0600, or asked for; a new one twice. Raises KeysError."""
    if file is None:
        return str(
            typer.prompt(question, hide_input=True, confirmation_prompt="Nog een keer" if new else False, err=True)
        )
    if open_to_others(file.stat().st_mode):
        raise KeysError(f"ook anderen mogen {file} lezen: draai 'chmod 600 {file}'")
    return file.read_text("utf-8").split("\n", 1)[0]


def officer_keys(files: Sequence[Path], passphrases: Sequence[Path]) -> list[OfficerKey]:
    """The officer's keys, the present one first; a passphrase that no file holds is asked for. Raises KeysError."""
    given: list[Path | None] = [*passphrases, *[None] * (len(files) - len(passphrases))]
    return [
        open_officer_key(path, passphrase(secret, f"Wachtwoord van {path.name}"))
        for path, secret in zip(files, given, strict=False)
    ]


def anchor_of(value: str) -> str:
    """A verification key as it was typed, or from a file."""
    path = Path(value)
    return path.read_text("utf-8").strip() if "+" not in value and path.is_file() else value.strip()


@contextmanager
def bars(names: Mapping[str, str]) -> Iterator[Callable[[str], Report]]:
    """A bar per stage, on a terminal; `names` says what each stage is called."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, auto_refresh=False) as progress:

        def stage(name: str) -> Report:
            task = progress.add_task(names[name], total=None)

            def report(done: int, total: int) -> None:
                progress.update(task, completed=done, total=total)
                progress.refresh()

            return report

        yield stage


def person(kind: str) -> Identifier:
    """The number of one person, from a prompt or from stdin; never from the command line. Ends the command."""
    if sys.stdin.isatty():
        sys.stderr.write("Nummer van de persoon: ")
        sys.stderr.flush()
    typed = sys.stdin.readline(100) if sys.stdin.isatty() else sys.stdin.read(1000)
    numbers = typed.split()
    if len(numbers) != 1:
        stop(USAGE, "Geef het nummer van precies één persoon.")
    try:
        return parse_identifier(kind, numbers[0])
    except InvalidIdentifier as error:
        stop(USAGE, str(error))


def stop(code: int, text: str) -> NoReturn:
    """Leave with this text and code."""
    sys.stderr.write(text + "\n")
    raise typer.Exit(code)
