"""What everybody but the requester sees is the same whatever the answer is: hit, no hit or shielded."""

import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from bekend_deploy.partners import HAARLEM, RECLASSERING, ZVH, ZVH_WEIGHING
from bekend_node.app import Node
from bekend_node.ask.blinds import derive
from bekend_proto.errors import RefusedError
from bekend_proto.identifiers import Identifier, parse_identifier
from bekend_proto.records import seal_hash
from bekend_proto.v1.broker_pb2 import Ask, AttachRequest, AttachResponse, Begun, LookupResponse
from bekend_proto.v1.signed_pb2 import Begin, Question, Signed
from nacl.public import SealedBox

from tests.evil.hostile_broker import Hands, Stage, hostile_broker
from tests.evil.world import World, ask, enrol, real_node

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Watching(Hands):
    """Notes kind and length of every message that passes, in their order, and keeps the signed Questions."""

    def __init__(self, world: World) -> None:
        super().__init__(world)
        self.seen: list[tuple[str, int]] = []
        self.questions: list[Question] = []

    def begin(self, signed: Signed) -> Signed:
        self._note("begin", signed)
        return signed

    def begun(self, begin: Begin, begun: Begun) -> Begun:
        self._note("begun", begun)
        return begun

    def ask(self, ask: Ask) -> Ask:
        self._note("ask", ask)
        self.questions += [Question.FromString(routed.question.payload) for routed in ask.questions]
        return ask

    def to_source(self, source: str, message: AttachResponse) -> Iterable[AttachResponse]:
        self._note(f"to {source}", message)
        return [message]

    def from_source(self, source: str, message: AttachRequest) -> Iterable[AttachRequest]:
        self._note(f"from {source}", message)
        return [message]

    def to_requester(self, message: LookupResponse) -> Iterable[LookupResponse]:
        self._note("reply", message)
        return [message]

    def _note(self, kind: str, message: Any) -> None:
        self.seen.append((kind, message.ByteSize()))


@dataclass
class Setting:
    world: World
    stage: Stage
    haarlem: Node
    zvh: Node
    source: Node
    shielded: Identifier

    @property
    def three(self) -> dict[str, Identifier]:
        """Somebody known, somebody unknown, somebody shielded."""
        return {"hit": self.world.somebody, "no hit": self.world.nobody, "shielded": self.shielded}

    async def watch(self, *persons: Identifier, requester: Node | None = None) -> tuple[Watching, list[str]]:
        """A lookup, what passed of it, and what the officer was told."""
        node = requester or self.haarlem
        namens = HAARLEM.oin if node is self.zvh else None
        await node.asker.open_purpose(ZVH_WEIGHING, [RECLASSERING.oin], namens)
        watching = Watching(self.world)
        self.stage.take(watching)
        found = await ask(node, self.world, ZVH_WEIGHING, persons, [RECLASSERING.oin], namens)
        # What the asking node notices of its officer is written, and logged, after the lookup.
        assert node.asker._signals is not None
        await node.asker._signals.settle()
        return watching, [str(one.outcome) for one in found]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def setting(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Setting]:
    folder = tmp_path_factory.mktemp("alike")
    world = World.build(folder / "world")
    stage = Stage(world)
    shielded = min(world.known(RECLASSERING.oin, ZVH_WEIGHING) - {world.somebody}, key=lambda one: one.value)
    enrol(world, RECLASSERING.oin, folder / "source", [ZVH_WEIGHING], shielded=[shielded])
    async with AsyncExitStack() as stack:
        broker = await stack.enter_async_context(hostile_broker(stage, folder / "broker"))
        source = await stack.enter_async_context(
            real_node(world, RECLASSERING.oin, folder / "source", broker.port, [ZVH_WEIGHING])
        )
        haarlem = await stack.enter_async_context(real_node(world, HAARLEM.oin, folder / "haarlem", broker.port))
        zvh = await stack.enter_async_context(real_node(world, ZVH.oin, folder / "zvh", broker.port))
        yield Setting(world, stage, haarlem, zvh, source, shielded)


async def test_a_shielded_person_is_geen_uitsluitsel(setting: Setting) -> None:
    told = {name: (await setting.watch(person))[1] for name, person in setting.three.items()}
    assert told == {"hit": ["bekend"], "no hit": ["geen_uitsluitsel"], "shielded": ["geen_uitsluitsel"]}


async def test_must_09_every_message_has_one_length_and_order_whatever_comes_out(setting: Setting) -> None:
    seen = [(await setting.watch(person))[0].seen for person in setting.three.values()]
    assert seen[0] == seen[1] == seen[2]
    # Not vacuous: Begin, Begun, Ask, the question, its answer, the reply.
    assert [kind.split()[0] for kind, _ in seen[0]] == ["begin", "begun", "ask", "to", "from", "reply"]


