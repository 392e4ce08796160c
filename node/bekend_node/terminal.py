"""What the commands of `bekend node` share: options, output, faults and exit codes."""

import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from bekend_policy.faults import YamlFaults
from bekend_proto.errors import BekendError, BudgetError, FencedError, MalformedError, RefusedError
from bekend_proto.findings import file_fault
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier

FAULT: Final = 1
REFUSED: Final = 4
FENCED: Final = 8

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The node's configuration.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def say(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Write the lines, or with --json the facts."""
    sys.stdout.write((json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines)) + "\n")


@contextmanager
def faults(as_json: bool) -> Iterator[None]:
    """Turn every expected fault into a message and an exit code."""
    try:
        yield
    except RefusedError as fault:
        _stop(as_json, fault.reason, REFUSED)
    except BudgetError as fault:
        _stop(as_json, fault.detail, REFUSED)
    except FencedError as fault:
        _stop(as_json, fault.detail, FENCED)
    except (YamlFaults, BekendError) as fault:
        _stop(as_json, str(fault), FAULT)
    except OSError as fault:
        _stop(as_json, file_fault(fault), FAULT)


def read_persons(kind: str, file: Path | None = None) -> list[Identifier]:
    """Numbers from a file, from the terminal, not shown, or from standard input: one a line.

    A line may say another kind before its number: `kind:number`.

    Raises MalformedError by line, never by value; OSError for a file that cannot be read.
    """
    if file is not None:
        text = file.read_text("utf-8", errors="replace")
    else:
        text = getpass.getpass(f"{kind}: ") if sys.stdin.isatty() else sys.stdin.read(1 << 20)
    persons = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            named, mark, value = line.strip().partition(":")
            persons.append(parse_identifier(named, value) if mark else parse_identifier(kind, line))
        except InvalidIdentifier as fault:
            raise MalformedError(f"line {number}: {fault}") from None
    if not persons:
        raise MalformedError("no number was given: type one, or give one a line on standard input")
    return persons


def _stop(as_json: bool, detail: str, code: int) -> NoReturn:
    if as_json:
        say(True, {"fault": detail})
    else:
        sys.stderr.write(detail + "\n")
    raise typer.Exit(code)
