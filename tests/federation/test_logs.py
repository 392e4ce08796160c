"""Three logs of real processes: witnessed, exported, verified, reconciled; and a broker that forks its log (FG-29)."""

import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from bekend_deploy import log_cli
from bekend_deploy.federation import Federation
from bekend_deploy.partners import BROKER_OIN, OM, POLITIE, RECLASSERING, Partner
from bekend_proto import log_table
from bekend_proto.checkpoint import NO_CHECKPOINT, log_origin
from bekend_proto.log_table import Entry
from bekend_proto.v1.signed_pb2 import Question
from typer.testing import CliRunner

from tests.federation.fixtures_small import SOURCES, TRIO, Small, small_federation

BOTH = dict.fromkeys(SOURCES, "bekend")
ORIGIN = log_origin(BROKER_OIN, "main")


class Later:
    """Ten minutes from now: nothing of the lookups is under way any more when their logs are exported."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(minutes=10)


def often(federation: Federation) -> None:
    """Checkpoints several times a second."""
    with federation.built.broker_config.open("a", encoding="utf-8") as file:
        file.write("\nlimits:\n  checkpoint_seconds: 0.2\n")
    for node in federation.built.nodes.values():
        with node.config.open("a", encoding="utf-8") as file:
            file.write("\ncheckpoint_seconds: 0.2\n")


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    with small_federation(tmp_path / "federation", prepare=often) as made:
        yield made


def log_status(small: Small, partner: Partner) -> dict[str, Any]:
    found: dict[str, Any] = small.federation.status(partner.oin)["log"]
    return found


def query(small: Small, partner: Partner | None, statement: str) -> list[Any]:
    name = "data/broker.db" if partner is None else "data/node.db"
    with closing(sqlite3.connect(f"file:{small.folder(partner) / name}?mode=ro", uri=True, timeout=10)) as connection:
        return connection.execute(statement).fetchall()


def settled(small: Small) -> bool:
    """Every node proved the broker's whole log, the broker saw theirs, and no promise is open."""
    size = small.rows(None, "log")
    return (
        all(log_status(small, partner)["seen"].get(ORIGIN) == size for partner in TRIO)
        and not query(small, OM, "SELECT 1 FROM promise WHERE proved IS NULL")
        and dict(query(small, None, "SELECT origin, size FROM log_seen"))
        == {log_origin(partner.oin, "node"): small.rows(partner, "log") for partner in TRIO}
    )


