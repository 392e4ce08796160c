"""What a lookup and an import cost, counted: operations, messages, octets, rows. Times are noisy; these are not.

The counts are those that bench/bekend_bench/prescribed.py adds up into the floor, so a floor that promises too much or
too little fails here, and so does a step that became dearer without anybody noticing.
"""

import sqlite3
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest.mock import patch

import nacl.bindings
import pytest
import pytest_asyncio
from bekend_bench.prescribed import PER_ENROLLED, lookup
from bekend_deploy.partners import HAARLEM, OM, POLITIE, RECLASSERING, VELSEN, ZVH, ZVH_WEIGHING
from bekend_node.app import Node
from bekend_node.ask import asks
from bekend_proto import sodium
from bekend_proto.durable import Database
from bekend_proto.identifiers import parse_identifier
from bekend_proto.v1.broker_pb2 import Ask, AttachRequest, AttachResponse, Begun, LookupResponse
from bekend_proto.v1.signed_pb2 import Begin, Signed
from google.protobuf.message import Message

from tests.evil.hostile_broker import Hands, Stage, hostile_broker
from tests.evil.world import World, ask, real_node
from tests.node.test_import_rows import VALID
from tests.support.federation import Federation
from tests.support.nodes import CANARY, NodeHome
from tests.support.pki import Authority

pytestmark = pytest.mark.asyncio(loop_scope="module")

M = TypeVar("M", bound=Message)

SOURCES = (OM, RECLASSERING, HAARLEM, VELSEN)
ASK = {1: 1_787, 2: 3_574, 4: 7_148}
"""Octets of the message with all Questions, by their number."""
MORE = 2
"""Octets that say that another Ask follows."""
PROMISE = {1: 206, 2: 273, 3: 340, 4: 407}
"""Octets of the broker's promise, which the first reply carries: it names every Question of the Ask."""
_COUNTED = {
    (sodium, "_scalarmult"): "multiply",
    (sodium, "_scalarmult_base"): "multiply_base",
    (sodium, "_add"): "add",
    (sodium, "_from_hash"): "hash_to_group",
    (nacl.bindings, "crypto_sign"): "sign",
    (nacl.bindings, "crypto_sign_open"): "verify",
}


@contextmanager
def counting() -> Iterator[Counter[str]]:
    """How often each operation of the libraries was done, by everybody in this process."""
    found: Counter[str] = Counter()

    lock = threading.Lock()

    def counted(name: str, real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any) -> Any:
            with lock:
                found[name] += 1
            return real(*args)

        return call

    with _patched(counted):
        yield found


@contextmanager
def _patched(counted: Callable[[str, Callable[..., Any]], Callable[..., Any]]) -> Iterator[None]:
    patches = [
        patch.object(module, function, counted(name, getattr(module, function)))
        for (module, function), name in _COUNTED.items()
    ]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in patches:
            one.stop()


