"""The node's metrics: closed label sets whatever is asked, no partner, and `bekend` and not known are one."""

from datetime import UTC, datetime, time
from pathlib import Path

import pytest
from bekend_deploy.partners import OM, POLITIE, ZSM_CONTEXT
from bekend_node.ask.outcomes import Outcome, OutcomeKind
from bekend_node.metrics import ENDS, NodeMetrics
from bekend_proto.clock import AMSTERDAM, day_of
from bekend_proto.errors import RefusedError, StorageError, SuspendedError
from prometheus_client import CollectorRegistry

from tests.support.federation import PEOPLE, Federation
from tests.support.metrics import closed_sets, open_labels
from tests.support.nodes import NodeHome, bit, fetch
from tests.support.pki import Authority


@pytest.fixture
def federation(tmp_path: Path, authority: Authority) -> Federation:
    return Federation.create(tmp_path, authority)


async def test_every_label_value_is_of_a_closed_set_and_a_hit_looks_like_a_miss(federation: Federation) -> None:
    home = NodeHome.create(federation, POLITIE.oin)
    om = federation.parties[OM.oin]
    async with federation.broker() as broker:
        await home.enrol_all(broker.port, PEOPLE[:1])
        async with home.node(broker.port) as node:
            registry = node._registry

            def now() -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
                return {
                    (sample.name, tuple(sorted(sample.labels.items()))): sample.value
                    for family in registry.collect()
                    for sample in family.samples
                    if sample.name.startswith("bekend_node") and not sample.name.endswith(("_sum", "_bucket", "_bytes"))
                }

            held = await fetch(om, POLITIE.oin, ZSM_CONTEXT)
            node.measure()
            moved = []
            for person, known in ((PEOPLE[0], True), (PEOPLE[1], False)):
                before = now()
                assert await bit(om, POLITIE.oin, ZSM_CONTEXT, person, held) is known
                moved.append({key: value - before[key] for key, value in now().items() if value != before[key]})
            assert moved[0] == moved[1]
            await bit(om, POLITIE.oin, ZSM_CONTEXT, PEOPLE[0], held)
            families = list(registry.collect())
            answered = registry.get_sample_value("bekend_node_answer_seconds_count", {"purpose": ZSM_CONTEXT})
            addresses = [link.address for link in node.links]
    assert answered == 3
    assert open_labels(families, closed_sets(federation.covenant, addresses)) == []
    assert not any("partner" in sample.labels for family in families for sample in family.samples)
    imported = {
        sample.labels["register"]: sample.value
        for family in families
        for sample in family.samples
        if sample.name == "bekend_node_import_timestamp_seconds"
    }
    assert set(imported) >= set(home.registers)
    assert all(abs(value - federation.clock.now().timestamp()) < 5 for value in imported.values())
    # A day begins in the Netherlands: in the hour before UTC's midnight no list is from the future.
    lists = {
        sample.value
        for family in families
        for sample in family.samples
        if sample.name == "bekend_node_list_timestamp_seconds"
    }
    assert {datetime.fromtimestamp(value, AMSTERDAM) for value in lists} == {
        datetime.combine(day_of(federation.clock.now()), time(0), AMSTERDAM)
    }


@pytest.fixture
def metrics() -> NodeMetrics:
    return NodeMetrics(CollectorRegistry())


def value(metrics: NodeMetrics, name: str, **labels: str) -> float | None:
    return metrics._registry.get_sample_value(name, labels)


def test_known_and_no_certainty_are_counted_as_one(metrics: NodeMetrics) -> None:
    for kind in OutcomeKind:
        metrics.asked(ZSM_CONTEXT, Outcome(0, POLITIE.oin, "Politie", kind, None, ""))
    assert value(metrics, "bekend_node_asked_total", purpose=ZSM_CONTEXT, end="answered") == 3
    assert ENDS.keys() == set(OutcomeKind)
    assert ENDS[OutcomeKind.KNOWN] == ENDS[OutcomeKind.INCONCLUSIVE]


def test_refusals_stand_under_their_rule_and_a_full_disk_is_counted(metrics: NodeMetrics) -> None:
    for fault in (RefusedError("D1", ""), RefusedError("verzonnen", ""), SuspendedError("x"), StorageError("full")):
        metrics.refused(fault)
    rule = "bekend_node_refusals_by_rule_total"
    assert [value(metrics, rule, rule=one) for one in ("D1", "other", "stilgezet")] == [1, 1, 1]
    assert value(metrics, "bekend_node_storage_faults_total") == 1


@pytest.mark.parametrize(("persons", "told"), [(0, 0), (9, 9), (12_345, 12_000), (12_346, 12_000), (987, 990)])
def test_the_size_of_a_register_shows_nobody_who_came_or_left(metrics: NodeMetrics, persons: int, told: int) -> None:
    metrics.register("nazorg", ZSM_CONTEXT, imported_at=datetime.now(UTC).timestamp(), persons=persons)
    assert value(metrics, "bekend_node_enrolled_pseudonyms", register="nazorg", purpose=ZSM_CONTEXT) == told
