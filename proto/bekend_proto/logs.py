"""Every log event, declared once with the fields that it may carry.

One JSON object a line on stderr: `time`, `level`, `event`, then the fields. A field that the event
does not declare is a TypeError, so nothing slips into a log because somebody found it handy. No
event has a field for an identifier, a person, an outcome or a hit; a test holds this.

`trace` is the trace id (hex) of what a line is about: of a Question its id, of a lookup that of its Begin. `lookup`
stands beside the trace of a Question at requester and broker alone: a source that saw it could compare notes with
another (`trace.py`).

Add events in the section of your room. Name them after what happened.
"""

import json
import logging
import sys
import threading
from dataclasses import dataclass
from pathlib import PurePath
from types import TracebackType
from typing import Final, Literal

from bekend_proto.clock import Clock, SystemClock

Level = Literal["info", "warning", "error"]

Value = str | int | float | bool | None
"""What a field may hold. Bytes are refused: keys, elements and blinds are bytes."""

LONGEST: Final = 500
"""Characters of a text that are kept."""


@dataclass(frozen=True)
class Event:
    """Something that happened, and what may be said of it."""

    name: str
    level: Level
    fields: frozenset[str]


def _event(name: str, level: Level, *fields: str) -> Event:
    return Event(name, level, frozenset(fields))


# --- proto -------------------------------------------------------------------------------------

SERVER_STARTED = _event("server-started", "info", "address", "port")
SERVER_STOPPED = _event("server-stopped", "info", "address")
CALL_REFUSED = _event("call-refused", "warning", "method", "caller", "code", "detail")
CALL_FAILED = _event("call-failed", "error", "method", "caller", "exception", "place")
TLS_FILES_KEPT = _event("tls-files-kept", "error", "reason")
LOG_ALARM = _event("log-alarm", "error", "origin", "kind", "detail")
LOG_ALARM_CLEARED = _event("log-alarm-cleared", "warning", "number", "origin", "kind", "by", "reason")
DATABASE_DAMAGED = _event("database-damaged", "error", "detail")
DATABASE_NOT_LOOKED_AT = _event("database-not-looked-at", "warning", "detail")
LOG_FOLLOWED = _event("log-followed", "warning", "origin", "entries", "by")
CHECKPOINT_REFUSED = _event("checkpoint-refused", "warning", "origin", "detail")
LIBRARY = _event("library", "warning", "logger", "severity", "place", "exception")

# --- broker ------------------------------------------------------------------------------------

BROKER_STARTED = _event("broker-started", "info", "oin", "port", "metrics_port", "covenant", "manifest", "log_entries")
BROKER_STOPPING = _event("broker-stopping", "info", "lookups", "exchanges")
BROKER_STOPPED = _event("broker-stopped", "info", "oin")
BROKER_RELOADED = _event("broker-reloaded", "info", "covenant", "manifest")
BROKER_RELOAD_REFUSED = _event("broker-reload-refused", "error", "detail")
SOURCE_ATTACHED = _event("source-attached", "info", "oin", "replaced")
SOURCE_TOOK_OVER = _event("source-took-over", "warning", "oin", "since")
SOURCE_DETACHED = _event("source-detached", "info", "oin")
QUESTION_REFUSED = _event(
    "question-refused", "warning", "trace", "lookup", "requester", "source", "purpose", "code", "detail"
)
BEGIN_WITHOUT_QUESTIONS = _event("begin-without-questions", "warning", "trace", "requester", "purpose", "persons")
OPEN_QUESTIONS_KEPT = _event("open-questions-kept", "error", "detail")
MANIFEST_ACCEPTED = _event("manifest-accepted", "info", "oin", "number")
MANIFEST_SKIPPED = _event("manifest-skipped", "warning", "oin", "detail")
SUSPENSION_TAKEN = _event("suspension-taken", "warning", "by", "what", "about", "number", "lifted")
SUSPENSION_SKIPPED = _event("suspension-skipped", "error", "detail")
COVENANT_SKIPPED = _event("covenant-skipped", "warning", "folder", "detail")
ACCESS_EVALUATED = _event("access-evaluated", "info", "requester", "months")
IMPORT_OPENED = _event("import-opened", "info", "source", "purpose", "register", "epoch", "full", "elements", "left")
IMPORT_CLOSED = _event("import-closed", "info", "source", "purpose", "register", "epoch", "full", "chunks")

