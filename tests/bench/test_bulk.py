"""The parts that need no federation: what they measure is there, and is what it says. No duration is asserted."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from bekend_bench import formats, machine, tags
from bekend_bench.enrolment import write_changes
from bekend_bench.ground import Rows
from bekend_bench.watching import Watch, import_role
from bekend_proto.filter import ClosedFilter


@pytest.mark.parametrize("count", [1 << 10, 1 << 14])
def test_a_body_of_any_size_is_one_that_a_requester_takes(count: int) -> None:
    body = tags.a_body(count)
    held = ClosedFilter(body)
    assert len(held) == count
    assert held.contains(body[-8:])


def test_tags_are_looked_up_warm_and_cold() -> None:
    figures = list(tags.measure(1 << 12))
    assert [one.unit for one in figures] == ["us"] * 3
    assert all("4,096 tags" in one.what for one in figures)


def test_the_sorted_file_takes_34_octets_and_the_table_more() -> None:
    figures = {one.what: one for one in formats.measure(2_000, 100)}
    file, table = (figures[f"{what}, 2,000 pseudonyms"].value for what in ("sorted file", "SQLite"))
    assert round(file) == 34 < table
    assert figures["generation of 2,000 switched"].value > 0


def test_a_night_s_changes_are_half_removals_and_half_additions(tmp_path: Path) -> None:
    register = tmp_path / "nazorg.csv"
    register.write_text("nummer;einddatum\n" + "".join(f"{100 + one};\n" for one in range(9)), encoding="utf-8")
    head, *rows = write_changes(register, 4).read_text(encoding="utf-8").splitlines()
    assert head == "nummer;einddatum;mutatie"
    assert rows == ["100;;-", "101;;-", "9100;;+", "9101;;+"]


def test_ten_million_rows_are_made_when_they_are_looked_at() -> None:
    rows = Rows(10_000_000)
    assert len(rows) == 10_000_000
    assert rows[0] != rows[-1]
    assert [one.identifier for one in rows[:2]] == ["100000000000", "100000000001"]
    assert sys.getsizeof(rows) < 1_000


def test_the_processes_of_an_import_are_told_apart_by_their_words() -> None:
    command = ["python", "-m", "bekend_deploy.cli", "node", "enrol", "--file", "x.csv"]
    assert import_role(command, ["pytest"]) == "the command"
    assert import_role(command, command) == "each worker"
    assert import_role(["python", "-m", "bekend_deploy.cli", "broker", "serve"], ["pytest"]) == "the broker"
    assert import_role(["ls"], command) is None


def test_peaks_of_the_processes_below_are_noted() -> None:
    words = [sys.executable, "-c", "import sys; held = b'x' * 30_000_000; print(flush=True); sys.stdin.read()"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        with Watch(lambda found, _: "holder" if found[-1:] == words[-1:] else None) as watch:
            pass
        assert watch.peaks["holder"] > 30_000_000
        assert watch.peaks["holder"] <= machine.peak(process.pid)
        process.communicate()


def test_the_peak_of_a_process_that_has_ended_is_unknown() -> None:
    assert machine.peak(os.getpid()) >= machine.resident(os.getpid())
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    with pytest.raises(OSError, match=str(process.pid)):
        machine.peak(process.pid)
