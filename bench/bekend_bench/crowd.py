"""More nodes than a machine has room for processes: several in each (hosting.py), all on one broker."""

import sys
import time
from collections.abc import Iterator, Sequence

import grpc
from bekend_deploy.building import NodeFiles
from bekend_deploy.federation import Federation
from bekend_deploy.partners import Partner
from bekend_deploy.processes import Process, ProcessFailed
from bekend_node.config import load_config
from bekend_node.control_client import ControlClient
from bekend_proto.errors import UnreachableError
from bekend_proto.v1 import broker_pb2, broker_pb2_grpc

from bekend_bench.ground import Ground

READY_SECONDS = 600.0
"""How long hundreds of nodes may take to read the covenant and attach, on a busy machine."""


def publish(federation: Federation, members: Sequence[Partner]) -> None:
    """Give the broker their manifests before any of them is there: it then has nobody to tell of each."""
    for one in members:
        node = federation.built.nodes[one.oin]
        with _channel(federation, node) as channel:
            stub = broker_pb2_grpc.BrokerServiceStub(channel)
            note = load_config(node.config).manifest.read_bytes()
            stub.PublishManifest(broker_pb2.PublishManifestRequest(manifest=note), timeout=30)


def host(field: Ground, members: Sequence[Partner], processes: int) -> None:
    """Start these nodes in so many processes; each is attached when this returns. Raises ProcessFailed."""
    built = field.federation.built
    started = len(set(field.hosts.values()))
    for number in range(processes):
        group = members[number::processes]
        log = built.folder / f"host-{started + number}.log"
        words = [str(built.nodes[one.oin].config) for one in group]
        command = (sys.executable, "-m", "bekend_bench.hosting")
        process = Process(f"host {started + number}", words, log, command=command)
        field.hosts.update(dict.fromkeys((one.oin for one in group), process))
    waiting = list(members)
    deadline = time.monotonic() + READY_SECONDS
    while waiting := list(_absent(field, waiting)):
        if time.monotonic() > deadline:
            raise ProcessFailed(f"{len(waiting)} of {len(members)} nodes are not attached after {READY_SECONDS:.0f} s")
        time.sleep(0.2)


def stop(field: Ground) -> None:
    """Stop the processes that host nodes."""
    for process in set(field.hosts.values()):
        process.stop()
    field.hosts.clear()


def _absent(field: Ground, members: Sequence[Partner]) -> Iterator[Partner]:
    """Those that are not attached yet; as many are looked at as is needed to find a few of them."""
    for place, one in enumerate(members):
        process = field.hosts[one.oin]
        if not process.alive:
            raise ProcessFailed(f"{process.name} ended with {process.exit_code}\n{process.tail()}")
        if not _attached(field.federation.built.nodes[one.oin]):
            yield from members[place:]
            return


def _attached(node: NodeFiles) -> bool:
    if not node.socket.exists():
        return False
    try:
        with ControlClient(node.socket) as client:
            return all(client.call({"op": "status"})["brokers"].values())
    except UnreachableError:
        return False


def _channel(federation: Federation, node: NodeFiles) -> grpc.Channel:
    tls = node.tls
    credentials = grpc.ssl_channel_credentials(
        tls.authorities.read_bytes(), tls.key.read_bytes(), tls.certificate.read_bytes()
    )
    return grpc.secure_channel(f"localhost:{federation.built.broker_port}", credentials)
