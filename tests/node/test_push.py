"""Filters on their way out: whoever orders many of them keeps nobody's question waiting."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bekend_node.answer import push
from bekend_node.answer.push import AT_ONCE, EACH, Pusher
from bekend_proto.v1 import broker_pb2, signed_pb2

from tests.support.federation import until


async def test_an_order_that_had_to_wait_too_long_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(push, "WAIT_SECONDS", 0.05)
    reached, over = asyncio.Semaphore(0), asyncio.Event()

    class Stuck(Pusher):
        async def _check(self, signed: Any) -> Any:
            reached.release()
            await over.wait()
            raise ValueError("the requester went away")

    calls: list[str] = []
    link: Any = SimpleNamespace(stub=SimpleNamespace(Push=lambda **_: _Call(calls)))
    names = [str(number) for number in range(AT_ONCE)]
    rules: Any = SimpleNamespace(now=SimpleNamespace(covenant=SimpleNamespace(participants={*names, "next"})))
    pusher = Stuck(rules, *cast("Any", (None, None, None, None)))
    running = [asyncio.create_task(pusher.push(_order(name), link)) for name in names]
    for _ in names:
        await reached.acquire()
    await pusher.push(_order("next"), link)
    assert reached.locked()
    over.set()
    await asyncio.gather(*running)
    # A place is free again, for whoever comes next.
    await pusher.push(_order("next"), link)
    assert len(calls) == AT_ONCE + 1


async def test_one_requester_leaves_room_for_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """It may order as many filters as it likes, and read them as slowly: who asks besides gets its own."""
    monkeypatch.setattr(push, "WAIT_SECONDS", 0.05)
    reached: list[str] = []
    over = asyncio.Event()

    class Slow(Pusher):
        async def _push(self, order: Any, claim: signed_pb2.FetchOrder, link: Any) -> None:
            reached.append(claim.requester)
            await over.wait()

    rules: Any = SimpleNamespace(now=SimpleNamespace(covenant=SimpleNamespace(participants={"greedy", "modest"})))
    pusher = Slow(rules, *cast("Any", (None, None, None, None)))
    greedy = [asyncio.create_task(pusher.push(_order("greedy"), cast("Any", None))) for _ in range(2 * AT_ONCE)]
    # Nobody of the covenant: the carrier made these up.
    made_up = [asyncio.create_task(pusher.push(_order(f"x{n}"), cast("Any", None))) for n in range(2 * AT_ONCE)]
    await asyncio.sleep(0)
    modest = asyncio.create_task(pusher.push(_order("modest"), cast("Any", None)))
    await until(lambda: "modest" in reached)
    # The others are let go: they waited too long.
    await until(lambda: sum(task.done() for task in [*greedy, *made_up]) == 4 * AT_ONCE - 2 * EACH)
    assert reached.count("greedy") == EACH
    assert len(reached) == 2 * EACH + 1
    over.set()
    await asyncio.gather(*greedy, *made_up, modest)


def _order(requester: str) -> broker_pb2.PushOrder:
    claim = signed_pb2.FetchOrder(requester=requester).SerializeToString()
    return broker_pb2.PushOrder(order=signed_pb2.Signed(payload=claim))


class _Call:
    """A Push stream that takes everything."""

    def __init__(self, calls: list[str]) -> None:
        calls.append("push")

    async def write(self, request: Any) -> None:
        assert request.failure

    async def done_writing(self) -> None:
        return

    def __await__(self) -> Any:
        return asyncio.sleep(0).__await__()

    def cancel(self) -> None:
        return
