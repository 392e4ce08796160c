"""What an audit rests on: exports of logs that hold, cosigned checkpoints, and the Questions that they draw."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final

from bekend_policy.log_use import Days
from bekend_proto.checkpoint import log_origin, owner_of
from bekend_proto.errors import BekendError, MalformedError, ProofError
from bekend_proto.ledger.exported import Export, checkpoint_of
from bekend_proto.ledger.findings import Finding
from bekend_proto.ledger.keys import Keys
from bekend_proto.ledger.reconcile import reconcile
from bekend_proto.ledger.sample import Draw, Selected, open_draw, questions, sample
from bekend_proto.ledger.verify import verify

from bekend_node.records.files import read_file

SHOWN: Final = 5
"""Findings that a fault names."""


@dataclass(frozen=True)
class Given:
    """Files, as they were named. `keys`: of `bekend log keys`. `absent`: OINs that the auditor does without."""

    exports: Sequence[Path]
    checkpoints: Sequence[Path]
    keys: Path
    days: Days
    absent: Sequence[str] = ()


@dataclass(frozen=True)
class Basis:
    """All that the draw needs, verified. `count`: Questions of the period, per requester."""

    keys: Keys
    exports: tuple[Export, ...]
    draws: tuple[Draw, ...]
    days: Days
    count: Counter[str]
    selected: tuple[Selected, ...]

    @property
    def draw_hash(self) -> bytes:
        """By which draw this was: SHA-256 of the digests, by log."""
        return sha256(b"".join(one.digest for one in self.draws)).digest()

    @property
    def absent(self) -> tuple[str, ...]:
        """Witnesses that a draw did without."""
        return tuple(sorted({oin for one in self.draws for oin in one.absent}))

    def of(self, requester: str) -> list[Selected]:
        """What is drawn of one requester."""
        return [one for one in self.selected if one.requester == requester]

    def nodes(self) -> list[Export]:
        """The exports of nodes."""
        return [one for one in self.exports if one.is_node]

    def brokers(self) -> list[Export]:
        """The exports of the broker's replicas."""
        return [one for one in self.exports if not one.is_node]


def load_basis(given: Given, broker: str) -> Basis:
    """Verify and reconcile the exports, and make the draw. `broker`: OIN of the operator.

    Raises MalformedError (a file, or one that is missing), SignatureError, KeysError; ProofError when an export does
    not hold, or two do not agree: a Question that one leaves out would not be drawn.
    """
    keys = read_keys(given.keys)
    exports = tuple(_verified(given.exports, keys))
    # Where no node's log is at hand there is nothing to compare: the officer's side can do without.
    is_comparable = any(one.is_node for one in exports)
    differences = reconcile(exports, keys, *given.days.span).findings if is_comparable else ()
    if differences:
        raise ProofError(f"de logboeken spreken elkaar tegen ({_told(differences)}): zie bekend log reconcile")
    logs = {one.log: one for one in exports if one.owner == broker}
    notes = {checkpoint_of(note).origin: note for note in map(read_file, given.checkpoints)}
    _check_logs(keys, broker, logs, notes)
    draws = {log: open_draw(notes[log], keys, given.absent) for log in sorted(logs)}
    found = {log: questions(logs[log], draw, *given.days.span) for log, draw in draws.items()}
    count = Counter(one.requester for some in found.values() for one in some)
    selected = [one for log, draw in draws.items() for one in sample(found[log], draw)]
    return Basis(keys, exports, tuple(draws.values()), given.days, count, tuple(selected))


def newest_cosigned(export: Export, keys: Keys, until: int, absent: Sequence[str]) -> bytes:
    """The newest checkpoint in an export by which a draw can be made about a period that ended at `until`.

    Raises MalformedError when there is none.
    """
    last: BekendError | None = None
    for note in reversed(export.held):
        try:
            open_draw(note, keys, absent).check_later(until)
        except BekendError as fault:
            last = last or fault
            continue
        return note
    why = f" ({last.detail})" if last else ""
    raise MalformedError(f"in deze export staat geen controlepunt van na de periode dat allen meetekenden{why}")


def read_keys(path: Path) -> Keys:
    """Public keys, as `bekend log keys` prints them. Raises MalformedError."""
    return Keys.parse(read_file(path).decode("utf-8", "replace").splitlines())


def verified_export(path: Path, keys: Keys) -> Export:
    """One export that holds. Raises MalformedError, ProofError."""
    (found,) = _verified([path], keys)
    return found


def _verified(paths: Iterable[Path], keys: Keys) -> Iterator[Export]:
    for path in [file for one in paths for file in (sorted(one.iterdir()) if one.is_dir() else [one])]:
        found = verify(path.name, read_file(path, whole=True), keys)
        if found.findings or found.export is None:
            raise ProofError(f"{path.name} klopt niet ({_told(found.findings)}): bekijk het met bekend log verify")
        yield found.export


def _told(findings: Sequence[Finding]) -> str:
    return "; ".join(map(str, findings[:SHOWN]))


def _check_logs(keys: Keys, broker: str, logs: dict[str, Export], notes: dict[str, bytes]) -> None:
    """Every log of the broker, each with its checkpoint: what is left out would not be drawn."""
    wanted = sorted(log for log in keys.logs if owner_of(log) == broker)
    for log in wanted:
        if log not in logs:
            raise MalformedError(f"de export van {log} ontbreekt: geef die van elke replica van de makelaar")
        if log not in notes:
            raise MalformedError(f"het controlepunt van {log} ontbreekt: geef er een voor elk logboek van de makelaar")
    if not wanted:
        raise MalformedError(f"bij de sleutels staat geen logboek van de makelaar ({log_origin(broker, '...')})")
