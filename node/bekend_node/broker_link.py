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

from bekend_node.config import BrokerAddress

CLOSE_GRACE = 10.0
"""Seconds that calls on a replaced channel get to end."""


class BrokerLink:
    """One replica. `channel` and `stub` are those of now: fetch them per call or per stream, never keep them."""

    def __init__(self, broker: BrokerAddress, tls: TlsFiles, clock: Clock) -> None:
        self.address = broker.address
        self._broker = broker
        self._tls = tls
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

    async def close(self) -> None:
        """Close the channel and those that are still closing."""
        await self.channel.close()
        for task in tuple(self._closing):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    def _open(self) -> grpc.aio.Channel:
        name = self._broker.server_name
        options = [("grpc.ssl_target_name_override", name)] if name else []
        return channel_to(self._broker.address, self._tls, self._clock, options)


def open_links(brokers: Sequence[BrokerAddress], tls: TlsFiles, clock: Clock) -> tuple[BrokerLink, ...]:
    """A link to every replica. Raises TlsFilesError when a certificate file cannot be used."""
    return tuple(BrokerLink(broker, tls, clock) for broker in brokers)
