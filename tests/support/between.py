"""What stands between a node and its broker: a box that forgets silent lines, one that opens TLS, an HTTP proxy."""

import asyncio
import contextlib
import ssl
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from types import TracebackType

from bekend_proto.identity import TlsFiles


class Relay:
    """TCP from a port of its own to a port of this machine. It forgets a line after `idle_seconds` of silence, and says
    nothing about it: what comes later goes nowhere.
    """

    def __init__(self, target: int, idle_seconds: float) -> None:
        self._target = target
        self._idle = idle_seconds
        self._servers: list[asyncio.Server] = []
        self._lines: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self.forgotten = 0
        self.passed = 0
        """Times that something passed."""

    async def __aenter__(self) -> "Relay":
        self._servers.append(await asyncio.start_server(self._serve, "127.0.0.1", 0))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for server in self._servers:
            server.close()
        for line in tuple(self._lines):
            line.cancel()
        await asyncio.gather(*self._lines, return_exceptions=True)
        for writer in self._writers:
            writer.close()

    @property
    def port(self) -> int:
        return int(self._servers[0].sockets[0].getsockname()[1])

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._lines.add(task)
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        self._writers += [writer, far_writer]
        # One silence for both directions, as a connection table has it.
        with contextlib.suppress(TimeoutError, OSError):
            async with asyncio.timeout(self._idle) as silence:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._pass(reader, far_writer, silence))
                    group.create_task(self._pass(far_reader, writer, silence))
            return
        self.forgotten += 1

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silence: asyncio.Timeout) -> None:
        while octets := await reader.read(65_536):
            silence.reschedule(asyncio.get_running_loop().time() + self._idle)
            self.passed += 1
            writer.write(octets)
            await writer.drain()
        writer.close()


@contextlib.asynccontextmanager
async def inspector(files: TlsFiles) -> AsyncIterator[int]:
    """A firewall that opens TLS: it shows a certificate of its own for the host. Its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    context.set_alpn_protocols(["h2"])

    async def close(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    server = await asyncio.start_server(close, "127.0.0.1", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])


class HttpProxy:
    """The HTTP proxy `proxy.py` as a process of its own, and the log of who asked what of it."""

    def __init__(self, port: int, log: Path) -> None:
        self.address = f"127.0.0.1:{port}"
        self._log = log

    def connected(self) -> list[str]:
        """The hosts and ports of every CONNECT that ended."""
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [line.rpartition("CONNECT ")[2].split()[0] for line in lines if "CONNECT " in line]


@contextlib.asynccontextmanager
async def http_proxy(folder: Path, login: str | None = None) -> AsyncIterator[HttpProxy]:
    """Run it; it stops at the end."""
    port_file, log = folder / "proxy.port", folder / "proxy.log"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "proxy", "--hostname", "127.0.0.1", "--port", "0", "--port-file", str(port_file)),
        *("--num-acceptors", "1", "--num-workers", "1", "--log-file", str(log), "--log-format", "%(message)s"),
        *(("--basic-auth", login) if login else ()),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        cwd=folder,
    )
    try:
        while not (port_file.exists() and port_file.read_text().strip()):
            assert process.returncode is None, "the proxy did not start"
            await asyncio.sleep(0.02)
        yield HttpProxy(int(port_file.read_text()), log)
    finally:
        process.terminate()
        await process.wait()