# --- node --------------------------------------------------------------------------------------

# Asking.
LOOKUP_ASKED = _event("lookup-asked", "info", "trace", "purpose", "sources", "persons")
NO_ANSWER = _event("no-answer", "warning", "trace", "lookup", "source", "purpose", "code", "detail")
FILTER_HELD = _event("filter-held", "info", "source", "purpose", "kinds", "version", "tags")
FILTER_MISSED = _event("filter-missed", "warning", "source", "purpose", "kinds", "code", "detail")
CONTROL_OPENED = _event("control-opened", "info", "socket")
CONTROL_REFUSED = _event("control-refused", "warning", "user", "operation", "code", "rule")
CONTROL_FAILED = _event("control-failed", "error", "operation", "exception", "place")
CASE_LAPSED = _event("case-lapsed", "warning", "by", "lookups", "questions")
CASE_CORRECTED = _event("case-corrected", "warning", "by", "source", "number", "questions")
SIGNED_IN = _event("signed-in", "info", "user", "roles")
SIGN_IN_REFUSED = _event("sign-in-refused", "warning", "reason", "code")
REST_FAILED = _event("rest-failed", "error", "exception", "place")
REST_CERTIFICATE_REFUSED = _event("rest-certificate-refused", "warning", "detail")
REST_REFUSED = _event("rest-refused", "warning", "status", "problem", "code")
LOG_READ = _event("log-read", "warning", "user", "form", "used_for")
ACCESS_RELAYED = _event("access-relayed", "info", "broker", "months")
COLLECT_MISSED = _event("collect-missed", "warning", "trace", "source", "purpose", "code", "detail")
COLLECTING_FAILED = _event("collecting-failed", "error", "code", "detail")
WITHDRAWAL_MISSED = _event("withdrawal-missed", "warning", "trace", "source", "purpose", "code", "detail")
CONSENT_RECORDED = _event("consent-recorded", "info", "officer", "purpose", "partners")
CONSENT_WITHDRAWN = _event("consent-withdrawn", "warning", "officer", "partners")
LATE_HOOK_FAILED = _event("late-hook-failed", "error", "detail")
MAIL_FAILED = _event("mail-failed", "error", "detail")
MISUSE_SIGNAL = _event("misuse-signal", "warning", "kind")
FOUR_EYES = _event("four-eyes", "info", "act", "user", "purpose")
LIMIT_RAISED = _event("limit-raised", "warning", "purpose", "officer", "by", "role", "extra", "until")

