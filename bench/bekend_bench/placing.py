"""Processes that are kept on one core each, as on a machine of their own, and not moved about by the system.

A thread that wakes on another core than before finds nothing of what it works with there; where eight processes share
two cores, it often does.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Sequence


@contextlib.contextmanager
def one_core_each(processes: Sequence[int]) -> Iterator[None]:
    """Keep these processes, by their ids, on the cores of this one by turns; on leaving they run on any again."""
    cores = sorted(os.sched_getaffinity(0))
    for place, pid in enumerate(processes):
        _allow(pid, {cores[place % len(cores)]})
    try:
        yield
    finally:
        for pid in processes:
            _allow(pid, cores)


def _allow(pid: int, cores: Collection[int]) -> None:
    """For every thread: those that it starts from now on follow."""
    for thread in os.listdir(f"/proc/{pid}/task"):
        # A thread may have ended meanwhile.
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(thread), cores)
