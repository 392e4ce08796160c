"""`bekend lookup` as a process against a running control socket: what an officer types, sees and can rely on."""

import asyncio
import contextlib
import json
import os
import pty
import pwd
import stat
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from bekend_node import receipt
from bekend_node.config import Officer
from bekend_node.control import ControlServer
from bekend_proto.errors import StorageError
from bekend_proto.v1 import broker_pb2, errors_pb2

from tests.support.asking import OTHER, PERSON, ZSM_CASE, ZVH_CASE, Stage
from tests.support.covenants import (
    HAARLEM,
    OM,
    POLITIE,
    RECLASSERING,
    VELSEN,
    ZSM,
    ZVH,
    ZVH_WEIGHING,
    key_of,
    with_ages,
)

USER = pwd.getpwuid(os.geteuid()).pw_name
COMMAND = (sys.executable, "-c", "from bekend_node.lookup_cli import app; app(prog_name='bekend lookup')")
OTHER_COMMAND = "from bekend_node.{0} import app; app(prog_name='bekend {0}')"


@dataclass
class Ended:
    code: int
    out: str
    err: str


class Desk:
    """A node's control socket, its configuration, and the command."""

    def __init__(self, stage: Stage, folder: Path) -> None:
        self.stage = stage
        self.config = folder / "node.yaml"
        self.socket = folder / "control" / "node.sock"
        self.config.write_text(
            f'oin: "{OM}"\ncovenant: convenant\nanchor: "{key_of(OM).vkey}"\nmanifest: manifest.note\n'
            'brokers:\n  - address: "localhost:1"\ntls: {certificate: a.pem, key: a.key, authorities: ca.pem}\n'
            'canary: "bsn:999990056"\nsocket: control/node.sock\n'
        )
        officers = (
            Officer(user=USER, name="J. Jansen", role="officier"),
            Officer(user=USER, name="J. Jansen", role="procesregisseur"),
        )
        self.server = ControlServer(stage.asker, officers, lambda: stage.covenant, OM, dict)

    async def run(
        self, *options: str, stdin: str = f"{PERSON.value}\n", app: str = "", verb: str | None = None
    ) -> Ended:
        command = (sys.executable, "-c", OTHER_COMMAND.format(app)) if app else COMMAND
        process = await asyncio.create_subprocess_exec(
            *command,
            *([verb] if verb else []),
            *("--config", str(self.config), *options),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_COLOR": "1"},
        )
        out, err = await process.communicate(stdin.encode())
        assert process.returncode is not None
        return Ended(process.returncode, out.decode(), err.decode())


ZSM_OPTIONS = ("--doel", ZSM, "--zaak", ZSM_CASE, "--bevestig", "verdachte", "--motivering", "aangehouden")
BOTH = ("--partner", POLITIE, "--partner", RECLASSERING)
WEIGHING = (
    *("--doel", ZVH_WEIGHING, "--zaak", ZVH_CASE, "--motivering", "x", "--partner", HAARLEM, "--partner", VELSEN),
    *("--bevestig", "positieve-toets", "--bevestig", "bgs-2-20"),
)


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    stage = Stage(tmp_path)
    stage.sources[POLITIE].known = (PERSON,)
    stage.sources[HAARLEM].known = (OTHER,)
    made = Desk(stage, tmp_path)
    await made.server.start(made.socket)
    yield made
    await made.server.stop()
    await stage.close()


async def test_outcomes_are_shown_with_sign_word_and_what_they_do_not_prove(desk: Desk) -> None:
    ended = await desk.run(*ZSM_OPTIONS, *BOTH)
    assert ended.code == 0, ended.err
    assert "● bekend" in ended.out
    assert "○ geen uitsluitsel" in ended.out
    assert "– niet bevraagd" in ended.out
    assert "Contactpunt:" in ended.out
    assert "2 van 2 gevraagde partners hebben geantwoord." in ended.out
    assert "bewijst niets" in ended.out
    assert PERSON.value not in ended.out + ended.err
    assert "Volgende stap:\n  Overleg over de afdoening" in ended.out
    assert "getekend standaardbesluit: Reclassering Noord-Holland." in ended.out
    assert "niet (geheel) getoetst: op proef tot en met 2027-10-31." in ended.out
    assert "Let op" not in ended.err
    assert "U kunt vandaag nog naar 40 van 40 personen vragen voor dit doel, en naar 60 van 60" in ended.err
    assert "U kunt vandaag nog naar 39 van 40 personen vragen voor dit doel, en naar 59 van 60" in ended.out


