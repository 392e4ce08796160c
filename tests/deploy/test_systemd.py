"""The shipped units: what `systemd-analyze` says of them, and that the program works under what they ask."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.confined import PUT_ON, UNITS, allowed_calls, directives, may_confine

SERVICES = sorted(path.name for path in UNITS.glob("*.service"))
ALL = sorted(path.name for path in UNITS.iterdir() if path.suffix in {".service", ".timer"})
AT_MOST = 1.5

MANAGEMENT = {
    *("Type", "NotifyAccess", "WatchdogSec", "ExecStart", "ExecReload", "KillMode", "Restart", "RestartSec"),
    "RestartPreventExitStatus",
    *("TimeoutStartSec", "TimeoutStopSec", "SuccessExitStatus", "User", "Group", "LoadCredential", "MemorySwapMax"),
    *("StateDirectory", "StateDirectoryMode", "RuntimeDirectory", "RuntimeDirectoryMode"),
    *("ConfigurationDirectory", "ConfigurationDirectoryMode"),
}
"""How systemd starts, watches and places a service: nothing that the program meets as a refusal."""

NOT_TRIED = {
    "ProtectHome": "mounts nothing that the program reads",
    "PrivateTmp": "here /tmp cannot be written at all",
    "PrivateDevices": "needs a /dev of its own",
    "DevicePolicy": "a filter of cgroups",
    "ProtectHostname": "a namespace; the program sets no host name",
    "ProtectClock": "the call is in the filter too",
    "ProtectKernelModules": "the call is in the filter too",
    "ProtectKernelLogs": "the call is in the filter too",
    "RestrictRealtime": "the program asks for no such scheduling",
    "RestrictSUIDSGID": "the program sets no such mode",
    "RemoveIPC": "happens after the end",
    "KeyringMode": "the program has no keyring",
    "SocketBindDeny": "a filter of cgroups",
    "SocketBindAllow": "a filter of cgroups",
    "PrivateUsers": "only the broker, which asks for no other user",
}


def analyze(*words: str) -> str:
    if shutil.which("systemd-analyze") is None:
        # CI runs on Debian, which has it: there, absence is a failure.
        assert not os.environ.get("REQUIRE_TOOLS"), "systemd-analyze is missing"
        pytest.skip("needs systemd-analyze")
    done = subprocess.run(
        ["systemd-analyze", "--no-pager", *words], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0 or "security" in words, done.stderr
    return done.stdout + done.stderr


@pytest.mark.parametrize("unit", SERVICES)
def test_a_unit_is_exposed_at_most_so_much(unit: str) -> None:
    said = analyze("security", "--offline=true", str(UNITS / unit))
    found = re.search(r"Overall exposure level for \S+: ([\d.]+)", said)
    assert found, said
    assert float(found[1]) <= AT_MOST


@pytest.mark.parametrize("unit", ALL)
def test_systemd_finds_no_fault_in_a_unit(unit: str, tmp_path: Path) -> None:
    program = tmp_path / "bekend"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    for name in ALL:
        text = (UNITS / name).read_text().replace("/opt/bekend/bin/bekend", str(program))
        (tmp_path / name).write_text(text)
    assert analyze("verify", "--man=no", str(tmp_path / unit)) == ""


def test_a_fault_in_a_unit_is_found(tmp_path: Path) -> None:
    unit = tmp_path / "wrong.service"
    unit.write_text("[Service]\nType=notfy\nExecStart=/bin/true\nNoNewPrivilege=yes\n")
    said = analyze("verify", "--man=no", str(unit))
    assert "service type" in said
    assert "NoNewPrivilege" in said


@pytest.mark.parametrize("unit", SERVICES)
def test_every_restriction_is_tried_or_says_why_not(unit: str) -> None:
    assert set(directives(unit)) <= PUT_ON | MANAGEMENT | set(NOT_TRIED)


@pytest.mark.parametrize("unit", SERVICES)
def test_must_12_no_unit_gives_its_memory_to_a_program_of_the_machine(unit: str) -> None:
    """Linux starts what cores are piped to whatever the limit is, but for 1 (fs/coredump.c)."""
    assert directives(unit)["LimitCORE"] == ["1"]


def test_the_commands_of_the_units_exist() -> None:
    for unit in SERVICES:
        words = directives(unit)["ExecStart"][0].split()
        shown = subprocess.run(
            [sys.executable, "-m", "bekend_deploy.cli", *words[1:3], "--help"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert shown.returncode == 0, shown.stderr
        assert all(word in shown.stdout for word in words if word.startswith("--")), unit


@pytest.mark.parametrize("unit", [name for name in SERVICES if (UNITS / name).with_suffix(".timer").is_file()])
def test_what_a_timer_starts_ends_by_itself(unit: str) -> None:
    assert directives(unit)["Type"] == ["oneshot"]


def test_the_filter_of_a_unit_leaves_no_way_to_the_kernel() -> None:
    analyze("--version")
    calls = allowed_calls(directives("bekend-node@.service")["SystemCallFilter"])
    assert {"read", "futex", "epoll_wait", "setpriority", "execve"} <= calls
    assert not {"mount", "ptrace", "bpf", "init_module", "setuid", "chown", "reboot", "process_vm_readv"} & calls


CONFINED = """
import ctypes, mmap, os, socket, sys
from pathlib import Path
from tests.support.confined import confine
confine("bekend-node@.service", Path(sys.argv[1]))
refused = []
def tried(what, call):
    try: call()
    except (OSError, ValueError): refused.append(what)
