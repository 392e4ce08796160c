"""The bench's federation on disk: who is asked, and stores that a node takes for its own. No process is started."""

from datetime import timedelta
from pathlib import Path

from bekend_bench.filling import fill, random_pseudonyms
from bekend_bench.ground import FEW, GROUP, LARGE, MEDIUM, PURPOSE, SMALL, SOURCES, ground
from bekend_node.config import load_config
from bekend_node.keys import NodeKeys
from bekend_node.rules import load_rules
from bekend_node.serving import check, reopen
from bekend_node.store import Store
from bekend_node.store_registers import Registers
from bekend_policy.load import load_covenant
from bekend_proto.clock import SystemClock
from bekend_proto.group import decode_element


def test_35_sources_answer_the_purpose_and_six_have_each_size(tmp_path: Path) -> None:
    with ground(tmp_path, 12, SystemClock(), full=False) as field:
        covenant = load_covenant(field.federation.built.covenant)
        oins = [one.oin for one in field.sources]
        assert len(set(oins)) == len(oins) == SOURCES
        assert set(oins) == set(covenant.sources(PURPOSE))
        assert [len(field.groups[size]) for size in (SMALL, MEDIUM, LARGE)] == [GROUP] * 3
        assert field.enrolling not in {one for group in field.groups.values() for one in group}
        assert covenant.interval_of(PURPOSE) == timedelta(days=1)
        lines = field.import_of(field.enrolling).path.read_text().splitlines()
        assert len(lines) == 13


def test_random_pseudonyms_are_elements_in_order_each_once() -> None:
    records = random_pseudonyms(501)
    assert records == sorted(set(records))
    assert len(records) == 501
    assert all(decode_element(one[:32]) for one in records)


def test_a_filled_store_passes_the_checks_of_the_node_that_serves_it(tmp_path: Path) -> None:
    clock = SystemClock()
    with ground(tmp_path, 12, clock, full=False) as field:
        node = field.federation.built.nodes[field.groups[FEW][0].oin]
        fill(field.federation.built, node, random_pseudonyms(50), clock.now())
    config = load_config(node.config)
    keys = NodeKeys.load(config.keys, config.oin)
    store, registers = Store.open(config.data), Registers.open(config.data)
    registers.check()
    rules = load_rules(config, keys, store, clock)
    (row,) = store.filters()
    serving = reopen(row, config.data / "filters", keys)
    check(serving, rules.manifest, registers.canary(PURPOSE, row.epoch))
    assert serving.header.tags == 1024
    assert [one.persons for one in registers.generations()] == [50]
    registers.close()
    store.close()
