"""The control socket: who may use it, what it says, what it never says."""

import asyncio
import grp
import json
import os
import pwd
import socket
import stat
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from bekend_node.ask.own_record import KIND_OUTCOMES
from bekend_node.config import Officer
from bekend_node.control import ControlServer
from bekend_node.control_client import ControlClient
from bekend_node.control_connection import LINE_LIMIT
from bekend_proto.errors import StorageError, UnreachableError

from tests.support.asking import CANARY, PERSON, ZSM_CASE, Stage
from tests.support.covenants import (
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VEILIG_THUIS,
    ZSM,
    ZVH_WEIGHING,
    with_ages,
    with_consent,
)

USER = pwd.getpwuid(os.geteuid()).pw_name
ME = Officer(user=USER, name="J. Jansen", role="officier")
ALSO_ME = Officer(user=USER, name="J. Jansen", role="procesregisseur")


class Desk:
    """A stage with a control socket in front of it."""

    def __init__(self, stage: Stage, folder: Path, officers: tuple[Officer, ...]) -> None:
        self.stage = stage
        self.path = folder / "control" / "node.sock"
        self.server = ControlServer(stage.asker, officers, lambda: stage.covenant, OM, lambda: {"oin": OM})

    async def call(self, **request: Any) -> dict[str, Any]:
        return (await self.replies(json.dumps(request).encode()))[-1]

    async def replies(self, line: bytes) -> list[dict[str, Any]]:
        """Every reply to one line."""
        reader, writer = await asyncio.open_unix_connection(self.path, limit=1 << 20)
        writer.write(line + b"\n")
        found = []
        while raw := await reader.readline():
            found.append(json.loads(raw))
            if found[-1]["type"] != "outcome":
                break
        writer.close()
        return found


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    made = Stage(tmp_path)
    made.sources[POLITIE].known = (PERSON,)
    yield made
    await made.close()


@pytest.fixture
async def desk(stage: Stage, tmp_path: Path) -> AsyncIterator[Desk]:
    made = Desk(stage, tmp_path, (ME, ALSO_ME))
    await made.server.start(made.path)
    yield made
    await made.server.stop()


def asking(**changes: Any) -> dict[str, Any]:
    return {
        "op": "ask",
        "purpose": ZSM,
        "sources": [POLITIE, RECLASSERING],
        "identifiers": [PERSON.value],
        "case": ZSM_CASE,
        "attested": ["verdachte"],
        "justification": "aangehouden",
        **changes,
    }


async def test_the_socket_is_for_its_owner_alone(desk: Desk) -> None:
    assert stat.S_IMODE(desk.path.stat().st_mode) == 0o600
    assert stat.S_IMODE(desk.path.parent.stat().st_mode) == 0o700


async def test_a_group_may_use_the_socket_where_the_configuration_names_one(stage: Stage, tmp_path: Path) -> None:
    group = grp.getgrgid(os.getegid())
    desk = Desk(stage, tmp_path, (ME,))
    await desk.server.start(desk.path, group.gr_name)
    facts = desk.path.stat()
    assert (stat.S_IMODE(facts.st_mode), facts.st_gid) == (0o660, group.gr_gid)
    assert (await desk.call(op="status"))["type"] == "result"
    await desk.server.stop()


async def test_a_group_that_is_none_opens_nothing(stage: Stage, tmp_path: Path) -> None:
    desk = Desk(stage, tmp_path, (ME,))
    with pytest.raises(StorageError, match="must exist"):
        await desk.server.start(desk.path, "geen-groep")
    with pytest.raises(ConnectionRefusedError):
        await desk.call(op="status")


async def test_a_lookup_streams_outcomes_and_ends_with_a_receipt(desk: Desk) -> None:
    replies = await desk.replies(json.dumps(asking()).encode())
    *outcomes, receipt = replies
    told = {one["oin"]: one["outcome"] for one in outcomes}
    assert told[POLITIE] == "bekend"
    assert told[RECLASSERING] == "geen_uitsluitsel"
    assert set(outcomes[0]) == {"type", "person", "oin", "name", "outcome", "as_of", "reason", "desk", "until"}
    assert receipt["type"] == "receipt"
    assert PERSON.value not in json.dumps(replies)


async def test_the_officer_of_the_record_is_the_user_of_the_system(desk: Desk) -> None:
    await desk.replies(json.dumps(asking()).encode())
    day = desk.stage.clock.now().date()
    assert desk.stage.store.used("officer", USER, ZSM, day) == 1


