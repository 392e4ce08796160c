"""Two replicas of the broker on one PostgreSQL database: one log, exact budgets, and what one takes the other has.

What a budget, a number of a collect or an id is worth shows when both are asked at the same moment.
"""

import asyncio
import copy
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from secrets import token_bytes

import pytest
from bekend_broker.app import Broker, start_broker
from bekend_broker.config import DatabaseServer
from bekend_broker.store_postgres import PostgresDatabase
from bekend_deploy import covenant as demo
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, VEILIG_THUIS, ZSM_CONTEXT
from bekend_deploy.postgres_server import PostgresServer
from bekend_proto import checkpoint, group, log_table, merkle
from bekend_proto.channel import LABEL_PROMISE, open_signed, question_hash
from bekend_proto.collecting import FIRST_COLLECT
from bekend_proto.errors import BudgetError, StaleError
from bekend_proto.log_table import Entry
from bekend_proto.v1 import broker_pb2, signed_pb2

from tests.support.federation import Federation, Party, told, until
from tests.support.hammer import ACCOUNT
from tests.support.pki import Authority
from tests.support.suspensions import signed, suspension

DAILY = demo.Settings(per_officer=5, per_organisation=10)


@pytest.fixture
def shared(tmp_path: Path, authority: Authority, postgres: PostgresServer) -> Federation:
    """Ten persons a day for each organisation, on a database that replicas share."""
    return Federation.create(tmp_path, authority, settings=DAILY, database=postgres.database())


@dataclass
class Replica:
    """One of them, with a line of every party to it."""

    broker: Broker
    parties: dict[str, Party]

    @property
    def om(self) -> Party:
        return self.parties[OM.oin]

    @property
    def politie(self) -> Party:
        return self.parties[POLITIE.oin]


@asynccontextmanager
async def replica(federation: Federation, name: str) -> AsyncIterator[Replica]:
    """One more replica. Manifests are published at the first that runs only."""
    given = federation.config(checkpoint_seconds=120)
    broker = await start_broker(given.model_copy(update={"data": federation.folder / name}), federation.clock)
    parties = {oin: copy.copy(party) for oin, party in federation.parties.items()}
    try:
        for party in parties.values():
            await party.connect(broker.port)
        yield Replica(broker, parties)
    finally:
        await asyncio.gather(*(party.close() for party in parties.values()))
        await broker.stop(2)


@asynccontextmanager
async def both(federation: Federation) -> AsyncIterator[tuple[Replica, Replica]]:
    async with replica(federation, "a") as one, replica(federation, "b") as other:
        for party in one.parties.values():
            await party.publish()
        await until(lambda: len(other.broker._directory._manifests) == len(federation.parties))
        yield one, other


async def begins(parties: Sequence[Party], each: int) -> int:
    tries = await asyncio.gather(
        *(party.lookup(ZSM_CONTEXT).begin() for _ in range(each) for party in parties), return_exceptions=True
    )
    refused = [one for one in tries if isinstance(one, BaseException)]
    assert all(isinstance(one, BudgetError) for one in refused), refused
    return len(tries) - len(refused)


async def test_a_budget_is_exact_over_replicas_that_are_asked_at_once(shared: Federation) -> None:
    async with both(shared) as (one, other):
        assert await begins([one.om, other.om], 15) == 10
        assert one.broker.log_entries() == other.broker.log_entries() == 10
        shared.clock.advance(timedelta(days=1))
        assert await begins([one.om, other.om], 15) == 10


async def test_must_05_an_id_counts_once_over_all_replicas(shared: Federation) -> None:
    async with both(shared) as (one, other):
        lookups = [it.om.lookup(ZSM_CONTEXT) for it in (one, other)]
        begin = lookups[0].make_begin()
        tries = await asyncio.gather(*(it.begin(begin) for it in lookups), return_exceptions=True)
        assert sorted(type(it).__name__ for it in tries) == ["Lookup", "StaleError"]


