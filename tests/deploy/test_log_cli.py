"""`bekend log`, as an auditor types it: exports of a broker and two nodes that were asked, and their exit codes."""

import asyncio
import json
import sqlite3
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from bekend_broker.config import load_config as load_broker
from bekend_deploy import log_cli
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, ZSM_CONTEXT
from bekend_node.config import load_config as load_node
from bekend_proto.checkpoint import log_origin
from bekend_proto.ledger.exported import read_export
from typer.testing import CliRunner

from tests.evil.world import World, asked_and_witnessed
from tests.support.clocks import SteeredClock

BROKER_LOG = log_origin(BROKER_OIN, "main")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Two lookups, and nodes that looked at the log."""
    made = World.build(tmp_path_factory.mktemp("log-cli") / "world")
    asyncio.run(asked_and_witnessed(made, ZSM_CONTEXT, (made.somebody, made.nobody)))
    return made


def data_of(world: World, oin: str) -> Path:
    return load_node(world.built.nodes[oin].config).data


@pytest.fixture
def later(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command runs an hour after the lookups."""
    monkeypatch.setattr(log_cli, "SystemClock", lambda: SteeredClock(world.clock.now() + timedelta(hours=1)))


def bekend(*words: str | Path) -> tuple[int, dict[str, Any]]:
    done = CliRunner().invoke(log_cli.app, [*map(str, words), "--json"])
    return done.exit_code, json.loads(done.stdout)


def exports(world: World, folder: Path) -> Path:
    """A folder of three exports, and the keys beside it."""
    folder.mkdir()
    now = world.clock.now()
    period = [
        word
        for name, step in (("--from", -1), ("--until", 1))
        for word in (name, f"{now + step * timedelta(minutes=30):%Y-%m-%dT%H:%M:%S}")
    ]
    om = world.built.nodes[OM.oin].config
    for name, words in {
        "broker": ("--broker", world.built.broker_config),
        "om": ("--node", om),
        "politie": ("--node", world.built.nodes[POLITIE.oin].config, "--records"),
    }.items():
        code, found = bekend("export", *words, *period, "--out", folder / f"{name}.export")
        assert code == 0, found
    code, found = bekend("keys", "--node", om)
    assert code == 0, found
    folder.with_suffix(".keys").write_text("\n".join(found["keys"]), encoding="utf-8")
    return folder


@pytest.mark.usefixtures("later")
def test_fg_29_exports_hold_and_agree(world: World, tmp_path: Path) -> None:
    folder = exports(world, tmp_path / "exports")
    keys = folder.with_suffix(".keys")
    code, found = bekend("verify", folder, "--keys", keys)
    assert (code, found["good"]) == (0, True)
    files = {one["log"]: one for one in found["files"]}
    assert files[BROKER_LOG]["witnesses"] == [OM.oin, POLITIE.oin]
    code, found = bekend("reconcile", folder, "--keys", keys)
    assert code == 0
    assert (found["questions"], found["answered"], found["findings"]) == (2, 2, [])
    told_in_words = CliRunner().invoke(log_cli.app, ["reconcile", str(folder), "--keys", str(keys)])
    assert "The logs agree." in told_in_words.stdout


@pytest.mark.usefixtures("later")
def test_fg_30_whoever_exports_a_log_stands_in_it(world: World, tmp_path: Path) -> None:
    folder = exports(world, tmp_path / "exports")
    assert len(list(folder.iterdir())) == 3
    for path in (load_broker(world.built.broker_config).data / "broker.db", data_of(world, OM.oin) / "node.db"):
        with closing(sqlite3.connect(path)) as connection:
            assert connection.execute("SELECT count(*) FROM log WHERE kind = 'exported'").fetchone()[0] >= 1


@pytest.mark.usefixtures("later")
def test_must_15_an_export_with_records_carries_the_logged_questions(world: World, tmp_path: Path) -> None:
    folder = exports(world, tmp_path / "exports")
    assert len(read_export((folder / "politie.export").read_bytes()).records) == 2
    assert read_export((folder / "om.export").read_bytes()).records == ()


@pytest.mark.usefixtures("later")
def test_what_is_wrong_has_exit_code_3_and_what_cannot_be_done_1(world: World, tmp_path: Path) -> None:
    folder = exports(world, tmp_path / "exports")
    keys, broker = folder.with_suffix(".keys"), folder / "broker.export"
    whole = broker.read_bytes()
    broker.write_bytes(whole.replace(b'"question"', b'"questiom"', 1))
    code, found = bekend("verify", broker, "--keys", keys)
    assert code == 3
    assert [one["kind"] for one in found["files"][0]["findings"]] == ["signature"]
    assert bekend("reconcile", folder, "--keys", keys)[0] == 1  # nobody speaks for the broker any more
    broker.write_bytes(whole)
    assert bekend("reconcile", folder, folder / "om.export", "--keys", keys)[0] == 1
    code, found = bekend("reconcile", folder, "--keys", keys, "--until", f"{world.clock.now():%Y}-12-31")
    assert code == 1
    assert "does not reach" in found["fault"]
    assert bekend("verify", tmp_path / "none", "--keys", keys)[0] == 1
    assert bekend("keys")[0] == 1
    now = f"{world.clock.now():%Y-%m-%d}"
    assert (
        bekend("export", "--broker", world.built.broker_config, "--from", now, "--until", now, "--out", broker)[0] == 1
    )
    assert broker.read_bytes() == whole
