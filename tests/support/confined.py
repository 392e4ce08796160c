"""The command `bekend` under the restrictions of its shipped systemd unit, where no systemd runs.

    python -m tests.support.confined node serve --config node.yaml

Reads the unit that belongs to the words, puts on itself what the unit asks of the kernel, and becomes the command: the
same prctl, rlimits, seccomp filters (libseccomp, groups expanded by `systemd-analyze syscall-filter`) and mounts as
systemd.exec(5) names. Only the configuration's folder can be written. Needs root, Linux 6.3 and libseccomp.
"""

import contextlib
import ctypes
import errno
import os
import resource
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
CONFINED = (sys.executable, "-m", "tests.support.confined")
UNITS = ROOT / "deploy" / "systemd"
UNIT_OF = {
    ("broker", "serve"): "bekend-broker.service",
    ("node", "serve"): "bekend-node@.service",
    ("node", "enrol"): "bekend-enrol@.service",
    ("node", "inbox"): "bekend-enrol@.service",
    ("node", "doctor"): "bekend-doctor@.service",
}

PUT_ON = frozenset(
    {
        "NoNewPrivileges",
        "CapabilityBoundingSet",
        "AmbientCapabilities",
        "MemoryDenyWriteExecute",
        "LockPersonality",
        "RestrictAddressFamilies",
        "RestrictNamespaces",
        "SystemCallFilter",
        "SystemCallErrorNumber",
        "SystemCallArchitectures",
        "LimitCORE",
        "LimitNOFILE",
        "UMask",
        "Nice",
        "ProtectSystem",
        "PrivateMounts",
        "ProtectKernelTunables",
        "ProtectControlGroups",
        "ProcSubset",
        "ProtectProc",
    }
)
"""Directives that are put on here."""

_SCMP_ALLOW = 0x7FFF0000
_SCMP_ERRNO = 0x00050000
_EQUAL, _MASKED = 4, 7
_NAMESPACES = (0x00020000, 0x02000000, 0x04000000, 0x08000000, 0x10000000, 0x20000000, 0x40000000, 0x00000080)
_FAMILIES = {"AF_UNIX": 1, "AF_INET": 2, "AF_INET6": 10, "AF_NETLINK": 16}


class _Argument(ctypes.Structure):
    _fields_ = (
        ("arg", ctypes.c_uint),
        ("op", ctypes.c_int),
        ("a", ctypes.c_uint64),
        ("b", ctypes.c_uint64),
    )


_libc = ctypes.CDLL(None, use_errno=True)


def may_confine() -> bool:
    """Whether this machine can do all of it. A container, say, has no right to mount."""
    tools = shutil.which("systemd-analyze") is not None
    with contextlib.suppress(OSError):
        tools = tools and bool(ctypes.CDLL("libseccomp.so.2"))
        release = tuple(int(part) for part in os.uname().release.split(".")[:2])
        mounts = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
        return tools and os.geteuid() == 0 and release >= (6, 3) and mounts
    return False


def directives(unit: str) -> dict[str, list[str]]:
    """The [Service] section of a shipped unit: name -> values in their order."""
    found: dict[str, list[str]] = {}
    section = ""
    for line in (UNITS / unit).read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            section = line
        elif section == "[Service]" and "=" in line and not line.startswith("#"):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


def allowed_calls(filters: list[str]) -> set[str]:
    """Names of the system calls that the SystemCallFilter lines of a unit leave."""
    allowed: set[str] = set()
    for line in filters:
        names = set().union(*(_expand(word) for word in line.lstrip("~").split()))
        allowed = allowed - names if line.startswith("~") else allowed | names
    # systemd adds these itself: without them nothing starts, and seccomp filters could not be stacked.
    return allowed | _expand("@default") | {"execve", "seccomp", "prctl"}


def _expand(word: str) -> set[str]:
    if not word.startswith("@"):
        return {word}
    listed = subprocess.run(
        ["systemd-analyze", "syscall-filter", "--no-pager", word], capture_output=True, text=True, check=True
    ).stdout
    words = [line.split("#")[0].strip() for line in listed.splitlines()[1:]]
    return set().union(*(_expand(word) for word in words if word))


