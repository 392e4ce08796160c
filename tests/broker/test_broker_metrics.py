"""The broker's metrics: closed label sets whatever is sent, and nothing that one question moves."""

import contextlib
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_broker.metrics import ALL, ANSWERED, BATCH, OTHER, Metrics
from bekend_broker.quotas import shares
from bekend_deploy.partners import OM, POLITIE, VEILIG_THUIS, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_policy.decide import RULES
from bekend_proto.clock import day_of
from bekend_proto.errors import BekendError, RefusedError, SuspendedError

from tests.support.federation import Federation, Party, metric, until
from tests.support.metrics import closed_sets, open_labels


async def test_every_label_value_is_of_a_closed_set_whatever_is_sent(
    federation: Federation, om: Party, politie: Party, haarlem: Party
) -> None:
    async with federation.broker() as broker, politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.outcomes(politie.oin, VEILIG_THUIS.oin)
        for party, purpose in (
            (om, "kwaad/'; drop"),
            (om, "999990019"),
            (politie, ZSM_CONTEXT),
            (haarlem, ZVH_WEIGHING),
        ):
            with contextlib.suppress(BekendError):
                await party.lookup(purpose).begin()
        with contextlib.suppress(BekendError):
            await om.fetch("00000099000000009999", "nergens/niets")
        families = list(broker.registry.collect())
        assert metric(broker, "bekend_broker_begins_total", purpose=OTHER, decision="refused") >= 1
        assert sum(metric(broker, "bekend_broker_refusals_by_rule_total", rule=rule) for rule in RULES) >= 2
    assert open_labels(families, closed_sets(federation.covenant)) == []


def test_rules_are_named_and_what_is_no_rule_is_other(federation: Federation) -> None:
    metrics = Metrics()
    metrics.use(federation.covenant, federation.broker_manifest)
    for fault in (RefusedError("D3", ""), RefusedError("<script>", ""), SuspendedError("x"), None):
        metrics.question(ZSM_CONTEXT, fault)

    def count(rule: str) -> float | None:
        return metrics.registry.get_sample_value("bekend_broker_refusals_by_rule_total", {"rule": rule})

    assert [count(rule) for rule in ("D3", OTHER, "stilgezet")] == [1, 1, 1]
    # From nought, so that the first one is an increase.
    assert {count(rule) for rule in RULES if rule != "D3"} == {0}


def test_a_partners_share_of_answers_does_not_move_with_one_question(federation: Federation) -> None:
    metrics = Metrics()
    metrics.use(federation.covenant, federation.broker_manifest)

    def share() -> float | None:
        return metrics.registry.get_sample_value("bekend_broker_partner_answered_ratio", {"partner": OM.oin})

    for number in range(BATCH - 1):
        metrics.reply(OM.oin, ANSWERED if number % 4 else "deadline")
        assert share() is None
    metrics.reply(OM.oin, ANSWERED)
    assert share() == 0.75
    for _ in range(BATCH - 1):
        metrics.reply(OM.oin, "deadline")
        assert share() == 0.75
    metrics.reply("00000099000000009999", ANSWERED)
    assert open_labels(metrics.registry.collect(), closed_sets(federation.covenant)) == []


async def test_attached_partners_by_name_and_in_number(federation: Federation, politie: Party) -> None:
    async with federation.broker() as broker:
        assert metric(broker, "bekend_broker_attached_partners") == 0
        async with politie.attached():
            assert metric(broker, "bekend_broker_partner_attached", partner=POLITIE.oin) == 1
            assert metric(broker, "bekend_broker_partner_attached", partner=OM.oin) == 0
            assert metric(broker, "bekend_broker_attached_partners") == 1
        await until(lambda: metric(broker, "bekend_broker_partner_attached", partner=POLITIE.oin) == 0)


async def test_the_largest_share_of_a_budget_is_told_and_not_whose(federation: Federation, om: Party) -> None:
    async with federation.broker() as broker:
        for _ in range(3):
            await om.lookup(ZSM_CONTEXT).begin()
        spent = broker.store.spent_on(day_of(federation.clock.now()))
    limit = federation.covenant.purposes[ZSM_CONTEXT].limits.per_organisation
    found = shares(spent, federation.covenant)
    assert found[ZSM_CONTEXT] == 3 / limit
    assert found[ALL] == 3 / federation.covenant.totals.per_organisation
    assert found[ZVH_WEIGHING] == 0
    metrics = Metrics()
    metrics.quotas({ZSM_CONTEXT: 0.11, ALL: 1.2})
    ratio = "bekend_broker_quota_used_ratio"
    assert metrics.registry.get_sample_value(ratio, {"purpose": ZSM_CONTEXT}) == 0.2
    assert metrics.registry.get_sample_value(ratio, {"purpose": ALL}) == 1


@pytest.mark.parametrize("name", ["bekend_broker_data_free_bytes", "bekend_build_info"])
async def test_what_is_told_of_machine_and_release(federation: Federation, tmp_path: Path, name: str) -> None:
    async with federation.broker() as broker:
        samples = [one for family in broker.registry.collect() for one in family.samples if one.name == name]
    assert [one.value > 0 for one in samples] == [True]


async def test_how_long_a_lookup_took_stands_under_its_purpose(
    federation: Federation, om: Party, politie: Party
) -> None:
    async with federation.broker() as broker, politie.attached():
        lookup = await om.lookup(ZSM_CONTEXT).begin()
        await lookup.outcomes(politie.oin)
        await until(lambda: metric(broker, "bekend_broker_lookup_seconds_count", purpose=ZSM_CONTEXT) == 1)
        federation.clock.advance(timedelta(seconds=1))
