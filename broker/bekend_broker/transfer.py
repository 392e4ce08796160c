"""A closed filter on its way: the requester's Fetch joined to the Push that its source dials (protocol section 6).

    requester               broker                          source
      | Fetch{order} ------> check, log ---- PushOrder ----> (on Attach)
      |                                 <---- Push{fetch_id}
      |<----- piece ------- a few pieces <---- piece
      |<----- ...                        <---- ...

Pieces are sealed between requester and source and passed on unread. At most a few wait here: a requester that
reads slowly slows its source down. A Push is joined to a Fetch once, and only for the source that was ordered.
Whether every piece came, the requester knows from the signed header in the first one: gRPC shows a source that breaks
off and one that is done alike.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from typing import Final

from bekend_policy.decide import Asked
from bekend_proto.clock import Clock
from bekend_proto.decision_table import DecisionRow, append_decision
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    MalformedError,
    RefusedError,
    StaleError,
    StorageError,
    SuspendedError,
    UnreachableError,
    code_name,
    error_of,
)
from bekend_proto.filter import class_of_filter
from bekend_proto.sql import Connection
from bekend_proto.v1.broker_pb2 import FetchRequest, FetchResponse, FilterPiece, PushOrder, PushRequest, PushResponse
from bekend_proto.v1.signed_pb2 import FetchOrder, Signed

from bekend_broker import decisions, log
from bekend_broker.admission import decided, open_from
from bekend_broker.config import Limits
from bekend_broker.directory import Directory
from bekend_broker.metrics import ADMITTED, Metrics
from bekend_broker.register import Register
from bekend_broker.store import Store, first_time
from bekend_broker.streams import first_message, next_message

PIECES: Final = 4
"""Pieces that wait between source and requester at most."""

MAX_PIECE: Final = 64 * 1024 + 16
"""Octets of a sealed piece: 64 KiB of tags and the authenticator."""


class _Transfer:
    """One Fetch and, once its source has dialled, the Push that feeds it."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.claimed = False
        self._closed = False
        self._pieces: asyncio.Queue[FilterPiece | BekendError | None] = asyncio.Queue(PIECES)

    async def put(self, piece: FilterPiece | BekendError | None) -> None:
        """Hand on a piece, a fault, or None for the end; waits while the requester lags.

        Raises UnreachableError when the requester went away.
        """
        if not self._closed:
            await self._pieces.put(piece)
        if self._closed:
            raise UnreachableError("the requester went away")

    async def get(self, seconds: float) -> FilterPiece | None:
        """The next piece, or None at the end. Raises the source's fault, or UnreachableError when none comes."""
        try:
            async with asyncio.timeout(seconds):
                piece = await self._pieces.get()
        except TimeoutError:
            raise UnreachableError(f"{self.source} sent no piece of its filter within {seconds:g} s") from None
        if isinstance(piece, BekendError):
            raise piece
        return piece

    def abandon(self, fault: BekendError) -> None:
        """End with a fault, in front of whatever waits."""
        self._drop()
        self._pieces.put_nowait(fault)

    def close(self) -> None:
        """The requester is gone: whoever waits to hand on a piece finds out."""
        self._closed = True
        self._drop()

    def _drop(self) -> None:
        while not self._pieces.empty():
            self._pieces.get_nowait()


