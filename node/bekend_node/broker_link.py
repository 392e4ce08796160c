"""The node's lines to the broker's replicas: one long-lived channel each, dialled once what the replica shows is good.

    look:  TLS 1.3, a known authority, this host       (reach.py)
    check: not revoked; the broker of the covenant; a key that the broker's manifest names
    dial:  a channel that trusts this one certificate

gRPC clients never read their certificate files again and check no revocation, so `run` looks at all of it every
second: new files, a renewed certificate there, a new list. The new channel stands before the old one goes, and calls on
the old one end in peace.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import grpc
import grpc.aio
from bekend_proto import logs
from bekend_proto.clock import Clock
from bekend_proto.errors import BekendError, UnknownPartnerError, UnreachableError
from bekend_proto.identity import TlsFiles, channel_to, read_tls
from bekend_proto.incarnation import FILE, METADATA, own
from bekend_proto.logs import log
from bekend_proto.v1 import broker_pb2_grpc

from bekend_node.config import BrokerAddress, NodeConfig, Proxy
from bekend_node.keys import NodeKeys
from bekend_node.proxy import proxy_options
from bekend_node.reach import Reach, Shown, reach

CLOSE_GRACE = 60.0
"""Seconds that calls on a replaced channel get to end."""
LOOK_AGAIN_SECONDS = 1.0
LEARN_SECONDS = 5.0
"""How long who opens a link waits for the broker's newer manifest, which may come in a directory of minutes."""


class PinnedKeyError(UnknownPartnerError):
    """A replica shows a certificate of the broker with a key that the broker's manifest does not name."""


class BrokerLink:
    """One replica. `stub` is that of now: fetch it per call or per stream, never keep it.

    `check` says whether a certificate is the broker's, and raises PinnedKeyError or UnknownPartnerError. `learn`
    fetches the broker's manifest from a replica with a key that the present one does not name: a newer one may.
    """

    def __init__(
        self,
        broker: BrokerAddress,
        tls: TlsFiles,
        clock: Clock,
        proxy: Proxy | None = None,
        incarnation: bytes = b"",
    ) -> None:
        """`incarnation`: what each call says of which machine this is."""
        self.address = broker.address
        self._metadata = ((METADATA, incarnation),) if incarnation else ()
        self.check: Callable[[Shown], None] = lambda _: None
        self.learn: Callable[[broker_pb2_grpc.BrokerServiceAsyncStub], Awaitable[None]] | None = None
        self._broker = broker
        self._tls = tls
        self._proxy = proxy
        self._clock = clock
        self._revocation = tls.revocation(clock)
        self._opening = asyncio.Lock()
        self._closing: set[asyncio.Task[None]] = set()
        self._files: object = None
        self._shown: Shown | None = None
        self._channel: grpc.aio.Channel | None = None
        self._calls_now: _Calls | None = None
        """The stub of the channel, kept: one costs as much as sending a message."""
        self._learning: asyncio.Task[None] | None = None
        self._fault: BekendError = UnreachableError(f"{self.address} was not dialled yet")
        self._opened = asyncio.Event()

    def say(self, incarnation: bytes) -> None:
        """What each call says from now on of which machine this is."""
        self._metadata = ((METADATA, incarnation),)
        self._calls_now = None

    @property
    def stub(self) -> "broker_pb2_grpc.BrokerServiceAsyncStub":
        """The calls of this replica. Raises why it is not spoken to: UnreachableError, UnknownPartnerError."""
        if self._channel is None:
            raise self._fault
        if self._calls_now is None:
            self._calls_now = _Calls(self._channel, self._metadata)
        return cast("broker_pb2_grpc.BrokerServiceAsyncStub", self._calls_now)

    def standing(self) -> bool:
        """Whether the channel stands; if not, it is dialled from now on."""
        if self._channel is None:
            return False
        return self._channel.get_state(try_to_connect=True) is grpc.ChannelConnectivity.READY

    async def ready(self) -> None:
        """Return when the channel stands."""
        await self._opened.wait()
        if self._channel is not None:
            await self._channel.channel_ready()

    async def open(self) -> bool:
        """Look, check, and dial anew if something changed; says whether it did.

        Raises BekendError: TlsFilesError, UnreachableError (then a channel that stood stays), UnknownPartnerError (then
        it goes).
        """
        async with self._opening:
            files = self._tls.state()
            read_tls(self._tls, self._clock)
            found = await self.look()
            if found.shown is None or not found.good:
                fault = UnreachableError(found.detail)
                if self._channel is None:
                    self._fault = fault
                raise fault
            shown = found.shown
            try:
                await self._verify(shown)
            except UnknownPartnerError as error:
                self._drop(error)
                raise
            if self._channel is not None and (shown, files) == (self._shown, self._files):
                return False
            fresh = self._dial(shown)
            self._retire()
            self._channel, self._shown, self._files = fresh, shown, files
            self._calls_now = None
            self._opened.set()
            return True

    async def run(self, renewed: Callable[[], None]) -> None:
        """Keep the channel what it should be until cancelled; `renewed` is called when another one took its place."""
        said = ""
        while True:
            try:
                if await self._look():
                    renewed()
                said = ""
            except BekendError as fault:
                if not isinstance(fault, UnreachableError) and fault.detail != said:
                    said = fault.detail
                    log(logs.BROKER_NOT_BELIEVED, broker=self.address, detail=fault.detail)
            await asyncio.sleep(LOOK_AGAIN_SECONDS)

    async def look(self) -> Reach:
        """Dial step by step, beside the channel: how far that gets, and who answers there."""
        return await asyncio.to_thread(reach, self._broker, self._tls, self._proxy)

    async def close(self) -> None:
        """Close the channel and those that are still closing."""
        if self._channel is not None:
            await self._channel.close()
        for task in (*self._closing, *([self._learning] if self._learning else [])):
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError, BekendError):
                await task

    async def _look(self) -> bool:
        if self._channel is None or self._shown is None or self._tls.state() != self._files:
            return await self.open()
        try:
            self._check_now(self._shown)
        except UnknownPartnerError as fault:
            self._drop(fault)
            raise
        if self._channel.get_state() is grpc.ChannelConnectivity.TRANSIENT_FAILURE:
            # Away, or there with another certificate.
            return await self.open()
        return False

    async def _verify(self, shown: Shown) -> None:
        try:
            self._check_now(shown)
        except PinnedKeyError:
            if self.learn is None:
                raise
            if self._learning is None:
                self._learning = asyncio.ensure_future(self._learn(shown, self.learn))
            # It goes on when this took too long, and `run` looks again.
            await asyncio.wait([self._learning], timeout=LEARN_SECONDS)
            if self._learning.done():
                learning, self._learning = self._learning, None
                learning.result()
            self._check_now(shown)

    async def _learn(
        self, shown: Shown, learn: "Callable[[broker_pb2_grpc.BrokerServiceAsyncStub], Awaitable[None]]"
    ) -> None:
        """Only signed notes are taken from it."""
        async with self._dial(shown) as channel:
            await learn(cast("broker_pb2_grpc.BrokerServiceAsyncStub", _Calls(channel, self._metadata)))

    def _check_now(self, shown: Shown) -> None:
        if self._revocation is not None:
            self._revocation.check(shown.chain)
        self.check(shown)

    def _dial(self, shown: Shown) -> grpc.aio.Channel:
        name = self._broker.server_name
        options = proxy_options(self.address, self._proxy)
        if name:
            options["grpc.ssl_target_name_override"] = name
        return channel_to(self.address, self._tls, self._clock, options.items(), trusted=shown.certificate)

    def _drop(self, fault: BekendError) -> None:
        self._fault = fault
        self._opened.clear()
        channel, self._channel, self._shown, self._calls_now = self._channel, None, None, None
        if channel is not None:
            self._close(channel, 0)

    def _retire(self) -> None:
        if self._channel is not None:
            self._close(self._channel, CLOSE_GRACE)

    def _close(self, channel: grpc.aio.Channel, grace: float) -> None:
        task = asyncio.ensure_future(channel.close(grace))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


