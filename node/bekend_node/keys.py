"""The node's own keys: files of mode 0600 in one folder, created once, never overwritten.

    signing.key          Ed25519 seed: signs Questions, Answers, filter headers, enrolments; one after it, and those
                         before, stand beside it (bekend_proto.signing_files)
    state.key            seals what must survive a restart on disk (the filter's m)
    desk.key             seals what waits for a colleague at the desk (section 9); in no backup of anything
    colleagues.key       hashes the list of own colleagues and known persons (FG-37); made with the first of them
    root-2026Q4.key      root of k[i,p,e] for one epoch; destroyed when the epoch's overlap is over

The folder is kept apart from the data, so that a backup of the one holds nothing of the other
(protocol sections 2 and 12, item 12).
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from bekend_policy.manifest import ClosedLog, KeyManifest
from bekend_proto import oprf, signing_files
from bekend_proto.checkpoint import NODE_LOG
from bekend_proto.clock import day_of, epoch_of
from bekend_proto.epochs import age_of, enrolled_epochs, quarter_of, served_epochs
from bekend_proto.errors import KeysError
from bekend_proto.secret_files import create_secret, read_secret
from nacl.secret import SecretBox
from nacl.signing import SigningKey

from bekend_node.config import SHIELDED

MANIFEST_LIFE = timedelta(days=365)
SHIELDED_SIZE = 1000
"""Stated size of `afgeschermd` unless it is configured."""
DESK = "desk.key"
COLLEAGUES = "colleagues.key"
_ROOT = re.compile(r"^root-([0-9]{4}[Q-Z][1-4])\.key$")


@dataclass
class NodeKeys:
    """The keys of one node, read once; `root` files of epochs come and go beside it, and `signing` goes over."""

    oin: str
    folder: Path
    signing: SigningKey = field(repr=False)
    state: bytes = field(repr=False)

    @classmethod
    def load(cls, folder: Path, oin: str) -> "NodeKeys":
        """Read the folder. Raises KeysError when a key is missing or readable by others."""
        signing = SigningKey(read_secret(folder / signing_files.PRESENT))
        return cls(oin, folder, signing, read_secret(folder / "state.key"))

    @classmethod
    def create(cls, folder: Path, oin: str, now: datetime) -> "NodeKeys":
        """Make signing key, state key, desk key and the root of the present epoch. Raises KeysError when one exists."""
        wanted = [
            *(folder / name for name in (signing_files.PRESENT, "state.key", DESK)),
            root_file(folder, epoch_of(now)),
        ]
        made: list[Path] = []
        try:
            for path in wanted:
                create_secret(path)
                made.append(path)
        except BaseException:
            # Nothing was computed with them, and some of them would keep the rest from being made.
            for path in made:
                path.unlink()
            raise
        return cls.load(folder, oin)

    @cached_property
    def _roots(self) -> dict[str, bytes]:
        return {}

    def epochs(self) -> tuple[str, ...]:
        """Epochs of which the root is at hand, oldest first."""
        found = (match[1] for path in self.folder.iterdir() if (match := _ROOT.match(path.name)))
        return tuple(sorted(found, key=age_of))

    def ensure_epoch(self, epoch: str) -> None:
        """Make the root of an epoch if there is none."""
        if not root_file(self.folder, epoch).exists():
            create_secret(root_file(self.folder, epoch))

    def destroy_epoch(self, epoch: str) -> None:
        """Overwrite and remove an epoch's root: nothing computed with it can be computed again."""
        self._roots.pop(epoch, None)
        path = root_file(self.folder, epoch)
        with path.open("r+b") as file:
            file.write(b"0" * 64)
            file.flush()
            os.fsync(file.fileno())
        path.unlink()

    def evaluation_key(self, purpose: str, epoch: str) -> oprf.KeyPair:
        """k[i,p,e] and K = k*G (protocol section 4). Raises KeysError when the epoch's root is not here."""
        if epoch not in self._roots:
            self._roots[epoch] = read_secret(root_file(self.folder, epoch))
        return oprf.derive_key(self._roots[epoch], oprf.ROLE_NODE_MATCH, self.oin, purpose, epoch)

    @cached_property
    def state_box(self) -> SecretBox:
        """Seals what this node keeps on disk over a restart."""
        return SecretBox(self.state)

    def colleagues(self) -> bytes | None:
        """The key of the list of own colleagues; None while there is none. Raises KeysError when it cannot be read.

        Not cached while it is missing: a command makes it beside the running node.
        """
        return colleagues_key(self.folder)

    @property
    def has_desk(self) -> bool:
        """Whether there is a desk key: nodes of before manual release make one with `bekend node desk init`."""
        return "desk_box" in self.__dict__ or (self.folder / DESK).exists()

    @cached_property
    def desk_box(self) -> SecretBox:
        """Seals what waits for a colleague at the desk. Raises KeysError, with the remedy, when there is no key."""
        if not self.has_desk:
            raise KeysError(f"{self.folder / DESK} is missing: run `bekend node desk init`")
        return SecretBox(read_secret(self.folder / DESK))


