"""A week of questions that colleagues decide on: real parties in this process, under a steered clock.

Each question is about a person whom the source releases, refuses, does not know, shields, or whose consent is
withdrawn: as many of each, in an order that is drawn.
"""

import asyncio
import getpass
import heapq
import itertools
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from functools import partial
from pathlib import Path
from unittest.mock import patch

from bekend_broker.app import start_broker
from bekend_broker.config import load_config as load_broker
from bekend_deploy.covenant import Settings
from bekend_deploy.federation import Federation
from bekend_deploy.partners import CONFUSED, HAARLEM, POLITIE, SOCIAL, VELSEN, Partner
from bekend_deploy.questions import CONDITIONS
from bekend_node.app import Node, start_node
from bekend_node.ask.collector import Collector
from bekend_node.ask.consent import Given, Giver
from bekend_node.ask.outcomes import OutcomeKind
from bekend_node.ask.pending import Told, open_pending
from bekend_node.ask.rules import Inquiry, OfficerRef
from bekend_node.config import BrokerAddress, NodeConfig
from bekend_node.config import load_config as load_node
from bekend_node.desk import comparing
from bekend_node.desk.compare import Compared, Order, compare
from bekend_node.enrol.command import enrol_file, shield_persons
from bekend_node.enrol.lists import Wanted
from bekend_node.store_pending import PendingRow
from bekend_proto.clock import day_of
from bekend_proto.identifiers import parse_identifier

from bekend_bench.release_traffic import HIDDEN, Came, Traffic, watched

WEEK = timedelta(days=7)
TERM = timedelta(hours=4)
"""How long a colleague has: short, so that a week holds many questions and each question sixteen collects."""
PERSONS = 60
SHIELDED = 10
_LEAD = 8
"""Seconds before a switch at which the next filter is built."""
_ROWS = 10_000
"""More than are ever kept here at once."""


@dataclass(frozen=True)
class Mode:
    """One way to be answered by hand: HAARLEM asks `source` under `purpose`."""

    purpose: str
    source: Partner
    registers: tuple[str, ...]
    role: str
    ground: str
    case: str
    by_consent: bool


MODES = (
    Mode(SOCIAL, VELSEN, ("wmo",), "sociaal-werker", "toestemming", "SD-2026-{:05}", by_consent=True),
    Mode(CONFUSED, POLITIE, POLITIE.registers, "meldpunt-medewerker", "nodig", "MVG-2026-{:05}", by_consent=False),
)


class Steered:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self._now = datetime.now(UTC).replace(microsecond=0)

    def now(self) -> datetime:
        """Where it stands."""
        return self._now

    def to(self, seconds: float) -> None:
        """Move it to this many seconds since 1970, never back."""
        self._now = max(self._now, datetime.fromtimestamp(seconds, UTC))


@dataclass(order=True)
class _Event:
    at: int
    place: int
    do: Callable[[], Awaitable[None]] = field(compare=False)