# Being a source.
NODE_STARTED = _event("node-started", "info", "oin", "covenant", "manifest")
NODE_STOPPING = _event("node-stopping", "info", "answers")
NODE_FENCED = _event("node-fenced", "error", "broker", "detail")
NODE_BROKEN = _event("node-broken", "error", "exception", "place")
NODE_STOPPED = _event("node-stopped", "info", "oin")
NODE_RELOADED = _event("node-reloaded", "info", "covenant", "manifest")
NODE_RELOAD_REFUSED = _event("node-reload-refused", "error", "detail")
ATTACHED = _event("attached", "info", "broker")
BROKER_NOT_BELIEVED = _event("broker-not-believed", "error", "broker", "detail")
ATTACH_LOST = _event("attach-lost", "warning", "broker", "code", "detail")
PUBLISH_REFUSED = _event("publish-refused", "error", "broker", "code", "detail")
ANSWERED = _event("answered", "info", "trace", "requester", "purpose", "persons")
ANSWER_REFUSED = _event("answer-refused", "warning", "trace", "requester", "purpose", "code", "detail")
ANSWER_FAILED = _event("answer-failed", "error", "exception", "place")
EXCHANGE_REFUSED = _event("exchange-refused", "warning", "trace", "kind", "code", "detail")
RELEASE_KEPT = _event("release-kept", "info", "trace", "requester", "purpose", "persons")
RELEASE_WITHDRAWN = _event("release-withdrawn", "info", "trace", "requester", "purpose")
COLLECTED = _event("collected", "info", "trace", "requester", "purpose")
CLOCK_OFF = _event("clock-off", "error", "broker", "ahead")
CLOCK_RIGHT = _event("clock-right", "info", "broker", "ahead")
COMPARED = _event("compared", "info", "purpose", "persons")
COMPARE_FAILED = _event("compare-failed", "error", "purpose", "detail")
CANARY_FOUND = _event("canary-found", "info", "purpose", "kinds")
CANARY_MISSED = _event("canary-missed", "error", "purpose", "kinds", "detail")
CANARY_ASKED = _event("canary-asked", "error", "requester", "purpose")
DESK_HOOK_FAILED = _event("desk-hook-failed", "error", "detail")
PUSHED = _event("pushed", "info", "requester", "purpose", "kinds", "version", "tags")
PUSH_REFUSED = _event("push-refused", "warning", "requester", "purpose", "code", "detail")
STANDING_REFUSED = _event("standing-refused", "error", "file", "detail")
FILTER_SWITCHED = _event("filter-switched", "info", "purpose", "kinds", "epoch", "version", "end")
FILTER_WITHDRAWN = _event("filter-withdrawn", "warning", "purpose", "kinds", "version")
PURPOSE_HALTED = _event("purpose-halted", "warning", "purpose", "version", "by")
FILTER_FAILED = _event("filter-failed", "error", "purpose", "kinds", "detail")
RETENTION_FAILED = _event("retention-failed", "error", "detail")
RECORD_KEY_DESTROYED = _event("record-key-destroyed", "warning", "month")
RETENTION_DESTROYED = _event("retention-destroyed", "info", "rows")
RETENTION_WAITS = _event("retention-waits", "warning", "requester", "purpose", "rows")
EPOCH_DESTROYED = _event("epoch-destroyed", "info", "epoch")
SIGNING_KEY_RENEWED = _event("signing-key-renewed", "info", "oin")
REGISTER_SWITCHED = _event("register-switched", "info", "register", "epoch", "as_of", "purposes")

# --- deploy ------------------------------------------------------------------------------------

# -----------------------------------------------------------------------------------------------

_encode = json.JSONEncoder(ensure_ascii=False).encode
_lock = threading.Lock()
_clock: Clock = SystemClock()


def use_clock(clock: Clock) -> None:
    """Take the times of later lines from this clock: the composition root's."""
    global _clock  # noqa: PLW0603 - there is one log per process
    _clock = clock


def log(event: Event, **fields: Value) -> None:
    """Write one line. Raises TypeError for a field that is not declared, or holds another kind of value.

    A log that cannot be written stops nothing: what must be kept stands in the database.
    """
    undeclared = fields.keys() - event.fields
    if undeclared:
        raise TypeError(f"event {event.name} declares no field {', '.join(sorted(undeclared))}")
    line: dict[str, Value] = {
        "time": _clock.now().isoformat(timespec="milliseconds"),
        "level": event.level,
        "event": event.name,
    }
    for name, value in fields.items():
        if not isinstance(value, Value):
            raise TypeError(f"field {name} of event {event.name} holds no plain value")
        line[name] = value[:LONGEST] if isinstance(value, str) else value
    text = _encode(line) + "\n"
    try:
        with _lock:
            sys.stderr.write(text)
            sys.stderr.flush()
    except (OSError, ValueError):
        return


def place_of(trace: TracebackType | None) -> str:
    """`file.py:line` of where an exception was raised: all that is said of it beside its class."""
    if trace is None:
        return "unknown"
    while trace.tb_next is not None:
        trace = trace.tb_next
    return f"{PurePath(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}"


class _LibraryHandler(logging.Handler):
    """Libraries' own log records, without their messages: those may quote what they were given."""

    def emit(self, record: logging.LogRecord) -> None:
        kind, _, trace = record.exc_info or (None, None, None)
        log(
            LIBRARY,
            logger=record.name,
            severity=record.levelname.lower(),
            place=place_of(trace) if trace else f"{record.filename}:{record.lineno}",
            exception=kind.__name__ if kind else None,
        )


def capture_libraries() -> None:
    """Bring what grpc, asyncio and others log through `logging` into this log, from warnings up."""
    root = logging.getLogger()
    root.handlers[:] = [_LibraryHandler()]
    root.setLevel(logging.WARNING)
