"""Enrolment at the broker: proofs that hold, budgets that are exact, and what is refused (protocol section 5)."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import grpc.aio
import pytest
from bekend_deploy.partners import POLITIE, RECLASSERING, VEILIG_THUIS, ZSM_CONTEXT, ZSM_LOCAL
from bekend_proto import dleq, group
from bekend_proto.clock import epoch_of, epoch_start, milliseconds, next_epoch
from bekend_proto.errors import (
    BekendError,
    BudgetError,
    CovenantError,
    FencedError,
    KeysError,
    MalformedError,
    RefusedError,
    SignatureError,
    StaleError,
    UnknownPartnerError,
    VersionError,
)
from bekend_proto.incarnation import METADATA, Incarnation
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from tests.support.federation import Attached, Federation, Party, metric, no_answer, said, told

REGISTER = "politiegegevens-8-13"
SIZE = 4000
LIMIT = (5 + 4) * 1024
"""A quarter above 4,000 persons is 5 chunks, and 4 more may be lost to interruptions."""


@pytest.fixture
def police(politie: Party) -> Party:
    """States 4,000 persons in its register."""
    politie.sizes = {REGISTER: SIZE}
    politie.renew_manifest()
    return politie


def elements(count: int) -> list[bytes]:
    """Random elements: what padding is made of, and what blinded persons look like. One suffices to be counted."""
    return [group.random_element()] * count


REFUSALS: list[tuple[type[BekendError], Callable[[Federation], dict[str, Any]]]] = [
    (UnknownPartnerError, lambda f: {"source": RECLASSERING.oin}),
    (VersionError, lambda f: {"protocol_version": 2}),
    (CovenantError, lambda f: {"covenant_hash": bytes(32)}),
    (StaleError, lambda f: {"time": milliseconds(f.clock.now() - timedelta(seconds=61))}),
    (KeysError, lambda f: {"manifest": 1}),
    (KeysError, lambda f: {"epoch": next_epoch(epoch_of(f.clock.now()))}),
    (KeysError, lambda f: {"epoch": "2020Q1"}),
    (RefusedError, lambda f: {"purpose": "demo/bestaat-niet"}),
    (RefusedError, lambda f: {"purpose": ZSM_LOCAL}),
    (RefusedError, lambda f: {"register": "clienten"}),
    (RefusedError, lambda f: {"register": ""}),
    (MalformedError, lambda f: {"import_id": bytes(15)}),
    (BudgetError, lambda f: {"elements": LIMIT + 1}),
]


@pytest.mark.parametrize(("refusal", "change"), REFUSALS)
async def test_an_enrolment_that_does_not_fit_is_refused(
    federation: Federation, police: Party, refusal: type[BekendError], change: Callable[[Federation], dict[str, Any]]
) -> None:
    async with federation.broker() as broker:
        facts = {"elements": 16} | change(federation)
        purpose, register = facts.pop("purpose", ZSM_CONTEXT), facts.pop("register", REGISTER)
        with pytest.raises(refusal):
            await police.open_import(police.enrolment(purpose, register, facts.pop("elements"), **facts))
        assert broker.log_entries() == 0


async def test_an_enrolment_signed_by_another_key_is_refused(federation: Federation, police: Party) -> None:
    async with federation.broker():
        enrolment = police.enrolment(ZSM_CONTEXT, REGISTER, 16)
        police.signing = SigningKey.generate()
        with pytest.raises(SignatureError):
            await police.open_import(enrolment)


async def test_a_partner_that_the_purpose_never_asks_enrols_nothing(federation: Federation) -> None:
    haarlem = federation.parties["00000099000000004000"]
    async with federation.broker():
        with pytest.raises(RefusedError):
            await haarlem.open_import(haarlem.enrolment(ZSM_CONTEXT, "wmo", 16))


async def test_a_partner_that_decides_by_hand_may_enrol_already(federation: Federation) -> None:
    safe_home = federation.parties[VEILIG_THUIS.oin]
    async with federation.broker():
        _, left = await safe_home.open_import(safe_home.enrolment(ZSM_CONTEXT, "dossiers", 16))
        assert left == 4 * 1024


async def test_chunks_come_back_proven_each_under_its_index(federation: Federation, police: Party) -> None:
    public = federation.broker_manifest.evaluation_keys[POLITIE.oin, ZSM_CONTEXT, epoch_of(federation.clock.now())]
    async with federation.broker() as broker:
        call, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE))
        assert left == LIMIT
        sent = {index: [group.random_element() for _ in range(30 + index)] for index in range(8)}
        for index, chunk in sent.items():
            message = broker_pb2.BlindedChunk(index=index, elements=b"".join(chunk))
            await said(call, broker_pb2.EnrolRequest(chunk=message))
        await call.done_writing()
        seen = set()
        while (response := await told(call.read())) is not grpc.aio.EOF:
            chunk = response.chunk
            evaluated = [chunk.evaluated[at : at + 32] for at in range(0, len(chunk.evaluated), 32)]
            dleq.verify(public, sent[chunk.index], evaluated, chunk.proof)
            seen.add(chunk.index)
        assert seen == set(sent)
        assert metric(broker, "bekend_broker_enrolled_elements_total") == sum(map(len, sent.values()))


@pytest.mark.parametrize(
    "chunk",
    [
        b"",
        bytes(31),
        bytes(33),
        bytes(32),
        b"\x01" + bytes(30) + b"\x80",
        bytes(1025 * 32),
        secrets.token_bytes(32 * 9),
    ],
)
async def test_must_01_a_chunk_of_anything_but_elements_is_refused(
    federation: Federation, police: Party, chunk: bytes
) -> None:
    async with federation.broker():
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16))
        with pytest.raises(MalformedError):
            await police.send_chunk(call, 0, [chunk])


async def test_an_import_gets_its_limit_and_not_one_element_more(federation: Federation, police: Party) -> None:
    async with federation.broker():
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE))
        for index in range(9):
            await police.send_chunk(call, index, elements(1024))
        with pytest.raises(BudgetError):
            await police.send_chunk(call, 9, elements(1))


async def test_an_interrupted_import_goes_on_where_its_budget_was(federation: Federation, police: Party) -> None:
    name = secrets.token_bytes(16)
    async with federation.broker():
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=name))
        await police.send_chunk(call, 0, elements(1000))
        call.cancel()
    async with federation.broker():
        call, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=name))
        assert left == LIMIT - 1000
        await police.send_chunk(call, 1, elements(24))
        _, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=name))
        assert left == LIMIT - 1024


async def test_the_import_of_a_machine_whose_place_was_taken_ends(federation: Federation, police: Party) -> None:
    """A stolen machine would have elements evaluated for hours after another one took its place."""
    async with federation.broker() as broker:
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE))
        await police.send_chunk(call, 0, elements(10))
        fresh = Incarnation(milliseconds(federation.clock.now()), "b" * 32, police.oin)
        metadata = ((METADATA, fresh.statement(police.signing)),)
        attached = Attached(police, police.stub.Attach(metadata=metadata), no_answer)
        await attached.hello()
        with pytest.raises(FencedError):
            await police.send_chunk(call, 1, elements(10))
        assert metric(broker, "bekend_broker_enrolled_elements_total") == 10
        attached.call.cancel()


async def test_two_full_imports_a_month(federation: Federation, police: Party) -> None:
    async with federation.broker():
        names = [secrets.token_bytes(16) for _ in range(3)]
        for name in names[:2]:
            call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=name))
            await police.send_chunk(call, 0, elements(1))
        with pytest.raises(BudgetError):
            await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=names[2]))
        # The two that began may go on, another register has its own two.
        await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=names[0]))
        await police.open_import(police.enrolment(ZSM_CONTEXT, "afgeschermd", 16))
        federation.clock.advance(timedelta(days=31))
        await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE, import_id=names[2]))


async def test_an_import_that_sent_nothing_counts_for_nothing(federation: Federation, police: Party) -> None:
    async with federation.broker():
        for _ in range(3):
            _, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE))
            assert left == LIMIT


async def test_imports_at_once_share_one_budget_exactly(federation: Federation, police: Party) -> None:
    """Three new imports race for the two of this month; one import's chunks race over two streams."""
    async with federation.broker():
        calls = [(await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, SIZE)))[0] for _ in range(3)]
        tries = await asyncio.gather(
            *(police.send_chunk(call, 0, elements(1)) for call in calls), return_exceptions=True
        )
        assert sorted(type(one).__name__ for one in tries) == ["BudgetError", "EvaluatedChunk", "EvaluatedChunk"]


