"""What the broker keeps of its decisions, and the records of the standards that are made of it."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.log import ACCESS
from bekend_broker.store import Store
from bekend_broker.store_decisions import Decisions
from bekend_broker.store_schema import MIGRATIONS
from bekend_deploy.partners import VELSEN, ZSM_CONTEXT
from bekend_policy.decided import Decided
from bekend_policy.decision_log import LOOKUP, Verdict, decision_records, replay
from bekend_policy.model import Covenant
from bekend_policy.processing_log import access_record, passed_on_records, system_of
from bekend_policy.sign import verify_covenant
from bekend_proto import trace
from bekend_proto.decision_table import REFUSALS_A_DAY, DecisionRow, append_decision, decisions_between
from bekend_proto.durable import Database, append_log
from bekend_proto.errors import RefusedError
from bekend_proto.v1 import broker_pb2, signed_pb2

from tests.support.federation import PEOPLE, Federation, Party
from tests.support.standards import check_adl, check_ldv


def kept(federation: Federation) -> list[Decided]:
    with closing(Store.of(federation.config())) as store:
        return store.read(lambda connection: [Decided.of(row) for row in decisions_between(connection, 0, 1 << 60)])


def verified(federation: Federation) -> Covenant:
    """With the signatures that the broker found."""
    return verify_covenant(federation.covenant, federation.operator_vkey, federation.clock.now())


def adl(federation: Federation) -> list[dict[str, Any]]:
    oin = federation.covenant.broker_oin
    return [record for one in kept(federation) for record in decision_records(one, trace.BROKER, oin)]


async def test_fg_28_each_question_that_was_passed_on_has_a_record(
    federation: Federation, om: Party, politie: Party
) -> None:
    covenant = verified(federation)
    async with federation.broker():
        await politie.enrol(ZSM_CONTEXT, "politiegegevens-8-13", PEOPLE[:1])
        async with politie.attached():
            lookup = await om.lookup(ZSM_CONTEXT, PEOPLE[:1]).begin()
            routed = lookup.question(politie.oin)
            await lookup.ask(routed)
            assert isinstance((await lookup.replies())[politie.oin], broker_pb2.SealedAnswer)
    question = signed_pb2.Question.FromString(routed.question.payload)
    (record,) = adl(federation)
    check_adl(record)
    assert record["trace_id"] == question.question_id.hex()
    assert record["parent_span_id"] == trace.span_of(question.question_id, trace.REQUESTER, politie.oin).hex()
    assert record["body"]["adl.core.response"]["decision"]
    assert LOOKUP in record["attributes"]
    assert replay(record, {covenant.hash.hex(): covenant}).verdict is Verdict.EQUAL
    (processing,) = passed_on_records(kept(federation)[0], covenant.broker_oin)
    check_ldv(processing)
    assert processing["attributes"]["dpl.core.foreign_operation.processor"] == system_of(om.oin)
    assert "dpl.core.data_subject_id" not in processing["attributes"]


async def test_a_question_that_the_covenant_refuses_is_on_the_record_too(federation: Federation, om: Party) -> None:
    covenant = verified(federation)
    async with federation.broker():
        for asking, purpose in ((om, "demo/999990019"), (federation.parties[VELSEN.oin], ZSM_CONTEXT)):
            with pytest.raises(RefusedError):
                await asking.lookup(purpose, PEOPLE[:1]).begin()
    records = adl(federation)
    assert records
    for record in records:
        check_adl(record)
        assert not record["body"]["adl.core.response"]["decision"]
        # What a peer made up is not kept: it could say anything.
        assert record["body"]["adl.core.request"]["resource"]["id"] in {"", ZSM_CONTEXT}
        assert replay(record, {covenant.hash.hex(): covenant}).verdict is Verdict.EQUAL
    assert not [record for one in kept(federation) for record in passed_on_records(one, covenant.broker_oin)]


def test_refusals_of_one_partner_fill_no_disk(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "broker.db", MIGRATIONS)
    try:

        def write(connection: sqlite3.Connection) -> list[bool]:
            return [
                append_decision(connection, _refusal(number.to_bytes(16, "big"), at=1000 + number, by="a"))
                for number in range(REFUSALS_A_DAY + 2)
            ]

        assert database.write_sync(write) == [True] * REFUSALS_A_DAY + [False] * 2
        again = database.write_sync(lambda c: append_decision(c, _refusal(bytes(16), at=5, by="b")))
        twice = database.write_sync(lambda c: append_decision(c, _refusal(bytes(16), at=6, by="b")))
        later = database.write_sync(lambda c: append_decision(c, _refusal(bytes(16), at=7 + 86_400_000, by="b")))
        assert (again, twice, later) == (True, False, True)
    finally:
        database.close()


def _refusal(name: bytes, *, at: int, by: str) -> DecisionRow:
    return DecisionRow(at, name, by, "", True, "{}")


def test_fg_28_an_access_request_is_a_processing_about_nobody_that_the_broker_knows(tmp_path: Path) -> None:
    database = Database.open(tmp_path / "broker.db", MIGRATIONS)
    try:
        database.write_sync(lambda c: append_log(c, ACCESS, bytes(range(32)), 1_800_000_000_000))
        ((entry, at),) = Decisions(database).accesses(1_800_000_000_000, 1_800_000_000_001)
    finally:
        database.close()
    record = access_record("00000099000000009000", entry, at, trace.BROKER)
    check_ldv(record)
    assert "dpl.core.data_subject_id" not in record["attributes"]