async def test_one_user_may_have_several_roles(desk: Desk) -> None:
    reply = await desk.call(op="purposes")
    assert reply["roles"] == ["officier", "procesregisseur"]
    roles = {purpose["id"]: purpose["role"] for purpose in reply["purposes"]}
    assert roles[ZSM] == "officier"
    assert roles[ZVH_WEIGHING] == "procesregisseur"
    weighing = asking(purpose=ZVH_WEIGHING, sources=[HAARLEM], case="ZVH-2026-0123")
    reply = await desk.call(**{**weighing, "attested": ["positieve-toets", "bgs-2-20"]})
    assert reply["type"] == "receipt"


async def test_a_purpose_names_what_the_officer_needs_to_know(desk: Desk) -> None:
    reply = await desk.call(op="purposes")
    zsm = next(purpose for purpose in reply["purposes"] if purpose["id"] == ZSM)
    modes = {source["oin"]: source["mode"] for source in zsm["sources"]}
    assert modes[POLITIE] == "automatisch"
    assert modes[HAARLEM] == "nooit"
    assert {one["id"] for one in zsm["confirm"]} == {"verdachte", "motivering"}
    assert zsm["max_persons"] == 1
    terms = {source["oin"]: (source["reply_seconds"], source["consent"]) for source in zsm["sources"]}
    assert terms[POLITIE] == (None, False)
    assert terms[VEILIG_THUIS] == (24 * 3600, False)


async def test_fg_10_a_consent_is_recorded_and_not_confirmed(tmp_path: Path) -> None:
    stage = Stage(tmp_path, with_consent)
    desk = Desk(stage, tmp_path, (ALSO_ME,))
    await desk.server.start(desk.path)
    (weighing,) = (await desk.call(op="purposes"))["purposes"]
    assert [source["oin"] for source in weighing["sources"] if source["consent"]] == [VEILIG_THUIS]
    assert {one["id"] for one in weighing["confirm"]} == {"positieve-toets", "bgs-2-20", "motivering"}
    await desk.server.stop()
    await stage.close()


