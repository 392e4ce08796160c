"""Who holds what now: read back from the disk and the memory of each process, not from what it says of itself.

The files of a process are its own folder: databases, filters, keys, logs. Every one of them is searched for the
numbers of the people in the population; a federation that works holds none.
"""

import re
import sqlite3
from collections.abc import Iterable, Iterator, Set
from dataclasses import asdict, dataclass
from pathlib import Path

from bekend_node.pseudonym_file import RECORD
from sqlite_utils import Database

_DATABASES = {".db", ".sqlite", ".sqlite3"}
_OWN_TABLES = {"migrations"}
PSEUDONYMS, TAGS = "pseudonyms", "filter tags"
# Files of records of one length: pseudonyms (the first record is a header) and the sorted tags of filters.
_RECORDS = {".pseudonyms": (PSEUDONYMS, RECORD), ".tags": (TAGS, 8)}
_WINDOW = 1 << 20
_NUMBER = re.compile(rb"(?<![0-9])[0-9]{9,12}(?![0-9])")
_OVERLAP = 16


@dataclass(frozen=True)
class Holding:
    """What one process has.

    `rows` per table of its databases, and the records of its files of pseudonyms and tags; `numbers_found` counts the
    people whose number stands in one of its files.
    """

    process: str
    pid: int | None
    resident_bytes: int
    disk_bytes: int
    rows: dict[str, int]
    keys: tuple[str, ...]
    files: dict[str, int]
    numbers_found: int

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        return {**asdict(self), "keys": list(self.keys)}


def read(process: str, folder: Path, pid: int | None, numbers: Set[str], inputs: Iterable[Path] = ()) -> Holding:
    """Look at everything under `folder`, but for `inputs` (what the partner's own system delivers)."""
    skipped = {path.resolve() for path in inputs}
    files = {path.relative_to(folder): path for path in _files(folder) if path.resolve() not in skipped}
    rows: dict[str, int] = {}
    for path in files.values():
        if path.suffix in _DATABASES:
            rows |= _count(path)
    for suffix, (what, size) in _RECORDS.items():
        sizes = [path.stat().st_size for path in files.values() if path.suffix == suffix]
        rows |= {what: sum(one // size for one in sizes) - (len(sizes) if what == PSEUDONYMS else 0)} if sizes else {}
    return Holding(
        process=process,
        pid=pid,
        resident_bytes=_resident(pid),
        disk_bytes=sum(path.stat().st_size for path in files.values()),
        rows=rows,
        keys=tuple(sorted(str(name) for name in files if name.suffix == ".key")),
        files={str(name): path.stat().st_size for name, path in sorted(files.items())},
        numbers_found=len(set().union(*(_numbers_in(path) & numbers for path in files.values()))),
    )


def _files(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def _count(path: Path) -> dict[str, int]:
    """Rows per table. A database that is being written to is read at one moment, as every reader does."""
    connection = sqlite3.connect(f"file:{path}?mode=ro", uri=True, timeout=10)
    try:
        database = Database(connection)
        return {
            name: database.table(name).count
            for name in database.table_names()
            if name not in _OWN_TABLES and not name.startswith("sqlite_")
        }
    finally:
        connection.close()


def _numbers_in(path: Path) -> set[str]:
    """Every run of 9 to 12 digits in a file, read in windows so that its size does not matter."""
    found: set[str] = set()
    with path.open("rb") as file:
        rest = b""
        while block := file.read(_WINDOW):
            window = rest + block
            found |= {match.decode() for match in _NUMBER.findall(window)}
            rest = window[-_OVERLAP:]
    return found


def _resident(pid: int | None) -> int:
    """Memory of a process and those it started, in bytes; 0 where the system does not tell."""
    if pid is None:
        return 0
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split()
    except OSError:
        return 0
    own = re.search(r"VmRSS:\s+([0-9]+) kB", status)
    return (int(own[1]) * 1024 if own else 0) + sum(_resident(int(child)) for child in children)
