"""What the commands of `bekend inzage` share: options, passphrases, numbers of persons, exit codes. In Dutch."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from bekend_policy.terminal import AsJson, faults_shown, say
from bekend_proto.errors import KeysError, RefusedError, UnreachableError
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier

USAGE: Final = 2
NOT_GOOD: Final = 3
REFUSED: Final = 4

Config = Annotated[Path, typer.Option("--config", metavar="BESTAND", help="Configuratie van de node.")]
PassphraseFile = Annotated[
    Path | None,
    typer.Option("--wachtwoordbestand", help="Bestand met het wachtwoord (mode 0600); anders wordt het gevraagd."),
]
__all__ = ["AsJson", "Config", "PassphraseFile", "called", "faults", "passphrase", "person", "say", "stop"]


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
        return str(typer.prompt(question, hide_input=True, confirmation_prompt=new, err=True))
    if os.stat(file).st_mode & 0o077:
        raise KeysError(f"ook anderen mogen {file} lezen: draai 'chmod 600 {file}'")
    return file.read_text("utf-8").split("\n", 1)[0]


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
