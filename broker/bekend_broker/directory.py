"""Who is who: the covenant in service, the broker's own manifest, and the newest key manifest of each partner.

Keys are learned from manifests only, and manifests are believed only under the ondertekenaar's key that the signed
covenant pins (protocol section 4). The highest number ever seen is remembered in the store: an older manifest is
refused, also after a restart, so that a revoked key cannot come back.
"""

import asyncio
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

from bekend_policy.load import load_covenant
from bekend_policy.manifest import KeyManifest, open_manifest
from bekend_policy.model import Covenant, Participant
from bekend_policy.sign import verify_covenant
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, CovenantError, KeysError, MalformedError, StaleError, UnknownPartnerError
from bekend_proto.v1.broker_pb2 import DirectoryEntry, GetDirectoryResponse

from bekend_broker import store
from bekend_broker.config import BrokerConfig
from bekend_broker.keys import KeyRing
from bekend_broker.store import Store

PROTOCOL_VERSIONS: Final = frozenset({1})
"""Versions of the protocol that this broker speaks."""

SUPERSEDED_GRACE: Final = timedelta(minutes=3)
"""How long a number that was superseded still names its party in messages under way: nodes refresh every minute."""

NOTE_LIMIT: Final = 256 * 1024
"""Octets of a partner's manifest."""


@dataclass(frozen=True)
class Present:
    """What is in service now; replaced as a whole by a reload."""

    covenant: Covenant
    manifest: KeyManifest
    note: bytes
    keys: KeyRing

    def partner(self, oin: str) -> Participant:
        """The participant with this OIN. Raises UnknownPartnerError when the covenant has none."""
        found = self.covenant.participants.get(oin)
        if found is None:
            raise UnknownPartnerError(f"{oin} is no participant of covenant {self.covenant.id}")
        return found


def load_verified(config: BrokerConfig, now: datetime, newest_seen: Callable[[str], int] = lambda _: 0) -> Covenant:
    """The covenant of a configuration, in force and signed; `newest_seen` gives the version that served before.

    Raises CovenantFaults with every reason, CovenantError when it names another broker.
    """
    loaded = load_covenant(config.covenant)
    covenant = verify_covenant(loaded, config.anchor, now, newest_seen=newest_seen(loaded.id))
    if covenant.broker_oin != config.oin:
        raise CovenantError(f"the covenant names broker {covenant.broker_oin}, this one is {config.oin}: check `oin`")
    return covenant


def load_present(config: BrokerConfig, now: datetime, newest_seen: Callable[[str], int] = lambda _: 0) -> Present:
    """Read and verify covenant, manifest and keys of a configuration.

    Raises what `load_verified` raises, SignatureError when the operator did not sign the manifest, and KeysError when
    manifest and keys differ.
    """
    covenant = load_verified(config, now, newest_seen)
    note = read_manifest(config.manifest)
    manifest = open_manifest(note, covenant.operator_key, now)
    if manifest.oin != config.oin:
        raise KeysError(f"{config.manifest} is the manifest of {manifest.oin}, this broker is {config.oin}")
    return Present(covenant, manifest, note, KeyRing.load(config.keys, manifest, now))


