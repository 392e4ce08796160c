"""The node's control socket: how an officer's command reaches the running node (filters, budgets and keys live there).

A Unix socket for the node's own user, and for the group that node.yaml may name. The operating system says who is on
the other side (SO_PEERCRED); node.yaml says which officer and role that user is. One JSON object a line, both ways:

    {"op": "purposes"}                                          what this officer's role may ask, and what is left
    {"op": "open", "purpose": ..., "sources": [...]}            fetch the filters, before a person is named
    {"op": "ask", "purpose": ..., "sources": [...], "kind": "bsn", "identifiers": [...], "case": ..., ...}
        by a combination of a name and other data, "described": [{"geslachtsnaam": ..., ...}] in place of "identifiers"
    {"op": "raise", "officer": ..., "purpose": ..., "extra": 20, "reason": ...}     another's limit, for 24 hours
    {"op": "canary", "purpose": ...}                            ask oneself about the own canary
    {"op": "desk", "act": "list"}, {"op": "desk", "act": "release", "item": ..., "ground": ...}, ...   the release desk
    {"op": "lapse", "case": ...}                                a case was not taken in: destroy what came
    {"op": "correct", "case": ..., "partner": ..., "reason": ...}    a partner was wrongly `bekend`; gives a letter
    {"op": "consequence", "case": ..., "changed": true}         what came changed a decision, or not; once
    {"op": "bulletin", "quarter": "2026-K3"}                    protected counts of a quarter, for who may read the log
    {"op": "status"}
    {"op": "log", "form": "ldv", "first": ..., "last": ..., "used_for": ...}    the log, for who may read it
    {"op": "signals", "first": ..., "last": ...}                misuse signals, for who may read the log
    {"op": "suspend", "note": ...}                              put a signed suspension, or its withdrawal, into force
    {"op": "halt", "purpose": ..., "reason": ...}               stop a purpose until its next switch
    {"op": "clear_alarm", "number": 1, "reason": ...}           the operator looked into an alarm about a log
    {"op": "access", "request": ...}                            relay the privacy officer's access request
    {"op": "eyes", "act": ...}                                  a second officer looks along: see control_eyes.py
    {"op": "answers" | "consent" | "consents" | "withdraw", ...}     later answers, and consents: see control_late.py
    {"op": "defer" | "defer-list" | "defer-approve" | "defer-end", ...}     informing a person, deferred

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
import os
import pwd
import socket
import struct
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import date
from pathlib import Path
from typing import Any, Final

from bekend_policy.bulletin import Quarter
from bekend_policy.log_use import Days
from bekend_policy.model import Covenant
from bekend_policy.suspension import Suspension
from bekend_proto import logs
from bekend_proto.errors import BekendError, BudgetError, MalformedError, RefusedError, code_name
from bekend_proto.identifiers import Identifier, InvalidIdentifier, parse_identifier
from bekend_proto.names import PersonData, combine
from pydantic_core import to_json

from bekend_node.ask.asker import Asker
from bekend_node.ask.budget import ALL_PURPOSES
from bekend_node.ask.correcting import Report
from bekend_node.ask.four_eyes import AtScreen
from bekend_node.ask.outcomes import reason_for
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.ask.stream import Outcomes
from bekend_node.ask.team import Team
from bekend_node.config import Officer
from bekend_node.control_eyes import EyesDesk
from bekend_node.control_late import LateDesk
from bekend_node.control_messages import (
    AskRequest,
    BulletinRequest,
    CanaryRequest,
    ClearAlarmRequest,
    ConsequenceRequest,
    CorrectRequest,
    DescribedPerson,
    DeskRequest,
    EyesRequest,
    HaltRequest,
    LapseRequest,
    LateRequest,
    LogRequest,
    OpenRequest,
    RaiseRequest,
    RecordsRequest,
    Request,
    SignalsRequest,
    StatusRequest,
    SuspendRequest,
    parse_request,
)
from bekend_node.control_purposes import purposes_for
from bekend_node.control_socket import bind
from bekend_node.described import from_fields
from bekend_node.desk.decisions import Desk
from bekend_node.halting import Halting
from bekend_node.log_reading import LogReading
from bekend_node.records.desk import RecordsDesk
from bekend_node.signal_reading import SignalReading

LINE_LIMIT: Final = 1 << 16
CONNECTIONS: Final = 64
DRAIN_SECONDS: Final = 8.0
"""Longer than a lookup lasts."""
RECORDS_AT_ONCE: Final = 500
IDLE_SECONDS: Final = 900.0
"""How long an officer may take between two lines."""
_CREDENTIALS = struct.Struct("3i")

Reply = dict[str, Any]
Install = Callable[[bytes], Awaitable[tuple[Suspension, dict[str, bool]]]]
"""Puts a note into force; gives what it says, and which replicas of the broker have it."""


ClearAlarm = Callable[[int, str, str], Awaitable[object]]
"""Clears the alarm with this number: by whom, and why."""


class ControlServer:
    """Serves the control socket. `covenant` gives the covenant in force, `status` what `status` replies."""

    def __init__(
        self,
        asker: Asker,
        officers: Sequence[Officer],
        covenant: Callable[[], Covenant],
        oin: str,
        status: Callable[[], Mapping[str, Any]],
        *,
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
        self._covenant = covenant
        self._oin = oin
        self._status = status
        self._install = install
        self._clear_alarm = clear_alarm
        self._log_reading = log_reading
        self._records = records
        self._desk = desk
        self._signals = signals
        self._halting = halting
        self._late = LateDesk(asker, covenant, oin, team or Team(asker.asking, officers), waiting)
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
            await self._serve(_Connection(reader, writer))
        except (ConnectionError, TimeoutError, asyncio.CancelledError):
            pass  # the officer went away, or the node stops
        finally:
            self._open.discard(task)
            writer.close()

    async def _serve(self, connection: "_Connection") -> None:
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

    async def _reply(self, connection: "_Connection", line: bytes, user: "_Peer") -> None:
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

    async def _dispatch(self, connection: "_Connection", request: Request, user: "_Peer") -> None:
        if isinstance(request, LogRequest):
            await self._read_log(connection, request, user.name)
            return
        if isinstance(request, SignalsRequest | BulletinRequest):
            await connection.send({"type": "result", **await self._drawn_from_log(request, user.name)})
            return
        if isinstance(request, DeskRequest):
            # Who may is decided there: a colleague at the desk need not be an officer who asks.
            await connection.send({"type": "result", **await self._at_desk(request, user.name)})
            return
        roles = self._officers.get(user.name, [])
        operator = CanaryRequest | StatusRequest | SuspendRequest | ClearAlarmRequest | HaltRequest | RecordsRequest
        operating = isinstance(request, operator)
        if not roles and not (operating and user.operator):
            raise _unknown_user(user.name)
        if isinstance(request, ClearAlarmRequest | HaltRequest):
            await connection.send(await self._as_operator(request, user))
        elif operating:
            await connection.send(await self._operate(request, roles))
        elif isinstance(request, AskRequest):
            await self._ask(connection, request, self._in_role(roles, request.purpose), _viewer(roles))
        elif isinstance(request, EyesRequest):
            await self._look_along(connection, request, _viewer(roles))
        else:
            await connection.send(await self._for_officer(request, roles))

    async def _for_officer(self, request: Request, roles: list[OfficerRef]) -> Reply:
        """What an officer wants besides asking."""
        if isinstance(request, OpenRequest):
            return await self._open_purpose(request, self._in_role(roles, request.purpose))
        if isinstance(request, LapseRequest | ConsequenceRequest | CorrectRequest):
            return await self._about_case(request, roles)
        if isinstance(request, RaiseRequest):
            return await self._raise(request, roles)
        if isinstance(request, LateRequest):
            return await self._late.handle(request, roles)
        return self._purposes(roles)

    async def _about_case(
        self, request: LapseRequest | ConsequenceRequest | CorrectRequest, roles: list[OfficerRef]
    ) -> Reply:
        """What became of a case."""
        if isinstance(request, LapseRequest):
            found = await self._asker.lapse(request.case, roles[0].user)
            return {"type": "result", "lookups": found.lookups, "questions": found.questions}
        if isinstance(request, ConsequenceRequest):
            told = await self._asker.consequence(request.case, changed=request.changed)
            return {"type": "result", "purposes": told}
        report = Report(request.case, request.partner, request.reason, roles[0].user, request.person)
        made = await self._asker.correct(report, self._late.purposes(roles))
        letter = made.letter.decode()
        return {"type": "result", "number": made.number, "questions": made.questions, "letter": letter}

    async def _read_log(self, connection: "_Connection", request: LogRequest, user: str) -> None:
        """Lines `records`, a day at a time, then one `result`. Who may read is no question of being an officer."""
        assert self._log_reading is not None
        days = _days(request.first, request.last)
        count = 0
        reading = self._log_reading.read(user, request.form, days, request.used_for, trace_id=request.trace_id)
        async for found in reading:
            count += len(found)
            for start in range(0, len(found), RECORDS_AT_ONCE):
                await connection.send({"type": "records", "records": found[start : start + RECORDS_AT_ONCE]})
        await connection.send({"type": "result", "records": count})

    async def _drawn_from_log(self, request: SignalsRequest | BulletinRequest, user: str) -> Reply:
        """What is made of the log, for who may read it."""
        if isinstance(request, SignalsRequest):
            assert self._signals is not None
            return {"signals": await self._signals.read(user, _days(request.first, request.last))}
        assert self._log_reading is not None
        made = await self._log_reading.bulletin(user, Quarter.parse(request.quarter))
        return {"bulletin": made.to_text()}

    def _in_role(self, roles: list[OfficerRef], purpose: str) -> OfficerRef:
        """The officer in the role that this purpose admits; in the first one when it admits none."""
        found = self._covenant().purposes.get(purpose)
        admitted = found.asker.roles if found else ()
        return next((one for one in roles if one.role in admitted), roles[0])

    def _purposes(self, roles: list[OfficerRef]) -> Reply:
        found = [
            {**purpose, "role": one.role, "budget": self._asker.budget(one.user, purpose["id"]).to_json()}
            for one in roles
            for purpose in purposes_for(self._covenant(), self._oin, one.role)
        ]
        named = {purpose["id"]: purpose for purpose in reversed(found)}
        return {
            "type": "result",
            "officer": roles[0].name,
            "roles": [one.role for one in roles],
            "budget": self._asker.budget(roles[0].user, ALL_PURPOSES).to_json(),
            "purposes": [named[id_] for id_ in dict.fromkeys(purpose["id"] for purpose in found)],
        }

    async def _operate(self, request: Request, roles: Sequence[OfficerRef]) -> Reply:
        """What an operator asks; needs no officer."""
        if isinstance(request, CanaryRequest):
            outcome = await self._asker.ask_canary(request.purpose)
            return {"type": "result", "outcome": outcome.to_json()}
        if isinstance(request, SuspendRequest):
            return await self._suspend(request)
        if isinstance(request, RecordsRequest):
            assert self._records is not None
            return await self._records.handle(request, roles)
        return {"type": "result", **self._status()}

    async def _as_operator(self, request: ClearAlarmRequest | HaltRequest, user: "_Peer") -> Reply:
        """The node's own operator alone. Raises RefusedError."""
        if isinstance(request, HaltRequest):
            if not user.operator:
                raise RefusedError("stilzetten", "Alleen de beheerder van deze node zet hier een doel stil.")
            assert self._halting is not None
            until = await self._halting.halt(request.purpose, request.reason, user.name)
            return {"type": "result", "until": until.isoformat(timespec="seconds") if until else None}
        if not user.operator:
            raise RefusedError("alarm", "Alleen de beheerder van deze node sluit een alarm.")
        assert self._clear_alarm is not None
        await self._clear_alarm(request.number, user.name, request.reason)
        return {"type": "result", "cleared": request.number}

    async def _at_desk(self, request: DeskRequest, user: str) -> Mapping[str, Any]:
        assert self._desk is not None
        item, absent = request.item, request.absent
        match request.act:
            case "list":
                return self._desk.waiting(user)
            case "show":
                return await self._desk.show(user, item, absent=absent)
            case "ask":
                return await self._desk.hand_over(user, item, to=request.to, absent=absent)
            case "undo":
                return await self._desk.undo(user, item, absent=absent)
            case "release":
                return await self._desk.release(
                    user, item, ground=request.ground, text=request.text, absent=absent, compared=request.compared
                )
            case "refuse":
                return await self._desk.refuse(user, item, ground=request.ground, text=request.text, absent=absent)

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

    async def _open_purpose(self, request: OpenRequest, officer: OfficerRef) -> Reply:
        """Filters that this role may use, and no others. Raises RefusedError."""
        chosen = self._asker.openable(request.purpose, request.sources, request.on_behalf_of, officer.role)
        faults = await self._asker.open_purpose(request.purpose, chosen, request.on_behalf_of)
        filters = {oin: code or "ok" for oin, code in faults.items()}
        answers = await self._asker.expectations(request.purpose, chosen)
        budget = self._left(officer.user, request.purpose)
        return {"type": "result", "filters": filters, "answers": answers, "budget": budget}

    def _left(self, user: str, purpose: str) -> Reply:
        """What the officer has left today: under the purpose, and over all purposes together."""
        named = {"purpose": purpose, "all": ALL_PURPOSES}
        return {name: self._asker.budget(user, id_).to_json() for name, id_ in named.items()}

    async def _raise(self, request: RaiseRequest, roles: list[OfficerRef]) -> Reply:
        """A second person raises an officer's limit. Raises RefusedError."""
        purpose = self._covenant().purposes.get(request.purpose)
        requester = self._covenant().requesters(request.purpose).get(self._oin) if purpose else None
        if purpose is None or requester is None:
            raise RefusedError("onbekend-doel", "Onder dit doel stelt uw organisatie geen vragen.")
        officers = self._officers.get(request.officer, [])
        if not any(one.role in requester.roles for one in officers):
            raise RefusedError("onbekende-medewerker", "Deze medewerker stelt onder dit doel geen vragen.")
        raising = purpose.raised.roles if purpose.raised else ()
        by = next((one for one in roles if one.role in raising), roles[0])
        # A person with two accounts is one person.
        if by.user != request.officer and {one.name for one in officers} & {one.name for one in roles}:
            raise RefusedError("verhoging", "Onder beide gebruikers staat dezelfde naam: vraag een tweede persoon.")
        until = await self._asker.raise_limit(
            request.officer, request.purpose, request.extra, by=by, reason=request.reason
        )
        budget = self._asker.budget(request.officer, request.purpose)
        return {"type": "result", "until": until.isoformat(timespec="seconds"), "limit": budget.limit}

    async def _ask(self, connection: "_Connection", request: AskRequest, officer: OfficerRef, viewer: AtScreen) -> None:
        found = self._asker.submit(
            Inquiry(
                purpose=request.purpose,
                persons=_persons(request),
                sources=tuple(request.sources),
                officer=officer,
                case_reference=request.case,
                attested=frozenset(request.attested),
                justification=request.justification,
                reasons=tuple(request.reasons),
                on_behalf_of=request.on_behalf_of,
                described=tuple(map(_described, request.described)),
            ),
            viewer,
        )
        if isinstance(found, Outcomes):
            await self._tell(connection, found, officer.user, request.purpose)
        else:
            await connection.send(self._eyes.waits(found))

    async def _look_along(self, connection: "_Connection", request: EyesRequest, viewer: AtScreen) -> None:
        if request.act in {"ask", "emergency"}:
            outcomes, purpose = await self._eyes.ask(request, viewer)
            await self._tell(connection, outcomes, viewer.user, purpose)
        else:
            await connection.send(await self._eyes.handle(request, viewer))

    async def _tell(self, connection: "_Connection", outcomes: Outcomes, user: str, purpose: str) -> None:
        """The outcomes as they come, then the receipt."""
        while found := await outcomes.batch():
            await connection.send(*({"type": "outcome", **outcome.to_json()} for outcome in found))
        assert outcomes.receipt is not None
        left = self._left(user, purpose)
        await connection.send({"type": "receipt", "receipt": outcomes.receipt.to_json(), "budget": left})


