"""What the broker sees of questions that colleagues decide on, message by message, and what it can make of that.

Of every message that passes, its side notes the moment, the direction, both lengths, whether it failed, and how long
the reply took.
"""

import asyncio
import itertools
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from unittest.mock import patch

from bekend_broker.register import Attachment
from bekend_node.answer.collects import Collects
from bekend_proto.clock import Clock
from bekend_proto.v1 import broker_pb2, signed_pb2
from google.protobuf.message import Message


class Came(StrEnum):
    """What comes of a question."""

    RELEASED = "released"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    SHIELDED = "shielded"
    WITHDRAWN = "withdrawn"


HIDDEN = (Came.RELEASED, Came.REFUSED, Came.UNKNOWN, Came.SHIELDED)
"""What nobody between may tell apart. A withdrawal is a message more: that it was made is seen, by design."""


@dataclass(frozen=True)
class Seen:
    """One message and its reply, as they pass the broker. `at` in seconds since 1970, `latency` in seconds."""

    kind: str
    at: float
    sent: int
    replied: int
    failed: bool
    latency: float


@dataclass
class Traffic:
    """What was seen of each question, by its id; and, apart from that, what came of it."""

    seen: dict[bytes, list[Seen]] = field(default_factory=dict)
    came: dict[bytes, Came] = field(default_factory=dict)

    def rows(self) -> tuple[list[list[float]], list[str]]:
        """Numbers per question, and what came of it."""
        ids = sorted(self.came)
        return [features(one, self.seen[one]) for one in ids], [str(self.came[one]) for one in ids]

    def of(self, *kinds: Came) -> "Traffic":
        """Only what came of these."""
        return Traffic(self.seen, {one: came for one, came in self.came.items() if came in kinds})

    def changed(self, came: Came, change: Callable[[Seen], Seen]) -> "Traffic":
        """With the replies to the collects of these questions changed: a leak, planted."""
        return Traffic(
            {
                one: [change(it) if it.kind == "collect" and self.came.get(one) is came else it for it in seen]
                for one, seen in self.seen.items()
            },
            self.came,
        )


def features(question_id: bytes, seen: Sequence[Seen]) -> list[float]:
    """Every number that the broker can make of what passed about one question."""
    by_kind = {kind: [one for one in seen if one.kind == kind] for kind in ("question", "release", "collect")}
    collects = by_kind["collect"]
    numbers: list[float] = [float(len(found)) for found in by_kind.values()]
    numbers += [float(sum(one.failed for one in seen)), float(question_id[0]), float(question_id[-1])]
    for found in by_kind.values():
        numbers += [value for lengths in ([it.sent for it in found], [it.replied for it in found])
                    for value in (min(lengths, default=0), max(lengths, default=0), sum(lengths))]  # fmt: skip
        numbers += _spread([one.latency for one in found])
    third = max(1, len(collects) // 3)
    early, late = (_spread([it.latency for it in part]) for part in (collects[:third], collects[-third:]))
    # Held against its own beginning a question tells more: how busy the machine was counts for less.
    numbers += [early[0], late[0], late[0] - early[0], late[1] - early[1]]
    moments = [one.at for one in seen]
    numbers += [moments[0] % 86_400, *_spread([after - before for before, after in itertools.pairwise(moments)])]
    numbers += [moments[0] - one.at for one in (*by_kind["release"][:1], *collects[:1], *collects[-1:])]
    return numbers


def _spread(values: Sequence[float]) -> list[float]:
    if not values:
        return [0.0] * 6
    return [statistics.fmean(values), statistics.median(values), min(values), max(values), values[0], values[-1]]


@contextmanager
def watched(traffic: Traffic, clock: Clock) -> Iterator[None]:
    """Note what every source's stream sends and gets, in this process."""
    ask, exchange = Attachment.ask, Attachment.exchange

    def see(question_id: bytes, kind: str, sent: int, began: float, reply: Message | bytes | None) -> None:
        took = time.perf_counter() - began
        size = 0 if reply is None else len(reply) if isinstance(reply, bytes) else reply.ByteSize()
        failed = reply is None or (isinstance(reply, broker_pb2.LookupResponse) and reply.HasField("failure"))
        one = Seen(kind, clock.now().timestamp(), sent, size, failed, took)
        traffic.seen.setdefault(question_id, []).append(one)

    def watched_ask(self: Attachment, question_id: bytes, question: Any, reply: Callable[[Any], Any]) -> None:
        began = time.perf_counter()

        def replied(response: Any) -> Any:
            see(question_id, "question", question.ByteSize(), began, response)
            return reply(response)

        ask(self, question_id, question, replied)

    def watched_exchange(self: Attachment, message: Any) -> "asyncio.Future[bytes]":
        began = time.perf_counter()
        kind = "release" if isinstance(message, broker_pb2.RoutedRelease) else "collect"
        reply = exchange(self, message)

        def replied(done: "asyncio.Future[bytes]") -> None:
            is_there = not done.cancelled() and done.exception() is None
            see(message.question_id, kind, message.ByteSize(), began, done.result() if is_there else None)

        reply.add_done_callback(replied)
        return reply

    with patch.object(Attachment, "ask", watched_ask), patch.object(Attachment, "exchange", watched_exchange):
        yield


@contextmanager
def slower_when_known(seconds: float) -> Iterator[None]:
    """A source that leaks: what it releases is replied this much later. What the classifier has to find."""
    honest = Collects._told

    async def told(self: Collects, *args: Any) -> Any:
        states = await honest(self, *args)
        if signed_pb2.RELEASE_STATE_KNOWN in states:
            await asyncio.sleep(seconds)
        return states

    with patch.object(Collects, "_told", told):
        yield
