"""The desk itself: who may, on what ground, what is erased, what tells that something waits, and the commands."""

import asyncio
import json
import os
import pty
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_deploy.partners import HAARLEM, ZVH_WEIGHING
from bekend_node.app import Node
from bekend_node.cli import app
from bekend_node.config import DeskColleague
from bekend_node.desk import decisions
from bekend_node.desk.decisions import Desk
from bekend_node.desk.grounds import refusal_grounds, release_grounds
from bekend_node.hook import Hook
from bekend_node.store_desk import Change, DeskStore, Exchange
from bekend_policy.model import Mode
from bekend_proto import logs
from bekend_proto.collecting import FIRST_COLLECT
from bekend_proto.errors import RefusedError, StorageError
from bekend_proto.v1 import signed_pb2
from typer.testing import CliRunner

from tests.support.federation import PEOPLE
from tests.support.pki import Authority
from tests.support.releasing import (
    CLIENT,
    CLOSED,
    KNOWN,
    OTHER,
    STRANGER,
    USER,
    WAITING,
    Asked,
    CountingBox,
    Scene,
    items,
    let_go,
    refuse,
    scene_of,
)
from tests.support.search import files_under

COLLEAGUE = DeskColleague(user="devries", name="A. de Vries", purposes=(ZVH_WEIGHING,))
DEPUTY = DeskColleague.model_validate(
    {"user": "bakker", "name": "B. Bakker", "purposes": [ZVH_WEIGHING], "deputy": "true"}
)
ELSEWHERE = DeskColleague(user="smit", name="C. Smit", purposes=("demo/zsm-context",))


@pytest.fixture
async def scene(tmp_path: Path, authority: Authority) -> AsyncIterator[Scene]:
    async with scene_of(tmp_path, authority) as made:
        yield made


def name_of(asked: Asked) -> str:
    """What a colleague calls its first person."""
    return f"v{asked.question.question_id.hex()[:8]}-1"


def desk_of(node: Node, *colleagues: DeskColleague) -> Desk:
    return Desk(
        colleagues,
        keys=node.keys,
        rules=node.rules,
        registers=node.registers,
        store=node.store,
        desk=node.desk_store,
        matters=node.matters,
        clock=node.clock,
    )


# --- who may


async def test_only_who_is_named_for_the_purpose_sees_and_decides(scene: Scene) -> None:
    async with scene.node() as node:
        await scene.named(node)
        (name,) = items(node)
        desk = desk_of(node, COLLEAGUE, ELSEWHERE)
        assert [one["item"] for one in desk.waiting("devries")["items"]] == [name]
        assert desk.waiting("smit") == {
            "items": [],
            "total": 0,
            "page": 1,
            "pages": 1,
            "privacy_officer": False,
        }
        with pytest.raises(RefusedError, match="onbekend-verzoek"):
            await desk.show("smit", name, absent=False)
        with pytest.raises(RefusedError, match="onbevoegd"):
            desk.waiting("jansen")


async def test_a_deputy_acts_on_what_was_handed_over_or_when_the_colleague_is_absent(scene: Scene) -> None:
    async with scene.node() as node:
        await scene.named(node, CLIENT, OTHER)
        first, second = items(node)
        desk = desk_of(node, COLLEAGUE, DEPUTY)
        with pytest.raises(RefusedError, match="plaatsvervanger"):
            await desk.show("bakker", first, absent=False)
        with pytest.raises(RefusedError, match="collega"):
            await desk.hand_over("devries", first, to="jansen", absent=False)
        handed = await desk.hand_over("devries", first, to="bakker", absent=False)
        assert handed["handed_to"] == "bakker"
        await desk.release("bakker", first, ground="nodig", text="", absent=False)
        await desk.refuse("bakker", second, ground="geheim", text="", absent=True)
        done = [(one["what"], one["by"], one["deputy"], one["absent"]) for one in scene.records(node)]
    assert done == [
        ("handed-over", "devries", False, False),
        ("released", "bakker", True, False),
        ("refused", "bakker", True, True),
    ]


# --- what is opened


async def test_a_list_opens_nothing_whatever_was_asked_decided_and_collected(scene: Scene) -> None:
    async with scene.node() as node:
        first, second = await scene.named(node), await scene.named(node, OTHER)
        await scene.named(node, STRANGER)
        # Named, and not compared: no item.
        await (await scene.ask()).release()
        await let_go(node, name_of(first))
        box = CountingBox.of(node)
        assert {one.name: one.is_open for one in node.desk.listed(USER).places} == {
            name_of(first): False,
            name_of(second): True,
        }
        assert box.items == 0
        await first.collect_at(FIRST_COLLECT)
        await second.withdraw()
        box.items = 0
        assert node.desk.listed(USER).places == []
        assert box.items == 0
        assert items(node) == []