async def test_must_09_a_family_has_one_length_whoever_is_known(setting: Setting) -> None:
    one, other = setting.three["hit"], setting.three["no hit"]
    seen = []
    for persons in ((one, other, setting.shielded), (other, one, setting.shielded)):
        watching, told = await setting.watch(*persons, requester=setting.zvh)
        assert sorted(told) == ["bekend", "geen_uitsluitsel", "geen_uitsluitsel"]
        seen.append(watching.seen)
    assert seen[0] == seen[1]


def _rows(path: Path) -> dict[str, list[tuple[int, ...]]]:
    """Per table the length of every column of every row, but for what depends on the number of entries and the time."""
    apart = {"budget", "spent", "sqlite_sequence", "own_record", "log", "tree", "checkpoint", "log_seen"}
    numbered = {"answered", "sealed"}  # their first column
    with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as connection:
        tables = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {
            table: [tuple(len(str(v)) if not isinstance(v, bytes) else len(v) for v in row[table in numbered :])
                    for row in connection.execute(f"SELECT * FROM {table}")]
            for table in tables if table not in apart
        }  # fmt: skip


async def test_fg_13_the_source_keeps_and_logs_the_same_of_a_hit_and_a_miss(
    setting: Setting, capsys: pytest.CaptureFixture[str]
) -> None:
    store = setting.source.config.data / "node.db"
    kept, logged = [], []
    for person in setting.three.values():
        before = _rows(store)
        capsys.readouterr()
        await setting.watch(person)
        lines = [json.loads(line) for line in capsys.readouterr().err.splitlines() if line.startswith("{")]
        logged.append([_without_ids(line) for line in lines])
        after = _rows(store)
        kept.append({table: sorted(set_minus(after[table], before[table])) for table in after})
    assert kept[0] == kept[1] == kept[2]
    assert kept[0]["answered"]
    assert kept[0]["sealed"]
    assert logged[0] == logged[1] == logged[2]
    assert logged[0]


def set_minus(after: Sequence[tuple[int, ...]], before: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    left = list(after)
    for row in before:
        left.remove(row)
    return left


async def test_fg_16_one_requester_sees_nothing_of_another(setting: Setting) -> None:
    """Haarlem asks about somebody; then what ZVH sees is what it would have seen, and nothing joins the two."""
    person = setting.three["hit"]
    alone, told_alone = await setting.watch(person, requester=setting.zvh)
    first, _ = await setting.watch(person)
    after, told_after = await setting.watch(person, requester=setting.zvh)
    assert after.seen == alone.seen
    assert told_after == told_alone == ["bekend"]
    fields = [
        {*question.elements, *question.seal_hashes, question.x25519, question.mlkem, question.case_commitment}
        for watching in (alone, first, after)
        for question in watching.questions
    ]
    assert len(set().union(*fields)) == sum(map(len, fields)) == 15


async def test_must_22_the_sealed_record_of_the_requester_opens_every_question(setting: Setting) -> None:
    """From the own sealed record alone, opened by the privacy officer, every byte of the Question comes back."""

    watching, _ = await setting.watch(*list(setting.three.values())[:2], requester=setting.zvh)
    question = watching.questions[0]
    box = SealedBox(setting.world.privacy_officer(ZVH.oin))
    records = [json.loads(box.decrypt(one.sealed)) for one in setting.zvh.store.own_records("lookup")]
    content = next(one for one in records if one["questions"][0]["question_id"] == question.question_id.hex())
    people = [parse_identifier(one["kind"], one["value"].strip()) for one in content["identifiers"]]
    secret = derive(bytes.fromhex(content["seed"]), people, [RECLASSERING.oin])
    assert list(secret.source(RECLASSERING.oin).elements) == list(question.elements)

    begun = Begun.FromString(base64.b64decode(content["begun"]))
    officer = setting.world.manifest(RECLASSERING.oin).privacy_officer
    assert officer is not None
    sealed = secret.sealed_records(
        secret.finalize(begun.evaluated),
        requester=ZVH.oin,
        source=RECLASSERING.oin,
        purpose=ZVH_WEIGHING,
        question_id=question.question_id,
        privacy_officer=officer,
    )
    assert [seal_hash(one) for one in sealed] == list(question.seal_hashes)
    # And they are what the source keeps.
    kept = setting.source.store.answered(question.question_id)
    assert kept is not None
    assert kept[2] == sealed


async def test_nobody_asks_itself_about_another_than_its_canary(setting: Setting) -> None:
    """The node's own code admits nobody else: the officer is told to look in the own system."""

    with pytest.raises(RefusedError):
        await ask(setting.haarlem, setting.world, ZVH_WEIGHING, [setting.world.somebody], [HAARLEM.oin])


def _without_ids(line: dict[str, Any]) -> dict[str, Any]:
    """A log line without its moment; of the ids, which are random, their length."""
    return {key: len(value) if key in {"trace", "lookup"} else value for key, value in line.items() if key != "time"}
