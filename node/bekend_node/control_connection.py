"""One connection to the control socket: who is on the other side, lines in, JSON objects out."""

import asyncio
import os
import pwd
import socket
import struct
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import to_json

LINE_LIMIT: Final = 1 << 16
IDLE_SECONDS: Final = 900.0
"""How long an officer may take between two lines."""

Reply = dict[str, Any]

_CREDENTIALS = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class Peer:
    """The user of the operating system on the other side. `operator`: root, or whom the node runs as."""

    name: str
    operator: bool


class Connection:
    """One connection: lines in, JSON objects out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def peer(self) -> Peer:
        """Who connected, as the kernel says. A user without a name is nobody's officer."""
        connected = self._writer.get_extra_info("socket")
        raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            # No account has such a name, and neither has anybody who signs in: a number may be somebody's.
            name = f"uid:{uid}"
        return Peer(name, operator=uid in {0, os.geteuid()})

    async def line(self) -> bytes | None:
        """The next line, or None at the end. A longer line than LINE_LIMIT ends the connection, with a reply."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await self._reader.readline()
        except ValueError:
            await self.send({"type": "error", "code": "malformed", "reason": "Het bericht is te lang."})
            return None
        return line or None

    async def send(self, *replies: Reply) -> None:
        """Replies, one a line, in one piece."""
        self._writer.write(b"".join(to_json(reply) + b"\n" for reply in replies))
        await self._writer.drain()
