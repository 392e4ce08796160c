"""The machine that was measured: a figure without it means nothing."""

import os
import platform
import resource
import time
from pathlib import Path

from bekend_proto import sodium

_PAGE = os.sysconf("SC_PAGE_SIZE")
_TICKS = os.sysconf("SC_CLK_TCK")


def describe() -> dict[str, str | int | float]:
    """Processor, cores, memory, system, Python, libsodium, and how busy it is with other things."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "memory_mb": os.sysconf("SC_PHYS_PAGES") * _PAGE // 10**6,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "libsodium": sodium.VERSION,
        "load": round(os.getloadavg()[0], 2),
    }


def cpu_seconds(pid: int) -> float:
    """Processor time that a process has used, in user and system mode."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def cpu_of_ended() -> float:
    """Processor time of all child processes that have ended, and theirs."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def resident(pid: int) -> int:
    """Octets of memory that a process holds now."""
    return int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1]) * _PAGE


def peak(pid: int) -> int:
    """The most octets of memory that a process has held so far."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii", errors="replace").splitlines():
        name, _, value = line.partition(":")
        if name == "VmHWM":
            return int(value.split()[0]) * 1024
    raise ProcessLookupError(f"{pid} has ended")


def loopback() -> int:
    """Octets that passed the loopback device, of everything on this machine. Raises RuntimeError without the device."""
    for line in Path("/proc/net/dev").read_text(encoding="ascii").splitlines():
        device, _, counts = line.partition(":")
        if device.strip() == "lo":
            return int(counts.split()[0])
    raise RuntimeError("this machine has no loopback device")


def used_by_others() -> float:
    """Processor time that everything but this process and its ended children has used since the start of the system.

    Time that the host took from this machine counts along: it was not ours either.
    """
    fields = Path("/proc/stat").read_text(encoding="ascii").splitlines()[0].split()[1:]
    user, nice, system, _idle, _waiting, irq, softirq, stolen = (int(field) for field in fields[:8])
    return (user + nice + system + irq + softirq + stolen) / _TICKS - time.process_time() - cpu_of_ended()


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()