def _checked(result: int, what: str) -> None:
    if result < 0:
        number = ctypes.get_errno() or -result
        raise OSError(number, f"{what}: {os.strerror(number)}")


def _prctl(option: int, value: int, what: str) -> None:
    zero = ctypes.c_ulong(0)
    _checked(_libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero), what)


def _mounts(writable: Path) -> None:
    """ProtectSystem=strict and ProcSubset=pid: everything read-only but devices, and this one folder."""
    _checked(_libc.unshare(0x00020000), "unshare")

    def run(*words: str) -> None:
        subprocess.run(["mount", *words], check=True)

    run("--make-rprivate", "/")
    run("--bind", str(writable), str(writable))
    run("-t", "proc", "-o", "subset=pid,hidepid=invisible", "proc", "/proc")
    for line in Path("/proc/self/mountinfo").read_text().splitlines():
        point = line.split()[4].encode().decode("unicode_escape")
        if point != str(writable) and not point.startswith("/dev"):
            run("-o", "remount,bind,ro", point)
    # The folder as it was before the mount above still stands as the working directory.
    os.chdir(writable)


def _filter(default: int) -> tuple[ctypes.CDLL, ctypes.c_void_p]:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_init.restype = ctypes.c_void_p
    return library, ctypes.c_void_p(library.seccomp_init(ctypes.c_uint32(default)))


def _deny(rules: list[tuple[str, int, _Argument]]) -> None:
    """Refuse these calls with these arguments."""
    library, made = _filter(_SCMP_ALLOW)
    for name, number, argument in rules:
        call = library.seccomp_syscall_resolve_name(name.encode())
        _checked(library.seccomp_rule_add(made, ctypes.c_uint32(_SCMP_ERRNO | number), call, 1, argument), name)
    _checked(library.seccomp_load(made), "seccomp")


def _allow(names: set[str]) -> None:
    library, made = _filter(_SCMP_ERRNO | errno.EPERM)
    for name in names:
        # Calls of other machines resolve to a negative number.
        if (call := library.seccomp_syscall_resolve_name(name.encode())) >= 0:
            _checked(library.seccomp_rule_add(made, ctypes.c_uint32(_SCMP_ALLOW), call, 0), name)
    _checked(library.seccomp_load(made), "seccomp")


def confine(unit: str, writable: Path) -> None:
    """Put on what the unit asks. There is no way back for this process."""
    asked = directives(unit)
    calls = allowed_calls(asked["SystemCallFilter"])
    _mounts(writable)
    os.umask(int(asked["UMask"][0], 8))
    resource.setrlimit(resource.RLIMIT_CORE, (int(asked["LimitCORE"][0]),) * 2)
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(asked["LimitNOFILE"][0]),) * 2)
    os.nice(int(asked.get("Nice", ["0"])[0]))
    assert asked["CapabilityBoundingSet"] == [""]
    for capability in range(64):
        # PR_CAPBSET_DROP; the last ones do not exist on every kernel.
        _libc.prctl(24, ctypes.c_ulong(capability), 0, 0, 0)
    assert asked["NoNewPrivileges"] == asked["MemoryDenyWriteExecute"] == ["yes"]
    _prctl(38, 1, "PR_SET_NO_NEW_PRIVS")
    _prctl(65, 1, "PR_SET_MDWE")
    families = {_FAMILIES[name] for name in asked["RestrictAddressFamilies"][0].split()}
    others = [number for number in range(46) if number not in families]
    _deny([("socket", errno.EAFNOSUPPORT, _Argument(0, _EQUAL, family, 0)) for family in others])
    spaces = [
        (call, errno.EPERM, _Argument(0, _MASKED, flag, flag)) for call in ("clone", "unshare") for flag in _NAMESPACES
    ]
    _deny([*spaces, *[("personality", errno.EPERM, _Argument(0, _EQUAL, number, 0)) for number in (1, 8)]])
    _allow(calls)


def main() -> None:
    words = sys.argv[1:]
    folder = Path(words[words.index("--config") + 1]).resolve().parent
    confine(UNIT_OF[words[0], words[1]], folder)
    os.execv(sys.executable, [sys.executable, "-m", "bekend_deploy.cli", *words])


if __name__ == "__main__":
    main()
