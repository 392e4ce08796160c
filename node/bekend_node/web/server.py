"""Serves the pages inside the node's own event loop, with TLS of their own, until the node stops."""

import asyncio
import contextlib
import socket
from pathlib import Path

import uvicorn
from bekend_proto.errors import StorageError
from starlette.types import ASGIApp


class _Server(uvicorn.Server):
    def capture_signals(self) -> contextlib.AbstractContextManager[None]:  # type: ignore[override]
        """Signals are the node's."""
        return contextlib.nullcontext()


class WebServer:
    """One listening address. `start` returns when it is served; `stop` lets requests under way end."""

    def __init__(self, app: ASGIApp, host: str, port: int, *, certificate: Path | None, key: Path | None) -> None:
        self._address = (host, port)
        # No access log: addresses say who looked at what.
        self._server = _Server(
            uvicorn.Config(
                app,
                host=host,
                port=port,
                ssl_certfile=certificate,
                ssl_keyfile=key,
                access_log=False,
                log_config=None,
                lifespan="off",
                proxy_headers=False,
                server_header=False,
                date_header=False,
                timeout_graceful_shutdown=5,
            )
        )
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Listen: who connects from now on is served. Raises StorageError (with the remedy) when that cannot be."""
        family = socket.AF_INET6 if ":" in self._address[0] else socket.AF_INET
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind(self._address)
            listening.listen()
        except OSError as fault:
            listening.close()
            raise StorageError(
                f"the pages cannot be served at {self._address[0]}:{self._address[1]} ({fault.strerror}): "
                "choose another address under `web` in node.yaml"
            ) from fault
        self._task = asyncio.create_task(self._server.serve(sockets=[listening]))

    async def stop(self) -> None:
        """Take no more requests, end those under way within a few seconds."""
        if self._task is not None:
            self._server.should_exit = True
            await self._task
            self._task = None
