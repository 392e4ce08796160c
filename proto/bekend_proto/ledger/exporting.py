"""An export made from the tables of a log, over one unchanging snapshot."""

from collections.abc import Iterable, Iterator
from typing import Final

from nacl.signing import SigningKey

from bekend_proto import log_table, merkle
from bekend_proto.checkpoint import Checkpoint, merge
from bekend_proto.ledger.exported import SHOWN, Export, Masked, Record
from bekend_proto.ledger.reconcile import MARGIN
from bekend_proto.log_table import Entry
from bekend_proto.sql import Connection
from bekend_proto.v1.signed_pb2 import Signed

_HOUR: Final = 3_600_000


def make_export(
    connection: Connection,
    origin: str,
    key: SigningKey,
    *,
    since: int,
    until: int,
    made: int,
    promises: Iterable[Signed] = (),
    records: Iterable[Record] = (),
) -> Export:
    """The entries of a period (milliseconds) and its margins, under a checkpoint signed now."""
    size = log_table.log_size(connection)
    since, until = max(since - MARGIN, 0), until + MARGIN
    first, end = log_table.span(connection, since, until)
    read = log_table.reader(connection)

    def hashes(start: int, stop: int) -> tuple[bytes, ...]:
        return tuple(read(merkle.position(level, index)) for level, index in merkle.subtrees(start, stop))

    return Export(
        log=origin,
        size=size,
        first=first,
        since=since,
        until=until,
        made=made,
        checkpoint=Checkpoint(origin, size, merkle.root(size, read)).sign(key),
        left=hashes(0, first),
        right=hashes(end, size),
        entries=tuple(map(_masked, log_table.entries(connection, first, end))),
        held=tuple(_held(connection, first, end)),
        seen=tuple(note for _, (_, note) in sorted(log_table.seen(connection).items())),
        promises=tuple(promises),
        records=tuple(records),
    )


def _masked(entry: Entry) -> Entry | Masked:
    return entry if entry.kind in SHOWN else Masked(entry.leaf(), entry.at)


def _held(connection: Connection, first: int, end: int) -> Iterator[bytes]:
    """The own checkpoints within these sizes, with their cosignatures: one an hour, and the last that has any."""
    found = log_table.checkpoints(connection, first, end)
    hours: set[int] = set()
    last = max((size for size, _, _ in found if log_table.cosignatures(connection, size)), default=None)
    for size, at, note in found:
        if at // _HOUR not in hours or size == last:
            hours.add(at // _HOUR)
            yield merge(note, log_table.cosignatures(connection, size))
