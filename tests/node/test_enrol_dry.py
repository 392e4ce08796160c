"""A dry run says what an import would do, and does nothing; and only persons with a lawful label are loaded (FG-39)."""

import json
import shutil
import sqlite3
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml
from bekend_deploy.partners import HAARLEM, POLITIE, ZSM_CONTEXT, ZVH_WEIGHING
from bekend_node.cli import app
from bekend_node.enrol.dry_run import DryRun, dry_run
from bekend_node.enrol.lists import Wanted
from bekend_node.enrol.plan import LeftOut
from bekend_node.enrol.survey import GuardError
from bekend_node.store_registers import Registers
from bekend_proto.errors import CovenantError
from typer.testing import CliRunner

from tests.node.test_enrol import people, pseudonyms, stored
from tests.support.clocks import SteeredClock
from tests.support.federation import Federation
from tests.support.nodes import NodeHome
from tests.support.pki import Authority

REGISTER = POLITIE.registers[0]
NOWHERE = 1
"""A port on which no broker listens."""
LISTED = people(4)
LIST = "bsn;einddatum;grond;geheim\n" + "".join(
    f"{one.value};{end};{label};{secret}\n"
    for one, (end, label, secret) in zip(
        LISTED, (("", "wpg-8", ""), ("", "wpg-13", ""), ("", "wpg-9", ""), ("2020-01-31", "wpg-8", "")), strict=True
    )
)
MORE = f"{people(6)[5].value};;wpg-8;7\n{people(5)[4].value};;;\n"
WRONG = "999990018;;wpg-8;\n"


def with_labels(folder: Path) -> None:
    """The first purpose takes two labels of the police, the second one."""
    for name, labels in (("zsm-context", ["wpg-8", "wpg-13"]), ("zvh-weging-betrokkenheid", ["wpg-8"])):
        file = folder / "doelen" / f"{name}.yaml"
        tree = yaml.load(file.read_text("utf-8"), yaml.BaseLoader)
        tree["bronnen"][POLITIE.oin if POLITIE.oin in tree["bronnen"] else "politie"]["labels"] = labels
        file.write_text(yaml.safe_dump(tree, sort_keys=False, allow_unicode=True), "utf-8")


@pytest.fixture
def home(tmp_path: Path, authority: Authority) -> NodeHome:
    federation = Federation.create(tmp_path, authority, clock=SteeredClock(datetime.now(UTC)))
    federation.write_covenant(with_labels)
    made = NodeHome.create(federation, POLITIE.oin)
    made.write_mapping(
        REGISTER, columns={"identifier": "bsn", "end": "einddatum", "label": "grond", "secret": "geheim"}
    )
    return made


def run(home: NodeHome, text: str, **more: Any) -> DryRun:
    file = home.folder / "list.csv"
    file.write_text(text)
    wanted = Wanted(REGISTER, file, as_of=home.today, **more)
    return dry_run(home.config(NOWHERE), wanted, home.federation.clock)


