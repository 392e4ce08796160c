"""Log lines of one lookup: the trace of a Question joins requester and source, and nothing joins two sources."""

import contextlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from bekend_deploy.partners import OM, POLITIE, RECLASSERING, VEILIG_THUIS, ZSM_CONTEXT
from bekend_deploy.questions import CASES, CONDITIONS
from bekend_node.ask.rules import Inquiry, OfficerRef

from tests.support.clocks import SteeredClock
from tests.support.federation import PEOPLE, Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority

SOURCES = (POLITIE.oin, RECLASSERING.oin)


async def test_a_source_logs_its_question_and_never_the_lookup(
    tmp_path: Path, authority: Authority, capsys: pytest.CaptureFixture[str]
) -> None:
    federation = Federation.create(tmp_path, authority, SteeredClock(datetime.now(UTC)))
    async with federation.broker() as broker, contextlib.AsyncExitStack() as opened:
        nodes = {}
        for oin in (*SOURCES, OM.oin):
            home = NodeHome.create(federation, oin)
            home.fill(broker.port, PEOPLE[:1])
            nodes[oin] = await opened.enter_async_context(home.node(broker.port))
        await nodes[OM.oin].directory.refresh()
        capsys.readouterr()
        inquiry = Inquiry(
            ZSM_CONTEXT,
            PEOPLE[:1],
            (*SOURCES, VEILIG_THUIS.oin),
            OfficerRef(user="jansen", name="J. Jansen", role="zsm-medewerker"),
            case_reference=CASES[ZSM_CONTEXT],
            attested=frozenset(CONDITIONS[ZSM_CONTEXT]),
        )
        async for _ in nodes[OM.oin].asker.ask(inquiry):
            pass
    lines: list[dict[str, Any]] = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert all(list(line)[:3] == ["time", "level", "event"] for line in lines)
    (asked,) = [line for line in lines if line["event"] == "lookup-asked"]
    answered = [line for line in lines if line["event"] == "answered"]
    assert (asked["sources"], len(answered)) == (2, 2)
    # Each source its own, and neither that of the lookup.
    assert len({asked["trace"], *(line["trace"] for line in answered)}) == 3
    assert all(len(bytes.fromhex(line["trace"])) == 16 for line in (asked, *answered))
    assert not any("lookup" in line for line in answered)
    # Only the requester joins them, and says so where a partner gave no answer.
    away = [line for line in lines if line["event"] == "no-answer"]
    assert {line["source"] for line in away} == {VEILIG_THUIS.oin}
    assert all(PEOPLE[0].value not in json.dumps(line) for line in lines)
