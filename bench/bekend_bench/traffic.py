"""What crosses a line: octets of TCP connections of other processes, as the kernel counts them for `ss` (sock_diag(7)).

Counted is what TLS and HTTP/2 put into TCP, retransmissions left out; headers of TCP and IP are not.
"""

import os
import socket
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_SOCK_DIAG: Final = 4
_DIAG_BY_FAMILY: Final = 20
_DUMP: Final = 0x300 | 0x1
"""NLM_F_DUMP | NLM_F_REQUEST."""
_INFO: Final = 2
"""The attribute that holds a tcp_info."""
_ESTABLISHED: Final = 1 << 1
_HEADER: Final = struct.Struct("=IHHII")
_REQUEST: Final = struct.Struct("=BBBxI48s")
_ENTRY: Final = struct.Struct("=BBBB2s2s16s16sIIIIIIII")
_RECEIVED_AT, _SENT_AT, _SENT_AGAIN_AT = 128, 200, 208
"""Of tcp_info (linux/tcp.h): tcpi_bytes_received, tcpi_bytes_sent, tcpi_bytes_retrans; eight octets each."""
_ERROR, _DONE = 2, 3


@dataclass(frozen=True)
class Octets:
    """What went out, acknowledged or still on its way, and what came in."""

    sent: int = 0
    received: int = 0

    def __add__(self, other: "Octets") -> "Octets":
        return Octets(self.sent + other.sent, self.received + other.received)

    def __sub__(self, other: "Octets") -> "Octets":
        return Octets(self.sent - other.sent, self.received - other.received)


def of_processes(pids: Iterable[int], port: int) -> Octets:
    """All that these processes have sent to and received from a port over connections that stand now."""
    own = {inode for pid in pids for inode in _sockets(pid)}
    found = [octets for remote, inode, octets in _connections() if remote == port and inode in own]
    return sum(found, Octets())


def _sockets(pid: int) -> Iterable[int]:
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        try:
            target = os.readlink(entry)
        except FileNotFoundError:
            continue
        if target.startswith("socket:["):
            yield int(target[8:-1])


def _connections() -> Iterable[tuple[int, int, Octets]]:
    """Of each connection that stands: its remote port, the number of its socket, what crossed it. Raises OSError."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _SOCK_DIAG) as line:
            asked = _REQUEST.pack(family, socket.IPPROTO_TCP, 1 << (_INFO - 1), _ESTABLISHED, b"")
            line.send(_HEADER.pack(_HEADER.size + len(asked), _DIAG_BY_FAMILY, _DUMP, 0, 0) + asked)
            yield from _read(line)


def _read(line: socket.socket) -> Iterable[tuple[int, int, Octets]]:
    while True:
        data = memoryview(line.recv(1 << 18))
        while data:
            length, kind, *_ = _HEADER.unpack_from(data)
            if kind == _DONE:
                return
            if kind == _ERROR:
                raise OSError("the kernel does not tell of TCP connections: sock_diag is not there")
            yield _entry(data[_HEADER.size : length])
            data = data[(length + 3) & ~3 :]


def _entry(body: memoryview) -> tuple[int, int, Octets]:
    fields = _ENTRY.unpack_from(body)
    remote, inode = int.from_bytes(fields[5], "big"), fields[-1]
    rest = body[_ENTRY.size :]
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if kind == _INFO:
            received, sent, again = (_count(rest, at) for at in (_RECEIVED_AT, _SENT_AT, _SENT_AGAIN_AT))
            return remote, inode, Octets(sent - again, received)
        rest = rest[(length + 3) & ~3 :]
    return remote, inode, Octets()


def _count(attribute: memoryview, at: int) -> int:
    return int.from_bytes(attribute[4 + at : 12 + at], sys.byteorder)
