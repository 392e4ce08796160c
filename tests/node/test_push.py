"""Filters on their way out: whoever orders many of them keeps nobody's question waiting."""

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest
from bekend_node.answer import push
from bekend_node.answer.push import AT_ONCE, Pusher
from bekend_proto.v1 import broker_pb2


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
    pusher = Stuck(*cast("Any", (None, None, None, None, None)))
    running = [asyncio.create_task(pusher.push(broker_pb2.PushOrder(), link)) for _ in range(AT_ONCE)]
    for _ in range(AT_ONCE):
        await reached.acquire()
    await pusher.push(broker_pb2.PushOrder(), link)
    assert reached.locked()
    over.set()
    await asyncio.gather(*running)
    # A place is free again, for whoever comes next.
    await pusher.push(broker_pb2.PushOrder(), link)
    assert len(calls) == AT_ONCE + 1


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