async def test_changes_are_bounded_by_the_day(federation: Federation, police: Party) -> None:
    changes = {"kind": signed_pb2.ENROLMENT_KIND_CHANGES}
    limit = SIZE // 20
    async with federation.broker():
        call, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 128, **changes))
        assert left == limit
        await police.send_chunk(call, 0, elements(128))
        call, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 64, **changes))
        assert left == limit - 128
        await police.send_chunk(call, 0, elements(64))
        with pytest.raises(BudgetError):
            await police.send_chunk(call, 1, elements(16))
        federation.clock.advance(timedelta(days=1))
        _, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 128, **changes))
        assert left == limit


async def test_a_small_register_has_64_changes_a_day_and_shielding_its_own(
    federation: Federation, police: Party
) -> None:
    changes = {"kind": signed_pb2.ENROLMENT_KIND_CHANGES}
    async with federation.broker():
        call, left = await police.open_import(police.enrolment(ZSM_CONTEXT, "afgeschermd", 64, **changes))
        assert left == 64
        await police.send_chunk(call, 0, elements(64))
        with pytest.raises(BudgetError):
            await police.send_chunk(call, 1, elements(16))
        _, left = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 64, **changes))
        assert left == SIZE // 20


async def test_an_import_id_serves_one_epoch_and_one_kind(federation: Federation, police: Party) -> None:
    name = secrets.token_bytes(16)
    async with federation.broker():
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16, import_id=name))
        await police.send_chunk(call, 0, elements(1))
        with pytest.raises(StaleError):
            await police.open_import(
                police.enrolment(ZSM_CONTEXT, REGISTER, 16, import_id=name, kind=signed_pb2.ENROLMENT_KIND_CHANGES)
            )


