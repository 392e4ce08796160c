"""What is in service: the covenant's versions, the broker's own manifest and keys, read from files and verified.

A manifest is believed only under the ondertekenaar's key that the signed covenant pins (protocol section 4).
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from pathlib import Path

from bekend_policy.manifest import KeyManifest, open_manifest
from bekend_policy.model import Covenant, Participant
from bekend_policy.retention import longest_term
from bekend_policy.suspension import Suspensions
from bekend_policy.versions import FOLDER, Version, load_versions
from bekend_proto import logs
from bekend_proto.errors import BekendError, CovenantError, KeysError, UnknownPartnerError
from bekend_proto.note import parse_note, verify_note

from bekend_broker.config import BrokerConfig
from bekend_broker.keys import KeyRing


@dataclass(frozen=True)
class Present:
    """What is in service now; replaced as a whole by a reload. `versions`: of the covenant, newest first."""

    versions: tuple[Version, ...]
    manifest: KeyManifest
    note: bytes
    keys: KeyRing
    suspensions: Suspensions = field(default_factory=Suspensions)

    @property
    def covenant(self) -> Covenant:
        """The newest version in service."""
        return self.versions[0].covenant

    @property
    def covenants(self) -> tuple[Covenant, ...]:
        """All versions in service, newest first."""
        return tuple(version.covenant for version in self.versions)

    @cached_property
    def _by_hash(self) -> Mapping[bytes, Version]:
        return {version.covenant.hash: version for version in self.versions}

    def version(self, covenant_hash: bytes) -> Version:
        """The version that a message names. Raises CovenantError when it is not in service."""
        found = self._by_hash.get(covenant_hash)
        if found is None:
            raise CovenantError("this version of the covenant is not in service: fetch and accept one that is")
        return found

    def under(self, covenant_hash: bytes) -> Covenant:
        """As `version`, the covenant itself."""
        return self.version(covenant_hash).covenant

    def partner(self, oin: str) -> Participant:
        """The participant with this OIN, as the newest version that has it says.

        Raises UnknownPartnerError when none has.
        """
        for covenant in self.covenants:
            if oin in covenant.participants:
                return covenant.participants[oin]
        raise UnknownPartnerError(f"{oin} is no participant of covenant {self.covenant.id}")

    def is_signed_now(self, oin: str, note: bytes) -> bool:
        """Whether the key that the newest version names for a partner signed this note."""
        return verify_note(parse_note(note), self.partner(oin).signer)

    def open_manifest_of(self, oin: str, note: bytes, now: datetime) -> KeyManifest:
        """A partner's manifest, under its key in one of the versions: a change-over may bring a new one.

        Raises as `manifest.open_manifest`, with the fault under the newest version.
        """
        first: BekendError | None = None
        for signer in dict.fromkeys(c.participants[oin].signer for c in self.covenants if oin in c.participants):
            try:
                return open_manifest(note, signer, now)
            except BekendError as fault:
                first = first or fault
        raise first or UnknownPartnerError(f"{oin} is no participant of covenant {self.covenant.id}")


def shelf_of(config: BrokerConfig) -> Path:
    """Where versions that were added are kept."""
    return config.data / FOLDER


def load_in_service(
    config: BrokerConfig, now: datetime, newest_seen: Callable[[str], int] = lambda _: 0
) -> tuple[Version, ...]:
    """The covenant's versions, in force and signed, newest first; `newest_seen` gives the version that served before.

    Raises CovenantFaults with every reason, CovenantError when it names another broker.
    """
    versions = load_versions(
        config.covenant, shelf_of(config), config.anchor, now, newest_seen=newest_seen, skipped=_skipped
    )
    for version in versions:
        if version.covenant.broker_oin != config.oin:
            raise CovenantError(
                f"the covenant names broker {version.covenant.broker_oin}, this one is {config.oin}: check `oin`"
            )
    return versions


def _skipped(folder: Path, detail: str) -> None:
    logs.log(logs.COVENANT_SKIPPED, folder=folder.name, detail=detail)


def load_present(config: BrokerConfig, now: datetime, newest_seen: Callable[[str], int] = lambda _: 0) -> Present:
    """Read and verify covenant, manifest and keys of a configuration.

    Raises what `load_in_service` raises, SignatureError when the operator did not sign the manifest, and KeysError when
    manifest and keys differ.
    """
    versions = load_in_service(config, now, newest_seen)
    note = read_manifest(config.manifest)
    manifest = open_manifest(note, versions[0].covenant.operator_key, now)
    if manifest.oin != config.oin:
        raise KeysError(f"{config.manifest} is the manifest of {manifest.oin}, this broker is {config.oin}")
    if config.log not in manifest.logs:
        raise KeysError(
            f"the signed manifest does not name log {config.log!r}: run `bekend broker manifest`, and have it signed"
        )
    years = max(longest_term(version.covenant) for version in versions)
    return Present(versions, manifest, note, KeyRing.load(config.keys, manifest, now, years))


def read_manifest(path: Path) -> bytes:
    """The signed manifest in a file. Raises KeysError with the remedy when it cannot be read."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise KeysError(
            f"{path} cannot be read ({fault.strerror}): run `bekend broker manifest` and have the operator sign it"
        ) from fault
