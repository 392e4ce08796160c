"""The federation on disk: who is asked, and stores that a node takes for its own. No node is started."""

from datetime import timedelta

from bekend_bench.filling import PURPOSE, fill, random_pseudonyms
from bekend_bench.ground import GROUP, REQUESTER, SOURCES, ground
from bekend_bench.run import ALL
from bekend_node.config import load_config
from bekend_node.keys import NodeKeys
from bekend_node.rules import load_rules
from bekend_node.serving import check, reopen
from bekend_node.store import Store
from bekend_node.store_registers import Registers
from bekend_node.web.practice import Practice
from bekend_policy.load import load_covenant
from bekend_policy.strict_yaml import load_yaml
from bekend_proto.clock import SystemClock
from bekend_proto.group import decode_element


def test_35_sources_answer_the_purpose_and_six_have_each_size() -> None:
    with ground(ALL, SystemClock(), registers=False) as field:
        covenant = load_covenant(field.federation.built.covenant)
        oins = [one.oin for one in field.sources]
        assert len(set(oins)) == len(oins) == SOURCES
        assert set(oins) == set(covenant.sources(PURPOSE))
        assert sorted(map(len, field.groups.values()))[:3] == [GROUP] * 3
        assert covenant.interval_of(PURPOSE) == timedelta(days=1)


def test_registers_hold_as_many_rows_as_their_source_has_pseudonyms() -> None:
    with ground({12: 1}, SystemClock(), registers=True) as field:
        (source,) = field.sources
        lines = field.import_of(source).path.read_text(encoding="utf-8").splitlines()
        assert len(lines) == 1 + 12


def test_random_pseudonyms_are_elements_in_order_each_once() -> None:
    records = random_pseudonyms(501)
    assert records == sorted(set(records))
    assert len(records) == 501
    assert all(decode_element(one[:32]) for one in records)


def test_a_filled_store_passes_the_checks_of_the_node_that_serves_it() -> None:
    clock = SystemClock()
    with ground({50: 1}, clock, registers=False) as field:
        node = field.federation.built.nodes[field.sources[0].oin]
        covenant = load_covenant(field.federation.built.covenant)
        fill(field.federation.built, covenant, node, random_pseudonyms(50), clock.now())
        config = load_config(node.config)
        keys = NodeKeys.load(config.keys, config.oin)
        store, registers = Store.open(config.data), Registers.open(config.data)
        registers.check()
        rules = load_rules(config, keys, store, clock)
        (row,) = store.filters.present()
        serving = reopen(row, config.data / "filters", keys)
        check(serving, rules.manifest, registers.canary(PURPOSE, row.epoch))
        assert serving.header.tags == 1024
        assert [one.persons for one in registers.generations()] == [50]
        registers.close()
        store.close()


def test_a_federation_with_pages_has_a_practice_file_that_loads() -> None:
    with ground({12: 1}, SystemClock(), registers=False, pages=True) as field:
        web = load_config(field.federation.config_of(REQUESTER.oin)).web
        assert web is not None
        assert web.practice is not None
        assert len(load_yaml(web.practice, Practice).persons) == 3
