"""What the commands of `bekend broker` share: options, output, faults and exit codes."""

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import typer
from bekend_policy.faults import YamlFaults
from bekend_proto.errors import BekendError
from bekend_proto.findings import file_fault

FAULT: Final = 1

Config = Annotated[Path, typer.Option("--config", metavar="FILE", help="The broker's configuration.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object instead of text.")]


def say(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Write the lines, or with --json the facts."""
    sys.stdout.write((json.dumps(facts, ensure_ascii=False) if as_json else "\n".join(lines)) + "\n")


@contextmanager
def faults(as_json: bool) -> Iterator[None]:
    """Turn every expected fault into a message and exit code 1."""
    try:
        yield
    except YamlFaults as fault:
        _stop(as_json, str(fault))
    except BekendError as fault:
        _stop(as_json, str(fault))
    except OSError as fault:
        _stop(as_json, file_fault(fault))


def _stop(as_json: bool, detail: str) -> NoReturn:
    if as_json:
        say(True, {"fault": detail})
    else:
        sys.stderr.write(detail + "\n")
    raise typer.Exit(FAULT)
