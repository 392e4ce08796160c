"""The broker's half of the keys: one random root per epoch for `b`, one per month for `u` (protocol section 4).

    b-2026Q4.key         root of b[i,p,e] for every source i and purpose p in epoch e; destroyed by
                         `bekend broker init` when the epoch's overlap is over
    u-2026-11.key        root of u[month]: lives as long as the records of that month
    signing.key          Ed25519 seed that stands in the manifest: signs what the broker states (checkpoints); one after
                         it, and those before, stand beside it (bekend_proto.signing_files)

Each root is independent, so that each can be destroyed by itself. They are files of mode 0600, created once, never
overwritten, mounted alike on every replica and never in the database. What is served stands in the manifest that the
operator signed off line; a replica that derives another key than the manifest names does not start.
"""

import os
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import TypeAlias

from bekend_policy.manifest import ClosedLog, KeyManifest
from bekend_policy.model import Covenant, Mode
from bekend_policy.retention import MOST, years_before
from bekend_proto import signing_files
from bekend_proto.clock import (
    add_months,
    day_of,
    epoch_of,
    epoch_start,
    month_of,
    month_start,
    next_epoch,
    previous_epoch,
)
from bekend_proto.epochs import age_of, is_enrolled, is_over, is_served, quarter_of
from bekend_proto.errors import KeysError
from bekend_proto.oprf import ROLE_BROKER_MATCH, ROLE_BROKER_RECORD, KeyPair, derive_key
from bekend_proto.secret_files import create_secret, read_secret
from nacl.signing import SigningKey

MANIFEST_LIFE = timedelta(days=365)
RECORD_TERM = 61
"""Months (five years, and the present one) that a manifest may name record keys for."""

_ROOT = re.compile(r"^(b|u)-([0-9]{4}[Q-Z][1-4]|[0-9]{4}-[0-9]{2})\.key$")

EvaluationId: TypeAlias = tuple[str, str, str]
"""Source OIN, purpose id, epoch."""


def evaluation_root(folder: Path, epoch: str) -> Path:
    """Where the root of an epoch's `b` is kept."""
    return folder / f"b-{epoch}.key"


def record_root(folder: Path, month: str) -> Path:
    """Where the root of a month's `u` is kept."""
    return folder / f"u-{month}.key"


def signing_seed(folder: Path) -> Path:
    """Where the broker's signing key is kept."""
    return folder / signing_files.PRESENT


def create_missing(folder: Path, now: datetime) -> list[Path]:
    """Make the keys that are not there yet: signing, and roots of this and the next epoch and month.

    Gives the new files; never touches an old one.
    """
    epoch, month = epoch_of(now), month_of(now)
    wanted = [signing_seed(folder)]
    # A quarter whose first root was renewed and destroyed gets no other one.
    at_hand = {quarter_of(one) for one in roots_at_hand(folder)[0]}
    wanted += [evaluation_root(folder, e) for e in (epoch, next_epoch(epoch)) if e not in at_hand]
    wanted += [record_root(folder, m) for m in (month, add_months(month, 1))]
    made = [path for path in wanted if not path.exists()]
    for path in made:
        create_secret(path)
    return made


def over(folder: Path, now: datetime) -> list[Path]:
    """Roots of epochs whose overlap is over."""
    epochs, _ = roots_at_hand(folder)
    return [evaluation_root(folder, epoch) for epoch in epochs if is_over(epoch, now)]


def destroy_over(folder: Path, now: datetime) -> list[Path]:
    """Overwrite and remove the roots of epochs whose overlap is over (protocol section 4); gives what is gone.

    Raises KeysError when a file cannot be changed.
    """
    gone = over(folder, now)
    for path in gone:
        destroy_root(path)
    return gone


def destroy_root(path: Path) -> None:
    """Overwrite and remove a root. Raises KeysError when the file cannot be changed; one that is gone already is fine.

    Replicas that share a folder destroy the same root, each at its own moment.
    """
    try:
        with path.open("r+b") as file:
            file.write(b"0" * 64)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()
    except FileNotFoundError:
        return
    except OSError as fault:
        raise KeysError(f"{path} is over and cannot be destroyed ({fault.strerror}): remove it by hand") from fault


