"""`bekend node`, as an operator types it: what it prints, what it leaves behind, and its exit codes."""

import asyncio
import errno
import json
import os
import re
import socket
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest
import typer
import yaml
from bekend_broker.app import Broker
from bekend_deploy.partners import POLITIE, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_deploy.postgres_server import PostgresServer
from bekend_node.cli import app
from bekend_node.enrol.lists import Wanted
from bekend_node.enrol.plan import Report
from bekend_node.terminal import faults
from bekend_policy.manifest import parse_manifest
from bekend_proto.clock import epoch_of
from bekend_proto.errors import BekendError, BudgetError, RefusedError, StorageError
from bekend_proto.note import note_name, sign_note
from nacl.signing import SigningKey
from typer.testing import CliRunner

from tests.support.clocks import SteeredClock
from tests.support.federation import PEOPLE, Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority

REGISTER = POLITIE.registers[0]
runner = CliRunner()


@dataclass
class Shell:
    """A partner's machine: runs `bekend node ...` as a process, beside a broker in this one."""

    home: NodeHome
    broker: Broker

    async def run(self, *words: str, typed: str = "") -> tuple[int, str, str]:
        """Exit code, standard output, standard error."""
        process = await self.start(*words, typed=True)
        output, errors = await process.communicate(typed.encode())
        return process.returncode or 0, output.decode(), errors.decode()

    async def start(self, *words: str, typed: bool = False, **environment: str) -> asyncio.subprocess.Process:
        config = self.home.folder / "node.yaml"
        pipe = asyncio.subprocess.PIPE
        return await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bekend_deploy.cli", "node", words[0], "--config", str(config), *words[1:],
            stdin=pipe if typed else asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe,
            env={**os.environ, **environment},
        )  # fmt: skip


@pytest.fixture
async def shell(tmp_path: Path, authority: Authority) -> AsyncIterator[Shell]:
    federation = Federation.create(tmp_path, authority, clock=SteeredClock(datetime.now(UTC)))
    home = NodeHome.create(federation, POLITIE.oin)
    async with federation.broker() as broker:
        home.config(broker.port)
        yield Shell(home, broker)


def test_init_writes_a_commented_configuration_and_keys_once(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    words = ["init", "--config", str(path), "--oin", "00000099000000002000", "--broker", "broker.example.nl:443"]
    done = runner.invoke(app, words)
    assert done.exit_code == 0, done.output
    text = path.read_text()
    assert 'oin: "00000099000000002000"' in text
    assert text.count("#") > 20
    kept = {file.name: file.read_bytes() for file in (tmp_path / "keys").iterdir()}
    assert set(kept) == {"signing.key", "state.key", "desk.key", f"root-{epoch_of(datetime.now(UTC))}.key"}
    again = runner.invoke(app, words)
    assert again.exit_code == 1
    assert "never overwritten" in again.output + again.stderr
    assert kept == {file.name: file.read_bytes() for file in (tmp_path / "keys").iterdir()}


ASKED = ["--oin", "00000099000000002000", "--broker", "broker.example.nl:443"]


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--anchor", "ondertekenaar"], "ondertekenaar: No such file or directory"),
        (["--anchor", "bekend/1+2+3"], "--anchor: a verification key is written"),
        (["--anchor", "bestand.vkey"], "--anchor: a verification key is written name+hash+key"),
        (["--approver", "bekend/1+2+3"], "--approver: a verification key is written"),
        (["--covenant", "convenant"], "convenant: no covenant is there"),
        (["--oin", "12"], "node.yaml:"),
        (["--broker", "broker"], "node.yaml:"),
    ],
)
def test_init_that_cannot_be_done_leaves_nothing_behind(tmp_path: Path, words: list[str], told: str) -> None:
    (tmp_path / "bestand.vkey").write_text("geen sleutel\n")
    words = [str(tmp_path / word) if word.startswith(("ondert", "bestand")) else word for word in words]
    done = runner.invoke(app, ["init", "--config", str(tmp_path / "node.yaml"), *ASKED, *words])
    assert done.exit_code == 1, done.output
    assert told in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["bestand.vkey"]


