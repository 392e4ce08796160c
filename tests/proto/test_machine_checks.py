"""What doctor looks at on every machine, each fault brought about for real."""

import os
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from bekend_proto import machine_checks as machine
from bekend_proto.backup import note_success
from bekend_proto.clock import SystemClock
from bekend_proto.findings import Finding, State, exit_code, fail, look, ok, warn
from bekend_proto.identity import TlsFiles

from tests.support.clocks import SteeredClock
from tests.support.pki import Authority

OIN = "00000099000000000002"
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def certificate(files: TlsFiles, oin: str = OIN) -> dict[str, Finding]:
    return {one.what: one for one in machine.certificate(files, oin, SystemClock())}


def test_a_good_certificate_says_until_when_and_of_whom(authority: Authority) -> None:
    found = certificate(authority.issue(OIN, ends=timedelta(days=90)))
    assert [one.state for one in found.values()] == [State.OK, State.OK]
    assert "Test CA" in found["certificate chain"].detail


def test_a_certificate_that_ends_soon_wants_attention(authority: Authority) -> None:
    found = certificate(authority.issue(OIN, ends=timedelta(days=20)))["certificate"]
    assert found.state is State.WARN
    assert "Ask the authority for a new one" in found.remedy


@pytest.mark.parametrize(
    ("starts", "ends", "told"),
    [(-9, -1, "put the renewed certificate there"), (1, 9, "check this machine's clock")],
)
def test_a_certificate_that_is_not_valid_fails(authority: Authority, starts: int, ends: int, told: str) -> None:
    files = authority.issue(OIN, starts=timedelta(days=starts), ends=timedelta(days=ends))
    found = certificate(files)["certificate"]
    assert found.state is State.FAIL
    assert told in found.detail


def test_a_certificate_of_another_organisation_fails(authority: Authority) -> None:
    found = certificate(authority.issue("00000099000000000003"))["certificate"]
    assert found.state is State.FAIL
    assert "use the own certificate" in found.detail


def test_a_key_that_others_may_read_fails_with_the_command(authority: Authority) -> None:
    files = authority.issue(OIN)
    files.key.chmod(0o644)
    assert f"chmod 600 {files.key}" in certificate(files)["certificate"].detail


def test_a_chain_that_leads_nowhere_is_seen(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path / "other", "Other CA").issue(OIN)
    found = certificate(TlsFiles(other.certificate, other.key, authority.path))["certificate chain"]
    assert found.state is State.WARN
    assert "Other CA" in found.detail
    assert "intermediate" in found.remedy


@pytest.mark.parametrize(
    ("ahead", "state", "told"),
    [
        (0, State.OK, "the same"),
        (8, State.OK, "less than ten seconds"),
        (-30, State.WARN, "30 s behind"),
        (61, State.FAIL, "61 s ahead"),
    ],
)
def test_a_clock_beside_another(ahead: int, state: State, told: str) -> None:
    found = machine.clock_against("broker:7443", NOW, NOW + timedelta(seconds=ahead))
    assert found.state is state
    assert told in found.detail
    assert bool(found.remedy) is (state is not State.OK)