@dataclass(frozen=True)
class KeyRing:
    """The keys that the signed manifest names, derived from the roots at hand and equal to what it names."""

    evaluation: Mapping[EvaluationId, KeyPair] = field(repr=False)
    record: Mapping[str, KeyPair] = field(repr=False)
    signing: SigningKey = field(repr=False)
    """Signs checkpoints of the log, and promises."""

    @classmethod
    def load(cls, folder: Path, manifest: KeyManifest, now: datetime, record_years: int = MOST) -> "KeyRing":
        """Derive every key of the manifest from the roots and compare. `record_years`: how long records are kept.

        Raises KeysError when a root is missing or a key differs: a replica with other keys must not serve. The root of
        an epoch whose overlap is over, or of a month whose records are past their term, may be gone: that is how its
        keys are destroyed.
        """
        signing = SigningKey(read_secret(signing_seed(folder)))
        if bytes(signing.verify_key) not in manifest.signing_keys:
            raise KeysError("the signing key is not in the signed manifest: restore it, or have a new manifest signed")
        epochs = {epoch for _, _, epoch in manifest.evaluation_keys if not is_over(epoch, now)}
        roots = {epoch: read_secret(evaluation_root(folder, epoch)) for epoch in sorted(epochs)}
        evaluation = {
            (source, purpose, epoch): _equal(public, evaluation_key(roots[epoch], source, purpose, epoch), epoch)
            for (source, purpose, epoch), public in manifest.evaluation_keys.items()
            if epoch in roots
        }
        end = years_before(now, record_years)
        past = {month for month in manifest.record_keys if month_start(add_months(month, 1)) <= end}
        record = {
            month: _equal(public, record_key(read_secret(record_root(folder, month)), manifest.oin, month), month)
            for month, public in manifest.record_keys.items()
            if month not in past or record_root(folder, month).exists()
        }
        return cls(evaluation, record, signing)

    def for_questions(self, source: str, purpose: str, epoch: str, now: datetime) -> KeyPair:
        """b[i,p,e] for a lookup. Raises KeysError when that epoch is not served now or not in the manifest."""
        return self._of((source, purpose, epoch), counts=is_served(epoch, now))

    def for_enrolment(self, source: str, purpose: str, epoch: str, now: datetime) -> KeyPair:
        """b[i,p,e] for an import. Raises KeysError when that epoch is not enrolled now or not in the manifest."""
        return self._of((source, purpose, epoch), counts=is_enrolled(epoch, now))

    def for_records(self, month: str) -> KeyPair:
        """u[month]. Raises KeysError when the manifest does not name it."""
        if month not in self.record:
            raise KeysError("no record key of that month: the operator makes and signs one before the month begins")
        return self.record[month]

    def _of(self, name: EvaluationId, *, counts: bool) -> KeyPair:
        if not counts:
            raise KeysError(f"epoch {name[2]!r} is not served now")
        if name not in self.evaluation:
            raise KeysError(f"the broker's manifest has no key for {name[1]} at this source in {name[2]}")
        return self.evaluation[name]


def evaluation_key(root: bytes, source: str, purpose: str, epoch: str) -> KeyPair:
    """b[i,p,e] and B = b*G (protocol section 4)."""
    return derive_key(root, ROLE_BROKER_MATCH, source, purpose, epoch)


def record_key(root: bytes, oin: str, month: str) -> KeyPair:
    """u[month] and its public key, of the broker with this OIN (protocol section 4)."""
    return derive_key(root, ROLE_BROKER_RECORD, oin, "", month)


def roots_at_hand(folder: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Epochs and months of which a root is at hand, oldest first."""
    found = [match for path in folder.iterdir() if (match := _ROOT.match(path.name))] if folder.is_dir() else []
    return (
        tuple(sorted((match[2] for match in found if match[1] == "b"), key=age_of)),
        tuple(sorted(match[2] for match in found if match[1] == "u")),
    )


def draft_manifest(
    folder: Path,
    covenant: Covenant,
    oin: str,
    number: int,
    now: datetime,
    *,
    others: Sequence[Covenant] = (),
    logs: Sequence[str] = ("main",),
    tls_keys: tuple[bytes, ...] = (),
    closed: tuple[ClosedLog, ...] = (),
    leaving: Collection[str] = (),
) -> KeyManifest:
    """The manifest that the operator signs off line: every key that the roots at hand and the covenant call for.

    `others`: further versions of the covenant, in service beside it during a change-over; `logs`: of the replicas,
    `closed`: those that a restore ended; `tls_keys`: hashes of the public keys of the replicas' certificates;
    `leaving`: epochs whose keys it names no more. Raises KeysError when a root cannot be read.
    """
    epochs, months = roots_at_hand(folder)
    first = epoch_start(previous_epoch(epoch_of(now)))
    pairs = sorted(
        {
            (source, purpose)
            for version in (covenant, *others)
            for purpose in version.purposes
            for source, role in version.sources(purpose).items()
            if role.mode is not Mode.NEVER
        }
    )
    evaluation = {
        (source, purpose, epoch): evaluation_key(root, source, purpose, epoch).public
        for epoch in epochs
        if epoch_start(epoch) >= first and epoch not in leaving
        for root in (read_secret(evaluation_root(folder, epoch)),)
        for source, purpose in pairs
    }
    record = {
        month: record_key(read_secret(record_root(folder, month)), oin, month).public
        for month in months
        if month >= add_months(month_of(now), -RECORD_TERM)
    }
    issued = now.replace(microsecond=0)
    return KeyManifest(
        oin=oin,
        number=number,
        issued=issued,
        valid_until=issued + MANIFEST_LIFE,
        protocol_versions=(1,),
        signing_keys=signing_files.announced(folder, day_of(now)),
        logs=tuple(logs),
        tls_keys=tls_keys,
        closed_logs=closed,
        evaluation_keys=evaluation,
        record_keys=record,
    )


def _equal(announced: bytes, derived: KeyPair, period: str) -> KeyPair:
    if derived.public != announced:
        raise KeysError(
            f"a key of {period} differs from the signed manifest: this replica must not serve. "
            "Restore the keys, or have a new manifest signed"
        )
    return derived
