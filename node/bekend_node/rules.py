"""What this node goes by: the covenant in force and versions beside it, its own signed manifest, standing decisions.

Read at the start and at SIGHUP, each time whole: what cannot be verified changes nothing that is in force.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from pathlib import Path

from bekend_policy.manifest import KeyManifest, open_manifest
from bekend_policy.model import Covenant, Mode, Source
from bekend_policy.standing import StandingDecision, check_standing, parse_standing
from bekend_policy.versions import FOLDER, Version, load_versions
from bekend_proto import log_table, logs
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, CovenantError, KeysError
from bekend_proto.logs import log
from bekend_proto.note import open_note

from bekend_node.classes import CERTAIN, CLASSES, FilterId
from bekend_node.config import SHIELDED, NodeConfig
from bekend_node.keys import NodeKeys, check_against
from bekend_node.store import Store

SUPERSEDED_GRACE = timedelta(minutes=3)
"""How long a manifest that was superseded is still good for messages under way: peers refresh every minute."""


@dataclass(frozen=True)
class Rules:
    """One consistent reading of everything that was signed off line."""

    oin: str
    covenant: Covenant
    manifest: KeyManifest
    manifest_note: bytes
    standing: Mapping[str, StandingDecision]
    older: tuple[Covenant, ...] = ()
    """Versions of the covenant that still judge the messages that name them, newest first."""

    @property
    def covenants(self) -> tuple[Covenant, ...]:
        """All versions held, newest first: `covenant` is the one that this node asks and builds filters under."""
        return (self.covenant, *self.older)

    def under(self, covenant_hash: bytes) -> Covenant:
        """The version that a message names. Raises CovenantError when this node does not hold it: never a miss."""
        for covenant in self.covenants:
            if covenant.hash == covenant_hash:
                return covenant
        raise CovenantError("the requester goes by a version of the covenant that this node does not hold")

    def answered(self) -> dict[str, Source]:
        """Purposes for which this node is a source, by machine or by hand."""
        return dict(self.covenant.served_by(self.oin))

    @cached_property
    def filters(self) -> Mapping[FilterId, Source]:
        """The same, by the classes of identifier that the covenant lists there: what this node has filters for."""
        return {
            FilterId(purpose, kind_class): source
            for purpose, source in self.answered().items()
            for kind_class in CLASSES
            if source.kinds_of(kind_class)
        }

    def source_of(self, id_: FilterId) -> Source | None:
        """One of these; None for what this node has no filter for."""
        source = self.covenant.sources(id_.purpose).get(self.oin)
        if source is None or source.mode is Mode.NEVER or not source.kinds_of(id_.kind_class):
            return None
        return source

    def by_machine(self, source: Source, id_: FilterId, now: datetime) -> bool:
        """Whether this source answers by machine now: where the mode asks a standing decision, with a valid one.

        Never by a combination, which may name somebody else.
        """
        if id_.kind_class != CERTAIN:
            return False
        purpose = id_.purpose
        return source.mode.by_machine and (source.mode is not Mode.STANDING or self.has_decision(purpose, now))

    def has_decision(self, purpose: str, now: datetime) -> bool:
        """Whether a standing decision for this purpose is in force."""
        decision = self.standing.get(purpose)
        return decision is not None and decision.in_force(now)

    def purposes_of(self, register: str) -> dict[str, Source]:
        """Purposes for which a register is enrolled; `afgeschermd` counts for all."""
        return {
            purpose: source
            for purpose, source in self.answered().items()
            if register == SHIELDED or register in source.registers
        }


def load_covenants_in_force(config: NodeConfig, store: Store, now: datetime) -> tuple[Version, ...]:
    """Read and verify the versions of the covenant, newest first; one older than one gone by before is refused, unless
    it was kept for a change-over.

    Raises CovenantFaults with every fault, CovenantError, SignatureError.
    """
    versions = load_versions(
        config.covenant,
        config.data / FOLDER,
        config.anchor,
        now,
        newest_seen=store.covenant_version,
        skipped=lambda folder, detail: log(logs.COVENANT_SKIPPED, folder=folder.name, detail=detail),
    )
    check_own(config, versions[0])
    return versions


def check_own(config: NodeConfig, version: Version) -> None:
    """Raise CovenantError unless a version names this node, with the ondertekenaar that it was given by hand."""
    covenant, folder = version.covenant, version.folder
    if config.oin not in covenant.participants:
        raise CovenantError(
            f"{folder}: the covenant names no participant {config.oin}: "
            "check `oin` in node.yaml, or have this organisation added to deelnemers/"
        )
    if covenant.participants[config.oin].signer != config.anchor:
        raise CovenantError(
            f"{folder}: the covenant pins another ondertekenaar for {config.oin} than `anchor` in node.yaml: "
            "find out which of the two is right before going on"
        )


def load_manifest(config: NodeConfig, now: datetime) -> tuple[KeyManifest, bytes]:
    """The own signed manifest and its note. Raises KeysError when it is missing, SignatureError, MalformedError."""
    note = read_note(config.manifest)
    return open_manifest(note, config.anchor, now), note


def read_note(path: Path) -> bytes:
    """The bytes of a note. Raises KeysError with the remedy when it is not there."""
    try:
        return path.read_bytes()
    except OSError as fault:
        raise KeysError(
            f"{path} cannot be read ({fault.strerror}): run `bekend node manifest` and have its output signed"
        ) from fault


def load_standing(config: NodeConfig, covenant: Covenant) -> dict[str, StandingDecision]:
    """The standing decisions in the folder, per purpose; of several, the one that lasts longest.

    One that does not verify, or that the covenant does not ask for, is logged and left out: its purpose is then not
    answered. Whether one holds at a moment is asked at that moment.
    """
    found: dict[str, StandingDecision] = {}
    folder = config.standing_decisions
    if folder is None or not folder.is_dir():
        return found
    for path in sorted(folder.glob("*.note")):
        try:
            decision = parse_standing(open_note(read_note(path), config.anchor))
            check_standing(covenant, decision)
        except BekendError as fault:
            log(logs.STANDING_REFUSED, file=path.name, detail=fault.detail)
            continue
        other = found.get(decision.purpose)
        if decision.source == config.oin and (other is None or other.valid_until < decision.valid_until):
            found[decision.purpose] = decision
    return found


def load_rules(config: NodeConfig, keys: NodeKeys, store: Store, clock: Clock) -> Rules:
    """Read and verify everything, and compare the keys at hand with the manifest. Raises BekendError."""
    now = clock.now()
    versions = load_covenants_in_force(config, store, now)
    covenant = versions[0].covenant
    older = tuple(one.covenant for one in versions[1:] if config.oin in one.covenant.participants)
    manifest, note = load_manifest(config, now)
    rules = Rules(config.oin, covenant, manifest, note, load_standing(config, covenant), older)
    check_against(keys, manifest, rules.answered(), now)
    check_log(config, manifest, store)
    store.remember_covenant(covenant.id, covenant.version)
    return rules


def check_log(config: NodeConfig, manifest: KeyManifest, store: Store) -> None:
    """Raise KeysError, LogError unless the manifest names this node's log, and its database may go on under that name.

    A log that was closed by a restore is never gone on with: others saw more of it.
    """
    store.read(lambda c: log_table.check_origin(c, log_origin(config.oin, config.log)))
    if config.log not in manifest.log_names:
        raise KeysError(
            f"the signed manifest does not name log {config.log!r}: run `bekend node manifest`, and have it signed"
        )


class RulesInForce:
    """The rules of now. `reload` replaces them whole or leaves them."""

    def __init__(self, rules: Rules) -> None:
        self.now = rules
        self._superseded: tuple[int, datetime] | None = None

    def covenant(self) -> Covenant:
        """The covenant in force."""
        return self.now.covenant

    def covenants(self) -> tuple[Covenant, ...]:
        """All versions held, newest first."""
        return self.now.covenants

    def older(self) -> tuple[Covenant, ...]:
        """The versions held beside the one in force."""
        return self.now.older

    def goes_by(self, number: int, now: datetime) -> bool:
        """Whether a message may name this number of the own manifest.

        The one in force, or the one before it for as long as peers need to notice.
        """
        if number == self.now.manifest.number:
            return True
        return self._superseded is not None and number == self._superseded[0] and now <= self._superseded[1]

    def reload(self, config: NodeConfig, keys: NodeKeys, store: Store, clock: Clock) -> None:
        """Read everything again. Raises BekendError, and then the old rules stay."""
        old = self.now.manifest.number
        self.now = load_rules(config, keys, store, clock)
        if self.now.manifest.number > old:
            self._superseded = old, clock.now() + SUPERSEDED_GRACE