class Transfers:
    """The filters on their way through this replica."""

    def __init__(
        self,
        *,
        directory: Directory,
        register: Register,
        database: Store,
        clock: Clock,
        metrics: Metrics,
        limits: Limits,
    ) -> None:
        self._directory = directory
        self._register = register
        self._store = database
        self._clock = clock
        self._metrics = metrics
        self._limits = limits
        self._open: dict[bytes, _Transfer] = {}
        self._running: Counter[str] = Counter()

    async def fetch(self, caller: str, request: FetchRequest) -> AsyncIterator[FetchResponse]:
        """Order a source's filter and pass it on as it comes.

        Raises what the order lacks, UnreachableError when the source is away or silent, or the source's own fault.
        """
        with ExitStack() as under_way:
            try:
                # Before anything is awaited: of many at once, no more are let through.
                under_way.enter_context(self._slot(caller))
                order = await self._admit(caller, request.order)
            except BekendError as fault:
                if isinstance(fault, StorageError):
                    self._metrics.storage_faults.inc()
                self._metrics.fetches.labels(code_name(fault.code)).inc()
                raise
            self._metrics.fetches.labels(ADMITTED).inc()
            transfer = _Transfer(order.source)
            self._open[order.fetch_id] = transfer
            under_way.callback(transfer.close)
            under_way.callback(self._open.pop, order.fetch_id)
            self._register.find(order.source).order(PushOrder(order=request.order))
            piece = await transfer.get(self._limits.reply_seconds)
            while piece is not None:
                yield FetchResponse(piece=piece)
                piece = await transfer.get(self._limits.piece_seconds)

    @contextmanager
    def _slot(self, caller: str) -> Iterator[None]:
        """One of the filters that may be on their way to a requester. Raises BudgetError when all are."""
        if self._running[caller] >= self._limits.fetches_per_requester:
            raise BudgetError(f"{caller} has {self._running[caller]} filters on their way: wait for one to arrive")
        self._running[caller] += 1
        try:
            yield
        finally:
            self._running[caller] -= 1

    async def push(self, caller: str, requests: AsyncIterator[PushRequest]) -> PushResponse:
        """Take a source's filter for the Fetch that ordered it.

        Raises StaleError when nobody waits for it, MalformedError for pieces of impossible form, UnreachableError when
        the requester went away.
        """
        first = await first_message(requests, self._limits.piece_seconds, "the first piece")
        transfer = self._open.get(first.fetch_id)
        if transfer is None or transfer.source != caller or transfer.claimed:
            raise StaleError("no Fetch waits for this filter of this source")
        transfer.claimed = True
        ended = False
        try:
            message: PushRequest | None = first
            while message is not None:
                await transfer.put(_piece_of(message, is_first=message is first))
                if message.failure:
                    break
                message = await next_message(requests, self._limits.piece_seconds, "a piece of the filter")
            else:
                await transfer.put(None)
            ended = True
        finally:
            if not ended:
                transfer.abandon(UnreachableError(f"{caller} broke off its filter"))
        return PushResponse()

    async def _admit(self, caller: str, signed: Signed) -> FetchOrder:
        now = self._clock.now()
        order = open_from(self._directory, caller, FetchOrder, signed, now)
        asked = Asked(
            requester=order.requester,
            source=order.source,
            purpose=order.purpose,
            on_behalf_of=order.on_behalf_of or None,
            persons=1,
            kind_class=class_of_filter(order),
            covenant_hash=order.covenant_hash,
        )
        present = self._directory.present
        covenant = present.under(order.covenant_hash)
        try:
            decision = decided(present, asked, now)
        except (RefusedError, SuspendedError) as fault:
            rule = decisions.rule_of(fault)
            assert rule is not None
            refused = decisions.of_order(covenant, order, now, allowed=False, rule=rule).row()
            await self._store.write(lambda c: append_decision(c, refused))
            raise
        self._register.find(order.source)
        allowed = decisions.of_order(covenant, order, now, allowed=True, rule=decision.rule).row()
        await self._store.write(lambda c: _log_once(c, order, signed, allowed, now))
        return order


def _log_once(connection: Connection, order: FetchOrder, signed: Signed, decision: DecisionRow, now: datetime) -> None:
    if not first_time(connection, b"f", order.fetch_id, now):
        raise StaleError("this fetch id was seen before")
    log.append(connection, log.FETCH, signed, now, requester=order.requester, source=order.source)
    append_decision(connection, decision)


def _piece_of(message: PushRequest, *, is_first: bool) -> FilterPiece | BekendError:
    """The piece in a message, or the source's fault. Raises MalformedError for impossible forms."""
    if message.failure:
        return error_of(message.failure, "the source cannot or may not send its filter")
    piece = message.piece
    if not 0 < len(piece.box) <= MAX_PIECE:
        raise MalformedError("a piece of a filter holds 1 octet to 64 KiB")
    lengths = (len(piece.x25519), len(piece.mlkem))
    if lengths != ((32, 1088) if is_first else (0, 0)) or bool(message.fetch_id) != is_first:
        raise MalformedError("the first piece of a filter, and no other, carries the channel's halves and the id")
    return piece