def colleagues_key(folder: Path) -> bytes | None:
    """The key of the list of own colleagues in this folder, or None. Raises KeysError when it cannot be read."""
    path = folder / COLLEAGUES
    return read_secret(path) if path.exists() else None


def root_file(folder: Path, epoch: str) -> Path:
    """Where an epoch's root is kept."""
    return folder / f"root-{epoch}.key"


def draft_manifest(
    keys: NodeKeys,
    purposes: Iterable[str],
    sizes: Mapping[str, int],
    *,
    privacy_officer: bytes | None,
    privacy_officer_signing: bytes | None = None,
    number: int,
    now: datetime,
    desk: str | None = None,
    opening_hours: str | None = None,
    tls_keys: tuple[bytes, ...] = (),
    logs: Iterable[str] = (NODE_LOG,),
    closed: tuple[ClosedLog, ...] = (),
    leaving: Collection[str] = (),
) -> KeyManifest:
    """The manifest that the ondertekenaar signs off line; makes the next epoch's root when that is near.

    `purposes` are those in which this node is a source, `sizes` the stated size (persons) of each register;
    `afgeschermd` has one too, since its budget is reserved. `logs` are those of this node and its standby, `closed`
    those that a restore ended; `leaving`: epochs whose keys it names no more.
    """
    at_hand = {quarter_of(epoch) for epoch in keys.epochs()}
    for epoch in enrolled_epochs(now):
        # A quarter whose first key was renewed and destroyed gets no other one.
        if epoch not in at_hand:
            keys.ensure_epoch(epoch)
    known = keys.epochs()
    counting = {*served_epochs(now, known), *enrolled_epochs(now, known)}
    served = [epoch for epoch in known if epoch in counting and epoch not in leaving]
    return KeyManifest(
        oin=keys.oin,
        number=number,
        issued=now.replace(microsecond=0),
        valid_until=now.replace(microsecond=0) + MANIFEST_LIFE,
        protocol_versions=(1,),
        signing_keys=signing_files.announced(keys.folder, day_of(now)),
        privacy_officer=privacy_officer,
        desk=desk,
        opening_hours=opening_hours,
        tls_keys=tls_keys,
        privacy_officer_signing=privacy_officer_signing,
        register_sizes={SHIELDED: SHIELDED_SIZE, **sizes},
        evaluation_keys={
            (keys.oin, purpose, epoch): keys.evaluation_key(purpose, epoch).public
            for purpose in sorted(purposes)
            for epoch in sorted(served)
        },
        record_keys={},
        logs=tuple(sorted(set(logs))),
        closed_logs=closed,
    )


def check_against(keys: NodeKeys, manifest: KeyManifest, purposes: Iterable[str], now: datetime) -> None:
    """Compare the keys at hand with the own signed manifest, at every start.

    Raises KeysError naming what differs and the remedy: a node with other keys than it announced must not serve.
    """
    if manifest.oin != keys.oin:
        raise KeysError(f"the manifest is of {manifest.oin}, this node is {keys.oin}")
    if bytes(keys.signing.verify_key) not in manifest.signing_keys:
        raise KeysError("the signing key is not in the signed manifest: run `bekend node manifest` and have it signed")
    epochs = served_epochs(now, {epoch for _, _, epoch in manifest.evaluation_keys})
    for purpose in purposes:
        announced = {e: manifest.evaluation_keys.get((keys.oin, purpose, e)) for e in epochs}
        # In the overlap the epoch that ended is enough: the node goes on while the new manifest is being signed.
        if not any(announced.values()):
            raise KeysError(
                f"the signed manifest has no key for {purpose} in {epoch_of(now)}: "
                "run `bekend node manifest` and have it signed"
            )
        for epoch, public in announced.items():
            if public is not None and public != keys.evaluation_key(purpose, epoch).public:
                raise KeysError(f"the key for {purpose} in {epoch} differs from the signed manifest: restore the keys")
