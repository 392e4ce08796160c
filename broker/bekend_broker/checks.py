"""`bekend broker check`: what would keep the broker from serving, now or soon. It changes nothing."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from bekend_policy.faults import YamlFaults
from bekend_policy.manifest import parse_manifest
from bekend_policy.versions import Version
from bekend_policy.words import Mode
from bekend_proto.clock import Clock, add_months, month_of
from bekend_proto.errors import BekendError, KeysError
from bekend_proto.identity import read_tls
from bekend_proto.note import parse_note

from bekend_broker.config import BrokerConfig
from bekend_broker.covenants import in_service, newest_seen
from bekend_broker.directory import Present, load_present
from bekend_broker.keys import enrolled_epochs, over
from bekend_broker.store import Store

SOON = timedelta(days=14)
"""How long beforehand an end is reported."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at."""

    what: str
    good: bool
    detail: str


def check_all(config: BrokerConfig, clock: Clock) -> list[Finding]:
    """Everything, whatever fails first."""
    return list(_findings(config, clock))


def next_manifest_number(config: BrokerConfig) -> int:
    """One above the highest number that this broker's manifest ever had here.

    Raises MalformedError or KeysError when the present manifest cannot be read.
    """
    numbers = [0]
    if config.manifest.exists():
        numbers.append(parse_manifest(parse_note(config.manifest.read_bytes()).text).number)
    if (config.data / "broker.db").exists():
        store = Store.open(config.data)
        try:
            numbers.append(store.manifests().get(config.oin, (0, b""))[0])
        finally:
            store.close()
    return max(numbers) + 1


def _findings(config: BrokerConfig, clock: Clock) -> Iterator[Finding]:
    now = clock.now()
    yield _try("certificate", lambda: _certificate(config, clock))
    yield _try("covenant", lambda: _covenant(in_service(config, now), now))
    yield _try("keys and manifest", lambda: _keys(load_present(config, now, newest_seen(config)), now))
    yield _try("keys that are over", lambda: _over(config, now))
    yield _try("database", lambda: _database(config, now))


def _try(what: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(what, True, look())
    except (BekendError, YamlFaults) as fault:
        return Finding(what, False, str(fault))


def _certificate(config: BrokerConfig, clock: Clock) -> str:
    material = read_tls(config.tls_files, clock)
    if material.oin != config.oin:
        raise KeysError(f"{config.tls.certificate} names {material.oin}, the configuration {config.oin}")
    return f"of {material.oin}"


def _covenant(versions: tuple[Version, ...], now: datetime) -> str:
    covenant = versions[0].covenant
    if covenant.valid_until - now < SOON:
        raise KeysError(f"{covenant.id} ends on {covenant.valid_until:%Y-%m-%d}: have its next version signed")
    older = "".join(f", and version {one.covenant.version} until it is retired" for one in versions[1:])
    return f"{covenant.id} version {covenant.version}, signed by {len(covenant.signed_by)} of its participants{older}"


def _keys(present: Present, now: datetime) -> str:
    manifest = present.manifest
    if manifest.valid_until - now < SOON:
        raise KeysError(f"the manifest ends on {manifest.valid_until:%Y-%m-%d}: have a new one signed")
    near = month_of(now + SOON)
    for month in {month_of(now), near}:
        if month not in manifest.record_keys:
            raise KeysError(f"no record key for {month}: run `bekend broker init`, then `manifest`, and have it signed")
    missing = [
        (source, purpose, epoch)
        for covenant in present.covenants
        for purpose in covenant.purposes
        for source, terms in covenant.sources(purpose).items()
        for epoch in enrolled_epochs(now)
        if terms.mode is not Mode.NEVER and (source, purpose, epoch) not in manifest.evaluation_keys
    ]
    if missing:
        source, purpose, epoch = missing[0]
        raise KeysError(
            f"{len(missing)} keys are not in the manifest, among them {purpose} of {source} in {epoch}: "
            "run `bekend broker init`, then `manifest`, and have it signed"
        )
    last = max(manifest.record_keys)
    return f"manifest {manifest.number}, every key as it says; record keys until {add_months(last, 1)}-01"


def _over(config: BrokerConfig, now: datetime) -> str:
    if left := over(config.keys, now):
        raise KeysError(f"{', '.join(path.name for path in left)}: run `bekend broker init`, which destroys them")
    return "none is left"


def _database(config: BrokerConfig, now: datetime) -> str:
    if not (config.data / "broker.db").exists():
        return "not there yet; made at the first start"
    store = Store.open(config.data)
    try:
        store.check()
        open_ = store.open_questions(now)
        return f"whole, {store.log_entries()} log entries, {open_} questions that a colleague may still decide about"
    finally:
        store.close()
