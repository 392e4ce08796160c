"""The log seen from outside: what is signed holds, what is asked is proved, and nothing unsigned is (FG-29)."""

import asyncio
import secrets
from dataclasses import replace
from typing import Any

import pytest
from bekend_broker.app import Broker
from bekend_broker.checkpoints import MOST_ALARMS
from bekend_deploy.partners import BROKER_OIN, ZSM_CONTEXT
from bekend_proto import checkpoint, log_table, merkle
from bekend_proto.channel import LABEL_PROMISE, open_signed, question_hash
from bekend_proto.checkpoint import Checkpoint, log_origin
from bekend_proto.errors import KeysError, LogError, MalformedError, SignatureError, StaleError
from bekend_proto.log_table import Entry
from bekend_proto.note import Note, NoteSignature, parse_note
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from tests.support.federation import Federation, Party, metric, told

ORIGIN = log_origin(BROKER_OIN, "main")


async def get_checkpoint(party: Party) -> tuple[Checkpoint, bytes]:
    note = (await told(party.stub.GetCheckpoint(broker_pb2.GetCheckpointRequest(), timeout=10))).checkpoint
    return checkpoint.open_checkpoint(note, party.federation.broker_manifest.signing_keys), note


async def consistency(party: Party, older: Checkpoint, newer: Checkpoint) -> list[bytes]:
    request = broker_pb2.GetConsistencyProofRequest(log_id=newer.log_id, older=older.size, newer=newer.size)
    return list((await told(party.stub.GetConsistencyProof(request, timeout=10))).hashes)


async def inclusion(party: Party, head: Checkpoint, *indexes: int, size: int | None = None) -> Any:
    request = broker_pb2.GetInclusionProofRequest(log_id=head.log_id, indexes=indexes, size=size or head.size)
    return (await told(party.stub.GetInclusionProof(request, timeout=10))).paths


async def begun(broker: Broker, party: Party, count: int) -> Checkpoint:
    """So many entries more, and a checkpoint over them."""
    for _ in range(count):
        await party.lookup(ZSM_CONTEXT).begin()
    await broker._checkpoints.make()
    return (await get_checkpoint(party))[0]


async def test_fg_29_a_checkpoint_holds_every_entry_and_goes_on_from_the_last(
    federation: Federation, om: Party
) -> None:
    async with federation.broker() as broker:
        empty, _ = await get_checkpoint(om)
        assert empty == Checkpoint(ORIGIN, 0, merkle.EMPTY_ROOT)
        older = await begun(broker, om, 3)
        newer = await begun(broker, om, 4)
        assert (older.size, newer.size) == (3, 7)
        entries = broker.store.read(lambda c: log_table.entries(c, 0, 7))
        assert {(one.kind, one.requester, one.source) for one in entries} == {("begin", om.oin, "")}
        frontier = merkle.Frontier((0, one.leaf()) for one in entries)
        assert frontier.root() == newer.root
        merkle.verify_consistency(3, older.root, 7, newer.root, await consistency(om, older, newer))
        for index, path in enumerate(await inclusion(om, newer, *range(7))):
            merkle.verify_inclusion(entries[index].leaf(), index, 7, list(path.hashes), newer.root)


