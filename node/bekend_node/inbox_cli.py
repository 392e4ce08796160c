"""`bekend node inbox`: every list that lies in a folder, and every register that comes from a database, for a timer.

REGISTER.csv (or .xlsx) is a full list, REGISTER.changes.csv holds additions and removals. A file that was imported is
removed, since it holds numbers; one that was stopped stays for somebody to look at, and holds up none of the others,
whatever went wrong. A list that came while the one before it was imported waits for the next time.
Of a register with `nightly` in node.yaml the changes, or all of it, are asked of the database that its mapping names.
"""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Final

import typer
from bekend_policy.faults import YamlFaults
from bekend_proto.clock import SystemClock
from bekend_proto.errors import BekendError, BudgetError, RefusedError
from bekend_proto.logs import place_of

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
        left: dict[str, str] = {}
        codes: set[int] = set()
        for wanted in lists:
            name = wanted.file.name if wanted.file else f"{wanted.register}{DATABASE}"
            lies = _identity(wanted.file)
            try:
                persons[name] = _import(settings, wanted)
            except (RefusedError, BudgetError) as fault:
                stopped[name] = fault.reason if isinstance(fault, RefusedError) else fault.detail
                codes.add(REFUSED)
            except (BekendError, YamlFaults) as fault:
                stopped[name] = str(fault)
                codes.add(FAULT)
            except Exception as fault:
                # Its text may quote what it was given: only its class and place are told.
                stopped[name] = f"{type(fault).__name__} at {place_of(fault.__traceback__)}: tell who maintains bekend"
                codes.add(FAULT)
            else:
                try:
                    if wanted.file is not None and not _remove(wanted.file, lies):
                        left[name] = "a newer list lies there: it is imported the next time"
                except OSError as fault:
                    left[name] = f"it could not be removed ({fault.strerror}): remove it, it holds numbers"
                    codes.add(FAULT)
        say(
            as_json,
            {"imported": persons, "stopped": stopped} | ({"left": left} if left else {}),
            *(f"{name}: {count} persons enrolled{_gone(name, left)}" for name, count in persons.items()),
            *(f"{name}: STOPPED{_stays(name)}. {reason}" for name, reason in stopped.items()),
            *(() if lists else (f"{folder}: no list",)),
        )
    # A fault wants an administrator, a guard the keeper of the register.
    raise typer.Exit(min(codes, default=0))


def _gone(name: str, left: Mapping[str, str]) -> str:
    if name in left:
        return f"; {left[name]}"
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
    return report.persons


def _identity(file: Path | None) -> tuple[int, ...]:
    """Which file lies there, as far as a file system tells; nothing where none does."""
    try:
        found = file.stat() if file is not None else None
    except OSError:
        found = None
    return () if found is None else (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)


def _remove(file: Path, lies: tuple[int, ...]) -> bool:
    """Remove a list that was imported; False when another one lies there by now. Raises OSError."""
    if file.is_file() and _identity(file) != lies:
        return False
    file.unlink()
    return True