class Week:
    """One run. `draw` decides who is asked about, when, and when colleagues decide."""

    def __init__(self, federation: Federation, clock: Steered, draw: random.Random, traffic: Traffic) -> None:
        self._federation = federation
        self._clock = clock
        self._draw = draw
        self._traffic = traffic
        self._events: list[_Event] = []
        self._over: set[bytes] = set()
        self._places = itertools.count()
        self._nodes: dict[str, Node] = {}
        self._port = 0
        self._user = getpass.getuser()
        self._shielded = {one.oin: set[str]() for one in (VELSEN, POLITIE)}

    async def run(self, questions: int, say: Callable[[str], None]) -> None:
        """Ask, decide, withdraw and collect until the week, and the last term, are over."""
        config = load_broker(self._federation.built.broker_config)
        broker = await start_broker(config.model_copy(update={"listen": "127.0.0.1:0", "metrics": None}), self._clock)
        try:
            self._port = broker.port
            await self._import_lists()
            await self._shield()
            async with self._node(HAARLEM), self._node(VELSEN), self._node(POLITIE):
                self._plan(questions)
                await self._pass(say)
                self._check()
        finally:
            await broker.stop(0)

    # --- what happens when

    def _plan(self, questions: int) -> None:
        begin, week = self._clock.now().timestamp(), WEEK.total_seconds()
        for number in range(questions):
            mode = MODES[number % len(MODES)]
            kinds = list(Came) if mode.by_consent else list(HIDDEN)
            came = kinds[number // len(MODES) % len(kinds)]
            self._at(begin + self._draw.random() * week, partial(self._ask, number, mode, came))

    def _at(self, at: float, do: Callable[[], Awaitable[None]]) -> None:
        heapq.heappush(self._events, _Event(int(at), next(self._places), do))

    async def _pass(self, say: Callable[[str], None]) -> None:
        haarlem, term = self._nodes[HAARLEM.oin], int(TERM.total_seconds())
        collector, pending = haarlem.asker.collector, haarlem.store.pending
        while True:
            # No collect is further away than a term. What is over stands there too, and nothing is sent for it.
            due = pending.due(int(self._clock.now().timestamp()) + term, _ROWS)
            first = [row.due for row in due if self._is_open(haarlem, row)][:1]
            coming = [*first, *(event.at for event in self._events[:1])]
            if not coming:
                return
            await self._move_to(min(coming))
            while self._events and self._events[0].at <= self._clock.now().timestamp():
                await heapq.heappop(self._events).do()
                if self._traffic.came and not len(self._traffic.came) % 50:
                    say(f"{len(self._traffic.came)} questions asked")
            await collector.tick()
            await collector.settle()

    def _is_open(self, node: Node, row: PendingRow) -> bool:
        """Whether more is collected; once it is not, it never is again."""
        if row.question_id not in self._over and not open_pending(node.keys.state_box, row).open:
            self._over.add(row.question_id)
        return row.question_id not in self._over

    async def _move_to(self, moment: float) -> None:
        """The clock to a moment, over every switch of a filter on the way."""
        while True:
            switches = [
                (at, node)
                for node in self._nodes.values()
                for mode in MODES
                if (at := node.filters.next_switch(mode.purpose)) is not None and at <= moment
            ]
            if not switches:
                break
            at, node = min(switches, key=lambda one: one[0])
            self._clock.to(at - _LEAD)
            await node.filters.tick()
            await node.filters.settle()
            self._clock.to(at)
            await node.filters.tick()
        self._clock.to(moment)

    # --- what happens

    async def _ask(self, number: int, mode: Mode, came: Came) -> None:
        haarlem, source = self._nodes[HAARLEM.oin], self._nodes[mode.source.oin]
        officer = OfficerRef(self._user, "A. de Vries", mode.role)
        case = mode.case.format(number)
        if mode.by_consent:
            today = day_of(self._clock.now())
            born = date(1980, 2, 29)
            given = Given(case, mode.purpose, (mode.source.oin,), Giver.SELF, today, "deze partner vragen", born)
            await haarlem.asker.cases.record_consent(given, officer)
        inquiry = Inquiry(
            purpose=mode.purpose,
            persons=(parse_identifier(self._federation.population.kind, self._whom(mode, came)),),
            sources=(mode.source.oin,),
            officer=officer,
            case_reference=case,
            attested=frozenset(CONDITIONS[mode.purpose]),
            justification="nodig: wie erbij hoort; middel: alleen deze vraag; minder: kan hier niet",
        )
        before = {row.question_id for row in haarlem.store.pending.all()}
        told = [one.outcome async for one in haarlem.asker.ask(inquiry) if one.oin == mode.source.oin]
        if told != [OutcomeKind.PENDING]:
            raise CaptureFailed(f"{mode.purpose}: {told}")
        (question,) = {row.question_id for row in haarlem.store.pending.all()} - before
        self._traffic.came[question] = came
        await source.comparing.compare_all()
        self._plan_decision(question, mode, came, partial(self._withdraw, case, mode, officer))

    def _whom(self, mode: Mode, came: Came) -> str:
        population, oin = self._federation.population, mode.source.oin
        known = population.known(oin, mode.registers)
        people = {
            Came.UNKNOWN: set(population.people) - population.known(oin, mode.source.registers) - self._shielded[oin],
            Came.SHIELDED: self._shielded[oin] & known,
        }.get(came, known - self._shielded[oin])
        return self._draw.choice(sorted(people))

    def _plan_decision(self, question: bytes, mode: Mode, came: Came, withdraw: Callable[[], Awaitable[None]]) -> None:
        now, term = self._clock.now().timestamp(), TERM.total_seconds()
        moment = self._draw.random() * 0.8 * term
        if came in {Came.RELEASED, Came.REFUSED}:
            self._at(now + 60 + moment, partial(self._decide, question, mode, came))
        if came is Came.WITHDRAWN:
            self._at(now + 60 + moment, withdraw)

    async def _decide(self, question: bytes, mode: Mode, came: Came) -> None:
        desk, item = self._nodes[mode.source.oin].desk, f"v{question.hex()[:8]}-1"
        if came is Came.RELEASED:
            await desk.release(self._user, item, ground=mode.ground, text="", absent=False)
        else:
            await desk.refuse(self._user, item, ground="geheim", text="", absent=False)

    async def _withdraw(self, case: str, mode: Mode, officer: OfficerRef) -> None:
        asker = self._nodes[HAARLEM.oin].asker
        await asker.cases.withdraw_consent(case, [mode.source.oin], [mode.purpose], officer)
        await asker.collector.settle()

    # --- lists and nodes

    async def _import_lists(self) -> None:
        for partner in (VELSEN, POLITIE):
            for register, path in self._federation.built.nodes[partner.oin].imports.items():
                wanted = Wanted(register=register, file=path, as_of=day_of(self._clock.now()))
                with ThreadPoolExecutor(2) as executor:
                    await enrol_file(self._config(partner), wanted, self._clock, executor, lambda *_: None)

    async def _shield(self) -> None:
        population = self._federation.population
        for partner in (VELSEN, POLITIE):
            (mode,) = [one for one in MODES if one.source == partner]
            known = population.known(partner.oin, mode.registers) - {population.fixed.everywhere}
            self._shielded[partner.oin] = set(sorted(known)[:SHIELDED])
            persons = [parse_identifier(population.kind, one) for one in sorted(self._shielded[partner.oin])]
            with ThreadPoolExecutor(2) as executor:
                await shield_persons(self._config(partner), persons, self._clock, executor, lift=False)

    def _config(self, partner: Partner) -> NodeConfig:
        config = load_node(self._federation.config_of(partner.oin))
        address = (BrokerAddress(address=f"localhost:{self._port}"),)
        return config.model_copy(update={"brokers": address, "metrics": None, "workers": 1})

    @asynccontextmanager
    async def _node(self, partner: Partner) -> AsyncIterator[None]:
        node = self._nodes[partner.oin] = await start_node(self._config(partner), self._clock)
        try:
            for attachment in node.attachments:
                await attachment.attached.wait()
            await node.directory.wait()
            await node.filters.tick()
            await node.filters.settle()
            for other in self._nodes.values():
                await other.directory.refresh()
            yield
        finally:
            await node.stop(2)

    def _check(self) -> None:
        """Every officer was told the truth: what was captured is what it is said to be. Raises CaptureFailed."""
        haarlem = self._nodes[HAARLEM.oin]
        for row in haarlem.store.pending.all():
            came = self._traffic.came[row.question_id]
            ((told, _),) = open_pending(haarlem.keys.state_box, row).told
            if told is not {Came.RELEASED: Told.KNOWN, Came.WITHDRAWN: Told.WITHDRAWN}.get(came, Told.CLOSED):
                raise CaptureFailed(f"a question that was {came} ended as {told}")


class CaptureFailed(RuntimeError):  # noqa: N818 - reads as what happened
    """The week did not go as planned, so nothing is said about it."""


async def _compare_here(order: Order) -> list[Compared]:
    """The node's comparison, without a process for each: nobody between sees the difference."""
    return await asyncio.to_thread(compare, replace(order, workers=1))


async def _idle(_: Collector) -> None:
    """The week's own clock collects."""
    await asyncio.Event().wait()


def capture(folder: Path, questions: int, *, seed: int = 1, say: Callable[[str], None] = lambda _: None) -> Traffic:
    """A week of this many questions, in an empty folder. Raises CaptureFailed, BekendError."""
    clock, traffic = Steered(), Traffic()
    settings = Settings(reply_term=f"PT{int(TERM.total_seconds())}S", filter_interval="P1D", max_list_age="P14D")
    federation = Federation.build(folder, persons=PERSONS, seed=seed, settings=settings, clock=clock, with_release=True)
    draw = random.Random(seed)  # noqa: S311 - repeatable traffic, not keys
    with (
        watched(traffic, clock),
        patch.object(comparing, "run_compare", _compare_here),
        patch.object(Collector, "run", _idle),
    ):
        asyncio.run(Week(federation, clock, draw, traffic).run(questions, say))
    return traffic
