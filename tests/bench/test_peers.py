"""Peers beside bekend: that they do the job they are measured at, and say so when they cannot be measured."""

import asyncio
from pathlib import Path

import pytest
from bekend_bench import peer_plain, peers
from bekend_bench.peers import Cost, markdown


def test_the_plain_table_knows_who_is_in_it_and_nobody_else(tmp_path: Path) -> None:
    key = bytes(32)
    peer_plain.fill(tmp_path / "one.db", key, ["test:1", "test:2"])
    peer_plain.fill(tmp_path / "two.db", key, ["test:2"])
    peer_plain.add(tmp_path / "two.db", key, "test:3")
    tls = peers._tls(tmp_path)

    async def asked(ports: list[int]) -> list[list[bool]]:
        requester = peer_plain.Requester(tls, ports)
        found = [await requester.ask(peer_plain.tag(key, f"test:{number}")) for number in range(1, 5)]
        await requester.close()
        return found

    with peers._served(tls, tmp_path / "one.db") as one, peers._served(tls, tmp_path / "two.db") as two:
        found = asyncio.run(asked([one, two]))
    assert found == [[True, False], [True, True], [False, True], [False, False]]


def test_a_package_that_does_not_install_is_left_out_with_the_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PACKAGE", "bekend-no-such-package==0.0.1")
    reason = peers.psi(10)
    assert isinstance(reason, str)
    assert "bekend-no-such-package" in reason
    assert reason in markdown([Cost("bekend", 1, 1, 1, 1, 1, "")], reason, 10)


def test_each_way_is_set_against_bekend() -> None:
    costs = [Cost("bekend", 1, 1, 1, 0.030, 1, ""), Cost("other", 1, 1, 1, 0.010, 1, "")]
    (row,) = (line for line in markdown(costs, None, 20_000).splitlines() if line.startswith("| other"))
    assert "| 3.00 " in row