def test_init_on_a_full_disk_names_the_file_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    path = tmp_path / "node.yaml"
    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        done = runner.invoke(app, ["init", "--config", str(path), *ASKED])
    assert done.exit_code == 1
    assert done.stderr == f"{path}: No space left on device: make room, and run this again\n"
    assert not list(tmp_path.iterdir())
    assert runner.invoke(app, ["init", "--config", str(path), *ASKED]).exit_code == 0


def test_init_ignores_no_option_where_a_configuration_is(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    assert runner.invoke(app, ["init", "--config", str(path), *ASKED]).exit_code == 0
    for key in (tmp_path / "keys").iterdir():
        key.unlink()
    text = path.read_text()
    again = runner.invoke(app, ["init", "--config", str(path), "--oin", "00000099000000003000"])
    assert again.exit_code == 1
    assert f"{path} is there already" in again.stderr
    assert not list((tmp_path / "keys").iterdir())
    assert runner.invoke(app, ["init", "--config", str(path)]).exit_code == 0
    assert (path.read_text(), len(list((tmp_path / "keys").iterdir()))) == (text, 4)


async def test_backups_are_kept_as_long_as_results_live_and_never_destroyed_by_a_wrong_number(shell: Shell) -> None:
    shell.home.folder.joinpath("data").mkdir(exist_ok=True)
    kept = shell.home.folder / "copies"
    code, _, errors = await shell.run("backup", str(kept), "--keep", "169")
    assert (code, errors) == (
        4,
        "a backup may be kept for 3 days at most: results live no longer, and a copy must not either\n",
    )
    for wrong in ("0", "-1", "1000000000000"):
        code, _, errors = await shell.run("backup", str(kept), "--keep", wrong)
        assert (code, "--keep" in errors) == (2, True)


async def test_manifest_writes_the_next_number_for_the_ondertekenaar(shell: Shell) -> None:
    code, output, errors = await shell.run("manifest", "--json")
    assert code == 0, errors
    path = Path(json.loads(output)["manifest"])
    manifest = parse_manifest(path.read_text())
    assert (manifest.number, manifest.oin) == (shell.home.party.number + 1, POLITIE.oin)
    assert {purpose for _, purpose, _ in manifest.evaluation_keys} == {ZSM_CONTEXT, ZVH_WEIGHING}
    assert manifest.contact == "Loket, loket@partner.example"


async def test_fg_11_no_manifest_is_made_without_a_desk(shell: Shell) -> None:
    config = shell.home.folder / "node.yaml"
    config.write_text("".join(line for line in config.open() if not line.startswith("desk:")))
    code, _, errors = await shell.run("manifest")
    assert code == 1
    assert "set `desk` in node.yaml" in errors


async def test_enrol_reports_and_stops_with_the_codes_that_help_names(shell: Shell) -> None:
    home = shell.home
    path = home.csv(REGISTER, [*PEOPLE, PEOPLE[0]])
    with path.open("a") as file:
        file.write("123456789;\n")
    code, output, errors = await shell.run("enrol", "--register", REGISTER, "--file", str(path), "--json")
    assert code == 0, errors
    facts = json.loads(output)
    assert (facts["rows"], facts["persons"], facts["merged"], facts["refused"]) == (8, 6, 1, 1)
    assert facts["refusals"][0]["line"] == 9
    assert "123456789" not in output + errors
    assert not any(person.value in output + errors for person in PEOPLE)

    path.write_text("")
    code, _, errors = await shell.run("enrol", "--register", REGISTER, "--file", str(path))
    assert code == 1
    assert f"{path}:1: the file is empty" in errors
    assert "Traceback" not in errors
    code, _, errors = await shell.run("enrol", "--register", "nazorg", "--file", str(path))
    assert (code, "has no register 'nazorg'" in errors) == (2, True)
    code, _, errors = await shell.run("enrol", "--register", REGISTER)
    assert (code, "names no database: give --file" in errors) == (4, True)


async def test_the_inbox_takes_every_list_and_leaves_what_a_guard_stopped(shell: Shell) -> None:
    home, folder = shell.home, shell.home.folder / "inbox"
    folder.mkdir()
    home.csv(REGISTER, PEOPLE).rename(folder / f"{REGISTER}.csv")
    home.csv("unheard-of", PEOPLE).rename(folder / "unheard-of.csv")
    (folder / "notes.txt").write_text("no list")
    code, output, errors = await shell.run("inbox", str(folder), "--json")
    found = json.loads(output)
    assert code == 4, errors
    assert found["imported"] == {f"{REGISTER}.csv": 6}
    assert "has no register 'unheard-of'" in found["stopped"]["unheard-of.csv"]
    assert not any(person.value in output + errors for person in PEOPLE)
    assert sorted(file.name for file in folder.iterdir()) == ["notes.txt", "unheard-of.csv"]

    (folder / "unheard-of.csv").unlink()
    home.csv(REGISTER, PEOPLE[:1], change="-").rename(folder / f"{REGISTER}.changes.csv")
    code, output, errors = await shell.run("inbox", str(folder))
    assert code == 0, errors
    assert "the file is removed" in output
    code, output, _ = await shell.run("inbox", str(folder))
    assert (code, "no list" in output) == (0, True)


def test_one_list_of_the_inbox_that_goes_wrong_in_an_unforeseen_way_holds_up_no_other(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = NodeHome.create(Federation.create(tmp_path, authority), POLITIE.oin)
    home.config(1)
    folder = home.folder / "inbox"
    folder.mkdir()
    for name in ("a", "b", "c", "d"):
        (folder / f"{name}.csv").write_text(f"bsn\n{PEOPLE[0].value}\n")

    async def enrol(_: object, wanted: Wanted, *__: object) -> Report:
        assert wanted.file is not None
        if wanted.register == "a":
            raise ZeroDivisionError(PEOPLE[0].value)
        if wanted.register == "b":
            # The keeper of the register lays down the next list while this one is imported.
            (folder / "new").write_text(f"bsn\n{PEOPLE[1].value}\n")
            (folder / "new").replace(wanted.file)
        if wanted.register == "c":
            wanted.file.unlink()
            wanted.file.mkdir()
        return Report(persons=1)

    monkeypatch.setattr("bekend_node.inbox_cli.enrol_file", enrol)
    done = runner.invoke(app, ["inbox", str(folder), "--config", str(home.folder / "node.yaml"), "--json"])
    assert done.exit_code == 1, done.output
    found = json.loads(done.stdout)
    assert found["imported"] == {"b.csv": 1, "c.csv": 1, "d.csv": 1}
    assert "ZeroDivisionError" in found["stopped"]["a.csv"]
    assert not any(person.value in done.output for person in PEOPLE)
    assert sorted(file.name for file in folder.iterdir()) == ["a.csv", "b.csv", "c.csv"]
    assert (folder / "b.csv").read_text().split()[1] == PEOPLE[1].value
    assert set(found["left"]) == {"b.csv", "c.csv"}


async def test_the_inbox_asks_databases_for_what_is_imported_nightly(shell: Shell, postgres: PostgresServer) -> None:
    home, folder = shell.home, shell.home.folder / "inbox"
    folder.mkdir()
    with postgres.admin() as connection:
        connection.execute("CREATE DATABASE nachtelijk")
    with postgres.admin("nachtelijk") as connection:
        connection.execute("CREATE TABLE zaken (bsn text, mutatie text, op date)")
        for person in PEOPLE[:3]:
            connection.execute("INSERT INTO zaken VALUES (%s, '+', current_date)", (person.value,))
    database = {
        "kind": "postgresql", "host": str(postgres.folder), "port": str(postgres.port), "name": "nachtelijk",
        "user": "postgres", "query": "select * from zaken order by bsn",
        "changes": "select * from zaken where op >= :since order by bsn",
    }  # fmt: skip
    home.write_mapping(REGISTER, columns={"identifier": "bsn", "change": "mutatie"}, database=database)
    registers = home.tree(shell.broker.port)["registers"]
    registers[REGISTER]["nightly"] = "changes"
    home.settings["registers"] = registers
    home.config(shell.broker.port)

    code, output, errors = await shell.run("inbox", str(folder), "--json")
    name = f"{REGISTER} (database)"
    assert (code, list(json.loads(output)["stopped"])) == (4, [name]), errors
    code, _, errors = await shell.run("enrol", "--register", REGISTER)
    assert code == 0, errors
    code, output, errors = await shell.run("inbox", str(folder), "--json")
    assert (code, json.loads(output)) == (0, {"imported": {name: 3}, "stopped": {}}), errors
    assert not any(person.value in output + errors for person in PEOPLE)


async def test_leaving_destroys_what_pseudonyms_are_made_with_and_keeps_the_accounts(shell: Shell) -> None:
    home = shell.home
    await shell.run("enrol", "--register", REGISTER, "--file", str(home.csv(REGISTER, PEOPLE)))
    shown, output, errors = await shell.run("leave", "--json")
    assert shown == 0, errors
    would = [Path(name) for name in json.loads(output)["would_destroy"]]
    assert all(path.is_file() for path in would)
    code, _, errors = await shell.run("leave", "--destroy")
    assert (code, "give --note" in errors) == (4, True)

    text = (
        f'soort: bekend/1 stilzetting\nconvenant: {home.federation.covenant.id}\nnummer: 1\nwie: "{home.oin}"\n'
        f'wat: knooppunt\nknooppunt: "{home.oin}"\nintrekking: nee\nreden: "Vertrek"\nvanaf: 2026-11-22T10:00:00Z\n'
    )
    note = home.folder / "vertrek.note"
    note.write_bytes(sign_note(text, note_name(home.oin, "ondertekenaar"), bytes(SigningKey.generate())))
    code, _, errors = await shell.run("leave", "--destroy", "--note", str(note))
    assert (code, "no valid signature" in errors) == (1, True)
    note.write_bytes(sign_note(text, note_name(home.oin, "ondertekenaar"), bytes(home.party.signer)))
    code, output, errors = await shell.run("leave", "--destroy", "--note", str(note), "--json")
    assert code == 0, errors
    assert not any(path.exists() for path in would)
    assert [path.name for path in (home.folder / "keys").iterdir()] == ["state.key"]
    assert {Path(name).name for name in json.loads(output)["kept"]} >= {"state.key", "node.db"}
    left = {path.name for path in home.data.rglob("*") if path.is_file() and path.suffix != ".lock"}
    assert {name.split("-")[0] for name in left} == {"node.db"}
    again, output, _ = await shell.run("leave", "--json")
    assert (again, json.loads(output)["would_destroy"]) == (0, [])


async def test_mistakes_in_the_configuration_name_file_and_line(shell: Shell) -> None:
    path = shell.home.folder / "node.yaml"
    good = path.read_text()
    path.write_text(good + "kanarie: x\n")
    code, _, errors = await shell.run("status")
    assert code == 1
    assert f"{path}:{len(good.splitlines()) + 1}" in errors
    path.write_text(re.sub(r"oin: .*", "oin: '00000099000000003000'", good, count=1))
    code, _, errors = await shell.run("doctor", "--no-canary")
    assert code == 3


async def test_shield_reads_numbers_from_standard_input_and_never_shows_them(shell: Shell) -> None:
    one, other = PEOPLE[:2]
    code, output, errors = await shell.run("shield", typed=f"{one.value}\n{other.value}\n")
    assert code == 0, errors
    assert "2 person(s) shielded" in output
    assert one.value not in output + errors
    code, _, errors = await shell.run("shield", typed="123456789\n")
    assert (code, "line 1" in errors, "123456789" in errors) == (1, True, False)
    code, _, _ = await shell.run("shield", one.value)
    assert code == 2


@pytest.fixture
def systemd(tmp_path: Path) -> Iterator[socket.socket]:
    """Stands for the service manager: keeps what the node tells it."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
        line.bind(str(tmp_path / "notify"))
        line.settimeout(60)
        yield line


async def test_serve_status_check_and_a_clean_stop(shell: Shell, systemd: socket.socket) -> None:
    path = shell.home.csv(REGISTER, PEOPLE)
    code, _, errors = await shell.run("status")
    assert (code, "bekend node serve" in errors) == (1, True)
    serving = await shell.start("serve", NOTIFY_SOCKET=systemd.getsockname(), WATCHDOG_USEC="3000000")
    assert serving.stderr is not None
    try:
        await _event(serving.stderr, "attached")
        assert await _told(systemd) == ["READY=1"]
        alive, status = await _told(systemd)
        assert alive == "WATCHDOG=1"
        assert re.fullmatch(r"STATUS=attached to [01] of 1 brokers, 0 of 2 purposes answered", status)
        code, output, _ = await shell.run("status", "--json")
        assert code == 3
        assert "was not imported" in json.loads(output)["purposes"][ZSM_CONTEXT]["reason"]
        code, _, errors = await shell.run("enrol", "--register", REGISTER, "--file", str(path))
        assert code == 0, errors
        await _event(serving.stderr, "filter-switched")
        code, output, _ = await shell.run("status")
        assert code == 0
        assert "next switch" in output
        code, output, _ = await shell.run("doctor", "--json")
        # The broker's clock stands still since this test began, and no backup was made: doctor sees both.
        checks = [row for row in json.loads(output)["checks"] if not row["what"].startswith(("clock beside", "backup"))]
        findings = {row["what"]: row["good"] for row in checks}
        assert code in {0, 6}
        assert all(findings.values()), output
        assert f"canary under {ZSM_CONTEXT}, over the broker" in findings
        number = f"{PEOPLE[0].value}\n"
        code, _, errors = await shell.run("shield", "--nu", ZSM_CONTEXT, typed=number)
        assert (code, "Schrijf waarom" in errors) == (1, True)
        halt = ("shield", "--nu", ZSM_CONTEXT, "--reden", "bedreigd door een ex-partner", "--json")
        code, output, errors = await shell.run(*halt, typed=number)
        assert code == 0, errors
        halted = json.loads(output)["halted"]
        code, output, _ = await shell.run("status", "--json")
        purpose = json.loads(output)["purposes"][ZSM_CONTEXT]
        assert (code, purpose["halted"], "halted" in purpose["reason"]) == (3, True, True)
        assert datetime.fromisoformat(halted[ZSM_CONTEXT]) == datetime.fromisoformat(purpose["next_switch"])
    finally:
        serving.terminate()
    _, errors_left = await serving.communicate()
    assert serving.returncode == 0
    assert '"node-stopped"' in errors_left.decode()
    assert not (shell.home.folder / "node.sock").exists()


async def test_a_node_of_a_tampered_covenant_or_anchor_does_not_start(shell: Shell) -> None:
    path = shell.home.folder / "node.yaml"
    tree = yaml.load(path.read_text(), yaml.BaseLoader)
    stranger = shell.home.federation.parties[POLITIE.oin].signer_vkey.replace("2000", "3000", 1)
    path.write_text(yaml.safe_dump(tree | {"anchor": stranger}))
    code, _, errors = await shell.run("serve")
    assert (code, "Traceback" in errors) == (1, False)
    path.write_text(yaml.safe_dump(tree))
    purposes = next(iter((shell.home.federation.covenant_folder / "doelen").iterdir()))
    purposes.write_text(purposes.read_text().replace("titel: ", "titel: Stiekem ", 1))
    code, _, errors = await shell.run("serve")
    assert (code, "Traceback" in errors) == (1, False)


async def _told(systemd: socket.socket) -> list[str]:
    return (await asyncio.to_thread(systemd.recv, 4096)).decode().split("\n")


async def _event(stream: asyncio.StreamReader, name: str) -> None:
    """Read the log until this event."""
    while line := await stream.readline():
        if json.loads(line)["event"] == name:
            return
    pytest.fail(f"the log ended without {name}")


@pytest.mark.parametrize(
    ("fault", "code"),
    [(BudgetError("used up"), 4), (RefusedError("register", "geen register"), 4), (StorageError("full"), 1)],
)
def test_what_is_refused_has_another_code_than_what_is_broken(fault: BekendError, code: int) -> None:
    with pytest.raises(typer.Exit) as ended, faults(as_json=False):
        raise fault
    assert ended.value.exit_code == code
