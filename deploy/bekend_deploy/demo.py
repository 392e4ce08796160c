"""The demo: build a federation, ask it questions of which the answers are known, and look at what everybody holds.

Progress and tables are for people and go to stderr and stdout; with `--json` stdout holds one object and nothing else.
"""

import contextlib
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from bekend_deploy.answered import Answered
from bekend_deploy.federation import Federation
from bekend_deploy.partners import VELSEN
from bekend_deploy.questions import Question, broken_question, questions, refused_question
from bekend_deploy.release_run import Played, ReleaseRun
from bekend_deploy.tables import print_holdings, print_how_to_ask, print_question, print_release, print_summary

RIGHT, FAILED, WRONG = 0, 1, 3
"""Exit codes: every outcome right; a process failed; an outcome differs."""


@dataclass(frozen=True)
class Options:
    """What was asked for on the command line."""

    partners: int = 7
    persons: int = 2_000
    seed: int = 1
    as_json: bool = False
    keep: Path | None = None
    serve: bool = False
    with_release: bool = False


@dataclass
class Report:
    """What came out of a run, in the form of `--json`."""

    questions: list[dict[str, object]] = field(default_factory=list)
    release: list[dict[str, object]] = field(default_factory=list)
    enrolment: dict[str, object] = field(default_factory=dict)
    timings: dict[str, float] = field(default_factory=dict)
    holdings: list[dict[str, object]] = field(default_factory=list)

    @property
    def correct(self) -> bool:
        """Whether every outcome was the true one, and no file holds anybody's number."""
        asked = (*self.questions, *self.release)
        return all(one["correct"] for one in asked) and not any(one["numbers_found"] for one in self.holdings)

    @contextlib.contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note how many seconds the block took."""
        begin = time.monotonic()
        yield
        self.timings[name] = round(time.monotonic() - begin, 3)


def run(options: Options) -> int:
    """Run the demo; returns the exit code."""
    with contextlib.ExitStack() as stack:
        folder = _folder(options, stack)
        progress = stack.enter_context(_progress())
        report = Report()
        with report.timed("total"):
            federation = _set_up(options, folder, report, progress, stack)
            release = _begin_release(federation, report, progress) if options.with_release else None
            answered = _ask_all(federation, report, progress)
            played = _finish_release(release, federation, report, progress) if release else []
            with report.timed("holdings"):
                holdings = federation.holdings()
        report.holdings = [holding.to_json() for holding in holdings]
        progress.stop()
        out = Console()
        if options.as_json:
            sys.stdout.write(json.dumps(report.__dict__, ensure_ascii=False) + "\n")
        else:
            for number, (question, answer) in enumerate(answered, 1):
                print_question(out, federation, number, question, answer)
            for number, one in enumerate(played, len(answered) + 1):
                print_release(out, federation, number, one)
            print_holdings(out, holdings)
            print_summary(out, report.timings, correct=report.correct, kept=options.keep)
        if options.serve:
            print_how_to_ask(Console(stderr=options.as_json), federation)
            federation.wait_for_interrupt()
    return RIGHT if report.correct else WRONG


def check(federation: Federation, question: Question, answer: Answered) -> dict[str, object]:
    """One question in the form of `--json`; `correct` compares every outcome with the truth."""
    expected = federation.truth.expected(question)
    got = {(int(one["person"]), str(one["oin"])): str(one["outcome"]) for one in answer.outcomes}
    fields = ("person", "oin", "name", "outcome", "as_of", "reason")
    return {
        "purpose": question.purpose,
        "requester": question.requester.oin,
        "on_behalf_of": question.on_behalf_of.oin if question.on_behalf_of else None,
        "persons": len(question.persons),
        "outcomes": [{name: one[name] for name in fields} for one in answer.outcomes],
        "refused": answer.refused,
        "milliseconds": round(answer.seconds * 1000, 1),
        "correct": got == expected and (answer.refused is not None) is question.refused,
    }


def check_release(federation: Federation, one: Played) -> dict[str, object]:
    """One lookup with partners where colleagues decide, in the form of `--json`: told first, and in the end."""
    question = one.by_hand.question
    first = ("person", "oin", "name", "outcome", "as_of", "reason", "until")
    return {
        "purpose": question.purpose,
        "requester": question.requester.oin,
        "persons": len(question.persons),
        "outcomes": [{name: it.get(name) for name in first} for it in one.answered.outcomes],
        "later": [{name: it[name] for name in first} for it in one.later.values()],
        "withdrawn": one.by_hand.withdrawn,
        "milliseconds": round(one.answered.seconds * 1000, 1),
        "correct": one.correct(federation),
    }


def _folder(options: Options, stack: contextlib.ExitStack) -> Path:
    if options.keep is None:
        return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bekend-")))
    options.keep.mkdir(parents=True, exist_ok=False)
    return options.keep.resolve()


def _progress() -> Progress:
    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
    )


def _set_up(
    options: Options, folder: Path, report: Report, progress: Progress, stack: contextlib.ExitStack
) -> Federation:
    step = progress.add_task("Certificates, keys, covenant", total=None)
    with report.timed("build"):
        federation = Federation.build(
            folder,
            partners=options.partners,
            persons=options.persons,
            seed=options.seed,
            pages=options.serve,
            with_release=options.with_release,
        )
    progress.update(step, total=1, completed=1)
    stack.callback(federation.stop)
    step = progress.add_task("Start broker and nodes", total=1 + len(federation.members))
    with report.timed("start"):
        federation.start(on_ready=lambda _: progress.advance(step))
    step = progress.add_task("Enrol registers", total=len(federation.imports()))
    with report.timed("enrol"):
        done = federation.enrol_all(on_done=lambda _: progress.advance(step))
    report.enrolment = {
        "registers": [one.to_json() for one in done],
        "persons": sum(one.persons for one in done),
    }
    with report.timed("filters"):
        federation.wait_for_filters()
    return federation


def _begin_release(federation: Federation, report: Report, progress: Progress) -> ReleaseRun:
    """Asked and decided before the other questions: its terms run meanwhile."""
    run_ = ReleaseRun(federation)
    step = progress.add_task("Ask, and let colleagues decide", total=run_.count + 1)
    with report.timed("release"):
        run_.ask(on_done=lambda: progress.advance(step))
        run_.decide()
    progress.advance(step)
    return run_


def _finish_release(run_: ReleaseRun, federation: Federation, report: Report, progress: Progress) -> list[Played]:
    step = progress.add_task("Wait for the last terms", total=None)
    with report.timed("terms"):
        played = run_.finish()
    progress.update(step, total=1, completed=1)
    report.release = [check_release(federation, one) for one in played]
    return played


def _ask_all(federation: Federation, report: Report, progress: Progress) -> list[tuple[Question, Answered]]:
    truth = federation.truth
    todo = questions(truth)
    step = progress.add_task("Ask", total=len(todo) + 2)
    answered = []
    with report.timed("questions"):
        for question in todo:
            answered.append((question, federation.ask(question)))
            progress.advance(step)
        broken = broken_question(truth)
        answered.append((broken, federation.ask_while_stopping(broken, VELSEN.oin)))
        progress.advance(step)
        refused = refused_question(truth)
        answered.append((refused, federation.ask(refused)))
        progress.advance(step)
    report.questions = [check(federation, question, answer) for question, answer in answered]
    return answered