async def test_the_next_step_is_told_per_person(desk: Desk) -> None:
    ended = await desk.run(*WEIGHING, "--bevestig", "bgs-2-20", stdin=f"{PERSON.value}\n{OTHER.value}\n")
    assert ended.code == 0, ended.err
    first, second = ended.out.split("Persoon 1, volgende stap:")[1].split("Persoon 2, volgende stap:")
    assert "niet dat niemand betrokken is" in first
    assert "Eerst afstemmen binnen deze sector" in second


async def test_a_partner_that_is_no_source_is_told_as_that_and_counts_in_no_next_step(desk: Desk) -> None:
    ended = await desk.run(*WEIGHING, "--partner", ZVH, stdin=f"{OTHER.value}\n")
    assert ended.code == 0, ended.err
    assert f"({ZVH}): – niet bevraagd" in ended.out
    assert "Volgende stap:\n  Eerst afstemmen binnen deze sector" in ended.out


async def test_a_lookup_that_is_not_on_record_gives_no_next_step(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keep = desk.stage.store.admit_asking

    async def full(**kept: Any) -> None:
        if "promises" in kept:
            raise StorageError("the disk is full: make room")
        await keep(**kept)

    monkeypatch.setattr(desk.stage.store, "admit_asking", full)
    ended = await desk.run(*ZSM_OPTIONS, *BOTH)
    assert ended.code == 5, ended.out
    assert "● bekend" in ended.out
    assert "gebruik de uitkomsten hierboven niet" in ended.err
    assert "olgende stap" not in ended.out


async def test_fg_08_a_date_or_name_in_the_justification_is_warned_about_and_not_repeated(desk: Desk) -> None:
    text = "aangehouden met Jan de Vries, geboren 3-4-1990"
    ended = await desk.run(*ZSM_OPTIONS[:-1], text, *BOTH)
    assert ended.code == 0, ended.err
    assert "geboortedatum" in ended.err
    assert "Noem niemand bij naam" in ended.err
    assert "Vries" not in ended.err + ended.out


async def test_fg_27_json_carries_the_warning_too(desk: Desk) -> None:
    ended = await desk.run(*ZSM_OPTIONS, *BOTH, "--json")
    assert ended.code == 0, ended.err
    found = json.loads(ended.out)
    assert set(found) == {"purpose", "persons", "outcomes", "budget", "note"}
    assert (found["purpose"], found["persons"]) == (ZSM, 1)
    assert found["budget"]["purpose"] == {"limit": 40, "used": 1, "left": 39, "raised_until": None}
    told = {one["oin"]: one["outcome"] for one in found["outcomes"]}
    assert told[POLITIE] == "bekend"
    assert "bewijst niets" in found["note"]
    assert set(found["outcomes"][0]) == {"person", "oin", "name", "outcome", "as_of", "reason", "desk", "until"}


async def test_filters_are_fetched_before_the_number_is_read(desk: Desk) -> None:
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *("--config", str(desk.config), *ZSM_OPTIONS, *BOTH),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(60):
        while len(desk.stage.line.orders) < 2:
            await asyncio.sleep(0.01)
    assert desk.stage.line.begins == []
    await process.communicate(f"{PERSON.value}\n".encode())
    assert len(desk.stage.line.begins) == 1


async def test_fg_09_without_partners_the_command_lists_them_and_asks_nobody(desk: Desk) -> None:
    ended = await desk.run(*ZSM_OPTIONS)
    assert ended.code == 2
    assert f"--partner {POLITIE}" in ended.err
    assert f"--partner {RECLASSERING}" in ended.err
    assert desk.stage.line.begins == []


async def test_without_a_purpose_the_command_lists_those_of_the_role(desk: Desk) -> None:
    ended = await desk.run()
    assert ended.code == 2
    assert ZSM in ended.err
    assert ZVH_WEIGHING in ended.err


async def test_several_persons_one_per_line(desk: Desk) -> None:
    ended = await desk.run(*WEIGHING, "--json", stdin=f"{PERSON.value}\n\n{OTHER.value}\n")
    assert ended.code == 0, ended.err
    told = {(one["oin"], one["person"]): one["outcome"] for one in json.loads(ended.out)["outcomes"]}
    assert told[HAARLEM, 0] == "geen_uitsluitsel"
    assert told[HAARLEM, 1] == "bekend"


async def test_exit_3_when_a_partner_does_not_answer(desk: Desk) -> None:
    def fail(replies: list[broker_pb2.LookupResponse]) -> list[broker_pb2.LookupResponse]:
        failure = broker_pb2.Failure(question_id=replies[0].answer.question_id, code=errors_pb2.ERROR_CODE_UNREACHABLE)
        return [broker_pb2.LookupResponse(failure=failure), *replies[1:]]

    desk.stage.changes.replies = fail
    ended = await desk.run(*ZSM_OPTIONS, *BOTH)
    assert ended.code == 3
    assert "✕ geen antwoord" in ended.out
    assert "De partner is niet bereikbaar" in ended.out
    assert "'Geen antwoord' is geen 'geen uitsluitsel'" in ended.out


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--doel", ZSM, "--zaak", "fout", *BOTH, "--bevestig", "verdachte", "--motivering", "x"), "regel zaaknummer"),
        (("--doel", ZSM, "--zaak", ZSM_CASE, *BOTH, "--motivering", "x"), "--bevestig verdachte"),
        (("--doel", "kennemerland/onbekend", *BOTH), "regel onbekend-doel"),
        ((*ZSM_OPTIONS, *BOTH, "--namens", HAARLEM), "regel namens"),
        ((*ZSM_OPTIONS, "--partner", HAARLEM), "niet bevraagd"),
    ],
)
async def test_exit_4_when_a_rule_refuses(desk: Desk, options: tuple[str, ...], words: str) -> None:
    ended = await desk.run(*options)
    assert ended.code == 4
    assert words in ended.out + ended.err
    assert desk.stage.line.begins == []


