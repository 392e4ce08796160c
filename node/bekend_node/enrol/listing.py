"""What an import reads: a list in rows, from whatever it comes, that can be read again and is the same each time."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Final, Protocol, TypeAlias

from bekend_proto.clock import day_of
from bekend_proto.errors import MalformedError

from bekend_node.enrol.mapping import Mapping

FIRST_LINE: Final = "Export the register again, with a first line of column names."
Fields: TypeAlias = list[str] | str
"""The fields of a row; where they cannot be told apart, the reason why."""


class ImportFaultError(MalformedError):
    """The list as a whole cannot be read. The message names it, the line (0: none in particular) and the remedy."""

    def __init__(self, name: Path | str, line: int, what: str, remedy: str) -> None:
        place = f"{name}:{line}" if line else str(name)
        super().__init__(f"{place}: {what}. {remedy}")
        self.line = line


class Listing(Protocol):
    """A register's list. Nothing that it raises or shows holds a value of it."""

    @property
    def name(self) -> str:
        """What messages call it."""
        ...

    @property
    def made(self) -> date:
        """The day that it is of, unless somebody says otherwise."""
        ...

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """The names of the columns, then row by row with its number, in bounded memory.

        Raises ImportFaultError when it cannot be read on: then nothing may be imported.
        """
        ...

    def fingerprint(self, key: bytes) -> bytes:
        """A keyed hash of all of it: tells whether it is the same list, and says nothing to others."""
        ...


keyed_hash = partial(blake2b, digest_size=32, person=b"bekend1-import")
"""Of a fingerprint: to be called with `key`."""


@dataclass(frozen=True)
class FileList:
    """What every list in a file has."""

    path: Path
    mapping: Mapping

    @property
    def name(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def made(self) -> date:
        """The day of its last change."""
        return day_of(datetime.fromtimestamp(self.path.stat().st_mtime, UTC))

    def fingerprint(self, key: bytes) -> bytes:
        """Of its bytes. Raises ImportFaultError."""
        digest = keyed_hash(key=key)
        try:
            with self.path.open("rb") as file:
                while piece := file.read(1 << 20):
                    digest.update(piece)
        except OSError as fault:
            raise ImportFaultError(self.path, 0, f"cannot be read ({fault.strerror})", "Check the path.") from fault
        return digest.digest()
