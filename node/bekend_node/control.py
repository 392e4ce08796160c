"""The node's control socket: how an officer's command reaches the running node (filters, budgets and keys live there).

A Unix socket for the node's own user, and for the group that node.yaml may name. The operating system says who is on
the other side (SO_PEERCRED); node.yaml says which officer and role that user is. One JSON object a line, both ways:

    {"op": "ask", "purpose": ..., "sources": [...], "kind": "bsn", "identifiers": [...], "case": ..., ...}
        by a combination of a name and other data, "described": [{"geslachtsnaam": ..., ...}] in place of "identifiers"
    before it and about what came of it: control_officer.py     a second officer looks along: control_eyes.py
    later answers, and consents: control_late.py                the release desk: control_desk.py
    the log, for who may read it: control_log.py                what an operator does: control_operator.py

A reply is one line with a `type`: `result`; or `refused` (rule and reason) or `error` (code and reason), in Dutch.
`ask` gives a line `outcome` per partner and person as they come, and at the end one `receipt`; or one line `waits`,
when a second officer has to look first. What an officer has left today stands in the replies to `purposes`, `open` and
`ask`, as `budget`: under the purpose, and over all of them. `log` gives lines `records`, a day at a time, before its
`result`.

An identifier lives in memory for the lookup, or until a second officer has looked, and is in no log or file, and in no
reply but to a colleague who decides about it; results are not stored.
"""

import asyncio
import contextlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from bekend_policy.model import Covenant
from bekend_proto import logs
from bekend_proto.errors import BekendError, BudgetError, MalformedError, RefusedError, code_name

from bekend_node.ask.asker import Asker
from bekend_node.ask.four_eyes import AtScreen
from bekend_node.ask.outcomes import reason_for
from bekend_node.ask.rules import OfficerRef
from bekend_node.ask.stream import Outcomes
from bekend_node.ask.team import Team
from bekend_node.config import Officer
from bekend_node.control_connection import LINE_LIMIT, Connection, Peer
from bekend_node.control_desk import at_desk
from bekend_node.control_eyes import EyesDesk
from bekend_node.control_inquiry import inquiry_of
from bekend_node.control_late import LateDesk
from bekend_node.control_log import LogDesk
from bekend_node.control_messages import (
    AskRequest,
    DeskRequest,
    DrawnRequest,
    EyesRequest,
    LogRequest,
    OperatorRequest,
    Request,
    parse_request,
)
from bekend_node.control_officer import OfficerDesk
from bekend_node.control_operator import ClearAlarm, OperatorDesk
from bekend_node.control_socket import bind
from bekend_node.desk.decisions import Desk
from bekend_node.halting import Halting
from bekend_node.log_reading import LogReading
from bekend_node.records.desk import RecordsDesk
from bekend_node.signal_reading import SignalReading
from bekend_node.status import Rows
from bekend_node.suspending import Install

CONNECTIONS: Final = 64
DRAIN_SECONDS: Final = 8.0
"""Longer than a lookup lasts."""


