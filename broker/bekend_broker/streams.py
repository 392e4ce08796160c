"""Reading from a caller's stream within a time."""

import asyncio
from collections.abc import AsyncIterator
from typing import TypeVar

from bekend_proto.errors import DeadlineError, MalformedError

T = TypeVar("T")


async def next_message(requests: AsyncIterator[T], seconds: float, what: str) -> T | None:
    """The next message, or None at the end of the stream. Raises DeadlineError when it does not come in time."""
    try:
        async with asyncio.timeout(seconds):
            return await anext(requests, None)
    except TimeoutError:
        raise DeadlineError(f"no {what} came within {seconds:g} s") from None


async def first_message(requests: AsyncIterator[T], seconds: float, what: str) -> T:
    """The message that must come. Raises DeadlineError, or MalformedError when the stream ends instead."""
    message = await next_message(requests, seconds, what)
    if message is None:
        raise MalformedError(f"the stream ended before {what}")
    return message
