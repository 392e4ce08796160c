"""What a partner that leaves destroys, and what it keeps: its half of every pseudonym goes, the accounts stay.

destroyed   keys: the roots of all quarters, the desk's key, the list of own colleagues' key, the signing key
            data: registers, pseudonym files, filters, what lay at the desk
kept        node.db and state.key: the append-only log, decisions, and records that only the privacy officer opens,
            until their term and an audit that covers them (FG-27, FG-46)
"""

from dataclasses import dataclass
from pathlib import Path

from bekend_policy.load import load_covenant
from bekend_policy.passphrase import destroy
from bekend_policy.suspension import parse_suspension
from bekend_policy.versions import FOLDER
from bekend_proto.errors import KeysError, RefusedError
from bekend_proto.locks import SERVE, locked
from bekend_proto.note import open_note

from bekend_node.config import NodeConfig

KEPT_KEYS = frozenset({"state.key"})
KEPT_DATA = ("node.db", "node.db-wal", "node.db-shm", FOLDER)
"""Names in the data folder: the database of the accounts, and the versions of the covenant that they speak of."""


@dataclass(frozen=True)
class Leaving:
    """What would go, and what stays."""

    destroyed: tuple[Path, ...]
    kept: tuple[Path, ...]


def plan(config: NodeConfig) -> Leaving:
    """Look, and change nothing."""
    keys = sorted(path for path in config.keys.glob("*.key") if path.name not in KEPT_KEYS)
    inside = sorted(config.data.iterdir()) if config.data.is_dir() else []
    gone = [path for path in inside if path.name not in KEPT_DATA and path.suffix != ".lock"]
    files = [file for path in gone for file in (sorted(path.rglob("*")) if path.is_dir() else [path]) if file.is_file()]
    kept = [config.keys / name for name in sorted(KEPT_KEYS)]
    kept += [path for path in inside if path.name in KEPT_DATA]
    return Leaving((*keys, *files), tuple(path for path in kept if path.exists()))


def check_left(config: NodeConfig, note: Path | None) -> None:
    """Nobody destroys by mistake: the covenant names this partner no more, or its ondertekenaar stopped the node.

    Raises RefusedError, which says what is needed; MalformedError, SignatureError for the note.
    """
    if config.oin not in load_covenant(config.covenant).participants:
        return
    if note is None:
        raise RefusedError(
            "leave",
            f"{config.covenant} still names {config.oin}: give --note with a suspension of this node that its "
            "ondertekenaar signed, or put the version without this partner there",
        )
    found = parse_suspension(open_note(note.read_bytes(), config.anchor))
    if found.lifted or found.what != "knooppunt" or found.about != config.oin:
        raise RefusedError("leave", f"{note} does not suspend this node: sign `wat: knooppunt` for {config.oin}")


def carry_out(config: NodeConfig) -> Leaving:
    """Overwrite and remove; keys first, so that what a power cut leaves is of no use.

    Raises StorageError while the node runs, KeysError when a file cannot be destroyed.
    """
    with locked(config.data, SERVE, wait=False):
        found = plan(config)
        for path in found.destroyed:
            try:
                destroy(path)
            except OSError as fault:
                raise KeysError(
                    f"{path} was not destroyed ({fault.strerror}): do it by hand, then run this again"
                ) from fault
        return found
