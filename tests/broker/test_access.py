"""An access request at the broker: evaluated under every month, for this partner's officer alone, once, counted."""

import secrets
from collections.abc import Awaitable
from datetime import timedelta
from typing import Any

import pytest
from bekend_broker.access import A_DAY, AHEAD, OLDEST
from bekend_deploy.partners import POLITIE
from bekend_proto import channel, dleq, group, oprf
from bekend_proto.channel import LABEL_ACCESS
from bekend_proto.clock import add_months, milliseconds, month_of, month_start
from bekend_proto.errors import BekendError, StorageError, code_name
from bekend_proto.octets import blake
from bekend_proto.v1 import broker_pb2, signed_pb2
from nacl.signing import SigningKey

from tests.support.federation import PEOPLE, Federation, Party, metric, told


def make(party: Party, r: bytes | None = None, **changes: Any) -> signed_pb2.SubjectAccess:
    facts: dict[str, Any] = {
        "protocol_version": 1,
        "request_id": secrets.token_bytes(16),
        "requester": party.oin,
        "element": group.multiply(r or group.random_scalar(), oprf.hash_identifier(PEOPLE[0])),
        "time": milliseconds(party.clock.now()),
    }
    return signed_pb2.SubjectAccess(**(facts | changes))


def signed(party: Party, message: signed_pb2.SubjectAccess, key: SigningKey | None = None) -> signed_pb2.Signed:
    return channel.sign_message(key or party.officer_signing, LABEL_ACCESS, message)


async def call(party: Party, request: signed_pb2.Signed) -> broker_pb2.AccessResponse:
    response = await told(party.stub.Access(broker_pb2.AccessRequest(request=request), timeout=10))
    assert isinstance(response, broker_pb2.AccessResponse)
    return response


async def refused(call: Awaitable[object]) -> str:
    """The name of the code with which a call is refused."""
    with pytest.raises(BekendError) as fault:
        await call
    return code_name(fault.value.code)


async def test_every_month_whose_records_live_is_evaluated_and_proved(federation: Federation, om: Party) -> None:
    now = federation.clock.now()
    for months in (-1, -2, -14):
        federation.make_keys(month_start(add_months(month_of(now), months)))
    r = group.random_scalar()
    async with federation.broker():
        response = await call(om, signed(om, make(om, r)))
    keys = federation.broker_manifest.record_keys
    assert [one.month for one in response.months] == sorted(keys)
    assert add_months(month_of(now), -14) in keys
    element = group.multiply(r, oprf.hash_identifier(PEOPLE[0]))
    for one in response.months:
        dleq.verify(keys[one.month], [element], [one.evaluated], one.proof)


async def test_it_finishes_to_the_same_u_as_the_lookup_did(federation: Federation, om: Party) -> None:
    r = group.random_scalar()
    async with federation.broker():
        lookup = await om.lookup("demo/zsm-context").begin()
        response = await call(om, signed(om, make(om, r)))
    month = month_of(federation.clock.now())
    evaluated = next(one.evaluated for one in response.months if one.month == month)
    assert oprf.finalize(PEOPLE[0].canonical, oprf.unblind(r, evaluated)) == lookup.u_values[0]


async def test_must_04_only_the_officers_key_of_this_partners_manifest_counts(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker:
        for request in (
            signed(om, make(om), om.signing),
            signed(om, make(om), politie.officer_signing),
            signed(om, make(om), SigningKey.generate()),
            channel.sign_message(om.officer_signing, channel.LABEL_BEGIN, make(om)),
        ):
            assert await refused(call(om, request)) == "signature"
        # Another partner's request, whole, over the own line: the signature is not of the caller's officer.
        assert await refused(call(om, signed(politie, make(politie)))) == "signature"
        assert await refused(call(om, signed(om, make(om, requester=POLITIE.oin)))) == "unknown_partner"
        assert metric(broker, "bekend_broker_accesses_total") == 0


async def test_a_partner_whose_manifest_names_no_such_key_is_refused(federation: Federation, om: Party) -> None:
    om.renew_manifest(privacy_officer_signing=None)
    async with federation.broker():
        assert await refused(call(om, signed(om, make(om)))) == "keys"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"element": bytes(32)}, "malformed"),
        ({"element": b"\xff" * 32}, "malformed"),
        ({"element": b"x" * 31}, "malformed"),
        ({"request_id": b"short"}, "malformed"),
        ({"protocol_version": 2}, "version"),
        ({"time": 2**64 - 1}, "stale"),
    ],
)
async def test_what_is_not_well_formed_is_refused(
    federation: Federation, om: Party, change: dict[str, Any], code: str
) -> None:
    async with federation.broker() as broker:
        before = broker.log_entries()
        assert await refused(call(om, signed(om, make(om, **change)))) == code
        assert broker.log_entries() == before


@pytest.mark.parametrize(("age", "taken"), [(OLDEST, True), (-AHEAD, True), (OLDEST + timedelta(seconds=1), False),
                                            (-AHEAD - timedelta(seconds=1), False)])  # fmt: skip
async def test_it_may_come_from_a_machine_without_a_network(
    federation: Federation, om: Party, age: timedelta, taken: bool
) -> None:
    async with federation.broker():
        request = signed(om, make(om, time=milliseconds(federation.clock.now() - age)))
        if taken:
            assert (await call(om, request)).months
        else:
            assert await refused(call(om, request)) == "stale"


async def test_must_05_a_request_is_taken_once_for_as_long_as_it_is_fresh(federation: Federation, om: Party) -> None:
    request = signed(om, make(om, time=milliseconds(federation.clock.now() + AHEAD)))
    async with federation.broker():
        await call(om, request)
        assert await refused(call(om, request)) == "stale"
    federation.clock.advance(OLDEST)
    async with federation.broker():
        assert await refused(call(om, request)) == "stale"


async def test_the_budget_of_a_day_is_small_and_survives_a_restart(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker():
        for _ in range(A_DAY):
            await call(om, signed(om, make(om)))
        assert await refused(call(om, signed(om, make(om)))) == "budget"
        assert (await call(politie, signed(politie, make(politie)))).months
    async with federation.broker():
        assert await refused(call(om, signed(om, make(om)))) == "budget"
        federation.clock.advance(timedelta(days=1))
        assert (await call(om, signed(om, make(om)))).months


async def test_the_log_holds_its_hash_and_nothing_at_the_broker_is_about_the_person(
    federation: Federation, om: Party, capsys: pytest.CaptureFixture[str]
) -> None:
    request = signed(om, make(om))
    async with federation.broker() as broker:
        response = await call(om, request)
        rows = federation.rows("SELECT kind, hash FROM log WHERE kind = 'access'")
        assert rows == [("access", blake(32, b"bekend1-access", request.payload + request.signature))]
        assert metric(broker, "bekend_broker_accesses_total") == 1
    element = signed_pb2.SubjectAccess.FromString(request.payload).element
    left = federation.left_behind()
    left.append(capsys.readouterr().err.encode())
    for value in (element, *(one.evaluated for one in response.months)):
        assert not any(form in text for text in left for form in (value, value.hex().encode()))


async def test_must_07_no_log_no_evaluation(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        await federation.break_once(broker)
        with pytest.raises(StorageError):
            await call(om, signed(om, make(om)))
        assert metric(broker, "bekend_broker_accesses_total") == 0
        assert broker.log_entries() == 0