def read_manifest(path: Path) -> bytes:
    """The signed manifest in a file. Raises KeysError with the remedy when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise KeysError(
            f"{path} cannot be read ({fault.strerror}): run `bekend broker manifest` and have the operator sign it"
        ) from fault


class Directory:
    """The manifests that this broker believes, and what it has in service."""

    def __init__(self, database: Store, clock: Clock, present: Present) -> None:
        self._store = database
        self._clock = clock
        self.present = present
        self._manifests: dict[str, tuple[KeyManifest, bytes]] = {}
        self._superseded: dict[str, tuple[int, datetime]] = {}
        # One change at a time: what is published during a reload is not lost.
        self._changing = asyncio.Lock()

    async def replace(self, present: Present) -> None:
        """Put covenant, keys and own manifest into service, and verify the partners' manifests under them.

        Raises KeysError when the own manifest is older than one that served before.
        """
        async with self._changing:
            await self._store.write(lambda c: _remember_present(c, present))
            manifests = await asyncio.to_thread(self._believed, present)
            self._supersede(self.present.manifest, present.manifest)
            self.present = present
            self._manifests = manifests

    def _believed(self, present: Present) -> dict[str, tuple[KeyManifest, bytes]]:
        """The partners' manifests of the store that hold under this covenant."""
        found: dict[str, tuple[KeyManifest, bytes]] = {}
        for oin, (_, note) in self._store.manifests().items():
            if oin == present.manifest.oin or oin not in present.covenant.participants:
                continue
            try:
                found[oin] = open_manifest(note, present.covenant.participants[oin].signer, self._clock.now()), note
            except BekendError as fault:
                logs.log(logs.MANIFEST_SKIPPED, oin=oin, detail=fault.detail)
        return found

    async def publish(self, caller: str, note: bytes) -> int:
        """Take a partner's own manifest into the directory; gives its number.

        Raises SignatureError when its ondertekenaar did not sign it, KeysError when it is another's or has ended,
        StaleError when a newer one was seen.
        """
        participant = self.present.partner(caller)
        if len(note) > NOTE_LIMIT:
            raise MalformedError(f"a manifest has at most {NOTE_LIMIT} octets")
        manifest = await asyncio.to_thread(open_manifest, note, participant.signer, self._clock.now())
        if manifest.oin != caller:
            raise KeysError(f"{caller} offers the manifest of {manifest.oin}")
        async with self._changing:
            await self._store.write(lambda c: _remember(c, manifest, note))
            held = self._manifests.get(caller)
            if held is None or held[0].number < manifest.number:
                if held is not None:
                    self._supersede(held[0], manifest)
                self._manifests[caller] = manifest, note
                logs.log(logs.MANIFEST_ACCEPTED, oin=caller, number=manifest.number)
        return manifest.number

    def manifest_of(self, oin: str) -> KeyManifest:
        """The newest manifest of a partner.

        Raises UnknownPartnerError for who is no participant, KeysError when it has none or it has ended.
        """
        self.present.partner(oin)
        held = self._manifests.get(oin)
        if held is None:
            raise KeysError(f"{oin} has no manifest in the directory: its node publishes one before anything else")
        if self._clock.now() >= held[0].valid_until:
            raise KeysError(f"the manifest of {oin} has ended: its ondertekenaar signs a new one")
        return held[0]

    def check_number(self, oin: str, number: int) -> None:
        """Whether a message may name this manifest of a source, or of the broker.

        Raises KeysError unless it is the newest, or was superseded a moment ago.
        """
        own = oin == self.present.manifest.oin
        newest = self.present.manifest.number if own else self.manifest_of(oin).number
        previous, until = self._superseded.get(oin, (newest, None))
        if number != newest and not (number == previous and until is not None and self._clock.now() <= until):
            raise KeysError(f"the message goes by manifest {number} of {oin}, not {newest}: fetch the directory again")

    def response(self, is_attached: Callable[[str], bool]) -> GetDirectoryResponse:
        """The directory as it travels: signed notes only, and who is attached to this replica."""
        return GetDirectoryResponse(
            protocol_versions=sorted(PROTOCOL_VERSIONS),
            broker_manifest=self.present.note,
            entries=[
                DirectoryEntry(oin=oin, manifest=note, attached=is_attached(oin))
                for oin, (_, note) in sorted(self._manifests.items())
            ],
            covenant_hashes=[self.present.covenant.hash],
        )

    def _supersede(self, old: KeyManifest, new: KeyManifest) -> None:
        if old.number < new.number:
            self._superseded[new.oin] = old.number, self._clock.now() + SUPERSEDED_GRACE


def _remember_present(connection: sqlite3.Connection, present: Present) -> None:
    _remember(connection, present.manifest, present.note)
    store.keep_covenant(connection, present.covenant.id, present.covenant.version)


def _remember(connection: sqlite3.Connection, manifest: KeyManifest, note: bytes) -> None:
    held = store.newest_manifest(connection, manifest.oin)
    if held is not None and manifest.number < held[0]:
        raise StaleError(f"manifest {manifest.number} of {manifest.oin} is older than {held[0]}, which was seen before")
    if held is not None and manifest.number == held[0] and note != held[1]:
        raise StaleError(f"another manifest {manifest.number} of {manifest.oin} was seen before: give it a new number")
    store.keep_manifest(connection, manifest.oin, manifest.number, note)
