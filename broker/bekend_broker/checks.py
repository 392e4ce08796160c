"""`bekend broker doctor`: what would keep the broker from serving, now or soon, each with its remedy.

It changes nothing, and works beside a broker in service and without one.
"""

import asyncio
import contextlib
import socket
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import grpc
from bekend_policy.faults import YamlFaults
from bekend_policy.manifest import KeyManifest, parse_manifest
from bekend_policy.versions import Version
from bekend_policy.words import Mode
from bekend_proto import machine_checks as machine
from bekend_proto.clock import Clock, add_months, epoch_of, month_of
from bekend_proto.epochs import enrolled_epochs, replaced
from bekend_proto.findings import Finding, fail, look, warn
from bekend_proto.identity import channel_to
from bekend_proto.note import parse_note
from cryptography import x509
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bekend_broker.config import BrokerConfig
from bekend_broker.covenants import in_service, newest_seen
from bekend_broker.keys import over
from bekend_broker.present import Present, load_present
from bekend_broker.store import Store

SOON = timedelta(days=14)
"""How long beforehand an end is reported."""


CALL_SECONDS: Final = 5.0
ANY_ADDRESS: Final = ("0.0.0.0", "::")  # noqa: S104 - compared with, never listened on
_NEW_MANIFEST: Final = (
    "Run `bekend broker init`, then `bekend broker manifest`, have it signed, put it in place and send SIGHUP."
)


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
    if Store.is_there(config):
        store = Store.of(config)
        try:
            numbers.append(store.manifests().get(config.oin, (0, b""))[0])
        finally:
            store.close()
    return max(numbers) + 1


def _findings(config: BrokerConfig, clock: Clock) -> Iterator[Finding]:
    now = clock.now()
    yield from machine.time_service()
    yield from machine.certificate(config.tls_files, config.oin, clock)
    yield from machine.folders(config.keys, config.data)
    yield machine.disk(config.data)
    yield look("database", lambda: _database(config, now))
    if config.database is None:
        # A PostgreSQL server has backups of its own.
        yield machine.backup(config.data, clock)
    yield look("covenant", lambda: _covenant(in_service(config, now), now), YamlFaults)
    yield look("keys and manifest", lambda: _keys(load_present(config, now, newest_seen(config)), now), YamlFaults)
    yield look("keys that are over", lambda: _over(config, now))
    yield _serving(config, clock)


def _covenant(versions: tuple[Version, ...], now: datetime) -> Finding | str:
    covenant = versions[0].covenant
    if covenant.valid_until - now < SOON:
        return warn(
            "covenant", f"{covenant.id} ends on {covenant.valid_until:%Y-%m-%d}", "Have its next version signed."
        )
    older = "".join(f", and version {one.covenant.version} until it is retired" for one in versions[1:])
    return f"{covenant.id} version {covenant.version}, signed by {len(covenant.signed_by)} of its participants{older}"


def _keys(present: Present, now: datetime) -> Finding | str:
    manifest = present.manifest
    if manifest.valid_until - now < SOON:
        return warn("keys and manifest", f"the manifest ends on {manifest.valid_until:%Y-%m-%d}", _NEW_MANIFEST)
    near = month_of(now + SOON)
    for month in {month_of(now), near}:
        if month not in manifest.record_keys:
            found = fail if month == month_of(now) else warn
            return found("keys and manifest", f"no record key for {month}", _NEW_MANIFEST)
    missing = [
        (source, purpose, epoch)
        for covenant in present.covenants
        for purpose in covenant.purposes
        for source, terms in covenant.sources(purpose).items()
        for epoch in enrolled_epochs(now)
        if not _is_renewed(epoch, manifest)
        if terms.mode is not Mode.NEVER and (source, purpose, epoch) not in manifest.evaluation_keys
    ]
    if missing:
        source, purpose, epoch = missing[0]
        found = fail if epoch == epoch_of(now) else warn
        told = f"{len(missing)} keys are not in the manifest, among them {purpose} of {source} in {epoch}"
        return found("keys and manifest", told, _NEW_MANIFEST)
    last = max(manifest.record_keys)
    return f"manifest {manifest.number}, every key as it says; record keys until {add_months(last, 1)}-01"


def _is_renewed(epoch: str, manifest: KeyManifest) -> bool:
    """Whether other keys took an epoch's place within its quarter."""
    return bool(replaced([epoch], {one for _, _, one in manifest.evaluation_keys}))


def _over(config: BrokerConfig, now: datetime) -> Finding | str:
    if left := over(config.keys, now):
        names = ", ".join(path.name for path in left)
        return warn("keys that are over", names, "Run `bekend broker init`, which destroys them, on every replica.")
    return "none is left"


def _database(config: BrokerConfig, now: datetime) -> str:
    if not Store.is_there(config):
        return "not there yet; made at the first start"
    store = Store.of(config)
    try:
        what = store.check()
        open_ = store.open_questions(now)
        counted = f"{store.log_entries()} log entries, {open_} questions that a colleague may still decide about"
        return f"{what}: whole, {counted}"
    finally:
        store.close()


def _serving(config: BrokerConfig, clock: Clock) -> Finding:
    """The broker in service, as a partner meets it; that none runs is no fault of what was looked at."""
    host, _, port = config.listen.rpartition(":")
    # What listens on every address is met on this machine.
    address = f"localhost:{port}" if host.strip("[]") in ANY_ADDRESS else config.listen
    what = f"running broker at {address}"
    try:
        socket.create_connection((address.rpartition(":")[0].strip("[]"), int(port)), CALL_SECONDS).close()
    except OSError:
        return warn(what, "nothing listens there", "Start it; then run this again.")
    return look(what, lambda: asyncio.run(_healthy(what, address, config, clock)))


async def _healthy(what: str, address: str, config: BrokerConfig, clock: Clock) -> Finding | str:
    async with channel_to(address, config.tls_files, clock, _own_name(config)) as channel:
        request = health_pb2.HealthCheckRequest()
        try:
            reply = await health_pb2_grpc.HealthStub(channel).Check(request, timeout=CALL_SECONDS)
        except grpc.RpcError:
            remedy = "Find out what listens there, and stop it, or write another address under `listen`."
            return fail(what, "something else than a broker of this configuration answers", remedy)
    if reply.status == health_pb2.HealthCheckResponse.SERVING:
        return "serves"
    return fail(what, "it is stopping", "Wait until it has drained; if nobody stopped it, its log says why.")


def _own_name(config: BrokerConfig) -> list[tuple[str, str]]:
    """A name that the own certificate is valid for: partners dial another than this machine may know itself by."""
    leaf = x509.load_pem_x509_certificate(config.tls.certificate.read_bytes())
    with contextlib.suppress(x509.ExtensionNotFound):
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [("grpc.ssl_target_name_override", name) for name in names.get_values_for_type(x509.DNSName)[:1]]
    return []
