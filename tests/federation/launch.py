"""The command `bekend`, composed by the tests: the same applications, with a clock that a test shifts.

    python -m tests.federation.launch node serve --config node.yaml

Beside the configuration may lie

    clock-shift    seconds by which this process's clock is ahead; read at every look at the clock
    die-at         name of a step; the process kills itself (SIGKILL) when it gets there, once
    names-another  a number: this requester names that person to sources in place of the one it asked about

Everything else is the shipped command. The steps are wrapped here; the shipped code knows nothing of them.
"""

import functools
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import bekend_broker.lookup as broker_lookup
import bekend_node.answer.answerer as answering
import bekend_node.ask.lookup as asking
import bekend_node.ask.release as releasing
import bekend_node.ask.replies as replies
import bekend_node.desk.comparing as comparing
from bekend_broker.releases import Releases
from bekend_deploy.cli import main as bekend
from bekend_node.answer.collects import Collects
from bekend_node.ask import messages
from bekend_node.store import Store
from bekend_node.store_desk import DeskStore
from bekend_node.store_pending import PendingQuestions
from bekend_proto.clock import SystemClock
from bekend_proto.identifiers import parse_identifier

CLOCK_SHIFT = "clock-shift"
DIE_AT = "die-at"
NAMES_ANOTHER = "names-another"


class ShiftedClock:
    """The machine's clock, ahead by what stands in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file

    def now(self) -> datetime:
        return datetime.now(UTC) + self._shift()

    def _shift(self) -> timedelta:
        try:
            return timedelta(seconds=float(self._file.read_text(encoding="ascii")))
        except (FileNotFoundError, ValueError):
            return timedelta(0)


class Steps:
    """Where a process can be told to die."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / DIE_AT

    def reach(self, step: str) -> None:
        """Die here, if this is the step."""
        try:
            wanted = self._file.read_text(encoding="ascii")
        except FileNotFoundError:
            return
        if wanted == step:
            self._file.unlink()
            os.kill(os.getpid(), signal.SIGKILL)

    def after(self, owner: Any, name: str, step: str) -> None:
        """Die when this coroutine function has returned."""
        honest: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(honest)
        async def dying(*args: Any, **kwargs: Any) -> Any:
            result = await honest(*args, **kwargs)
            self.reach(step)
            return result

        setattr(owner, name, dying)

    def before(self, owner: Any, name: str, step: str) -> None:
        """Die when this coroutine function is called."""
        honest: Callable[..., Awaitable[Any]] = getattr(owner, name)

        @functools.wraps(honest)
        async def dying(*args: Any, **kwargs: Any) -> Any:
            self.reach(step)
            return await honest(*args, **kwargs)

        setattr(owner, name, dying)

    def after_call(self, owner: Any, name: str, step: str) -> None:
        """Die when this plain function has returned."""
        honest: Callable[..., Any] = getattr(owner, name)

        @functools.wraps(honest)
        def dying(*args: Any, **kwargs: Any) -> Any:
            result = honest(*args, **kwargs)
            self.reach(step)
            return result

        setattr(owner, name, dying)


NODE_STEPS = ("received", "admitted", "evaluated")
ASKER_STEPS = ("begin-paid", "recorded", "told")
BROKER_STEPS = ("begin-logged", "questions-logged", "evaluated")


def node_steps(steps: Steps) -> None:
    """Steps (7), (8), (9) of a source, and the requester's: budget paid, record durable, outcomes there."""
    steps.before(answering.Answerer, "_answer", "received")
    steps.after(Store, "admit_answer", "admitted")
    steps.after_call(answering, "answer", "evaluated")
    steps.after_call(messages, "make_begin", "begin-paid")
    steps.before(replies.Replies, "collect", "recorded")
    steps.before(asking.Lookup, "_finish", "told")


def release_steps(steps: Steps) -> None:
    """D durable and not replied to; compared and no item yet; a collect durable and not replied to; the requester's."""
    steps.after(DeskStore, "begin", "named")
    steps.after(comparing, "run_compare", "compared")
    steps.after(Collects, "_told", "collected")
    steps.after(PendingQuestions, "add", "pending-kept")
    steps.after(PendingQuestions, "number", "numbered")


def name_another(file: Path) -> None:
    """A dishonest requester: the blind fits, the person is another."""
    honest = releasing._named

    def named(inquiry: Any, *rest: Any) -> Any:
        if file.exists():
            number = file.read_text(encoding="ascii")
            inquiry = replace(inquiry, persons=tuple(parse_identifier(one.kind, number) for one in inquiry.persons))
        return honest(inquiry, *rest)

    releasing._named = named  # type: ignore[assignment]


def broker_steps(steps: Steps) -> None:
    """Begin durable; Questions durable; Questions evaluated and not yet sent."""
    steps.after_call(broker_lookup, "evaluate_begin", "begin-logged")
    steps.after(broker_lookup.Lookups, "_admit", "questions-logged")
    steps.after_call(broker_lookup, "evaluate", "evaluated")
    steps.after(Releases, "_admit", "release-admitted")


def main() -> None:
    words = sys.argv[1:]
    config = Path(words[words.index("--config") + 1]) if "--config" in words else Path()
    clock, steps = ShiftedClock(config.parent / CLOCK_SHIFT), Steps(config.parent)
    if words[:2] == ["node", "serve"]:
        node_steps(steps)
        release_steps(steps)
        name_another(config.parent / NAMES_ANOTHER)
    elif words[:2] == ["broker", "serve"]:
        broker_steps(steps)
    # What runs is the shipped command, with its exit codes.
    SystemClock.now = lambda _: clock.now()  # type: ignore[method-assign, assignment]
    bekend()


if __name__ == "__main__":
    main()