async def test_the_next_epoch_is_enrolled_from_fourteen_days_before(federation: Federation, police: Party) -> None:
    coming = next_epoch(epoch_of(federation.clock.now()))
    federation.make_keys(epoch_start(coming) - timedelta(days=1))
    public = federation.broker_manifest.evaluation_keys[POLITIE.oin, ZSM_CONTEXT, coming]
    async with federation.broker():
        federation.clock.set(epoch_start(coming) - timedelta(days=14, seconds=1))
        with pytest.raises(KeysError):
            await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16, epoch=coming))
        federation.clock.advance(timedelta(seconds=1))
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16, epoch=coming))
        one = group.random_element()
        chunk = await police.send_chunk(call, 0, [one])
        dleq.verify(public, [one], [chunk.evaluated], chunk.proof)


async def test_an_import_begins_with_its_enrolment_and_ends_when_nothing_comes(
    federation: Federation, police: Party
) -> None:
    async with federation.broker(chunk_seconds=0.1):
        call = police.stub.Enrol()
        await said(call, broker_pb2.EnrolRequest(chunk=broker_pb2.BlindedChunk()))
        with pytest.raises(MalformedError):
            await told(call.read())
        call, _ = await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16))
        with pytest.raises(BekendError):
            await told(call.read())


async def test_a_node_has_so_many_imports_at_once(federation: Federation, police: Party) -> None:
    async with federation.broker(imports_per_node=2):
        calls = [(await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16)))[0] for _ in range(2)]
        with pytest.raises(BudgetError):
            await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16))
        await calls[0].done_writing()
        assert await told(calls[0].read()) is grpc.aio.EOF
        await police.open_import(police.enrolment(ZSM_CONTEXT, REGISTER, 16))