class Passing(Hands):
    """Counts the messages of a lookup that pass the broker, and their octets."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.octets: dict[str, list[int]] = {}

    def begin(self, signed: Signed) -> Signed:
        return self._note("begin", signed)

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        return self._note("begun", begun)

    def ask(self, ask: Ask) -> Ask:
        return self._note("ask", ask)

    def to_source(self, source: str, message: AttachResponse) -> Sequence[AttachResponse]:
        return [self._note("question", message)]

    def from_source(self, source: str, message: AttachRequest) -> Sequence[AttachRequest]:
        return [self._note("answer", message)]

    def to_requester(self, message: LookupResponse) -> Sequence[LookupResponse]:
        return [self._note("reply", message)]

    def _note(self, kind: str, message: M) -> M:
        self.octets.setdefault(kind, []).append(message.ByteSize())
        return message


@dataclass
class Setting:
    world: World
    stage: Stage
    requester: Node
    source: Node
    """Every purpose that it answers has a filter in service."""
    folder: Path

    async def cost(self, sources: int) -> tuple[Counter[str], Passing]:
        """One lookup at so many sources: operations, and what passed."""
        chosen = [one.oin for one in SOURCES[:sources]]
        await self.requester.asker.open_purpose(ZVH_WEIGHING, chosen, HAARLEM.oin)
        passing = Passing(self.world)
        self.stage.take(passing)
        with counting() as found:
            outcomes = await ask(self.requester, self.world, ZVH_WEIGHING, [self.world.somebody], chosen, HAARLEM.oin)
        assert {str(one.outcome) for one in outcomes} == {"bekend"}
        assert len(outcomes) == sources
        return found, passing

    def rows(self) -> dict[str, Counter[str]]:
        """Rows per table of the broker, the requester and one source."""
        return {
            "broker": _rows(self.folder / "broker" / "broker.db"),
            "requester": _rows(self.folder / ZVH.oin / "node.db"),
            "source": _rows(self.folder / RECLASSERING.oin / "node.db"),
        }


def _rows(path: Path) -> Counter[str]:
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return Counter({name: connection.execute(f"SELECT count(*) FROM {name}").fetchone()[0] for name in tables})


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp("counted")
    world = World.build(folder / "world")
    stage = Stage(world)
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(hostile_broker(stage, folder / "broker"))
        nodes = {
            one: await stack.enter_async_context(
                real_node(world, one.oin, folder / one.oin, broker.port, [ZVH_WEIGHING])
            )
            for one in SOURCES
        }
        requester = await stack.enter_async_context(real_node(world, ZVH.oin, folder / ZVH.oin, broker.port))
        yield Setting(world, stage, requester, nodes[OM], folder)


async def test_a_lookup_costs_what_the_protocol_prescribes_and_no_operation_more(setting: Setting) -> None:
    for sources in (1, 2, 4):
        # What nodes do by the minute may fall into one lookup, not into two.
        found = [(await setting.cost(sources))[0] for _ in range(2)]
        prescribed = lookup(sources)
        assert {name: prescribed[name] for name in _COUNTED.values()} in found, found


async def test_a_lookup_is_three_messages_and_three_more_per_source_each_of_one_length(setting: Setting) -> None:
    for sources in (1, 2, 4):
        _, passing = await setting.cost(sources)
        (begin,), (begun,), (ask_octets,) = (passing.octets[kind] for kind in ("begin", "begun", "ask"))
        first, *others = passing.octets["reply"]
        assert (begin, begun, ask_octets) == (260, 100, ASK[sources])
        assert passing.octets["question"] == [1_853] * sources
        assert passing.octets["answer"] == [*others, first - PROMISE[sources]] == [1_599] * sources


async def test_a_further_ask_costs_a_message_and_a_promise(setting: Setting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asks, "SEVERAL", 2)
    monkeypatch.setattr(asks, "FIRST", 1)
    found = []
    for _ in range(2):
        before = setting.rows()
        operations, passing = await setting.cost(4)
        after = setting.rows()
        found.append(operations)
        assert passing.octets["ask"] == [ASK[1] + MORE, 3 * ASK[1]]
        assert sorted(passing.octets["reply"]) == sorted([1_599 + PROMISE[1], 1_599, 1_599, 1_599 + PROMISE[3]])
        # One row of decisions and one own record, as if there had been one Ask.
        left = {who: after[who] - before[who] for who in before}
        assert (left["broker"]["decision"], left["broker"]["log"]) == (1, 5)
        assert [left["requester"][table] for table in ("decision", "own_record", "promise", "log")] == [1, 2, 2, 8]
    prescribed = lookup(4, asks=2)
    assert {name: prescribed[name] for name in _COUNTED.values()} in found, found


async def test_a_lookup_leaves_these_rows_and_no_others(setting: Setting) -> None:
    for sources in (1, 2, 4):
        before = setting.rows()
        await setting.cost(sources)
        after = setting.rows()
        left = {who: dict(after[who] - before[who]) for who in before}
        trees = {who: rows.pop("tree", 0) for who, rows in left.items()}
        assert left == {
            "broker": {"log": 1 + sources, "seen": 1 + sources, "decision": 1, **_open(sources)},
            "requester": {"log": 2 * sources, "own_record": 2, "decision": 1, "promise": 1, **_signals(left)},
            "source": {} if sources == 1 else {"log": 1, "answered": 1, "sealed": 1},
        }
        assert trees == {who: _tree(after[who]["log"]) - _tree(before[who]["log"]) for who in trees}


def _tree(entries: int) -> int:
    """Nodes of a Merkle tree of so many entries that no later entry changes (RFC 9162 section 2.1.1)."""
    return 2 * entries - entries.bit_count()


def _open(sources: int) -> dict[str, int]:
    """A source under a standing decision may fall back to a colleague: its Questions stay open at the broker."""
    return {"open_question": sources}


def _signals(left: dict[str, dict[str, int]]) -> dict[str, int]:
    """What the hour and the repeats of this test make the node tell its privacy officer."""
    return {"signal": left["requester"]["signal"]} if "signal" in left["requester"] else {}


async def test_a_second_without_questions_costs_four_short_reads_and_wakes_no_writer(setting: Setting) -> None:
    node, work, real = setting.source, Counter[str](), Database.rows

    def rows(self: Database, query: str, parameters: Any = ()) -> Any:
        work["rows"] += 1
        return real(self, query, parameters)

    def read(self: Database, statement: Any) -> Any:
        raise AssertionError("a node that nobody asks begins a transaction to read")

    async def write(self: Database, statement: Any) -> Any:
        raise AssertionError("a node that nobody asks writes")

    with (
        patch.object(Database, "rows", rows),
        patch.object(Database, "read", read),
        patch.object(Database, "write", write),
    ):
        await node.filters.tick()
        await node.asker.collector.tick()
        await node.keeping.tick()
    assert work == {"rows": 4}


async def test_looking_at_itself_a_node_walks_through_no_table_that_grows(setting: Setting) -> None:
    node, real, real_rows = setting.source, Database.read, Database.rows
    plans: list[str] = []

    def rows(self: Database, query: str, parameters: Sequence[object] = ()) -> Any:
        plans.extend(row[3] for row in real_rows(self, f"EXPLAIN QUERY PLAN {query}", parameters))
        return real_rows(self, query, parameters)

    def read(self: Database, statement: Callable[[sqlite3.Connection], Any]) -> Any:
        def planned(connection: sqlite3.Connection) -> Any:
            said: list[str] = []
            connection.set_trace_callback(said.append)
            try:
                return statement(connection)
            finally:
                connection.set_trace_callback(None)
                for words in said:
                    plans.extend(row[3] for row in connection.execute(f"EXPLAIN QUERY PLAN {words}"))

        return real(self, planned)

    with patch.object(Database, "read", read), patch.object(Database, "rows", rows):
        node.measure()
        node.status()
    assert "SEARCH log" in plans
    walked = {plan.split()[1] for plan in plans if plan.startswith("SCAN")}
    assert not walked & {"answered", "sealed", "log", "own_record", "decision", "promise", "tree"}, plans


async def test_an_enrolled_person_costs_what_the_protocol_prescribes(tmp_path: Path, authority: Authority) -> None:
    federation = Federation.create(tmp_path, authority)
    home = NodeHome.create(federation, POLITIE.oin)
    (register,) = POLITIE.registers
    people = [parse_identifier("bsn", value) for value in VALID if value != CANARY]
    costs = []
    async with federation.broker() as broker:
        for chunks in (1, 2):
            file = home.csv(register, people[: 1_024 * chunks - 1])
            with counting() as found:
                await home.enrol(broker.port, register, file)
            costs.append(found)
    # With the canary these are full chunks: no padding. One more, of 1,024, for each of the register's two purposes;
    # whatever is done once per import falls away.
    elements = 2 * 1_024
    more = Counter(costs[1])
    more.subtract(costs[0])
    per_person = {name: round(more[name] / elements, 2) for name in ("multiply", "add", "hash_to_group")}
    assert per_person == {name: PER_ENROLLED[name] for name in per_person}