@pytest.mark.parametrize("number", ["999990018", "abc", "", "12345678901"])
async def test_fg_23_an_invalid_number_never_leaves_the_command(desk: Desk, number: str) -> None:
    ended = await desk.run(*ZSM_OPTIONS, *BOTH, stdin=f"{number}\n")
    assert ended.code == 2
    assert not number or number not in ended.out + ended.err
    assert desk.stage.line.begins == []


async def test_too_many_persons_are_refused(desk: Desk) -> None:
    ended = await desk.run(*ZSM_OPTIONS, *BOTH, stdin=f"{PERSON.value}\n{OTHER.value}\n")
    assert ended.code == 2
    assert "hoogstens 1 personen" in ended.err


async def test_exit_5_when_no_node_runs(desk: Desk) -> None:
    await desk.server.stop()
    ended = await desk.run(*ZSM_OPTIONS, *BOTH)
    assert ended.code == 5
    assert "De node is niet bereikbaar" in ended.err


async def test_a_wrong_configuration_is_a_usage_fault_that_names_the_file(desk: Desk) -> None:
    desk.config.write_text("oin: 00000099002220647000\n")
    ended = await desk.run(*ZSM_OPTIONS, *BOTH)
    assert ended.code == 2
    assert "node.yaml" in ended.err


async def test_the_receipt_is_written_once_and_verifies(desk: Desk, tmp_path: Path) -> None:
    bon = tmp_path / "bon.json"
    ended = await desk.run(*ZSM_OPTIONS, *BOTH, "--bon", str(bon))
    assert ended.code == 0, ended.err
    assert stat.S_IMODE(bon.stat().st_mode) == 0o600
    found = receipt.verify(receipt.parse(bon.read_bytes()), {OM: key_of(OM).vkey})
    assert found.purpose == ZSM
    again = await desk.run(*ZSM_OPTIONS, *BOTH, "--bon", str(bon))
    assert again.code == 2
    assert len(desk.stage.line.begins) == 1