class _Peer:
    """The user of the operating system on the other side."""

    def __init__(self, name: str, *, operator: bool) -> None:
        self.name = name
        self.operator = operator


class _Connection:
    """One connection: lines in, JSON objects out."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    def peer(self) -> _Peer:
        """Who connected, as the kernel says. A user without a name is nobody's officer."""
        connected = self._writer.get_extra_info("socket")
        raw = connected.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
        _, uid, _ = _CREDENTIALS.unpack(raw)
        try:
            name = pwd.getpwuid(uid).pw_name
        except KeyError:
            name = str(uid)
        return _Peer(name, operator=uid in {0, os.geteuid()})

    async def line(self) -> bytes | None:
        """The next line, or None at the end. A longer line than LINE_LIMIT ends the connection, with a reply."""
        try:
            async with asyncio.timeout(IDLE_SECONDS):
                line = await self._reader.readline()
        except ValueError:
            await self.send({"type": "error", "code": "malformed", "reason": "Het bericht is te lang."})
            return None
        return line or None

    async def send(self, *replies: Reply) -> None:
        """Replies, one a line, in one piece."""
        self._writer.write(b"".join(to_json(reply) + b"\n" for reply in replies))
        await self._writer.drain()


_BUDGET_REASON: Final = "U hebt vandaag het hoogste aantal vragen voor dit doel of in totaal gesteld. Vraag het morgen."
_INTERNAL_REASON: Final = "Er ging iets mis in de node. Uw beheerder ziet de plaats in het logboek."


def _reason(error: BekendError) -> str:
    if isinstance(error, MalformedError):
        return "Het verzoek aan de node is niet goed opgebouwd."
    return reason_for(error.code, "Deze node")


def _days(first: str, last: str) -> Days:
    try:
        return Days(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        raise RefusedError("periode", "Een dag is jjjj-mm-dd, bijvoorbeeld 2026-12-31.") from None


def _persons(request: AskRequest) -> tuple[Identifier, ...]:
    """The persons, canonical. Raises RefusedError that says which one is wrong, without its value."""
    named: list[str | DescribedPerson] = [*request.described, *request.identifiers]
    found = []
    for index, one in enumerate(named):
        try:
            if isinstance(one, str):
                found.append(parse_identifier(request.kind, one))
            else:
                found.append(combine(request.kind, _described(one)))
        except InvalidIdentifier as error:
            which = f"Persoon {index + 1}: " if len(named) > 1 else ""
            raise RefusedError("nummer", f"{which}{error}") from None
    return tuple(found)


def _described(one: DescribedPerson) -> PersonData:
    return from_fields(one.model_dump())


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