class ControlServer:
    """Serves the control socket. `covenant` gives the covenant in force, `status` and `rows` what `status` replies."""

    def __init__(
        self,
        asker: Asker,
        officers: Sequence[Officer],
        covenant: Callable[[], Covenant],
        oin: str,
        status: Callable[[], Mapping[str, Any]],
        *,
        rows: Rows | None = None,
        install: Install | None = None,
        clear_alarm: ClearAlarm | None = None,
        log_reading: LogReading | None = None,
        records: RecordsDesk | None = None,
        desk: Desk | None = None,
        signals: SignalReading | None = None,
        halting: Halting | None = None,
        team: Team | None = None,
        waiting: Callable[[], None] = lambda: None,
    ) -> None:
        self._asker = asker
        self._officers: dict[str, list[OfficerRef]] = {}
        for one in officers:
            self._officers.setdefault(one.user, []).append(OfficerRef(one.user, one.name, one.role))
        self._log = LogDesk(log_reading, signals)
        self._desk = desk
        self._operator = OperatorDesk(
            asker, status=status, rows=rows, install=install, clear_alarm=clear_alarm, halting=halting, records=records
        )
        late = LateDesk(asker, covenant, oin, team or Team(asker.asking, officers), waiting)
        self._officer = OfficerDesk(asker, self._officers, covenant, oin, late)
        self._eyes = EyesDesk(asker, covenant)
        self._path: Path | None = None
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.Task[None]] = set()
        self._busy: set[asyncio.Task[None]] = set()

    async def start(self, path: Path, group: str | None = None) -> None:
        """Listen, for the members of `group` too.

        Raises StorageError, with the remedy, when the socket cannot be made or another node holds it.
        """
        listening = bind(path, group)
        self._path = path
        self._server = await asyncio.start_unix_server(self._connected, sock=listening, limit=LINE_LIMIT)
        logs.log(logs.CONTROL_OPENED, socket=str(path))

    async def stop(self, grace: float = DRAIN_SECONDS) -> None:
        """Take no more connections, let requests under way end within `grace` seconds, remove the socket."""
        if self._server is None or self._path is None:
            return
        self._server.close()
        for task in self._open - self._busy:
            task.cancel()
        if self._busy:
            await asyncio.wait(self._busy, timeout=grace)
        for task in tuple(self._open):
            task.cancel()
        for task in tuple(self._open):
            with contextlib.suppress(asyncio.CancelledError):
                await task
        await self._server.wait_closed()
        self._path.unlink(missing_ok=True)
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        if len(self._open) >= CONNECTIONS:
            writer.close()
            return
        self._open.add(task)
        try:
            await self._serve(Connection(reader, writer))
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # the officer went away, or the node stops
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, connection: Connection) -> None:
        task = asyncio.current_task()
        assert task is not None
        user = connection.peer()
        while (line := await connection.line()) is not None:
            self._busy.add(task)
            try:
                await self._reply(connection, line, user)
            finally:
                self._busy.discard(task)
            if self._server is None or not self._server.is_serving():
                return

    async def _reply(self, connection: Connection, line: bytes, user: Peer) -> None:
        """Carry out one request. Whatever goes wrong is a reply; nothing of the request is quoted."""
        operation = "unknown"
        try:
            request = parse_request(line)
            operation = request.op
            await self._dispatch(connection, request, user)
        except RefusedError as error:
            # At the desk the rule alone may tell what became of a request: there it goes to the colleague only.
            _log_refusal(user.name, operation, "refused", error.rule if operation != "desk" else operation)
            await connection.send({"type": "refused", "rule": error.rule, "reason": error.reason})
        except BudgetError as error:
            _log_refusal(user.name, operation, code_name(error.code), "budget")
            await connection.send({"type": "refused", "rule": "budget", "reason": _BUDGET_REASON})
        except BekendError as error:
            _log_refusal(user.name, operation, code_name(error.code), error.detail)
            await connection.send({"type": "error", "code": code_name(error.code), "reason": _reason(error)})
        except (ConnectionError, TimeoutError):
            raise
        except Exception as error:
            # The text of an unexpected fault may quote what was asked: only its class and place are kept.
            place = logs.place_of(error.__traceback__)
            logs.log(logs.CONTROL_FAILED, operation=operation, exception=type(error).__name__, place=place)
            await connection.send({"type": "error", "code": "internal", "reason": _INTERNAL_REASON})

    async def _dispatch(self, connection: Connection, request: Request, user: Peer) -> None:
        if isinstance(request, LogRequest):
            async for reply in self._log.records(request, user.name):
                await connection.send(reply)
            return
        if isinstance(request, DrawnRequest):
            await connection.send(await self._log.drawn(request, user.name))
            return
        if isinstance(request, DeskRequest):
            assert self._desk is not None
            await connection.send({"type": "result", **await at_desk(self._desk, request, user.name)})
            return
        roles = self._officers.get(user.name, [])
        if not roles and not (isinstance(request, OperatorRequest) and user.operator):
            raise _unknown_user(user.name)
        if isinstance(request, OperatorRequest):
            await connection.send(await self._operator.handle(request, user, roles))
        elif isinstance(request, AskRequest):
            await self._ask(connection, request, self._officer.in_role(roles, request.purpose), _viewer(roles))
        elif isinstance(request, EyesRequest):
            await self._look_along(connection, request, _viewer(roles))
        else:
            await connection.send(await self._officer.handle(request, roles))

    async def _ask(self, connection: Connection, request: AskRequest, officer: OfficerRef, viewer: AtScreen) -> None:
        found = self._asker.submit(inquiry_of(request, officer, self._asker.today()), viewer)
        if isinstance(found, Outcomes):
            await self._tell(connection, found, officer.user, request.purpose)
        else:
            await connection.send(self._eyes.waits(found))

    async def _look_along(self, connection: Connection, request: EyesRequest, viewer: AtScreen) -> None:
        if request.act in {"ask", "emergency"}:
            outcomes, purpose = await self._eyes.ask(request, viewer)
            await self._tell(connection, outcomes, viewer.user, purpose)
        else:
            await connection.send(await self._eyes.handle(request, viewer))

    async def _tell(self, connection: Connection, outcomes: Outcomes, user: str, purpose: str) -> None:
        """The outcomes as they come, then the receipt."""
        while found := await outcomes.batch():
            await connection.send(*({"type": "outcome", **outcome.to_json()} for outcome in found))
        assert outcomes.receipt is not None
        left = self._officer.left(user, purpose)
        await connection.send({"type": "receipt", "receipt": outcomes.receipt.to_json(), "budget": left})


_BUDGET_REASON: Final = "U hebt vandaag het hoogste aantal vragen voor dit doel of in totaal gesteld. Vraag het morgen."
_INTERNAL_REASON: Final = "Er ging iets mis in de node. Uw beheerder ziet de plaats in het logboek."


def _reason(error: BekendError) -> str:
    if isinstance(error, MalformedError):
        return "Het verzoek aan de node is niet goed opgebouwd."
    return reason_for(error.code, "Deze node")


def _viewer(roles: Sequence[OfficerRef]) -> AtScreen:
    """A user of this machine: a session of his own, whatever he types in."""
    user = roles[0].user
    return AtScreen(
        user, tuple(dict.fromkeys(one.name for one in roles)), tuple(one.role for one in roles), f"user:{user}"
    )


def _unknown_user(name: str) -> RefusedError:
    return RefusedError(
        "onbekende-gebruiker",
        f"De gebruiker '{name}' van deze computer mag hier niet vragen. Vraag uw beheerder u toe te voegen bij "
        "'officers' in node.yaml.",
    )


def _log_refusal(user: str, operation: str, code: str, rule: str) -> None:
    logs.log(logs.CONTROL_REFUSED, user=user, operation=operation, code=code, rule=rule)