async def test_the_command_lists_and_opens_a_page_at_a_time(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decisions, "AT_ONCE", 2)
    async with scene.node() as node:
        for _ in range(2):
            await scene.named(node, CLIENT, OTHER)
        names = [one.name for one in node.desk.listed(USER).places]
        box = CountingBox.of(node)
        shown: list[str] = []
        for page, opened in ((1, 2), (2, 2), (3, 2)):
            box.items = 0
            code, output, _ = await _bekend(scene, "list", "--json", "--bladzijde", str(page))
            found = json.loads(output)
            assert (code, box.items) == (0, opened)
            assert (found["total"], found["page"], found["pages"]) == (4, min(page, 2), 2)
            shown += [one["item"] for one in found["items"]]
        # Past the end is the last page.
        assert shown == [*names, *names[2:]]
        _, output, _ = await _bekend(scene, "list")
        assert "Bladzijde 1 van 2, in totaal 4.\nMeer: bekend node desk list --bladzijde 2\n" in output


async def test_what_was_there_before_a_restart_is_opened_once(scene: Scene) -> None:
    async with scene.node() as node:
        await scene.named(node)
        await scene.named(node, OTHER)
        before = items(node)
    async with scene.node() as node:
        assert [one.name for one in node.desk.listed(USER).places] == before
        box = CountingBox.of(node)
        assert [one.name for one in node.desk.listed(USER).places] == before
        assert box.items == 0
        assert [one["item"] for one in node.desk.summaries(USER, node.desk.listed(USER).places[:1])] == before[:1]
        assert box.items == 1


