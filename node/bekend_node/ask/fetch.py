"""Fetching a source's closed filter over the broker, sealed end to end (protocol section 6).

The broker sees who fetches what filter and its size class. Header and tags come through the channel between requester
and source; the header is signed with a key of the source's manifest, and every piece opens only at its own place.
"""

import asyncio
import secrets
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from bekend_proto.channel import (
    LABEL_FETCH,
    LABEL_FILTER,
    OpenChannel,
    RequesterChannel,
    open_signed,
    parse_strict,
    sign_message,
)
from bekend_proto.clock import milliseconds
from bekend_proto.errors import DeadlineError, MalformedError
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from bekend_node.ask.filters_held import Expected, HeldFilter, check_header, hold
from bekend_node.classes import on_wire

FETCH_SECONDS: Final = 15.0
PIECE_LIMIT: Final = 1 << 16
PROTOCOL_VERSION: Final = 1


class NothingCameError(DeadlineError):
    """Replica or source said nothing: over another replica it may come."""


@dataclass(frozen=True, slots=True)
class Order:
    """A signed FetchOrder on its way out, and the half of the channel that opens what comes back."""

    signed: signed_pb2.Signed
    fetch_id: bytes
    requester: str
    source: str
    channel: RequesterChannel


def make_order(
    key: SigningKey,
    requester: str,
    expected: Expected,
    *,
    manifest_number: int,
    on_behalf_of: str | None,
    now: datetime,
) -> Order:
    """Order the present filter of `expected.source`, with an id and channel keys of its own."""
    fetch_id = secrets.token_bytes(16)
    channel = RequesterChannel()
    order = signed_pb2.FetchOrder(
        protocol_version=PROTOCOL_VERSION,
        fetch_id=fetch_id,
        requester=requester,
        source=expected.source,
        on_behalf_of=on_behalf_of or "",
        purpose=expected.purpose,
        covenant_hash=expected.covenant_hash,
        requester_manifest=manifest_number,
        time=milliseconds(now),
        x25519=channel.x25519,
        mlkem=channel.mlkem,
        kind_class=on_wire(expected.kind_class),
    )
    return Order(sign_message(key, LABEL_FETCH, order), fetch_id, requester, expected.source, channel)


async def receive(
    pieces: AsyncIterator[broker_pb2.FilterPiece],
    order: Order,
    source_keys: tuple[bytes, ...],
    expected: Expected,
    *,
    now: datetime,
    first_within: float = FETCH_SECONDS,
) -> HeldFilter:
    """Open, verify and join what comes back. Raises BekendError for everything that is not this source's own filter.

    `source_keys` are the signing keys of the source's manifest. Raises NothingCameError when the first piece is not
    there within `first_within` seconds.
    """
    try:
        async with asyncio.timeout(first_within):
            first = await anext(pieces, None)
    except TimeoutError:
        raise NothingCameError("nothing of the filter came in time") from None
    if first is None:
        raise MalformedError("a filter without its first piece")
    channel = order.channel.open(order.requester, order.source, order.fetch_id, first.x25519, first.mlkem)
    signed = parse_strict(signed_pb2.Signed, channel.open_from_source(0, first.box))
    header = open_signed(signed_pb2.FilterHeader, signed, LABEL_FILTER, source_keys)
    check_header(header, expected, now)
    body = await _body(pieces, channel, 8 * header.tags)
    # A million tags take 60 ms to check: other lookups go on meanwhile.
    return await asyncio.to_thread(hold, header, body)


async def _body(pieces: AsyncIterator[broker_pb2.FilterPiece], channel: OpenChannel, length: int) -> bytes:
    """Join the tags. Stops a source that sends more than its header says before it fills the memory."""
    body = bytearray()
    counter = 0
    async for piece in pieces:
        counter += 1
        if piece.x25519 or piece.mlkem:
            raise MalformedError("only the first piece of a filter carries channel keys")
        tags = channel.open_from_source(counter, piece.box)
        if not 0 < len(tags) <= PIECE_LIMIT or len(body) + len(tags) > length:
            raise MalformedError("the filter has more tags than its header says, or a piece of a wrong size")
        body += tags
    return bytes(body)