@pytest.fixture
async def minors(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk under a covenant that asks the reclassering about minors alone."""
    stage = Stage(tmp_path, with_ages)
    desk = Desk(stage, tmp_path, (ALSO_ME,))
    await desk.server.start(desk.path)
    yield desk
    await desk.server.stop()
    await stage.close()


async def test_fg_38_a_purpose_says_at_which_source_an_age_is_worked_out(minors: Desk) -> None:
    (weighing,) = (await minors.call(op="purposes"))["purposes"]
    ages = {source["oin"]: source["ages"] for source in weighing["sources"] if source["ages"]}
    assert ages == {RECLASSERING: ["de persoon is 12 tot en met 17 jaar"]}
    assert {one["id"] for one in weighing["confirm"]} == {"positieve-toets", "bgs-2-20", "motivering"}


@pytest.mark.parametrize(
    ("born", "kind", "asked"),
    [
        (["2010-05-17"], "receipt", True),
        (["17-05-2010"], "receipt", True),
        (["1990-05-17"], "receipt", False),
        ([""], "receipt", False),
        ([], "receipt", False),
        (["2010-02-30"], "refused", False),
        (["2026-12-02"], "refused", False),
        (["2010-05-17", "2010-05-17"], "error", False),
    ],
)
async def test_fg_38_the_socket_takes_the_date_of_birth_beside_each_number(
    minors: Desk, capsys: pytest.CaptureFixture[str], born: list[str], kind: str, asked: bool
) -> None:
    question = asking(purpose=ZVH_WEIGHING, case="ZVH-2026-0123", attested=["positieve-toets", "bgs-2-20"])
    replies = await minors.replies(json.dumps({**question, "sources": [HAARLEM, RECLASSERING], "born": born}).encode())
    assert replies[-1]["type"] == kind
    assert bool(minors.stage.sources[RECLASSERING].asked) is asked
    said = json.dumps(replies) + capsys.readouterr().err
    assert not any(one and one in said for one in born)


async def test_fg_38_where_no_age_is_asked_the_socket_takes_no_date_of_birth(desk: Desk) -> None:
    reply = await desk.call(**asking(born=["2010-05-17"]))
    assert (reply["type"], reply["rule"]) == ("refused", "persoonsgegevens")


async def test_fg_38_a_date_of_birth_is_quoted_nowhere(desk: Desk, capsys: pytest.CaptureFixture[str]) -> None:
    consent = {"op": "consent", "purpose": ZVH_WEIGHING, "case": "ZVH-2026-0123", "partners": [VEILIG_THUIS]}
    more = {"giver": "zelf", "date": "2026-11-20", "scope": "x"}
    for born in ("1990-05-17", "17-05-1990", "1990-13-17"):
        reply = await desk.call(**consent, **more, born=born)
        assert reply["type"] in {"refused", "error"}
        assert born not in json.dumps(reply) + capsys.readouterr().err


@pytest.mark.parametrize(
    "operation", [{"op": "answers"}, {"op": "consents", "case": "x"}, {"op": "withdraw", "case": "x"}]
)
async def test_who_is_no_officer_sees_no_later_answers(stage: Stage, tmp_path: Path, operation: dict[str, str]) -> None:
    desk = Desk(stage, tmp_path, (Officer(user="iemand-anders", name="X", role="officier"),))
    await desk.server.start(desk.path)
    assert (await desk.call(**operation))["rule"] == "onbekende-gebruiker"
    await desk.server.stop()


async def test_open_fetches_filters_and_says_which_are_at_hand(desk: Desk) -> None:
    reply = await desk.call(op="open", purpose=ZSM, sources=[POLITIE, RECLASSERING, HAARLEM])
    assert (reply["type"], reply["filters"]) == ("result", {POLITIE: "ok", RECLASSERING: "ok"})
    assert len(desk.stage.line.orders) == 2


async def test_a_user_who_is_no_officer_is_refused_in_dutch(stage: Stage, tmp_path: Path) -> None:
    desk = Desk(stage, tmp_path, (Officer(user="iemand-anders", name="X", role="officier"),))
    await desk.server.start(desk.path)
    try:
        for request in (asking(), {"op": "purposes"}, {"op": "open", "purpose": ZSM, "sources": []}):
            reply = await desk.call(**request)
            assert reply["type"] == "refused"
            assert reply["rule"] == "onbekende-gebruiker"
            assert "Vraag uw beheerder" in reply["reason"]
        # The node's own user may still look after it.
        assert (await desk.call(op="status"))["oin"] == OM
    finally:
        await desk.server.stop()
    assert stage.line.begins == []


async def test_a_user_without_a_name_is_nobodys_officer(
    stage: Stage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers are what some providers call people: the number of a user of this machine is nobody's."""

    def nobody(uid: int) -> Any:
        raise KeyError(uid)

    desk = Desk(stage, tmp_path, (Officer(user=str(os.getuid()), name="X", role="officier"),))
    await desk.server.start(desk.path)
    try:
        monkeypatch.setattr(pwd, "getpwuid", nobody)
        assert (await desk.call(**asking()))["rule"] == "onbekende-gebruiker"
    finally:
        await desk.server.stop()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"geen json",
        b"[]",
        b'"ask"',
        b"{}",
        b'{"op": "drop"}',
        b'{"op": "status", "op": "ask"}',
        b'{"op": "status", "extra": 1}',
        b'{"op": "ask", "purpose": 7, "sources": [], "identifiers": ["999990019"]}',
        b'{"op": "ask", "purpose": "a/b", "sources": "x", "identifiers": ["999990019"]}',
        b'{"op": "ask", "purpose": "a/b", "sources": [], "identifiers": [999990019]}',
        b'{"op": "ask", "purpose": "a/b", "sources": [], "identifiers": []}',
        b'{"op": "ask", "purpose": "a/b", "sources": ["1"], "identifiers": ["999990019"]}',
        b'{"op": "ask", "purpose": "a/b", "sources": [], "identifiers": ' + json.dumps(["1"] * 9).encode() + b"}",
        json.dumps({"op": "open", "purpose": "a/b", "sources": [POLITIE] * 401}).encode(),
        json.dumps({"op": "ask", "purpose": "a/b", "sources": [POLITIE] * 401, "identifiers": ["999990019"]}).encode(),
        b"[" * 50_000,
        b"\xff\xfe",
    ],
)
async def test_anything_else_is_refused_and_not_quoted(
    desk: Desk, line: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (reply,) = await desk.replies(line)
    assert reply == {"type": "error", "code": "malformed", "reason": "Het verzoek aan de node is niet goed opgebouwd."}
    assert "999990019" not in capsys.readouterr().err


async def test_a_line_without_end_is_cut_off(desk: Desk) -> None:
    (reply,) = await desk.replies(b'{"op": "' + b"x" * (LINE_LIMIT + 1))
    assert reply["code"] == "malformed"


async def test_a_number_that_is_none_is_refused_without_repeating_it(
    desk: Desk, capsys: pytest.CaptureFixture[str]
) -> None:
    reply = await desk.call(**asking(identifiers=["999990018"]))
    assert (reply["type"], reply["rule"]) == ("refused", "nummer")
    assert "11-proef" in reply["reason"]
    assert "999990018" not in json.dumps(reply) + capsys.readouterr().err
    assert desk.stage.line.begins == []


async def test_a_refusal_names_rule_and_reason(desk: Desk) -> None:
    reply = await desk.call(**asking(case="geen"))
    assert (reply["type"], reply["rule"]) == ("refused", "zaaknummer")
    reply = await desk.call(**asking(sources=[]))
    assert (reply["type"], reply["rule"]) == ("refused", "FG-09")
    assert POLITIE in reply["reason"]


async def test_a_budget_that_is_used_up_is_a_refusal_in_dutch(desk: Desk) -> None:
    weighing = asking(purpose=ZVH_WEIGHING, sources=[HAARLEM], case="ZVH-2026-0123")
    weighing["attested"] = ["positieve-toets", "bgs-2-20"]
    for _ in range(10):
        await desk.call(**weighing)
    reply = await desk.call(**weighing)
    assert (reply["type"], reply["rule"]) == ("refused", "budget")
    assert "Vraag het morgen" in reply["reason"]


async def test_the_canary_goes_over_the_same_road(desk: Desk) -> None:
    desk.stage.own.known = (CANARY,)
    reply = await desk.call(op="canary", purpose=ZVH_WEIGHING)
    assert reply["outcome"]["outcome"] == "bekend"


async def test_fg_20_there_is_no_operation_for_lists_or_exports(desk: Desk) -> None:
    for operation in ("export", "batch", "results", "list", "hits"):
        assert (await desk.call(op=operation))["type"] == "error"
    reply = await desk.call(**asking(identifiers=[PERSON.value] * 9))
    assert reply["code"] == "malformed"


async def test_an_officer_who_hangs_up_stops_no_record(desk: Desk) -> None:
    _, writer = await asyncio.open_unix_connection(desk.path)
    writer.write(json.dumps(asking()).encode() + b"\n")
    await writer.drain()
    writer.close()
    while not desk.stage.store.own_records(KIND_OUTCOMES):
        await asyncio.sleep(0)
    assert len(desk.stage.store.own_records(KIND_OUTCOMES)) == 1


async def test_stopping_lets_a_lookup_under_way_end(desk: Desk) -> None:
    under_way = asyncio.Event()
    go_on = asyncio.Event()
    honest = desk.stage.line.ready

    async def ready() -> bool:
        under_way.set()
        await go_on.wait()
        return await honest()

    desk.stage.line.ready = ready  # type: ignore[method-assign]
    lookup = asyncio.create_task(desk.replies(json.dumps(asking()).encode()))
    await under_way.wait()
    stopping = asyncio.create_task(desk.server.stop())
    await asyncio.sleep(0)
    go_on.set()
    assert (await lookup)[-1]["type"] == "receipt"
    await stopping
    assert not desk.path.exists()


async def test_the_socket_of_a_node_that_was_killed_is_replaced(stage: Stage, tmp_path: Path) -> None:
    desk = Desk(stage, tmp_path, (ME,))
    desk.path.parent.mkdir(mode=0o700)
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(desk.path))
    await desk.server.start(desk.path)
    assert (await desk.call(op="status"))["type"] == "result"
    await desk.server.stop()