tried("writable and executable", lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC))
tried("packet socket", lambda: socket.socket(socket.AF_PACKET))
tried("etc", lambda: open("/etc/x", "w"))
tried("namespace", lambda: os.stat("/") if ctypes.CDLL(None).unshare(0x10000000) == 0 else os.open("/nowhere", 0))
tried("meminfo", lambda: open("/proc/meminfo"))
tried("chown", lambda: os.chown(sys.argv[1], 1, 1))
open("own", "w").close()
print(*refused, sep=",")
"""


def test_the_confinement_of_these_tests_refuses_what_it_should(tmp_path: Path) -> None:
    if not may_confine():
        pytest.skip("needs root, Linux 6.3 and libseccomp")
    done = subprocess.run(
        [sys.executable, "-c", CONFINED, str(tmp_path)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "writable and executable,packet socket,etc,namespace,meminfo,chown", done.stderr
    assert (tmp_path / "own").exists()


NEEDED = """
import asyncio, os, sqlite3, sys
from multiprocessing import get_context
from pathlib import Path
from tests.support.confined import confine
confine("bekend-node@.service", Path(sys.argv[1]))
from bekend_proto import group, sodium
from bekend_proto.channel import RequesterChannel
async def child():
    words = (sys.executable, "-m", "bekend_node.filter_build")
    process = await asyncio.create_subprocess_exec(*words, stdin=-1, stderr=-3)
    await process.communicate(b"")
    return process.returncode
if __name__ == "__main__":
    own = sqlite3.connect("own.db")
    print(own.execute("PRAGMA journal_mode=WAL").fetchone()[0], own.execute("create table t (a)").rowcount)
    print(sodium.scalarmult_base((5).to_bytes(32, "little")) is not None, len(RequesterChannel().mlkem))
    with get_context("fork").Pool(2) as pool:
        stepped = min(19, os.nice(0) + 10)
        print(*(nice == stepped for nice in pool.map(os.nice, [10, 10], 1)))
    print(asyncio.run(child()))
"""


def test_what_the_program_needs_works_under_it(tmp_path: Path) -> None:
    """SQLite's shared memory, libsodium through ctypes, ML-KEM, forked workers that step back, a child of its own."""
    if not may_confine():
        pytest.skip("needs root, Linux 6.3 and libseccomp")
    script = tmp_path / "needed.py"
    script.write_text(NEEDED)
    done = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "PYTHONPATH": str(UNITS.parents[1])},
    )
    # The child starts, and ends with a fault for an empty order.
    assert done.stdout.split() == ["wal", "-1", "True", "1184", "True", "True", "1"], done.stderr