async def test_a_decision_that_could_not_be_written_changes_no_list(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(self: DeskStore, question_id: bytes, change: Change) -> Exchange:
        exchange = self.exchange(question_id)
        assert exchange is not None
        change(exchange, self.matters(question_id))
        raise StorageError("the disk is full")

    async with scene.node() as node:
        await scene.named(node)
        (name,) = items(node)
        with monkeypatch.context() as patched:
            patched.setattr(DeskStore, "change", full)
            with pytest.raises(StorageError):
                await refuse(node, name)
        assert [one.is_open for one in node.desk.listed(USER).places] == [True]
        await refuse(node, name)
        assert [one.is_open for one in node.desk.listed(USER).places] == [False]


async def test_what_is_called_otherwise_is_nowhere(scene: Scene) -> None:
    async with scene.node() as node:
        await scene.named(node)
        (name,) = items(node)
        for other in ("", "v", name[1:], f"{name}0", name.upper(), f"{name[:-1]}2", f"{name[:-1]}0", "v%-1"):
            with pytest.raises(RefusedError, match="onbekend-verzoek"):
                node.desk.summary(USER, other)
        assert node.desk.summary(USER, name)["state"] == "wacht"


# --- on what ground


@pytest.mark.parametrize("mode", [Mode.MANUAL, Mode.STANDING, Mode.CONSENT])
def test_every_mode_has_grounds_in_words(mode: Mode) -> None:
    for grounds in (release_grounds(mode), refusal_grounds(mode)):
        assert len(grounds) >= 2
        assert all(words.endswith(".") for words in grounds.values())
    assert "toestemming" not in release_grounds(Mode.MANUAL)


async def test_fg_41_a_decision_needs_a_ground_and_no_number_in_its_text(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.named(node)
        (name,) = items(node)
        for ground, text, rule in (
            (None, "", "grond"),
            ("geheim", "", "grond"),
            ("nodig", f"het gaat om {CLIENT.value}", "toelichting"),
            ("nodig", "x" * 501, "toelichting"),
        ):
            with pytest.raises(RefusedError) as fault:
                await node.desk.release(USER, name, ground=ground, text=text, absent=False)
            assert fault.value.rule == rule
            assert CLIENT.value not in fault.value.reason
        with pytest.raises(RefusedError, match="toelichting"):
            await node.desk.refuse(USER, name, ground="anders", text="kort", absent=False)
        assert scene.records(node) == []
        await node.desk.refuse(USER, name, ground="anders", text="de persoon is onze eigen medewerker", absent=False)
        (record,) = scene.records(node)
        assert (record["ground"], record["text"]) == ("anders", "de persoon is onze eigen medewerker")
        assert await asked.collect_last() == [CLOSED]


async def test_without_a_named_consent_nothing_is_released_in_the_mode_toestemming(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = Desk._terms

    def by_consent(self: Desk, item: Any) -> Any:
        covenant, purpose, source = real(self, item)
        return covenant, purpose, replace(source, mode=Mode.CONSENT)

    monkeypatch.setattr(Desk, "_terms", by_consent)
    async with scene.node() as node:
        without, with_ = await scene.ask(CLIENT), await scene.ask(OTHER)
        await without.release()
        consent = signed_pb2.Consent(
            reference="T-1", date="2026-11-01", scope="wijkteam", giver=signed_pb2.CONSENT_GIVER_SELF
        )
        await with_.release([with_.d(consent=consent)])
        await node.comparing.compare_all()
        names = {(await node.desk.show(USER, it, absent=False))["person"]["value"]: it for it in items(node)}
        with pytest.raises(RefusedError, match="toestemming"):
            await let_go(node, names[CLIENT.value], ground="toestemming")
        seen = await node.desk.show(USER, names[OTHER.value], absent=False)
        assert seen["consent"] == {
            "reference": "T-1",
            "date": "2026-11-01",
            "scope": "wijkteam",
            "giver": "de persoon zelf",
        }
        await let_go(node, names[OTHER.value], ground="toestemming")


# --- what is erased


def _kept(node: Node, asked: Any) -> list[bytes]:
    """Pieces of what is sealed about a question, as they stand on the disk now."""
    return [sealed[200:264] for sealed in node.desk_store.matters(asked.question.question_id)]


def _on_disk(scene: Scene, pieces: list[bytes]) -> bool:
    return any(piece in path.read_bytes() for path in files_under(scene.home.folder) for piece in pieces)


async def test_an_item_is_gone_from_the_files_when_its_decision_was_collected(scene: Scene) -> None:
    async with scene.node() as node:
        released, refused = await scene.named(node, CLIENT), await scene.named(node, OTHER)
        one, other = items(node)
        await let_go(node, one)
        await refuse(node, other)
        pieces = _kept(node, released) + _kept(node, refused)
        assert _on_disk(scene, pieces)
        await released.collect_at(FIRST_COLLECT)
        await refused.collect_at(FIRST_COLLECT)
        await node.keeping.tick()
        assert not _on_disk(scene, pieces)


async def test_d_is_gone_from_the_files_when_it_was_compared(scene: Scene) -> None:
    async with scene.node() as node:
        asked = await scene.ask(PEOPLE[1])
        d = asked.d()
        await asked.release([d])
        pieces = _kept(node, asked)
        await node.comparing.compare_all()
        await node.keeping.tick()
        assert not _on_disk(scene, [*pieces, d[:64], d[500:564]])


async def test_at_the_end_of_the_term_items_are_erased_and_an_hour_later_everything(scene: Scene) -> None:
    async with scene.node() as node:
        asked, known = await scene.named(node), await scene.named(node, OTHER)
        await let_go(node, f"v{known.question.question_id.hex()[:8]}-1")
        pieces = _kept(node, asked) + _kept(node, known)
        asked.advance_to(max(asked.until, known.until))
        await node.keeping.tick()
        assert items(node) == []
        assert not _on_disk(scene, pieces)
        # Released in time, and not collected yet: it still counts.
        assert await known.collect_last() == [KNOWN]
        scene.advance(hours=2)
        await node.keeping.tick()
        assert node.desk_store.exchanges() == []
        assert node.store.awaiting(asked.question.question_id) is None


async def test_must_12_no_number_is_on_disk_in_the_logs_or_in_what_waits(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    # A real import, so that what it leaves behind is searched too.
    await scene.home.enrol_all(scene.broker.port, [CLIENT, OTHER])
    async with scene.node() as node:
        await scene.named(node)
        (name,) = items(node)
        await node.desk.show(USER, name, absent=False)
        assert CLIENT.value not in json.dumps(node.desk.waiting(USER))
        but = [scene.home.folder / f"{register}.csv" for register in scene.home.registers]
        assert not any(CLIENT.value.encode() in path.read_bytes() for path in files_under(scene.home.folder, but=but))
    assert CLIENT.value not in "".join(capsys.readouterr())


# --- the hook


async def test_the_hook_is_run_without_content_and_not_more_often_than_it_may(tmp_path: Path) -> None:
    program, told = tmp_path / "tell", tmp_path / "told"
    program.write_text(f'#!/bin/sh\necho "$# $(cat | wc -c)" >> {told}\n')
    program.chmod(0o700)
    hook = Hook(program, logs.DESK_HOOK_FAILED, pause=3600)
    task = asyncio.ensure_future(hook.run())
    for _ in range(3):
        hook.waiting()
    while not told.exists() or not told.read_text():
        await asyncio.sleep(0.01)
    hook.waiting()
    await asyncio.sleep(0)
    task.cancel()
    assert told.read_text() == "0 0\n"


async def test_a_hook_that_is_not_there_or_fails_is_logged_and_stops_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = tmp_path / "fails"
    failing.write_text("#!/bin/sh\nexit 3\n")
    failing.chmod(0o700)
    for path in (tmp_path / "none", failing):
        await Hook(path, logs.DESK_HOOK_FAILED)._run_once(path)
    assert capsys.readouterr().err.count("desk-hook-failed") == 2


async def test_the_hook_hears_of_an_item_and_of_nothing_else(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    monkeypatch.setattr(Hook, "waiting", lambda _: calls.append(1))
    async with scene.node() as node:
        await scene.named(node, PEOPLE[1])
        assert calls == []
        await scene.named(node)
        assert calls == [1]


# --- the commands


async def _bekend(scene: Scene, *words: str) -> tuple[int, str, str]:
    process = await asyncio.create_subprocess_exec(
        *_command(scene, *words), stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()


def _command(scene: Scene, *words: str) -> list[str]:
    config = str(scene.home.folder / "node.yaml")
    return [sys.executable, "-m", "bekend_deploy.cli", "node", "desk", *words, "--config", config]


async def _on_a_terminal(scene: Scene, *words: str) -> str:
    """What a colleague sees on a screen."""
    own, other = pty.openpty()
    process = await asyncio.create_subprocess_exec(*_command(scene, *words), stdout=other, stderr=other)
    os.close(other)
    await process.wait()
    shown = b""
    try:
        while piece := await asyncio.to_thread(os.read, own, 65536):
            shown += piece
    except OSError:
        pass  # the terminal was hung up
    finally:
        os.close(own)
    return shown.decode()


async def test_list_show_decide_and_undo_at_the_command_line(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    async with scene.node() as node:
        code, output, _ = await _bekend(scene, "list")
        assert (code, output) == (0, "Er wacht niets.\n")
        asked = await scene.named(node)
        (name,) = items(node)
        code, output, _ = await _bekend(scene, "list")
        assert (code, output.startswith(name), HAARLEM.name in output) == (0, True, True)
        code, output, _ = await _bekend(scene, "show", name)
        assert code == 0
        assert "alleen te zien op een scherm" in output
        assert CLIENT.value not in output
        code, output, _ = await _bekend(scene, "show", name, "--json")
        assert (json.loads(output)["desk"], CLIENT.value in output) == ("loket@zvh.example.nl", False)
        assert CLIENT.value in await _on_a_terminal(scene, "show", name)
        code, _, errors = await _bekend(scene, "release", name, "--grond", "geheim")
        assert (code, "regel grond" in errors) == (4, True)
        code, output, _ = await _bekend(scene, "release", name, "--grond", "nodig", "--toelichting", "voor 1-2-2020")
        assert (code, "vrijgegeven" in output) == (0, True)
        code, output, _ = await _bekend(scene, "undo", name)
        assert (code, "ongedaan" in output) == (0, True)
        code, output, _ = await _bekend(scene, "refuse", name, "--grond", "geheim", "--json")
        assert (code, json.loads(output)["state"]) == (0, "geweigerd")
        assert await asked.collect_at(FIRST_COLLECT) == [WAITING]
        code, _, errors = await _bekend(scene, "undo", name)
        assert (code, "onbekend-verzoek" in errors) == (4, True)
    # No line of the log tells what was decided, or why something was not.
    logged = capsys.readouterr().err
    assert '"control-refused"' in logged
    assert not any(word in logged for word in ("onbekend-verzoek", "grond", "geheim", "vrijgegeven", "geweigerd"))


def test_desk_init_makes_a_key_once(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    runner = CliRunner()
    assert runner.invoke(app, ["init", "--config", str(path), "--oin", "00000099000000002000"]).exit_code == 0
    key = tmp_path / "keys" / "desk.key"
    key.unlink()
    done = runner.invoke(app, ["desk", "init", "--config", str(path)])
    assert (done.exit_code, key.stat().st_mode & 0o777) == (0, 0o600)
    assert runner.invoke(app, ["desk", "init", "--config", str(path)]).exit_code == 1
    assert yaml.safe_load(path.read_text())["desk_staff"][1]["deputy"] is True
