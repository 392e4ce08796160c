"""What `doctor` finds: one line per thing that was looked at, with the remedy where there is something to do."""

import errno
import json
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from bekend_proto.errors import BekendError

FAILED: Final = 3
WARNED: Final = 6
_FULL: Final = {errno.ENOSPC, errno.EDQUOT}


class State(StrEnum):
    """How a thing stands: in order, wants attention soon, or keeps the service from doing its work."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at. `remedy` is empty where there is nothing to do, or where `detail` says it."""

    what: str
    state: State
    detail: str
    remedy: str = ""

    @property
    def good(self) -> bool:
        """Whether there is nothing to do."""
        return self.state is State.OK

    def lines(self) -> str:
        """As a person reads it."""
        text = f"{self.state:<4}  {self.what}: {self.detail}"
        return f"{text}\n      -> {self.remedy}" if self.remedy else text

    def to_json(self) -> dict[str, object]:
        """The fields as JSON values."""
        return {
            "what": self.what,
            "state": self.state.value,
            "good": self.good,
            "detail": self.detail,
            "remedy": self.remedy,
        }


def file_fault(fault: OSError) -> str:
    """What the system refused, of which file, and what to do about it."""
    remedy = "make room, and run this again" if fault.errno in _FULL else "check path and rights"
    return ": ".join(str(part) for part in (fault.filename, fault.strerror or type(fault).__name__, remedy) if part)


def ok(what: str, detail: str) -> Finding:
    """In order."""
    return Finding(what, State.OK, detail)


def warn(what: str, detail: str, remedy: str = "") -> Finding:
    """It works now, and wants attention."""
    return Finding(what, State.WARN, detail, remedy)


def fail(what: str, detail: str, remedy: str = "") -> Finding:
    """It does not work."""
    return Finding(what, State.FAIL, detail, remedy)


def look(what: str, work: Callable[[], Finding | str], *faults: type[Exception]) -> Finding:
    """Do the work: its finding, or `ok` with the text that it returns, or `fail` with the fault that it raises.

    Expected are BekendError, OSError and the `faults` named: their text says what to do.
    """
    expected: tuple[type[Exception], ...] = (BekendError, OSError, *faults)
    try:
        found = work()
    except expected as fault:
        return fail(what, file_fault(fault) if isinstance(fault, OSError) else str(fault))
    return found if isinstance(found, Finding) else ok(what, found)


def exit_code(findings: Iterable[Finding]) -> int:
    """0 when all is in order, 3 when something fails, 6 when something wants attention and nothing fails."""
    states = {finding.state for finding in findings}
    if State.FAIL in states:
        return FAILED
    return WARNED if State.WARN in states else 0


def show(findings: Sequence[Finding], *, as_json: bool) -> int:
    """Write the findings to standard output; returns the exit code."""
    if as_json:
        good = all(finding.good for finding in findings)
        facts = {"good": good, "checks": [finding.to_json() for finding in findings]}
        sys.stdout.write(json.dumps(facts, ensure_ascii=False) + "\n")
    else:
        sys.stdout.write("".join(finding.lines() + "\n" for finding in findings))
    return exit_code(findings)
