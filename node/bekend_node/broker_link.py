"""The node's lines to the broker's replicas: one long-lived channel each, made anew when certificates change.

gRPC clients never read their certificate files again, so `renew` opens new channels and closes the old ones
once the calls on them have ended.
"""

import asyncio
import contextlib
from collections.abc import Sequence

import grpc.aio
from bekend_proto.clock import Clock
from bekend_proto.identity import TlsFiles, channel_to
from bekend_proto.v1 import broker_pb2_grpc

from bekend_node.config import BrokerAddress, Proxy
from bekend_node.proxy import proxy_options
from bekend_node.reach import Reach, reach

CLOSE_GRACE = 10.0
"""Seconds that calls on a replaced channel get to end."""


class BrokerLink:
    """One replica. `channel` and `stub` are those of now: fetch them per call or per stream, never keep them."""

    def __init__(self, broker: BrokerAddress, tls: TlsFiles, clock: Clock, proxy: Proxy | None = None) -> None:
        self.address = broker.address
        self._broker = broker
        self._tls = tls
        self._proxy = proxy
        self._clock = clock
        self._closing: set[asyncio.Task[None]] = set()
        self.channel = self._open()
        self.stub = broker_pb2_grpc.BrokerServiceStub(self.channel)

    def renew(self) -> None:
        """Dial again with the certificate files as they are now."""
        old, self.channel = self.channel, self._open()
        self.stub = broker_pb2_grpc.BrokerServiceStub(self.channel)
        task = asyncio.ensure_future(old.close(CLOSE_GRACE))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def look(self) -> Reach:
        """Dial step by step, beside the channel: how far that gets, and who answers there."""
        return await asyncio.to_thread(reach, self._broker, self._tls, self._proxy)

    async def close(self) -> None:
        """Close the channel and those that are still closing."""
        await self.channel.close()
        for task in tuple(self._closing):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _open(self) -> grpc.aio.Channel:
        name = self._broker.server_name
        options = proxy_options(self._broker.address, self._proxy)
        if name:
            options["grpc.ssl_target_name_override"] = name
        return channel_to(self._broker.address, self._tls, self._clock, options.items())


def open_links(
    brokers: Sequence[BrokerAddress], tls: TlsFiles, clock: Clock, proxy: Proxy | None = None
) -> tuple[BrokerLink, ...]:
    """A link to every replica. Raises TlsFilesError when a certificate or the proxy's credentials cannot be used."""
    return tuple(BrokerLink(broker, tls, clock, proxy) for broker in brokers)
