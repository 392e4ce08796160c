"""What the control socket reads from the log, for who may read it: an officer or not.

{"op": "log", "form": "ldv", "first": ..., "last": ..., "used_for": ...}
{"op": "signals", "first": ..., "last": ...}
{"op": "bulletin", "quarter": "2026-K3"}
"""

from collections.abc import AsyncIterator
from datetime import date
from typing import Final

from bekend_policy.bulletin import Quarter
from bekend_policy.log_use import Days
from bekend_proto.errors import RefusedError

from bekend_node.control_connection import Reply
from bekend_node.control_messages import DrawnRequest, LogRequest, SignalsRequest
from bekend_node.log_reading import LogReading
from bekend_node.signal_reading import SignalReading

RECORDS_AT_ONCE: Final = 500


class LogDesk:
    """Answers such requests. Who may read is decided where it is read."""

    def __init__(self, reading: LogReading | None, signals: SignalReading | None) -> None:
        self._reading = reading
        self._signals = signals

    async def records(self, request: LogRequest, user: str) -> AsyncIterator[Reply]:
        """Lines `records`, a day at a time, then one `result`. Raises RefusedError, StorageError."""
        assert self._reading is not None
        days = _days(request.first, request.last)
        count = 0
        async for found in self._reading.read(user, request.form, days, request.used_for, trace_id=request.trace_id):
            count += len(found)
            for start in range(0, len(found), RECORDS_AT_ONCE):
                yield {"type": "records", "records": found[start : start + RECORDS_AT_ONCE]}
        yield {"type": "result", "records": count}

    async def drawn(self, request: DrawnRequest, user: str) -> Reply:
        """What is made of the log. Raises RefusedError, StorageError."""
        if isinstance(request, SignalsRequest):
            assert self._signals is not None
            return {"type": "result", "signals": await self._signals.read(user, _days(request.first, request.last))}
        assert self._reading is not None
        made = await self._reading.bulletin(user, Quarter.parse(request.quarter))
        return {"type": "result", "bulletin": made.to_text()}


def _days(first: str, last: str) -> Days:
    try:
        return Days(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        raise RefusedError("periode", "Een dag is jjjj-mm-dd, bijvoorbeeld 2026-12-31.") from None