async def test_an_import_has_one_budget_over_all_replicas(shared: Federation) -> None:
    async with both(shared) as (one, other):
        for it in (one, other):
            call, _ = await it.politie.open_import(it.politie.enrolment(ZSM_CONTEXT, "politiegegevens-8-13", 1))
            await it.politie.send_chunk(call, 0, [group.random_element()])
            call.cancel()
        with pytest.raises(BudgetError):
            await one.politie.open_import(one.politie.enrolment(ZSM_CONTEXT, "politiegegevens-8-13", 1))


async def test_fg_43_a_suspension_is_in_force_at_every_replica(shared: Federation) -> None:
    note = signed(shared, suspension(shared, "doel", ZSM_CONTEXT, by=POLITIE.oin))
    async with both(shared) as (one, other), other.politie.attached() as source:
        request = broker_pb2.PublishSuspensionRequest(note=note)
        await one.politie.stub.PublishSuspension(request, timeout=10)
        await source.notices.get()
        lookup = await other.om.lookup(ZSM_CONTEXT).begin()
        assert await lookup.outcomes(POLITIE.oin) == {POLITIE.oin: "suspended"}


async def test_a_manifest_that_one_replica_took_is_in_the_directory_of_all(shared: Federation) -> None:
    async with both(shared) as (one, other):
        one.politie.renew_manifest()
        number = await one.politie.publish()
        await until(lambda: other.broker._directory.manifest_of(POLITIE.oin).number == number)
        with pytest.raises(StaleError):
            await other.politie.publish(shared.parties[POLITIE.oin].note)


async def test_a_replica_reads_its_files_again_when_another_serves_a_newer_manifest(shared: Federation) -> None:
    async with both(shared) as (one, other):
        number = shared.write_manifest().number
        assert await one.broker.reload()
        await until(lambda: other.broker._directory.present.manifest.number == number)


async def test_a_question_asked_over_one_replica_is_collected_over_the_other_and_each_number_once(
    shared: Federation,
) -> None:
    async with both(shared) as (one, other):
        vt, name = VEILIG_THUIS.oin, token_bytes(16)
        async with one.parties[vt].attached() as here, other.parties[vt].attached() as there:
            lookup = await one.om.lookup(ZSM_CONTEXT).begin()
            await lookup.ask(lookup.question(vt, question_id=name))
            assert isinstance((await lookup.replies())[vt], broker_pb2.SealedAnswer)
            await other.om.release(name)
            await one.om.collect(name, FIRST_COLLECT)
            for it in (one, other):
                with pytest.raises(StaleError):
                    await it.om.collect(name, FIRST_COLLECT)
            # Both at once: one of them has it.
            tries = await asyncio.gather(
                *(it.om.collect(name, FIRST_COLLECT + 1) for it in (one, other)), return_exceptions=True
            )
            assert sum(isinstance(it, StaleError) for it in tries) == 1
            assert here.exchanges.qsize() + there.exchanges.qsize() == 3


async def test_fg_29_a_promise_of_one_replica_is_kept_by_the_other(shared: Federation) -> None:
    async with both(shared) as (one, other), one.politie.attached():
        lookup = await one.om.lookup(ZSM_CONTEXT).begin()
        question = lookup.question(POLITIE.oin)
        await lookup.ask(question)
        reply = await told(lookup.call.read())
        keys = shared.broker_manifest.signing_keys
        promise = open_signed(signed_pb2.InclusionPromise, reply.promise, LABEL_PROMISE, keys)
        await one.broker.stop(0)
        await other.broker._checkpoints.make()
        note = (await other.om.stub.GetCheckpoint(broker_pb2.GetCheckpointRequest(), timeout=10)).checkpoint
        head = checkpoint.open_checkpoint(note, keys)
        assert promise.log_id == checkpoint.log_id(head.origin)
        (entry,) = promise.promised
        request = broker_pb2.GetInclusionProofRequest(log_id=promise.log_id, size=head.size, indexes=[entry.index])
        (path,) = (await other.om.stub.GetInclusionProof(request, timeout=10)).paths
        leaf = Entry("question", question_hash(question.question), promise.time, OM.oin, POLITIE.oin).leaf()
        merkle.verify_inclusion(leaf, entry.index, head.size, list(path.hashes), head.root)