def timedatectl(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> list[Finding]:
    program = folder / "timedatectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return list(machine.time_service())


def test_a_clock_without_a_time_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = timedatectl(tmp_path, "echo no", monkeypatch)
    assert found.state is State.WARN
    assert "timedatectl set-ntp true" in found.remedy


def test_a_clock_with_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = timedatectl(tmp_path, 'test "$*" = "show --property=NTPSynchronized --value" && echo yes', monkeypatch)
    assert found.state is State.OK


def test_a_machine_without_systemd_says_nothing_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert timedatectl(tmp_path, "exit 1", monkeypatch) == []


def test_a_folder_that_others_may_read(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.mkdir(mode=0o700)
    (keys / "signing.key").write_text("x")
    (keys / "signing.key").chmod(0o644)
    assert next(machine.folders(keys)).state is State.OK, "nobody else gets into it"
    keys.chmod(0o755)
    found = next(machine.folders(keys))
    assert found.state is State.FAIL
    assert "signing.key" in found.detail
    assert found.remedy == f"Run `chmod -R o= {keys}`."
    subprocess.run(["chmod", "-R", "o=", str(keys)], check=True)
    assert next(machine.folders(keys)).state is State.OK


def test_a_folder_that_is_not_there_yet(tmp_path: Path) -> None:
    assert "not there yet" in next(machine.folders(tmp_path / "data")).detail


SMALL_DISK = """
from pathlib import Path
import sys
from bekend_proto.machine_checks import disk
found = disk(Path(sys.argv[1]))
print(found.state, found.detail, found.remedy, sep="|")
"""


@pytest.mark.parametrize(("size", "state"), [("16m", "fail"), ("1g", "warn"), ("4g", "ok")])
def test_a_disk_that_is_full_almost_full_and_roomy(tmp_path: Path, size: str, state: str) -> None:
    """A disk of that size, in a mount namespace of its own."""
    script = 'mount -t tmpfs -o size="$1" none "$2" && exec "$3" -c "$4" "$2/data"'
    words = ["unshare", "-Urm", "sh", "-c", script, "sh", size, str(tmp_path), sys.executable, SMALL_DISK]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if "unshare failed" in done.stderr or "permission denied" in done.stderr.lower():
        pytest.skip(f"this machine lets nobody mount: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
    said, detail, remedy = done.stdout.strip().split("|")
    assert said == state
    assert str(tmp_path) in detail
    assert ("Free space" in remedy) is (state != "ok")


def test_a_backup_that_was_never_made_is_old_or_is_of_today(tmp_path: Path) -> None:
    clock = SteeredClock(NOW)
    assert "ever made" in machine.backup(tmp_path, clock).detail
    note_success(tmp_path, NOW - timedelta(hours=25))
    assert machine.backup(tmp_path, clock).state is State.OK
    clock.advance(timedelta(hours=2))
    found = machine.backup(tmp_path, clock)
    assert found.state is State.WARN
    assert "timer" in found.remedy


@pytest.mark.parametrize(
    ("lasts", "revoked", "state", "told"),
    [
        (48, False, State.OK, "is not in it"),
        (3, False, State.WARN, "counts until"),
        (-1, False, State.FAIL, "too old"),
        (48, True, State.FAIL, "revoked"),
    ],
)
def test_a_list_of_revoked_certificates(
    authority: Authority, lasts: int, revoked: bool, state: State, told: str
) -> None:
    files = authority.issue(OIN, ends=timedelta(days=90))
    crl = authority.revoke(*([files] if revoked else []), lasts=timedelta(hours=lasts))
    found = certificate(replace(files, crl=crl))["list of revoked certificates"]
    assert found.state is state
    assert told in found.detail


def test_a_list_that_is_not_there(authority: Authority, tmp_path: Path) -> None:
    found = certificate(replace(authority.issue(OIN), crl=tmp_path / "none.pem"))["list of revoked certificates"]
    assert found.state is State.FAIL
    assert "none.pem" in found.detail


def test_exit_codes_and_lines() -> None:
    good, soon, bad = ok("a", "x"), warn("b", "y", "Do it."), fail("c", "z")
    assert [exit_code(some) for some in ([good], [good, soon], [good, soon, bad])] == [0, 6, 3]
    assert soon.lines() == "warn  b: y\n      -> Do it."
    assert bad.lines() == "fail  c: z"


def test_a_fault_that_is_expected_is_a_finding_and_another_is_not() -> None:
    def lost() -> str:
        raise FileNotFoundError(2, "No such file", "x")

    assert look("file", lost) == fail("file", "x: No such file: check path and rights")
    with pytest.raises(ZeroDivisionError):
        look("sum", lambda: str(1 / 0))