async def test_a_second_node_does_not_take_the_socket(desk: Desk, tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="another node"):
        await Desk(desk.stage, tmp_path, (ME,)).server.start(desk.path)
    assert (await desk.call(op="status"))["type"] == "result"


async def test_a_folder_that_others_may_change_is_refused(stage: Stage, tmp_path: Path) -> None:
    desk = Desk(stage, tmp_path, (ME,))
    desk.path.parent.mkdir()
    desk.path.parent.chmod(0o777)
    with pytest.raises(StorageError, match="chmod 700"):
        await desk.server.start(desk.path)


async def test_a_file_in_the_way_is_left_alone(stage: Stage, tmp_path: Path) -> None:
    desk = Desk(stage, tmp_path, (ME,))
    desk.path.parent.mkdir(mode=0o700)
    desk.path.write_text("van iemand")
    with pytest.raises(StorageError, match="no socket"):
        await desk.server.start(desk.path)
    assert desk.path.read_text() == "van iemand"


async def test_a_deep_folder_is_no_obstacle(stage: Stage, tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 60) / ("e" * 60)
    desk = Desk(stage, folder, (ME,))
    await desk.server.start(desk.path)

    def call() -> dict[str, Any]:
        with ControlClient(desk.path) as client:
            return client.call({"op": "status"})

    assert (await asyncio.to_thread(call))["oin"] == OM
    await desk.server.stop()


async def test_without_a_node_the_client_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="bekend node serve"):
        ControlClient(tmp_path / "niets.sock")