async def test_checkpoints_of_two_replicas_are_of_one_log(shared: Federation) -> None:
    async with both(shared) as (one, other):
        heads = []
        for it in (one, other, one):
            await begins([it.om], 2)
            await asyncio.gather(one.broker._checkpoints.make(), other.broker._checkpoints.make())
            note = (await it.om.stub.GetCheckpoint(broker_pb2.GetCheckpointRequest(), timeout=10)).checkpoint
            heads.append(checkpoint.open_checkpoint(note, shared.broker_manifest.signing_keys))
        for older, newer in pairwise(heads):
            assert older.origin == newer.origin
            request = broker_pb2.GetConsistencyProofRequest(
                log_id=checkpoint.log_id(newer.origin), older=older.size, newer=newer.size
            )
            proof = (await other.om.stub.GetConsistencyProof(request, timeout=10)).hashes
            merkle.verify_consistency(older.size, older.root, newer.size, newer.root, list(proof))


# --- processes of their own, and one that is killed -----------------------------------------------


def hammering(server: DatabaseServer, tries: int, persons: int, limit: int) -> "subprocess.Popen[str]":
    words = [str(server.socket), server.name, server.user, str(tries), str(persons), str(limit)]
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.support.hammer", *words],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def let_go(*processes: "subprocess.Popen[str]") -> None:
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()


@pytest.mark.parametrize(("persons", "limit"), [((1, 1, 1), 40), ((1, 3, 7), 101)])
def test_processes_that_hammer_one_budget_get_exactly_the_limit(
    postgres: PostgresServer, persons: tuple[int, ...], limit: int
) -> None:
    server = postgres.database()
    processes = [hammering(server, 60, each, limit) for each in persons]
    let_go(*processes)
    told = [process.communicate(timeout=120)[0].split() for process in processes]
    admitted = [[line for line in lines if line != "refused"] for lines in told]
    spent = sum(len(lines) * each for lines, each in zip(admitted, persons, strict=True))
    # Whoever was refused asked for more than was left.
    assert limit - max(persons) < spent <= limit
    assert_whole(server, [bytes.fromhex(line) for lines in admitted for line in lines], spent)


def test_a_process_killed_while_it_hammers_leaves_budget_and_log_equal(postgres: PostgresServer) -> None:
    server = postgres.database()
    killed, other = hammering(server, 400, 1, 10_000), hammering(server, 100, 1, 10_000)
    let_go(killed, other)
    assert killed.stdout is not None
    confirmed = [killed.stdout.readline() for _ in range(20)]
    killed.kill()
    # From the same reader: it holds what it read ahead, up to the middle of a line.
    confirmed += killed.stdout.readlines()
    killed.communicate()
    confirmed += other.communicate(timeout=120)[0].splitlines(keepends=True)
    # What was told is there; of what was not told, budget and log say the same.
    kept = [bytes.fromhex(line.strip()) for line in confirmed if line.endswith("\n")]
    with closing(PostgresDatabase.open(server, BROKER_OIN, "main")) as database:
        logged = database.read(lambda c: [entry.hash for entry in log_table.entries(c, 0, 1 << 40)])
    assert set(kept) <= set(logged)
    assert len(kept) >= 120
    assert_whole(server, logged, len(logged))


def assert_whole(server: DatabaseServer, hashes: list[bytes], spent: int) -> None:
    """The log has each of these once and no other, its tree is theirs, and so much was spent."""
    with closing(PostgresDatabase.open(server, BROKER_OIN, "main")) as database:
        database.check()
        entries = database.read(lambda c: log_table.entries(c, 0, 1 << 40))
        root = database.read(lambda c: merkle.root(len(entries), log_table.reader(c)))
        (row,) = database.read(lambda c: c.execute("SELECT requester, count FROM spent").fetchall())
    assert sorted(entry.hash for entry in entries) == sorted(hashes)
    assert len(set(hashes)) == len(hashes)
    assert row == (ACCOUNT.requester, spent)
    assert root == merkle_root([entry.leaf() for entry in entries])


def merkle_root(leaves: list[bytes]) -> bytes:
    """MTH of RFC 6962, section 2.1, as it is written there."""
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << (len(leaves) - 1).bit_length() - 1
    return merkle.node_hash(merkle_root(leaves[:split]), merkle_root(leaves[split:]))
