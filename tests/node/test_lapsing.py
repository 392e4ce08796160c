"""A case that is not taken in: FG-32."""

import asyncio
import json
import os
import pwd
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
from bekend_node.ask.own_record import KIND_LAPSED, KIND_LATE, KIND_OUTCOMES
from bekend_node.ask.pending import Told, open_pending
from bekend_node.config import Officer
from bekend_node.control import ControlServer
from bekend_node.control_client import ControlClient
from bekend_proto.errors import RefusedError
from nacl.public import SealedBox

from tests.support.asking import PERSON, ZSM_CASE, Stage, zsm
from tests.support.covenants import OM, VEILIG_THUIS, ZSM

QUARTER = timedelta(minutes=15)
DAYS = 24 * 4


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[VEILIG_THUIS].by_hand = True
    made.sources[VEILIG_THUIS].known = (PERSON,)
    yield made
    await made.close()


async def quarters(stage: Stage, count: int) -> None:
    for _ in range(count):
        stage.clock.advance(QUARTER)
        await stage.asker.collector.tick()
        await stage.asker.collector.settle()


def told(stage: Stage) -> list[Told]:
    return [one for row in stage.store.pending.all() for one, _ in open_pending(stage.state, row).told]


async def test_fg_32_what_came_is_destroyed_at_once_and_stays_sealed_for_the_officer(stage: Stage) -> None:
    await stage.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    stage.exchange.release()
    await quarters(stage, 1)
    assert told(stage) == [Told.KNOWN]
    found = await stage.asker.cases.lapse(f" {ZSM_CASE} ", "jansen", {ZSM})
    assert (found.lookups, found.questions) == (1, 1)
    assert told(stage) == [Told.DESTROYED]
    (record,) = stage.store.own_records(KIND_LAPSED)
    opened = json.loads(SealedBox(stage.own.officer).decrypt(record.sealed))
    assert opened["outcomes"][0]["outcome"].strip() == "bekend"
    assert len(stage.store.own_records(KIND_OUTCOMES)) == 1


async def test_fg_32_what_comes_after_it_is_dropped_and_collecting_looks_the_same(stage: Stage) -> None:
    await stage.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    await stage.asker.cases.lapse(ZSM_CASE, "jansen", {ZSM})
    stage.exchange.release()
    await quarters(stage, 3)
    assert told(stage) == [Told.DESTROYED]
    assert len(stage.line.collects) == 3
    # Its row goes when it would have gone whatever came: no sooner, which would show.
    await quarters(stage, 2 * DAYS)
    assert told(stage) == [Told.DESTROYED]
    await quarters(stage, 3 * DAYS)
    assert told(stage) == []
    (late,) = stage.store.own_records(KIND_LATE)
    assert b"bekend  " not in SealedBox(stage.own.officer).decrypt(late.sealed)


async def test_a_case_that_nobody_asked_about_is_refused_and_twice_is_harmless(stage: Stage) -> None:
    with pytest.raises(RefusedError, match="zaak-onbekend") as refused:
        await stage.asker.cases.lapse("99/999999-99", "jansen", {ZSM})
    assert refused.value.rule == "zaak-onbekend"
    await stage.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    await stage.asker.cases.lapse(ZSM_CASE, "jansen", {ZSM})
    await stage.asker.cases.lapse(ZSM_CASE, "jansen", {ZSM})
    assert len(stage.store.own_records(KIND_LAPSED)) == 1


async def lapsed_over_the_socket(stage: Stage, folder: Path, role: str) -> dict[str, object]:
    """What the node replies to who may use the purposes of this role."""
    officer = Officer(user=pwd.getpwuid(os.geteuid()).pw_name, name="J. Jansen", role=role)
    server = ControlServer(stage.asker, (officer,), lambda: stage.covenant, OM, lambda: {"oin": OM})
    await server.start(folder / "control" / "node.sock")

    def call() -> dict[str, object]:
        with ControlClient(folder / "control" / "node.sock") as client:
            return client.call({"op": "lapse", "case": ZSM_CASE})

    try:
        return await asyncio.to_thread(call)
    finally:
        await server.stop()


async def test_only_who_may_use_a_purpose_of_the_case_says_that_it_was_not_taken_in(
    stage: Stage, tmp_path: Path
) -> None:
    await stage.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    refused = await lapsed_over_the_socket(stage, tmp_path, "procesregisseur")
    assert (refused["type"], refused["rule"]) == ("refused", "zaak-onbekend")
    assert told(stage) == [Told.NOTHING_YET]
    assert stage.store.own_records(KIND_LAPSED) == []


async def test_bgs_1_16_a_lookup_under_way_leaves_nothing_either(stage: Stage) -> None:
    outcomes = stage.asker.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    found = await stage.asker.cases.lapse(ZSM_CASE, "jansen", {ZSM})
    assert (found.lookups, found.questions) == (1, 1)
    assert outcomes.receipt is not None
    assert told(stage) == [Told.DESTROYED]


async def test_the_command_says_it_over_the_socket_and_no_case_number_is_kept(stage: Stage, tmp_path: Path) -> None:
    await stage.ask(zsm((VEILIG_THUIS,), (PERSON,)))
    reply = await lapsed_over_the_socket(stage, tmp_path, "officier")
    assert reply == {"type": "result", "lookups": 1, "questions": 1}
    row = stage.store.database.read(lambda c: c.execute("SELECT by, lookups FROM lapsed").fetchall())
    assert row == [(pwd.getpwuid(os.geteuid()).pw_name, 1)]
    assert ZSM_CASE.encode() not in b"".join(path.read_bytes() for path in (tmp_path / "data").glob("node.db*"))
