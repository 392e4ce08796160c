"""Every reason for which a Begin is refused: nothing is counted, logged or evaluated then (step 3)."""

import asyncio
import secrets
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from bekend_deploy.partners import HAARLEM, OM, VELSEN, ZSM_CONTEXT, ZVH, ZVH_WEIGHING
from bekend_proto.channel import LABEL_BEGIN, sign
from bekend_proto.clock import add_months, milliseconds, month_of
from bekend_proto.errors import (
    BekendError,
    CovenantError,
    KeysError,
    MalformedError,
    RefusedError,
    SignatureError,
    StaleError,
    UnknownPartnerError,
    VersionError,
)
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from tests.support.federation import PEOPLE, Federation, Party, metric

NOT_CANONICAL = b"\x01" + bytes(30) + b"\x80"

REFUSALS: list[tuple[type[BekendError], Callable[[Federation], dict[str, Any]]]] = [
    (UnknownPartnerError, lambda f: {"requester": VELSEN.oin}),
    (VersionError, lambda f: {"protocol_version": 2}),
    (CovenantError, lambda f: {"covenant_hash": bytes(32)}),
    (StaleError, lambda f: {"time": milliseconds(f.clock.now() - timedelta(seconds=60, milliseconds=1))}),
    (StaleError, lambda f: {"time": milliseconds(f.clock.now() + timedelta(seconds=60, milliseconds=1))}),
    (StaleError, lambda f: {"time": 2**63}),
    (KeysError, lambda f: {"record_month": add_months(month_of(f.clock.now()), 1)}),
    (KeysError, lambda f: {"record_month": add_months(month_of(f.clock.now()), -1)}),
    (KeysError, lambda f: {"broker_manifest": f.manifest_number + 1}),
    (KeysError, lambda f: {"requester_manifest": 2}),
    (RefusedError, lambda f: {"purpose": "demo/bestaat-niet"}),
    (RefusedError, lambda f: {"purpose": ""}),
    (RefusedError, lambda f: {"on_behalf_of": VELSEN.oin}),
    (MalformedError, lambda f: {"elements": []}),
    (MalformedError, lambda f: {"elements": [bytes(32)]}),
    (MalformedError, lambda f: {"elements": [NOT_CANONICAL]}),
    (MalformedError, lambda f: {"elements": [secrets.token_bytes(31)]}),
    (MalformedError, lambda f: {"begin_id": bytes(15)}),
]


@pytest.mark.parametrize(("refusal", "change"), REFUSALS)
async def test_a_begin_that_does_not_fit_is_refused(
    federation: Federation, om: Party, refusal: type[BekendError], change: Callable[[Federation], dict[str, Any]]
) -> None:
    async with federation.broker() as broker:
        lookup = om.lookup(ZSM_CONTEXT)
        with pytest.raises(refusal):
            await lookup.begin(lookup.make_begin(**change(federation)))
        assert metric(broker, "bekend_broker_begins_total", purpose=ZSM_CONTEXT, decision="admitted") == 0
        assert broker.log_entries() == 0


async def test_a_covenant_member_without_a_part_in_the_purpose_is_refused(federation: Federation) -> None:
    async with federation.broker():
        with pytest.raises(RefusedError):
            await federation.parties[VELSEN.oin].lookup(ZSM_CONTEXT).begin()


async def test_more_persons_than_the_purpose_allows_are_refused(federation: Federation, om: Party) -> None:
    async with federation.broker():
        with pytest.raises(RefusedError):
            await om.lookup(ZSM_CONTEXT, PEOPLE[:2]).begin()


async def test_a_mandate_is_needed_to_ask_in_anothers_name(federation: Federation) -> None:
    zvh = federation.parties[ZVH.oin]
    async with federation.broker():
        for principal in ("", VELSEN.oin, OM.oin):
            with pytest.raises(RefusedError):
                await zvh.lookup(ZVH_WEIGHING, on_behalf_of=principal).begin()
        await zvh.lookup(ZVH_WEIGHING, on_behalf_of=HAARLEM.oin).begin()


