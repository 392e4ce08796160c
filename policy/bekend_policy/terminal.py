"""What the `bekend policy` commands share: how they show results and faults, in Dutch or as JSON."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, NoReturn

import typer
from bekend_proto.errors import BekendError

from bekend_policy.faults import CovenantFaults, Fault, YamlFaults
from bekend_policy.scalars import is_oin

OK, FAULT, WRONG_USE = 0, 1, 2

AsJson = Annotated[bool, typer.Option("--json", help="Eén JSON-object in plaats van tekst.")]


def must_exist(path: Path) -> None:
    """Wrong use (code 2) when there is nothing at this path."""
    if not path.exists():
        wrong_use(f"{path} bestaat niet. Controleer het pad.")


def must_be_oins(**options: str | None) -> None:
    """Wrong use (code 2) when an option (`van="..."` for --van) holds something else than an OIN."""
    for name, value in options.items():
        if value is not None and not is_oin(value):
            wrong_use(
                f"--{name} is geen OIN: '{value}'. Geef de twintig tekens; 'bekend policy show MAP' noemt het OIN van "
                "elke deelnemer."
            )


def wrong_use(what: str) -> NoReturn:
    """Say in Dutch what was typed wrong, without the English frame of typer; leave with code 2."""
    typer.echo(what, err=True)
    raise typer.Exit(WRONG_USE)


@contextmanager
def faults_shown(as_json: bool) -> Iterator[None]:
    """Turn every expected fault into text (or JSON) and exit code 1."""
    try:
        yield
    except (CovenantFaults, YamlFaults) as error:
        stop(as_json, list(error.faults))
    except BekendError as error:
        stop(as_json, [Fault("", 0, line, "") for line in error.detail.splitlines()])
    except OSError as error:
        stop(as_json, [Fault(str(error.filename or ""), 0, str(error.strerror), "Controleer het pad en de rechten.")])


def stop(as_json: bool, faults: list[Fault]) -> NoReturn:
    """Show faults and leave with code 1."""
    if as_json:
        rows = [{"file": it.file, "line": it.line, "what": it.what, "remedy": it.remedy} for it in faults]
        typer.echo(json.dumps({"faults": rows}, ensure_ascii=False, indent=2))
    else:
        for fault in faults:
            typer.echo(str(fault) if fault.file else fault.what, err=True)
        typer.echo(f"{len(faults)} fout{'en' if len(faults) > 1 else ''}.", err=True)
    raise typer.Exit(FAULT)


def say(as_json: bool, facts: dict[str, Any], *lines: str) -> None:
    """Show a result: the facts as JSON, or the lines."""
    typer.echo(json.dumps(facts, ensure_ascii=False, indent=2) if as_json else "\n".join(lines))
