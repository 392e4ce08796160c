"""The parts about the broker's limits, at tiny sizes: figures come out, and nothing stays behind."""

import pytest
from bekend_bench import attached, replicas
from bekend_bench.attached import Stay
from bekend_bench.ground import FEW, ground, populate
from bekend_bench.replicas import Load
from bekend_deploy.postgres_server import binaries
from bekend_proto.clock import SystemClock


def test_nodes_that_stay_attached_are_counted_and_do_not_come_back() -> None:
    clock, said = SystemClock(), list[str]()
    with ground({FEW: 3}, clock, registers=False) as field:
        populate(field, clock, enrol=False)
        stay = Stay(counts=(2, 4), minutes=0.02, every=0.1)
        figures = {one.what: one for one in attached.measure(field, stay, said.append)}
        assert field.hosts == {}
    assert figures["4 attached, reconnects"].value == 0
    assert figures["4 attached, reconnects"].met
    assert figures["4 attached, lookups meanwhile"].value >= 1
    assert figures["memory of the broker, 4 attached"].value > 10


@pytest.mark.parametrize("count", [0, 2])
def test_questions_of_several_requesters_are_counted_against_each_setting(count: int) -> None:
    if count and binaries() is None:
        pytest.skip("this machine has no PostgreSQL server")
    load = Load(replicas=(count,), sources=2, officers=1, seconds=0.3, settle=0)
    figures = {one.what.partition(", ")[2]: one.value for one in replicas.measure(load, SystemClock(), 2, print)}
    figures = {what.removeprefix("SQLite, ").removeprefix("PostgreSQL, "): value for what, value in figures.items()}
    assert figures["questions"] > 0
    assert figures["a broker with a core of its own"] > 0
    assert ("commits" in figures) is bool(count)


def test_without_postgresql_replicas_are_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bekend_bench.replicas.binaries", lambda: None)
    said = list[str]()
    assert list(replicas.measure(Load(replicas=(1, 2)), SystemClock(), 2, said.append)) == []
    assert all("no PostgreSQL server" in line for line in said)
