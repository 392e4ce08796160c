"""A log says what happened, in declared fields, and nothing about anybody."""

import json
import logging
import re
import sys
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime

import pytest
from bekend_proto import logs
from bekend_proto.clock import SystemClock
from bekend_proto.logs import Event, capture_libraries, log, use_clock

from tests.support.clocks import SteeredClock

EVENTS = [value for value in vars(logs).values() if isinstance(value, Event)]

# Words that stand for who was asked about, or for what came out.
FORBIDDEN = {
    "answer", "blind", "bsn", "case", "hit", "hits", "identifier", "identifiers", "key", "match",
    "matched", "miss", "misses", "name", "outcome", "outcomes", "person", "pseudonym", "seed", "secret", "subject",
    "tag", "value", "values", "w",
}  # fmt: skip


@pytest.fixture(autouse=True)
def _steered() -> Iterator[None]:
    use_clock(SteeredClock(datetime(2026, 11, 22, 12, 0, 0, 5000, tzinfo=UTC)))
    yield
    use_clock(SystemClock())


@pytest.mark.parametrize("event", EVENTS, ids=lambda event: event.name)
def test_no_event_has_a_field_for_a_person_or_an_outcome(event: Event) -> None:
    words = {word for field in event.fields for word in re.split(r"[^a-z]+", field.lower())}
    assert not words & FORBIDDEN
    assert not event.fields & {"time", "level", "event"}
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", event.name)


def test_every_event_has_a_name_of_its_own() -> None:
    assert EVENTS
    assert len({event.name for event in EVENTS}) == len(EVENTS)


def test_a_line_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    log(logs.SERVER_STARTED, address="localhost:0\n", port=7)
    written = capsys.readouterr().err
    assert written.count("\n") == 1
    assert json.loads(written) == {
        "time": "2026-11-22T12:00:00.005+00:00",
        "level": "info",
        "event": "server-started",
        "address": "localhost:0\n",
        "port": 7,
    }


def test_a_field_that_is_not_declared_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="server-started declares no field person"):
        log(logs.SERVER_STARTED, person="x")
    assert capsys.readouterr().err == ""


def test_bytes_are_refused_since_keys_are_bytes(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(TypeError, match="no plain value"):
        log(logs.SERVER_STARTED, address=b"\0" * 32)  # type: ignore[arg-type]
    assert capsys.readouterr().err == ""


def test_a_log_that_cannot_be_written_stops_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    full = open("/dev/full", "w")  # noqa: SIM115 - closing it fails as well
    monkeypatch.setattr(sys, "stderr", full)
    log(logs.SERVER_STOPPED, address="x")
    monkeypatch.undo()
    with suppress(OSError):
        full.close()


def test_libraries_are_heard_without_their_messages(capsys: pytest.CaptureFixture[str]) -> None:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    try:
        capture_libraries()
        try:
            raise ValueError("999990019")
        except ValueError:
            logging.getLogger("some.library").exception("failed on %s", "999990019")
        logging.getLogger("some.library").info("not this")
    finally:
        root.handlers[:] = before
        root.setLevel(level)
    written = capsys.readouterr().err
    line = json.loads(written)
    assert line["event"] == "library"
    assert line["logger"] == "some.library"
    assert line["severity"] == "error"
    assert line["exception"] == "ValueError"
    assert line["place"].startswith("test_logs.py:")
    assert "999990019" not in written