async def test_no_checkpoint_is_made_of_a_log_that_did_not_grow(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        await begun(broker, om, 1)
        _, note = await get_checkpoint(om)
        await broker._checkpoints.make()
        assert (await get_checkpoint(om))[1] == note
        assert metric(broker, "bekend_broker_log_entries") == 1


async def test_nothing_is_proved_beyond_what_is_signed(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        head = await begun(broker, om, 2)
        await om.lookup(ZSM_CONTEXT).begin()
        with pytest.raises(StaleError):
            await inclusion(om, head, 0, size=3)
        with pytest.raises(StaleError):
            await consistency(om, head, Checkpoint(ORIGIN, 3, head.root))
        with pytest.raises(StaleError):
            await inclusion(om, Checkpoint(log_origin(BROKER_OIN, "other"), 2, head.root), 0)
        with pytest.raises(MalformedError):
            await inclusion(om, head, 2)
        with pytest.raises(MalformedError):
            await inclusion(om, head, *([0] * 401))
        with pytest.raises(MalformedError):
            await consistency(om, Checkpoint(ORIGIN, 0, head.root), head)


async def test_fg_29_a_promise_comes_with_the_first_reply_and_is_kept(
    federation: Federation, om: Party, politie: Party, reclassering: Party
) -> None:
    async with federation.broker() as broker, politie.attached(), reclassering.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        questions = [lookup.question(politie.oin), lookup.question(reclassering.oin)]
        await lookup.ask(*questions)
        replies = [await told(lookup.call.read()) for _ in questions]
        assert [one.HasField("promise") for one in replies] == [True, False]
        keys = federation.broker_manifest.signing_keys
        promise = open_signed(signed_pb2.InclusionPromise, replies[0].promise, LABEL_PROMISE, keys)
        await broker._checkpoints.make()
        head, _ = await get_checkpoint(om)
        assert promise.log_id == head.log_id
        assert promise.requester == om.oin
        assert {one.question_hash for one in promise.promised} == {question_hash(one.question) for one in questions}
        paths = await inclusion(om, head, *(one.index for one in promise.promised))
        for one, path in zip(promise.promised, paths, strict=True):
            leaf = Entry("question", one.question_hash, promise.time, om.oin, one.source).leaf()
            merkle.verify_inclusion(leaf, one.index, head.size, list(path.hashes), head.root)


async def test_a_cosignature_is_kept_and_shown(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker() as broker:
        await begun(broker, om, 1)
        _, note = await get_checkpoint(om)
        for party in (om, politie):
            signed = checkpoint.cosign(note, party.oin, party.signing, 1_800_000_000)
            await told(party.stub.PutCosignature(broker_pb2.PutCosignatureRequest(checkpoint=signed), timeout=10))
        shown = parse_note((await get_checkpoint(om))[1])
        for party in (om, politie):
            keys = [bytes(party.signing.verify_key)]
            assert checkpoint.cosigned_at(shown, party.oin, keys) == 1_800_000_000
        assert metric(broker, "bekend_broker_cosignatures_total") == 2


async def test_a_cosignature_of_another_or_of_another_log_is_refused(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker:
        head = await begun(broker, om, 1)
        _, note = await get_checkpoint(om)

        async def put(party: Party, signed: bytes) -> None:
            await told(party.stub.PutCosignature(broker_pb2.PutCosignatureRequest(checkpoint=signed), timeout=10))

        with pytest.raises(SignatureError):
            await put(politie, checkpoint.cosign(note, om.oin, om.signing, 1))
        with pytest.raises(SignatureError):
            await put(om, checkpoint.cosign(note, om.oin, politie.signing, 1))
        own = Checkpoint(ORIGIN, head.size, head.root).sign(om.signing)
        with pytest.raises(SignatureError):
            await put(om, checkpoint.cosign(own, om.oin, om.signing, 1))
        with pytest.raises(MalformedError):
            await put(om, b"no note")


async def test_fg_29_one_witness_cannot_make_a_checkpoint_that_others_do_not_read(
    federation: Federation, om: Party
) -> None:
    """Beside its cosignature it sends lines of its own making, time after time; or it has a new key each time."""
    async with federation.broker() as broker:
        await begun(broker, om, 1)
        _, bare = await get_checkpoint(om)
        honest = parse_note(checkpoint.cosign(bare, om.oin, om.signing, 1_800_000_000))

        async def put(*lines: NoteSignature) -> None:
            note = Note(honest.text, (*honest.signatures, *lines)).to_bytes()
            await told(om.stub.PutCosignature(broker_pb2.PutCosignatureRequest(checkpoint=note), timeout=10))

        for _ in range(3):
            await put(NoteSignature(checkpoint.witness_name(om.oin), secrets.token_bytes(4), bytes(9_000)))
        first = om.signing
        om.signing = SigningKey.generate()
        om.renew_manifest(signing_keys=(bytes(first.verify_key), bytes(om.signing.verify_key)))
        await om.publish()
        honest = parse_note(checkpoint.cosign(bare, om.oin, om.signing, 1_800_000_001))
        await put()
        shown = parse_note((await get_checkpoint(om))[1])
        assert [line.name for line in shown.signatures] == [ORIGIN, checkpoint.witness_name(om.oin)]
        assert checkpoint.cosigned_at(shown, om.oin, [bytes(om.signing.verify_key)]) == 1_800_000_001


def own_log(party: Party, size: int, *, changed: bool = False, last: bytes = b"") -> tuple[bytes, list[bytes]]:
    """A node's log of so many entries, the last one another where it is given: its checkpoint, its stored hashes."""
    store: list[bytes] = []
    for index in range(size):
        entry = b"changed" if changed and not index else bytes([index])
        leaf = merkle.leaf_hash(last + b"last" if last and index >= 5 else entry)
        store += merkle.completed(index, leaf, store.__getitem__)
    head = Checkpoint(log_origin(party.oin, "node"), size, merkle.root(size, store.__getitem__))
    return head.sign(party.signing), store


async def show(party: Party, note: bytes, older: int, hashes: list[bytes]) -> int:
    request = broker_pb2.PutCheckpointRequest(checkpoint=note, older=older, hashes=hashes)
    return int((await told(party.stub.PutCheckpoint(request, timeout=10))).size)


async def test_fg_29_a_node_cannot_rewrite_its_own_log(federation: Federation, om: Party, politie: Party) -> None:
    async with federation.broker() as broker:
        first, _ = own_log(om, 5)
        assert await show(om, first, 0, []) == 5
        second, store = own_log(om, 9)
        # From another size than the broker holds: it says from where.
        assert await show(om, second, 0, []) == 5
        assert await show(om, second, 5, merkle.consistency_proof(5, 9, store.__getitem__)) == 9
        forked, store = own_log(om, 12, changed=True)
        with pytest.raises(LogError):
            await show(om, forked, 9, merkle.consistency_proof(9, 12, store.__getitem__))
        with pytest.raises(LogError):
            await show(om, first, 9, [])
        assert metric(broker, "bekend_broker_log_alarms") == 2
        kept = broker.store.read(log_table.alarms)
        assert {one.origin for one in kept} == {log_origin(om.oin, "node")}
        assert all(forked in one.evidence or first in one.evidence for one in kept)
        with pytest.raises(SignatureError):
            await show(politie, second, 0, [])


async def test_fg_29_of_two_histories_at_one_moment_one_is_taken(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        first, _ = own_log(om, 5)
        await show(om, first, 0, [])
        shown = []
        for size in range(9, 17):
            # Each goes on from what was seen, and no two of them from one another.
            note, store = own_log(om, size, last=bytes([size]))
            shown.append(show(om, note, 5, merkle.consistency_proof(5, size, store.__getitem__)))
        ends = await asyncio.gather(*shown, return_exceptions=True)
        assert [one for one in ends if isinstance(one, BaseException) and not isinstance(one, LogError)] == []
        (taken,) = broker.store.read(log_table.seen).values()
        assert taken[0].size in {one for one in ends if isinstance(one, int)}
        # Whoever was not taken was told from where to go on, or that it does not.
        assert sum(one == size for one, size in zip(ends, range(9, 17), strict=True)) == 1


async def test_what_a_node_makes_up_of_its_own_log_fills_no_database(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        first, _ = own_log(om, 5)
        await show(om, first, 0, [])
        for size in range(6, 46):
            forked, _ = own_log(om, size, changed=True)
            with pytest.raises(LogError):
                await show(om, forked, 5, [])
        assert len(broker.store.read(log_table.alarms)) == MOST_ALARMS
        assert metric(broker, "bekend_broker_log_alarms") == MOST_ALARMS


async def test_a_replica_whose_log_the_manifest_does_not_name_does_not_start(federation: Federation) -> None:
    federation.write_manifest(lambda manifest: replace(manifest, logs=("second",)))
    with pytest.raises(KeysError, match="does not name log"):
        async with federation.broker():
            pass