async def test_a_signature_of_no_key_of_the_manifest_is_refused(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = om.lookup(ZSM_CONTEXT)
        om.signing = SigningKey.generate()
        with pytest.raises(SignatureError):
            await lookup.begin()


@pytest.mark.parametrize("label", ["question", "fetch", "enrolment"])
async def test_must_16_a_signature_under_another_label_is_refused(
    federation: Federation, om: Party, label: str
) -> None:
    async with federation.broker():
        lookup = om.lookup(ZSM_CONTEXT)
        payload = lookup.make_begin().SerializeToString(deterministic=True)
        with pytest.raises(SignatureError):
            await lookup.begin(sign(om.signing, f"bekend/1 {label}".encode(), payload))


@pytest.mark.parametrize("tail", [b"\xf8\x07\x01", b"\x08\x01"])
async def test_an_unknown_or_repeated_field_is_refused(federation: Federation, om: Party, tail: bytes) -> None:
    async with federation.broker():
        lookup = om.lookup(ZSM_CONTEXT)
        payload = lookup.make_begin().SerializeToString(deterministic=True) + tail
        with pytest.raises(MalformedError):
            await lookup.begin(sign(om.signing, LABEL_BEGIN, payload))


async def test_must_05_a_begin_is_taken_once_also_after_a_restart(federation: Federation, om: Party) -> None:
    async with federation.broker():
        first = om.lookup(ZSM_CONTEXT)
        begin = om.sign(first.make_begin())
        await first.begin(begin)
        with pytest.raises(StaleError):
            await om.lookup(ZSM_CONTEXT).begin(begin)
    async with federation.broker() as broker:
        with pytest.raises(StaleError):
            await om.lookup(ZSM_CONTEXT).begin(begin)
        assert broker.log_entries() == 1


async def test_must_05_of_two_equal_begins_at_once_one_is_taken(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        begin = om.sign(om.lookup(ZSM_CONTEXT).make_begin())
        tries = await asyncio.gather(*(om.lookup(ZSM_CONTEXT).begin(begin) for _ in range(8)), return_exceptions=True)
        assert sum(not isinstance(one, StaleError) for one in tries) == 1
        assert broker.log_entries() == 1


async def test_a_begin_replayed_when_its_id_is_forgotten_is_too_old(federation: Federation, om: Party) -> None:
    async with federation.broker():
        begin = om.sign(om.lookup(ZSM_CONTEXT).make_begin())
        await om.lookup(ZSM_CONTEXT).begin(begin)
        federation.clock.advance(timedelta(minutes=11))
        await om.lookup(ZSM_CONTEXT).begin()
        with pytest.raises(StaleError):
            await om.lookup(ZSM_CONTEXT).begin(begin)


async def test_no_more_begins_when_the_covenant_has_ended(federation: Federation, om: Party) -> None:
    async with federation.broker():
        federation.clock.set(federation.covenant.valid_until)
        with pytest.raises(CovenantError):
            await om.lookup(ZSM_CONTEXT).begin()


async def test_a_begin_under_a_manifest_that_has_ended_is_refused(federation: Federation, om: Party) -> None:
    om.renew_manifest(valid_until=federation.clock.now() + timedelta(hours=1))
    async with federation.broker():
        await om.lookup(ZSM_CONTEXT).begin()
        federation.clock.advance(timedelta(hours=1))
        with pytest.raises(KeysError):
            await om.lookup(ZSM_CONTEXT).begin()


async def test_an_empty_first_message_is_refused(federation: Federation, om: Party) -> None:
    async with federation.broker():
        lookup = om.lookup(ZSM_CONTEXT)
        await lookup.call.write(broker_pb2.LookupRequest())
        with pytest.raises(MalformedError):
            await lookup.read()
        with pytest.raises(SignatureError):
            await om.lookup(ZSM_CONTEXT).begin(signed_pb2.Signed())