def everything(folder: Path) -> dict[Path, tuple[int, bytes]]:
    return {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def test_fg_39_a_dry_run_counts_per_purpose_mode_and_kind_and_why_rows_are_left_out(home: NodeHome) -> None:
    done = run(home, LIST + MORE + WRONG)
    assert done.found.counts == {(ZSM_CONTEXT, "bsn"): 2, (ZVH_WEIGHING, "bsn"): 1}
    assert done.modes == {(ZSM_CONTEXT, "bsn"): "automatisch", (ZVH_WEIGHING, "bsn"): "handmatig"}
    left = {LeftOut.OTHER_LABEL: 1, LeftOut.NO_LABEL: 1, LeftOut.MARKED: 1, LeftOut.ENDED: 1}
    assert done.reports[ZSM_CONTEXT].left_out == left
    assert done.reports[ZVH_WEIGHING].left_out == left | {LeftOut.OTHER_LABEL: 2}
    assert (done.found.whole.rows, done.found.whole.refused, done.stopped) == (7, 1, "")


def test_fg_39_a_mapping_without_labels_loads_nobody_where_the_covenant_asks_for_them(home: NodeHome) -> None:
    home.write_mapping(REGISTER)
    with pytest.raises(GuardError, match=r"only persons labelled wpg-13, wpg-8 may be loaded.*no `label` column"):
        run(home, LIST)


async def test_fg_39_an_import_loads_under_each_purpose_whom_its_labels_name(home: NodeHome) -> None:
    file = home.folder / "list.csv"
    file.write_text(LIST + MORE)
    async with home.federation.broker() as broker:
        await home.enrol(broker.port, REGISTER, file)
    assert set(stored(home, REGISTER, ZSM_CONTEXT)) == pseudonyms(home, ZSM_CONTEXT, LISTED[:2])
    assert set(stored(home, REGISTER, ZVH_WEIGHING)) == pseudonyms(home, ZVH_WEIGHING, LISTED[:1])
    assert "holds nobody" in run(home, LIST.splitlines()[0] + "\n").stopped
    # What is in service is known to a dry run, with the node stopped and with its database open.
    few = LIST.splitlines()[0] + "\n"
    _set_persons(home, 100)
    before = everything(home.data)
    assert "would shrink from 100 to 0 persons" in run(home, few).stopped
    assert run(home, few, confirm_shrink=True).stopped == ""
    assert everything(home.data) == before
    # Whoever said once that nobody is on it is not asked every night.
    _set_persons(home, 0)
    assert run(home, few).stopped == ""
    _set_persons(home, 100)
    registers = Registers.open(home.data)
    assert "would shrink" in run(home, few).stopped
    registers.close()


def test_a_covenant_that_does_not_name_this_node_as_it_is_configured_loads_nothing(home: NodeHome) -> None:
    config, other = home.config(NOWHERE), home.federation.covenant.participants[HAARLEM.oin]
    wanted = Wanted(REGISTER, home.csv(REGISTER, people(1)), as_of=home.today)
    with pytest.raises(CovenantError, match="names no participant 00000099000000042000"):
        dry_run(config.model_copy(update={"oin": "00000099000000042000"}), wanted, home.federation.clock)
    with pytest.raises(CovenantError, match=f"pins another ondertekenaar for {POLITIE.oin}"):
        dry_run(config.model_copy(update={"anchor": other.signer}), wanted, home.federation.clock)


def _set_persons(home: NodeHome, persons: int) -> None:
    with closing(sqlite3.connect(home.data / "registers.db")) as connection:
        connection.execute("UPDATE generation SET persons = ?", (persons,))
        connection.commit()
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


def test_a_dry_run_sends_and_writes_nothing_and_shows_nothing_of_a_person(home: NodeHome) -> None:
    # Neither keys nor manifest are needed: before they are there one wants to know what would be enrolled.
    shutil.rmtree(home.folder / "keys")
    (home.folder / "manifest.note").unlink()
    file = home.folder / "list.csv"
    file.write_text(LIST + MORE + WRONG)
    home.config(NOWHERE)
    before = everything(home.folder)
    words = ["enrol", "--config", str(home.folder / "node.yaml"), "--register", REGISTER, "--file", str(file)]
    shown = CliRunner().invoke(app, [*words, "--dry-run"])
    assert shown.exit_code == 0, shown.output
    told = CliRunner().invoke(app, [*words, "--dry-run", "--json"])
    facts = json.loads(told.output)
    assert everything(home.folder) == before
    assert facts["dry_run"] is True
    assert facts["counts"] == [
        {"purpose": ZSM_CONTEXT, "mode": "automatisch", "kind": "bsn", "numbers": 2},
        {"purpose": ZVH_WEIGHING, "mode": "handmatig", "kind": "bsn", "numbers": 1},
    ]
    assert facts["purposes"][ZVH_WEIGHING]["left_out"]["other_label"] == 2
    for line in (
        f"DRY RUN of {REGISTER}: 7 rows read; nothing was sent, nothing was written",
        "  demo/zsm-context               automatisch  bsn           2",
        "  2 rows left out: the covenant does not let this node load persons with this label",
        "No guard would stop this import.",
    ):
        assert line in shown.output.splitlines(), shown.output
    assert not any(one.value in shown.output + told.output for one in people(6))


def test_a_dry_run_says_which_guard_would_stop_the_import(home: NodeHome) -> None:
    file = home.folder / "list.csv"
    file.write_text(LIST + WRONG * 11)
    home.config(NOWHERE)
    words = ["enrol", "--config", str(home.folder / "node.yaml"), "--register", REGISTER, "--file", str(file)]
    shown = CliRunner().invoke(app, [*words, "--dry-run"])
    assert shown.exit_code == 4
    assert "An import would STOP: 11 of 15 rows are refused, more than 10: line 6" in shown.output
