"""How the logs stand, for the privacy officer: the last checkpoint of each, and when each partner cosigned last.

A cosignature comes within the minute after a checkpoint, so the newest one lacks those who have not looked yet. What
counts is when somebody was last seen to cosign, in the checkpoints of the last half hour: who is missing there, or is
long ago, watches no longer.
"""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

from bekend_policy.manifest import KeyManifest
from bekend_policy.model import Covenant
from bekend_proto import log_table
from bekend_proto.checkpoint import cosigned_at
from bekend_proto.errors import BekendError
from bekend_proto.note import parse_note

from bekend_node.witness import Witness


@dataclass(frozen=True)
class Cosigner:
    """A partner that ought to cosign. `at`: when it did last, None when that was not seen."""

    name: str
    at: datetime | None


@dataclass(frozen=True)
class LogHealth:
    """One log of the broker as this node saw it last. `looked` is the moment of that look."""

    origin: str
    size: int
    looked: datetime | None
    cosigners: tuple[Cosigner, ...]


def log_health(witness: Witness, covenant: Covenant, manifest_of: Callable[[str], KeyManifest]) -> list[LogHealth]:
    """Every log that was seen, in the order of their names. `manifest_of` raises BekendError when there is none."""
    return [
        LogHealth(
            origin, size, witness.looked_at(origin), tuple(_cosigners(witness.shown(origin), covenant, manifest_of))
        )
        for origin, size in witness.seen().items()
    ]


def own_log(witness: Witness) -> tuple[int, int]:
    """Entries of the own log, and how many of them its newest signed checkpoint holds."""
    return witness.store.read(
        lambda conn: (log_table.log_size(conn), (log_table.newest_checkpoint(conn) or (0, b""))[0])
    )


def _cosigners(
    notes: Iterable[bytes], covenant: Covenant, manifest_of: Callable[[str], KeyManifest]
) -> Iterator[Cosigner]:
    parsed = [parse_note(note) for note in notes]
    for oin, partner in sorted(covenant.participants.items(), key=lambda it: it[1].name):
        seconds = None
        # Without a manifest it is not connected.
        with contextlib.suppress(BekendError):
            keys = manifest_of(oin).signing_keys
            found = (cosigned_at(note, oin, keys) for note in parsed)
            seconds = next((one for one in found if one is not None), None)
        yield Cosigner(partner.name, None if seconds is None else datetime.fromtimestamp(seconds, UTC))
