"""`bekend node inbox`: every list that lies in a folder, for a timer.

REGISTER.csv is a full list, REGISTER.changes.csv holds additions and removals. A file that was imported is removed,
since it holds numbers; one that was stopped stays for somebody to look at, and holds up none of the others.
"""

import asyncio
from pathlib import Path
from typing import Annotated, Final

import typer
from bekend_policy.faults import YamlFaults
from bekend_proto.clock import SystemClock
from bekend_proto.errors import BekendError, BudgetError, RefusedError

from bekend_node.config import NodeConfig, load_config
from bekend_node.enrol.command import enrol_file, make_executor
from bekend_node.enrol.lists import Wanted, size_of
from bekend_node.terminal import FAULT, REFUSED, AsJson, Config, faults, say

CHANGES: Final = ".changes"


def inbox(
    folder: Annotated[Path, typer.Argument(help="Folder with REGISTER.csv and REGISTER.changes.csv.")],
    config: Config = Path("node.yaml"),
    as_json: AsJson = False,
) -> None:
    """Import every list that lies in a folder, and remove what was imported. For a timer; no list is no fault."""
    with faults(as_json):
        settings = load_config(config)
        lists = sorted(file for file in folder.iterdir() if file.suffix == ".csv" and file.is_file())
        persons: dict[str, int] = {}
        stopped: dict[str, str] = {}
        codes: set[int] = set()
        for file in lists:
            try:
                persons[file.name] = _import(settings, file)
            except (RefusedError, BudgetError) as fault:
                stopped[file.name] = fault.reason if isinstance(fault, RefusedError) else fault.detail
                codes.add(REFUSED)
            except (BekendError, YamlFaults) as fault:
                stopped[file.name] = str(fault)
                codes.add(FAULT)
        say(
            as_json,
            {"imported": persons, "stopped": stopped},
            *(f"{name}: {count} persons enrolled; the file is removed" for name, count in persons.items()),
            *(f"{name}: STOPPED, and left where it is. {reason}" for name, reason in stopped.items()),
            *(() if lists else (f"{folder}: no list",)),
        )
    # A fault wants an administrator, a guard the keeper of the register.
    raise typer.Exit(min(codes, default=0))


def _import(settings: NodeConfig, file: Path) -> int:
    """One list, as `bekend node enrol` does it; returns how many persons it enrolled. Raises as `enrol_file` does."""
    wanted = Wanted(file.stem.removesuffix(CHANGES), file, changes=file.stem.endswith(CHANGES))
    with make_executor(settings, size_of(settings, wanted)) as executor:
        report = asyncio.run(enrol_file(settings, wanted, SystemClock(), executor, lambda *_: None))
    file.unlink()
    return report.persons
