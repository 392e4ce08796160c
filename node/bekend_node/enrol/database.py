"""A query's rows as a list: in bounded memory, under a line that is verified, in a transaction that cannot write.

node                              database
  | TLS, certificate verified -----> (or a socket of this machine)
  | BEGIN READ ONLY, one snapshot -> every reading of an import sees the same
  | cursor at the server ----------> rows, some at a time
  | ROLLBACK ----------------------> nothing of this import is left there

The rows of every reading are hashed: an import whose rows differ from those that were checked is not put into service.
What a database says of an error may hold a value, so only its code is shown, and its words where they are about the
query or the line.
"""

from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Protocol, Self

from bekend_node.enrol.cells import NoTextError, text_of
from bekend_node.enrol.listing import Fields, ImportFaultError, keyed_hash
from bekend_node.enrol.mapping import Mapping

ROWS_AT_ONCE = 2_000


@dataclass(frozen=True)
class Asked:
    """What is asked of a database: a mapping's query of the whole register, or of what changed since a day."""

    mapping: Mapping
    statement: str
    made: date
    since: date | None = None
    password: str = field(default="", repr=False)


class Rows(Protocol):
    """An open query."""

    @property
    def names(self) -> Sequence[str]:
        """Of its columns."""
        ...

    def __iter__(self) -> Iterator[Sequence[Any]]: ...


class Connection(Protocol):
    """A line to a database, in a transaction of its own that cannot write."""

    name: str

    def query(self) -> AbstractContextManager[Rows]:
        """The rows, from the first. Raises ImportFaultError with what is wrong, never with a value."""
        ...

    def close(self) -> None:
        """Roll back, and leave."""
        ...


class DatabaseList:
    """A `Listing` of what a query gives. Use it as a context manager: it keeps its transaction open meanwhile."""

    def __init__(self, asked: Asked, connection: Connection) -> None:
        self._asked = asked
        self._connection = connection
        self._known: bytes | None = None
        self.made = asked.made
        self.name = connection.name

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def fingerprint(self, key: bytes) -> bytes:
        """Of its rows, in their order."""
        if self._known is None:
            for _ in self.rows():
                pass
        return keyed_hash(self._known or b"", key=key).digest()

    def rows(self) -> Iterator[tuple[int, Fields]]:
        """Row by row, counted from the first; the names of its columns stand for a first line."""
        digest = keyed_hash()
        with self._connection.query() as found:
            names = [str(name) for name in found.names]
            kinds = [self._asked.mapping.kind_in(name) for name in names]
            wanted = [name in self._asked.mapping.columns_named for name in names]
            yield 1, names
            for number, row in enumerate(found, start=2):
                fields = _fields(row, kinds, wanted)
                digest.update(repr(fields).encode())
                yield number, fields
        self._compare(digest.digest())

    def _compare(self, digest: bytes) -> None:
        if self._known is None:
            self._known = digest
        elif self._known != digest:
            raise ImportFaultError(
                self.name,
                0,
                "the rows, or their order, changed while they were read: nothing was changed here",
                "Let the query order its rows (`order by`), and let the source keep still meanwhile.",
            )


def _fields(row: Sequence[Any], kinds: Sequence[str | None], wanted: Sequence[bool]) -> Fields:
    try:
        return [text_of(value, kind) if its else "" for value, kind, its in zip(row, kinds, wanted, strict=True)]
    except NoTextError as fault:
        return str(fault)
