"""The unsafe lower bound: one HMAC key that all partners share, a table in SQLite, one gRPC call over mutual TLS.

Every partner that is asked learns whom it is about, and whoever has the key and a table lists all its persons: about
90.9 million numbers, minutes of work. It shows what the messages and the disk cost when nothing is hidden.
Usage as a server: `python -m bekend_bench.peer_plain TLS_FOLDER DATABASE`; it prints its port.
"""

import asyncio
import hashlib
import hmac
import sqlite3
import sys
from collections.abc import Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Final

import grpc

METHOD: Final = "/plain/Ask"


def tag(key: bytes, value: str) -> bytes:
    """What stands for a person."""
    return hmac.digest(key, value.encode(), hashlib.sha256)


def fill(database: Path, key: bytes, values: Iterable[str]) -> None:
    """A partner's whole list, in one transaction."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("CREATE TABLE known (tag BLOB PRIMARY KEY) WITHOUT ROWID")
        connection.executemany("INSERT INTO known VALUES (?)", ((tag(key, value),) for value in values))


def add(database: Path, key: bytes, value: str) -> None:
    """One person more, durable."""
    with closing(sqlite3.connect(database)) as connection, connection:
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("INSERT INTO known VALUES (?)", (tag(key, value),))


def credentials(folder: Path) -> tuple[bytes, bytes, bytes]:
    """Key, certificate and authorities of one party."""
    return tuple((folder / name).read_bytes() for name in ("key.pem", "certificate.pem", "authorities.pem"))  # type: ignore[return-value]


async def serve(tls: Path, database: Path) -> None:
    """Answer until the process is stopped."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)

    async def known(asked: bytes, _context: object) -> bytes:
        found = connection.execute("SELECT 1 FROM known WHERE tag = ?", (asked,)).fetchone()
        return b"\x01" if found else b"\x00"

    key, certificate, authorities = credentials(tls)
    server = grpc.aio.server()
    handler: grpc.RpcMethodHandler[bytes, bytes] = grpc.unary_unary_rpc_method_handler(known)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("plain", {"Ask": handler}),))
    port = server.add_secure_port(
        "localhost:0", grpc.ssl_server_credentials([(key, certificate)], authorities, require_client_auth=True)
    )
    await server.start()
    sys.stdout.write(f"{port}\n")
    sys.stdout.flush()
    await server.wait_for_termination()


class Requester:
    """Asks all partners at once, over channels that stay open."""

    def __init__(self, tls: Path, ports: Sequence[int]) -> None:
        key, certificate, authorities = credentials(tls)
        identity = grpc.ssl_channel_credentials(authorities, key, certificate)
        self._channels = [grpc.aio.secure_channel(f"localhost:{port}", identity) for port in ports]
        self._calls: list[grpc.aio.UnaryUnaryMultiCallable[bytes, bytes]] = [
            channel.unary_unary(METHOD) for channel in self._channels
        ]

    async def ask(self, asked: bytes) -> list[bool]:
        """Who knows this person."""
        return [one == b"\x01" for one in await asyncio.gather(*(call(asked) for call in self._calls))]

    async def close(self) -> None:
        """Hang up."""
        for channel in self._channels:
            await channel.close()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1]), Path(sys.argv[2])))