def bekend(*words: str | Path) -> tuple[int, dict[str, Any], str]:
    """One command of `bekend`, with --json."""
    done = subprocess.run(
        [sys.executable, "-m", "bekend_deploy.cli", *map(str, words), "--json"],
        capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    return done.returncode, json.loads(done.stdout or "{}"), done.stderr


class Exports:
    """What an auditor is given: keys, and an export of each of four."""

    def __init__(self, small: Small, folder: Path) -> None:
        self.small = small
        self.folder = folder
        folder.mkdir()
        self.keys = folder.with_suffix(".keys")
        now = datetime.now(UTC)
        moments = (f"{moment:%Y-%m-%dT%H:%M:%S}" for moment in (now - timedelta(hours=1), now + timedelta(minutes=1)))
        self.period = tuple(zip(("--from", "--until"), moments, strict=True))
        code, found, _ = bekend("log", "keys", "--node", small.built.nodes[OM.oin].config)
        assert code == 0
        self.keys.write_text("\n".join(found["keys"]), encoding="utf-8")
        self.make("broker", "--broker", small.built.broker_config)
        for partner in TRIO:
            self.make(partner.oin, "--node", small.built.nodes[partner.oin].config, "--records")

    def make(self, name: str, *words: str | Path) -> Path:
        out = self.folder / f"{name}.export"
        out.unlink(missing_ok=True)
        options = [word for pair in self.period for word in pair]
        with patch.object(log_cli, "SystemClock", Later):
            done = CliRunner().invoke(log_cli.app, ["export", *map(str, words), *options, "--out", str(out)])
        assert done.exit_code == 0, done.output
        return out

    def verify(self) -> tuple[int, dict[str, Any]]:
        code, found, _ = bekend("log", "verify", self.folder, "--keys", self.keys)
        return code, found

    def reconcile(self) -> tuple[int, dict[str, Any]]:
        code, found, error = bekend("log", "reconcile", self.folder, "--keys", self.keys)
        assert not error, error
        return code, found


def test_fg_29_lookups_are_witnessed_exported_verified_and_reconciled(small: Small, tmp_path: Path) -> None:
    for _ in range(3):
        assert small.told() == BOTH
        small.process(OM).ready(lambda: settled(small))
    # What was seen travels: in Questions from the second lookup on.
    carried = [Question.FromString(row[0]).checkpoint for row in query(small, POLITIE, "SELECT payload FROM answered")]
    assert sum(one != NO_CHECKPOINT for one in carried) >= 2
    assert all(log_status(small, partner)["alarms"] == [] for partner in TRIO)

    exports = Exports(small, tmp_path / "exports")
    code, found = exports.verify()
    assert code == 0, found
    by_log = {one["log"]: one for one in found["files"]}
    assert set(by_log) == {ORIGIN, *(log_origin(partner.oin, "node") for partner in TRIO)}
    assert set(by_log[ORIGIN]["witnesses"]) == {partner.oin for partner in TRIO}
    code, found = exports.reconcile()
    assert code == 0, found
    assert (found["questions"], found["answered"], found["not_admitted"]) == (6, 6, 0)


def rewrite(path: Path, change: Callable[[list[Entry]], None]) -> None:
    """Write another history into a database: what somebody can do who controls the machine."""
    with closing(sqlite3.connect(path)) as connection:
        triggers = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        history = log_table.entries(connection, 0, log_table.log_size(connection))
        change(history)
        connection.execute("DELETE FROM log")
        connection.execute("DELETE FROM tree")
        connection.execute("DELETE FROM checkpoint")
        log_table.append(connection, history)
        connection.commit()


def drop_one(history: list[Entry]) -> None:
    del history[next(n for n, entry in enumerate(history) if entry.kind == "answered")]


def test_fg_29_a_source_that_hides_a_question_is_found(small: Small, tmp_path: Path) -> None:
    """The police exports another log than it kept: without one question, with a tree to match, signed with its key."""
    assert small.told() == BOTH
    small.process(OM).ready(lambda: settled(small))
    exports = Exports(small, tmp_path / "exports")
    forged = tmp_path / "forged"
    shutil.copytree(small.folder(POLITIE), forged, ignore=shutil.ignore_patterns("*.sock"))
    rewrite(forged / "data" / "node.db", drop_one)
    exports.make(POLITIE.oin, "--node", forged / small.built.nodes[POLITIE.oin].config.name)
    assert exports.verify()[0] == 0
    code, found = exports.reconcile()
    assert code == 3
    wrong = {(one["kind"], one["log"]) for one in found["findings"]}
    assert wrong == {("hidden", log_origin(POLITIE.oin, "node")), ("rewritten", log_origin(POLITIE.oin, "node"))}


def test_fg_29_a_broker_that_forks_its_log_is_caught(small: Small, tmp_path: Path) -> None:
    assert small.told() == BOTH
    small.process(OM).ready(lambda: settled(small))
    small.process(None).stop()

    def forget(history: list[Entry]) -> None:
        del history[next(n for n, entry in enumerate(history) if entry.kind == "question")]

    rewrite(small.folder(None) / "data" / "broker.db", forget)
    small.federation.start_broker()
    # Each node finds it by itself, and from then on neither asks nor answers.
    for partner in TRIO:
        small.process(partner).ready(lambda one=partner: bool(log_status(small, one)["stopped"]))  # type: ignore[misc]
    assert small.ask().refused
    exports = Exports(small, tmp_path / "exports")
    code, found = exports.reconcile()
    assert code == 3
    assert ("rewritten", ORIGIN) in {(one["kind"], one["log"]) for one in found["findings"]}
    # It survives a restart, and `status` says so.
    small.federation.stop_node(OM.oin)
    small.federation.start_node(OM.oin)
    config = small.built.nodes[OM.oin].config
    code, found, _ = bekend("node", "status", "--config", config)
    assert code == 3
    alarm = found["log"]["alarms"][0]
    assert (alarm["stops"], alarm["origin"]) == (True, ORIGIN)
    assert small.ask().refused

    for partner in (OM, POLITIE, RECLASSERING):
        config = small.built.nodes[partner.oin].config
        for number in [one["number"] for one in log_status(small, partner)["alarms"]]:
            words = ("node", "alarm", "clear", str(number), "--reason", "exercise with a forked log")
            code, _, error = bekend(*words, "--config", config)
            assert code == 0, error
        assert query(small, partner, "SELECT count(*) FROM log WHERE kind = 'alarm-cleared'") != [(0,)]
    small.federation.wait_until_attached()
    small.open()
    assert small.told() == BOTH
    small.process(OM).ready(lambda: settled(small))
