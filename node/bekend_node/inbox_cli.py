"""`bekend node inbox`: every list that lies in a folder, and every register that comes from a database, for a timer.

REGISTER.csv (or .xlsx) is a full list, REGISTER.changes.csv holds additions and removals. A file that was imported is
removed, since it holds numbers; one that was stopped stays for somebody to look at, and holds up none of the others.
Of a register with `nightly` in node.yaml the changes, or all of it, are asked of the database that its mapping names.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from bekend_policy.faults import YamlFaults
from bekend_proto.clock import SystemClock
from bekend_proto.errors import BekendError, BudgetError, RefusedError

from bekend_node.config import Nightly, NodeConfig, load_config
from bekend_node.enrol.command import enrol_file, make_executor
from bekend_node.enrol.lists import Wanted, size_of
from bekend_node.terminal import FAULT, REFUSED, AsJson, Config, faults, say

CHANGES: Final = ".changes"
DATABASE: Final = " (database)"
LISTS: Final = frozenset({".csv", ".xlsx"})


def inbox(
    folder: Annotated[Path, typer.Argument(help="Folder with REGISTER.csv or .xlsx, and REGISTER.changes.csv.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Import every list that lies in a folder, and remove what was imported; and what databases give nightly.

    For a timer; no list is no fault.
    """
    with faults(as_json):
        settings = load_config(config)
        lists = [*_in_folder(folder), *_in_databases(settings)]
        persons: dict[str, int] = {}
        stopped: dict[str, str] = {}
        codes: set[int] = set()
        for wanted in lists:
            name = wanted.file.name if wanted.file else f"{wanted.register}{DATABASE}"
            try:
                persons[name] = _import(settings, wanted)
            except (RefusedError, BudgetError) as fault:
                stopped[name] = fault.reason if isinstance(fault, RefusedError) else fault.detail
                codes.add(REFUSED)
            except (BekendError, YamlFaults) as fault:
                stopped[name] = str(fault)
                codes.add(FAULT)
        say(
            as_json,
            {"imported": persons, "stopped": stopped},
            *(f"{name}: {count} persons enrolled{_gone(name)}" for name, count in persons.items()),
            *(f"{name}: STOPPED{_stays(name)}. {reason}" for name, reason in stopped.items()),
            *(() if lists else (f"{folder}: no list",)),
        )
    # A fault wants an administrator, a guard the keeper of the register.
    raise typer.Exit(min(codes, default=0))


def _gone(name: str) -> str:
    return "" if name.endswith(DATABASE) else "; the file is removed"


def _stays(name: str) -> str:
    return "" if name.endswith(DATABASE) else ", and left where it is"


def _in_folder(folder: Path) -> list[Wanted]:
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in LISTS and file.is_file())
    return [Wanted(file.stem.removesuffix(CHANGES), file, changes=file.stem.endswith(CHANGES)) for file in files]


def _in_databases(settings: NodeConfig) -> list[Wanted]:
    return [
        Wanted(name, changes=register.nightly is Nightly.CHANGES)
        for name, register in sorted(settings.registers.items())
        if register.nightly is not None
    ]


def _import(settings: NodeConfig, wanted: Wanted) -> int:
    """One list, as `bekend node enrol` does it; returns how many persons it enrolled. Raises as `enrol_file` does."""
    with make_executor(settings, size_of(settings, wanted)) as executor:
        report = asyncio.run(enrol_file(settings, wanted, SystemClock(), executor, lambda *_: None))
    if wanted.file is not None:
        wanted.file.unlink()
    return report.persons