class _Calls:
    """The calls of one channel, each with the same metadata."""

    def __init__(self, channel: grpc.aio.Channel, metadata: tuple[tuple[str, bytes], ...]) -> None:
        self._stub = broker_pb2_grpc.BrokerServiceStub(channel)
        self._metadata = metadata

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._stub, name)

        def call(*args: Any, metadata: tuple[tuple[str, str | bytes], ...] = (), **more: Any) -> Any:
            return method(*args, metadata=(*metadata, *self._metadata), **more)

        return call


def make_links(
    brokers: Sequence[BrokerAddress],
    tls: TlsFiles,
    clock: Clock,
    proxy: Proxy | None = None,
    incarnation: bytes = b"",
) -> tuple[BrokerLink, ...]:
    """A link to every replica, none of them dialled yet."""
    return tuple(BrokerLink(broker, tls, clock, proxy, incarnation) for broker in brokers)


def statement_of(config: NodeConfig) -> bytes:
    """Which machine this is, for a command beside the node; nothing before it ever ran, or without keys."""
    if not (config.data / FILE).exists():
        return b""
    try:
        key = NodeKeys.load(config.keys, config.oin).signing
        return own(config.data, config.oin).statement(key)
    except BekendError:
        return b""


async def open_all(links: Sequence[BrokerLink]) -> list[BekendError | None]:
    """Dial every replica; per link what went wrong. Raises nothing."""
    return list(await asyncio.gather(*map(_open, links)))


async def _open(link: BrokerLink) -> BekendError | None:
    try:
        await link.open()
    except BekendError as fault:
        return fault
    return None
