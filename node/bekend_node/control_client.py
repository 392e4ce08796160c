"""The other end of the control socket, for commands: plain blocking calls."""

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from bekend_proto.errors import MalformedError, UnreachableError

from bekend_node.control_socket import reachable

REPLY_SECONDS: Final = 60.0
"""Longer than a lookup with cold filters can take."""
_LONGEST_REPLY: Final = 1 << 22


class ControlClient:
    """A connection to a running node. Raises UnreachableError, with the remedy, when there is none."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            self._socket.settimeout(REPLY_SECONDS)
            with reachable(path) as name:
                self._socket.connect(name)
        except OSError as error:
            self._socket.close()
            raise UnreachableError(
                f"{path}: the node cannot be reached ({error.strerror}): "
                "does `bekend node serve` run here, as this user?"
            ) from error
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Hang up; a lookup under way goes on to its record."""
        self._lines.close()
        self._socket.close()

    def call(self, request: dict[str, Any]) -> dict[str, Any]:
        """One request with one reply. Raises UnreachableError when the node goes away."""
        self._send(request)
        return self._read()

    def ask(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """One lookup: `outcome` lines as they come, then one `receipt`; or `refused` or `error`."""
        self._send(request)
        while True:
            reply = self._read()
            yield reply
            if reply["type"] != "outcome":
                return

    def stream(self, request: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """One request with lines `records` before its reply."""
        self._send(request)
        while True:
            reply = self._read()
            yield reply
            if reply["type"] != "records":
                return

    def _send(self, request: dict[str, Any]) -> None:
        try:
            self._socket.sendall(json.dumps(request).encode() + b"\n")
        except OSError as error:
            raise UnreachableError(f"{self._path}: the node hung up") from error

    def _read(self) -> dict[str, Any]:
        try:
            line = self._lines.readline(_LONGEST_REPLY)
        except OSError as error:
            raise UnreachableError(f"{self._path}: the node did not reply") from error
        if not line.endswith(b"\n"):
            raise UnreachableError(f"{self._path}: the node hung up")
        reply = json.loads(line)
        if not isinstance(reply, dict) or not isinstance(reply.get("type"), str):
            raise MalformedError(f"{self._path}: this is no node of bekend")
        return reply