async def test_the_number_is_no_option(desk: Desk) -> None:
    ended = await desk.run(*ZSM_OPTIONS, *BOTH, PERSON.value)
    assert ended.code == 2
    assert desk.stage.line.begins == []


YOUNG = (
    *("--doel", ZVH_WEIGHING, "--zaak", ZVH_CASE, "--motivering", "x", "--partner", RECLASSERING),
    *("--bevestig", "positieve-toets", "--bevestig", "bgs-2-20"),
)


@pytest.fixture
async def minors(tmp_path: Path) -> AsyncIterator[Desk]:
    """The command at a node whose covenant asks the reclassering about minors alone."""
    stage = Stage(tmp_path, with_ages)
    stage.sources[RECLASSERING].known = (PERSON,)
    made = Desk(stage, tmp_path)
    await made.server.start(made.socket)
    yield made
    await made.server.stop()
    await stage.close()


@pytest.mark.parametrize(
    ("line", "code", "words"),
    [
        (";2010-05-17", 0, "● bekend"),
        ("; 17-05-2010", 0, "● bekend"),
        (";1990-05-17", 4, "niet tussen 12 en 17 jaar"),
        ("", 4, "er is geen geboortedatum"),
        (";2010-02-30", 2, "Persoon 1: Deze geboortedatum bestaat niet."),
        (";2026-12-02", 4, "ligt in de toekomst"),
    ],
)
async def test_fg_38_the_date_of_birth_stands_behind_the_number(minors: Desk, line: str, code: int, words: str) -> None:
    ended = await minors.run(*YOUNG, stdin=f"{PERSON.value}{line}\n")
    assert ended.code == code
    assert words in ended.out + ended.err
    assert "2010" not in ended.out + ended.err
    assert len(minors.stage.line.begins) == (code == 0)


async def test_fg_38_it_is_asked_only_where_a_chosen_partner_wants_an_age(minors: Desk) -> None:
    ended = await minors.run(*WEIGHING, stdin=f"{PERSON.value};2010-05-17\n")
    assert ended.code == 2
    listed = await minors.run("--doel", ZVH_WEIGHING)
    assert "alleen als (uit de geboortedatum): de persoon is 12 tot en met 17 jaar" in listed.err


async def test_fg_38_on_a_screen_the_command_asks_the_date_of_birth(minors: Desk) -> None:
    process, ours = await _on_a_screen("--config", str(minors.config), *YOUNG)
    os.write(ours, f"{PERSON.value}\n17-05-2010\n\n".encode())
    shown = await asyncio.to_thread(_all_of, ours)
    assert await process.wait() == 0
    assert "Gecontroleerde geboortedatum van persoon 1, zoals 31-12-2010" in shown
    assert "● bekend" in shown


async def _on_a_screen(*options: str) -> tuple[asyncio.subprocess.Process, int]:
    """The command at a terminal, and the other end of that."""
    ours, theirs = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *options,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "160", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(theirs)
    return process, ours


def _all_of(terminal: int) -> str:
    """What came until the other end closed."""
    found = b""
    with contextlib.suppress(OSError):
        while more := os.read(terminal, 65536):
            found += more
    os.close(terminal)
    return found.decode()


async def test_on_a_screen_the_command_prompts_and_fills_a_table(desk: Desk) -> None:
    process, ours = await _on_a_screen("--config", str(desk.config), *ZSM_OPTIONS, *BOTH)
    loop = asyncio.get_running_loop()
    shown = bytearray()
    more = asyncio.Event()

    def read() -> None:
        try:
            shown.extend(os.read(ours, 65536))
        except OSError:
            loop.remove_reader(ours)
        more.set()

    loop.add_reader(ours, read)
    async with asyncio.timeout(60):
        while b"Nummer van persoon 1" not in shown:
            more.clear()
            await more.wait()
    os.write(ours, f"{PERSON.value}\n".encode())
    assert await process.wait() == 0
    with contextlib.suppress(OSError):
        read()
    loop.remove_reader(ours)
    os.close(ours)
    text = shown.decode()
    assert "Welke partners kennen deze persoon?" in text
    assert "● bekend" in text
