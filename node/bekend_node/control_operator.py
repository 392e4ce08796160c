"""What the control socket does for an operator, who need be no officer.

    {"op": "canary", "purpose": ...}                            ask oneself about the own canary
    {"op": "status"}
    {"op": "suspend", "note": ...}                              put a signed suspension, or its withdrawal, into force
    {"op": "access", "request": ...}                            relay the privacy officer's access request
    {"op": "defer" | "defer-list" | "defer-approve" | "defer-end", ...}     informing a person, deferred
    {"op": "halt", "purpose": ..., "reason": ...}               stop a purpose until its next switch
    {"op": "clear_alarm", "number": 1, "reason": ...}           the operator looked into an alarm about a log

An officer may do these too, but for the last two.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from bekend_proto.errors import BekendError, RefusedError, code_name

from bekend_node.ask.asker import Asker
from bekend_node.ask.rules import OfficerRef
from bekend_node.control_connection import Peer, Reply
from bekend_node.control_messages import (
    CanaryRequest,
    ClearAlarmRequest,
    HaltRequest,
    OperatorRequest,
    StatusRequest,
    SuspendRequest,
)
from bekend_node.halting import Halting
from bekend_node.records.desk import RecordsDesk
from bekend_node.status import Rows
from bekend_node.suspending import Install

ClearAlarm = Callable[[int, str, str], Awaitable[object]]
"""Clears the alarm with this number: by whom, and why."""


class OperatorDesk:
    """Answers such requests. `status` gives what `status` replies, `rows` what it says of tables."""

    def __init__(
        self,
        asker: Asker,
        *,
        status: Callable[[], Mapping[str, Any]],
        rows: Rows | None,
        install: Install | None,
        clear_alarm: ClearAlarm | None,
        halting: Halting | None,
        records: RecordsDesk | None,
    ) -> None:
        self._asker = asker
        self._status = status
        self._rows = rows
        self._install = install
        self._clear_alarm = clear_alarm
        self._halting = halting
        self._records = records

    async def handle(self, request: OperatorRequest, user: Peer, roles: Sequence[OfficerRef]) -> Reply:
        """Carry out one request. Raises RefusedError (rule, Dutch reason), StorageError, BudgetError."""
        match request:
            case ClearAlarmRequest():
                return await self._clear(request, user)
            case HaltRequest():
                return await self._halt(request, user)
            case CanaryRequest():
                outcome = await self._asker.ask_canary(request.purpose)
                return {"type": "result", "outcome": outcome.to_json()}
            case SuspendRequest():
                return await self._suspend(request)
            case StatusRequest():
                rows = await self._rows() if self._rows else {}
                return {"type": "result", **self._status(), "rows": rows}
        assert self._records is not None
        return await self._records.handle(request, roles)

    async def _halt(self, request: HaltRequest, user: Peer) -> Reply:
        if not user.operator:
            raise RefusedError("stilzetten", "Alleen de beheerder van deze node zet hier een doel stil.")
        assert self._halting is not None
        until = await self._halting.halt(request.purpose, request.reason, user.name)
        return {"type": "result", "until": until.isoformat(timespec="seconds") if until else None}

    async def _clear(self, request: ClearAlarmRequest, user: Peer) -> Reply:
        if not user.operator:
            raise RefusedError("alarm", "Alleen de beheerder van deze node sluit een alarm.")
        assert self._clear_alarm is not None
        await self._clear_alarm(request.number, user.name, request.reason)
        return {"type": "result", "cleared": request.number}

    async def _suspend(self, request: SuspendRequest) -> Reply:
        """Who signed it decides, not who brings it. What is wrong with it goes back in full: it is about no person."""
        assert self._install is not None
        try:
            found, published = await self._install(request.note.encode())
        except RefusedError:
            raise
        except BekendError as error:
            return {"type": "error", "code": code_name(error.code), "reason": error.detail}
        facts = {"number": found.number, "what": found.what.value, "about": found.about, "lifted": found.lifted}
        return {"type": "result", **facts, "brokers": published}
