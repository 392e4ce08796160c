"""The floor: each operation that the protocol prescribes, at the raw speed of its library, measured now.

A figure of bekend means little on its own: machines differ, and a noisy one differs from itself. So every figure
is printed as a ratio to this floor, taken in the same run on the same machine.

Units are seconds of one core per operation, but for two: `multiply_all_cores` is seconds per operation when every core
multiplies at once, which is what bulk work is held against; `durable_insert` is the time that passes, most of which the
core waits for the disk.
"""

import asyncio
import hashlib
import os
import secrets
import sqlite3
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from multiprocessing import get_context
from pathlib import Path

import grpc
from bekend_deploy.pki import Authority
from bekend_proto import group, sodium
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from nacl.bindings import crypto_kx_client_session_keys, crypto_kx_keypair, crypto_secretbox
from nacl.public import PrivateKey, SealedBox
from nacl.signing import SigningKey

MESSAGE = 2048
"""Octets of an average message of a lookup."""


@dataclass(frozen=True)
class Floor:
    """Seconds per operation."""

    multiply: float
    multiply_base: float
    add: float
    multiply_all_cores: float
    hash_to_group: float
    point_check: float
    blake2b: float
    sign: float
    verify: float
    exchange_keypair: float
    exchange: float
    kem_keypair: float
    kem_encapsulate: float
    kem_decapsulate: float
    seal: float
    box: float
    message: float
    durable_insert: float
    durable_insert_cpu: float

    def as_dict(self) -> dict[str, float]:
        """For the report, in microseconds."""
        return {name: round(seconds * 1e6, 2) for name, seconds in asdict(self).items()}


def per_call(work: Callable[[], object], seconds: float = 0.3) -> float:
    """Seconds per call: the fastest of ten stretches, since noise only ever adds.

    Processor time, here and below: what else runs must not raise the floor.
    """
    work()
    rounds, began = 0, time.process_time()
    while time.process_time() - began < seconds / 10:
        work()
        rounds += 1
    stretches = []
    for _ in range(10):
        began = time.process_time()
        for _ in range(rounds):
            work()
        stretches.append((time.process_time() - began) / rounds)
    return min(stretches)


def _multiply_for(seconds: float) -> float:
    """Multiplications per second of this process."""
    scalar, element = group.random_scalar(), group.random_element()
    done, began = 0, time.process_time()
    while (passed := time.process_time() - began) < seconds:
        for _ in range(200):
            sodium.scalarmult(scalar, element)
        done += 200
    return done / passed


def all_cores(seconds: float = 0.5, times: int = 4) -> float:
    """Seconds per multiplication when one process per core multiplies at once: the fastest of a few stretches."""
    cores = os.cpu_count() or 1
    with ProcessPoolExecutor(cores, mp_context=get_context("spawn")) as pool:
        list(pool.map(_multiply_for, [0.1] * cores))  # start every process before the clock runs
        return min(1 / sum(pool.map(_multiply_for, [seconds] * cores)) for _ in range(times))


def durable_insert(folder: Path, rows: int = 30) -> tuple[float, float]:
    """One durable insert of a log entry (WAL, synchronous=FULL, a commit each): seconds that pass, seconds of CPU.

    The fastest of ten stretches of `rows`.
    """
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("CREATE TABLE log (seq INTEGER PRIMARY KEY, hash BLOB)")
    stretches = []
    for _ in range(10):
        began, used = time.perf_counter(), time.process_time()
        for _ in range(rows):
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("INSERT INTO log (hash) VALUES (?)", (secrets.token_bytes(32),))
            connection.execute("COMMIT")
        stretches.append((time.perf_counter() - began, time.process_time() - used))
    connection.close()
    passed, used = (min(column) / rows for column in zip(*stretches, strict=True))
    return passed, used


def _credentials(folder: Path) -> tuple[grpc.ServerCredentials, grpc.ChannelCredentials]:
    files = Authority(folder, datetime.now(UTC)).issue("floor", "floor", "00000099000000000001")
    key, certificate = files.key.read_bytes(), files.certificate.read_bytes()
    authorities = files.authorities.read_bytes()
    server = grpc.ssl_server_credentials([(key, certificate)], authorities, require_client_auth=True)
    return server, grpc.ssl_channel_credentials(authorities, key, certificate)


async def message(folder: Path, count: int = 150) -> float:
    """Seconds of CPU, both ends together, of one message over a long-lived mutual-TLS stream.

    The fastest of ten stretches of `count` messages there and back.
    """

    async def echo(requests: AsyncIterator[bytes], _context: object) -> AsyncIterator[bytes]:
        async for request in requests:
            yield request

    server_credentials, channel_credentials = _credentials(folder)
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.stream_stream_rpc_method_handler(echo)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("floor", {"Echo": handler}),))
    port = server.add_secure_port("localhost:0", server_credentials)
    await server.start()
    data = secrets.token_bytes(MESSAGE)
    async with grpc.aio.secure_channel(f"localhost:{port}", channel_credentials) as channel:
        stream: grpc.aio.StreamStreamCall[bytes, bytes] = channel.stream_stream("/floor/Echo")()
        await stream.write(data)
        await stream.read()
        stretches = []
        for _ in range(10):
            began = time.process_time()
            for _ in range(count):
                await stream.write(data)
                await stream.read()
            stretches.append(time.process_time() - began)
        await stream.done_writing()
    await server.stop(None)
    return min(stretches) / count / 2


def measure() -> Floor:
    """Measure every operation. Takes about ten seconds."""
    scalar, element, other = group.random_scalar(), group.random_element(), group.random_element()
    uniform, data = secrets.token_bytes(64), secrets.token_bytes(1500)
    signing = SigningKey.generate()
    signed = signing.sign(data)
    public, secret = crypto_kx_keypair()
    peer, _ = crypto_kx_keypair()
    kem = MLKEM768PrivateKey.generate()
    kem_public = kem.public_key()
    _, ciphertext = kem_public.encapsulate()
    sealed = SealedBox(PrivateKey.generate().public_key)
    key = secrets.token_bytes(32)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        insert, insert_cpu = durable_insert(folder)
        return Floor(
            multiply=per_call(lambda: sodium.scalarmult(scalar, element), 1.0),
            multiply_base=per_call(lambda: sodium.scalarmult_base(scalar)),
            add=per_call(lambda: sodium.add(element, other)),
            multiply_all_cores=all_cores(),
            hash_to_group=per_call(lambda: sodium.from_hash(uniform)),
            point_check=per_call(lambda: sodium.is_valid_point(element)),
            blake2b=per_call(lambda: hashlib.blake2b(data[:64], digest_size=8, key=key).digest()),
            sign=per_call(lambda: signing.sign(data)),
            verify=per_call(lambda: signing.verify_key.verify(signed)),
            exchange_keypair=per_call(crypto_kx_keypair),
            exchange=per_call(lambda: crypto_kx_client_session_keys(public, secret, peer)),
            kem_keypair=per_call(MLKEM768PrivateKey.generate),
            kem_encapsulate=per_call(kem_public.encapsulate),
            kem_decapsulate=per_call(lambda: kem.decapsulate(ciphertext)),
            seal=per_call(lambda: sealed.encrypt(key)),
            box=per_call(lambda: crypto_secretbox(data, bytes(24), key)),
            message=asyncio.run(message(folder)),
            durable_insert=insert,
            durable_insert_cpu=insert_cpu,
        )
