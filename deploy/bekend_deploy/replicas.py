"""A federation with replicas of the broker on one PostgreSQL database, each under a host name of its own.

    with PostgresServer.running(binaries()) as server, Federation.build(folder, ...) as federation:
        replicas = configure(federation.built, server)
        for one in replicas:
            one.start()

Keys, covenant and manifest are the same files for all, every node is told of all, and the manifest names the keys of
all certificates. For tests and drills: everything is on this machine.
"""

import http.client
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml
from bekend_policy.manifest import parse_manifest
from bekend_proto.identity import pinned_keys
from bekend_proto.note import parse_note, sign_note

from bekend_deploy.building import Built
from bekend_deploy.health import serves
from bekend_deploy.partners import BROKER_OIN
from bekend_deploy.pki import TlsPaths
from bekend_deploy.postgres_server import PostgresServer
from bekend_deploy.processes import Process, free_ports

NAMES = ("a", "b")
READY_SECONDS = 90.0


@dataclass
class Replica:
    """One replica: its configuration, the host that its certificate names, and its process once it was started."""

    name: str
    config: Path
    port: int
    metrics: int
    host: str
    tls: TlsPaths
    process: Process | None = None
    environment: Mapping[str, str] = field(default_factory=dict)

    def start(self) -> None:
        """Start it, and wait until its health service says that it serves. Raises ProcessFailed."""
        words = ("broker", "serve", "--config", str(self.config))
        self.process = Process(f"broker {self.name}", words, self.config.with_name("broker.log"), self.environment)
        self.process.ready(lambda: serves(f"127.0.0.1:{self.port}", self.tls, self.host), READY_SECONDS)

    @property
    def running(self) -> Process:
        """Its process. Raises ValueError before the first start."""
        if self.process is None:
            raise ValueError(f"replica {self.name} was not started")
        return self.process

    def metric(self, name: str) -> float:
        """A value of its metrics port. Raises StopIteration when it shows no such series."""
        connection = http.client.HTTPConnection("127.0.0.1", self.metrics, timeout=5)
        connection.request("GET", "/metrics")
        lines = connection.getresponse().read().decode().splitlines()
        return next(float(line.split()[-1]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))


def configure(built: Built, server: PostgresServer, names: Sequence[str] = NAMES) -> list[Replica]:
    """Replicas, two of them unless named, in the place of the one broker of a federation that was not started."""
    database = server.database()
    ports = iter(free_ports(2 * len(names)))
    found = [_replica(built, name, port=next(ports), metrics=next(ports)) for name in names]
    note = built.folder / "broker" / "manifest.note"
    manifest = parse_manifest(parse_note(note.read_bytes()).text)
    pinned = replace(manifest, tls_keys=pinned_keys([one.tls.certificate for one in found]))
    note.write_bytes(sign_note(pinned.text(), built.operator.name, built.operator.seed))
    given = yaml.safe_load(built.broker_config.read_text(encoding="utf-8"))
    for one in found:
        own = {
            "database": {"socket": str(database.socket), "name": database.name, "user": database.user},
            "keys": "../broker/keys",
            "manifest": "../broker/manifest.note",
            "listen": f"127.0.0.1:{one.port}",
            "metrics": f"127.0.0.1:{one.metrics}",
            "tls": {
                "certificate": str(one.tls.certificate),
                "key": str(one.tls.key),
                "authorities": str(one.tls.authorities),
            },
        }
        one.config.write_text(yaml.safe_dump(given | own), encoding="utf-8")
    for node in built.nodes.values():
        text = yaml.safe_load(node.config.read_text(encoding="utf-8"))
        text["brokers"] = [{"address": f"127.0.0.1:{one.port}", "server_name": one.host} for one in found]
        node.config.write_text(yaml.safe_dump(text), encoding="utf-8")
    return found


def _replica(built: Built, name: str, *, port: int, metrics: int) -> Replica:
    host = f"broker-{name}.example"
    folder = built.folder / f"broker-{name}"
    folder.mkdir()
    tls = built.authority.issue(f"broker-{name}", "Beheerder van de demo", BROKER_OIN, host=host)
    return Replica(name, folder / "broker.yaml", port, metrics, host, tls)
