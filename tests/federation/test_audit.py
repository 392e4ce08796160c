"""The audit by sample over real processes: lookups, a checkpoint that all cosigned, the opening, the judgement.

A day passes by the clocks of the processes, so that the checkpoint is later than the period.
"""

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
from bekend_deploy import log_cli
from bekend_deploy.partners import BROKER_OIN, OM
from bekend_node.audit.basis import Given, load_basis
from bekend_policy.log_use import Days
from bekend_policy.officer_key import OFFICER, write_officer_key
from bekend_proto.checkpoint import log_origin
from bekend_proto.clock import day_of
from nacl.pwhash import argon2id
from typer.testing import CliRunner

from tests.federation.fixtures_small import TRIO, Small, small_federation
from tests.federation.test_logs import bekend, log_status, often

WORDS = "paard batterij nietje"
ORIGIN = log_origin(BROKER_OIN, "main")
DAY = 86_400
LOOKUPS = 20
"""Of two Questions each: one draw in eight takes none of them, and then there is another."""


class Tomorrow:
    """The clock of the processes, ten minutes on."""

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=DAY + 600)


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Small]:
    with small_federation(tmp_path / "federation", prepare=often) as made:
        yield made


class Audit:
    """The tables of auditor and privacy officer."""

    def __init__(self, small: Small, folder: Path) -> None:
        self.small = small
        self.folder = folder
        folder.mkdir()
        self.today = day_of(datetime.now(UTC))
        self.words = folder / "ww"
        self.words.write_text(WORDS + "\n")
        self.words.chmod(0o600)
        cheap = {"operations": argon2id.OPSLIMIT_INTERACTIVE, "memory": argon2id.MEMLIMIT_INTERACTIVE}
        key = small.built.nodes[OM.oin].off_line.privacy_officer
        write_officer_key(folder / "po.key", key, OFFICER, WORDS, **cheap)
        self.keys = folder / "keys.txt"
        code, found, error = bekend("log", "keys", "--node", small.built.nodes[OM.oin].config)
        assert code == 0, error
        self.keys.write_text("\n".join(found["keys"]), encoding="utf-8")
        self.logs = folder / "logs-0"
        self.point = folder / "punt.note"

    def export(self, name: str, *words: str | Path) -> Path:
        out = self.logs / f"{name}.export"
        first, last = self.today - timedelta(days=2), self.today + timedelta(days=3)
        period = ("--from", first.isoformat(), "--until", last.isoformat(), "--out", str(out))
        with patch.object(log_cli, "SystemClock", Tomorrow):
            done = CliRunner().invoke(log_cli.app, ["export", *map(str, words), *period])
        assert done.exit_code == 0, done.output
        return out

    def draw(self, number: int) -> int:
        """Exports of all, and a checkpoint; how many Questions it draws."""
        self.logs = self.folder / f"logs-{number}"
        self.logs.mkdir()
        self.point = self.folder / f"punt-{number}.note"
        broker = self.export("makelaar", "--broker", self.small.built.broker_config)
        for partner in TRIO:
            self.export(partner.oin, "--node", self.small.built.nodes[partner.oin].config, "--records")
        day = ("--tot-en-met", self.today.isoformat())
        code, found, error = bekend("audit", "trekking", broker, self.point, "--keys", self.keys, *day)
        assert code == 0, (found, error)
        given = Given([self.logs], [self.point], self.keys, Days(self.today, self.today))
        return len(load_basis(given, BROKER_OIN).of(OM.oin))

    def shared(self, *logs: Path) -> list[str | Path]:
        day = self.today.isoformat()
        built = self.small.built
        return [
            "--van", day, "--tot-en-met", day, *(word for one in logs for word in ("--logboek", one)),
            "--controlepunt", self.point, "--keys", self.keys, "--convenant", built.covenant,
            "--anker", built.nodes[OM.oin].off_line.signer.vkey,
        ]  # fmt: skip

    def show(self, out: Path, exported: Path) -> tuple[int, dict[str, Any]]:
        own = ("--export", exported, "--sleutel", self.folder / "po.key", "--wachtwoordbestand", self.words)
        logs = self.shared(self.logs / "makelaar.export")
        code, found, _ = bekend("audit", "steekproef", out, *logs, *own, "--wachtwoord-auditor", self.words)
        return code, found

    def judge(self, opening: Path) -> tuple[int, dict[str, Any]]:
        code, found, _ = bekend("audit", "toets", opening, *self.shared(self.logs), "--wachtwoord-opening", self.words)
        return code, found


def test_must_15_and_22_an_audit_over_real_processes_and_a_requester_that_hides(small: Small, tmp_path: Path) -> None:
    for _ in range(LOOKUPS):
        small.told()
    audit = Audit(small, tmp_path / "tafel")
    small.shift_clock(DAY)
    size = small.rows(None, "log")
    drawn = 0
    for number in range(6):
        small.open()  # filters are fetched anew: the broker's log goes on
        small.process(OM).ready(partial(_all_saw_more, small, size))
        size = small.rows(None, "log")
        if drawn := audit.draw(number):
            break
    assert drawn

    exported = audit.folder / "export.db"
    code, _, error = bekend("inzage", "export", exported, "--config", small.built.nodes[OM.oin].config)
    assert code == 0, error
    opening = audit.folder / "opening.json"
    code, shown = audit.show(opening, exported)
    assert (code, shown["drawn"], shown["missing"]) == (0, drawn, [])
    code, found = audit.judge(opening)
    assert code == 0, found
    assert (found["questions"], found["drawn"], found["tested"]) == (2 * LOOKUPS, drawn, drawn)
    assert found["breaches"] == found["untested"] == []
    assert len(found["cases"]) == min(drawn, 10)
    assert small.somebody not in opening.read_text()

    # The requester's officer keeps one own record back: the auditor names the Questions of it.
    hidden = shown["cases"][0]["question"]
    forged = audit.folder / "zonder.db"
    _drop_lookups(exported, forged)
    code, less = audit.show(audit.folder / "zonder.json", forged)
    assert code == 3
    assert hidden in less["missing"]
    code, found = audit.judge(audit.folder / "zonder.json")
    assert code == 3
    assert {one["question"] for one in found["breaches"]} == set(less["missing"])
    assert {(one["requester"], one["what"]) for one in found["breaches"]} == {(OM.oin, "not_shown")}


def _all_saw_more(small: Small, size: int) -> bool:
    """Whether every node proved, and so cosigned, the broker's log since it went on."""
    now = small.rows(None, "log")
    return now > size and all(log_status(small, partner)["seen"].get(ORIGIN) == now for partner in TRIO)


def _drop_lookups(source: Path, target: Path) -> None:
    shutil.copy(source, target)
    with closing(sqlite3.connect(target)) as connection:
        connection.execute("DELETE FROM own WHERE kind = 'lookup'")
        connection.commit()
